//! Does a session hold what was set in it, for its own client, as long as it is used?

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidewater_query::SessionSettings;
use tidewater_query::wire_types::Profile;
use tidewater_storage::Code;
use tidewater_storage::env::ManualClock;
use tonic::metadata::MetadataMap;

use super::Sessions;
use super::headers;
use super::registry::{IDLE, MAX_OF_USER, MAX_SESSIONS, Shared};
use crate::auth::SessionId;

fn id(number: usize) -> SessionId {
    SessionId((number as u128).to_be_bytes())
}

fn settings(schema: &str) -> Shared {
    Arc::new(Mutex::new(SessionSettings { schema: schema.to_owned(), ..SessionSettings::default() }))
}

fn registry() -> (Sessions, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(0));
    (Sessions::new(Arc::<ManualClock>::clone(&clock)), clock)
}

fn schema_of(sessions: &Sessions, number: usize, owner: &str) -> Option<String> {
    sessions.get(id(number), owner).map(|settings| settings.lock().schema.clone())
}

#[test]
fn the_jdbc_driver_is_known_by_its_user_agent() {
    for (agent, fitting) in [
        ("JDBC Flight SQL Driver 19.0.0 grpc-java-netty/1.71.0", Profile::Jdbc),
        ("grpc-java-netty/1.65.0", Profile::Jdbc),
        ("ADBC Flight SQL Driver v1.9.0 grpc-go/1.76.0", Profile::Portable),
        ("grpc-c++/1.62 grpc-java-netty/1.65.0", Profile::Portable),
        ("", Profile::Portable),
    ] {
        let mut metadata = MetadataMap::new();
        metadata.insert("user-agent", agent.parse().expect("a header"));
        assert_eq!(headers::fitting_types(&metadata), fitting, "{agent}");
    }
    assert_eq!(headers::fitting_types(&MetadataMap::new()), Profile::Portable);
}

/// <https://github.com/gizmodata/gizmosql/pull/186>
#[test]
fn a_session_is_of_one_user_and_ends_when_nobody_uses_it() {
    let (sessions, clock) = registry();
    drop(sessions.begin(id(1), "anna", &settings("shop")).expect("begun"));
    assert_eq!(schema_of(&sessions, 1, "anna").as_deref(), Some("shop"));
    assert_eq!(schema_of(&sessions, 1, "bert"), None);
    for _ in 0..3 {
        clock.advance(IDLE - Duration::from_secs(1));
        assert!(schema_of(&sessions, 1, "anna").is_some(), "it was used");
    }
    clock.advance(IDLE);
    assert!(!sessions.has_ended(id(1)), "nobody has looked yet");
    assert_eq!(schema_of(&sessions, 1, "anna"), None);
    assert!(sessions.has_ended(id(1)) && !sessions.has_ended(id(2)));
    clock.advance(Duration::from_secs(25 * 3600));
    sessions.sweep();
    assert!(!sessions.has_ended(id(1)), "no bearer names it any more");
}

#[test]
fn a_session_does_not_end_while_a_statement_runs() {
    let (sessions, clock) = registry();
    let running = sessions.begin(id(1), "anna", &settings("shop")).expect("begun");
    clock.advance(IDLE * 2);
    sessions.sweep();
    drop(running);
    clock.advance(IDLE - Duration::from_secs(1));
    sessions.sweep();
    assert_eq!(sessions.n_open(), 1);
    clock.advance(Duration::from_secs(1));
    sessions.sweep();
    assert_eq!(sessions.n_open(), 0);
}

#[test]
fn what_was_closed_was_never_there() {
    let (sessions, _) = registry();
    drop(sessions.begin(id(1), "anna", &settings("shop")).expect("begun"));
    sessions.end(id(1), "bert");
    assert_eq!(sessions.n_open(), 1);
    sessions.end(id(1), "anna");
    sessions.end(id(1), "anna");
    assert!(sessions.n_open() == 0 && !sessions.has_ended(id(1)));
}

#[test]
fn a_session_that_is_open_keeps_its_settings() {
    let (sessions, _) = registry();
    let first = sessions.begin(id(1), "anna", &settings("shop")).expect("begun");
    let second = sessions.begin(id(1), "anna", &settings("other")).expect("open");
    assert!(Arc::ptr_eq(&first, &second));
    assert_eq!(sessions.begin(id(1), "bert", &settings("x")).expect_err("refused").code(), Code::Internal);
}

/// <https://github.com/gizmodata/gizmosql/pull/185>
#[test]
fn who_begins_too_many_ends_their_own() {
    let (sessions, clock) = registry();
    drop(sessions.begin(id(0), "bert", &settings("b")).expect("begun"));
    for number in 1..=MAX_OF_USER + 1 {
        clock.advance(Duration::from_millis(1));
        drop(sessions.begin(id(number), "anna", &settings("a")).expect("begun"));
    }
    assert_eq!(sessions.n_open(), MAX_OF_USER + 1);
    assert!(sessions.has_ended(id(1)) && !sessions.has_ended(id(2)) && !sessions.has_ended(id(0)));
    for number in MAX_OF_USER + 2..=MAX_SESSIONS {
        let owner = format!("user{}", number / 100);
        drop(sessions.begin(id(number), &owner, &settings("u")).expect("begun"));
    }
    let full = sessions.begin(id(MAX_SESSIONS * 2), "carl", &settings("c")).expect_err("refused");
    assert_eq!(full.code(), Code::MemoryPressure);
    drop(sessions.begin(id(MAX_SESSIONS * 2), "bert", &settings("b")).expect("in the place of his other one"));
    assert!(sessions.has_ended(id(0)));
}
