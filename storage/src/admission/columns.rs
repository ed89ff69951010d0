//! Which column of the data is which column of the table? Matching by name, in any order.

use arrow::datatypes::Schema;

use super::refusals::shown;
use crate::catalog::{TableDef, nearest, normalized};
use crate::error::{Code, Error, Result};

/// For each column of the table, its place in the data. Names match letter for letter, else without regard to case.
///
/// `SCHEMA_MISMATCH` if the data has a column that the table lacks (unless `ignore_unknown`), has one twice, or lacks
/// one that may not be NULL.
pub(super) fn match_columns(def: &TableDef, data: &Schema, ignore_unknown: bool) -> Result<Vec<Option<usize>>> {
    let mut sources = vec![None; def.columns.len()];
    for (i, field) in data.fields().iter().enumerate() {
        match position(def, i, field.name()) {
            Some(target) if sources[target].is_some() => {
                return Err(mismatch(def, field.name(), "the data has the column twice", None));
            }
            Some(target) => sources[target] = Some(i),
            None if ignore_unknown => {}
            None => {
                let known = def.columns.iter().map(|column| column.name.as_str());
                let near = nearest(field.name(), known, 3);
                let hint = match near.as_slice() {
                    [] => "the table's columns are in system.columns".to_owned(),
                    near => format!("did you mean {}?", near.join(" or ")),
                };
                return Err(mismatch(def, field.name(), "the table has no such column", Some(hint)));
            }
        }
    }
    for (column, source) in def.columns.iter().zip(&sources) {
        if source.is_none() && !column.nullable {
            let hint = "send a value for it in every row, or declare it without NOT NULL".to_owned();
            return Err(mismatch(
                def,
                &column.name,
                "the data does not have the column, which may not be NULL",
                Some(hint),
            ));
        }
    }
    Ok(sources)
}

/// The table's column of that name. Looks at the same place first: most data comes in the table's order.
fn position(def: &TableDef, i: usize, name: &str) -> Option<usize> {
    if def.columns.get(i).is_some_and(|column| column.name == name) {
        return Some(i);
    }
    let wanted = normalized(name);
    def.columns.iter().position(|column| column.name == name).or_else(|| {
        // Two names of the data that differ by case alone are not told apart: the first takes the column, the second is an error.
        def.columns.iter().position(|column| normalized(&column.name) == wanted)
    })
}

fn mismatch(def: &TableDef, column: &str, why: &str, hint: Option<String>) -> Error {
    let column = shown(column);
    let error = Error::new(Code::SchemaMismatch, format!("table '{}', column '{column}': {why}", def.name))
        .with("table", &def.name)
        .with("column", &column);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}
