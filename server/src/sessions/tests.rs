//! Does a session hold what was set in it, for its own client, as long as it is used?

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidewater_query::SessionSettings;
use tidewater_query::wire_types::Profile;
use tidewater_storage::env::ManualClock;
use tidewater_storage::{Code, StoredSession};
use tonic::metadata::MetadataMap;

use super::Sessions;
use super::headers;
use super::registry::{IDLE, MAX_OF_USER, MAX_REMEMBERED, MAX_SESSIONS, Shared};
use crate::auth::SessionId;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn id(number: usize) -> SessionId {
    SessionId((number as u128).to_be_bytes())
}

fn settings(schema: &str) -> Shared {
    Arc::new(Mutex::new(SessionSettings { schema: schema.to_owned(), ..SessionSettings::default() }))
}

fn registry() -> (Sessions, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(0));
    (Sessions::new(Arc::<ManualClock>::clone(&clock), Vec::new()), clock)
}

/// Of a bearer of anna's that was given this long after the beginning.
fn has_ended(sessions: &Sessions, number: usize, issued: Duration) -> bool {
    sessions.may_have_ended(id(number), "anna", issued.as_micros() as i64)
}

fn stored(number: usize, user: &str, schema: &str, changed_at_us: i64) -> Arc<StoredSession> {
    let settings = settings(schema).lock().to_stored();
    Arc::new(StoredSession { id: id(number).0, user: user.to_owned(), settings, changed_at_us })
}

fn schema_of(sessions: &Sessions, number: usize, owner: &str) -> Option<String> {
    sessions.get(id(number), owner).map(|settings| settings.lock().schema.clone())
}

#[test]
fn the_form_of_messages_is_one_that_there_is() {
    let form = |name: &'static str, value: &'static str| {
        let mut metadata = MetadataMap::new();
        metadata.insert(name, value.parse().expect("a header"));
        headers::form(&metadata)
    };
    for value in ["lz4", "ZSTD", "none", ""] {
        assert!(form("x-flight-compression", value).is_ok(), "{value}");
    }
    assert!(form("x-flight-max-message", "67108864").is_ok());
    for (name, value) in [
        ("x-flight-compression", "gzip"),
        ("x-flight-max-message", "0"),
        ("x-flight-max-message", "-1"),
        ("x-flight-max-message", "67108865"),
        ("x-flight-max-message", "4 MiB"),
    ] {
        let error = form(name, value).expect_err("refused");
        assert_eq!(error.code(), Code::InvalidRequest);
        assert!(error.message().contains(name), "{error}");
    }
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
    assert!(!has_ended(&sessions, 1, Duration::ZERO), "nobody has looked yet");
    assert_eq!(schema_of(&sessions, 1, "anna"), None);
    assert!(has_ended(&sessions, 1, Duration::ZERO) && !has_ended(&sessions, 2, Duration::ZERO));
    assert_eq!(sessions.begin(id(1), "anna", &settings("x")).expect_err("refused").code(), Code::HandleNotFound);
    assert!(sessions.sweep().is_empty());
    clock.advance(Duration::from_secs(25 * 3600));
    assert_eq!(sessions.sweep(), [id(1)], "it need not be stored any longer");
    // A bearer from when it was open may name it; where nobody is asked who they are that goes on to be shown.
    assert!(has_ended(&sessions, 1, Duration::ZERO) && has_ended(&sessions, 1, IDLE));
    assert!(!has_ended(&sessions, 1, IDLE * 10), "it was over by then");
    assert!(sessions.sweep().is_empty());
}

#[test]
fn who_leaves_too_many_takes_nothing_from_others() {
    let (sessions, clock) = registry();
    clock.advance(Duration::from_secs(1));
    drop(sessions.begin(id(0), "bert", &settings("b")).expect("begun"));
    for number in 1..=MAX_REMEMBERED + MAX_OF_USER {
        drop(sessions.begin(id(number), "anna", &settings("a")).expect("begun"));
        clock.advance(Duration::from_millis(1));
    }
    assert!(sessions.sweep().is_empty());
    clock.advance(IDLE);
    let forgotten = sessions.sweep();
    assert!(forgotten.len() > MAX_OF_USER && !forgotten.contains(&id(0)), "only hers");
    let may_have_ended = |number, owner| sessions.may_have_ended(id(number), owner, 1_000_000);
    assert!(may_have_ended(1, "anna"), "her bearers of that time are refused all the same");
    assert!(may_have_ended(MAX_REMEMBERED * 2, "anna"), "nobody knows whether that was one of them");
    assert!(may_have_ended(0, "bert"), "his that ended is not forgotten");
    assert!(!may_have_ended(MAX_REMEMBERED * 2, "bert"), "his that never began is good");
    assert!(!has_ended(&sessions, MAX_REMEMBERED * 2, IDLE * 2), "nor is one that was given later");
}

#[test]
fn what_an_earlier_process_left_is_open() {
    let clock = Arc::new(ManualClock::at(DAY.as_micros() as i64));
    let mut unknown = StoredSession::clone(&stored(3, "anna", "x", 1));
    unknown.settings.insert("work_mem".to_owned(), "1".to_owned());
    let left = vec![stored(1, "anna", "shop", 1), stored(2, "bert", "public", 2), Arc::new(unknown)];
    let sessions = Sessions::new(Arc::<ManualClock>::clone(&clock), left);
    assert_eq!(schema_of(&sessions, 1, "anna").as_deref(), Some("shop"));
    assert_eq!(schema_of(&sessions, 2, "bert").as_deref(), Some("public"), "reset is set");
    assert_eq!(schema_of(&sessions, 1, "bert"), None);
    // Settings of a newer version would mean something else here.
    assert!(schema_of(&sessions, 3, "anna").is_none() && has_ended(&sessions, 3, DAY));
    assert!(!has_ended(&sessions, 4, DAY));
    assert!(has_ended(&sessions, 4, Duration::ZERO), "what ended a day before is forgotten");
    clock.advance(IDLE);
    sessions.sweep();
    assert_eq!(sessions.n_open(), 0);
}

#[test]
fn of_too_many_that_were_left_the_newest_are_open() {
    let clock = Arc::new(ManualClock::at(DAY.as_micros() as i64));
    let left = (0..MAX_REMEMBERED).map(|number| stored(number, &format!("user{}", number % 5), "s", number as i64));
    let sessions = Sessions::new(Arc::<ManualClock>::clone(&clock), left.collect());
    assert_eq!(sessions.n_open(), 5 * MAX_OF_USER);
    assert!(schema_of(&sessions, MAX_REMEMBERED - 1, &format!("user{}", (MAX_REMEMBERED - 1) % 5)).is_some());
    assert!(schema_of(&sessions, 0, "user0").is_none() && has_ended(&sessions, 0, DAY * 9));
    // The folder was full: others may have been forgotten at any time.
    assert!(has_ended(&sessions, MAX_REMEMBERED, DAY) && !has_ended(&sessions, MAX_REMEMBERED, DAY * 2));
}

#[test]
fn a_session_comes_to_what_is_stored_of_it() {
    let (sessions, clock) = registry();
    let open = sessions.begin(id(1), "anna", &settings("before")).expect("begun");
    sessions.settle(id(1), "anna", || Some(stored(1, "anna", "shop", 1))).expect("settled");
    assert_eq!((open.lock().schema.as_str(), sessions.n_open()), ("shop", 1));
    drop(open);
    // The other of two who began it came to nothing.
    drop(sessions.begin(id(2), "anna", &settings("before")).expect("begun"));
    sessions.settle(id(2), "anna", || None).expect("not begun");
    assert_eq!(schema_of(&sessions, 2, "anna"), None);
    sessions.settle(id(2), "anna", || Some(stored(2, "anna", "shop", 1))).expect("begun after all");
    assert_eq!(schema_of(&sessions, 2, "anna").as_deref(), Some("shop"));
    clock.advance(IDLE);
    sessions.sweep();
    let late = sessions.settle(id(2), "anna", || Some(stored(2, "anna", "shop", 2))).expect_err("it has ended");
    assert_eq!((late.code(), sessions.n_open()), (Code::HandleNotFound, 0));
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
    assert!(sessions.n_open() == 0 && !has_ended(&sessions, 1, Duration::ZERO));
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
    let ended = |number| has_ended(&sessions, number, Duration::ZERO);
    assert!(ended(1) && !ended(2) && !ended(0));
    for number in MAX_OF_USER + 2..=MAX_SESSIONS {
        let owner = format!("user{}", number / 100);
        drop(sessions.begin(id(number), &owner, &settings("u")).expect("begun"));
    }
    let full = sessions.begin(id(MAX_SESSIONS * 2), "carl", &settings("c")).expect_err("refused");
    assert_eq!(full.code(), Code::MemoryPressure);
    drop(sessions.begin(id(MAX_SESSIONS * 2), "bert", &settings("b")).expect("in the place of his other one"));
    assert!(ended(0));
}
