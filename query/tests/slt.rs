//! Do the statements in `slt/*.slt` answer as written there? A small runner of the sqllogictest format.
//!
//! Records are separated by blank lines. `statement ok [text]` expects success and, with a text, a notice that holds it; `statement error
//! text` expects an error that holds the text; `query [rowsort]` expects the rows after `----`, columns joined by `|`, NULL as `NULL`.
//! `as reader|writer|admin` changes who asks to one with that role on everything, `as NAME role:pattern …` to one with these grants, and
//! `as NAME none` to one with none. Lines that begin with `#` are comments.

mod support;

use std::path::Path;

use support::{Fixture, render};
use tidewater_query::{Error, Grant, PlannedKind, Principal, Role, RunOptions, Session};

/// One record of a file, and the line where it begins.
struct Record {
    line: usize,
    lines: Vec<String>,
}

fn records(text: &str) -> Vec<Record> {
    let mut out: Vec<Record> = Vec::new();
    let mut open = false;
    for (i, line) in text.lines().enumerate() {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            open = false;
            continue;
        }
        if !open {
            out.push(Record { line: i + 1, lines: Vec::new() });
            open = true;
        }
        if let Some(record) = out.last_mut() {
            record.lines.push(line.to_string());
        }
    }
    out
}

/// What a statement did: rows and notices, or the error's text.
async fn run(fixture: &Fixture, session: &Session, sql: &str) -> Result<(Vec<String>, Vec<String>), String> {
    let planned = fixture.engine.plan(session, sql, None, RunOptions::default()).await.map_err(|e| e.to_string())?;
    match planned.kind {
        PlannedKind::Update(outcome) => Ok((Vec::new(), outcome.notices)),
        PlannedKind::Rows { pending, .. } => {
            let stream = pending.start().await.map_err(|e| e.to_string())?;
            let batches = support::collect(stream).await.map_err(|e| e.to_string())?;
            Ok((render(&batches), Vec::new()))
        }
    }
}

async fn check(fixture: &Fixture, session: &mut Session, record: &Record) -> Result<(), String> {
    let header: Vec<&str> = record.lines[0].splitn(3, ' ').collect();
    let body = &record.lines[1..];
    match header.as_slice() {
        ["as", role] => {
            let role: Role = role.parse().map_err(|error: Error| error.to_string())?;
            session.principal = Principal::with_role(role.as_str(), role);
            Ok(())
        }
        ["as", name, grants] => {
            let texts = grants.split_whitespace().filter(|text| *text != "none");
            let grants: Result<Vec<Grant>, Error> = texts.map(str::parse).collect();
            session.principal = Principal::new(*name, grants.map_err(|error| error.to_string())?);
            Ok(())
        }
        ["statement", "ok", notice @ ..] => {
            let (_, notices) = run(fixture, session, &body.join("\n")).await?;
            match notice {
                [text] if !notices.iter().any(|n| n.contains(text)) => {
                    Err(format!("no notice '{text}' in {notices:?}"))
                }
                _ => Ok(()),
            }
        }
        ["statement", "error", text] => match run(fixture, session, &body.join("\n")).await {
            Err(error) if error.contains(text) => Ok(()),
            Err(error) => Err(format!("another error: {error}")),
            Ok(_) => Err("no error".into()),
        },
        ["query", options @ ..] => {
            let split = body.iter().position(|line| line == "----").ok_or("no ----")?;
            let (mut rows, _) = run(fixture, session, &body[..split].join("\n")).await?;
            let mut expected = body[split + 1..].to_vec();
            if options.contains(&"rowsort") {
                rows.sort();
                expected.sort();
            }
            if rows == expected { Ok(()) } else { Err(format!("got\n{}\n", rows.join("\n"))) }
        }
        other => Err(format!("unknown record {other:?}")),
    }
}

fn run_file(path: &Path) {
    let fixture = Fixture::new();
    let text = std::fs::read_to_string(path).expect("a readable file");
    fixture.block_on(async {
        let mut session = fixture.admin();
        let mut failures = Vec::new();
        for record in records(&text) {
            if let Err(problem) = check(&fixture, &mut session, &record).await {
                failures.push(format!("{}:{}: {}\n{problem}", path.display(), record.line, record.lines.join("\n")));
            }
        }
        assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    });
}

macro_rules! slt {
    ($($name:ident),*) => {
        $(#[test]
        fn $name() {
            run_file(&Path::new(env!("CARGO_MANIFEST_DIR")).join(concat!("tests/slt/", stringify!($name), ".slt")));
        })*

        #[test]
        fn every_file_is_run() {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt");
            let mut found: Vec<String> = std::fs::read_dir(folder)
                .expect("the folder")
                .map(|entry| entry.expect("an entry").path().file_stem().expect("a name").to_string_lossy().into_owned())
                .collect();
            found.sort();
            assert_eq!(found, [$(stringify!($name)),*]);
        }
    };
}

slt!(
    alter, create_as, ddl, delete, floats, grants, hidden, insert, roles, select, settings, show, subqueries, types,
    views, zones
);
