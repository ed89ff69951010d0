//! Is what cannot be stored refused with a reason, and nothing lost? Bad rows, bad payloads, bad requests.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tidewater_proto::ingest::v1::payload::Format;
use tidewater_proto::ingest::v1::{
    BatchOptions, Durability, GetTableSchemaRequest, OnRowError, Payload, SchemaPolicy, WriteRequest,
};
use tidewater_storage::TokenLimits;
use tidewater_storage::env::ManualClock;
use tidewater_storage::memory::{Decoding, MessageKind, Share};
use tonic::Code;
use tonic_types::StatusExt;

use super::{Server, arrow, ids, json, json_write, reason, table};
use crate::auth::Limits;

const ROWS: &str = "{\"id\":1}\n{\"id\":null}\n{\"id\":\"x\"}\nnot json\n{\"id\":2}\n";

fn options(on_row_error: OnRowError) -> BatchOptions {
    BatchOptions { on_row_error: on_row_error.into(), ..BatchOptions::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_rows_are_kept_or_refuse_the_batch() {
    let server = Server::with_table().await;
    let aborted = server.write(json_write(ROWS, options(OnRowError::Abort))).await.unwrap_err();
    assert_eq!(reason(&aborted), (Code::InvalidArgument, "BAD_ROWS".to_owned()));
    let rows = aborted.get_details_bad_request().unwrap().field_violations;
    let fields: Vec<_> = rows.iter().map(|row| row.field.as_str()).collect();
    assert!(fields.contains(&"rows[1].id") || fields.contains(&"rows[3]"), "{fields:?}");
    assert_eq!(server.json("SELECT count(*) AS n FROM t").await, "{\"n\":0}\n");

    let kept = server.write(json_write(ROWS, options(OnRowError::Keep))).await.unwrap();
    assert_eq!((kept.received, kept.accepted, kept.rejected), (5, 2, 3));
    let errors: Vec<_> = kept.row_errors.iter().map(|row| (row.row, row.column.as_str(), row.code.as_str())).collect();
    assert_eq!(errors, [(1, "id", "NULL_VIOLATION"), (2, "id", "TYPE_MISMATCH"), (3, "", "MALFORMED")]);
    assert_eq!(server.json("SELECT id FROM t ORDER BY id").await, "{\"id\":1}\n{\"id\":2}\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_row_errors_and_no_more() {
    let server = Server::with_table().await;
    let text = "{\"id\":null}\n".repeat(1_000);
    let kept = server.write(json_write(&text, BatchOptions::default())).await.unwrap();
    assert_eq!((kept.received, kept.rejected, kept.row_errors.len()), (1_000, 1_000, 100));
    let rows: Vec<_> = kept.row_errors.iter().map(|row| row.row).collect();
    assert_eq!(rows, (0..100).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_that_are_too_large_or_damaged() {
    let server = Server::with_table().await;
    let with = |format| WriteRequest {
        table: table("t"),
        payload: Some(Payload { format: Some(format) }),
        ..WriteRequest::default()
    };
    let large: Vec<i64> = (0..(20 << 20) / 8).collect();
    let request = WriteRequest { table: table("t"), payload: arrow(&ids(&large)), ..WriteRequest::default() };
    let too_large = server.write(request).await.unwrap_err();
    assert_eq!(reason(&too_large), (Code::InvalidArgument, "BATCH_TOO_LARGE".to_owned()));
    assert_eq!(too_large.get_details_error_info().unwrap().metadata["limit_bytes"], (16 << 20).to_string());

    let zeros = ids(&vec![0; 6 << 20]);
    let codec = Some(arrow::ipc::CompressionType::ZSTD);
    let bomb = crate::ingest::ipc::tests::fixtures::stream(&[zeros], codec);
    let bomb = server.write(with(Format::ArrowIpcStream(bomb.into()))).await.unwrap_err();
    assert_eq!(reason(&bomb).1, "BATCH_TOO_LARGE");

    for damaged in [vec![], vec![0xff; 100], b"ARROW1\0\0".to_vec()] {
        let status = server.write(with(Format::ArrowIpcStream(damaged.into()))).await.unwrap_err();
        assert_eq!(reason(&status), (Code::InvalidArgument, "MALFORMED_PAYLOAD".to_owned()));
    }
    let lone = server.write(with(Format::ArrowIpcMessage(vec![1; 10].into()))).await.unwrap_err();
    assert_eq!(reason(&lone).1, "INVALID_REQUEST");
    let none = WriteRequest { table: table("t"), ..WriteRequest::default() };
    assert_eq!(reason(&server.write(none).await.unwrap_err()).1, "INVALID_REQUEST");
}

/// Side by side they would be hundreds of megabytes; they are decoded as memory for that comes back.
#[tokio::test(flavor = "multi_thread")]
async fn many_bombs_at_once_are_refused_and_leave_nothing() {
    let server = Server::with_table().await;
    let memory = server.app.storage.memory().clone();
    let before = memory.used(Share::Realtime);
    let zeros = ids(&vec![0; 6 << 20]);
    let bomb: bytes::Bytes =
        crate::ingest::ipc::tests::fixtures::stream(&[zeros], Some(arrow::ipc::CompressionType::ZSTD)).into();
    let request = || WriteRequest {
        table: table("t"),
        payload: Some(Payload { format: Some(Format::ArrowIpcStream(bomb.clone())) }),
        ..WriteRequest::default()
    };
    let bombs = futures::future::join_all((0..16).map(|_| server.write(request())));
    // Few rows wait for none of them.
    let (bombs, small) = tokio::join!(bombs, server.write(json_write("{\"id\":1}", BatchOptions::default())));
    assert_eq!(small.unwrap().accepted, 1);
    for status in bombs {
        assert_eq!(reason(&status.unwrap_err()), (Code::InvalidArgument, "BATCH_TOO_LARGE".to_owned()));
    }
    let stored = memory.used(Share::Realtime) - before;
    assert!(stored < 1 << 20, "{stored} bytes for one row");
}

const LARGE_BYTES: u64 = 12 << 20;
const LARGE_ROWS: u64 = LARGE_BYTES / 16;

/// A server with the table `wide`, a batch of [`LARGE_BYTES`] for it, and all that may be decoded at once, so that others wait.
async fn with_nothing_left_to_decode() -> (Server, WriteRequest, Decoding) {
    let server = Server::with_table().await;
    server.run("CREATE TABLE wide (id BIGINT NOT NULL, n BIGINT, PRIMARY KEY (id))").await;
    let column = || ids(&(0..LARGE_ROWS as i64).collect::<Vec<_>>()).column(0).clone();
    let rows = arrow::array::RecordBatch::try_from_iter([("id", column()), ("n", column())]).unwrap();
    let request = WriteRequest { table: table("wide"), payload: arrow(&rows), ..WriteRequest::default() };
    let memory = server.app.storage.memory();
    let mut all = memory.decoding(memory.limit()).await.unwrap();
    // Only the place is wanted: the share stays free for rows.
    all.hand_over();
    (server, request, all)
}

#[tokio::test(flavor = "multi_thread")]
async fn large_payloads_wait_for_memory_and_small_ones_do_not() {
    let (server, request, all) = with_nothing_left_to_decode().await;
    let memory = server.app.storage.memory().clone();
    let mut large = Box::pin(server.write(request));
    let early = tokio::time::timeout(Duration::from_millis(200), &mut large).await;
    assert!(early.is_err(), "nothing was left to decode it: {early:?}");
    let small = server.write(json_write("{\"id\":1}", BatchOptions::default())).await.unwrap();
    assert_eq!(small.accepted, 1);
    assert!(large.as_mut().now_or_never().is_none());
    drop(all);
    assert_eq!(large.await.unwrap().accepted, LARGE_ROWS);
    // So many rows are sorted at once, in the same share.
    let given_back = async {
        while memory.used(Share::Unassigned) > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), given_back).await.unwrap();
}

/// What bounds them is the place that each has when it comes.
#[tokio::test(flavor = "multi_thread")]
async fn many_large_payloads_wait_and_none_is_refused() {
    let (server, request, all) = with_nothing_left_to_decode().await;
    let n = server.app.storage.memory().share(Share::Unassigned) / LARGE_BYTES + 1;
    let mut writes = Box::pin(futures::future::join_all((0..n).map(|_| server.write(request.clone()))));
    let early = tokio::time::timeout(Duration::from_millis(200), &mut writes).await;
    assert!(early.is_err(), "nothing was left to decode them");
    drop(all);
    let results = writes.await;
    let stored: u64 = results.into_iter().map(|result| result.unwrap().accepted).sum();
    assert_eq!(stored, LARGE_ROWS, "each but the first is a repeat of its rows");
}

/// A place counts for the user, a limit for the token.
#[tokio::test(flavor = "multi_thread")]
async fn calls_past_their_limit_keep_the_last_places_from_nobody() {
    let clock = Arc::new(ManualClock::at(0));
    let most = TokenLimits { bytes_per_s: Some(1 << 20), ..TokenLimits::default() };
    let server = Server::limited(Limits::new(most, Arc::<ManualClock>::clone(&clock))).await;
    server.run("CREATE TABLE t (id BIGINT NOT NULL, PRIMARY KEY (id))").await;
    let caller = server.app.auth.caller(None).await.unwrap();
    server.app.limits.of(&caller).came(3 << 20);
    let unknown = WriteRequest { table: table("nobody"), payload: json("{}"), ..WriteRequest::default() };
    assert_eq!(reason(&server.write(unknown).await.unwrap_err()).1, "TABLE_NOT_FOUND", "it waits for no limit");

    let large = || json_write(&format!("{{\"id\": 1{}}}", " ".repeat(1 << 20)), BatchOptions::default());
    let memory = server.app.storage.memory().clone();
    let more_than_half = memory.limit() / 8 + (1 << 20);
    let others = memory.arriving(MessageKind::Rows, None, more_than_half).unwrap();
    // A call that waits does so for 10 s.
    let refused = tokio::time::timeout(Duration::from_secs(5), server.write(large())).await.expect("at once");
    assert_eq!(reason(&refused.unwrap_err()), (Code::ResourceExhausted, "RATE_LIMITED".to_owned()));
    drop(others);
    let mut late = Box::pin(server.write(large()));
    assert!(tokio::time::timeout(Duration::from_millis(200), &mut late).await.is_err(), "it waits");
    clock.advance(Duration::from_secs(60));
    assert_eq!(late.await.unwrap().accepted, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_cannot_be_met() {
    let server = Server::with_table().await;
    let check = async |options: BatchOptions, expected: (Code, &str)| {
        let status = server.write(json_write("{\"id\":1}", options)).await.unwrap_err();
        assert_eq!(reason(&status), (expected.0, expected.1.to_owned()), "{status}");
    };
    let policy = |policy: SchemaPolicy| BatchOptions { schema_policy: policy.into(), ..BatchOptions::default() };
    check(policy(SchemaPolicy::CreateTable), (Code::Unimplemented, "UNSUPPORTED_REQUEST")).await;
    check(policy(SchemaPolicy::AddColumns), (Code::Unimplemented, "UNSUPPORTED_REQUEST")).await;
    let replicated = BatchOptions { durability: Durability::Replicated.into(), ..BatchOptions::default() };
    check(replicated, (Code::Unimplemented, "UNSUPPORTED_REQUEST")).await;
    let version = BatchOptions { expected_schema_version: 9, ..BatchOptions::default() };
    check(version, (Code::FailedPrecondition, "SCHEMA_VERSION_MISMATCH")).await;

    let unknown = WriteRequest { table: table("nobody"), payload: json("{}"), ..WriteRequest::default() };
    assert_eq!(reason(&server.write(unknown).await.unwrap_err()), (Code::NotFound, "TABLE_NOT_FOUND".to_owned()));
    let request = GetTableSchemaRequest { table: table("nobody") };
    let status = server.ingest().get_table_schema(request).await.unwrap_err();
    assert_eq!(reason(&status), (Code::NotFound, "TABLE_NOT_FOUND".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_columns_are_refused_or_dropped() {
    let server = Server::with_table().await;
    let wide = arrow::array::RecordBatch::try_from_iter([
        ("id", ids(&[1]).column(0).clone()),
        ("extra", ids(&[2]).column(0).clone()),
    ])
    .unwrap();
    let with = |policy: SchemaPolicy| WriteRequest {
        table: table("t"),
        payload: arrow(&wide),
        options: Some(BatchOptions { schema_policy: policy.into(), ..BatchOptions::default() }),
        ..WriteRequest::default()
    };
    let strict = server.write(with(SchemaPolicy::Strict)).await.unwrap_err();
    assert_eq!(reason(&strict), (Code::FailedPrecondition, "SCHEMA_MISMATCH".to_owned()));
    assert_eq!(server.write(with(SchemaPolicy::IgnoreUnknownColumns)).await.unwrap().accepted, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn durability_may_only_rise() {
    let server = Server::with_table().await;
    server.run("CREATE TABLE loose (id BIGINT NOT NULL, PRIMARY KEY (id)) WITH (durability = 'os')").await;
    let level = async |name: &str, asked: Durability| {
        let options = Some(BatchOptions { durability: asked.into(), ..BatchOptions::default() });
        let payload = json(&format!("{{\"id\":{}}}", asked as i32));
        let request = WriteRequest { table: table(name), payload, options, ..WriteRequest::default() };
        server.write(request).await.unwrap().durability()
    };
    assert_eq!(level("t", Durability::Os).await, Durability::Fsync);
    assert_eq!(level("loose", Durability::Unspecified).await, Durability::Os);
    assert_eq!(level("loose", Durability::Fsync).await, Durability::Fsync);
}
