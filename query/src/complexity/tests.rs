//! Are plans that would double and double again refused in time, by what they are and by the rules that make them, and the others not?

use std::sync::Arc;
use std::time::Duration;

use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{JoinType, NullEquality};
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::joins::SortMergeJoinExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use tidewater_storage::{Code, Error};
use tokio::time::Instant;

use super::orders::InOrder;
use super::{PlanBounds, analyzer_rules, check, optimizer_rules, physical_rules};
use crate::error::from_datafusion;
use crate::limits::{DEEP_STACK_BYTES, MAX_ABANDONED_PLANNERS};
use crate::planner::{Planner, Waiter};

/// What a debug build on a busy machine may take for what a release build does at once; what doubles takes longer than anybody waits.
const IN_TIME: Duration = Duration::from_secs(60);

fn state(waiter: Arc<Waiter>) -> (SessionState, PlanBounds) {
    let bounds = PlanBounds::new(waiter);
    let mut state = SessionStateBuilder::new()
        .with_default_features()
        .with_analyzer_rules(analyzer_rules())
        .with_optimizer_rules(optimizer_rules())
        .with_physical_optimizer_rules(physical_rules())
        .build();
    let options = state.config_mut().options_mut();
    options.extensions.insert(bounds.clone());
    options.set("datafusion.sql_parser.recursion_limit", "1000").expect("an option of DataFusion");
    (state, bounds)
}

/// Runs as a planner does: alone, on a stack of its size.
fn in_time<T: Send + 'static>(work: impl AsyncFnOnce() -> T + Send + 'static) -> T {
    let start = Instant::now();
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(work())
    };
    let thread = std::thread::Builder::new().stack_size(DEEP_STACK_BYTES).spawn(run).expect("a thread");
    let out = thread.join().expect("no panic");
    assert!(start.elapsed() < IN_TIME, "it took {:?}", start.elapsed());
    out
}

async fn logical(state: &SessionState, sql: &str) -> LogicalPlan {
    state.create_logical_plan(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// What [`check`] says to a statement; what it lets through is planned to the end.
fn planned(sql: String) -> Result<(), Error> {
    in_time(async move || {
        let (state, bounds) = state(Arc::default());
        let plan = logical(&state, &sql).await;
        check(&plan)?;
        state.create_physical_plan(&plan).await.map_err(from_datafusion)?;
        bounds.verdict()
    })
}

/// `levels` of `layer` around `core`; `{}` stands for the layer below.
fn nested(levels: usize, core: &str, layer: &str) -> String {
    (0..levels).fold(core.to_owned(), |inner, _| layer.replace("{}", &inner))
}

const TABLE: &str = "(VALUES (1, true), (2, false)) AS t(a, b)";
const TABLE2: &str = "(VALUES (1), (2)) AS u(a)";
const TABLE3: &str = "(VALUES (1), (2)) AS v(a)";
const TABLE4: &str = "(VALUES (1), (NULL)) AS w(a)";
const TABLE5: &str = "(VALUES (1), (NULL)) AS x(a)";

/// Projections that name the column below twice.
fn sums(levels: usize) -> String {
    nested(levels, &format!("SELECT a FROM {TABLE}"), "SELECT a + a AS a FROM ({})")
}

/// Each WITH reads the one before twice.
fn doubling(levels: usize) -> String {
    let ctes = (1..=levels).map(|i| format!(", c{i} AS (SELECT x.a FROM c{0} x, c{0} y)", i - 1)).collect::<String>();
    format!("WITH c0 AS (SELECT 1 AS a){ctes} SELECT count(*) FROM c{levels}")
}

#[test]
fn what_doubles_with_every_level_is_refused() {
    for sql in [
        doubling(14),
        format!("SELECT * FROM ({}) WHERE a > 1", sums(30)),
        format!("SELECT * FROM ({}) ORDER BY a LIMIT 1", sums(30)),
        format!("SELECT min(a) FROM ({})", sums(30)),
        format!("SELECT * FROM ({}) x JOIN {TABLE} ON x.a = t.a", sums(30)),
        format!("SELECT {} FROM {TABLE}", nested(30, "b", "({} BETWEEN false AND true)")),
        format!("SELECT {} FROM {TABLE}", nested(30, "a", "coalesce({}, 1)")),
        format!("SELECT {} FROM {TABLE}", nested(30, "a", "nvl({}, 1)")),
        format!("SELECT {} FROM {TABLE}", nested(30, "b", "CASE WHEN {} THEN b ELSE NOT b END")),
        // Once, but of much by much.
        format!("SELECT * FROM (SELECT {0} AS a FROM {TABLE}) WHERE {0} > 0", vec!["a"; 400].join(" + ")),
        // By a subquery in an expression rather than by a join.
        {
            let ctes = (1..=14).map(|i| {
                format!(", c{i} AS (SELECT (SELECT max(a) FROM c{0}) + (SELECT min(a) FROM c{0}) AS a)", i - 1)
            });
            format!("WITH c0 AS (SELECT 1 AS a){} SELECT * FROM c14", ctes.collect::<String>())
        },
    ] {
        let error = planned(sql.clone()).expect_err(&sql);
        assert_eq!(error.code(), Code::StatementTooComplex, "{sql}: {error}");
    }
}

#[test]
fn a_key_for_null_keeps_no_other_join_from_its_keys() {
    in_time(async || {
        let (state, _) = state(Arc::default());
        for sql in [
            format!(
                "SELECT 1 FROM {TABLE}, {TABLE2}, {TABLE3} WHERE t.a = v.a AND u.a = v.a AND
                (SELECT count(*) FROM {TABLE4} JOIN {TABLE5} ON w.a IS NOT DISTINCT FROM x.a) = 1"
            ),
            format!(
                "SELECT 1 FROM ({TABLE4} JOIN {TABLE5} ON w.a IS NOT DISTINCT FROM x.a), {TABLE}, {TABLE2}, {TABLE3}
                WHERE w.a = u.a AND t.a = v.a AND u.a = v.a"
            ),
        ] {
            let plan = state.optimize(&logical(&state, &sql).await).expect("optimized");
            let shown = plan.display_indent().to_string();
            assert!(!shown.contains("Cross Join") && shown.contains("Join: "), "{sql}: {shown}");
        }
    });
}

#[test]
fn what_people_write_is_planned() {
    let list = |n: usize| (0..n).map(|i| i.to_string()).collect::<Vec<_>>().join(", ");
    for sql in [
        doubling(4),
        // Nobody asks to move these sums anywhere.
        sums(30),
        format!("SELECT * FROM ({}) WHERE a > 1 ORDER BY a", sums(8)),
        format!("SELECT {} FROM {TABLE}", nested(20, "0", "CASE WHEN a = 1 THEN 0 ELSE {} END")),
        format!("SELECT * FROM {TABLE} WHERE a IN ({})", list(5_000)),
        format!("SELECT {} FROM {TABLE}", (0..300).map(|i| format!("a + {i} AS c{i}")).collect::<Vec<_>>().join(", ")),
        vec![format!("SELECT a FROM {TABLE} WHERE a = 1"); 100].join(" UNION ALL "),
        format!(
            "SELECT sum(coalesce(a, 0)) FROM {TABLE} WHERE a BETWEEN 0 AND 9 GROUP BY CUBE (a, b) HAVING count(*) > 0"
        ),
        format!(
            "SELECT a FROM {TABLE} WHERE a > (SELECT min(a) FROM {TABLE}) AND EXISTS (SELECT 1 FROM {TABLE} WHERE b)"
        ),
    ] {
        planned(sql.clone()).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

/// The second line: what no measure foresaw ends between two nodes. A rule that does all its work in one call (as `eliminate_outer_join`
/// does with this filter) can only be kept from it, by [`check`].
#[test]
fn a_rule_that_runs_away_is_ended() {
    let (optimised, verdict) = in_time(async || {
        let (state, bounds) = state(Arc::default());
        let rules = optimizer_rules().into_iter().filter(|rule| rule.name() == "push_down_filter").collect();
        let state = SessionStateBuilder::new_from_existing(state).with_optimizer_rules(rules).build();
        let plan = logical(&state, &format!("SELECT * FROM ({}) WHERE a > 1", sums(30))).await;
        (state.optimize(&plan).map(drop).map_err(from_datafusion), bounds.verdict())
    });
    assert_eq!(optimised.expect_err("too large").code(), Code::StatementTooComplex);
    assert_eq!(verdict.expect_err("too large").code(), Code::StatementTooComplex);
}

#[test]
fn a_planning_that_nobody_waits_for_ends() {
    let planner = Planner::new(1, Duration::from_millis(1));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        // More of them than are tolerated at a time: each gives its place back.
        for _ in 0..2 * MAX_ABANDONED_PLANNERS {
            let (told, ended) = tokio::sync::oneshot::channel();
            let planning = planner.run(move |waiter| {
                let (state, bounds) = state(Arc::clone(waiter));
                let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
                let plan = runtime.block_on(logical(&state, "EXPLAIN SELECT 1 AS a"));
                while !waiter.has_gone() {
                    std::thread::yield_now();
                }
                // EXPLAIN makes a row of the error; the verdict is what counts.
                let explained = runtime.block_on(state.create_physical_plan(&plan)).is_ok();
                drop(told.send((explained, bounds.verdict())));
                Ok(())
            });
            assert!(planning.await.is_err());
            let (explained, verdict) = ended.await.expect("it ended");
            assert!(explained);
            assert_eq!(verdict.expect_err("too late").code(), Code::PlanningDeadline);
        }
    });
}

#[test]
fn rows_in_order_are_refused_in_other_partitions() {
    let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
    let key = || Arc::new(Column::new("a", 0)) as Arc<dyn PhysicalExpr>;
    let side = || {
        let rows = Arc::new(EmptyExec::new(Arc::clone(&schema)).with_partitions(2));
        let order = LexOrdering::new([PhysicalSortExpr::new(key(), SortOptions::default())]).expect("an order");
        Arc::new(SortExec::new(order, rows).with_preserve_partitioning(true)) as Arc<dyn ExecutionPlan>
    };
    let on = vec![(key(), key())];
    let (kind, nulls) = (JoinType::Inner, NullEquality::NullEqualsNothing);
    let join = SortMergeJoinExec::try_new(side(), side(), on, None, kind, vec![SortOptions::default()], nulls);
    let join = Arc::new(join.expect("a join"));
    let refused = InOrder.optimize(join, &ConfigOptions::new()).expect_err("equal keys are in any partition");
    assert!(refused.to_string().contains("distribution requirements"), "{refused}");
}
