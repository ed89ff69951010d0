//! What stays of the scans of a statement that is run several times?

use std::collections::HashSet;

use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder};

use crate::provider::counters::ScanCounters;

#[test]
fn of_executions_that_have_ended_only_sums_are_kept() {
    let counters = ScanCounters::default();
    counters.set_executions_to_come(1);
    let scan = || {
        let metrics = ExecutionPlanMetricsSet::new();
        let [bytes, dropped] =
            ["bytes_scanned", "pushdown_rows_pruned"].map(|name| MetricBuilder::new(&metrics).counter(name, 0));
        counters.add_sealed_scan(metrics, HashSet::new());
        counters.add_rows_to_pass(10);
        (bytes, dropped)
    };
    let (bytes, dropped) = scan();
    bytes.add(7);
    dropped.add(5);
    counters.add_passed(5);
    assert_eq!((counters.bytes_read(), counters.rows_read_sealed(), counters.fraction()), (7, 5, Some(0.25)));
    counters.end_execution();
    bytes.add(100);
    assert_eq!((counters.bytes_read(), counters.rows_read_sealed(), counters.fraction()), (7, 5, None));
    let (bytes, _) = scan();
    bytes.add(1);
    counters.add_passed(10);
    assert_eq!((counters.bytes_read(), counters.fraction()), (8, Some(1.0)));
}
