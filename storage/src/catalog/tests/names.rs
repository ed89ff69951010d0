//! Which name did somebody mean?

use arrow::datatypes::{DataType, Field};

use super::try_define;
use crate::catalog::nearest;

#[test]
fn a_typing_error_is_found_and_another_word_is_not() {
    let known = ["id", "ts", "repo", "wind_speed", "authored_at", "größe"];
    for (name, expected) in [
        ("wind", None),
        ("di", Some("id")),
        ("i", Some("id")),
        ("at", None),
        ("ID", Some("id")),
        ("rpeo", Some("repo")),
        ("rep", Some("repo")),
        ("rope", None),
        ("gröse", Some("größe")),
        ("windspeed", Some("wind_speed")),
        ("autored_a", Some("authored_at")),
        ("x", None),
        ("", None),
    ] {
        assert_eq!(nearest(name, known, 1).first().copied(), expected, "{name}");
    }
    assert_eq!(nearest("t", ["tx", "ts"], 3), ["ts", "tx"]);
}

#[test]
fn a_column_without_a_type_is_named() {
    let nothing = Field::new("b", DataType::Null, true);
    let structure = DataType::Struct(vec![nothing].into());
    for (data_type, expected) in [
        (DataType::Null, "column 'a': a column has no type"),
        (structure, "column 'a': field 'b': a column has no type"),
    ] {
        let error = try_define(&[("a", data_type)], &[], &[]).expect_err("it has no type");
        assert!(error.message().starts_with(expected), "{error}");
        assert!(error.hint_text().is_some(), "{error}");
    }
}
