//! Does the service keep its promises to real clients over a real socket?

mod ending;
mod identity;
mod payloads;
mod refusals;
mod streams;

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use tidewater_proto::ingest::v1::ingest_client::IngestClient;
use tidewater_proto::ingest::v1::payload::Format;
use tidewater_proto::ingest::v1::{BatchOptions, BatchResult, Payload, Producer, TableRef, WriteRequest};
use tidewater_proto::query::v1::query_client::QueryClient;
use tidewater_proto::query::v1::query_response::Msg;
use tidewater_proto::query::v1::{self as query, QueryRequest, QueryResponse};
use tidewater_query::{QueryEngine, QueryEngineOptions, SystemSources};
use tidewater_storage::{Engine, EngineOptions};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use tonic_types::StatusExt;

pub(crate) use self::ending::Ending;
use crate::App;
use crate::auth::{Auth, Limits};
use crate::flight_sql::Kept;

/// Beyond what all tests of the process hold together, which queries would be stopped for.
const MEMORY_LIMIT: u64 = 4 << 30;

/// Ingest and queries on a free port, with an empty data folder.
pub(crate) struct Server {
    pub app: Arc<App>,
    pub channel: Channel,
    address: String,
    _serving: AbortOnDropHandle<()>,
    /// The last that is dropped.
    ending: Ending,
}

/// What serves calls, with an empty data folder, and its end, which is to be dropped last: it is the first, so that it may be bound first.
pub(crate) async fn app(limits: Limits) -> (Ending, Arc<App>) {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let options = EngineOptions::temporary(Arc::clone(&folder), MEMORY_LIMIT);
    let (storage, _) = tokio::task::spawn_blocking(move || Engine::open(options)).await.unwrap().unwrap();
    let options = QueryEngineOptions {
        spill_dir: folder.path().join("spill"),
        max_spill_bytes: 1 << 30,
        threads: 2,
        max_running: 4,
        max_waiting: 64,
        slow_query: None,
        sources: SystemSources {
            settings: Arc::new(Vec::new),
            metrics: Arc::new(String::new),
            events: Arc::new(Vec::new),
        },
    };
    let query = QueryEngine::new(storage.clone(), options).unwrap();
    let draining = CancellationToken::new();
    let kept = Arc::new(Kept::new(&storage));
    let app = Arc::new(App { storage, query, auth: Auth::Off, limits, kept, tls: None, draining });
    (Ending::new(&app, folder), app)
}

impl Server {
    pub async fn start() -> Self {
        let (ending, app) = app(Limits::none()).await;
        let router = tonic::transport::Server::builder()
            .add_service(crate::ingest::service(app.clone()))
            .add_service(crate::query_api::service(app.clone()));
        Self::serve((ending, app), |connections| router.serve_with_incoming(connections)).await
    }

    /// All services, as the process has them, for callers with these limits.
    pub async fn limited(limits: Limits) -> Self {
        let (ending, app) = app(limits).await;
        let router = crate::grpc::router(&app, &crate::grpc::Health::new().await).unwrap();
        Self::serve((ending, app), |connections| router.serve_with_incoming(connections)).await
    }

    async fn serve<S>((ending, app): (Ending, Arc<App>), serve: impl FnOnce(TcpListenerStream) -> S) -> Self
    where
        S: Future<Output = Result<(), tonic::transport::Error>> + Send + 'static,
    {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let serving = serve(TcpListenerStream::new(listener));
        let serving = tokio::spawn(async move { serving.await.unwrap() });
        let channel = connect(&address).await;
        Self { app, channel, address, _serving: AbortOnDropHandle::new(serving), ending }
    }

    /// With the table `t (id BIGINT NOT NULL, PRIMARY KEY (id))`.
    pub async fn with_table() -> Self {
        let server = Self::start().await;
        server.run("CREATE TABLE t (id BIGINT NOT NULL, PRIMARY KEY (id))").await;
        server
    }

    pub fn ingest(&self) -> IngestClient<Channel> {
        IngestClient::new(self.channel.clone()).max_encoding_message_size(1 << 30)
    }

    pub fn query(&self) -> QueryClient<Channel> {
        QueryClient::new(self.channel.clone())
    }

    /// A connection of its own.
    pub async fn reconnect(&self) -> IngestClient<Channel> {
        IngestClient::new(connect(&self.address).await)
    }

    pub async fn write(&self, request: WriteRequest) -> Result<BatchResult, Status> {
        Ok(self.ingest().write(request).await?.into_inner().result.unwrap())
    }

    /// All messages of an answer.
    pub async fn execute(&self, request: QueryRequest) -> Result<Vec<Msg>, Status> {
        let mut stream = self.query().execute(request).await?.into_inner();
        let mut out = Vec::new();
        while let Some(QueryResponse { msg }) = stream.message().await? {
            out.push(msg.unwrap());
        }
        Ok(out)
    }

    /// The rows of a statement as lines of JSON.
    pub async fn json(&self, sql: &str) -> String {
        self.json_at(sql, Vec::new()).await
    }

    /// The same, once the commits of `tokens` are visible.
    pub async fn json_at(&self, sql: &str, tokens: Vec<bytes::Bytes>) -> String {
        let format = query::Format::JsonRows.into();
        let request = QueryRequest { sql: sql.to_owned(), format, min_commit: tokens, ..QueryRequest::default() };
        let messages = self.execute(request).await.unwrap_or_else(|status| panic!("{sql}: {status}"));
        let text = messages.iter().filter_map(|msg| match msg {
            Msg::Json(text) => Some(std::str::from_utf8(text).unwrap()),
            _ => None,
        });
        text.collect()
    }

    pub async fn run(&self, sql: &str) {
        self.json(sql).await;
    }
}

async fn connect(address: &str) -> Channel {
    Endpoint::from_shared(address.to_owned()).unwrap().connect().await.unwrap()
}

pub(crate) fn table(name: &str) -> Option<TableRef> {
    Some(TableRef { table: name.to_owned(), ..TableRef::default() })
}

fn producer(id: &str) -> Option<Producer> {
    Some(Producer { id: id.to_owned(), ..Producer::default() })
}

fn ids(ids: &[i64]) -> RecordBatch {
    RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(ids.to_vec())) as ArrayRef)]).unwrap()
}

fn arrow(batch: &RecordBatch) -> Option<Payload> {
    let bytes = crate::ingest::ipc::tests::fixtures::stream(std::slice::from_ref(batch), None);
    Some(Payload { format: Some(Format::ArrowIpcStream(bytes.into())) })
}

pub(crate) fn json(text: &str) -> Option<Payload> {
    Some(Payload { format: Some(Format::JsonRows(text.to_owned().into())) })
}

/// One batch for `t`, by `producer` under `sequence`.
fn write(id: &str, sequence: u64, rows: &[i64]) -> WriteRequest {
    WriteRequest {
        table: table("t"),
        producer: producer(id),
        sequence,
        payload: arrow(&ids(rows)),
        ..WriteRequest::default()
    }
}

/// One batch of JSON for `t`, without a producer.
fn json_write(text: &str, options: BatchOptions) -> WriteRequest {
    WriteRequest { table: table("t"), payload: json(text), options: Some(options), ..WriteRequest::default() }
}

/// Code and reason of a refused call.
fn reason(status: &Status) -> (tonic::Code, String) {
    (status.code(), status.get_details_error_info().map(|info| info.reason).unwrap_or_default())
}

/// Code and reason of a refused batch.
fn reason_of(result: &BatchResult) -> (tonic::Code, String) {
    use prost::Message;
    let status = result.status.clone().expect("the batch was taken");
    let details = status.encode_to_vec();
    reason(&Status::with_details(tonic::Code::from_i32(status.code), status.message, details.into()))
}
