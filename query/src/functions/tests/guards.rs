//! Can a small statement make much? It is refused with the code for it; what is of use still runs.

use std::collections::HashMap;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::Expr;
use tidewater_storage::{Code, Error};

use super::{context, run, value};
use crate::functions::guards::is_guarded;
use crate::functions::{ProcessLimit, check_constants};

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
        "SELECT arrow_cast(NULL, 'FixedSizeBinary(100000)')",
        "SELECT repeat('x', 10000000) || repeat('y', 10000000)",
        "SELECT length(s || s || s) FROM (SELECT repeat('x', 16000000 - i) AS s FROM generate_series(1, 1) AS s(i))",
        "SELECT array_concat(range(0, 900000), range(0, 900000))",
        "SELECT list_cat(range(0, 900000), range(0, 900000))",
        "SELECT range(0, 600000) || range(0, 600000)",
        "SELECT range(0, 1000000) || 1",
        "SELECT 1 || range(0, 1000000)",
        "SELECT array_push_back(range(0, 1000000), 1)",
        "SELECT array_push_front(1, range(0, 1000000))",
        "SELECT array_union(range(0, 900000), range(0, 900000))",
        "SELECT arrays_zip(range(0, 600000), range(0, 600000))",
        "SELECT make_array(repeat('x', 9000000), repeat('y', 9000000))",
        "SELECT [repeat('x', 9000000), repeat('y', 9000000)]",
        "SELECT string_to_array(repeat('a,', 2000000), ',')",
        "SELECT string_to_array(repeat('a', 2000000), NULL)",
        // A column that is named many times is there once.
        "SELECT concat(s, s, s, s, s, s, s, s, s, s, s, s, s, s, s, s) FROM (SELECT repeat('x', i % 2 + 1000) AS s FROM generate_series(1, 8000) AS s(i))",
        "SELECT s || s || s || s || s || s || s || s || s || s || s || s || s || s || s || s FROM (SELECT repeat('x', i % 2 + 1000) AS s FROM generate_series(1, 8000) AS s(i))",
        "SELECT struct(repeat('x', 100000), i) FROM generate_series(1, 8000) AS s(i)",
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
        ("SELECT cardinality(array_concat(range(0, 500000), range(0, 500000)))", "1000000"),
        ("SELECT length(repeat('x', 8000000) || repeat('y', 8000000))", "16000000"),
        ("SELECT cardinality(string_to_array(repeat('a,', 500000), ','))", "500001"),
        // Each row of a batch of lists has its own items, not those of all rows.
        (
            "SELECT sum(length(array_to_string(l, ','))) FROM (SELECT range(i, i + 200) AS l FROM generate_series(10001, 18000) AS s(i))",
            "9592000",
        ),
        (
            "SELECT sum(cardinality(l || l || [1])) FROM (SELECT range(i, i + 100) AS l FROM generate_series(1, 8000) AS s(i))",
            "1608000",
        ),
        // Long lists become a little longer: what they hold already is no expansion.
        (
            "SELECT sum(cardinality(array_append(l, i))) FROM (SELECT i, range(i, i + 384) || range(i, i + 384) AS l FROM generate_series(1, 8192) AS s(i))",
            "6299648",
        ),
        (
            "SELECT sum(cardinality(array_prepend(i, l))) FROM (SELECT i, range(i, i + 384) || range(i, i + 384) AS l FROM generate_series(1, 8192) AS s(i))",
            "6299648",
        ),
        (
            "SELECT sum(cardinality(l || i)) FROM (SELECT i, range(i, i + 384) || range(i, i + 384) AS l FROM generate_series(1, 8192) AS s(i))",
            "6299648",
        ),
    ] {
        let got = value(&context, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(got, expected, "{sql}");
    }
}

/// What each scalar function makes of its arguments. `fixed`: a value that is small whatever they are. `part`: a part of one of them, or
/// as much as one of them. `few`: a few times as much as all of them, each of which is named once. `guarded`: more, so it is asked first.
const FUNCTIONS: &str = include_str!("scalar_functions.txt");

/// A new function of DataFusion must be looked at: one that can expand is guarded, and the list says which does what.
#[test]
fn every_function_was_looked_at() {
    let known: HashMap<&str, &str> = FUNCTIONS.lines().filter_map(|line| line.split_once(' ')).collect();
    let state = context("UTC").state();
    let mut problems = Vec::new();
    for function in state.scalar_functions().values() {
        let name = function.name();
        let guarded = is_guarded(function);
        match known.get(name) {
            Some(&"guarded") if guarded => {}
            Some(&("fixed" | "part" | "few")) if !guarded => {}
            Some(kind) => problems.push(format!("{name}: listed as {kind}, guarded: {guarded}")),
            None => problems.push(format!("{name}: not looked at yet")),
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
    let listed = known.iter().filter(|(_, kind)| **kind == "guarded").map(|(name, _)| *name);
    let lost: Vec<&str> = listed.filter(|name| !state.scalar_functions().contains_key(*name)).collect();
    assert!(lost.is_empty(), "guarded, and there no more: {lost:?}");
}

/// A lambda copies what it captures for each element. Our dialect has none; before it has, they must be guarded.
#[tokio::test]
async fn lambdas_cannot_be_written() {
    let context = context("UTC");
    let mut names: Vec<String> = context.state().higher_order_functions().keys().cloned().collect();
    names.sort_unstable();
    for name in names {
        for lambda in ["x -> x", "x -> true", "lambda x : x"] {
            assert!(run(&context, &format!("SELECT {name}([1, 2], {lambda})")).await.is_err(), "{name}, {lambda}");
        }
    }
}

/// Operators and literals become functions, too, and those are the guarded ones.
#[tokio::test]
async fn operators_and_literals_are_guarded() {
    let context = context("UTC");
    let sql = "SELECT [i, 2], i || [1], [1] || i, [1] || [i], struct(i), MAP {'a': i}, 'a' || i FROM generate_series(1, 2) AS s(i)";
    let plan = context.state().create_logical_plan(sql).await.expect("planned");
    let mut calls = Vec::new();
    let visited = plan.apply_expressions(|expr| {
        expr.apply(|expr| {
            if let Expr::ScalarFunction(call) = expr {
                calls.push((call.func.name().to_owned(), is_guarded(&call.func)));
            }
            Ok(TreeNodeRecursion::Continue)
        })
    });
    visited.expect("nothing fails");
    assert!(calls.len() >= 10 && calls.iter().all(|(_, guarded)| *guarded), "{calls:?}");
}

#[tokio::test]
async fn a_list_has_no_negative_size() {
    let context = context("UTC");
    for sql in ["SELECT array_resize([1, 2], -5, 2)", "SELECT array_resize([i], -i) FROM generate_series(5, 6) AS s(i)"]
    {
        let error = run(&context, sql).await.expect_err(sql);
        assert!(error.to_string().contains("a list cannot have -5 items"), "{sql}: {error}");
    }
    let shorter = "SELECT cardinality(array_resize([1, 2], i, 7)) FROM generate_series(1, 1) AS s(i)";
    assert_eq!(value(&context, shorter).await.expect("shorter"), "1");
}

#[tokio::test]
async fn what_is_joined_is_what_sql_joins() {
    let context = context("UTC");
    for (sql, expected) in [
        ("SELECT 'a' || 'b' || 'c'", "abc"),
        ("SELECT 'a' || ('b' || 'c')", "abc"),
        ("SELECT 'a' || NULL || 'c' IS NULL", "true"),
        ("SELECT NULL || 'c' IS NULL", "true"),
        ("SELECT 1 || 'a' || 2.5", "1a2.5"),
        ("SELECT 'it is ' || true", "it is true"),
        ("SELECT X'01' || X'02' = X'0102'", "true"),
        ("SELECT arrow_cast('a', 'LargeUtf8') || 'b'", "ab"),
        ("SELECT arrow_cast('a', 'Utf8View') || 'b' || 'c'", "abc"),
        ("SELECT arrow_cast('a', 'Dictionary(Int32, Utf8)') || 'b'", "ab"),
        ("SELECT max(i || '-' || i) FROM generate_series(1, 9) AS s(i)", "9-9"),
        ("SELECT count(NULLIF(i, 3) || 'x') FROM generate_series(1, 9) AS s(i)", "8"),
        ("SELECT [1] || [2] || [3]", "[1, 2, 3]"),
        ("SELECT [1] || 2", "[1, 2]"),
        ("SELECT 1 || [2]", "[1, 2]"),
        ("SELECT [[1]] || [2]", "[[1], [2]]"),
        ("SELECT [i, i + 1] FROM generate_series(1, 1) AS s(i)", "[1, 2]"),
        ("SELECT get_field(struct(1, 'a'), 'c1')", "a"),
        ("SELECT get_field(named_struct('k', 7), 'k')", "7"),
        ("SELECT map_extract(MAP {'a': 1}, 'a')", "[1]"),
    ] {
        let got = value(&context, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(got, expected, "{sql}");
    }
    let named = run(&context, "SELECT i || '-' || 'x' FROM generate_series(1, 1) AS s(i)").await.expect("runs");
    assert_eq!(named[0].schema().field(0).name(), "s.i || Utf8(\"-\") || Utf8(\"x\")");
    assert!(run(&context, "SELECT 1 || 2").await.is_err());
}

/// Two thousand columns of 16 MiB are one projection, which nothing stops on its way.
#[tokio::test]
async fn a_full_process_makes_nothing_large() {
    let full = context("UTC");
    full.state_ref().write().config_mut().options_mut().extensions.insert(ProcessLimit::new(1));
    // Not a constant, which would be computed once.
    let sql = |n: u32| format!("SELECT length(repeat('x', i * {n})) FROM generate_series(1, 1) AS s(i)");
    assert_eq!(value(&full, &sql(1000)).await.expect("small"), "1000");
    let error = run(&full, &sql(2_000_000)).await.expect_err("large");
    assert_eq!(code(&error), Some(Code::QueryMemory), "{error}");
    assert_eq!(value(&context("UTC"), &sql(2_000_000)).await.expect("no limit"), "2000000");
}

#[tokio::test]
async fn large_constants_are_not_written_out() {
    let context = context("UTC");
    let columns = |n: usize, of: &str| (0..n).map(|i| format!("{of} AS c{i}")).collect::<Vec<_>>().join(", ");
    let (text, rows) = ("repeat('x', 20000)", "generate_series(1, 8192) AS s(i)");
    for (sql, is_refused) in [
        (format!("SELECT {} FROM {rows}", columns(16, text)), true),
        (format!("SELECT {text} AS c FROM {rows}"), true),
        (format!("SELECT CASE WHEN i % 2 = 0 THEN {text} ELSE 'y' END AS c FROM {rows}"), true),
        (format!("SELECT CASE WHEN i % 2 = 0 THEN 'y' ELSE {text} END AS c FROM {rows}"), true),
        (format!("SELECT length(CASE WHEN i % 2 = 0 THEN {text} END) AS c FROM {rows}"), true),
        (format!("SELECT coalesce(CAST(nullif(i, 3) AS VARCHAR), {text}) AS c FROM {rows}"), true),
        (format!("SELECT i, 1 AS a, 'a constant' AS b, [1, 2] AS c, {} FROM {rows}", columns(50, "'text'")), false),
        (format!("SELECT count(*) AS n FROM {rows} WHERE CAST(i AS VARCHAR) <> {text}"), false),
        // One row is not many.
        (format!("SELECT {}", columns(16, text)), false),
        (format!("SELECT n, {} FROM (SELECT count(*) AS n FROM {rows}) AS t", columns(16, text)), false),
    ] {
        let plan = context.state().create_logical_plan(&sql).await.expect("planned");
        let plan = context.state().create_physical_plan(&plan).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let checked = check_constants(&plan);
        assert_eq!(checked.is_err(), is_refused, "{sql}: {checked:?}");
        if let Err(error) = checked {
            assert_eq!(code(&error), Some(Code::ExpansionTooLarge), "{sql}: {error}");
        }
    }
}
