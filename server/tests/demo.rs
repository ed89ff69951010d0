//! Does a demo run to its end with all that it sent, and does it notice what is not there?

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tidewater_client::Client;
use tidewater_server::cli::demo::{
    Check, Demo, Items, Kind, Oracle, Outcome, Row, Shape, Show, Stream, TABLE, audit_ledger, audit_rows, audit_sealed,
    batch, create, play,
};
use tidewater_server::config::{Config, FileSource, Sources};
use tidewater_server::{Running, Server};
use tidewater_storage::env::{Clock, SystemClock};
use tokio_util::sync::CancellationToken;

const ANY_PORT: &str = "127.0.0.1:0";
const GRACE: Duration = Duration::from_secs(20);

async fn played(rows: Shape, rate: u32) -> Outcome {
    let folder = tempfile::tempdir().expect("a folder");
    let demo = Demo {
        data: folder.path().to_owned(),
        grpc: Some(ANY_PORT.to_owned()),
        http: Some(ANY_PORT.to_owned()),
        settings: Vec::new(),
        seconds: Some(3),
        // While rows come, so that there are duplicates of sealed ones.
        seal_interval: Duration::from_secs(1),
        rate,
        rows,
        seed: 1,
    };
    play(&demo, Show::Nothing, &CancellationToken::new()).await.expect("runs to its end")
}

#[track_caller]
fn assert_agrees(outcome: &Outcome) {
    assert!(outcome.differences().is_empty(), "{outcome}");
    assert!(outcome.checks.len() > 40, "{outcome}");
    let oracle = outcome.oracle();
    assert!(oracle.accepted > 0 && oracle.duplicates > 0 && oracle.repeated > 0, "{outcome}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_agrees_with_its_oracle() {
    let outcome = played(Shape::Thin, 4_000).await;
    assert_agrees(&outcome);
    assert!(outcome.oracle().rejected > 0 && outcome.oracle().late > 0, "{outcome}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_with_names_of_5000_bytes_agrees_with_its_oracle() {
    assert_agrees(&played(Shape::Fat, 400).await);
}

async fn server(data: &Path) -> Running {
    let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let data = data.to_str().expect("text");
    let flags = vec![setting("server.data", data), setting("server.grpc", ANY_PORT), setting("server.http", ANY_PORT)];
    let config = Config::load(Sources { flags, env: Vec::new(), file: FileSource::None }).expect("a configuration");
    Server::start(config).await.expect("starts")
}

fn differing(checks: &[Check]) -> Vec<&str> {
    checks.iter().filter(|check| !check.agrees()).map(|check| check.what.as_str()).collect()
}

/// Whatever the checks ask, they must see one row that is there and not known, on each way that it can be seen.
#[tokio::test(flavor = "multi_thread")]
async fn an_oracle_that_missed_one_row_disagrees() {
    let folder = tempfile::tempdir().expect("a folder");
    let running = server(folder.path()).await;
    let client = Client::connect(&running.grpc_addr().to_string()).await.expect("connects");
    client.execute_update(&create()).await.expect("created");
    let items = Items::new(Shape::Thin);
    let mut stream = Stream::new(7).expect("a stream");
    let now_us = SystemClock::new().now_us();
    let mut rows = stream.rows(5_000, now_us - 1_000_000);
    rows.extend(stream.rows(5_000, now_us));
    let mut producer = client.producer(TABLE, "gateway-1").await.expect("begins");
    producer.send(batch(&rows, &items).expect("a batch")).await.expect("handed over").await.expect("stored");
    producer.close().await.expect("all is stored");

    let known = |rows: &[Row]| {
        let mut oracle = Oracle::new(1);
        oracle.record(0, rows);
        oracle
    };
    let whole = known(&rows);
    let less_of = |kind: Kind| {
        let at = rows.iter().rposition(|row| row.kind == kind).expect("a row of each kind");
        let mut rows = rows.clone();
        rows.remove(at);
        known(&rows)
    };
    let less = less_of(Kind::OnTime);
    assert_eq!(differing(&audit_rows(&client, &whole, &items).await.expect("asked")), [""; 0]);
    let missed = audit_rows(&client, &less, &items).await.expect("asked");
    let sums = "sums of keys, cameras and times";
    for what in ["rows", "different keys", sums, "rows of each location", "rows of each item in the last minute"] {
        assert!(differing(&missed).contains(&what), "{what}: {missed:?}");
    }
    // Values that are not what was sent, in as many rows.
    let others: [fn(&mut Row); 3] = [|row| row.camera += 1, |row| row.detected_us ^= 1, |row| row.key += 1];
    for other in others {
        let mut rows = rows.clone();
        other(rows.iter_mut().rfind(|row| row.kind == Kind::Late).expect("a row"));
        let missed = audit_rows(&client, &known(&rows), &items).await.expect("asked");
        assert_eq!(differing(&missed), [sums], "{missed:?}");
    }
    assert_eq!(differing(&audit_ledger(&client, &whole, 0).await.expect("asked")), [""; 0]);
    for (kind, what) in [
        (Kind::OnTime, "ledger: accepted"),
        (Kind::Duplicate, "ledger: duplicates dropped"),
        (Kind::BadClock, "rejected rows by their reason"),
    ] {
        let missed = audit_ledger(&client, &less_of(kind), 0).await.expect("asked");
        assert!(differing(&missed).contains(&what), "{what}: {missed:?}");
        assert!(differing(&missed).contains(&"ledger: what each producer sent"), "{missed:?}");
    }
    // What is not sealed is noticed as well.
    let unsealed = audit_sealed(&client, &whole).await.expect("asked");
    assert!(differing(&unsealed).contains(&"rows that are not sealed"), "{unsealed:?}");
    running.shutdown(GRACE).await.expect("stops");
}

/// The demo, to which the end of its terminal is a signal like others: tests may have been started by what ignores it.
fn program(words: &[&str], temporary: &Path) -> Command {
    let mut command = Command::new("env");
    command.args(["--default-signal=HUP", env!("CARGO_BIN_EXE_tidewater"), "demo", "--rate", "400"]);
    command.args(["--grpc", ANY_PORT, "--http", ANY_PORT]).args(words);
    command.env("TMPDIR", temporary).env_remove("DEMO_SECONDS").env_remove("DEMO_ROWS").stdin(Stdio::null());
    command
}

#[test]
fn the_program_ends_by_itself_where_no_terminal_is_and_leaves_nothing() {
    let temporary = tempfile::tempdir().expect("a folder");
    let ended = program(&[], temporary.path()).env("DEMO_SECONDS", "1").output().expect("runs");
    let printed = String::from_utf8_lossy(&ended.stdout);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(printed.contains("all are what was sent"), "{printed}");
    for command in ["sql --server 127.0.0.1:", "grpc://127.0.0.1:", "curl -H", "Console   http://127.0.0.1:"] {
        assert!(printed.contains(command), "{command}: {printed}");
    }
    assert!(!printed.contains('\x1b'), "{printed}");
    assert_empty(temporary.path());
}

#[track_caller]
fn assert_empty(folder: &Path) {
    let left: Vec<_> = std::fs::read_dir(folder).expect("a folder").collect();
    assert!(left.is_empty(), "the data folder is gone: {left:?}");
}

#[test]
fn an_interrupt_ends_the_stream_and_what_was_sent_is_checked() {
    is_ended_by(Signal::INT);
}

#[test]
fn the_end_of_its_terminal_ends_the_stream_and_leaves_nothing() {
    is_ended_by(Signal::HUP);
}

#[track_caller]
fn is_ended_by(signal: Signal) {
    let temporary = tempfile::tempdir().expect("a folder");
    let mut child =
        program(&["--seconds", "600"], temporary.path()).stdout(Stdio::piped()).spawn().expect("the binary starts");
    let mut printed = BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    // The first figures are there after some seconds: until then rows are sent.
    while !line.contains("duplicates dropped") {
        line.clear();
        assert!(printed.read_line(&mut line).expect("text") > 0, "it ended before it was interrupted");
    }
    kill_process(Pid::from_child(&child), signal).expect("signalled");
    let mut rest = String::new();
    printed.read_to_string(&mut rest).expect("text");
    assert_eq!(child.wait().expect("ends").code(), Some(0), "{rest}");
    assert!(rest.contains("all are what was sent"), "{rest}");
    assert_empty(temporary.path());
}

#[test]
fn a_second_interrupt_ends_everything_at_once_and_leaves_nothing() {
    let temporary = tempfile::tempdir().expect("a folder");
    let mut child =
        program(&["--seconds", "600"], temporary.path()).stdout(Stdio::piped()).spawn().expect("the binary starts");
    let mut printed = BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    let mut until = |part: &str| {
        while !line.contains(part) {
            line.clear();
            assert!(printed.read_line(&mut line).expect("text") > 0, "it ended before '{part}'");
        }
    };
    until("duplicates dropped");
    kill_process(Pid::from_child(&child), Signal::INT).expect("signalled");
    // It is asked for all of it, and seals: files are made while the folder is removed.
    until("All is answered");
    kill_process(Pid::from_child(&child), Signal::INT).expect("signalled");
    let status = child.wait().expect("ends");
    // The checks may have been done before the signal came.
    assert!(matches!(status.code(), Some(130 | 0)), "{status:?}");
    assert_empty(temporary.path());
}

#[test]
fn a_full_disk_ends_a_demo_with_its_reason_and_leaves_nothing_there() {
    let temporary = tempfile::tempdir().expect("a folder");
    let ended = program(&["--set", "storage.min_free=100 TiB", "--seconds", "600"], temporary.path()).output();
    let ended = ended.expect("runs");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(said.contains("a producer failed: DISK_FULL") && said.contains("TW-1217"), "{said}");
    assert_empty(temporary.path());
}

#[test]
fn what_cannot_begin_says_why_and_leaves_nothing() {
    let temporary = tempfile::tempdir().expect("a folder");
    for (words, status, part) in [
        (["--set", "query.thread=2"], 64, "did you mean 'query.threads'?"),
        (["--set", "auth=on"], 2, "without a password"),
        (["--set", "server.data=elsewhere"], 2, "--data"),
        (["--set", "server.http=127.0.0.1:0"], 2, "--http"),
    ] {
        let ended = program(&words, temporary.path()).output().expect("runs");
        assert_eq!(ended.status.code(), Some(status), "{words:?}: {ended:?}");
        assert!(String::from_utf8_lossy(&ended.stderr).contains(part), "{words:?}: {ended:?}");
        assert_empty(temporary.path());
    }
}

#[test]
fn a_port_that_is_taken_ends_it_with_its_status() {
    let temporary = tempfile::tempdir().expect("a folder");
    let taken = TcpListener::bind(ANY_PORT).expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidewater"));
    command.args(["demo", "--seconds", "1", "--grpc", ANY_PORT, "--http", &address]).env("TMPDIR", temporary.path());
    let ended = command.output().expect("runs");
    assert_eq!(ended.status.code(), Some(73), "{ended:?}");
    assert_empty(temporary.path());
}

#[test]
fn a_folder_that_was_named_stays_and_takes_one_demo() {
    let temporary = tempfile::tempdir().expect("a folder");
    let data = temporary.path().join("data");
    let words = ["--seconds", "1", "--rows", "fat", "--data", data.to_str().expect("text")];
    let first = program(&words, temporary.path()).output().expect("runs");
    assert_eq!(first.status.code(), Some(0), "{first:?}");
    assert!(data.join("demo.log").is_file() && data.join("tables").is_dir());
    let second = program(&words, temporary.path()).output().expect("runs");
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    assert!(said.contains("--data") && said.contains("demo.log"), "{said}");
}
