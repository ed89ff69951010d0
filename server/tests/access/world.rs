//! A server with access control in this process, a user of every kind, and all that it ever said.

use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tempfile::TempDir;
use tidewater_client::{Client, ClientOptions, Credentials, Grant, Role};
use tidewater_server::config::{Config, FileSource, Sources};
use tidewater_server::events::EventLayer;
use tidewater_server::{Running, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use super::Least;

const GRACE: Duration = Duration::from_secs(10);

/// What every password begins with: it is looked for wherever the server speaks.
pub const CANARY: &str = "canary7f3";

pub fn password(name: &str) -> String {
    format!("{CANARY} of {name}")
}

/// One who calls.
pub struct Caller {
    pub least: Least,
    pub header: Option<MetadataValue<Ascii>>,
    pub channel: Channel,
}

impl Caller {
    /// A request that says who sends it.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(header) = &self.header {
            request.metadata_mut().insert("authorization", header.clone());
        }
        request
    }
}

pub struct World {
    pub server: Running,
    pub callers: Vec<Caller>,
    /// Of root.
    pub root: Client,
    /// Tokens that were made, which nobody may say again.
    pub tokens: Mutex<Vec<String>>,
    /// Every error that was answered.
    said: Mutex<Vec<String>>,
    folder: TempDir,
}

impl World {
    pub async fn start() -> Self {
        logged();
        let folder = tempfile::tempdir().expect("a folder");
        let flag = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let flags = vec![
            flag("server.data", folder.path().to_str().expect("text")),
            flag("server.grpc", "127.0.0.1:0"),
            flag("server.http", "127.0.0.1:0"),
            flag("memory.limit", "1 GiB"),
            flag("auth", "on"),
        ];
        let config = Config::load(Sources { flags, env: Vec::new(), file: FileSource::None }).expect("a configuration");
        let server = Server::start(config).await.expect("starts");
        let code = server.app().auth.setup_code().expect("there is no user");
        let first =
            serde_json::json!({"code": code.expose(), "name": "root", "password": password("root")}).to_string();
        let (status, body) = http(&server, "POST", "/api/v1/setup", None, "application/json", first.as_bytes()).await;
        assert_eq!(status, 201, "{body}");
        let root = client(&server, "root").await;
        root.execute_update("CREATE TABLE shop.orders (id BIGINT NOT NULL, PRIMARY KEY (id))").await.expect("created");
        let grant = |role: Role, tables: &str| vec![Grant { role: role.into(), tables: tables.to_owned() }];
        let users = [
            ("nobody", Vec::new()),
            ("reader", grant(Role::Reader, "shop.*")),
            ("writer", grant(Role::Writer, "shop.orders")),
            ("keeper", grant(Role::Admin, "shop.*")),
            ("target", Vec::new()),
            ("dropped", Vec::new()),
        ];
        for (name, grants) in users {
            root.create_user(name, Some(password(name)), grants).await.expect("made");
        }
        let mut callers = Vec::new();
        for least in Least::ALL {
            let address = format!("http://{}", server.grpc_addr());
            let channel = Endpoint::from_shared(address).expect("an address").connect().await.expect("connects");
            let header = (least != Least::Open).then(|| basic(least.name()).parse().expect("a header"));
            callers.push(Caller { least, header, channel });
        }
        Self { server, callers, root, tokens: Mutex::default(), said: Mutex::default(), folder }
    }

    /// Remembers an error.
    pub fn note(&self, status: &Status) {
        self.note_text(format!("{} {}", status.message(), String::from_utf8_lossy(status.details())));
    }

    pub fn note_text(&self, text: String) {
        self.said.lock().expect("not poisoned").push(text);
    }

    pub fn said(&self) -> Vec<String> {
        self.said.lock().expect("not poisoned").clone()
    }

    /// A request over HTTP. What is refused becomes a status whose text ends with the code, as over gRPC.
    pub async fn http(
        &self,
        caller: &Caller,
        (method, path): (&str, &str),
        content_type: &str,
        body: &str,
    ) -> Result<String, Status> {
        let header = caller.header.as_ref().map(|header| header.to_str().expect("text"));
        let (status, body) = http(&self.server, method, path, header, content_type, body.as_bytes()).await;
        if status < 400 {
            return Ok(body);
        }
        let said: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
        self.note_text(body.clone());
        Err(Status::unknown(format!("{status}: {body} ({})", said["code"].as_str().unwrap_or("no code"))))
    }

    pub async fn end(self) {
        let Self { server, folder, .. } = self;
        server.shutdown(GRACE).await.expect("ends in order");
        drop(folder);
    }
}

pub fn basic(name: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{name}:{}", password(name))))
}

pub async fn client(server: &Running, name: &str) -> Client {
    let credentials = Credentials::Basic { user: name.to_owned(), password: password(name) };
    let options = ClientOptions { credentials, ..ClientOptions::default() };
    Client::connect_with(&server.grpc_addr().to_string(), options).await.expect("connects")
}

/// One request on a connection of its own: the status, and all that came.
pub async fn http(
    server: &Running,
    method: &str,
    path: &str,
    authorization: Option<&str>,
    content_type: &str,
    body: &[u8],
) -> (u16, String) {
    let mut stream = TcpStream::connect(server.http_addr()).await.expect("connects");
    let authorization = authorization.map_or_else(String::new, |header| format!("Authorization: {header}\r\n"));
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: {content_type}\r\n\
         Content-Length: {}\r\n{authorization}\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream.write_all(body).await.expect("sent");
    let mut raw = Vec::new();
    stream.read_to_end(&mut raw).await.expect("answered");
    let text = String::from_utf8_lossy(&raw).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    (head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status"), body.to_owned())
}

/// All that our own crates logged, down to the least important, and what libraries log for everybody.
pub fn logged() -> &'static Arc<Mutex<Vec<u8>>> {
    static LOG: OnceLock<Arc<Mutex<Vec<u8>>>> = OnceLock::new();
    LOG.get_or_init(|| {
        let log = Arc::new(Mutex::new(Vec::new()));
        let writer = Arc::clone(&log);
        let own = "info,tidewater_server=trace,tidewater_query=trace,tidewater_storage=trace,tidewater_client=trace";
        let lines = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(move || Sink(Arc::clone(&writer)))
            .with_filter(EnvFilter::new(own));
        let events = EventLayer::new().with_filter(tracing_subscriber::filter::LevelFilter::INFO);
        tracing_subscriber::registry().with(lines).with(events).init();
        log
    })
}

struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("not poisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
