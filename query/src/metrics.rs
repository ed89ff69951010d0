//! What do dashboards about queries show? Counters, a gauge and a histogram for `/metrics`.

use std::time::Duration;

use metrics::{counter, gauge, histogram};
use tidewater_storage::Code;

use crate::session::Interface;

/// A statement has ended; `code` is its error, `took` is from its arrival on.
pub(crate) fn ended(interface: Interface, code: Option<Code>, took: Duration) {
    let outcome = code.map_or("ok", Code::reason);
    counter!("tidewater_queries_total", "interface" => interface.as_str(), "outcome" => outcome).increment(1);
    histogram!("tidewater_query_seconds", "interface" => interface.as_str()).record(took.as_secs_f64());
}

pub(crate) fn running(queries: usize) {
    gauge!("tidewater_queries_running").set(queries as f64);
}

/// One more statement waits for its turn.
pub(crate) fn waits() {
    gauge!("tidewater_queries_waiting").increment(1.0);
}

pub(crate) fn waits_no_more() {
    gauge!("tidewater_queries_waiting").decrement(1.0);
}
