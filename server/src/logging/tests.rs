//! Is every event one line, is it what programs can read, and does a panic tell no values?

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;

use super::{json, tell_panic, text};

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_panic_is_one_line_that_says_where_and_not_what() {
    let told = |level: LevelFilter| {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::registry().with(json(move || writer.clone()).with_filter(level));
        tracing::subscriber::with_default(subscriber, || tell_panic("src/some.rs:1:2", "the value is 'a secret'"));
        String::from_utf8(written.0.lock().clone()).expect("text")
    };
    let text = told(LevelFilter::INFO);
    let event: Value = serde_json::from_str(text.trim_end()).expect("one object");
    assert!(event["place"] == "src/some.rs:1:2" && event["level"] == "ERROR" && !text.contains("secret"), "{text}");
    assert!(told(LevelFilter::DEBUG).contains("a secret"));
}

#[test]
fn an_event_is_one_line_of_text() {
    let written = Written::default();
    let writer = written.clone();
    let subscriber = tracing_subscriber::registry().with(text(move || writer.clone(), false));
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!(who = %"a\r\nforged", "two\nlines");
        tracing::error!("failed");
    });
    let text = String::from_utf8(written.0.lock().clone()).expect("text");
    let [first, second] = text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
    assert!(first.contains("two\\nlines") && first.contains("a\\r\\nforged"), "{first}");
    assert!(second.ends_with("failed") && text.ends_with('\n'), "{second}");
}

#[test]
fn an_event_is_one_json_object_a_line() {
    let written = Written::default();
    let writer = written.clone();
    let subscriber = tracing_subscriber::registry().with(json(move || writer.clone()));
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!(table = "t", rows = 3, "two\nlines \u{1b}[31m");
        let span = tracing::error_span!("request", request_id = "r-1");
        span.in_scope(|| tracing::error!("failed"));
    });
    let text = String::from_utf8(written.0.lock().clone()).expect("text");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    let [first, second] = lines.as_slice() else { panic!("{text}") };
    assert_eq!(
        (&first["message"], &first["rows"], &first["level"]),
        (&"two\nlines \u{1b}[31m".into(), &3.into(), &"INFO".into())
    );
    assert_eq!((&second["span"]["request_id"], &second["message"]), (&"r-1".into(), &"failed".into()));
    assert!(!text.contains('\u{1b}'), "{text}");
}
