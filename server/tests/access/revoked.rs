//! What becomes of what is under way when a token is revoked? And who is heard at all?

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow_flight::FlightDescriptor;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{
    CommandStatementIngest, ProstMessageExt, TableDefinitionOptions, TableExistsOption, TableNotExistOption,
};
use axum::http::Request;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use http_body_util::StreamBody;
use hyper::body::Frame;
use prost::Message;
use tidewater_client::{NewToken, QueryRequest, TokenOptions};
use tidewater_proto::ingest::v1::ingest_client::IngestClient;
use tidewater_proto::ingest::v1::write_stream_request::Msg;
use tidewater_proto::ingest::v1::{Open, TableRef, WriteStreamRequest};
use tidewater_proto::query::v1::ListQueriesRequest;
use tidewater_proto::query::v1::query_client::QueryClient;
use tidewater_storage::memory::{MemoryLedger, Share};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::body::Body;
use tonic::transport::channel::ResponseFuture;
use tonic::{Code, Status};
use tower::{Service, ServiceExt};

use super::world::{Caller, World, basic};
use super::{Least, flight, methods};

/// No wait is longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A writer of `shop.orders` by a token of their own.
async fn with_token(world: &World) -> (Caller, NewToken) {
    let options = TokenOptions { user: Some("writer".to_owned()), ..TokenOptions::default() };
    let made = world.root.create_token(options).await.expect("made");
    let header = Some(format!("Bearer {}", made.secret).parse().expect("a header"));
    (Caller { least: Least::Writer, header, channel: world.callers[0].channel.clone() }, made)
}

async fn revoke(world: &World, made: &NewToken) {
    world.root.revoke_token(&made.token.id).await.expect("revoked");
}

async fn n_orders(world: &World) -> usize {
    let rows = world.root.sql("SELECT id FROM shop.orders").await.expect("asked");
    rows.try_collect::<Vec<_>>().await.expect("read").iter().map(RecordBatch::num_rows).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_its_token_is_revoked() {
    let world = World::start().await;
    let (caller, made) = with_token(&world).await;
    let table = TableRef { catalog: String::new(), schema: "shop".to_owned(), table: "orders".to_owned() };
    let open = Msg::Open(Open { table: Some(table), ..Open::default() });
    // It is open as long as the client says nothing.
    let requests = stream::iter([WriteStreamRequest { msg: Some(open) }]).chain(stream::pending());
    let mut writer = IngestClient::new(caller.channel.clone());
    let mut answers = writer.write_stream(caller.request(requests)).await.expect("begun").into_inner();
    assert!(answers.message().await.expect("opened").is_some());
    revoke(&world, &made).await;
    let ended = answers.message().await.expect_err("over");
    assert_eq!(ended.code(), Code::Unauthenticated, "{ended}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_breaks_off_when_its_token_is_revoked() {
    let world = World::start().await;
    let (caller, made) = with_token(&world).await;
    let sql = "SELECT a.value FROM generate_series(1, 1000000) a CROSS JOIN generate_series(1, 1000000) b".to_owned();
    let request = caller.request(QueryRequest { sql, ..QueryRequest::default() });
    let mut client = QueryClient::new(caller.channel.clone());
    let mut rows = client.execute(request).await.expect("begun").into_inner();
    assert!(rows.message().await.expect("rows").is_some());
    revoke(&world, &made).await;
    let ended = async {
        loop {
            match rows.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it ended well"),
                Err(status) => return status,
            }
        }
    };
    let ended = tokio::time::timeout(PATIENCE, ended).await.expect("it ends");
    assert_eq!(ended.code(), Code::Unauthenticated, "{ended}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_took_long_are_not_stored_for_who_was_barred_meanwhile() {
    let world = World::start().await;

    // Over HTTP: half of the body comes before, half behind.
    let (caller, made) = with_token(&world).await;
    let header = caller.header.as_ref().expect("a header").to_str().expect("text");
    let (before, behind) = ("{\"id\": 101}\n", "{\"id\": 102}\n");
    let head = format!(
        "POST /api/v1/ingest/shop.orders HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: {header}\r\n\
         Content-Type: application/x-ndjson\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        before.len() + behind.len()
    );
    let mut connection = TcpStream::connect(world.server.http_addr()).await.expect("connects");
    connection.write_all(head.as_bytes()).await.expect("sent");
    // It is said when the body is wanted: the token was looked at.
    let mut wanted = [0; 25];
    connection.read_exact(&mut wanted).await.expect("wanted");
    assert!(wanted.starts_with(b"HTTP/1.1 100 Continue"), "{wanted:?}");
    connection.write_all(before.as_bytes()).await.expect("sent");
    revoke(&world, &made).await;
    connection.write_all(behind.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.expect("answered");
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");

    // Over Flight: the stream ends when the token is gone.
    let (caller, made) = with_token(&world).await;
    let command = CommandStatementIngest {
        table_definition_options: Some(TableDefinitionOptions {
            if_not_exist: TableNotExistOption::Fail.into(),
            if_exists: TableExistsOption::Append.into(),
        }),
        table: "orders".to_owned(),
        schema: Some("shop".to_owned()),
        ..Default::default()
    };
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![103]));
    let batch = RecordBatch::try_from_iter([("id", ids)]).expect("a batch");
    let data = FlightDataEncoderBuilder::new()
        .with_flight_descriptor(Some(FlightDescriptor::new_cmd(command.as_any().encode_to_vec())))
        .build(stream::iter([Ok(batch)]));
    let data: Vec<_> = data.try_collect().await.expect("encoded");
    // The first message is taken by a stream that was let in; what is behind it waits for the token to go.
    let (go_on, gone) = tokio::sync::oneshot::channel::<()>();
    let (read, is_read) = tokio::sync::oneshot::channel::<()>();
    let mut read = Some(read);
    let messages = stream::iter(data).inspect(move |_| {
        if let Some(read) = read.take() {
            read.send(()).expect("somebody waits");
        }
    });
    let end = stream::once(async move { gone.await.unwrap_or_default() }).filter_map(|()| std::future::ready(None));
    let mut flight = FlightServiceClient::new(caller.channel.clone());
    let putting = tokio::spawn({
        let request = caller.request(messages.chain(end));
        async move { flight.do_put(request).await.map(drop) }
    });
    is_read.await.expect("begun");
    // A call that was sent behind it on the same connection was answered: the stream's headers were read before.
    let ask = caller.request(ListQueriesRequest::default());
    QueryClient::new(caller.channel.clone()).list_queries(ask).await.expect("let in still");
    revoke(&world, &made).await;
    go_on.send(()).expect("it waits");
    let refused = putting.await.expect("no panic").expect_err("refused");
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");

    assert_eq!(n_orders(&world).await, 0);
    world.end().await;
}

/// The answer to a request of which `begun` has come, and no more.
async fn answer_to(world: &World, path: &str, header: Option<&str>, begun: &'static [u8]) -> ResponseFuture {
    let begun = stream::iter([Ok::<_, Status>(Frame::data(Bytes::from_static(begun)))]);
    let body = Body::new(StreamBody::new(begun.chain(stream::pending())));
    let mut request = Request::post(path).header("content-type", "application/grpc").header("te", "trailers");
    if let Some(header) = header {
        request = request.header("authorization", header);
    }
    let mut channel = world.callers[0].channel.clone();
    channel.ready().await.expect("connected").call(request.body(body).expect("a request"))
}

/// The status that is told before the message has come; `begun` is what has come of it.
async fn at_once(world: &World, path: &str, header: Option<&str>, begun: &'static [u8]) -> Status {
    let answer = answer_to(world, path, header, begun).await;
    let answer = tokio::time::timeout(PATIENCE, answer).await.expect(path).expect("answered");
    Status::from_header_map(answer.headers()).expect("a status at once")
}

/// Nothing that a stranger sends is waited for, or kept.
#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_turned_away_before_their_message_has_come() {
    let world = World::start().await;
    let ours = methods::there().into_iter().map(|name| format!("/{name}"));
    let flights = flight::METHODS.iter().filter(|name| **name != "Handshake");
    let flights = flights.map(|name| format!("/arrow.flight.protocol.FlightService/{name}"));
    for path in ours.chain(flights) {
        let status = at_once(&world, &path, None, b"").await;
        assert_eq!(status.code(), Code::Unauthenticated, "{path}: {status}");
        assert!(status.message().ends_with("(TW-1401)"), "{path}: {status}");
    }
    world.end().await;
}

/// Nor what somebody sends to a method that they may not use, whatever they say.
#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_use_a_method_is_turned_away_before_their_message_has_come() {
    let world = World::start().await;
    let rows = methods::rows();
    let mut n_asked = 0;
    for name in methods::there() {
        let least = rows.iter().filter(|row| row.of == name).map(|row| row.least).min().expect("a row");
        // What readers may use is judged by the table in the message, of which theirs are small.
        if least < Least::Writer {
            continue;
        }
        for who in Least::ALL.into_iter().filter(|who| *who > Least::Open && *who < least) {
            let status = at_once(&world, &format!("/{name}"), Some(&basic(who.name())), b"").await;
            assert_eq!(status.code(), Code::PermissionDenied, "{name} by {who:?}: {status}");
            assert!(status.message().ends_with("(TW-1402)"), "{name} by {who:?}: {status}");
            n_asked += 1;
        }
    }
    assert!(n_asked >= 15, "{n_asked}");
    world.end().await;
}

/// Rows are what makes messages large.
#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_write_sends_small_messages() {
    const OVER_4_MIB: &[u8] = &[0, 0, 0x40, 0, 1];
    let world = World::start().await;
    let flights = ["GetFlightInfo", "DoGet", "DoAction", "GetSchema"];
    let flights = flights.map(|name| format!("/arrow.flight.protocol.FlightService/{name}"));
    let ours = ["ingest.v1.Ingest/GetTableSchema", "query.v1.Query/Execute"].map(|name| format!("/tidewater.{name}"));
    for path in flights.into_iter().chain(ours) {
        for who in ["nobody", "reader"] {
            let status = at_once(&world, &path, Some(&basic(who)), OVER_4_MIB).await;
            assert_eq!(status.code(), Code::OutOfRange, "{path} by {who}: {status}");
        }
    }
    world.end().await;
}

/// Returns when so much is held by nobody by name.
async fn held(memory: &MemoryLedger, is_enough: impl Fn(u64) -> bool) {
    let held = async {
        while !is_enough(memory.used(Share::Unassigned)) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, held).await.expect("held");
}

/// One caller who begins many messages and ends none does not make the process keep more than their part.
#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_write_has_few_large_messages_under_way() {
    const OF_4_MIB: &[u8] = &[0, 0, 0x40, 0, 0, b'x'];
    const OVER_4_MIB: &[u8] = &[0, 0, 0x40, 0, 1];
    const MESSAGE_BYTES: u64 = 4 << 20;
    let world = World::start().await;
    let memory = world.server.app().storage.memory();
    let path = "/arrow.flight.protocol.FlightService/GetFlightInfo";
    let (nobody, reader) = (basic("nobody"), basic("reader"));
    // From then on their passwords are known.
    for who in [&nobody, &reader] {
        assert_eq!(at_once(&world, path, Some(who), OVER_4_MIB).await.code(), Code::OutOfRange);
    }
    let before = memory.used(Share::Unassigned);
    let mut under_way = Vec::new();
    // Of 1 GiB one caller has 24 MiB for them.
    for n in 1..=6 {
        let answer = answer_to(&world, path, Some(&nobody), OF_4_MIB).await;
        under_way.push(AbortOnDropHandle::new(tokio::spawn(answer)));
        held(memory, |bytes| bytes >= before + n * MESSAGE_BYTES).await;
    }
    let refused = at_once(&world, path, Some(&nobody), OF_4_MIB).await;
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert!(refused.message().ends_with("(TW-1216)"), "{refused}");

    // Others have a part, too, and small messages go on.
    let answer = answer_to(&world, path, Some(&reader), OF_4_MIB).await;
    let of_reader = AbortOnDropHandle::new(tokio::spawn(answer));
    held(memory, |bytes| bytes >= before + 7 * MESSAGE_BYTES).await;
    let caller = world.callers.iter().find(|caller| caller.least == Least::Anyone).expect("a caller");
    let ask = caller.request(ListQueriesRequest::default());
    QueryClient::new(caller.channel.clone()).list_queries(ask).await.expect("answered");

    // What was broken off makes space.
    drop((under_way, of_reader));
    held(memory, |bytes| bytes <= before).await;
    world.end().await;
}
