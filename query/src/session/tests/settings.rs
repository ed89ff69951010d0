//! Are settings read, refused and shown as documented?

use crate::session::{Interface, Principal, Session, SessionSettings, change, show};
use crate::wire_types::Profile;

fn set(name: &str, value: &str) -> Result<String, String> {
    let mut settings = SessionSettings::default();
    change(&mut settings, name, Some(value), &|schema| schema == "sales").map_err(|e| e.to_string())?;
    show(&settings, name).map_err(|e| e.to_string())
}

#[test]
fn values_are_read_and_shown() {
    for (name, value, shown) in [
        ("timezone", "Europe/Berlin", "Europe/Berlin"),
        ("TimeZone", "+02:00", "+02:00"),
        ("time zone", "utc", "UTC"),
        ("statement_timeout", "500", "500ms"),
        ("statement_timeout", "90s", "90s"),
        ("statement_timeout", "60 min", "1h"),
        ("max_rows", "1000", "1000"),
        ("schema", "sales", "sales"),
    ] {
        assert_eq!(set(name, value).as_deref(), Ok(shown), "{name} = {value}");
    }
}

#[test]
fn types_that_are_set_count_more_than_those_that_fit_the_client() {
    let session = Session::new(Principal::admin("a"), Interface::FlightSql).with_fitting_types(Profile::Jdbc);
    let set = |value| change(&mut session.settings.lock(), "types", value, &|_| false).expect("set");
    let shown = || (session.types(), show(&session.current(), "types").expect("shown"));
    assert_eq!(shown(), (Profile::Jdbc, "jdbc".to_owned()));
    set(Some("portable"));
    assert_eq!(shown(), (Profile::Portable, "portable".to_owned()));
    assert_eq!(session.clone().with_types(Profile::Native).types(), Profile::Native);
    set(None);
    assert_eq!(shown(), (Profile::Jdbc, "jdbc".to_owned()));
}

#[test]
fn what_is_stored_is_what_was_set() {
    let mut settings = SessionSettings::default();
    assert!(settings.to_stored().is_empty());
    for (name, value) in [
        ("timezone", "+02:00"),
        ("statement_timeout", "1500"),
        ("max_rows", "7"),
        ("schema", "gone by now"),
        ("types", "portable"),
    ] {
        settings.restore(name, Some(value)).expect("set");
        let stored = settings.to_stored();
        assert!(stored.contains_key(name), "{stored:?}");
        assert_eq!(SessionSettings::from_stored(&stored).expect("read"), settings);
    }
    assert_eq!(settings.to_stored()["statement_timeout"], "1500ms");
    settings.restore("timezone", None).expect("reset");
    assert!(!settings.to_stored().contains_key("timezone"));
    // A later version may know more.
    let newer = [("work_mem".to_owned(), "1".to_owned())].into();
    assert!(SessionSettings::from_stored(&newer).is_err());
}

#[test]
fn own_settings_are_seen_by_nobody_else() {
    let session = Session::new(Principal::admin("a"), Interface::FlightSql);
    let own = session.with_own_settings();
    own.settings.lock().max_rows = 7;
    assert_eq!((session.current().max_rows, own.current().max_rows), (0, 7));
}

#[test]
fn wrong_values_are_refused_with_a_hint() {
    for (name, value, part) in [
        ("timezone", "Mars/Base", "IANA"),
        ("statement_timeout", "0", "1ms to 1h"),
        ("statement_timeout", "2h", "1ms to 1h"),
        ("statement_timeout", "99999999999999999999h", "1ms to 1h"),
        ("max_rows", "-1", "number of rows"),
        ("schema", "nowhere", "SHOW SCHEMAS"),
        ("timezon", "UTC", "did you mean 'timezone'?"),
        ("work_mem", "1", "the settings are"),
    ] {
        let error = set(name, value).unwrap_err();
        assert!(error.contains(part), "{name} = {value}: {error}");
    }
}
