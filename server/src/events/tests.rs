//! Is what was logged remembered as it was said, the newest of it only?

use tidewater_query::EventRow;
use tracing::subscriber::with_default;
use tracing_subscriber::layer::SubscriberExt;

use super::{EventLayer, KEPT_EVENTS, Kept, MAX_TEXT_BYTES};

/// What a layer of its own remembers of `log`, oldest first.
fn remembered(log: impl FnOnce()) -> Vec<EventRow> {
    let layer = EventLayer { kept: std::sync::Arc::new(Kept::default()), ..EventLayer::new() };
    let kept = std::sync::Arc::clone(&layer.kept);
    with_default(tracing_subscriber::registry().with(layer), log);
    std::mem::take(&mut *kept.0.lock()).into()
}

#[test]
fn an_event_has_its_fields() {
    let rows = remembered(|| {
        tracing::warn!(target: "tidewater_storage::table", table_id = %"some id", rows = 3, reason = "full", "it stands still");
        tracing::info!(target: "hyper::server", "not ours");
    });
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!((row.level.as_str(), row.kind.as_str()), ("warn", "storage.table"));
    assert_eq!((row.table_id.as_deref(), row.principal.as_deref()), (Some("some id"), None));
    assert_eq!((row.message.as_str(), row.details.as_str()), ("it stands still", r#"{"reason":"full","rows":3}"#));
    assert!(row.at_us > 0);
}

#[test]
fn an_event_may_say_itself_of_which_kind_it_is() {
    let rows = remembered(|| {
        let principal = "anna".to_owned();
        tracing::info!(target: "tidewater_server::admin", principal, kind = "user.create", user = "bert", "a user was made");
    });
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!((row.kind.as_str(), row.principal.as_deref()), ("user.create", Some("anna")));
    assert_eq!(row.details, r#"{"user":"bert"}"#);
}

#[test]
fn the_newest_events_are_kept_and_long_ones_are_cut() {
    let rows = remembered(|| {
        for n in 0..KEPT_EVENTS + 2 {
            tracing::info!(target: "tidewater_test", "event {n}");
        }
        tracing::info!(target: "tidewater_test", text = "ä".repeat(MAX_TEXT_BYTES), "long");
    });
    assert_eq!(rows.len(), KEPT_EVENTS);
    assert_eq!(rows[0].message, "event 3");
    assert!(rows[KEPT_EVENTS - 1].details.len() < MAX_TEXT_BYTES + 20);
}
