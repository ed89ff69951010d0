//! Does the program behave as documented, from outside: exit statuses, the order of a stop, files loaded once?

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tidewater");

fn program(words: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(words).env_remove("TIDEWATER_SERVER").current_dir(std::env::temp_dir());
    command
}

/// A server process with free ports; killed when dropped.
struct Served {
    child: Child,
    grpc: String,
}

impl Served {
    fn start(data: &Path) -> Self {
        let data = data.to_str().unwrap();
        let mut child = program(&["serve", "--data", data, "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let grpc = line.split_whitespace().find_map(|word| word.strip_prefix("grpc=")).unwrap().to_owned();
        Self { child, grpc }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn status(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    fn run(&self, words: &[&str]) -> Output {
        program(words).env("TIDEWATER_SERVER", &self.grpc).output().unwrap()
    }

    /// The standard output of a command that succeeds.
    #[track_caller]
    fn output(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Exit status and standard error of a command that ends by itself.
fn ends(words: &[&str]) -> (Option<i32>, String) {
    let output = program(words).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_start_that_cannot_be_has_its_status_and_reason() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let data = data.to_str().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let unknown = folder.path().join("unknown.toml");
    std::fs::write(&unknown, "[server]\ngrcp = \"127.0.0.1:1\"\n").unwrap();
    for (words, status, part) in [
        (
            vec!["serve", "--data", data, "--grpc", &address, "--http", "127.0.0.1:0"],
            73,
            "another process listens there",
        ),
        (vec!["serve", "--data", data, "--grpc", "127.0.0.1:0", "--http", &address], 73, "server.http"),
        (vec!["serve", "--data", data, "--grpc", "0.0.0.0:0"], 64, "beyond loopback"),
        (vec!["serve", "--data", data, "--config", unknown.to_str().unwrap()], 64, "did you mean 'server.grpc'?"),
        (vec!["serve", "--data", data, "--set", "auth=on", "--http", "0.0.0.0:0"], 64, "without TLS"),
        (
            vec!["serve", "--data", data, "--set", "tls.cert=missing.pem", "--set", "tls.key=missing.pem"],
            64,
            "missing.pem",
        ),
        (vec!["serve", "--nonsense"], 2, "--nonsense"),
        (vec!["health", "--server", "127.0.0.1:1"], 1, "no server at 127.0.0.1:1"),
    ] {
        let (code, message) = ends(&words);
        assert_eq!(code, Some(status), "{words:?}: {message}");
        assert!(message.contains(part), "{words:?}: {message}");
    }
}

#[test]
fn a_folder_serves_one_process_and_a_stop_is_orderly() {
    let folder = tempfile::tempdir().unwrap();
    let server = Served::start(folder.path());
    assert_eq!(server.output(&["health"]), "ok\n");
    let data = folder.path().to_str().unwrap();
    let (code, message) = ends(&["serve", "--data", data, "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    assert_eq!(code, Some(73), "{message}");
    assert!(message.contains(data), "{message}");
    server.signal(Signal::TERM);
    assert_eq!(server.status(), Some(0));
    let server = Served::start(folder.path());
    server.signal(Signal::INT);
    assert_eq!(server.status(), Some(0));
}

#[test]
fn a_file_is_stored_once_over_repeats_and_kills() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rows.csv");
    let mut text = String::from("id,at,name\n");
    for id in 0..2500 {
        text += &format!("{id},2024-01-01T00:00:00.{id:06}Z,\"n,{id}\"\n");
    }
    std::fs::write(&file, &text).unwrap();
    let file = file.to_str().unwrap();
    let data = folder.path().join("data");
    let ingest = ["ingest", "rows", file, "--create", "--key", "id", "--time", "at", "--chunk-rows", "1000"];
    let count = ["sql", "-c", "SELECT count(*) AS n, count(DISTINCT name) AS d FROM rows"];

    let server = Served::start(&data);
    let first = server.output(&ingest);
    assert!(first.contains("2500 rows received, 2500 accepted, 0 duplicate, 0 rejected, 0 repeated"), "{first}");
    server.signal(Signal::KILL);
    assert_eq!(server.status(), None);

    let server = Served::start(&data);
    assert_eq!(server.output(&count), "n,d\n2500,2500\n");
    let second = server.output(&ingest);
    assert!(second.contains("2500 rows received, 0 accepted, 0 duplicate, 0 rejected, 2500 repeated"), "{second}");
    std::fs::write(file, text + "2500,2024-01-02T00:00:00Z,new\nbad,2024-01-02T00:00:00Z,x\n").unwrap();
    let changed = server.output(&ingest);
    assert!(changed.contains("2502 rows received, 1 accepted, 2500 duplicate, 1 rejected, 0 repeated"), "{changed}");
    assert_eq!(server.output(&count), "n,d\n2501,2501\n");
    server.signal(Signal::TERM);
    assert_eq!(server.status(), Some(0));
}

#[test]
fn a_file_is_loaded_again_where_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rows.csv");
    std::fs::write(&file, "id\n1\n2\n").unwrap();
    let file = file.to_str().unwrap();
    let server = Served::start(&folder.path().join("data"));
    let ingest = ["ingest", "rows", file, "--create", "--key", "id"];
    let count = ["sql", "-c", "SELECT count(*) AS n FROM rows"];
    let hint = |output: &Output| String::from_utf8_lossy(&output.stderr).contains("--again");

    let first = server.run(&ingest);
    assert!(String::from_utf8_lossy(&first.stdout).contains("2 accepted") && !hint(&first), "{first:?}");
    // All is repeated, and all is there.
    let second = server.run(&ingest);
    assert!(String::from_utf8_lossy(&second.stdout).contains("2 repeated") && !hint(&second), "{second:?}");

    server.output(&["sql", "-c", "TRUNCATE TABLE rows"]);
    let third = server.run(&ingest);
    assert!(third.status.success() && hint(&third), "{third:?}");
    assert_eq!(server.output(&count), "n\n0\n");
    let again = server.output(&["ingest", "rows", file, "--again"]);
    assert!(again.contains("2 rows received, 2 accepted, 0 duplicate, 0 rejected, 0 repeated"), "{again}");
    let again = server.output(&["ingest", "rows", file, "--again"]);
    assert!(again.contains("2 rows received, 0 accepted, 2 duplicate, 0 rejected, 0 repeated"), "{again}");
    assert_eq!(server.output(&count), "n\n2\n");
}

#[test]
fn a_pipe_is_read_as_standard_input_and_not_by_a_name() {
    let folder = tempfile::tempdir().unwrap();
    let server = Served::start(folder.path());
    let ingest = |file: &str| {
        let mut child = program(&["ingest", "rows", file, "--format", "ndjson", "--create"])
            .env("TIDEWATER_SERVER", &server.grpc)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A program that refuses its input may be gone before it is written.
        let _ = child.stdin.take().unwrap().write_all(b"{\"id\": 1}\n{\"id\": 2}\n");
        child.wait_with_output().unwrap()
    };
    let refused = ingest("/dev/stdin");
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("pipe it in as '-'"), "{refused:?}");
    // Nobody can tell whether it is the same input: a repeat is another load.
    for n_rows in [2, 4] {
        let loaded = ingest("-");
        let printed = String::from_utf8_lossy(&loaded.stdout);
        assert!(printed.contains("2 rows received, 2 accepted, 0 duplicate, 0 rejected, 0 repeated"), "{loaded:?}");
        assert_eq!(server.output(&["sql", "-c", "SELECT count(*) AS n FROM rows"]), format!("n\n{n_rows}\n"));
    }
}

#[test]
fn files_are_loaded_whether_or_not_somebody_reads_the_summaries() {
    let folder = tempfile::tempdir().unwrap();
    let server = Served::start(&folder.path().join("data"));
    let [first, second, missing] = ["first.csv", "second.csv", "missing.csv"].map(|name| folder.path().join(name));
    std::fs::write(&first, "id\n1\n").unwrap();
    std::fs::write(&second, "id\n2\n").unwrap();
    let [first, second, missing] = [&first, &second, &missing].map(|path| path.to_str().unwrap());
    let unread = |files: [&str; 2]| {
        let mut child = program(&["ingest", "rows", files[0], files[1], "--create"])
            .env("TIDEWATER_SERVER", &server.grpc)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        child.wait_with_output().unwrap()
    };
    let loaded = unread([first, second]);
    assert_eq!(loaded.status.code(), Some(0), "{loaded:?}");
    assert!(String::from_utf8_lossy(&loaded.stderr).contains("second.csv: 1 row received"), "{loaded:?}");
    assert_eq!(server.output(&["sql", "-c", "SELECT count(*) AS n FROM rows"]), "n\n2\n");
    let failed = unread([first, missing]);
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
}

#[test]
fn answers_are_printed_in_every_form() {
    let folder = tempfile::tempdir().unwrap();
    let server = Served::start(folder.path());
    let statements = folder.path().join("s.sql");
    std::fs::write(&statements, "-- two\nSELECT 1 AS a, 'x;y' AS b; SELECT NULL AS c;").unwrap();
    let statements = statements.to_str().unwrap();
    assert_eq!(server.output(&["sql", "-f", statements]), "a,b\n1,x;y\nc\n\"\"\n");
    assert_eq!(
        server.output(&["sql", "-f", statements, "--format", "ndjson"]),
        "{\"a\":1,\"b\":\"x;y\"}\n{\"c\":null}\n"
    );
    assert_eq!(
        server.output(&["sql", "-f", statements, "--format", "json"]),
        "[\n{\"a\":1,\"b\":\"x;y\"}\n]\n[\n{\"c\":null}\n]\n"
    );
    let markdown = server.output(&["sql", "-c", "SELECT 1 AS a", "--format", "markdown"]);
    assert_eq!(markdown, "| a |\n| --- |\n| 1 |\n");
    let expanded = server.output(&["sql", "-c", "SELECT 1 AS a", "--format", "expanded"]);
    assert_eq!(expanded, "-[ row 1 ]-\na | 1\n");
    let table = server.output(&["sql", "-c", "SELECT 1 AS a", "--format", "table"]);
    assert_eq!(table, "+---+\n| a |\n+---+\n| 1 |\n+---+\n");
    let arrow = server.run(&["sql", "-c", "SELECT 1 AS a", "--format", "arrow"]).stdout;
    let batches = arrow::ipc::reader::StreamReader::try_new(arrow.as_slice(), None).unwrap();
    assert_eq!(batches.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 1);

    let failed = server.run(&["sql", "-c", "SELECT 1 AS a; SELECT nothing; SELECT 2"]);
    assert_eq!(failed.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&failed.stdout), "a\n1\n");
    assert!(String::from_utf8_lossy(&failed.stderr).contains("nothing"));
    // Planned, and wrong at its first row: not even its columns are printed. Nothing that is for a terminal is, either.
    let failed = server.run(&["sql", "-c", "SELECT 1 / (value - 1) AS a FROM generate_series(1, 3)"]);
    assert_eq!((failed.status.code(), failed.stdout.as_slice()), (Some(1), b"".as_slice()));
    assert_eq!(server.output(&["sql", "-c", "SELECT 1 AS a WHERE false"]), "a\n");

    let mut piped = program(&["sql"])
        .env("TIDEWATER_SERVER", &server.grpc)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    piped.stdin.take().unwrap().write_all(b"SELECT 3 AS a").unwrap();
    let mut printed = String::new();
    piped.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
    assert!(piped.wait().unwrap().success());
    assert_eq!(printed, "a\n3\n");

    server.output(&["sql", "-c", "CREATE TABLE shown (id BIGINT NOT NULL, s STRUCT<a INTEGER>, PRIMARY KEY (id))"]);
    assert!(server.output(&["table", "list"]).contains("shown"));
    assert!(server.output(&["table", "show", "Shown"]).contains("STRUCT"));
    assert_eq!(server.run(&["table", "show", "hidden"]).status.code(), Some(1));
}

#[test]
fn tables_are_built_and_sealed_by_hand() {
    let folder = tempfile::tempdir().unwrap();
    let server = Served::start(folder.path());
    let create = "CREATE TABLE \"It's\" (id BIGINT PRIMARY KEY); INSERT INTO \"It's\" VALUES (1), (2)";
    server.output(&["sql", "-c", create]);
    let row = |printed: &str| -> Vec<String> {
        let (header, row) = printed.trim_end().split_once('\n').unwrap();
        assert_eq!(header, "table,delta_version,through,rows,files,location");
        row.split(',').map(str::to_owned).collect()
    };
    let built = row(&server.output(&["table", "build", "public.\"It's\""]));
    assert_eq!(&built[..5], ["public.It's", "", "1", "2", "1"]);
    let sealed = row(&server.output(&["table", "seal", "\"It's\""]));
    assert_eq!(&sealed[2..], &built[2..]);
    assert!(sealed[1].parse::<u64>().is_ok(), "{sealed:?}");
    let location = sealed[5].strip_prefix("file://").unwrap();
    assert!(Path::new(location).join("_delta_log").is_dir(), "{location}");
    assert!(server.output(&["table", "seal", "\"It's\"", "--format", "table"]).starts_with("+--"));
    assert!(server.output(&["table", "list"]).contains("It's"));
    let missing = server.run(&["table", "seal", "hidden"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("table 'public.hidden' not found"), "{missing:?}");
}

#[test]
fn a_configuration_is_shown_with_its_origins() {
    let output = program(&["config", "show", "--origin", "--set", "query.threads=3"])
        .env("TIDEWATER__LOG__LEVEL", "warn")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = |name: &str| text.lines().find(|line| line.contains(name)).unwrap().to_owned();
    assert!(line("query.threads").contains("flag") && line("log.level").contains("env"), "{text}");
    assert!(line("server.grpc").contains("default"), "{text}");
    let (code, message) = ends(&["config", "check", "--set", "memory.limit=much"]);
    assert_eq!(code, Some(64), "{message}");
    for (setting, part) in [
        ("storage.url=ftp://host/tables", "supported are file:///folder and s3://bucket/prefix"),
        ("storage.url=tables", "write file:///folder or s3://bucket/prefix"),
        ("storage.region=eu-central-1", "'aws_region' means nothing to a local folder"),
    ] {
        let (code, message) = ends(&["config", "check", "--set", setting]);
        assert_eq!(code, Some(64), "{setting}: {message}");
        assert!(message.contains(part), "{setting}: {message}");
    }
    let (code, message) = ends(&["config", "check", "--set", "storage.url=s3://bucket/tables"]);
    assert_eq!(code, Some(0), "{message}");
}

#[test]
fn a_server_makes_no_data_folder_of_a_folder_with_other_files() {
    let folder = tempfile::tempdir().unwrap();
    let notes = folder.path().join("notes.txt");
    std::fs::write(&notes, "mine").unwrap();
    let data = folder.path().to_str().unwrap();
    for words in [
        &["serve", "--data", data, "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"][..],
        &["demo", "--seconds", "1", "--data", data],
    ] {
        let (_, message) = ends(words);
        assert!(message.contains("notes.txt") && message.contains("--data"), "{words:?}: {message}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "{words:?}: nothing is made");
    }
    std::fs::remove_file(&notes).unwrap();
    std::fs::create_dir(folder.path().join("lost+found")).unwrap();
    let server = Served::start(folder.path());
    server.signal(Signal::TERM);
    assert_eq!(server.status(), Some(0));
}

#[test]
fn what_set_changes_holds_for_the_statements_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = Served::start(folder.path());
    let day = "SELECT date_trunc('day', TIMESTAMPTZ '2024-06-01T23:30:00Z') AS day";
    let text = format!("{day}; SET timezone = 'Europe/Berlin'; {day}; SHOW timezone; RESET timezone; {day}");
    let answers = server.output(&["sql", "-c", &text]);
    let days: Vec<&str> = answers.lines().filter(|line| line.starts_with("2024-")).collect();
    assert_eq!(days, ["2024-06-01T00:00:00Z", "2024-06-01T22:00:00Z", "2024-06-01T00:00:00Z"], "{answers}");
    assert!(answers.contains("Europe/Berlin"), "{answers}");
    // A schema is there as long as something is in it.
    let reload = "CREATE TABLE s.t (x BIGINT); SET schema = s; DROP TABLE t; CREATE TABLE t (x BIGINT); \
                  INSERT INTO t VALUES (7); SELECT x FROM t; RESET schema; SELECT x + 1 AS y FROM s.t";
    assert_eq!(server.output(&["sql", "-c", reload]), "x\n7\ny\n8\n");
    let refused = server.run(&["sql", "-c", "SET max_rows = 1; SELECT 1; SELECT * FROM generate_series(1, 2)"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("more than 1 rows"), "{refused:?}");
}

#[test]
fn statements_that_a_closed_output_leaves_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let server = Served::start(folder.path());
    let run = |text: &str| {
        let mut child = program(&["sql", "-c", text])
            .env("TIDEWATER_SERVER", &server.grpc)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (status, said) = run("SELECT 1; CREATE TABLE late (x BIGINT)");
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("statements that were not run: 1"), "{said}");
    // Nothing is left to do: whoever closed the output has what they wanted.
    assert_eq!(run("SELECT 1").0, Some(0));
}

fn entries(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn an_answer_is_exported_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let server = Served::start(&folder.path().join("data"));
    let out = folder.path().join("out");
    std::fs::create_dir(&out).unwrap();
    let path = |name: &str| out.join(name).to_str().unwrap().to_owned();
    let create = "CREATE TABLE t (id BIGINT PRIMARY KEY, name VARCHAR, at TIMESTAMPTZ, n UBIGINT); \
                  INSERT INTO t SELECT value, 'n' || value, TIMESTAMPTZ '2024-01-01T00:00:00Z', value \
                  FROM generate_series(1, 5000)";
    server.output(&["sql", "-c", create]);
    let rows = "SELECT id, name, at, n FROM t ORDER BY id";
    for name in ["t.csv", "t.json", "t.ndjson", "t.parquet", "t.arrow"] {
        let exported = server.run(&["sql", "-c", rows, "-o", &path(name)]);
        assert!(exported.status.success() && exported.stdout.is_empty(), "{name}: {exported:?}");
        assert!(String::from_utf8_lossy(&exported.stderr).contains("5000 rows"), "{name}: {exported:?}");
    }
    assert_eq!(entries(&out), ["t.arrow", "t.csv", "t.json", "t.ndjson", "t.parquet"]);
    // What is exported comes in again, the same in each form that is read.
    for (name, format) in [("t.csv", "csv"), ("t.ndjson", "ndjson"), ("t.parquet", "parquet"), ("t.arrow", "arrow")] {
        let create =
            format!("CREATE TABLE from_{format} (id BIGINT PRIMARY KEY, name VARCHAR, at TIMESTAMPTZ, n UBIGINT)");
        server.output(&["sql", "-c", &create]);
        let loaded = server.output(&["ingest", &format!("from_{format}"), &path(name)]);
        assert!(loaded.contains("5000 accepted"), "{loaded}");
        let different = format!("SELECT count(*) AS n FROM (SELECT * FROM t EXCEPT SELECT * FROM from_{format})");
        assert_eq!(server.output(&["sql", "-c", &different]), "n\n0\n", "{name}");
    }
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(path("t.json")).unwrap()).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 5_000);
    assert_eq!(json[4_999]["id"], 5_000);

    // What fails leaves the file that was there.
    let before = std::fs::read(path("t.csv")).unwrap();
    for (statement, part) in [
        ("SELECT id, 10 / (id - 4000) FROM t ORDER BY id", "division by zero"),
        ("SELECT 1 AS a; SELECT 2 AS b", "answer of one statement"),
        ("SET timezone = 'UTC'", "no statement answered with rows"),
    ] {
        let failed = server.run(&["sql", "-c", statement, "-o", &path("t.csv")]);
        assert_eq!(failed.status.code(), Some(1), "{failed:?}");
        assert!(String::from_utf8_lossy(&failed.stderr).contains(part), "{failed:?}");
        assert_eq!(std::fs::read(path("t.csv")).unwrap(), before);
    }
    assert_eq!(entries(&out).len(), 5, "{:?}", entries(&out));
}

#[test]
fn an_export_that_is_stopped_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = Served::start(&folder.path().join("data"));
    let out = folder.path().join("out");
    std::fs::create_dir(&out).unwrap();
    let path = out.join("endless.csv");
    // It ends by itself after minutes at the earliest.
    let endless = "SELECT a.value FROM generate_series(1, 1000000) a CROSS JOIN generate_series(1, 1000000) b";
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        // The end of a terminal counts, also if what started the tests ignores it.
        let mut child = Command::new("env")
            .args(["--default-signal=HUP", PROGRAM, "sql", "-c", endless, "-o", path.to_str().unwrap()])
            .env("TIDEWATER_SERVER", &server.grpc)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It is under way when its hidden file is there and has bytes.
        let has_bytes =
            |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().metadata().is_ok_and(|file| file.len() > 0);
        while !std::fs::read_dir(&out).unwrap().any(has_bytes) {
            assert!(child.try_wait().unwrap().is_none(), "it ended before anybody stopped it");
            std::thread::yield_now();
        }
        kill_process(Pid::from_child(&child), signal).unwrap();
        let stopped = child.wait_with_output().unwrap();
        assert_eq!(stopped.status.code(), Some(130), "{stopped:?}");
        assert!(String::from_utf8_lossy(&stopped.stderr).contains("was not written"), "{stopped:?}");
        assert_eq!(entries(&out), [""; 0]);
    }
}

#[test]
fn verbs_look_at_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Served::start(&data);
    let rows = folder.path().join("rows.csv");
    std::fs::write(&rows, "id\n1\n2\n").unwrap();
    server.output(&["ingest", "t", rows.to_str().unwrap(), "--create", "--key", "id"]);
    server.output(&["sql", "-c", "CREATE TABLE \"It's\".\"T\" (id BIGINT)"]);
    let segments = server.output(&["segment", "list", "t"]);
    assert!(segments.starts_with("schema,table,kind,id,rows,"), "{segments}");
    assert!(segments.contains("public,t,realtime,realtime,2,"), "{segments}");
    let producers = server.output(&["producer", "list"]);
    assert!(producers.contains("public,t,t:"), "{producers}");
    assert_eq!(server.run(&["producer", "list", "hidden"]).status.code(), Some(1));
    assert!(server.output(&["events", "--limit", "1000"]).contains("a table was created"));

    let checks = server.output(&["verify"]);
    assert!(checks.starts_with("table,check,ok,detail\n"), "{checks}");
    assert!(checks.contains("public.t,keys,true,") && checks.contains("It's"), "{checks}");
    let of_one = server.output(&["verify", "t"]);
    assert!(of_one.contains("\nt,keys,true,") && !of_one.contains("It's"), "{of_one}");

    // What nobody can know is said, and is no failure.
    let windowed = "CREATE TABLE windowed (id BIGINT NOT NULL, PRIMARY KEY (id)) WITH (dedup_window = '1 day')";
    server.output(&["sql", "-c", windowed]);
    let checked = server.run(&["verify", "windowed"]);
    let said = String::from_utf8_lossy(&checked.stderr);
    assert_eq!(checked.status.code(), Some(0), "{said}");
    assert!(said.contains("not checked: windowed: keys: ") && said.contains("window"), "{said}");
    assert!(!String::from_utf8_lossy(&server.run(&["verify", "t"]).stderr).contains("not checked"));

    server.output(&["table", "drop", "t"]);
    assert_eq!(server.run(&["verify", "t"]).status.code(), Some(1));
    let shown = server.run(&["table", "show", "t"]);
    assert_eq!((shown.status.code(), shown.stdout.len()), (Some(1), 0), "{shown:?}");
    let undropped = server.run(&["table", "undrop", "t"]);
    assert!(undropped.status.success(), "{undropped:?}");
    assert!(String::from_utf8_lossy(&undropped.stderr).contains("t is there again"), "{undropped:?}");
    assert_eq!(server.output(&["sql", "-c", "SELECT count(*) AS n FROM t"]), "n\n2\n");

    let none = server.output(&["query", "list"]);
    assert!(none.starts_with("query_id,principal,interface,state,"), "{none}");
    let ended = server.output(&["query", "list", "--all", "--format", "ndjson"]);
    assert!(ended.lines().any(|line| line.contains("\"finished\"") && line.contains("count(*)")), "{ended}");
    let missing = server.run(&["query", "cancel", "00000000-0000-4000-8000-000000000000"]);
    assert_eq!(missing.status.code(), Some(1), "{missing:?}");
    assert!(String::from_utf8_lossy(&missing.stderr).contains("TW-1106"), "{missing:?}");
}

#[test]
fn a_doctor_finds_what_is_wrong_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Served::start(&data);
    let data = data.to_str().unwrap();
    let whole = server.run(&["doctor", "--data", data, "--format", "ndjson"]);
    let text = String::from_utf8_lossy(&whole.stdout).into_owned();
    let status = |check: &str| -> Vec<String> {
        let findings = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let own = findings.filter(|finding| finding["check"] == check);
        own.map(|finding| finding["status"].as_str().unwrap().to_owned()).collect()
    };
    for check in ["configuration", "memory", "server", "version", "access", "clock", "tables", "damage", "unpublished"]
    {
        assert_eq!(status(check), ["ok"], "{check}: {text}");
    }
    for check in ["file system", "free disk", "sync", "open files"] {
        assert_eq!(status(check).len(), 1, "{check}: {text}");
    }
    // This machine may be short of something; then the doctor says so.
    assert_eq!(whole.status.code(), Some(i32::from(text.contains("\"fail\""))), "{text}");

    let nobody = ["doctor", "--server", "127.0.0.1:1", "--data", data, "--set", "query.thread=2"];
    let nobody = program(&nobody).output().unwrap();
    assert_eq!(nobody.status.code(), Some(1), "{nobody:?}");
    let text = String::from_utf8_lossy(&nobody.stdout);
    assert!(text.contains("fail  configuration: ") && text.contains("did you mean 'query.threads'?"), "{text}");
    assert!(text.contains("fail  server: no server at 127.0.0.1:1") && text.contains("-> start it"), "{text}");
    let store = ["--set", "storage.url=s3://bucket/x", "--set", "storage.endpoint=http://127.0.0.1:1"];
    let mut away = program(&["doctor", "--server", "127.0.0.1:1", "--data", data]);
    let away =
        away.args(store).env("AWS_ACCESS_KEY_ID", "key").env("AWS_SECRET_ACCESS_KEY", "secret").output().unwrap();
    let text = String::from_utf8_lossy(&away.stdout);
    assert!(text.contains("fail  tables' store: ") && text.contains("s3://bucket/x"), "{text}");
    // The status is that of the checks, whether or not somebody reads them.
    let mut unread = program(&["doctor", "--server", "127.0.0.1:1", "--data", data]);
    let mut unread = unread.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    drop(unread.stdout.take());
    assert_eq!(unread.wait().unwrap().code(), Some(1));
}

/// One case a row of the table in `docs/cli.md`; 74 is what a log that cannot be synced ends with, which the crash tests show.
#[test]
fn each_exit_status_is_the_documented_one() {
    let folder = tempfile::tempdir().unwrap();
    let server = Served::start(&folder.path().join("data"));
    let locked = folder.path().join("data");
    let damaged = folder.path().join("damaged");
    let before = Served::start(&damaged);
    before.output(&["sql", "-c", "CREATE TABLE t (id BIGINT)"]);
    before.signal(Signal::TERM);
    assert_eq!(before.status(), Some(0));
    std::fs::remove_file(damaged.join("log/CURRENT")).unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let [locked, damaged, file] = [&locked, &damaged, &file].map(|path| path.to_str().unwrap());
    let ports = ["--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"];
    let serve = |data| [&["serve", "--data", data][..], &ports[..]].concat();
    for (words, status) in [
        (vec!["sql", "-c", "SELECT 1"], 0),
        (vec!["sql", "-c", "SELECT nothing"], 1),
        (vec!["sql", "--nonsense"], 2),
        (vec!["sql", "-c", "SELECT 1", "-o", "rows.xml"], 2),
        (vec!["config", "check", "--set", "memory.limit=much"], 64),
        (serve(locked), 73),
        (serve(file), 74),
        (serve(damaged), 75),
    ] {
        let output = server.run(&words);
        assert_eq!(output.status.code(), Some(status), "{words:?}: {output:?}");
    }
    let documented = include_str!("../docs/cli.md");
    for status in [0, 1, 2, 64, 73, 74, 75, 130] {
        assert!(documented.contains(&format!("\n| {status} | ")), "docs/cli.md has {status}");
    }
}

#[test]
fn completions_and_version_are_printed() {
    let version = program(&["--version"]).output().unwrap();
    let text = String::from_utf8(version.stdout).unwrap();
    assert!(text.starts_with(concat!("tidewater ", env!("CARGO_PKG_VERSION"), " (commit ")), "{text}");
    for shell in ["bash", "zsh", "fish"] {
        let script = program(&["completions", shell]).output().unwrap();
        assert!(script.status.success() && String::from_utf8(script.stdout).unwrap().contains("give-up"), "{shell}");
    }
}
