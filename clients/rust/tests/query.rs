//! Is an answer of the Query service read whole, and told apart from one that is not?

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::pin::Pin;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::ipc::writer::StreamWriter;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use tidewater_client::{Client, Format, QueryRequest, TableName};
use tidewater_proto::ingest::v1 as ingest;
use tidewater_proto::ingest::v1::ingest_server::{Ingest, IngestServer};
use tidewater_proto::query::v1 as pb;
use tidewater_proto::query::v1::query_response::Msg;
use tidewater_proto::query::v1::query_server::{Query, QueryServer};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status, Streaming};

type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn batch(ids: impl IntoIterator<Item = i64>) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(ids));
    RecordBatch::try_from_iter([("id", ids)]).unwrap()
}

/// The encapsulated messages of a stream of these batches, the schema first, without the end-of-stream mark.
fn messages(batches: &[RecordBatch]) -> Vec<Vec<u8>> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batch([]).schema()).unwrap();
    let mut lengths = vec![writer.get_ref().len()];
    for batch in batches {
        writer.write(batch).unwrap();
        lengths.push(writer.get_ref().len());
    }
    let bytes = writer.get_ref().clone();
    let starts = std::iter::once(0).chain(lengths.iter().copied());
    starts.zip(&lengths).map(|(start, end)| bytes[start..*end].to_vec()).collect()
}

/// Answers each statement by its name.
struct Fake;

#[tonic::async_trait]
impl Query for Fake {
    type ExecuteStream = Replies<pb::QueryResponse>;

    async fn execute(&self, request: Request<pb::QueryRequest>) -> Result<Response<Self::ExecuteStream>, Status> {
        let sql = request.into_inner().sql;
        let batches = if sql == "nothing" { vec![] } else { vec![batch(0..3), batch(3..5)] };
        let mut messages = messages(&batches).into_iter();
        let arrow_schema = messages.next().unwrap().into();
        let started = pb::Started { query_id: "q".into(), arrow_schema, ..Default::default() };
        let mut replies = vec![Ok(Msg::Started(started))];
        replies.extend(messages.map(|message| Ok(Msg::ArrowMessage(message.into()))));
        let rows = batches.iter().map(|batch| batch.num_rows() as u64).sum();
        match &*sql {
            "fails" => replies.push(Err(Status::resource_exhausted("too much memory"))),
            "stops short" => {}
            "garbage" => replies.push(Ok(Msg::ArrowMessage(vec![1, 2, 3, 4, 5, 6, 7, 8, 9].into()))),
            _ => replies.push(Ok(Msg::Summary(pb::Summary { rows, ..Default::default() }))),
        }
        let replies = replies.into_iter().map(|reply| reply.map(|msg| pb::QueryResponse { msg: Some(msg) }));
        Ok(Response::new(stream::iter(replies.collect::<Vec<_>>()).boxed()))
    }

    async fn explain(&self, _: Request<pb::ExplainRequest>) -> Result<Response<pb::ExplainResponse>, Status> {
        Ok(Response::new(pb::ExplainResponse { text: "a plan".into() }))
    }

    async fn cancel(&self, _: Request<pb::CancelRequest>) -> Result<Response<pb::CancelResponse>, Status> {
        Err(Status::not_found("no such query"))
    }

    async fn list_queries(
        &self,
        _: Request<pb::ListQueriesRequest>,
    ) -> Result<Response<pb::ListQueriesResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }
}

#[tonic::async_trait]
impl Ingest for Fake {
    type WriteStreamStream = Replies<ingest::WriteStreamResponse>;

    async fn write(&self, _: Request<ingest::WriteRequest>) -> Result<Response<ingest::WriteResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn write_stream(
        &self,
        _: Request<Streaming<ingest::WriteStreamRequest>>,
    ) -> Result<Response<Self::WriteStreamStream>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn init_producer(
        &self,
        _: Request<ingest::InitProducerRequest>,
    ) -> Result<Response<ingest::InitProducerResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn get_table_schema(
        &self,
        request: Request<ingest::GetTableSchemaRequest>,
    ) -> Result<Response<ingest::GetTableSchemaResponse>, Status> {
        let table = request.into_inner().table.unwrap();
        assert_eq!((&*table.schema, &*table.table), ("lab", "readings"));
        let schema = ingest::TableSchema {
            version: 3,
            arrow_schema: messages(&[]).remove(0).into(),
            primary_key: vec!["id".into()],
            ..Default::default()
        };
        Ok(Response::new(ingest::GetTableSchemaResponse { schema: Some(schema) }))
    }
}

async fn client() -> Client {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server =
        tonic::transport::Server::builder().add_service(QueryServer::new(Fake)).add_service(IngestServer::new(Fake));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    Client::connect(&format!("http://{address}")).await.unwrap()
}

fn ask(sql: &str) -> QueryRequest {
    QueryRequest { sql: sql.to_owned(), ..Default::default() }
}

#[tokio::test]
async fn rows_come_with_their_schema_and_a_summary() {
    let client = client().await;
    for (sql, n) in [("rows", 5), ("nothing", 0)] {
        let mut answer = client.query(ask(sql)).await.unwrap();
        assert_eq!((answer.query_id(), answer.is_update()), ("q", false));
        assert_eq!(answer.schema().field(0).name(), "id");
        assert!(answer.summary().is_none(), "not yet");
        let mut rows = 0;
        while let Some(batch) = answer.try_next().await.unwrap() {
            rows += batch.num_rows();
        }
        assert_eq!((rows, answer.summary().unwrap().rows), (n, n as u64));
    }
}

#[tokio::test]
async fn an_answer_that_is_not_whole_is_an_error() {
    let client = client().await;
    for (sql, reason, code) in [
        ("stops short", "INCOMPLETE", Code::Unavailable),
        ("fails", "", Code::ResourceExhausted),
        ("garbage", "PROTOCOL", Code::Unavailable),
    ] {
        let mut answer = client.query(ask(sql)).await.unwrap();
        let mut rows = 0;
        let error = loop {
            match answer.next().await.expect("an error before the end") {
                Ok(batch) => rows += batch.num_rows(),
                Err(error) => break error,
            }
        };
        assert_eq!((rows, error.reason(), error.code()), (5, reason, code), "{sql}");
        assert!(answer.next().await.is_none() && answer.summary().is_none());
    }
}

#[tokio::test]
async fn small_calls() {
    let client = client().await;
    assert_eq!(client.explain("rows", false).await.unwrap(), "a plan");
    assert_eq!(client.cancel("q").await.unwrap_err().code(), Code::NotFound);
    let table = client.table_schema(TableName::new("lab", "readings")).await.unwrap();
    assert_eq!((table.version, &*table.primary_key, table.time_column), (3, &["id".to_owned()][..], None));
    assert_eq!(table.schema.fields().len(), 1);
    let json = QueryRequest { format: Format::JsonRows.into(), ..ask("rows") };
    assert_eq!(client.query(json).await.err().unwrap().code(), Code::InvalidArgument);
    assert!(client.health().await.is_err(), "this server has no health service");
}

#[tokio::test]
async fn nobody_listens() {
    for address in ["127.0.0.1:1", "https://127.0.0.1:1"] {
        let error = Client::connect(address).await.err().unwrap();
        assert!(error.is_retryable() && error.message().contains("127.0.0.1:1"), "{error}");
    }
    let error = Client::connect("not an address").await.err().unwrap();
    assert!(!error.is_retryable(), "{error}");
}
