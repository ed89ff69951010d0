//! Are words on the command line understood as documented?

use std::path::Path;

use clap::{CommandFactory, Parser};
use tidewater_client::Credentials;
use tidewater_storage::{Code, Error};

use super::args::{
    Cli, Command, CompletionsArgs, ConfigCommand, InputFormat, OfTableCommand, OnError, OutputFormat, QueryCommand,
    Shell, TableCommand, TokenArgs, TokenCommand, Unsettled, UserArgs, UserCommand,
};
use super::sql::{is_terminated, split_statements};
use super::table::{call, identifier, literal, split_name, verify_request};
use super::{ChecksFailed, Interrupted, Usage, advice, exit, exit_code};

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
    assert_eq!(cli.server.address, "localhost:1");
    let Command::Sql(args) = cli.command else { panic!() };
    assert_eq!((args.command.as_deref(), args.format), (Some("SELECT 1"), Some(OutputFormat::Json)));
    assert_eq!(parse(&["sql", "-c", "x", "-f", "y"]).unwrap_err().exit_code(), 2);
    assert_eq!(parse(&["sql", "--format", "xml"]).unwrap_err().exit_code(), 2);
    let cli = parse(&["sql", "-c", "SELECT 1", "-o", "x.parquet"]).unwrap();
    let Command::Sql(args) = cli.command else { panic!() };
    assert_eq!((args.output.unwrap().to_str(), args.format), (Some("x.parquet"), None));
}

#[test]
fn verbs_that_look_at_a_server() {
    let Command::Segment(args) = parse(&["segment", "list", "t", "--format", "ndjson"]).unwrap().command else {
        panic!()
    };
    let OfTableCommand::List { table, format } = args.command;
    assert_eq!((table.as_deref(), format), (Some("t"), Some(OutputFormat::Ndjson)));
    let Command::Producer(args) = parse(&["producer", "list"]).unwrap().command else { panic!() };
    assert!(matches!(args.command, OfTableCommand::List { table: None, format: None }));
    let Command::Query(args) = parse(&["query", "list", "--all"]).unwrap().command else { panic!() };
    assert!(matches!(args.command, QueryCommand::List { all: true, format: None }));
    let Command::Query(args) = parse(&["query", "cancel", "x"]).unwrap().command else { panic!() };
    assert!(matches!(args.command, QueryCommand::Cancel { id } if id == "x"));
    let Command::Verify(args) = parse(&["verify", "a", "b"]).unwrap().command else { panic!() };
    assert_eq!((args.tables, args.format), (vec!["a".to_owned(), "b".to_owned()], None));
    let Command::Doctor(args) = parse(&["doctor", "--data", "d", "--format", "json"]).unwrap().command else {
        panic!()
    };
    assert_eq!((args.data.unwrap().to_str(), args.format), (Some("d"), Some(OutputFormat::Json)));
    let Command::Events(args) = parse(&["events", "--limit", "3"]).unwrap().command else { panic!() };
    assert_eq!(args.limit, 3);
    let Command::Table(args) = parse(&["table", "drop", "t"]).unwrap().command else { panic!() };
    assert!(matches!(args.command, TableCommand::Drop { name } if name == "t"));
    assert_eq!(parse(&["query", "cancel"]).unwrap_err().exit_code(), 2);
}

#[test]
fn a_check_of_a_table_has_as_long_as_a_statement_may_take() {
    let request = verify_request("T").unwrap();
    assert_eq!(request.sql, "CALL verify('\"public\".\"t\"')");
    assert_eq!(request.settings.get("statement_timeout").map(String::as_str), Some("1h"));
}

#[test]
fn completions_know_the_verbs() {
    for (shell, name) in [(Shell::Bash, "bash"), (Shell::Zsh, "zsh"), (Shell::Fish, "fish")] {
        let Command::Completions(args) = parse(&["completions", name]).unwrap().command else { panic!() };
        assert_eq!(args.shell, shell);
        let script = CompletionsArgs { shell }.script();
        for word in ["tidewater", "doctor", "segment", "give-up", "ndjson", "delimiter"] {
            assert!(script.contains(word), "{name} completes {word}");
        }
    }
    assert_eq!(parse(&["completions", "cmd"]).unwrap_err().exit_code(), 2);
}

#[test]
fn the_version_names_commit_and_disk_format() {
    let version = parse(&["--version"]).unwrap_err().to_string();
    let rest = version.strip_prefix(concat!("tidewater ", env!("CARGO_PKG_VERSION"), " (commit ")).unwrap();
    let (commit, rest) = rest.split_once(", disk format 1)").unwrap();
    assert!(!commit.is_empty() && commit.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)), "{version}");
    assert_eq!(rest.trim(), "");
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
        "--delimiter",
        ";",
        "--on-error",
        "abort",
        "--again",
    ])
    .unwrap();
    let Command::Ingest(args) = cli.command else { panic!() };
    assert_eq!((args.files.len(), args.key.len(), args.sort.len(), args.chunk_rows), (2, 2, 2, 500));
    assert_eq!((args.format, args.on_error, args.again), (Some(InputFormat::Csv), OnError::Abort, true));
    assert_eq!((args.csv.delimiter, args.csv.null), (Some(b';'), None));
    for (word, byte) in [("tab", b'\t'), ("\t", b'\t'), ("-", b'-'), (" ", b' ')] {
        let Command::Ingest(args) = parse(&["ingest", "t", "f", "--delimiter", word]).unwrap().command else {
            panic!()
        };
        assert_eq!(args.csv.delimiter, Some(byte), "{word:?}");
    }
    for word in ["", "ab", "\"", "\n", "\r", "§", "\\t"] {
        let refused = parse(&["ingest", "t", "f", "--delimiter", word]).unwrap_err();
        assert_eq!(refused.exit_code(), 2, "{word:?}");
        assert!(refused.to_string().contains("--delimiter"), "{refused}");
    }
    for wrong in [&["ingest", "t"][..], &["ingest", "t", "f", "--key", "a"], &["ingest", "t", "f", "--chunk-rows", "0"]]
    {
        assert_eq!(parse(wrong).unwrap_err().exit_code(), 2, "{wrong:?}");
    }
}

#[test]
fn a_replay_has_a_file_and_no_table() {
    let Command::Ingest(args) = parse(&["ingest", "--replay", "dead.ndjson"]).unwrap().command else { panic!() };
    assert_eq!((args.replay, args.unsettled, args.table), (Some("dead.ndjson".into()), Unsettled::Keep, None));
    let words = ["ingest", "--replay", "f", "--unsettled", "send", "--server", "h:1"];
    let Command::Ingest(args) = parse(&words).unwrap().command else { panic!() };
    assert_eq!(args.unsettled, Unsettled::Send);
    for wrong in [
        &["ingest"][..],
        &["ingest", "t", "--replay", "f"],
        &["ingest", "t", "f", "--unsettled", "send"],
        &["ingest", "--replay", "f", "--again"],
        &["ingest", "--replay", "f", "--delimiter", ";"],
        &["ingest", "--replay", "f", "--unsettled", "perhaps"],
    ] {
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
    assert_eq!(status(Code::StoreChanged), exit::BAD_CONFIG);
    assert_eq!(status(Code::PortInUse), exit::TAKEN);
    assert_eq!(status(Code::FolderLocked), exit::TAKEN);
    assert_eq!(status(Code::LogUnavailable), exit::LOG);
    assert_eq!(status(Code::LogDamaged), exit::DATA_REFUSED);
    assert_eq!(status(Code::LogBehind), exit::DATA_REFUSED);
    assert_eq!(status(Code::TableNotFound), exit::FAILED);
    assert_eq!(exit_code(&anyhow::anyhow!("x")), exit::FAILED);
    assert_eq!(exit_code(&anyhow::Error::from(Usage("x".into())).context("y")), exit::USAGE);
    assert_eq!(exit_code(&Interrupted("x".into()).into()), exit::INTERRUPTED);
    assert_eq!(exit_code(&ChecksFailed("x".into()).into()), exit::DATA_REFUSED);
}

#[test]
fn a_wrong_port_and_a_missing_https_are_named() {
    let advice = |address: &str, message: &str| {
        let server = parse(&["health", "--server", address]).expect("arguments").server;
        let error = tidewater_client::Error::from(tonic::Status::internal(message));
        advice(&anyhow::Error::from(error), &server)
    };
    for ended in ["operation was canceled", "h2 protocol error: http2 error", "transport error"] {
        assert!(advice("db:8815", ended).contains("name it https://"), "{ended}");
        assert_eq!(advice("https://db:8815", ended), "");
    }
    let of_http = "protocol error: received message with invalid compression flag: 123 (valid flags are 0 and 1)";
    assert!(advice("https://db:8080", of_http).contains("usually 8815"));
    assert_eq!(advice("db:8815", "something else"), "");
}

#[test]
fn who_asks_is_said_without_a_secret_on_the_command_line() {
    let words = ["health", "--server", "https://db:8815", "--ca", "ca.pem", "--user", "anna"];
    let server = parse(&words).expect("arguments").server;
    assert_eq!((server.address.as_str(), server.user.as_deref()), ("https://db:8815", Some("anna")));
    assert_eq!(server.ca.as_deref().and_then(Path::to_str), Some("ca.pem"));
    for secret in ["--password", "--token"] {
        assert_eq!(parse(&["health", secret, "x"]).expect_err("refused").exit_code(), 2, "{secret}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    let options = |content: &str, words: &[&str]| {
        std::fs::write(&file, content).expect("written");
        let words = [&["health", "--token-file", file.to_str().expect("text")], words].concat();
        parse(&words).expect("arguments").server.options()
    };
    let token = options("tw_a_b\nand more\n", &[]).expect("a token").credentials;
    assert!(token == Credentials::Bearer("tw_a_b".to_owned()));
    let empty = options("\n", &[]).map(drop).expect_err("no token");
    assert!(empty.to_string().contains("has no token in its first line"), "{empty}");
    let both = options("tw_a_b", &["--user", "anna"]).map(drop).expect_err("two ways");
    assert_eq!(exit_code(&both), exit::USAGE);
    let missing = options("tw_a_b", &["--ca", "/does/not/exist.pem"]).map(drop).expect_err("no file");
    assert!(missing.to_string().contains("/does/not/exist.pem"), "{missing}");
    // A certificate is of use with its key only.
    let pem = file.to_str().expect("text").to_owned();
    let own = options("pem", &["--client-cert", &pem, "--client-key", &pem]).expect("both").certificate.expect("shown");
    assert_eq!((own.certificates_pem, own.key_pem), (b"pem".to_vec(), b"pem".to_vec()));
    for half in ["--client-cert", "--client-key"] {
        assert_eq!(exit_code(&options("pem", &[half, &pem]).map(drop).expect_err("half of it")), exit::USAGE, "{half}");
    }
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
        // Where all is closed nothing is behind the last semicolon, and one more ends nothing.
        assert_eq!(is_terminated(&format!("{text};")), !text.contains("open"), "{text}");
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

#[test]
fn users_and_tokens_have_grants_and_no_password_on_the_command_line() {
    let cli = parse(&["user", "create", "anna", "--grant", "reader:sales.*", "--grant", "admin"]).unwrap();
    let Command::User(UserArgs { command: UserCommand::Create { name, grants, password, no_password } }) = cli.command
    else {
        panic!()
    };
    assert_eq!((name.as_str(), password.new_password_file, no_password), ("anna", None, false));
    assert_eq!(grants.iter().map(ToString::to_string).collect::<Vec<_>>(), ["reader:sales.*", "admin:*"]);
    let words = ["token", "create", "--for", "anna", "--expires-in", "90d", "--concurrent-queries", "4"];
    let Command::Token(TokenArgs { command: TokenCommand::Create { user, expires_in, concurrent_queries, .. } }) =
        parse(&words).unwrap().command
    else {
        panic!()
    };
    assert_eq!((user.as_deref(), concurrent_queries), (Some("anna"), Some(4)));
    assert_eq!(expires_in.map(|time| time.as_secs()), Some(90 * 86_400));
    for words in [
        &["user", "create", "anna", "--grant", "owner:*"][..],
        &["user", "create", "anna", "--grant", "reader:sales"],
        &["user", "create", "anna", "--no-password", "--new-password-file", "-"],
        &["user", "alter", "anna", "--enable", "--disable"],
        &["user", "create", "anna", "secret"],
        &["token", "create", "--expires-in", "soon"],
        &["token", "create", "--requests-per-second", "0"],
    ] {
        assert_eq!(parse(words).unwrap_err().exit_code(), 2, "{words:?}");
    }
}
