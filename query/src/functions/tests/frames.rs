//! Do DOUBLEs in a frame that moves come to what the same rows do as a group? Each aggregate, with NULLs, and where all values are one.

use arrow::array::{Array, AsArray, Float64Array, RecordBatch};
use arrow::compute::concat;
use arrow::datatypes::Float64Type;

use super::{context, run};

const ROWS: &str = "SELECT i, CASE WHEN i % 7 = 0 THEN NULL WHEN i % 40 < 15 THEN 3.25 ELSE sin(i) * 1e3 END AS y, \
                    CASE WHEN i % 11 = 0 THEN NULL WHEN i % 30 < 12 THEN -0.5 ELSE cos(i * 3) END AS x \
                    FROM generate_series(1, 200) AS s(i)";

fn values(batches: &[RecordBatch]) -> Float64Array {
    let columns: Vec<&dyn Array> = batches.iter().map(|batch| &**batch.column(0)).collect();
    concat(&columns).expect("one type").as_primitive::<Float64Type>().clone()
}

#[tokio::test]
async fn a_frame_is_computed_as_a_group_is() {
    let context = context("UTC");
    for call in [
        "sum(y)",
        "avg(y)",
        "var(y)",
        "var_pop(y)",
        "stddev(y)",
        "stddev_pop(y)",
        "covar_samp(y, x)",
        "covar_pop(y, x)",
        "corr(y, x)",
        "regr_avgx(y, x)",
        "regr_avgy(y, x)",
        "regr_sxx(y, x)",
        "regr_syy(y, x)",
        "regr_sxy(y, x)",
        "regr_slope(y, x)",
        "regr_intercept(y, x)",
        "regr_r2(y, x)",
    ] {
        let frames = format!(
            "SELECT v FROM (SELECT i, {call} OVER (ORDER BY i ROWS BETWEEN 4 PRECEDING AND 2 FOLLOWING) AS v \
             FROM ({ROWS}) AS r) AS f ORDER BY i"
        );
        let groups = format!(
            "SELECT v FROM (SELECT at, {call} AS v FROM (SELECT i AS at FROM generate_series(1, 200) AS s(i)) AS a \
             JOIN ({ROWS}) AS r ON i BETWEEN at - 4 AND at + 2 GROUP BY at) AS g ORDER BY at"
        );
        let frames = values(&run(&context, &frames).await.expect(&frames));
        let groups = values(&run(&context, &groups).await.expect(&groups));
        assert_eq!((frames.len(), groups.len()), (200, 200), "{call}");
        for (i, (frame, group)) in frames.iter().zip(&groups).enumerate() {
            let is_near = match (frame, group) {
                (Some(frame), Some(group)) => (frame - group).abs() <= 1e-6 * group.abs().max(1.0),
                (frame, group) => frame == group,
            };
            assert!(is_near, "{call} of row {}: {frame:?}, and as a group {group:?}", i + 1);
        }
    }
}
