//! Which subqueries are joins, and by what? Those in conditions, by the columns that they compare: as fast as they were before anything was written
//! otherwise for its NULLs, or its names.

use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::SessionContext;

/// The plan as it is run.
async fn planned(sql: &str) -> String {
    let mut state = SessionStateBuilder::new()
        .with_default_features()
        .with_analyzer_rules(crate::complexity::analyzer_rules())
        .with_expr_planners(crate::functions::expr_planners())
        .build();
    crate::functions::register(&mut state).expect("functions register");
    let context = SessionContext::new_with_state(state);
    for table in [
        "CREATE TABLE x AS SELECT column1 AS a, column2 AS b FROM (VALUES (1, 2), (NULL, 3))",
        "CREATE TABLE y AS SELECT column1 AS c, column2 AS k, column3 AS s FROM (VALUES (1, 2, '1'), (NULL, 3, '2'))",
    ] {
        context.sql(table).await.expect("a table");
    }
    let frame = context.sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let plan = frame.into_optimized_plan().unwrap_or_else(|error| panic!("{sql}: {error}"));
    plan.display_indent().to_string()
}

#[tokio::test]
async fn conditions_are_joins() {
    for (condition, join) in [
        ("a IN (SELECT c FROM y) AND b > 1", "LeftSemi Join: x.a = __correlated_sq_1.c\n"),
        ("a = ANY (SELECT c FROM y)", "LeftSemi Join: x.a = __correlated_sq_1.c\n"),
        ("a NOT IN (SELECT c FROM y)", "LeftAnti Join: x.a = __correlated_sq_1.c null_aware\n"),
        ("a IN (SELECT c FROM y WHERE y.k = x.b)", "LeftSemi Join: "),
        ("a IN (SELECT c FROM y) OR b = 1", "LeftMark Join: x.a = __correlated_sq_1.c\n"),
        ("EXISTS (SELECT 1 FROM y WHERE y.k = x.b)", "LeftSemi Join: x.b = __correlated_sq_1.k\n"),
        // Both NULLs are asked about once for all rows, beside the join.
        ("a NOT IN (SELECT c FROM y) OR b = 1", "LeftMark Join: x.a = __correlated_sq_1.__value\n"),
        ("a NOT IN (SELECT c FROM y WHERE y.k = x.b)", "LeftAnti Join: x.b = __correlated_sq_1.k Filter: "),
        // A cast is compared as a column.
        (
            "EXISTS (SELECT 1 FROM y WHERE CAST(y.s AS BIGINT) = x.b)",
            "LeftSemi Join: x.b = __correlated_sq_1.__compared_0\n",
        ),
    ] {
        let plan = planned(&format!("SELECT a FROM x WHERE {condition}")).await;
        assert!(plan.contains(join), "{condition}\n{plan}");
        assert!(!plan.contains("Cross Join"), "{condition}\n{plan}");
    }
}

#[tokio::test]
async fn conditions_of_one_side_are_asked_below_a_join() {
    let plan = planned("SELECT x.a FROM x JOIN y ON x.a = y.k AND x.b IN (SELECT c FROM y)").await;
    let (join, semi) = (plan.find("Inner Join: "), plan.find("LeftSemi Join: x.b = "));
    assert!(join.is_some() && join < semi, "{plan}");
}
