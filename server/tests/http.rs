//! Does HTTP answer as documented, on a server in this process?

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use arrow::ipc::reader::StreamReader;
use serde_json::{Value, json};
use tidewater_server::config::{Config, FileSource, Sources};
use tidewater_server::{Running, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn start(folder: &tempfile::TempDir) -> Running {
    let flag = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let flags = vec![
        flag("server.data", folder.path().to_str().unwrap()),
        flag("server.grpc", "127.0.0.1:0"),
        flag("server.http", "127.0.0.1:0"),
        flag("memory.limit", "1 GiB"),
    ];
    let config = Config::load(Sources { flags, env: Vec::new(), file: FileSource::None }).unwrap();
    Server::start(config).await.unwrap()
}

/// An answer as it was read.
struct Answer {
    status: u16,
    headers: String,
    body: Vec<u8>,
    /// The body came to its end as HTTP says.
    whole: bool,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&self.body)))
    }
}

/// One request on a connection of its own. Chunked bodies are put together.
async fn request(server: &Running, head: &str, headers: &str, body: &str) -> Answer {
    let mut stream = TcpStream::connect(server.http_addr()).await.unwrap();
    let host = if headers.to_lowercase().contains("host:") { String::new() } else { "Host: localhost\r\n".to_owned() };
    let text =
        format!("{head} HTTP/1.1\r\n{host}Connection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len());
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut raw = Vec::new();
    stream.read_to_end(&mut raw).await.unwrap();
    let end = raw.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let headers = String::from_utf8(raw[..end].to_vec()).unwrap().to_lowercase();
    let status = headers.split(' ').nth(1).unwrap().parse().unwrap();
    let rest = &raw[end + 4..];
    let (body, whole) =
        if headers.contains("transfer-encoding: chunked") { unchunk(rest) } else { (rest.to_vec(), true) };
    Answer { status, headers, body, whole }
}

fn unchunk(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return (body, true);
        }
        let Some(chunk) = rest.get(end + 2..end + 2 + size) else { break };
        body.extend_from_slice(chunk);
        rest = &rest[end + 2 + size + 2..];
    }
    (body, false)
}

async fn sql(server: &Running, sql: &str) -> Answer {
    let body = json!({ "sql": sql }).to_string();
    request(server, "POST /api/v1/sql", "Content-Type: application/json\r\n", &body).await
}

const GRACE: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn statements_are_answered_in_every_form() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(&folder).await;
    let created = sql(&server, "CREATE TABLE t (id BIGINT NOT NULL, v DOUBLE, PRIMARY KEY (id))").await;
    assert_eq!((created.status, created.json()["affected_rows"].clone()), (200, json!(0)));
    let set = sql(&server, "SET timezone = 'Europe/Berlin'").await.json();
    assert_eq!((set["status"].clone(), set["title"].clone()), (json!(409), json!("NO_SESSION")));
    let inserted = sql(&server, "INSERT INTO t VALUES (1, 'NaN'), (9007199254740993, NULL), (1, 2.0)").await.json();
    assert_eq!(inserted["affected_rows"], json!(2), "{inserted}");
    let token = inserted["commit_token"].as_str().unwrap().to_owned();

    let body = json!({"sql": "SELECT * FROM t WHERE id >= $1 ORDER BY id", "params": [0], "min_commit": [token]});
    let answer = request(&server, "POST /api/v1/sql", "Content-Type: application/json\r\n", &body.to_string()).await;
    assert!(answer.headers.contains("content-type: application/json") && answer.headers.contains("x-query-id: "));
    let answer = answer.json();
    assert_eq!(answer["schema"], json!([{"name": "id", "type": "BIGINT"}, {"name": "v", "type": "DOUBLE"}]));
    assert_eq!(answer["rows"], json!([[1, "NaN"], ["9007199254740993", null]]));
    assert_eq!((&answer["row_count"], answer["statistics"]["commit_tokens"].as_array().unwrap().len()), (&json!(2), 1));

    let csv = request(
        &server,
        "POST /api/v1/sql",
        "Content-Type: text/plain\r\nAccept: text/csv\r\n",
        "SELECT id FROM t ORDER BY 1",
    )
    .await;
    assert_eq!(String::from_utf8(csv.body).unwrap(), "id\n1\n9007199254740993\n");
    let accept = "Content-Type: application/sql\r\nAccept: application/vnd.apache.arrow.stream\r\n";
    let arrow = request(&server, "POST /api/v1/sql", accept, "SELECT id FROM t").await;
    let batches = StreamReader::try_new(arrow.body.as_slice(), None).unwrap();
    assert_eq!(batches.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 2);

    let empty = sql(&server, "SELECT id FROM t WHERE id < 0").await.json();
    assert_eq!((&empty["rows"], &empty["row_count"]), (&json!([]), &json!(0)));
    let settings = json!({"sql": "SELECT id FROM t", "settings": {"max_rows": 1}}).to_string();
    let capped = request(&server, "POST /api/v1/sql", "Content-Type: application/json\r\n", &settings).await;
    assert!(!capped.whole || capped.json()["title"] == json!("RESULT_TOO_LARGE"), "{}", capped.status);
    server.shutdown(GRACE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_problems() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(&folder).await;
    let json_type = "Content-Type: application/json\r\n";
    for (head, headers, body, status, title) in [
        ("POST /api/v1/sql", json_type, r#"{"sql": "SELEC 1"}"#, 400, "SYNTAX_ERROR"),
        ("POST /api/v1/sql", json_type, r#"{"sql": "SELECT * FROM nope"}"#, 404, "TABLE_NOT_FOUND"),
        ("POST /api/v1/sql", json_type, "no json", 400, "INVALID_REQUEST"),
        ("POST /api/v1/sql", "", "SELECT 1", 415, "INVALID_REQUEST"),
        ("POST /api/v1/sql", "Content-Type: text/plain\r\nAccept: image/png\r\n", "SELECT 1", 406, "INVALID_REQUEST"),
        ("GET /api/v1/sql", "", "", 405, "INVALID_REQUEST"),
        ("GET /nowhere", "", "", 404, "INVALID_REQUEST"),
        ("GET /healthz", "Host: evil.example\r\n", "", 403, "INVALID_REQUEST"),
        (
            "POST /api/v1/sql",
            "Content-Type: text/plain\r\nOrigin: http://evil.example\r\n",
            "SELECT 1",
            403,
            "INVALID_REQUEST",
        ),
    ] {
        let answer = request(&server, head, headers, body).await;
        assert_eq!(answer.status, status, "{head} {body}");
        assert!(answer.headers.contains("content-type: application/problem+json"), "{}", answer.headers);
        let problem = answer.json();
        assert_eq!((&problem["title"], &problem["status"]), (&json!(title), &json!(status)));
        assert!(problem["code"].as_str().unwrap().starts_with("TW-") && problem["detail"].is_string());
    }
    server.shutdown(GRACE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_is_never_whole() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(&folder).await;
    // Rows come first, the division by zero behind many of them.
    let statement = "SELECT 1 / (200000 - value) FROM generate_series(1, 200000)";
    let answer = sql(&server, statement).await;
    assert!(answer.status >= 400 || !answer.whole, "a broken answer looked whole");
    assert!(answer.status >= 400 || serde_json::from_slice::<Value>(&answer.body).is_err());
    server.shutdown(GRACE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_and_metrics_answer() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(&folder).await;
    for path in ["GET /healthz", "GET /readyz"] {
        let answer = request(&server, path, "", "").await;
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"ok\n"[..]), "{path}");
    }
    let metrics = request(&server, "GET /metrics", "", "").await;
    let text = String::from_utf8(metrics.body).unwrap();
    assert!(metrics.headers.contains("text/plain; version=0.0.4") && text.contains("tidewater_memory_limit_bytes"));
    let app = Arc::clone(server.app());
    app.draining.cancel();
    let ready = request(&server, "GET /readyz", "", "").await;
    assert_eq!((ready.status, ready.body.as_slice()), (503, &b"shutting down\n"[..]));
    assert_eq!(sql(&server, "SELECT 1").await.status, 503);
    server.shutdown(GRACE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_can_be_opened_again_after_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(&folder).await;
    sql(&server, "CREATE TABLE t (id BIGINT NOT NULL, PRIMARY KEY (id))").await;
    sql(&server, "INSERT INTO t VALUES (7)").await;
    server.shutdown(GRACE).await.unwrap();
    let server = start(&folder).await;
    assert_eq!(sql(&server, "SELECT id FROM t").await.json()["rows"], json!([[7]]));
    server.shutdown(GRACE).await.unwrap();
}
