//! Is what was written read again, by this version and by the next?

use arrow::datatypes::{DataType as T, Field, TimeUnit};

use super::{defined, instant, plain};
use crate::catalog::{TableDef, View, view_from_disk, view_to_disk};
use crate::error::Code;

const TABLE_V1: &str = include_str!("fixtures/table-v1.json");
const TABLE_V2: &str = include_str!("fixtures/table-v2.json");
const TABLE_V3: &str = include_str!("fixtures/table-v3.json");
const VIEW_V1: &str = include_str!("fixtures/view-v1.json");

/// A table with every type and every option of the first version.
fn first_example() -> TableDef {
    example_with(&[])
}

/// With a length of text, which the third version has.
fn example() -> TableDef {
    let mut def = second_example();
    def.columns[10].max_chars = Some(40);
    def
}

/// With every option of the second version.
fn second_example() -> TableDef {
    example_with(&[
        ("seal_after_rows", "100000"),
        ("seal_after", "1 minute"),
        ("seal_after_bytes", "1000000"),
        ("dedup_window", "7 days"),
        ("retention", "30 days"),
    ])
}

fn example_with(more: &[(&str, &str)]) -> TableDef {
    let mut options = vec![
        ("time_column", "at"),
        ("sort_by", "day, id"),
        ("max_lateness", "3 days"),
        ("durability", "os"),
        ("system_columns", "off"),
    ];
    options.extend(more);
    let list = T::List(Field::new_list_field(T::Decimal128(20, 3), true).into());
    let structure = T::Struct(vec![Field::new("x", T::Float64, true), Field::new("Y", list.clone(), true)].into());
    let mut def = defined(
        &[
            ("id!", T::Int64),
            ("b", T::Boolean),
            ("i8", T::Int8),
            ("i16", T::Int16),
            ("i32", T::Int32),
            ("u8", T::UInt8),
            ("u16", T::UInt16),
            ("u32", T::UInt32),
            ("u64", T::UInt64),
            ("f32", T::Float32),
            ("name", T::Utf8),
            ("raw", T::Binary),
            ("day", T::Date32),
            ("clock", T::Time64(TimeUnit::Microsecond)),
            ("plain", plain()),
            ("at", instant()),
            ("list", list),
            ("struct", structure),
        ],
        &["id", "name"],
        &options,
    );
    def.columns[1].comment = Some("it's \"true\"".into());
    def
}

#[test]
fn all_versions_are_read_and_the_newest_is_written() {
    let view = View { schema_name: "public".into(), name: "v".into(), sql: "SELECT 'x' FROM t".into() };
    // What is written is what the newest fixture holds; a change of the form needs a version and a fixture of its own.
    assert_eq!(String::from_utf8(example().to_disk()).unwrap(), TABLE_V3.trim());
    // A table without lengths stays as it was, so that the program before this one opens it.
    assert_eq!(String::from_utf8(second_example().to_disk()).unwrap(), TABLE_V2.trim());
    assert_eq!(String::from_utf8(view_to_disk(&view)).unwrap(), VIEW_V1.trim());
    assert_eq!(TableDef::from_disk(TABLE_V1.trim().as_bytes()).unwrap(), first_example());
    assert_eq!(TableDef::from_disk(TABLE_V2.trim().as_bytes()).unwrap(), second_example());
    assert_eq!(TableDef::from_disk(TABLE_V3.trim().as_bytes()).unwrap(), example());
    assert_eq!(view_from_disk(VIEW_V1.trim().as_bytes()).unwrap(), view);
}

#[test]
fn other_versions_and_damage_are_refused() {
    let text = TABLE_V1.trim();
    let with_length = TABLE_V3.trim();
    let cases = [
        (with_length.replace("\"max_chars\":40", "\"max_chars\":0"), Code::LogDamaged),
        (with_length.replace("\"max_chars\":40", "\"max_chars\":-1"), Code::LogDamaged),
        (with_length.replace("\"type\":\"text\"", "\"type\":\"date\""), Code::LogDamaged),
        (text.replace("\"version\":1", "\"version\":4"), Code::LogUnknownVersion),
        (text.replace("\"version\":1", "\"version\":0"), Code::LogUnknownVersion),
        (text.replace("\"kind\":\"table\"", "\"kind\":\"view\""), Code::LogDamaged),
        (text.replace("\"key\":[0,10]", "\"key\":[0,99]"), Code::LogDamaged),
        (text.replace("\"precision\":20", "\"precision\":99"), Code::LogDamaged),
        (text.replace("\"uint64\"", "\"uint65\""), Code::LogDamaged),
        (text.replace("\"nullable\"", "\"nillable\""), Code::LogDamaged),
        (text[..text.len() - 5].to_owned(), Code::LogDamaged),
        (String::new(), Code::LogDamaged),
    ];
    for (damaged, code) in cases {
        let error = TableDef::from_disk(damaged.as_bytes()).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
    }
    assert_eq!(view_from_disk(text.as_bytes()).unwrap_err().code(), Code::LogDamaged);
}
