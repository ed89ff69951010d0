//! Is a slow statement told, and does a value of one ever get into the log?

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::{SlowLog, without_values};
use crate::engine::{QueryInfo, QueryState, RunSummary};
use crate::session::Interface;

/// The `duration_ms` of all events.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<u64>>>);

impl Subscriber for Told {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl Visit for Told {
    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "duration_ms" {
            self.0.lock().push(value);
        }
    }
}

#[test]
fn what_waited_long_is_slow_however_short_it_ran() {
    let query = QueryInfo {
        query_id: "q".to_owned(),
        principal: "anna".to_owned(),
        interface: Interface::Internal,
        sql: "SELECT 1".to_owned(),
        state: QueryState::Finished,
        started_at_us: 0,
        summary: RunSummary { planned_ms: 1.0, ran_ms: 2.0, ..RunSummary::default() },
        pinned_bytes: None,
        error_code: None,
    };
    let told = Told::default();
    tracing::subscriber::with_default(told.clone(), || {
        let log = SlowLog::new(Some(Duration::from_secs(1)));
        log.note(&query, Duration::from_millis(999));
        log.note(&query, Duration::from_secs(5));
        SlowLog::new(None).note(&query, Duration::from_secs(5));
    });
    assert_eq!(*told.0.lock(), [5_000]);
}

#[test]
fn values_are_left_out_and_names_stay() {
    for (sql, shown) in [
        ("SELECT a, \"B c\" FROM t WHERE d = 'secret' AND e > 17.5", "SELECT a, \"B c\" FROM t WHERE d = ? AND e > ?"),
        ("SELECT 1e9, -3, x'ff00', $$secret$$, e'secret\\n', N'secret'", "SELECT ?, -?, ?, ?, ?, ?"),
        ("  SELECT -- secret\n  1 /* secret */ + b\n", "SELECT ? + b"),
        (
            "INSERT INTO t VALUES ('it''s secret', DATE '2024-01-01', $1, true)",
            "INSERT INTO t VALUES (?, DATE ?, $1, true)",
        ),
        ("SELECT 'secret", "SELECT …"),
        ("CREATE USER u PASSWORD 'secret'", "CREATE USER u PASSWORD ?"),
        ("", ""),
    ] {
        assert_eq!(without_values(sql), shown, "{sql}");
        assert!(!without_values(sql).contains("secret"), "{sql}");
    }
}
