//! Are dead letters read as the Python client writes them, and do only their own lines leave the file?

use std::collections::HashSet;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use tidewater_proto::ingest::v1 as pb;

use super::super::replay::letters::{DeadLetterFile, Letter};
use super::super::replay::{Totals, ended};
use super::file;

const REFUSED: &str = r#"{"schema":"public","table":"t","producer":"p","n_rows":2,"cause":"no","options":{"onRowError":"ON_ROW_ERROR_ABORT","timeZone":"Europe/Berlin"},"sequence":null,"epoch":null,"last_acked":null,"id":"a1","json_rows":"{\"id\":1}\n{\"id\":2}\n"}"#;
const GIVEN_UP: &str = r#"{"schema":"s","table":"t","producer":"p","n_rows":1,"cause":"away","options":{},"sequence":7,"epoch":3,"last_acked":6,"id":"b2","later":1,"arrow_ipc_stream":"AAEC"}"#;

#[test]
fn a_line_says_what_is_sent_where_and_how() {
    let letter = Letter::parse(REFUSED.as_bytes()).unwrap();
    assert_eq!((&*letter.id, letter.sequence, letter.epoch), ("a1", None, None));
    let table = letter.request.table.as_ref().map(|table| (&*table.schema, &*table.table));
    assert_eq!(table, Some(("public", "t")));
    let options = letter.request.options.unwrap();
    assert_eq!((options.on_row_error(), &*options.time_zone), (pb::OnRowError::Abort, "Europe/Berlin"));
    let format = letter.request.payload.unwrap().format;
    assert_eq!(format, Some(pb::payload::Format::JsonRows("{\"id\":1}\n{\"id\":2}\n".into())));

    let letter = Letter::parse(GIVEN_UP.as_bytes()).unwrap();
    assert_eq!((letter.sequence, letter.epoch, letter.last_acked), (Some(7), Some(3), Some(6)));
    let format = letter.request.payload.unwrap().format;
    assert_eq!(format, Some(pb::payload::Format::ArrowIpcStream(vec![0, 1, 2].into())));
}

#[test]
fn what_is_no_letter_is_told_before_anything_is_sent() {
    for wrong in [
        r#"{"id":1}"#.to_owned(),
        REFUSED.replace("json_rows", "rows"),
        REFUSED.replace("ON_ROW_ERROR_ABORT", "ON_ROW_ERROR_PERHAPS"),
        REFUSED.replace("timeZone", "anotherOption"),
        GIVEN_UP.replace("AAEC", "?"),
    ] {
        let (_folder, path) = file("dead.ndjson", format!("{GIVEN_UP}\n\n{wrong}\n").as_bytes());
        let error = format!("{:#}", DeadLetterFile::new(&path).read().unwrap_err());
        assert!(error.starts_with("line 3 of ") && error.contains("is no dead letter"), "{error}");
    }
}

/// As an editor leaves it.
#[test]
fn a_last_line_without_its_end_is_not_passed_over() {
    let (_folder, path) = file("dead.ndjson", format!("{REFUSED}\n{GIVEN_UP}").as_bytes());
    let error = DeadLetterFile::new(&path).read().unwrap_err().to_string();
    assert!(error.contains("has no end"), "{error}");
}

#[test]
fn one_batch_is_no_batches() {
    let mut totals = Totals { stored: 1, accepted: 1, dropped: 1, ..Totals::default() };
    assert_eq!(totals.to_string(), "1 batch stored: 1 row accepted, 0 duplicate, 0 rejected; 1 batch dropped, 0 left");
    (totals.stored, totals.accepted, totals.dropped) = (2, 0, 0);
    assert!(totals.to_string().starts_with("2 batches stored: 0 rows accepted, "), "{totals}");
}

/// Whoever runs it learns how many are left also when the server is away, and which one it was.
#[test]
fn a_replay_that_stopped_says_what_is_left_and_why() {
    let (_folder, path) = file("dead.ndjson", REFUSED.as_bytes());
    let letters = DeadLetterFile::new(&path);
    let letter = Letter::parse(GIVEN_UP.as_bytes()).unwrap();
    let away = || anyhow::Error::from(crate::cli::Usage("away".to_owned())).context(letter.to_string());
    let stopped = ended(&letters, 2, Err(away())).unwrap_err();
    let said = "2 batches were not taken and are still in ";
    assert!(stopped.to_string().starts_with(said), "{stopped}");
    assert!(format!("{stopped:#}").ends_with("run it again when this is over: id b2 for s.t: away"), "{stopped:#}");
    assert!(stopped.is::<crate::cli::Usage>(), "its kind says the status");
    assert!(ended(&letters, 1, Ok(())).unwrap_err().to_string().starts_with("1 batch was not taken and is still in "));
    assert!(ended(&letters, 0, Ok(())).is_ok());
}

#[test]
fn only_what_was_stored_leaves_the_file() {
    let cut = &GIVEN_UP[..20];
    let (_folder, path) = file("dead.ndjson", format!("{REFUSED}\n{GIVEN_UP}\n{cut}").as_bytes());
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    let letters = DeadLetterFile::new(&path);
    let mut read = letters.read().unwrap().unwrap();
    assert_eq!(read.n(), 2);
    letters.take_out(&HashSet::from(["c3".to_owned()])).unwrap();
    assert!(std::fs::read_to_string(&path).unwrap().ends_with(cut), "nothing was to go");
    letters.take_out(&HashSet::from(["a1".to_owned()])).unwrap();
    // Byte by byte, also what we do not know.
    assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{GIVEN_UP}\n"));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "it stays private");
    // Who reads goes on with the batches that were there when they began.
    let mut ids = std::iter::from_fn(|| read.next_letter().unwrap().map(|letter| letter.id));
    assert_eq!((ids.next().as_deref(), ids.next().as_deref(), ids.next()), (Some("a1"), Some("b2"), None));
    letters.take_out(&HashSet::from(["b2".to_owned()])).unwrap();
    assert!(!path.exists() && letters.read().unwrap().is_none());
    letters.take_out(&HashSet::from(["b2".to_owned()])).unwrap();
}
