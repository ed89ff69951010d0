//! Is every metric documented, and named as Prometheus asks?

use std::collections::BTreeSet;

use tidewater_storage::admission::ledger::Counts;
use tidewater_storage::ids::TableId;
use uuid::Uuid;

use super::catalog::{Kind, METRICS, Metric};
use super::process;
use super::tables::Others;
use super::text::Text;

const DOCS: &str = include_str!("../../docs/metrics.md");

fn row(metric: &Metric) -> String {
    let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
    format!("| `{}` | {} | {} | {} |", metric.name, metric.kind.name(), labels.join(", "), metric.help)
}

#[test]
fn the_documentation_has_every_metric_and_no_other() {
    let documented: Vec<&str> = DOCS.lines().filter(|line| line.starts_with("| `")).collect();
    let metrics: Vec<String> = METRICS.iter().map(row).collect();
    assert_eq!(documented, metrics);
}

#[test]
fn names_say_what_is_counted() {
    let names: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
    assert_eq!(names.len(), METRICS.len());
    for Metric { name, kind, help, .. } in METRICS {
        assert!(name.starts_with("tidewater_") || name.starts_with("process_"), "{name}");
        assert_eq!(*kind == Kind::Counter, name.ends_with("_total"), "{name}");
        let is_measured = name.ends_with("_seconds") || name.ends_with("_bytes");
        assert!(*kind != Kind::Histogram || is_measured, "{name}");
        assert!(!help.is_empty() && !help.contains('|') && !help.contains('\n'), "{name}");
    }
}

#[test]
fn a_sample_keeps_to_the_format() {
    let mut text = Text::default();
    text.begin("tidewater_table_healthy");
    text.sample("tidewater_table_healthy", &[("table", "public.a\"b\\c\nd")], 1);
    text.single("tidewater_uptime_seconds", 0.5);
    let text = text.into_string();
    let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(samples, [r#"tidewater_table_healthy{table="public.a\"b\\c\nd"} 1"#, "tidewater_uptime_seconds 0.5"]);
    assert!(text.contains("# TYPE tidewater_uptime_seconds gauge\n"), "{text}");
}

#[test]
fn what_is_dropped_does_not_turn_the_counters_of_the_others_back() {
    let table = |id: u128, created_at_us: i64, accepted: u64| {
        (TableId(Uuid::from_u128(id)), created_at_us, Counts { received: accepted, accepted, ..Counts::default() })
    };
    let mut others = Others::default();
    let mut accepted = |all: &[(TableId, i64, Counts)], now_us| others.count(all.iter().copied(), now_us).accepted;
    assert_eq!(accepted(&[table(1, 10, 1_000), table(2, 20, 50)], 100), 0);
    assert_eq!(accepted(&[table(1, 10, 1_007), table(2, 20, 50)], 200), 7);
    // The first is dropped; a new one is made; one that was dropped long ago is there again.
    assert_eq!(accepted(&[table(2, 20, 51), table(3, 250, 4), table(4, 5, 900)], 300), 12);
    assert_eq!(accepted(&[table(2, 20, 51), table(3, 250, 4), table(4, 5, 901)], 400), 13);
    assert_eq!(accepted(&[], 500), 13);
}

#[test]
fn the_process_knows_itself() {
    let mut text = Text::default();
    process::write(&mut text);
    let text = text.into_string();
    let value = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).expect("a sample");
        line.rsplit(' ').next().expect("a value").parse::<f64>().expect("a number")
    };
    assert!(value("process_resident_memory_bytes") > 1e6 && value("process_threads") >= 1.0, "{text}");
    assert!(value("process_open_fds") >= 1.0 && value("process_open_fds") <= value("process_max_fds"), "{text}");
    assert!(value("process_cpu_seconds_total") < 1e9, "{text}");
}
