//! What happened in this process? The last things that were logged, for `system.events`.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use serde_json::{Map, Value};
use tidewater_query::EventRow;
use tidewater_storage::env::{Clock, SystemClock};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// Events that are kept in memory. The log itself has them all.
const KEPT_EVENTS: usize = 1_000;

/// A text that is longer is cut: an event is a line, not a document.
const MAX_TEXT_BYTES: usize = 4 << 10;

/// All our crates begin with this; what libraries log is not the server's history.
const OWN_TARGETS: &str = "tidewater_";

/// Remembers events that pass through a subscriber. One memory a process, as there is one subscriber.
pub struct EventLayer {
    clock: SystemClock,
    kept: Arc<Kept>,
}

#[derive(Default)]
struct Kept(Mutex<VecDeque<EventRow>>);

fn kept() -> &'static Arc<Kept> {
    static KEPT: OnceLock<Arc<Kept>> = OnceLock::new();
    KEPT.get_or_init(Arc::default)
}

/// The events that are remembered, newest first.
pub fn recent() -> Vec<EventRow> {
    kept().0.lock().iter().rev().cloned().collect()
}

impl EventLayer {
    pub fn new() -> Self {
        Self { clock: SystemClock::new(), kept: Arc::clone(kept()) }
    }
}

impl Default for EventLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Subscriber> Layer<S> for EventLayer {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let metadata = event.metadata();
        let Some(kind) = metadata.target().strip_prefix(OWN_TARGETS) else { return };
        let mut fields = Fields::default();
        event.record(&mut fields);
        let row = EventRow {
            at_us: self.clock.now_us(),
            level: metadata.level().as_str().to_ascii_lowercase(),
            kind: fields.take("kind").unwrap_or_else(|| kind.replace("::", ".")),
            table_id: fields.take("table_id"),
            principal: fields.take("principal"),
            message: fields.take("message").unwrap_or_default(),
            details: Value::Object(fields.0).to_string(),
        };
        let mut kept = self.kept.0.lock();
        if kept.len() == KEPT_EVENTS {
            kept.pop_front();
        }
        kept.push_back(row);
    }
}

/// An event's fields by name.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn take(&mut self, name: &str) -> Option<String> {
        match self.0.remove(name)? {
            Value::String(text) => Some(text),
            other => Some(other.to_string()),
        }
    }

    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

fn cut(mut text: String) -> String {
    if text.len() > MAX_TEXT_BYTES {
        text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
        text.push('…');
    }
    text
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, cut(value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, cut(format!("{value:?}")));
    }
}

#[cfg(test)]
mod tests;
