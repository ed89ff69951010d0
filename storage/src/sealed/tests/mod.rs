//! Does what settles hold the same rows, and is what is said of it true?

mod disk;
mod faulty;
mod files;
mod layout;
mod plan;
mod sidecars;
mod stores;

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, Float32Array, Float64Array, Int64Array, ListArray,
    PrimitiveArray, RecordBatch, StringArray, StructArray, make_comparator,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::SortOptions;
use arrow::datatypes::{
    DataType as T, Date32Type, Decimal128Type, Field, Int8Type, Int16Type, Int32Type, Int64Type, Time64MicrosecondType,
    TimeUnit, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};

use super::bounds::ColumnBounds;
use super::writer::SourceRows;
use crate::catalog::TableDef;
use crate::catalog::tests::{defined, instant, plain};

/// A table with every type.
fn all_types(options: &[(&str, &str)]) -> TableDef {
    let list = T::List(Field::new_list_field(T::UInt64, true).into());
    let inner = T::Struct(vec![Field::new("u", T::UInt8, true), Field::new("T", T::Float64, true)].into());
    let structure = T::Struct(
        vec![
            Field::new("x", T::UInt16, true),
            Field::new("Y", T::List(Field::new_list_field(T::Time64(TimeUnit::Microsecond), true).into()), true),
            Field::new("z", inner.clone(), true),
        ]
        .into(),
    );
    let structures = T::List(Field::new_list_field(inner, true).into());
    let columns = [
        ("nested", structure),
        ("id!", T::Int64),
        ("b", T::Boolean),
        ("i8", T::Int8),
        ("i16", T::Int16),
        ("i32", T::Int32),
        ("i64", T::Int64),
        ("u8", T::UInt8),
        ("u16", T::UInt16),
        ("u32", T::UInt32),
        ("u64", T::UInt64),
        ("f32", T::Float32),
        ("f64", T::Float64),
        ("small", T::Decimal128(7, 2)),
        ("wide", T::Decimal128(38, 10)),
        ("text", T::Utf8),
        ("raw", T::Binary),
        ("day", T::Date32),
        ("clock", T::Time64(TimeUnit::Microsecond)),
        ("plain", plain()),
        ("at", instant()),
        ("list", list),
        ("lists", structures),
    ];
    let options: Vec<(&str, &str)> = [("time_column", "none")].into_iter().chain(options.iter().copied()).collect();
    defined(&columns, &["id"], &options)
}

/// Numbers without order, the same in every run (SplitMix64, Steele and others, 2014).
fn random(i: u64) -> i64 {
    let mut z = i.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ (z >> 31)).cast_signed()
}

/// Rows of a table, the same for the same seed; NULLs where they are allowed.
fn random_rows(def: &TableDef, n_rows: usize, seed: u64) -> RecordBatch {
    let columns = def.columns.iter().zip(0_u64..).map(|(column, at)| {
        let draws: Vec<Option<i64>> = (0..n_rows as u64)
            .map(|row| random(seed ^ (at << 40) ^ row))
            .map(|draw| Some(draw).filter(|draw| !column.nullable || draw.rem_euclid(5) != 0))
            .collect();
        values(&column.data_type, &draws)
    });
    RecordBatch::try_new(Arc::clone(&def.arrow_schema), columns.collect()).expect("rows of the table")
}

/// A value of the type for each number, extremes among them; NULL for none.
fn values(data_type: &T, draws: &[Option<i64>]) -> ArrayRef {
    macro_rules! integers {
        ($t:ty) => {{
            type Native = <$t as ArrowPrimitiveType>::Native;
            let value = |draw: i64| match draw.rem_euclid(16) {
                1 => Native::MIN,
                2 => Native::MAX,
                _ => draw as Native,
            };
            Arc::new(draws.iter().map(|draw| draw.map(value)).collect::<PrimitiveArray<$t>>())
        }};
    }
    match data_type {
        T::Boolean => Arc::new(draws.iter().map(|draw| draw.map(|draw| draw & 1 == 1)).collect::<BooleanArray>()),
        T::Int8 => integers!(Int8Type),
        T::Int16 => integers!(Int16Type),
        T::Int32 => integers!(Int32Type),
        T::Int64 => integers!(Int64Type),
        T::UInt8 => integers!(UInt8Type),
        T::UInt16 => integers!(UInt16Type),
        T::UInt32 => integers!(UInt32Type),
        T::UInt64 => integers!(UInt64Type),
        T::Float32 => Arc::new(draws.iter().map(|draw| draw.map(|draw| float(draw) as f32)).collect::<Float32Array>()),
        T::Float64 => Arc::new(draws.iter().map(|draw| draw.map(float)).collect::<Float64Array>()),
        T::Decimal128(precision, scale) => {
            let limit = 10_i128.pow(u32::from(*precision));
            let value = |draw: i64| match draw.rem_euclid(16) {
                1 => 1 - limit,
                2 => limit - 1,
                _ => i128::from(draw) % limit,
            };
            let values = draws.iter().map(|draw| draw.map(value)).collect::<PrimitiveArray<Decimal128Type>>();
            Arc::new(values.with_precision_and_scale(*precision, *scale).expect("a decimal"))
        }
        T::Utf8 => Arc::new(draws.iter().map(|draw| draw.map(text)).collect::<StringArray>()),
        T::Binary => Arc::new(draws.iter().map(|draw| draw.map(bytes)).collect::<BinaryArray>()),
        T::Date32 => integers!(Date32Type),
        T::Time64(_) => {
            let value = |draw: i64| draw.rem_euclid(86_400_000_000);
            Arc::new(draws.iter().map(|draw| draw.map(value)).collect::<PrimitiveArray<Time64MicrosecondType>>())
        }
        T::Timestamp(_, zone) => {
            let values = draws.iter().copied().collect::<PrimitiveArray<TimestampMicrosecondType>>();
            Arc::new(values.with_timezone_opt(zone.clone()))
        }
        T::List(item) => {
            let lengths: Vec<usize> =
                draws.iter().map(|draw| draw.map_or(0, |draw| draw.rem_euclid(4) as usize)).collect();
            let items: Vec<Option<i64>> = (0..lengths.iter().sum::<usize>() as u64)
                .map(|at| Some(random(at ^ 0xABCD)).filter(|draw| draw.rem_euclid(4) != 0))
                .collect();
            let nulls: NullBuffer = draws.iter().map(Option::is_some).collect();
            let offsets = OffsetBuffer::from_lengths(lengths);
            let values = values(item.data_type(), &items);
            Arc::new(ListArray::new(Arc::clone(item), offsets, values, Some(nulls)))
        }
        T::Struct(fields) => {
            let columns = fields.iter().zip(1_i64..).map(|(field, at)| {
                let draw = |draw: i64| draw.wrapping_mul(31) ^ at;
                let draws: Vec<Option<i64>> = draws.iter().map(|drawn| drawn.map(draw)).collect();
                values(field.data_type(), &draws)
            });
            let nulls: NullBuffer = draws.iter().map(Option::is_some).collect();
            Arc::new(StructArray::new(fields.clone(), columns.collect(), Some(nulls)))
        }
        other => panic!("{other} is no type of a table"),
    }
}

fn float(draw: i64) -> f64 {
    match draw.rem_euclid(64) {
        1 => -0.0,
        2 => 0.0,
        3 => f64::INFINITY,
        4 => f64::NEG_INFINITY,
        5 => f64::NAN,
        6 => -f64::NAN,
        _ => draw as f64 / 3.0,
    }
}

fn text(draw: i64) -> String {
    match draw.rem_euclid(16) {
        1 => String::new(),
        2 => format!("{}{draw}", "é".repeat(40)),
        3 => "\u{10FFFF}".repeat(30),
        4 => format!("{}{draw}", "x".repeat(70)),
        5 => "\0".into(),
        _ => format!("t{}", draw % 1000),
    }
}

fn bytes(draw: i64) -> Vec<u8> {
    match draw.rem_euclid(16) {
        1 => Vec::new(),
        2 => vec![u8::MAX; 70],
        3 => [vec![7; 63], vec![u8::MAX; 10]].concat(),
        _ => draw.to_be_bytes().to_vec(),
    }
}

/// A piece of rows; an entry is stamped a thousand times its sequence.
fn source(rows: RecordBatch, seqs: Vec<i64>) -> SourceRows {
    let mut stamps: Vec<(i64, i64)> = seqs.iter().map(|&seq| (seq, 1000 * seq)).collect();
    stamps.sort_unstable();
    stamps.dedup();
    SourceRows { rows, seqs: Int64Array::from(seqs), stamps: stamps.into() }
}

/// Checks that all values lie within the bounds, and that there are bounds where there should be.
fn check_bounds(column: &ArrayRef, bounds: &ColumnBounds) {
    assert_eq!(bounds.nulls, column.null_count() as u64);
    for (bound, is_wrong) in [(&bounds.min, Ordering::Less), (&bounds.max, Ordering::Greater)] {
        let Some(bound) = bound else { continue };
        assert_eq!((bound.len(), bound.null_count(), bound.data_type()), (1, 0, column.data_type()));
        let compare = make_comparator(column, bound, SortOptions::default()).expect("comparable");
        for row in (0..column.len()).filter(|&row| column.is_valid(row)) {
            assert_ne!(compare(row, 0), is_wrong, "row {row}: {column:?} and {bound:?}");
        }
    }
    let is_exact = column.data_type().is_integer() || matches!(column.data_type(), T::Date32 | T::Timestamp(..));
    if is_exact && column.null_count() < column.len() {
        assert!(bounds.min.is_some() && bounds.max.is_some(), "{column:?}");
    }
}
