//! Do definitions hold what they promise?

mod disk;
mod names;
mod nan;
mod tables;
mod types;

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};

use super::{ColumnDef, NewTable, TableDef, define};
use crate::env::{Env, ManualClock, Rng};
use crate::error::Result;

/// Bytes that count up, so that identities are the same in every run.
struct CountingRng;

impl Rng for CountingRng {
    fn fill(&self, out: &mut [u8]) {
        for (i, byte) in out.iter_mut().enumerate() {
            *byte = i as u8;
        }
    }
}

pub(crate) fn test_env() -> Env {
    Env { clock: Arc::new(ManualClock::at(1_700_000_000_000_000)), rng: Arc::new(CountingRng), ..Env::system() }
}

pub(crate) fn plain() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

pub(crate) fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// A column; a name that ends in `!` is NOT NULL.
pub(crate) fn column(name: &str, data_type: DataType) -> ColumnDef {
    let nullable = !name.ends_with('!');
    ColumnDef { name: name.trim_end_matches('!').to_owned(), data_type, nullable, comment: None, max_chars: None }
}

pub(crate) fn new_table(columns: &[(&str, DataType)], key: &[&str], options: &[(&str, &str)]) -> NewTable {
    NewTable {
        schema_name: "public".into(),
        name: "t".into(),
        columns: columns.iter().map(|(name, data_type)| column(name, data_type.clone())).collect(),
        key: key.iter().map(|name| (*name).to_owned()).collect(),
        options: options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        from_data: false,
    }
}

pub(crate) fn defined(columns: &[(&str, DataType)], key: &[&str], options: &[(&str, &str)]) -> TableDef {
    try_define(columns, key, options).unwrap().0
}

fn try_define(columns: &[(&str, DataType)], key: &[&str], options: &[(&str, &str)]) -> Result<(TableDef, Vec<String>)> {
    define(new_table(columns, key, options), &test_env())
}
