//! May this table be made, and what does it look like then? Checks of names, types, key and options.

use std::collections::HashSet;

use arrow::datatypes::DataType;

use super::definition::{ColumnDef, NewTable, TableDef, arrow_schema, column_index, folder_of};
use super::names::{check_column_name, check_name, nearest, normalized};
use super::options::{ParseContext, TableOptions};
use super::types::{canonical_type, named, sql_type};
use crate::env::Env;
use crate::error::{Code, Error, Result};
use crate::ids::{SchemaId, TableId};
use crate::limits::MAX_COLUMNS;

/// Makes the definition of a new table, with notices for the user. Identity, hash key and time come from `env`.
///
/// Key and time columns become NOT NULL. Errors: `INVALID_NAME`, `INVALID_DEFINITION`, `INVALID_OPTION`,
/// `UNSUPPORTED_OPTION`. Whether the table's name is free is the caller's to check.
pub fn define(new: NewTable, env: &Env) -> Result<(TableDef, Vec<String>)> {
    check_name("schema", &new.schema_name)?;
    check_name("table", &new.name)?;
    let mut columns = checked_columns(new.columns, &new.name)?;
    let key = checked_key(&new.key, &columns)?;
    for &i in &key {
        columns[i].nullable = false;
    }
    let context = ParseContext { columns: &columns, key: &key, from_data: new.from_data };
    let (options, notices) = TableOptions::parse(&new.options, &context)?;
    if let Some(i) = options.time_column {
        columns[i].nullable = false;
    }
    let mut hash_key = [0; 16];
    env.rng.fill(&mut hash_key);
    let id = TableId(env.rng.uuid());
    let def = TableDef {
        folder: folder_of(&new.name, id),
        id,
        schema_name: new.schema_name,
        name: new.name,
        schema_id: SchemaId(1),
        arrow_schema: arrow_schema(&columns),
        columns,
        key,
        options,
        hash_key,
        created_at_us: env.clock.now_us(),
    };
    Ok((def, notices))
}

fn checked_columns(columns: Vec<ColumnDef>, table: &str) -> Result<Vec<ColumnDef>> {
    if columns.is_empty() {
        return Err(invalid(format!("the table '{table}' has no columns")));
    }
    if columns.len() > MAX_COLUMNS {
        return Err(invalid(format!("the table '{table}' has {} columns, the limit is {MAX_COLUMNS}", columns.len())));
    }
    let mut seen = HashSet::with_capacity(columns.len());
    let mut out = Vec::with_capacity(columns.len());
    for column in columns {
        check_column_name(&column.name)?;
        if !seen.insert(normalized(&column.name)) {
            return Err(invalid(format!(
                "two columns are called '{}' (names are compared without regard to case)",
                column.name
            )));
        }
        let data_type = canonical_type(&column.data_type).map_err(|error| named("column", &column.name, &error))?;
        let column = ColumnDef { data_type, ..column };
        check_length(&column)?;
        out.push(column);
    }
    Ok(out)
}

/// The longest length of text: clients read it as a signed number of 32 bits.
const MAX_TEXT_CHARS: u32 = i32::MAX.unsigned_abs();

/// A length is one of text, and lets some text in.
pub(super) fn check_length(column: &ColumnDef) -> Result<()> {
    match column.max_chars {
        Some(_) if column.data_type != DataType::Utf8 => {
            let data_type = sql_type(&column.data_type);
            Err(invalid(format!("the column '{}' is {data_type}, which has no length in characters", column.name)))
        }
        Some(0) => Err(invalid(format!("the column '{}' has a length of 0 characters", column.name))
            .hint("give VARCHAR(n) an n of at least 1, or leave it out for text of any length")),
        Some(max_chars) if max_chars > MAX_TEXT_CHARS => Err(invalid(format!(
            "the column '{}' has a length of {max_chars} characters, which is out of range",
            column.name
        ))
        .hint(format!("give VARCHAR(n) an n of at most {MAX_TEXT_CHARS}, or leave it out for text of any length"))),
        _ => Ok(()),
    }
}

fn checked_key(names: &[String], columns: &[ColumnDef]) -> Result<Vec<usize>> {
    let mut key = Vec::with_capacity(names.len());
    for name in names {
        let i = column_index(columns, name).ok_or_else(|| {
            let shown: String = name.chars().take(40).collect();
            let error = invalid(format!("the primary key names '{shown}', which is not a column of the table"));
            match nearest(name, columns.iter().map(|column| column.name.as_str()), 1).first() {
                Some(near) => error.hint(format!("did you mean '{near}'?")),
                None => error,
            }
        })?;
        let column = &columns[i];
        if matches!(column.data_type, DataType::Float32 | DataType::Float64) || column.data_type.is_nested() {
            return Err(invalid(format!(
                "the column '{}' is {} and cannot be in a primary key",
                column.name,
                sql_type(&column.data_type)
            ))
            .hint("a key may have columns of any type but REAL, DOUBLE, lists and structs"));
        }
        if key.contains(&i) {
            return Err(invalid(format!("the primary key names '{}' twice", column.name)));
        }
        key.push(i);
    }
    Ok(key)
}

fn invalid(message: String) -> Error {
    Error::new(Code::InvalidDefinition, message)
}
