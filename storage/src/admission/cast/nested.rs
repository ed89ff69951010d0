//! How are lists and structs cast? Their elements are, and a bad element makes its row bad.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, StructArray, new_null_array};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Fields};

use super::{CastContext, Mismatch, Report, cast, kernel};
use crate::admission::rows::RejectCode;
use crate::catalog::{normalized, sql_type};

/// A list of any kind as `List(item)`.
pub(super) fn cast_list(
    array: &ArrayRef,
    item: &FieldRef,
    context: &CastContext<'_>,
    report: &mut Report<'_>,
) -> Result<ArrayRef, Mismatch> {
    use DataType as T;
    let plain = match array.data_type() {
        T::List(_) => array.clone(),
        T::LargeList(from) | T::FixedSizeList(from, _) | T::ListView(from) | T::LargeListView(from) => {
            let field = Field::new_list_field(from.data_type().clone(), true);
            kernel(array, &T::List(Arc::new(field)))?
        }
        _ => return Err(Mismatch(None)),
    };
    let list = compact(plain.as_list::<i32>());
    let values = cast(list.values(), item.data_type(), context, &mut list_report(&list, report))?;
    let out = ListArray::try_new(item.clone(), list.offsets().clone(), values, list.nulls().cloned());
    out.map(|list| Arc::new(list) as ArrayRef).map_err(|error| Mismatch(Some(error.to_string())))
}

/// The list without elements that stand before its first or after its last row.
fn compact(list: &ListArray) -> ListArray {
    let offsets = list.offsets();
    let (first, last) = match (offsets.first(), offsets.last()) {
        (Some(&first), Some(&last)) => (first, last),
        _ => return list.clone(),
    };
    if first == 0 && last as usize == list.values().len() {
        return list.clone();
    }
    let (field, _, _, nulls) = list.clone().into_parts();
    let values = list.values().slice(first as usize, (last - first) as usize);
    let offsets = OffsetBuffer::from_lengths(offsets.lengths());
    ListArray::new(field, offsets, values, nulls)
}

/// A struct with fields in any order as one with `fields`.
pub(super) fn cast_struct(
    array: &StructArray,
    fields: &Fields,
    context: &CastContext<'_>,
    report: &mut Report<'_>,
) -> Result<ArrayRef, Mismatch> {
    let given = array.fields();
    let mut used = vec![false; given.len()];
    let mut columns = Vec::with_capacity(fields.len());
    let whole: ArrayRef = Arc::new(array.clone());
    for field in fields {
        let exact = given.iter().position(|from| from.name() == field.name());
        let wanted = || normalized(field.name());
        let source = exact.or_else(|| given.iter().position(|from| normalized(from.name()) == wanted()));
        columns.push(match source {
            Some(i) => {
                used[i] = true;
                cast(array.column(i), field.data_type(), context, &mut struct_report(&whole, report)).map_err(
                    |mismatch| {
                        let detail = mismatch.0.unwrap_or_else(|| {
                            format!(
                                "the data has {}, the table {}",
                                sql_type(given[i].data_type()),
                                sql_type(field.data_type())
                            )
                        });
                        Mismatch(Some(format!("field '{}': {detail}", field.name())))
                    },
                )?
            }
            None => new_null_array(field.data_type(), array.len()),
        });
    }
    if let (false, Some(i)) = (context.ignore_unknown, used.iter().position(|used| !used)) {
        return Err(Mismatch(Some(format!("the struct of the table has no field '{}'", given[i].name()))));
    }
    let out = StructArray::try_new_with_length(fields.clone(), columns, array.nulls().cloned(), array.len());
    out.map(|out| Arc::new(out) as ArrayRef).map_err(|error| Mismatch(Some(error.to_string())))
}

/// Reports for elements of `list` become reports for its rows; elements outside of any row are nobody's.
pub(super) fn list_report<'a>(
    list: &'a ListArray,
    report: &'a mut Report<'_>,
) -> impl FnMut(usize, RejectCode, &dyn Fn() -> String) + 'a {
    move |element, code, message| {
        let offsets = list.offsets();
        let row = offsets.partition_point(|&offset| offset as usize <= element);
        if row > 0 && row < offsets.len() && list.is_valid(row - 1) {
            report(row - 1, code, &|| format!("list element {}: {}", element - offsets[row - 1] as usize, message()));
        }
    }
}

/// Reports for a field of a struct: what stands under a NULL struct is nobody's.
pub(super) fn struct_report<'a>(
    parent: &'a ArrayRef,
    report: &'a mut Report<'_>,
) -> impl FnMut(usize, RejectCode, &dyn Fn() -> String) + 'a {
    move |row, code, message| {
        if parent.is_valid(row) {
            report(row, code, message);
        }
    }
}
