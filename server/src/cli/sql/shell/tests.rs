//! Does the shell understand what is typed, before any terminal or server is there?

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use reedline::{FileBackedHistory, History, HistoryItem, SearchDirection, SearchQuery};
use tidewater_client::Summary;

use super::command::{Command, HELP, parse};
use super::editor::{WithoutSecrets, history_file, make_private};
use super::input::{Kind, changes_names, is_secret, is_whole, words};
use super::names::Names;
use super::report;
use crate::cli::args::OutputFormat;

#[test]
fn commands_are_told_from_statements() {
    for (line, expected) in [
        ("\\d", Command::Describe(None)),
        (" \\d  Sales.\"T\" ; ", Command::Describe(Some("Sales.\"T\"".into()))),
        ("\\dt", Command::Tables),
        ("\\dv;", Command::Views),
        ("\\dn", Command::Schemas),
        ("\\timing", Command::Timing(None)),
        ("\\x on", Command::Expanded(Some(true))),
        ("\\format ndjson", Command::Format(Some(OutputFormat::Ndjson))),
        ("\\format", Command::Format(None)),
        ("\\o 'a b.csv'", Command::Output(PathBuf::from("a b.csv"))),
        ("\\i x.sql", Command::Include(PathBuf::from("x.sql"))),
        ("\\watch", Command::Watch(Duration::from_secs(2))),
        ("\\watch 0.5", Command::Watch(Duration::from_millis(500))),
        ("\\?", Command::Help),
        ("help", Command::Help),
        ("\\q", Command::Quit),
        ("exit;", Command::Quit),
    ] {
        assert_eq!(parse(line), Some(Ok(expected)), "{line}");
    }
    for statement in ["SELECT 1", "", "exit now", "SELECT '\\d'"] {
        assert_eq!(parse(statement), None, "{statement}");
    }
}

#[test]
fn what_is_no_command_says_what_is() {
    for (line, part) in [
        ("\\tming", "did you mean \\timing?"),
        ("\\wtach 2", "did you mean \\watch?"),
        ("\\zzz", "\\? lists them"),
        ("\\timing yes", "on or off, not 'yes'"),
        ("\\format parquet", "no form for a terminal"),
        ("\\o", "needs the name of a file"),
        ("\\watch 0", "'0' is no number of seconds"),
        ("\\watch NaN", "no number of seconds"),
        ("\\q now", "stands alone"),
    ] {
        let reason = parse(line).expect("a command").expect_err(line);
        assert!(reason.contains(part), "{line}: {reason}");
    }
    // What the list shows is what there is.
    for (name, ..) in HELP {
        let line = if ["\\o", "\\i"].contains(name) { format!("{name} file") } else { (*name).to_owned() };
        assert!(matches!(parse(&line), Some(Ok(_))), "{line}");
    }
}

#[test]
fn a_line_goes_on_until_its_statement_is_closed() {
    for whole in
        ["", "  ", "\\d", "exit", "SELECT 1;", "SELECT ';';", "SELECT 1; -- a", "SELECT 1; /* a */ ", "SELECT $$;$$;\n"]
    {
        assert!(is_whole(whole), "{whole}");
    }
    for open in
        ["SELECT 1", "SELECT ';", "SELECT 1; SELECT 2", "SELECT 1 -- ;", "SELECT 1; /* a", "SELECT $x$;", "SELECT \"a;"]
    {
        assert!(!is_whole(open), "{open}");
    }
}

#[test]
fn pieces_are_the_text_and_have_kinds() {
    let text = "select \"From\", 'it''s' -- from\nFROM t;ä /* open";
    assert_eq!(words(text).map(|(_, word)| word).collect::<String>(), text);
    let of = |kind| words(text).filter(|(own, _)| *own == kind).map(|(_, word)| word).collect::<Vec<_>>();
    assert_eq!(of(Kind::Keyword), ["select", "FROM"]);
    assert_eq!(of(Kind::Quoted), ["\"From\"", "'it'", "'s'"]);
    assert_eq!(of(Kind::Comment), ["-- from", "/* open"]);
    assert_eq!(words("\\d t").next(), Some((Kind::Command, "\\d")));
    for (statement, expected) in [
        ("-- a\ncreate TABLE t (x INT)", true),
        ("/**/DROP VIEW v", true),
        ("SELECT 1", false),
        ("INSERT INTO t VALUES (1)", false),
    ] {
        assert_eq!(changes_names(statement), expected, "{statement}");
    }
}

fn names() -> Names {
    let mut names = Names::default();
    for (schema, table, column) in [
        ("public", "detections", "item_name"),
        ("public", "detections", "Odd Name"),
        ("public", "devices", "id"),
        ("sales", "orders", "item_price"),
        ("system", "tables", "item_hidden"),
    ] {
        names.add(schema, table, column);
    }
    names
}

#[test]
fn names_and_keywords_are_offered_where_they_fit() {
    let names = names();
    let offered = |text: &str| names.candidates(text, text.len());
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    for (text, start, expected) in [
        ("SELECT * FROM de", 14, &["detections", "devices"][..]),
        ("SELECT it", 7, &["item_name", "item_price"]),
        ("SELECT detections.", 7, &["detections.\"Odd Name\"", "detections.item_name"]),
        ("SELECT * FROM sales.", 14, &["sales.orders"]),
        ("SELECT sales.orders.it", 7, &["sales.orders.item_price"]),
        ("SELECT * FROM sys", 14, &["system."]),
        ("sel", 0, &["select"]),
        ("SEL", 0, &["SELECT"]),
        ("\\ti", 0, &["\\timing"]),
        ("\\d dev", 3, &["devices"]),
        ("\\format nd", 8, &["ndjson"]),
        ("SELECT 'ä' FROM dev", 17, &["devices"]),
        ("SELECT zz", 7, &[]),
    ] {
        assert_eq!(offered(text), (start, words(expected)), "{text}");
    }
    // In the middle of a line only what stands before the cursor counts.
    assert_eq!(names.candidates("SELECT it FROM t", 9).1, words(&["item_name", "item_price"]));
    assert_eq!(names.candidates("ä", 1).1, words(&[]), "a cursor inside of a character");
}

#[test]
fn errors_point_at_their_place() {
    let statement = "SELECT id\nFROM\tt\nWHRE 1";
    let place = |message| report::place(statement, message);
    assert_eq!(place("found: 1 at Line: 3, Column: 6 (TW-1001)").as_deref(), Some("line 3: WHRE 1\n             ^"));
    assert_eq!(place("found: t at Line: 2, Column: 6").as_deref(), Some("line 2: FROM\tt\n            \t^"));
    for nowhere in ["no place", "at Line: 9, Column: 1", "at Line: 0, Column: 0", "at Line: x, Column: 1"] {
        assert_eq!(place(nowhere), None, "{nowhere}");
    }
}

#[test]
fn a_statement_says_what_it_took() {
    let took = Duration::from_micros(12_340);
    assert_eq!(report::of_rows(1, took, &Summary::default()), "(1 row, 12.3 ms)");
    let summary = Summary {
        rows_read_realtime: 1_000,
        rows_read_sealed: 20,
        files_pruned: 3,
        files_read: 2,
        affected_rows: 2,
        ..Summary::default()
    };
    let text = "(1,234 rows, 1.50 s; read 1,000 rows in memory, 20 rows in files; 3 of 5 files skipped)";
    assert_eq!(report::of_rows(1_234, Duration::from_millis(1_500), &summary), text);
    assert_eq!(report::of_update(took, &summary), "(ok, 2 rows changed, 12.3 ms)");
    assert_eq!(report::of_update(took, &Summary::default()), "(ok, 12.3 ms)");
    let one = Summary { files_pruned: 1, affected_rows: 1, ..Summary::default() };
    assert_eq!(report::of_rows(0, took, &one), "(0 rows, 12.3 ms; 1 of 1 file skipped)");
    assert_eq!(report::of_update(took, &one), "(ok, 1 row changed, 12.3 ms)");
}

#[test]
fn the_history_is_private_and_has_no_secrets() {
    let variable = |name: &str| match name {
        "HOME" => Some(PathBuf::from("/home/u")),
        _ => Some(PathBuf::from("not/whole")),
    };
    assert_eq!(history_file(variable), Some(PathBuf::from("/home/u/.local/state/tidewater/history")));
    let state = |name: &str| (name == "XDG_STATE_HOME").then(|| PathBuf::from("/state"));
    assert_eq!(history_file(state), Some(PathBuf::from("/state/tidewater/history")));
    assert_eq!(history_file(|_| None), None);

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tidewater/history");
    make_private(&file).expect("made");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("changed");
    make_private(&file).expect("made private again");
    let mode = |path: &std::path::Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(file.parent().expect("a folder"))), (0o600, 0o700));

    let mut history = WithoutSecrets(FileBackedHistory::with_file(10, file.clone()).expect("opens"));
    for line in ["SELECT 1;", "CREATE USER a PASSWORD 'canary';", "alter user a password 'canary';", "SELECT\n2;"] {
        history.save(HistoryItem::from_command_line(line)).expect("saved");
    }
    history.sync().expect("written");
    let all = history.search(SearchQuery::everything(SearchDirection::Forward, None)).expect("read");
    assert_eq!(all.iter().map(|item| item.command_line.as_str()).collect::<Vec<_>>(), ["SELECT 1;", "SELECT\n2;"]);
    assert!(!std::fs::read_to_string(&file).expect("text").contains("canary"));
    assert!(is_secret("Password") && !is_secret("SELECT passw"));
}
