//! Is a number read as it is written?

use arrow::datatypes::{DataType as ArrowType, i256};
use datafusion::common::ScalarValue;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::Statement as Sql;

use super::{Decimal, beside_decimal, compared_with_decimal, keep_digits, settle_values};
use crate::statement::reparse;
use crate::statement::tests::without_names;

fn rounded(text: &str, scale: usize) -> String {
    Decimal::parse(text).expect("a number").rounded(scale).text()
}

#[test]
fn numbers_round_half_away_from_zero() {
    for (text, scale, expected) in [
        ("12345678901234567.891", 3, "12345678901234567.891"),
        ("-12345678901234567.891", 2, "-12345678901234567.89"),
        ("0.5", 0, "1"),
        ("-0.5", 0, "-1"),
        ("0.49", 0, "0"),
        ("-0.4", 0, "0"),
        ("999.999", 2, "1000.00"),
        ("9.95", 1, "10.0"),
        ("0.05", 1, "0.1"),
        ("0.0004", 1, "0.0"),
        (".5", 3, "0.5"),
        ("5.", 3, "5"),
        ("1e3", 2, "1000"),
        ("1.25E-2", 3, "0.013"),
        ("0e5", 1, "0"),
        ("00012.50", 5, "12.50"),
        ("5e-70", 2, "0.00"),
    ] {
        assert_eq!(rounded(text, scale), expected, "{text} with {scale}");
    }
}

#[test]
fn what_no_decimal_holds_is_left() {
    for text in ["1e77", "1e-77", "1e99999999999", "", ".", "x", "1e", "1.2.3", &"9".repeat(77)] {
        assert_eq!(Decimal::parse(text), None, "{text}");
    }
}

fn settled(sql: &str) -> String {
    match reparse(sql).expect("valid").statement {
        Statement::Statement(sql) => sql.to_string(),
        other => panic!("{other}"),
    }
}

#[test]
fn casts_of_literals_are_casts_of_their_text() {
    for (sql, expected) in [
        (
            "SELECT CAST(12345678901234567.891 AS DECIMAL(20, 3))",
            "SELECT CAST('12345678901234567.891' AS DECIMAL(20,3))",
        ),
        ("SELECT CAST(-(0.30) AS NUMERIC(38, 30))", "SELECT CAST('-0.30' AS NUMERIC(38,30))"),
        ("SELECT 1e2::DECIMAL(5, 1)", "SELECT '100'::DECIMAL(5,1)"),
        ("SELECT CAST(5 AS DECIMAL(5, 1))", "SELECT CAST(5 AS DECIMAL(5,1))"),
        ("SELECT CAST(0.1 AS DOUBLE), 0.1", "SELECT CAST(0.1 AS DOUBLE), 0.1"),
    ] {
        assert_eq!(without_names(&settled(sql)), expected);
    }
}

#[test]
fn a_number_beside_a_decimal_has_its_type_or_one_that_holds_both() {
    let plain = |units, precision, scale| Some(ScalarValue::Decimal128(Some(units), precision, scale));
    for (text, precision, scale, expected) in [
        ("1.5", 10, 2, plain(150, 10, 2)),
        ("-0.10", 10, 2, plain(-10, 10, 2)),
        ("0", 10, 2, plain(0, 10, 2)),
        ("1.005", 10, 2, plain(1005, 4, 3)),
        ("1e9", 10, 2, plain(1_000_000_000, 10, 0)),
        ("1.23456789012345678", 38, 17, plain(123_456_789_012_345_678, 38, 17)),
        // 21 digits in front of the point and 18 behind it.
        ("-1e-18", 38, 17, Some(ScalarValue::Decimal256(Some(i256::from(-1_i64)), 18, 18))),
        ("1e70", 38, 17, None),
        ("1e300", 38, 17, None),
        ("NaN", 38, 17, None),
    ] {
        let found = beside_decimal(text, precision, scale);
        assert_eq!(found, expected, "{text} beside DECIMAL({precision}, {scale})");
    }
}

#[test]
fn a_number_of_too_many_digits_is_compared_by_one_of_fewer() {
    let wide = |units: &str, precision, scale| {
        Some(ScalarValue::Decimal256(Some(i256::from_string(units).expect("digits")), precision, scale))
    };
    let plain = |units, precision, scale| Some(ScalarValue::Decimal128(Some(units), precision, scale));
    let beyond = format!("1{}", "0".repeat(39));
    let (half, between) = (format!("-0.{}1", "0".repeat(74)), format!("1.{}1", "0".repeat(70)));
    for (text, precision, scale, expected) in [
        ("1.5", 10, 2, plain(150, 10, 2)),
        // 10^8, which no DECIMAL(10, 2) is, and half of the smallest.
        ("1e76", 10, 2, plain(100_000_000_000, 12, 3)),
        (half.as_str(), 10, 2, plain(-5, 12, 3)),
        ("1e70", 38, 17, wide(&beyond, 40, 18)),
        ("-1e70", 38, 17, wide(&format!("-{beyond}"), 40, 18)),
        ("1e-39", 38, 0, wide("5", 40, 1)),
        // Between 1.00 and 1.01.
        (between.as_str(), 10, 2, plain(1005, 12, 3)),
        ("NaN", 38, 17, None),
    ] {
        let found = compared_with_decimal(text, precision, scale);
        assert_eq!(found, expected, "{text} beside DECIMAL({precision}, {scale})");
    }
}

#[test]
fn digits_are_kept_where_a_double_has_not_all_of_them() {
    for (sql, expected) in [
        ("SELECT d = 1.5 AND d < 0.1", "SELECT d = 1.5 AND d < 0.1"),
        ("SELECT d + 1.23456789012345678", "SELECT d + 1.23456789012345678"),
        // The name of the type goes with those of columns.
        ("SELECT d = -1.23456789012345678", "SELECT d = CAST('-1.23456789012345678')"),
        (
            "SELECT least(d, 1.23456789012345678), abs(1.23456789012345678)",
            "SELECT least(d, CAST('1.23456789012345678')), abs(1.23456789012345678)",
        ),
        ("SELECT d IN (1, 12345678901234567890123)", "SELECT d IN (1, CAST('12345678901234567890123'))"),
        (
            "SELECT CASE WHEN b THEN d ELSE 1.23456789012345678 END, nvl2(b, d, 1.5)",
            "SELECT CASE WHEN b THEN d ELSE CAST('1.23456789012345678') END, nvl2(b, d, 1.5)",
        ),
        (
            "(SELECT d FROM t UNION SELECT 1.23456789012345678) UNION ALL SELECT 1.5",
            "(SELECT d FROM t UNION SELECT CAST('1.23456789012345678')) UNION ALL SELECT 1.5",
        ),
    ] {
        let mut statement = reparse(sql).expect("valid").statement;
        keep_digits(&mut statement);
        assert_eq!(without_names(&statement.to_string()), expected);
    }
}

/// VALUES for columns of DECIMAL(20,3) and DOUBLE.
fn values(sql: &str) -> String {
    let Statement::Statement(sql) = reparse(sql).expect("valid").statement else { panic!("{sql}") };
    let Sql::Query(mut query) = *sql else { panic!("{sql}") };
    settle_values(&mut query, &[Some(ArrowType::Decimal128(20, 3)), Some(ArrowType::Float64), None]);
    query.to_string()
}

#[test]
fn values_are_exact_where_the_column_is_a_decimal() {
    for (sql, expected) in [
        ("VALUES (-0.1239, 0.1239, 0.1239)", "VALUES ('-0.124', 0.1239, 0.1239)"),
        ("VALUES (1), (2.5), (NULL), ('3')", "VALUES ('1'), ('2.5'), (NULL), ('3')"),
        ("VALUES (1), (2)", "VALUES (1), (2)"),
        (
            "VALUES (2.5), (1 + 1), (NULL)",
            "VALUES (CAST('2.5' AS DECIMAL(20,3))), (CAST(1 + 1 AS DECIMAL(20,3))), (CAST(NULL AS DECIMAL(20,3)))",
        ),
        ("VALUES (1e99), (2.5)", "VALUES (1e99), (2.5)"),
    ] {
        assert_eq!(values(sql), expected);
    }
}
