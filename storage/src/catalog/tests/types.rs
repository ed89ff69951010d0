//! Which type becomes which?

use std::sync::Arc;

use arrow::datatypes::{DataType as T, Field, IntervalUnit, TimeUnit, UnionFields, UnionMode};

use super::{instant, plain};
use crate::catalog::{canonical_type, delta_type, sql_type};
use crate::error::Code;

fn list(item: T) -> T {
    T::List(Arc::new(Field::new_list_field(item, true)))
}

fn structure(fields: &[(&str, T)]) -> T {
    T::Struct(fields.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true)).collect())
}

#[test]
fn types_have_a_canonical_one() {
    let item = |data_type: T| Arc::new(Field::new("element", data_type, false));
    let cases = [
        (T::LargeUtf8, T::Utf8),
        (T::Utf8View, T::Utf8),
        (T::Dictionary(Box::new(T::Int8), Box::new(T::LargeUtf8)), T::Utf8),
        (T::RunEndEncoded(Arc::new(Field::new("run_ends", T::Int32, false)), item(T::UInt8)), T::UInt8),
        (T::LargeBinary, T::Binary),
        (T::BinaryView, T::Binary),
        (T::FixedSizeBinary(16), T::Binary),
        (T::Float16, T::Float32),
        (T::Date64, T::Date32),
        (T::Time32(TimeUnit::Second), T::Time64(TimeUnit::Microsecond)),
        (T::Time64(TimeUnit::Nanosecond), T::Time64(TimeUnit::Microsecond)),
        (T::Timestamp(TimeUnit::Nanosecond, None), plain()),
        (T::Timestamp(TimeUnit::Second, Some("Europe/Berlin".into())), instant()),
        (T::Decimal32(9, 2), T::Decimal128(9, 2)),
        (T::Decimal64(18, 0), T::Decimal128(18, 0)),
        (T::Decimal256(38, 10), T::Decimal128(38, 10)),
        (T::Decimal128(5, -3), T::Decimal128(8, 0)),
        (T::Decimal128(2, 5), T::Decimal128(5, 5)),
        (T::LargeList(item(T::LargeUtf8)), list(T::Utf8)),
        (T::FixedSizeList(item(T::Int8), 3), list(T::Int8)),
        (T::ListView(item(T::Int8)), list(T::Int8)),
        (T::LargeListView(item(list(T::Utf8View))), list(list(T::Utf8))),
        (T::Struct(vec![Field::new("a", T::LargeUtf8, false)].into()), structure(&[("a", T::Utf8)])),
    ];
    for (given, expected) in cases {
        assert_eq!(canonical_type(&given).unwrap(), expected, "{given}");
        assert_eq!(canonical_type(&expected).unwrap(), expected, "canonical types stay");
    }
}

#[test]
fn types_without_a_canonical_one_are_refused() {
    let deep = (0..20).fold(T::Int8, |inner, _| list(inner));
    let cases = [
        T::Null,
        T::Duration(TimeUnit::Second),
        T::Interval(IntervalUnit::DayTime),
        T::Map(Arc::new(Field::new("entries", structure(&[("keys", T::Utf8), ("values", T::Utf8)]), false)), false),
        T::Union(UnionFields::empty(), UnionMode::Dense),
        T::Decimal256(39, 0),
        T::Decimal128(38, -1),
        structure(&[]),
        structure(&[("a", T::Int8), ("A", T::Int8)]),
        structure(&[("a b", T::Int8)]),
        list(T::Null),
        deep,
    ];
    for given in cases {
        let error = canonical_type(&given).unwrap_err();
        assert!(matches!(error.code(), Code::InvalidDefinition | Code::InvalidName), "{given}: {error}");
    }
}

#[test]
fn types_have_names() {
    let cases = [
        (T::Boolean, "BOOLEAN", "boolean"),
        (T::Int8, "TINYINT", "byte"),
        (T::Int16, "SMALLINT", "short"),
        (T::Int32, "INTEGER", "integer"),
        (T::Int64, "BIGINT", "long"),
        (T::UInt8, "UTINYINT", "short"),
        (T::UInt16, "USMALLINT", "integer"),
        (T::UInt32, "UINTEGER", "long"),
        (T::UInt64, "UBIGINT", "decimal(20,0)"),
        (T::Float32, "REAL", "float"),
        (T::Float64, "DOUBLE", "double"),
        (T::Decimal128(10, 2), "DECIMAL(10,2)", "decimal(10,2)"),
        (T::Utf8, "VARCHAR", "string"),
        (T::Binary, "VARBINARY", "binary"),
        (T::Date32, "DATE", "date"),
        (T::Time64(TimeUnit::Microsecond), "TIME", "long"),
        (plain(), "TIMESTAMP", "timestamp_ntz"),
        (instant(), "TIMESTAMPTZ", "timestamp"),
        (list(T::Int64), "BIGINT[]", "array<long>"),
        (
            structure(&[("a", T::Int64), ("B", list(list(T::UInt64)))]),
            "STRUCT<a BIGINT, \"B\" UBIGINT[][]>",
            "struct<a:long,B:array<array<decimal(20,0)>>>",
        ),
        (
            list(structure(&[("a", structure(&[("b", T::Int64)]))])),
            "STRUCT<a STRUCT<b BIGINT> >[]",
            "array<struct<a:struct<b:long>>>",
        ),
    ];
    for (data_type, sql, delta) in cases {
        assert_eq!(sql_type(&data_type), sql);
        assert_eq!(delta_type(&data_type), delta);
    }
}

#[test]
fn types_that_tables_do_not_have_are_named_for_people() {
    let entries = Field::new("entries", structure(&[("keys", T::Utf8), ("values", T::Utf8)]), false);
    for (data_type, sql) in [
        (T::Null, "NULL"),
        (T::Duration(TimeUnit::Second), "INTERVAL"),
        (T::Interval(IntervalUnit::DayTime), "INTERVAL"),
        (T::Map(Arc::new(entries), false), "MAP"),
        (T::Union(UnionFields::empty(), UnionMode::Dense), "UNION"),
        (T::Dictionary(Box::new(T::Int8), Box::new(T::LargeUtf8)), "VARCHAR"),
    ] {
        assert_eq!(sql_type(&data_type), sql);
    }
}
