//! Can a small statement make much? It is refused with the code for it; what is of use still runs.

use datafusion::error::DataFusionError;
use tidewater_storage::{Code, Error};

use super::{context, run, value};

/// Our error inside DataFusion's.
fn code(error: &DataFusionError) -> Option<Code> {
    match error {
        DataFusionError::External(inner) => inner.downcast_ref::<Error>().map(Error::code),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => code(inner),
        DataFusionError::Shared(inner) => code(inner),
        DataFusionError::Collection(errors) => errors.first().and_then(code),
        _ => None,
    }
}

#[tokio::test]
async fn expansions_are_refused() {
    let context = context("UTC");
    for sql in [
        "SELECT array_repeat(1, 100000000)",
        "SELECT array_repeat(array_repeat(1, 1000), 100000)",
        "SELECT list_repeat('x', 2000000)",
        "SELECT repeat('x', 100000000)",
        "SELECT repeat(repeat('x', 100000), 100000)",
        "SELECT lpad('x', 2000000000)",
        "SELECT rpad('x', 2000000000, 'yz')",
        "SELECT replace(repeat('a', 1000000), 'a', repeat('b', 1000))",
        "SELECT replace(repeat('a', 1000000), '', repeat('b', 1000))",
        "SELECT regexp_replace(repeat('a', 1000000), 'a', repeat('b', 1000), 'g')",
        "SELECT concat_ws(repeat('x', 10000000), '1', '2', '3', '4')",
        "SELECT concat(repeat('x', 10000000), repeat('y', 10000000))",
        "SELECT array_resize([1], 100000000)",
        "SELECT array_resize([1], 100000000, 5)",
        "SELECT array_to_string(range(0, 900000), repeat('x', 1000))",
        "SELECT range(0, 100000000)",
        "SELECT range(100000000)",
        "SELECT generate_series(1, 100000000, 2)",
        "SELECT generate_series(100000000, 1, -1)",
        "SELECT range(DATE '0001-01-01', DATE '9999-01-01', INTERVAL '1' DAY)",
        "SELECT generate_series(TIMESTAMP '2000-01-01 00:00:00', TIMESTAMP '2024-01-01 00:00:00', INTERVAL '1' SECOND)",
        "SELECT * FROM generate_series(1, 100000000)",
        "SELECT * FROM range(100000000)",
        "SELECT arrow_cast(NULL, 'FixedSizeBinary(2000000000)')",
        "SELECT arrow_cast(NULL, 'FixedSizeList(1000000000, Int64)')",
        // Each row is small, the batch is not.
        "SELECT repeat('x', i * 100) FROM generate_series(1, 8000) AS s(i)",
        "SELECT array_repeat(i, 1000) FROM generate_series(1, 8000) AS s(i)",
        "SELECT range(i, i + 1000) FROM generate_series(1, 8000) AS s(i)",
    ] {
        let error = run(&context, sql).await.expect_err(sql);
        assert_eq!(code(&error), Some(Code::ExpansionTooLarge), "{sql}: {error}");
    }
}

#[tokio::test]
async fn what_is_of_use_runs() {
    let context = context("UTC");
    for (sql, expected) in [
        ("SELECT cardinality(array_repeat(1, 1000000))", "1000000"),
        ("SELECT length(repeat('x', 16777216))", "16777216"),
        ("SELECT lpad('7', 3, '0')", "007"),
        ("SELECT lpad('7', -3)", ""),
        ("SELECT replace('banana', 'an', '')", "ba"),
        ("SELECT length(replace(repeat('ab', 500000), 'c', repeat('d', 1000)))", "1000000"),
        ("SELECT concat_ws('-', 'a', NULL, 'b')", "a-b"),
        ("SELECT cardinality(range(0, 1000000))", "1000000"),
        ("SELECT cardinality(generate_series(1, 10))", "10"),
        ("SELECT cardinality(range(10, 0))", "0"),
        ("SELECT count(*) FROM generate_series(1, 1000000)", "1000000"),
        ("SELECT count(*) FROM range(5)", "5"),
        ("SELECT array_to_string([1, 2, 3], ', ')", "1, 2, 3"),
        ("SELECT cardinality(array_resize([1, 2], 5, 0))", "5"),
        ("SELECT sum(length(rpad(CAST(i AS VARCHAR), 100, '.'))) FROM generate_series(1, 20000) AS s(i)", "2000000"),
        ("SELECT to_char(DATE '2024-05-15', '%d.%m.%Y')", "15.05.2024"),
        ("SELECT arrow_typeof(arrow_cast(1, 'Int8'))", "Int8"),
        ("SELECT repeat(NULL, 100000000) IS NULL", "true"),
    ] {
        let got = value(&context, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(got, expected, "{sql}");
    }
}

/// A new function of DataFusion that makes lists or text must be looked at: this list says which were.
#[test]
fn every_function_was_looked_at() {
    let state = datafusion::execution::SessionStateBuilder::new().with_default_features().build();
    let mut names: Vec<&str> = state.scalar_functions().values().map(|function| function.name()).collect();
    names.sort_unstable();
    names.dedup();
    let known = include_str!("scalar_functions.txt");
    let new: Vec<&&str> = names.iter().filter(|name| !known.lines().any(|line| line == **name)).collect();
    assert!(new.is_empty(), "not looked at yet: {new:?}");
}
