//! What do dashboards about queries show? Counters, a gauge and a histogram for `/metrics`.

use metrics::{counter, gauge, histogram};
use tidewater_storage::Code;

use crate::engine::RunSummary;
use crate::session::Interface;

/// A statement has ended; `code` is its error.
pub(crate) fn ended(interface: Interface, code: Option<Code>, summary: &RunSummary) {
    let outcome = code.map_or("ok", Code::reason);
    counter!("tidewater_queries_total", "interface" => interface.as_str(), "outcome" => outcome).increment(1);
    let seconds = (summary.planned_ms + summary.ran_ms) / 1e3;
    histogram!("tidewater_query_seconds", "interface" => interface.as_str()).record(seconds);
}

pub(crate) fn running(queries: usize) {
    gauge!("tidewater_queries_running").set(queries as f64);
}
