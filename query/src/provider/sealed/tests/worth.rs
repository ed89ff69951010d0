//! Are rows asked about what is found beside a scan where that leaves some out, and only there?

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{Column, DynamicFilterPhysicalExpr, binary, lit};
use datafusion::physical_expr::{PhysicalExpr, conjunction};
use datafusion::physical_expr_common::physical_expr::snapshot_physical_expr;
use datafusion::physical_plan::metrics::Count;

use crate::provider::sealed::opening::worth::where_worth;

const BATCH: i64 = 8_192;

fn rows(from: i64) -> RecordBatch {
    let values: ArrayRef = Arc::new((from..from + BATCH).collect::<Int64Array>());
    RecordBatch::try_from_iter([("a", values)]).expect("a batch")
}

/// `a >= at_least`, which a join or sort has found.
fn found(at_least: i64) -> Arc<dyn PhysicalExpr> {
    let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new("a", 0));
    binary(column, Operator::GtEq, lit(at_least), &rows(0).schema()).expect("comparable")
}

fn n_passed(filter: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> usize {
    let passes = filter.evaluate(batch).expect("evaluated").into_array(batch.num_rows()).expect("an array");
    passes.as_boolean().true_count()
}

#[test]
fn rows_are_asked_where_some_are_left_out() {
    let children: Vec<Arc<dyn PhysicalExpr>> = vec![Arc::new(Column::new("a", 0))];
    let dynamic = Arc::new(DynamicFilterPhysicalExpr::new(children, lit(true)));
    let stays = found(i64::MIN);
    let n_unasked = Count::new();
    assert!(where_worth(&stays, &n_unasked).is_none(), "nothing is found beside the scan");
    let filter = conjunction([stays, Arc::clone(&dynamic) as Arc<dyn PhysicalExpr>]);
    let filter = where_worth(&filter, &n_unasked).expect("something is");

    // All pass: after a while one batch of sixteen is asked.
    dynamic.update(found(0)).expect("updated");
    (0..8).for_each(|_| assert_eq!(n_passed(&filter, &rows(0)), BATCH as usize));
    assert_eq!(n_unasked.value(), 0);
    (0..160).for_each(|_| assert_eq!(n_passed(&filter, &rows(0)), BATCH as usize));
    assert_eq!(n_unasked.value(), 150 * BATCH as usize);

    // Another part of the file, of which none pass: that is found out, and then each row is asked.
    let passed: usize = (0..64).map(|_| n_passed(&filter, &rows(-BATCH))).sum();
    assert!(passed <= 2 * 16 * BATCH as usize, "{passed}");
    let before = n_unasked.value();
    (0..64).for_each(|_| assert_eq!(n_passed(&filter, &rows(-BATCH)), 0));
    assert_eq!(n_unasked.value(), before);

    // What was known of the filter says nothing of another one.
    (0..1_000).for_each(|_| assert_eq!(n_passed(&filter, &rows(0)), BATCH as usize));
    dynamic.update(found(BATCH)).expect("updated");
    (0..8).for_each(|_| assert_eq!(n_passed(&filter, &rows(0)), 0));

    // Bounds are asked about the filter as it is.
    let snapshot = snapshot_physical_expr(filter).expect("taken");
    assert!(snapshot.to_string().contains(&format!("a@0 >= {BATCH}")), "{snapshot}");
}
