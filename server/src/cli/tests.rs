//! Are words on the command line understood as documented?

use clap::{CommandFactory, Parser};
use tidewater_storage::{Code, Error};

use super::args::{Cli, Command, ConfigCommand, InputFormat, OnError, OutputFormat, TableCommand};
use super::sql::split_statements;
use super::table::{call, identifier, literal, split_name};
use super::{exit, exit_code};

fn parse(words: &[&str]) -> Result<Cli, clap::Error> {
    Cli::try_parse_from([&["tidewater"], words].concat())
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn serve_takes_addresses_and_settings() {
    let cli = parse(&["serve", "--data", "d", "--grpc", "127.0.0.1:0", "--set", "query.threads=2", "--set", "a=b=c"])
        .unwrap();
    let Command::Serve(args) = cli.command else { panic!() };
    assert_eq!(args.data.unwrap().to_str(), Some("d"));
    assert_eq!(args.settings.set, [("query.threads".into(), "2".into()), ("a".into(), "b=c".into())]);
    assert_eq!(parse(&["serve", "--set", "nonsense"]).unwrap_err().exit_code(), 2);
}

#[test]
fn sql_takes_one_source() {
    let cli = parse(&["sql", "-c", "SELECT 1", "--format", "json", "--server", "localhost:1"]).unwrap();
    assert_eq!(cli.server, "localhost:1");
    let Command::Sql(args) = cli.command else { panic!() };
    assert_eq!((args.command.as_deref(), args.format), (Some("SELECT 1"), Some(OutputFormat::Json)));
    assert_eq!(parse(&["sql", "-c", "x", "-f", "y"]).unwrap_err().exit_code(), 2);
    assert_eq!(parse(&["sql", "--format", "xml"]).unwrap_err().exit_code(), 2);
}

#[test]
fn ingest_takes_files_and_the_shape_of_a_new_table() {
    let cli = parse(&[
        "ingest",
        "git_events",
        "a.parquet",
        "b.csv",
        "--create",
        "--key",
        "a,b",
        "--time",
        "t",
        "--sort",
        "x,t",
        "--chunk-rows",
        "500",
        "--format",
        "csv",
        "--on-error",
        "abort",
        "--again",
    ])
    .unwrap();
    let Command::Ingest(args) = cli.command else { panic!() };
    assert_eq!((args.files.len(), args.key.len(), args.sort.len(), args.chunk_rows), (2, 2, 2, 500));
    assert_eq!((args.format, args.on_error, args.again), (Some(InputFormat::Csv), OnError::Abort, true));
    for wrong in [&["ingest", "t"][..], &["ingest", "t", "f", "--key", "a"], &["ingest", "t", "f", "--chunk-rows", "0"]]
    {
        assert_eq!(parse(wrong).unwrap_err().exit_code(), 2, "{wrong:?}");
    }
}

#[test]
fn other_verbs_are_there() {
    assert!(matches!(parse(&["health"]).unwrap().command, Command::Health));
    let Command::Table(args) = parse(&["table", "show", "s.t"]).unwrap().command else { panic!() };
    assert!(matches!(args.command, TableCommand::Show { name, .. } if name == "s.t"));
    let Command::Table(args) = parse(&["table", "seal", "s.t", "--format", "csv"]).unwrap().command else { panic!() };
    assert!(matches!(args.command, TableCommand::Seal { name, format: Some(OutputFormat::Csv) } if name == "s.t"));
    let Command::Table(args) = parse(&["table", "build", "t"]).unwrap().command else { panic!() };
    assert!(matches!(args.command, TableCommand::Build { name, format: None } if name == "t"));
    let Command::Table(args) = parse(&["table", "compact", "t"]).unwrap().command else { panic!() };
    assert!(matches!(args.command, TableCommand::Compact { name, format: None } if name == "t"));
    let Command::Table(args) = parse(&["table", "give-up", "t"]).unwrap().command else { panic!() };
    assert!(matches!(args.command, TableCommand::GiveUp { name, format: None } if name == "t"));
    let Command::Table(args) = parse(&["table", "verify", "t"]).unwrap().command else { panic!() };
    assert!(matches!(args.command, TableCommand::Verify { name, format: None } if name == "t"));
    let Command::Table(args) = parse(&["table", "attach", "/old/t", "--name", "s.t"]).unwrap().command else {
        panic!()
    };
    assert!(
        matches!(args.command, TableCommand::Attach { url, name: Some(name), .. } if url == "/old/t" && name == "s.t")
    );
    assert_eq!(parse(&["table", "seal"]).unwrap_err().exit_code(), 2);
    let Command::Config(args) = parse(&["config", "show", "--origin"]).unwrap().command else { panic!() };
    assert!(matches!(args.command, ConfigCommand::Show { origin: true, .. }));
    assert_eq!(parse(&["sevre"]).unwrap_err().exit_code(), 2);
}

#[test]
fn errors_have_their_exit_status() {
    let status = |code| exit_code(&anyhow::Error::from(Error::new(code, "x")).context("y"));
    assert_eq!(status(Code::InvalidConfig), exit::BAD_CONFIG);
    assert_eq!(status(Code::PortInUse), exit::TAKEN);
    assert_eq!(status(Code::FolderLocked), exit::TAKEN);
    assert_eq!(status(Code::LogUnavailable), exit::LOG);
    assert_eq!(status(Code::LogDamaged), exit::DATA_REFUSED);
    assert_eq!(status(Code::LogBehind), exit::DATA_REFUSED);
    assert_eq!(status(Code::TableNotFound), exit::FAILED);
    assert_eq!(exit_code(&anyhow::anyhow!("x")), exit::FAILED);
}

#[test]
fn statements_end_at_semicolons_outside_of_quotes() {
    for (text, expected) in [
        ("", &[][..]),
        (" ; -- nothing\n ; /* or /* nested */ ; */ ", &[]),
        ("SELECT 1", &["SELECT 1"]),
        ("SELECT 1; SELECT 2 ;", &["SELECT 1", "SELECT 2"]),
        ("SELECT ';' ; SELECT \"a;b\", 'it''s; so'", &["SELECT ';'", "SELECT \"a;b\", 'it''s; so'"]),
        ("SELECT 1 -- a; b\n, 2; x", &["SELECT 1 -- a; b\n, 2", "x"]),
        ("SELECT $1; SELECT $a$ ; $a$; SELECT $$;$$", &["SELECT $1", "SELECT $a$ ; $a$", "SELECT $$;$$"]),
        ("SELECT 'open; ", &["SELECT 'open;"]),
        ("ä;ö /* open ;", &["ä", "ö /* open ;"]),
    ] {
        assert_eq!(split_statements(text), expected, "{text}");
    }
}

#[test]
fn table_names_fold_unless_quoted() {
    let name = |text| split_name(text).ok();
    let pair = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
    assert_eq!(name("Git_Events"), pair("public", "git_events"));
    assert_eq!(name("S.T"), pair("s", "t"));
    assert_eq!(name("\"S.x\".\"T\"\"\""), pair("S.x", "T\""));
    for wrong in ["", ".", "a.", "a.b.c", "\"a", "\"\"", "\"a\"b"] {
        assert_eq!(name(wrong), None, "{wrong}");
    }
    assert_eq!(call("seal", "S.\"T'x\"").ok().as_deref(), Some("CALL seal('\"s\".\"T''x\"')"));
    assert_eq!((identifier("a\"b"), literal("it's")), ("\"a\"\"b\"".into(), "'it''s'".into()));
}
