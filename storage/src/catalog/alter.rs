//! What may ALTER TABLE change? A pure step from one definition to the next; each has the next schema id.

use arrow::datatypes::DataType;

use super::define::check_length;
use super::definition::{ColumnDef, TableDef, arrow_schema};
use super::names::{check_column_name, check_name, nearest, normalized};
use super::options::{ParseContext, TableOptions};
use super::types::{canonical_type, sql_type};
use crate::error::{Code, Error, Result};
use crate::ids::SchemaId;
use crate::limits::MAX_COLUMNS;

/// One change of a definition.
#[derive(Debug, Clone, PartialEq)]
pub enum TableChange {
    /// A nullable column behind all others.
    AddColumn(ColumnDef),
    DropNotNull {
        column: String,
    },
    /// Another name in the same schema.
    Rename {
        name: String,
    },
    /// As CREATE TABLE takes them; others keep their values.
    SetOptions(Vec<(String, String)>),
    /// Another type; only while the table has no rows, unless it is text that may be longer than before.
    SetType {
        column: String,
        data_type: DataType,
        /// As in [`ColumnDef`].
        max_chars: Option<u32>,
    },
}

impl TableChange {
    /// Rows of `def` may be none of the table after it: a column has another type, or its texts must be shorter.
    pub(crate) fn narrows(&self, def: &TableDef) -> bool {
        let Self::SetType { column, data_type, max_chars } = self else { return false };
        let Some(at) = def.column_index(column) else { return false };
        let known = &def.columns[at];
        let is_shorter = max_chars.is_some_and(|most| known.max_chars.is_none_or(|known| most < known));
        is_shorter || canonical_type(data_type).ok().as_ref() != Some(&known.data_type)
    }
}

/// Options that rows and files rest on.
const FIXED_OPTIONS: [&str; 3] = ["time_column", "sort_by", "system_columns"];

impl TableDef {
    /// The definition after `change`. `INVALID_DEFINITION`, `INVALID_NAME` or `INVALID_OPTION` when it may not be made.
    pub fn with_change(&self, change: &TableChange) -> Result<Self> {
        let mut next = self.clone();
        next.schema_id = SchemaId(self.schema_id.0 + 1);
        match change {
            TableChange::AddColumn(column) => next.columns.push(self.added(column)?),
            TableChange::DropNotNull { column } => {
                let at = self.column_at(column)?;
                if self.key.contains(&at) || self.options.time_column == Some(at) {
                    return Err(invalid(format!(
                        "the column '{column}' is of the key or the time column: it stays NOT NULL"
                    )));
                }
                next.columns[at].nullable = true;
            }
            TableChange::Rename { name } => {
                check_name("table", name)?;
                next.name.clone_from(name);
            }
            TableChange::SetOptions(options) => next.options = self.with_options(options)?,
            TableChange::SetType { column, data_type, max_chars } => {
                let at = self.column_at(column)?;
                if self.key.contains(&at) || self.options.time_column == Some(at) {
                    return Err(invalid(format!(
                        "the column '{column}' is of the key or the time column: its type stays"
                    )));
                }
                next.columns[at].data_type = canonical_type(data_type)?;
                next.columns[at].max_chars = *max_chars;
                check_length(&next.columns[at])?;
                if self.options.sort_by.contains(&at) && next.columns[at].data_type.is_nested() {
                    return Err(invalid(format!(
                        "rows are sorted by '{column}', which a {} has no order for",
                        sql_type(data_type)
                    )));
                }
            }
        }
        next.arrow_schema = arrow_schema(&next.columns);
        Ok(next)
    }

    fn column_at(&self, name: &str) -> Result<usize> {
        self.column_index(name).ok_or_else(|| {
            let error = invalid(format!("table {} has no column '{name}'", self.name));
            match nearest(name, self.columns.iter().map(|column| column.name.as_str()), 1).first() {
                Some(near) => error.hint(format!("did you mean '{near}'?")),
                None => error,
            }
        })
    }

    fn added(&self, column: &ColumnDef) -> Result<ColumnDef> {
        check_column_name(&column.name)?;
        if self.columns.iter().any(|known| normalized(&known.name) == normalized(&column.name)) {
            return Err(invalid(format!(
                "table {} has a column '{}' (names are compared without regard to case)",
                self.name, column.name
            ))
            .hint("use ADD COLUMN IF NOT EXISTS"));
        }
        if self.columns.len() >= MAX_COLUMNS {
            return Err(invalid(format!("table {} has {MAX_COLUMNS} columns, which is the limit", self.name)));
        }
        if !column.nullable {
            return Err(invalid(format!(
                "the column '{}' must be nullable: rows that are there have no value",
                column.name
            )));
        }
        let column = ColumnDef { data_type: canonical_type(&column.data_type)?, ..column.clone() };
        check_length(&column)?;
        Ok(column)
    }

    fn with_options(&self, changed: &[(String, String)]) -> Result<TableOptions> {
        let is_changed = |name: &str| changed.iter().any(|(changed, _)| changed.eq_ignore_ascii_case(name));
        if let Some(fixed) = FIXED_OPTIONS.into_iter().find(|name| is_changed(name)) {
            return Err(Error::new(Code::InvalidOption, format!("the option {fixed} of a table cannot be changed"))
                .hint("create another table with it and INSERT INTO … SELECT"));
        }
        let kept = self.options_text().into_iter().filter(|(name, _)| !is_changed(name));
        let options: Vec<(String, String)> = kept.chain(changed.iter().cloned()).collect();
        let context = ParseContext { columns: &self.columns, key: &self.key, from_data: false };
        Ok(TableOptions::parse(&options, &context)?.0)
    }
}

fn invalid(message: String) -> Error {
    Error::new(Code::InvalidDefinition, message)
}
