//! Is a name that repeats refused where it would lose a value, and nowhere else?

use std::sync::Arc;

use arrow::array::Int64Array;
use arrow::datatypes::{Field, Schema};

use super::*;

fn field(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

/// One row with these columns, numbered from 1.
fn batch(names: &[&str]) -> RecordBatch {
    let fields: Vec<_> = names.iter().map(|name| field(name, DataType::Int64)).collect();
    let columns = (1..=names.len() as i64).map(|n| Arc::new(Int64Array::from(vec![n])) as ArrayRef);
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.collect()).unwrap()
}

/// The same as the one column `s`.
fn nested(names: &[&str]) -> RecordBatch {
    let structs: ArrayRef = Arc::new(StructArray::from(batch(names)));
    let schema = Schema::new(vec![field("s", structs.data_type().clone())]);
    RecordBatch::try_new(Arc::new(schema), vec![structs]).unwrap()
}

fn refused(batch: &RecordBatch) -> Option<String> {
    let error = write_objects(batch, &mut Vec::new()).err()?;
    assert_eq!(error.code(), Code::InvalidRequest);
    assert!(error.hint_text().is_some_and(|hint| hint.contains("alias")));
    Some(error.message().to_owned())
}

#[test]
fn an_object_with_a_name_twice_is_refused() {
    let message = refused(&batch(&["id", "n", "id"])).unwrap();
    assert!(message.contains("two columns") && message.contains("'id'"), "{message}");
    let message = refused(&nested(&["a", "a"])).unwrap();
    assert!(message.contains("two fields") && message.contains("'a'"), "{message}");
    for names in [&["id", "ID", "n"][..], &["id"]] {
        assert_eq!(refused(&batch(names)), None, "{names:?}");
        assert_eq!(refused(&nested(names)), None, "{names:?}");
    }
}

#[test]
fn rows_as_arrays_have_places_instead() {
    let batch = batch(&["id", "id"]);
    assert_eq!(JsonEncoder::new(batch.schema()).batch(&batch).unwrap(), "\n[1,2]");
}
