//! Which table, and what shape has it?

use arrow::datatypes::SchemaRef;
use tidewater_proto::ingest::v1 as pb;

use crate::error::{Error, Result};
use crate::ipc::decode_schema;

/// A table by name, as stored: unquoted SQL names are stored in lower case. A plain string is a table in `public`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TableName {
    pub schema: String,
    pub table: String,
}

impl TableName {
    pub fn new(schema: impl Into<String>, table: impl Into<String>) -> Self {
        Self { schema: schema.into(), table: table.into() }
    }
}

impl From<&str> for TableName {
    fn from(table: &str) -> Self {
        Self::new("public", table)
    }
}

impl From<String> for TableName {
    fn from(table: String) -> Self {
        Self::new("public", table)
    }
}

impl From<TableName> for pb::TableRef {
    fn from(name: TableName) -> Self {
        Self { catalog: String::new(), schema: name.schema, table: name.table }
    }
}

/// The shape of a table.
#[derive(Debug, Clone)]
pub struct TableInfo {
    /// A UUID: another table of the same name has another.
    pub table_id: String,
    /// From 1; every change of the schema counts.
    pub version: u32,
    pub schema: SchemaRef,
    pub time_column: Option<String>,
    pub primary_key: Vec<String>,
    pub sort_by: Vec<String>,
}

impl TryFrom<pb::TableSchema> for TableInfo {
    type Error = Error;

    fn try_from(schema: pb::TableSchema) -> Result<Self> {
        Ok(Self {
            table_id: schema.table_id,
            version: schema.version,
            schema: decode_schema(&schema.arrow_schema)?,
            time_column: Some(schema.time_column).filter(|column| !column.is_empty()),
            primary_key: schema.primary_key,
            sort_by: schema.sort_by,
        })
    }
}
