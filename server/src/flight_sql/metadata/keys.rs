//! Which columns identify a row? Primary keys; there are no foreign keys.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_flight::sql::CommandGetPrimaryKeys;
use tidewater_query::{Session, VisibleCatalog};
use tidewater_storage::Result;

use crate::App;
use crate::flight_sql::command::CATALOG;

/// As in the Go and Java references, which order the last two columns the other way round than the .proto's comment.
pub(super) fn primary_keys_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("catalog_name", DataType::Utf8, true),
        Field::new("db_schema_name", DataType::Utf8, true),
        Field::new("table_name", DataType::Utf8, false),
        Field::new("column_name", DataType::Utf8, false),
        Field::new("key_sequence", DataType::Int32, false),
        Field::new("key_name", DataType::Utf8, true),
    ]))
}

/// Of GetExportedKeys, GetImportedKeys and GetCrossReference.
pub(super) fn foreign_keys_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("pk_catalog_name", DataType::Utf8, true),
        Field::new("pk_db_schema_name", DataType::Utf8, true),
        Field::new("pk_table_name", DataType::Utf8, false),
        Field::new("pk_column_name", DataType::Utf8, false),
        Field::new("fk_catalog_name", DataType::Utf8, true),
        Field::new("fk_db_schema_name", DataType::Utf8, true),
        Field::new("fk_table_name", DataType::Utf8, false),
        Field::new("fk_column_name", DataType::Utf8, false),
        Field::new("key_sequence", DataType::Int32, false),
        Field::new("fk_key_name", DataType::Utf8, true),
        Field::new("pk_key_name", DataType::Utf8, true),
        Field::new("update_rule", DataType::UInt8, false),
        Field::new("delete_rule", DataType::UInt8, false),
    ]))
}

/// The key columns of the tables of that name that the session's caller sees, in the key's order.
pub(super) fn primary_keys(app: &App, session: &Session, query: &CommandGetPrimaryKeys) -> Result<RecordBatch> {
    let is_ours = query.catalog.as_deref().is_none_or(|catalog| catalog == CATALOG);
    let (mut schemas, mut tables, mut columns, mut sequence) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let visible = VisibleCatalog::new(&app.storage, &session.principal);
    for table in visible.tables().into_iter().filter(|_| is_ours) {
        let def = table.def();
        if def.name != query.table || query.db_schema.as_ref().is_some_and(|schema| *schema != def.schema_name) {
            continue;
        }
        for (place, &column) in (1..).zip(&def.key) {
            schemas.push(def.schema_name.clone());
            tables.push(def.name.clone());
            columns.push(def.columns[column].name.clone());
            sequence.push(place);
        }
    }
    let n = columns.len();
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec![CATALOG; n])),
        Arc::new(StringArray::from(schemas)),
        Arc::new(StringArray::from(tables)),
        Arc::new(StringArray::from(columns)),
        Arc::new(Int32Array::from(sequence)),
        Arc::new(StringArray::from(vec![None::<&str>; n])),
    ];
    Ok(RecordBatch::try_new(primary_keys_schema(), arrays)?)
}
