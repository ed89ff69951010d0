//! Does the service answer real clients over a real socket as the protocol says?

mod ingest;
mod metadata;
mod prepared;
mod sessions;
mod statements;
mod tickets;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::util::pretty::pretty_format_batches;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::sql::{CommandStatementQuery, ProstMessageExt};
use arrow_flight::{FlightDescriptor, FlightInfo, Ticket};
use futures::stream::TryStreamExt;
use prost::Message;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::App;
use crate::auth::Limits;
use crate::ingest::tests::{Ending, app};

/// A server on a free port, with an empty data folder.
struct Server {
    app: Arc<App>,
    channel: Channel,
    _serving: AbortOnDropHandle<()>,
    /// The last that is dropped.
    _ending: Ending,
}

impl Server {
    async fn start() -> Self {
        let (ending, app) = app(Limits::none()).await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = tonic::transport::Server::builder()
            .layer(crate::grpc::whole_requests())
            .add_service(crate::flight_sql::service(app.clone()));
        let serving =
            tokio::spawn(async move { router.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap() });
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        Self { app, channel, _serving: AbortOnDropHandle::new(serving), _ending: ending }
    }

    /// The client of the Flight SQL protocol.
    fn sql(&self) -> FlightSqlServiceClient<Channel> {
        FlightSqlServiceClient::new(self.channel.clone())
    }

    /// The client of the Flight protocol under it.
    fn raw(&self) -> FlightServiceClient<Channel> {
        FlightServiceClient::new(self.channel.clone())
    }

    async fn info(&self, sql: &str) -> Result<FlightInfo, Status> {
        Ok(self.raw().get_flight_info(descriptor(sql)).await?.into_inner())
    }

    /// Schema and rows of an info's only ticket.
    async fn fetch(&self, info: &FlightInfo) -> Result<(SchemaRef, Vec<RecordBatch>), Status> {
        self.fetch_ticket(ticket_of(info)).await
    }

    async fn fetch_ticket(&self, ticket: Ticket) -> Result<(SchemaRef, Vec<RecordBatch>), Status> {
        let stream = self.raw().do_get(ticket).await?.into_inner();
        let mut rows = arrow_flight::decode::FlightRecordBatchStream::new_from_flight_data(stream.map_err(Into::into));
        let mut batches = Vec::new();
        while let Some(batch) = rows.try_next().await.map_err(Status::from)? {
            batches.push(batch);
        }
        Ok((rows.schema().expect("the schema is always sent").clone(), batches))
    }

    /// The rows of a statement as a table of text.
    async fn rows(&self, sql: &str) -> String {
        let info = self.info(sql).await.unwrap();
        let (schema, batches) = self.fetch(&info).await.unwrap();
        assert_eq!(*schema, schema_of(&info), "{sql}");
        text(&batches)
    }

    /// Runs statements that return nothing of interest.
    async fn run(&self, statements: &[&str]) {
        for sql in statements {
            self.info(sql).await.unwrap_or_else(|status| panic!("{sql}: {status}"));
        }
    }
}

fn descriptor(sql: &str) -> FlightDescriptor {
    let command = CommandStatementQuery { query: sql.to_owned(), transaction_id: None };
    FlightDescriptor::new_cmd(command.as_any().encode_to_vec())
}

fn ticket_of(info: &FlightInfo) -> Ticket {
    assert_eq!(info.endpoint.len(), 1);
    assert!(info.endpoint[0].location.is_empty());
    info.endpoint[0].ticket.clone().unwrap()
}

fn schema_of(info: &FlightInfo) -> Schema {
    info.clone().try_decode_schema().unwrap()
}

fn text(batches: &[RecordBatch]) -> String {
    pretty_format_batches(batches).unwrap().to_string()
}
