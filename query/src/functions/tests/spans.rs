//! Is a span that is multiplied or divided a constant for whoever reads the plan? Files and zones are chosen by what stands there.

use super::context;

/// The plan of the rows since `start`, as scans are given it.
async fn plan(start: &str) -> String {
    let times = "(VALUES (TIMESTAMP '2026-01-01 00:00:00'), (TIMESTAMP '2026-01-02 00:00:00')) AS t(ts)";
    let frame =
        context("UTC").sql(&format!("SELECT count(*) FROM {times} WHERE ts >= {start}")).await.expect("planned");
    frame.into_optimized_plan().expect("optimized").display_indent().to_string()
}

#[tokio::test]
async fn scaled_spans_are_computed_before_files_are_chosen() {
    let from = "TIMESTAMP '2026-01-01 12:00:00'";
    let expected = plan("TIMESTAMP '2026-01-01 11:55:00'").await;
    assert!(expected.contains(" >= "), "{expected}");
    for span in [
        "INTERVAL '5 minutes'",
        "5 * INTERVAL '1 minute'",
        "INTERVAL '1 minute' * 5.0",
        "INTERVAL '1 hour' / 12",
        "CAST('0.5' AS DECIMAL(10, 2)) * INTERVAL '10 minutes'",
        "2 * (INTERVAL '5 minutes' / 2)",
    ] {
        assert_eq!(plan(&format!("{from} - {span}")).await, expected, "{span}");
    }
}
