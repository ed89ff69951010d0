//! Is the answer always exact, whatever the keys, the classes and the layers?

mod cold;
mod disk;
mod files;
mod keys;
mod life;
mod memory;
mod model;
mod refusals;
mod runs;
mod streams;
mod tiers;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use uuid::Uuid;

use super::{KeySpec, Keys};
use crate::catalog::{ColumnDef, Durability, SealOptions, TableDef, TableOptions};
use crate::ids::{SchemaId, TableId};

/// A table whose columns are all in its key.
pub(super) fn table(types: &[DataType]) -> TableDef {
    let columns: Vec<ColumnDef> = types
        .iter()
        .enumerate()
        .map(|(i, data_type)| ColumnDef {
            name: format!("c{i}"),
            data_type: data_type.clone(),
            nullable: false,
            comment: None,
            max_chars: None,
        })
        .collect();
    let fields: Vec<Field> =
        columns.iter().map(|column| Field::new(&column.name, column.data_type.clone(), false)).collect();
    TableDef {
        id: TableId(Uuid::from_u128(7)),
        schema_name: "main".to_owned(),
        name: "t".to_owned(),
        folder: "t".to_owned(),
        schema_id: SchemaId(1),
        key: (0..columns.len()).collect(),
        columns,
        options: TableOptions {
            time_column: None,
            sort_by: Vec::new(),
            max_future_us: 0,
            max_lateness_us: None,
            durability: Durability::Fsync,
            system_columns: true,
            seal: SealOptions::default(),
            dedup_window_us: None,
            retention_us: None,
        },
        hash_key: *b"0123456789abcdef",
        created_at_us: 0,
        arrow_schema: Arc::new(Schema::new(fields)),
    }
}

pub(super) fn spec(types: &[DataType]) -> KeySpec {
    KeySpec::new(&table(types)).expect("the table has a key")
}

/// Numbers without order, the same in every run (SplitMix64, Steele and others, 2014).
pub(super) fn random(i: u64) -> u64 {
    let mut z = i.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Keys of either kind for the same numbers, which are random.
pub(super) fn numbered(is_integer: bool, numbers: std::ops::Range<u64>) -> Keys {
    match is_integer {
        true => Keys::Integers(numbers.map(random).collect()),
        false => Keys::Hashes(numbers.map(|i| u128::from(random(i)) << 64 | u128::from(random(!i))).collect()),
    }
}

/// The type of a key whose keys are of that kind.
pub(super) fn kind_type(is_integer: bool) -> DataType {
    if is_integer { DataType::Int64 } else { DataType::Utf8 }
}

/// Ids as many services make them: 41 bits of milliseconds, 10 of machine (eight run), 12 of a counter (ten a millisecond).
pub(super) fn snowflake(i: u64) -> u64 {
    let (counter, machine, ms) = (i % 10, i / 10 % 8, 1_700_000_000_000 - 1_288_834_974_657 + i / 80);
    ms << 22 | machine << 12 | counter
}
