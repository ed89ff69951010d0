//! How are times in a list read? One after the other, like times that stand alone.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::Result;

/// The type with other elements, in lists of one kind; of what is no list the element itself.
pub(in crate::functions) fn with_element(data_type: &DataType, element: DataType) -> DataType {
    match data_type {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => DataType::List(of_type(item, with_element(item.data_type(), element))),
        _ => element,
    }
}

/// What `convert` makes of the elements of lists of that kind, or of what is no list.
pub(in crate::functions) fn each_element(
    array: &ArrayRef,
    convert: &mut dyn FnMut(&ArrayRef) -> Result<ArrayRef>,
) -> Result<ArrayRef> {
    let DataType::List(item) = array.data_type() else { return convert(array) };
    let list = array.as_list::<i32>();
    let elements = each_element(list.values(), convert)?;
    let item = of_type(item, elements.data_type().clone());
    Ok(Arc::new(ListArray::try_new(item, list.offsets().clone(), elements, list.nulls().cloned())?))
}

fn of_type(item: &FieldRef, data_type: DataType) -> FieldRef {
    Arc::new(Field::clone(item).with_data_type(data_type).with_nullable(true))
}
