//! What is a table? Its columns, key and options, immutable once made, and the statement that makes it again.

use std::fmt::Write;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::names::normalized;
use super::options::TableOptions;
use super::types::{quoted, sql_type};
use crate::ids::{SchemaId, TableId};

/// A column. `data_type` is one of the canonical storage types: Boolean, Int8..Int64, UInt8..UInt64, Float32, Float64,
/// Decimal128, Utf8, Binary, Date32, Time64(µs), Timestamp(µs, None or "UTC"), List and Struct of these.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnDef {
    pub name: String,
    pub data_type: DataType,
    pub nullable: bool,
    pub comment: Option<String>,
    /// Characters (Unicode scalar values) that a text of the column may have: VARCHAR(n). `None` is any number.
    pub max_chars: Option<u32>,
}

/// A table's definition: immutable; a change makes a new one with the next schema id.
#[derive(Debug, Clone, PartialEq)]
pub struct TableDef {
    pub id: TableId,
    pub schema_name: String,
    pub name: String,
    pub schema_id: SchemaId,
    pub columns: Vec<ColumnDef>,
    /// Indexes of the primary key's columns; empty means no deduplication by key.
    pub key: Vec<usize>,
    pub options: TableOptions,
    /// Secret of the keyed 128-bit hash of keys that are not integers. Made with the table, part of its definition.
    pub hash_key: [u8; 16],
    pub created_at_us: i64,
    /// Name of its Delta folder, made from its first name and its id: a table that is renamed stays where it is.
    pub folder: String,
    /// The columns as Arrow, in order.
    pub arrow_schema: SchemaRef,
}

/// What CREATE TABLE asks for; names as the user's, options as text.
#[derive(Debug, Clone, Default)]
pub struct NewTable {
    pub schema_name: String,
    pub name: String,
    /// Of any Arrow type that has a canonical storage type, see [`super::canonical_type`].
    pub columns: Vec<ColumnDef>,
    pub key: Vec<String>,
    pub options: Vec<(String, String)>,
    /// The shape was taken from data (bulk ingest, CLI): a missing or ambiguous time column is a notice, not an error.
    pub from_data: bool,
}

/// A named SELECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    pub schema_name: String,
    pub name: String,
    pub sql: String,
}

impl ColumnDef {
    /// The type as SQL writes it, with the length that a text may have. CREATE TABLE makes the same column from it.
    pub fn sql_type(&self) -> String {
        let name = sql_type(&self.data_type);
        match self.max_chars {
            Some(max_chars) => format!("{name}({max_chars})"),
            None => name,
        }
    }
}

impl TableDef {
    /// The column called `name`: letter for letter, else without regard to case.
    pub fn column_index(&self, name: &str) -> Option<usize> {
        column_index(&self.columns, name)
    }

    /// All options with their effective values, as CREATE TABLE takes them.
    pub fn options_text(&self) -> Vec<(String, String)> {
        self.options.to_text(&self.columns, !self.key.is_empty())
    }

    /// The SQL statement that makes this table again, with every option spelled out.
    pub fn create_statement(&self) -> String {
        let mut sql = format!("CREATE TABLE {}.{} (\n", quoted(&self.schema_name), quoted(&self.name));
        for (i, column) in self.columns.iter().enumerate() {
            let not_null = if column.nullable { "" } else { " NOT NULL" };
            let comment =
                column.comment.as_deref().map(|text| format!(" COMMENT {}", literal(text))).unwrap_or_default();
            let comma = if i + 1 < self.columns.len() || !self.key.is_empty() { "," } else { "" };
            // Writing to a String cannot fail.
            let _ = writeln!(sql, "  {} {}{not_null}{comment}{comma}", quoted(&column.name), column.sql_type());
        }
        if !self.key.is_empty() {
            let names: Vec<String> = self.key.iter().map(|&i| quoted(&self.columns[i].name)).collect();
            let _ = writeln!(sql, "  PRIMARY KEY ({})", names.join(", "));
        }
        let options: Vec<String> =
            self.options_text().iter().map(|(name, value)| format!("{name} = {}", literal(value))).collect();
        let _ = write!(sql, ") WITH ({})", options.join(", "));
        sql
    }
}

/// The folder of a new table: what of its name may stand in any path and URL, and its id.
pub(super) fn folder_of(name: &str, id: TableId) -> String {
    const CHARS: usize = 64;
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
    let name: String = name.chars().take(CHARS).map(plain).collect();
    format!("{name}-{id}")
}

/// See [`TableDef::column_index`].
pub(super) fn column_index(columns: &[ColumnDef], name: &str) -> Option<usize> {
    columns.iter().position(|column| column.name == name).or_else(|| {
        let wanted = normalized(name);
        columns.iter().position(|column| normalized(&column.name) == wanted)
    })
}

/// The Arrow schema of `columns`.
pub(super) fn arrow_schema(columns: &[ColumnDef]) -> SchemaRef {
    let fields: Vec<Field> =
        columns.iter().map(|column| Field::new(&column.name, column.data_type.clone(), column.nullable)).collect();
    Arc::new(Schema::new(fields))
}

/// A text literal of SQL.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
