//! Does a load that was broken off go on at the right row, whatever has changed, and are bad rows kept?

use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use arrow::util::pretty::pretty_format_batches;
use futures::TryStreamExt;
use tempfile::TempDir;
use tidewater_client::{Client, OnRowError, ProducerOptions, SequenceMode, TableName};

use super::super::load::{Totals, load};
use super::super::send::JsonProducer;
use super::super::source::Source;
use super::super::waits::Waits;
use super::super::{is_empty, load_and_say, run};
use super::{file, ingest_args, numbers, open, parquet, row_chunks, text_chunks};
use crate::cli::args::{CsvArgs, Remote};
use crate::config::{Config, FileSource, Sources};
use crate::{Running, Server};

/// A whole server on a free port.
struct Fixture {
    running: Running,
    client: Client,
    address: String,
    _folder: TempDir,
}

impl Fixture {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().to_str().unwrap();
        let flags = [("server.data", data), ("server.grpc", "127.0.0.1:0"), ("server.http", "127.0.0.1:0")];
        let flags = flags.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let config = Config::load(Sources { flags, env: Vec::new(), file: FileSource::None }).unwrap();
        let running = Server::start(config).await.unwrap();
        let address = running.grpc_addr().to_string();
        let client = Client::connect(&address).await.unwrap();
        Self { running, client, address, _folder: folder }
    }

    async fn run(&self, words: &[&str]) -> anyhow::Result<()> {
        run(&Remote::open(&self.address), ingest_args(words)).await
    }

    /// Loads a file into `t`.
    async fn load(&self, path: &Path, words: &[&str]) -> anyhow::Result<Totals> {
        let words = [&["t", path.to_str().unwrap()], words].concat();
        let args = ingest_args(&words);
        let table = self.client.table_schema("t").await?.schema;
        let source = Source::open(path, args.format, Some(table), args.chunk_rows as usize, &args.csv)?;
        load(&self.client, TableName::new("public", "t"), source, &args).await
    }

    async fn execute(&self, sql: &str) {
        self.client.execute_update(sql).await.unwrap();
    }

    /// The rows of a query as a table of text, without its frame.
    async fn rows(&self, sql: &str) -> Vec<String> {
        let batches: Vec<_> = self.client.sql(sql).await.unwrap().try_collect().await.unwrap();
        let text = pretty_format_batches(&batches).unwrap().to_string();
        let lines = text.lines().filter(|line| line.starts_with('|')).skip(1);
        lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join("|")).collect()
    }

    async fn stop(self) {
        drop(self.client);
        self.running.shutdown(Duration::from_secs(5)).await.unwrap();
    }
}

/// Stores the first chunk only, as a run does that is killed then.
async fn break_off(fixture: &Fixture, path: &Path, chunk_rows: usize, csv: &CsvArgs) {
    let open = || Source::open(path, None, None, chunk_rows, csv).unwrap();
    let id = open().producer_id("t");
    if path.extension().is_some_and(|name| name == "parquet") {
        let options = ProducerOptions { mode: SequenceMode::Monotonic, ..ProducerOptions::default() };
        let mut producer = fixture.client.producer_with("t", &id, options).await.unwrap();
        let chunk = row_chunks(open()).next().unwrap().unwrap();
        producer.send_at(chunk.sequence(), chunk.content.unwrap()).await.unwrap().await.unwrap();
        producer.close().await.unwrap();
    } else {
        let (client, waits) = (&fixture.client, Waits::default());
        let mut producer = JsonProducer::start(client, "t".into(), &id, OnRowError::Keep, waits).await.unwrap();
        let chunk = text_chunks(open()).next().unwrap().unwrap();
        producer.write(chunk.sequence(), chunk.content.unwrap().payload).await.unwrap();
    }
}

/// The table has no key: nothing but the numbers of the rows keeps them from being stored twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_goes_on_at_the_next_row_with_another_chunk_size() {
    let fixture = Fixture::start().await;
    let csv: String = (0..2500).map(|n| format!("{n}\n{}", if n % 7 == 0 { "\r\n" } else { "" })).collect();
    let json: String = (0..2500).map(|n| format!("{{\"n\": {n}}}\n{}", if n % 7 == 0 { "\n" } else { "" })).collect();
    for (name, content) in [
        ("a.csv", format!("n\n{csv}").into_bytes()),
        ("a.ndjson", json.into_bytes()),
        ("a.parquet", parquet(&numbers(0..2500))),
    ] {
        fixture.execute("CREATE TABLE t (n BIGINT)").await;
        let (_folder, path) = file(name, &content);
        break_off(&fixture, &path, 1000, &CsvArgs::default()).await;
        let counts = |totals: &Totals| (totals.received, totals.accepted, totals.rejected, totals.repeated);
        let second = fixture.load(&path, &["--chunk-rows", "700"]).await.unwrap();
        assert_eq!(counts(&second), (2500, 1500, 0, 1000), "{name}");
        let third = fixture.load(&path, &["--chunk-rows", "1"]).await.unwrap();
        assert_eq!(counts(&third), (2500, 0, 0, 2500), "{name}");
        assert_eq!(fixture.rows("SELECT count(*), count(DISTINCT n), sum(n) FROM t").await, ["2500|2500|3123750"]);
        fixture.execute("DROP TABLE t").await;
    }
    fixture.stop().await;
}

/// Where a quote begins a field a line break behind it ends no row, so that numbers mean other rows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_with_another_delimiter_is_another_load() {
    let fixture = Fixture::start().await;
    let (_folder, path) = file("a.csv", b"note\n1\n;\"2\n3\"\n");
    fixture.execute("CREATE TABLE t (note VARCHAR)").await;
    break_off(&fixture, &path, 1, &CsvArgs::default()).await;
    let counts = |totals: &Totals| (totals.received, totals.accepted, totals.rejected, totals.repeated);
    // The second row has two fields, over two lines.
    let other = fixture.load(&path, &["--delimiter", ";"]).await.unwrap();
    assert_eq!(counts(&other), (2, 1, 1, 0));
    let on = fixture.load(&path, &[]).await.unwrap();
    assert_eq!(counts(&on), (3, 2, 0, 1));
    let again = fixture.load(&path, &["--delimiter", ";"]).await.unwrap();
    assert_eq!(counts(&again), (2, 0, 0, 2));
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_lines_are_rejected_rows_and_the_others_are_stored() {
    let fixture = Fixture::start().await;
    let csv = b"id,at,name\n\
        1,2024-01-02,a\n\
        2\n\
        three,2024-01-02,c\n\
        4,2024-01-02,\xFF\n\
        5,2024-01-02,\n\
        6,2024-01-02,\"f\nf\",x\n\
        ,2024-01-02,h\n\
        8,2024-01-02,\"\"\n";
    let json = b"{\"id\": 11, \"at\": \"2024-01-02\"}\n\
        {\"id\": 12,\n\
        [13]\n\
        {\"id\": 14, \"at\": \"2024-01-02\", \"nam\": \"d\"}\n\
        {\"id\": 15, \"at\": \"2024-01-02\", \"name\": \"e\"}\n\
        {\"id\": 16, \"at\": \"2024-01-02\", \"name\": \"\xFF\"}\n";
    let (_folder, csv) = file("a.csv", csv);
    let (_folder, json) = file("a.ndjson", json);
    fixture.execute("CREATE TABLE t (id BIGINT NOT NULL, at DATE, name VARCHAR, PRIMARY KEY (id))").await;
    fixture.run(&["t", csv.to_str().unwrap(), json.to_str().unwrap()]).await.unwrap();
    assert_eq!(
        fixture.rows("SELECT id, coalesce(name, 'NULL') FROM t ORDER BY id").await,
        ["1|a", "5|NULL", "8|NULL", "11|NULL", "15|e"]
    );
    let rejected = "SELECT sequence, \"row\", coalesce(\"column\", ''), code FROM system.rejected \
                    ORDER BY producer LIKE '%ndjson%', \"row\"";
    assert_eq!(
        fixture.rows(rejected).await,
        [
            "8|1||MALFORMED",
            "8|2|id|TYPE_MISMATCH",
            "8|3||MALFORMED",
            "8|5||MALFORMED",
            "8|6|id|NULL_VIOLATION",
            "6|1||MALFORMED",
            "6|2||MALFORMED",
            "6|3||MALFORMED",
            "6|5||MALFORMED",
        ]
    );
    let reasons =
        fixture.rows("SELECT message, payload FROM system.rejected WHERE message LIKE '%line%' ORDER BY 1").await;
    for (part, payload) in [
        ("line 3: 1 field, not 3", "|2"),
        ("line 5: the text is not UTF-8", "4,2024-01-02"),
        ("lines 7 to 8: 4 fields, not 3", "6,2024-01-02"),
        ("line 3: it is not a JSON object", "[13]"),
    ] {
        assert!(
            reasons.iter().any(|reason| reason.starts_with(part) && reason.contains(payload)),
            "{part}: {reasons:#?}"
        );
    }
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn abort_stores_nothing_of_the_chunk() {
    let fixture = Fixture::start().await;
    fixture.execute("CREATE TABLE t (id BIGINT NOT NULL)").await;
    let (_folder, path) = file("a.csv", b"id\n1\n2\n3\n4,5\n6\n");
    let error = fixture.load(&path, &["--chunk-rows", "2", "--on-error", "abort"]).await.unwrap_err();
    assert!(format!("{error:#}").contains("BAD_ROWS"), "{error:#}");
    assert!(format!("{error:#}").contains(": line 5: 2 fields, not 1 (MALFORMED)"), "{error:#}");
    assert_eq!(fixture.rows("SELECT count(*) FROM t").await, ["2"]);
    // The same file goes on behind what is stored.
    let kept = fixture.load(&path, &[]).await.unwrap();
    assert_eq!((kept.accepted, kept.rejected, kept.repeated), (2, 1, 2));
    fixture.stop().await;
}

/// What one type cannot hold in a sample is rejected rows, too, and not the end of the load.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_is_created_for_objects_of_mixed_values() {
    let fixture = Fixture::start().await;
    let json = b"{\"id\": 18446744073709551615, \"mixed\": 1, \"tags\": [], \"geo\": {\"x\": null, \"y\": 1}}\n\
        {\"id\": 18446744073709551614, \"mixed\": \"one\", \"geo\": {\"y\": 2.5, \"x\": \"p\"}}\n\
        {\"id\": 3, \"mixed\": true, \"tags\": [\"a\", 7], \"geo\": null, \"none\": {}}\n\
        {\"id\": 4, \"mixed\": {}}\n\
        {\"id\": 5, \"geo\": \"\"}\n\
        {\"id\": 6, \"mixed\": null, \"tags\": null, \"none\": null}\n";
    let (_folder, path) = file("a.ndjson", json);
    fixture.run(&["t", path.to_str().unwrap(), "--create", "--key", "id"]).await.unwrap();
    assert_eq!(
        fixture.rows("SELECT name, sql_type FROM system.columns ORDER BY position").await,
        ["id|UBIGINT", "mixed|VARCHAR", "tags|VARCHAR[]", "geo|STRUCT<x VARCHAR, y DOUBLE>", "none|VARCHAR"]
    );
    assert_eq!(
        fixture.rows("SELECT id, coalesce(mixed, 'NULL') FROM t ORDER BY id").await,
        ["6|NULL", "18446744073709551614|one", "18446744073709551615|1"]
    );
    assert_eq!(
        fixture.rows("SELECT \"row\", \"column\", code FROM system.rejected ORDER BY 1").await,
        ["2|none|TYPE_MISMATCH", "3|mixed|TYPE_MISMATCH", "4|geo|TYPE_MISMATCH"]
    );
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_with_another_key_is_refused_before_a_row_is_stored() {
    let fixture = Fixture::start().await;
    fixture.execute("CREATE TABLE t (id BIGINT NOT NULL, at TIMESTAMP NOT NULL)").await;
    let (_folder, path) = file("a.csv", b"id,at\n1,2024-01-02 03:04:05\n");
    let path = path.to_str().unwrap();
    for (flags, part) in [
        (&["--key", "id"][..], "its primary key is none, not 'id'"),
        (&["--time", "at", "--sort", "id"], "its order is 'at', not 'id'"),
    ] {
        let error = fixture.run(&[&["t", path, "--create"], flags].concat()).await.unwrap_err();
        assert!(format!("{error:#}").contains(part), "{error:#}");
        assert_eq!(fixture.rows("SELECT count(*) FROM t").await, ["0"]);
    }
    fixture.run(&["t", path, "--create", "--time", "at", "--sort", "at"]).await.unwrap();
    assert_eq!(fixture.rows("SELECT count(*) FROM t").await, ["1"]);
    fixture.stop().await;
}

/// TRUNCATE keeps the positions of producers, so that only another producer brings the rows back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_loaded_can_be_loaded_again() {
    let fixture = Fixture::start().await;
    let csv = format!("n\n{}", (0..25).map(|n| format!("{n}\n")).collect::<String>());
    for (name, content) in [("a.csv", csv.into_bytes()), ("a.parquet", parquet(&numbers(0..25)))] {
        let (_folder, path) = file(name, &content);
        let counts = |totals: &Totals| (totals.accepted, totals.duplicate, totals.repeated);
        fixture.execute("CREATE TABLE t (n BIGINT)").await;
        let first = fixture.load(&path, &[]).await.unwrap();
        assert_eq!((counts(&first), first.is_all_repeated()), ((25, 0, 0), false), "{name}");
        fixture.execute("TRUNCATE TABLE t").await;
        let second = fixture.load(&path, &[]).await.unwrap();
        assert_eq!((counts(&second), second.is_all_repeated()), ((0, 0, 25), true), "{name}");
        assert!(is_empty(&fixture.client, &TableName::from("t")).await);
        for n_loads in 1..3 {
            let again = fixture.load(&path, &["--again"]).await.unwrap();
            assert_eq!((counts(&again), again.is_all_repeated()), ((25, 0, 0), false), "{name}");
            assert_eq!(fixture.rows("SELECT count(*) FROM t").await, [(25 * n_loads).to_string()]);
        }
        assert!(!is_empty(&fixture.client, &TableName::from("t")).await);
        fixture.execute("DROP TABLE t").await;

        fixture.execute("CREATE TABLE t (n BIGINT NOT NULL, PRIMARY KEY (n))").await;
        fixture.load(&path, &[]).await.unwrap();
        assert_eq!(counts(&fixture.load(&path, &["--again"]).await.unwrap()), (0, 25, 0), "{name}");
        fixture.execute("DROP TABLE t").await;
    }
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_changes_while_it_is_read_is_an_error_at_the_end() {
    let fixture = Fixture::start().await;
    fixture.execute("CREATE TABLE t (n BIGINT)").await;
    let args = ingest_args(&["t", "a.csv"]);
    let to = TableName::from("t");
    let load = |source| load_and_say(&fixture.client, &to, ("a.csv", source), &args);
    let (folder, path) = file("a.csv", b"n\n1\n2\n");
    let source = open(&path, None);
    std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"3\n").unwrap();
    let error = load(source).await.unwrap_err();
    assert!(error.to_string().contains("changed while it was read") && error.to_string().contains("load it again"));
    assert_eq!(fixture.rows("SELECT count(*) FROM t").await, ["3"]);

    // As many bytes, and others.
    let source = open(&path, None);
    let written = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    written.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    assert!(load(source).await.unwrap_err().to_string().contains("changed while it was read"));

    // Another file under its name is another file: what is loaded is what was hashed.
    fixture.execute("TRUNCATE TABLE t").await;
    std::fs::write(&path, b"n\n4\n").unwrap();
    let source = open(&path, None);
    let other = folder.path().join("other.csv");
    std::fs::write(&other, b"n\n5\n6\n").unwrap();
    std::fs::rename(&other, &path).unwrap();
    load(source).await.unwrap();
    assert_eq!(fixture.rows("SELECT n FROM t").await, ["4"]);
    fixture.stop().await;
}

/// Objects that are small as text and large as rows of a wide table.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_that_is_too_large_when_decoded_says_what_to_do() {
    let fixture = Fixture::start().await;
    let columns: Vec<String> = (0..1500).map(|n| format!("c{n} DECIMAL(38, 0)")).collect();
    fixture.execute(&format!("CREATE TABLE t (id BIGINT NOT NULL, {})", columns.join(", "))).await;
    let json: String = (0..2000).map(|n| format!("{{\"id\": {n}}}\n")).collect();
    let (_folder, path) = file("a.ndjson", json.as_bytes());
    let error = format!("{:#}", fixture.load(&path, &[]).await.unwrap_err());
    assert!(error.contains("BATCH_TOO_LARGE") && error.contains("--chunk-rows below 2000"), "{error}");
    let again = fixture.load(&path, &["--chunk-rows", "500"]).await.unwrap();
    assert_eq!((again.accepted, again.repeated), (2000, 0));
    fixture.stop().await;
}
