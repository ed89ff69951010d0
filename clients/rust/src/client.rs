//! How does a program reach a server? One channel, shared by all calls.

use std::time::Duration;

use arrow::array::RecordBatch;
use arrow_flight::flight_service_client::FlightServiceClient;
use backon::{BackoffBuilder, Retryable};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tidewater_proto::admin::v1::admin_client::AdminClient;
use tidewater_proto::ingest::v1 as ingest;
use tidewater_proto::ingest::v1::ingest_client::IngestClient;
use tidewater_proto::query::v1::query_client::QueryClient;
use tidewater_proto::query::v1::{
    CancelRequest, CancelState, ExplainRequest, Format, ListQueriesRequest, QueryInfo, QueryRequest,
};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::error::{Error, Result};
use crate::ipc::encode;
use crate::producer::{Producer, ProducerOptions, RetryPolicy};
use crate::query::QueryStream;
use crate::sql::{self, SqlStream};
use crate::table::{TableInfo, TableName};
use crate::write::{BatchResult, Identity, WriteOptions};

/// The server takes messages up to this size; we take the same, though it sends about 2 MiB.
const MAX_MESSAGE_BYTES: usize = 64 << 20;
/// HTTP/2's 64 KiB would stall a stream of megabytes for a round trip each.
const STREAM_WINDOW_BYTES: u32 = 8 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// A connection without an answer to a ping is given up after 30 + 20 seconds.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// What a PEM file of certificates has in it.
const PEM_CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// The channel of a [`Client`], which adds our credentials to every call.
pub type Transport = InterceptedService<Channel, Authorization>;

/// Who we are.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum Credentials {
    /// For a server that runs with `auth = "off"`.
    #[default]
    Anonymous,
    Basic {
        user: String,
        password: String,
    },
    Bearer(String),
}

/// A certificate of the client's own, for servers that ask for one (mutual TLS).
#[derive(Clone)]
pub struct ClientCertificate {
    /// The certificate in PEM, and behind it those that lead to its authority.
    pub certificates_pem: Vec<u8>,
    /// Its private key in PEM.
    pub key_pem: Vec<u8>,
}

/// How to connect.
#[derive(Clone)]
pub struct ClientOptions {
    pub credentials: Credentials,
    /// Certificates in PEM that are trusted for `https://`, and no others; `None`: those that this machine trusts.
    pub ca_certificates_pem: Option<Vec<u8>>,
    /// What is shown over `https://`. The server may know a user by it, without [`ClientOptions::credentials`].
    pub certificate: Option<ClientCertificate>,
    /// Bound on making the first connection.
    pub connect_timeout: Duration,
    /// Of [`Client::write`] with an identity.
    pub retry: RetryPolicy,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            credentials: Credentials::Anonymous,
            ca_certificates_pem: None,
            certificate: None,
            connect_timeout: Duration::from_secs(10),
            retry: RetryPolicy::default(),
        }
    }
}

/// A connection to a server. Clones share it; a broken connection is made again by the next call.
#[derive(Clone)]
pub struct Client {
    transport: Transport,
    retry: RetryPolicy,
}

impl Client {
    /// Connects to `host:port`, `http://host:port` or `https://host:port` (see [`ClientOptions::ca_certificates_pem`]).
    pub async fn connect(address: &str) -> Result<Self> {
        Self::connect_with(address, ClientOptions::default()).await
    }

    pub async fn connect_with(address: &str, options: ClientOptions) -> Result<Self> {
        let authorization = Authorization::new(&options.credentials)?;
        let channel = endpoint(address, &options)?.connect().await.map_err(|error| {
            let error = Error::from(error);
            error.with_message(format!("no connection to {address}: {}", error.message()))
        })?;
        Ok(Self { transport: InterceptedService::new(channel, authorization), retry: options.retry })
    }

    /// Runs a query (or any other statement) over Flight SQL.
    pub async fn sql(&self, sql: &str) -> Result<SqlStream> {
        sql::query(self.flight(), sql).await
    }

    /// Runs DDL or DML over Flight SQL and returns the number of rows that changed; 0 for DDL.
    pub async fn execute_update(&self, sql: &str) -> Result<u64> {
        sql::update(self.flight(), sql).await
    }

    /// Runs one statement with everything that [`QueryRequest`] can say. Rows come as Arrow: `format` must be left alone.
    pub async fn query(&self, request: QueryRequest) -> Result<QueryStream> {
        if !matches!(request.format(), Format::Unspecified | Format::ArrowIpc) {
            return Err(Error::invalid("Client::query reads Arrow; leave QueryRequest::format unset"));
        }
        QueryStream::begin(self.queries().execute(request).await?.into_inner()).await
    }

    /// How a statement would run; with `analyze` it is run.
    pub async fn explain(&self, sql: &str, analyze: bool) -> Result<String> {
        let request = ExplainRequest { sql: sql.to_owned(), analyze, ..Default::default() };
        Ok(self.queries().explain(request).await?.into_inner().text)
    }

    /// Stops a query. Can be repeated. A change that is being committed goes on: the state says so.
    pub async fn cancel(&self, query_id: &str) -> Result<CancelState> {
        let request = CancelRequest { query_id: query_id.to_owned() };
        Ok(self.queries().cancel(request).await?.into_inner().state())
    }

    /// Queries that run, wait or ended lately, newest first: our own; an admin sees everybody's. It is no statement, so no limit on those
    /// stands in its way.
    pub async fn list_queries(&self) -> Result<Vec<QueryInfo>> {
        Ok(self.queries().list_queries(ListQueriesRequest {}).await?.into_inner().queries)
    }

    /// OK if the server takes requests.
    pub async fn health(&self) -> Result<()> {
        let mut health = HealthClient::new(self.transport.clone());
        let status = health.check(HealthCheckRequest { service: String::new() }).await?.into_inner().status();
        match status {
            ServingStatus::Serving => Ok(()),
            other => Err(Error::transport(format!("the server answers {}", other.as_str_name()))),
        }
    }

    /// The shape of a table.
    pub async fn table_schema(&self, table: impl Into<TableName>) -> Result<TableInfo> {
        let request = ingest::GetTableSchemaRequest { table: Some(table.into().into()) };
        let response = self.ingest().get_table_schema(request).await?.into_inner();
        let schema = response.schema.ok_or_else(|| Error::protocol("the server sent no schema"))?;
        schema.try_into()
    }

    /// Stores one batch. With an identity it is sent again, under [`ClientOptions::retry`], until it is answered; without one
    /// it is sent once, because a second time might store it twice.
    pub async fn write(
        &self,
        table: impl Into<TableName>,
        batch: &RecordBatch,
        identity: Identity,
        options: &WriteOptions,
    ) -> Result<BatchResult> {
        let repeatable = identity.is_repeatable();
        let payload = ingest::payload::Format::ArrowIpcStream(encode(batch, options.compression)?);
        let mut request = ingest::WriteRequest {
            table: Some(table.into().into()),
            payload: Some(ingest::Payload { format: Some(payload) }),
            options: Some(options.to_proto()),
            ..Default::default()
        };
        match identity {
            Identity::None => {}
            Identity::IdempotencyKey(key) => request.idempotency_key = key,
            Identity::Producer { id, epoch, sequence, mode } => {
                request.sequence = sequence;
                request.producer = Some(ingest::Producer { id, epoch, mode: mode.into(), last_acked: None });
            }
        }
        let send = || async {
            let response = self.ingest().write(request.clone()).await?.into_inner();
            response.result.ok_or_else(|| Error::protocol("the server answered a write without a result"))?.try_into()
        };
        send.retry(self.retry.backoff().build())
            .when(|error: &Error| repeatable && error.is_retryable())
            .adjust(|error, delay| delay.map(|delay| error.retry_after().unwrap_or_default().max(delay)))
            .await
    }

    /// Takes over the producer `id` of a table: older clients of the same id are fenced.
    pub async fn producer(&self, table: impl Into<TableName>, id: &str) -> Result<Producer> {
        self.producer_with(table, id, ProducerOptions::default()).await
    }

    pub async fn producer_with(
        &self,
        table: impl Into<TableName>,
        id: &str,
        options: ProducerOptions,
    ) -> Result<Producer> {
        Producer::start(self.ingest(), table.into(), id.to_owned(), options).await
    }

    fn flight(&self) -> FlightServiceClient<Transport> {
        FlightServiceClient::new(self.transport.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// The ingest service itself, for what [`Self::write`] and [`Self::producer`] do not offer. Nothing is sent again by itself.
    pub fn ingest_service(&self) -> IngestClient<Transport> {
        self.ingest()
    }

    fn ingest(&self) -> IngestClient<Transport> {
        IngestClient::new(self.transport.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    pub(crate) fn admin(&self) -> AdminClient<Transport> {
        AdminClient::new(self.transport.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    fn queries(&self) -> QueryClient<Transport> {
        QueryClient::new(self.transport.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }
}

fn endpoint(address: &str, options: &ClientOptions) -> Result<Endpoint> {
    let url = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    let unfit = |error| Error::invalid(format!("'{address}' is not an address of a server: {error}"));
    let endpoint = Endpoint::from_shared(url.clone())
        .and_then(|endpoint| endpoint.user_agent(concat!("tidewater-client/", env!("CARGO_PKG_VERSION"))))
        .map_err(unfit)?
        .connect_timeout(options.connect_timeout)
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    if !url.starts_with("https://") {
        if options.certificate.is_some() {
            return Err(Error::invalid("a certificate is shown over TLS only: the address must begin with https://"));
        }
        return Ok(endpoint);
    }
    let tls = match &options.ca_certificates_pem {
        // What is not understood would be left out, and then nobody trusted, without a word.
        Some(pem) if !has_certificate(pem) => {
            return Err(Error::invalid("ClientOptions::ca_certificates_pem has no certificate in PEM"));
        }
        Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
        None => ClientTlsConfig::new().with_native_roots(),
    };
    let tls = match &options.certificate {
        Some(own) if !has_certificate(&own.certificates_pem) => {
            return Err(Error::invalid("ClientOptions::certificate has no certificate in PEM"));
        }
        Some(own) => tls.identity(tonic::transport::Identity::from_pem(&own.certificates_pem, &own.key_pem)),
        None => tls,
    };
    // A server that takes the connection and does not shake hands must not be waited for longer, either.
    endpoint.tls_config(tls.timeout(options.connect_timeout)).map_err(|error| {
        let error = Error::from(error);
        error.with_message(format!("TLS with {address} cannot be set up: {}", error.message()))
    })
}

fn has_certificate(pem: &[u8]) -> bool {
    pem.windows(PEM_CERTIFICATE.len()).any(|window| window == PEM_CERTIFICATE)
}

/// Adds the `authorization` header to every call.
#[derive(Clone)]
pub struct Authorization(Option<MetadataValue<Ascii>>);

impl Authorization {
    fn new(credentials: &Credentials) -> Result<Self> {
        let text = match credentials {
            Credentials::Anonymous => return Ok(Self(None)),
            Credentials::Basic { user, password } => {
                format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
            }
            Credentials::Bearer(token) => format!("Bearer {token}"),
        };
        let mut value: MetadataValue<Ascii> =
            text.parse().map_err(|_| Error::invalid("the credentials hold characters that no header can carry"))?;
        value.set_sensitive(true);
        Ok(Self(Some(value)))
    }
}

impl Interceptor for Authorization {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}
