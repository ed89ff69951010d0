//! Bulk append: the table of modes, atomicity, and what a client may send.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringArray, StringViewArray};
use arrow::datatypes::Int64Type;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::sql::{
    CommandStatementIngest, DoPutUpdateResult, ProstMessageExt, TableDefinitionOptions, TableExistsOption as Exists,
    TableNotExistOption as NotExist,
};
use arrow_flight::{FlightData, FlightDescriptor};
use futures::stream::{self, StreamExt, TryStreamExt};
use prost::Message;
use tonic::{Code, Status};

use super::Server;

fn rows(ids: &[i64]) -> RecordBatch {
    let names: Vec<String> = ids.iter().map(|id| format!("n{id}")).collect();
    let columns: [(&str, ArrayRef); 2] =
        [("id", Arc::new(Int64Array::from(ids.to_vec()))), ("name", Arc::new(StringArray::from(names)))];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn command(not_exist: NotExist, exists: Exists, options: &[(&str, &str)]) -> CommandStatementIngest {
    CommandStatementIngest {
        table_definition_options: Some(TableDefinitionOptions {
            if_not_exist: not_exist.into(),
            if_exists: exists.into(),
        }),
        table: "t".into(),
        options: options.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect::<HashMap<_, _>>(),
        ..CommandStatementIngest::default()
    }
}

async fn messages(command: CommandStatementIngest, batches: Vec<RecordBatch>) -> Vec<FlightData> {
    FlightDataEncoderBuilder::new()
        .with_flight_descriptor(Some(FlightDescriptor::new_cmd(command.as_any().encode_to_vec())))
        .with_schema(batches[0].schema())
        .build(stream::iter(batches.into_iter().map(Ok)))
        .try_collect()
        .await
        .unwrap()
}

async fn append(server: &Server, command: CommandStatementIngest, batches: Vec<RecordBatch>) -> Result<i64, Status> {
    append_with_token(server, command, batches).await.map(|(rows, _)| rows)
}

/// The rows that were stored, and the commit token of the answer's headers.
async fn append_with_token(
    server: &Server,
    command: CommandStatementIngest,
    batches: Vec<RecordBatch>,
) -> Result<(i64, Option<String>), Status> {
    let answer = server.raw().do_put(stream::iter(messages(command, batches).await)).await?;
    let token = answer.metadata().get("x-tidewater-commit-token");
    let token = token.map(|token| token.to_str().expect("text").to_owned());
    let mut answers = answer.into_inner();
    let answer = answers.message().await?.expect("one answer");
    assert!(answers.message().await?.is_none());
    Ok((DoPutUpdateResult::decode(answer.app_metadata).unwrap().record_count, token))
}

async fn code_of(server: &Server, command: CommandStatementIngest, batches: Vec<RecordBatch>) -> Code {
    append(server, command, batches).await.unwrap_err().code()
}

async fn count(server: &Server) -> u64 {
    server.app.storage.table("public", "t").map_or(0, |table| table.snapshot().n_rows())
}

#[tokio::test(flavor = "multi_thread")]
async fn modes() {
    let server = Server::start().await;
    let batches = || vec![rows(&[1, 2]), rows(&[3])];
    assert_eq!(code_of(&server, command(NotExist::Fail, Exists::Append, &[]), batches()).await, Code::NotFound);
    assert_eq!(append(&server, command(NotExist::Create, Exists::Fail, &[]), batches()).await.unwrap(), 3);
    assert_eq!(code_of(&server, command(NotExist::Create, Exists::Fail, &[]), batches()).await, Code::AlreadyExists);
    assert_eq!(append(&server, command(NotExist::Fail, Exists::Append, &[]), batches()).await.unwrap(), 3);
    assert_eq!(append(&server, command(NotExist::Create, Exists::Append, &[]), batches()).await.unwrap(), 3);
    assert_eq!(count(&server).await, 9);
    // All rows of one append are one commit.
    assert_eq!(server.app.storage.table("public", "t").unwrap().snapshot().upper().0, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn replacing_puts_another_table_in_the_place_of_the_first() {
    let server = Server::start().await;
    let replace = |not_exist| command(not_exist, Exists::Replace, &[]);
    assert_eq!(code_of(&server, replace(NotExist::Fail), vec![rows(&[1])]).await, Code::NotFound);
    assert_eq!(append(&server, replace(NotExist::Create), vec![rows(&[1, 2])]).await.unwrap(), 2);
    let pinned = server.info("SELECT count(*) AS n FROM t").await.unwrap();
    let other: [(&str, ArrayRef); 1] = [("n", Arc::new(Int32Array::from(vec![7, 8, 9])))];
    let other = RecordBatch::try_from_iter(other).unwrap();
    assert_eq!(append(&server, replace(NotExist::Fail), vec![other]).await.unwrap(), 3);
    assert!(server.rows("SELECT max(n) AS m FROM t").await.contains("| 9 |"));
    let (_, before) = server.fetch(&pinned).await.unwrap();
    assert!(super::text(&before).contains("| 2 |"), "a query sees what there was when it was planned");
    // Without rows, from files, and refused: the table is the last that was made.
    assert_eq!(append(&server, replace(NotExist::Create), vec![rows(&[])]).await.unwrap(), 0);
    assert_eq!(count(&server).await, 0);
    assert_eq!(append(&server, replace(NotExist::Create), many()).await.unwrap(), 40_000);
    let nulls: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
    let bad = RecordBatch::try_from_iter_with_nullable([("id", nulls, true)]).unwrap();
    let keyed = command(NotExist::Create, Exists::Replace, &[("primary_key", "id")]);
    assert_eq!(code_of(&server, keyed, vec![bad]).await, Code::InvalidArgument);
    assert_eq!((count(&server).await, server.app.storage.tables().len()), (40_000, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_says_which_commit_has_the_rows() {
    let server = Server::start().await;
    let with_key = |not_exist, exists| command(not_exist, exists, &[("idempotency_key", "k")]);
    let made = append_with_token(&server, with_key(NotExist::Create, Exists::Fail), vec![rows(&[1])]).await;
    let (_, made) = made.expect("made");
    let again = append_with_token(&server, with_key(NotExist::Create, Exists::Fail), vec![rows(&[1])]).await;
    assert_eq!(again.expect("it is the same append"), (1, made.clone()));
    let added = append_with_token(&server, command(NotExist::Fail, Exists::Append, &[]), many()).await;
    let (_, added) = added.expect("added");
    assert_ne!(added, made);
    let replaced = append_with_token(&server, command(NotExist::Fail, Exists::Replace, &[]), vec![rows(&[1])]).await;
    let (_, replaced) = replaced.expect("replaced");
    assert_ne!(replaced, added);
    let empty = append_with_token(&server, command(NotExist::Fail, Exists::Append, &[]), vec![rows(&[])]).await;
    assert_eq!(empty.expect("nothing to store"), (0, None));
    let mut query = tonic::Request::new(super::descriptor("SELECT count(*) AS n FROM t"));
    let token = replaced.expect("a token").parse().expect("ASCII");
    query.metadata_mut().insert("x-tidewater-min-commit", token);
    server.raw().get_flight_info(query).await.expect("it is visible");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_is_named_as_one() {
    let server = Server::start().await;
    server.run(&["CREATE VIEW v AS SELECT 1 AS one"]).await;
    for (not_exist, exists, expected) in [
        (NotExist::Fail, Exists::Append, Code::InvalidArgument),
        (NotExist::Create, Exists::Append, Code::AlreadyExists),
        (NotExist::Create, Exists::Fail, Code::AlreadyExists),
        (NotExist::Create, Exists::Replace, Code::AlreadyExists),
        (NotExist::Fail, Exists::Replace, Code::AlreadyExists),
    ] {
        for batches in [vec![rows(&[1])], many()] {
            let command = CommandStatementIngest { table: "v".into(), ..command(not_exist, exists, &[]) };
            let refused = append(&server, command, batches).await.expect_err("a view takes no rows");
            assert_eq!(refused.code(), expected, "{not_exist:?} {exists:?}: {refused}");
            assert!(refused.message().contains("'public.v' is a view"), "{refused}");
        }
    }
    assert!(server.app.storage.tables().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_that_is_sent_again_replaces_once() {
    let server = Server::start().await;
    let first = || command(NotExist::Create, Exists::Replace, &[("idempotency_key", "k")]);
    assert_eq!(append(&server, first(), vec![rows(&[1, 2])]).await.unwrap(), 2);
    assert_eq!(append(&server, command(NotExist::Fail, Exists::Append, &[]), vec![rows(&[3])]).await.unwrap(), 1);
    assert_eq!(append(&server, first(), vec![rows(&[1, 2])]).await.unwrap(), 2);
    assert_eq!(append(&server, first(), many()).await.unwrap(), 2);
    assert_eq!(count(&server).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_attempt_that_ends_while_the_second_is_on_its_way_stands() {
    let server = Server::start().await;
    let replace = || command(NotExist::Create, Exists::Replace, &[("idempotency_key", "k")]);
    let sent = messages(replace(), many()).await;
    let (reached, seen) = tokio::sync::oneshot::channel();
    let (go_on, may_end) = tokio::sync::oneshot::channel::<()>();
    let end = stream::once(async move {
        let _ = reached.send(());
        let _ = may_end.await;
    });
    let sent = stream::iter(sent).chain(end.filter_map(|()| async { None }));
    let mut client = server.raw();
    let second = tokio::spawn(async move { client.do_put(sent).await?.into_inner().message().await });
    // The server has taken so much of it that its rows are in files.
    seen.await.unwrap();
    assert_eq!(append(&server, replace(), vec![rows(&[1, 2])]).await.unwrap(), 2);
    assert_eq!(append(&server, command(NotExist::Fail, Exists::Append, &[]), vec![rows(&[3])]).await.unwrap(), 1);
    go_on.send(()).unwrap();
    let answer = second.await.unwrap().unwrap().expect("an answer");
    assert_eq!(DoPutUpdateResult::decode(answer.app_metadata).unwrap().record_count, 2);
    assert_eq!(count(&server).await, 3, "what was added meanwhile is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_honoured_and_must_not_change() {
    let server = Server::start().await;
    let create = |options| command(NotExist::Create, Exists::Append, options);
    assert_eq!(append(&server, create(&[("primary_key", "id")]), vec![rows(&[1, 2, 2])]).await.unwrap(), 2);
    assert_eq!(append(&server, create(&[("primary_key", "ID")]), vec![rows(&[2, 3])]).await.unwrap(), 1);
    assert_eq!(append(&server, create(&[]), vec![rows(&[3, 4])]).await.unwrap(), 1);
    assert_eq!(code_of(&server, create(&[("primary_key", "name")]), vec![rows(&[5])]).await, Code::InvalidArgument);
    assert_eq!(count(&server).await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_match_by_name() {
    let server = Server::start().await;
    server.run(&["CREATE TABLE t (id BIGINT NOT NULL, name VARCHAR)"]).await;
    let append_mode = || command(NotExist::Fail, Exists::Append, &[]);
    let columns: [(&str, ArrayRef); 2] =
        [("name", Arc::new(StringViewArray::from(vec!["a"]))), ("id", Arc::new(Int32Array::from(vec![1])))];
    assert_eq!(append(&server, append_mode(), vec![RecordBatch::try_from_iter(columns).unwrap()]).await.unwrap(), 1);
    let only_id: [(&str, ArrayRef); 1] = [("id", Arc::new(Int64Array::from(vec![2])))];
    assert_eq!(append(&server, append_mode(), vec![RecordBatch::try_from_iter(only_id).unwrap()]).await.unwrap(), 1);
    let only_name: [(&str, ArrayRef); 1] = [("name", Arc::new(StringArray::from(vec!["a"])))];
    let status =
        append(&server, append_mode(), vec![RecordBatch::try_from_iter(only_name).unwrap()]).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists);
    assert!(status.message().contains("'id' is missing"), "{status}");
    let extra: [(&str, ArrayRef); 2] =
        [("id", Arc::new(Int64Array::from(vec![3]))), ("more", Arc::new(Int64Array::from(vec![3])))];
    let status = append(&server, append_mode(), vec![RecordBatch::try_from_iter(extra).unwrap()]).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists);
    assert!(status.message().contains("'more' is not in the table"), "{status}");
    assert_eq!(count(&server).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_rows_still_make_the_table() {
    let server = Server::start().await;
    assert_eq!(append(&server, command(NotExist::Create, Exists::Fail, &[]), vec![rows(&[])]).await.unwrap(), 0);
    assert!(server.app.storage.table("public", "t").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_stream_leaves_nothing() {
    let server = Server::start().await;
    let mut sent = messages(command(NotExist::Create, Exists::Append, &[]), vec![rows(&[1]), rows(&[2])]).await;
    let body = sent[2].data_body.clone();
    sent[2].data_body = body.slice(0..8);
    let status = server.raw().do_put(stream::iter(sent)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(server.app.storage.table("public", "t").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_leaves_nothing() {
    let server = Server::start().await;
    let sent = messages(command(NotExist::Create, Exists::Append, &[]), vec![rows(&[1])]).await;
    let (reached, seen) = tokio::sync::oneshot::channel();
    let open = stream::iter(sent).chain(stream::once(async move {
        let _ = reached.send(());
        std::future::pending::<FlightData>().await
    }));
    let mut client = server.raw();
    let put = tokio::spawn(async move { client.do_put(open).await });
    seen.await.unwrap();
    put.abort();
    assert!(put.await.unwrap_err().is_cancelled());
    assert!(server.app.storage.table("public", "t").is_none());
    // The name is free.
    assert_eq!(append(&server, command(NotExist::Create, Exists::Fail, &[]), vec![rows(&[1])]).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_row_refuses_all_and_takes_the_new_table_with_it() {
    let server = Server::start().await;
    let nullable = |ids: Vec<Option<i64>>| {
        let ids: ArrayRef = Arc::new(Int64Array::from(ids));
        RecordBatch::try_from_iter_with_nullable([("id", ids, true)]).unwrap()
    };
    let with_null = || vec![nullable(vec![Some(7)]), nullable(vec![Some(1), None])];
    let keyed = || command(NotExist::Create, Exists::Append, &[("primary_key", "id")]);
    assert_eq!(code_of(&server, keyed(), with_null()).await, Code::InvalidArgument);
    assert!(server.app.storage.table("public", "t").is_none());
    server.run(&["CREATE TABLE t (id BIGINT NOT NULL)"]).await;
    assert_eq!(
        code_of(&server, command(NotExist::Fail, Exists::Append, &[]), with_null()).await,
        Code::InvalidArgument
    );
    assert_eq!(count(&server).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn types_without_a_counterpart_are_refused() {
    let server = Server::start().await;
    let nulls: [(&str, ArrayRef); 1] = [("a", Arc::new(arrow::array::NullArray::new(2)))];
    let status =
        append(&server, command(NotExist::Create, Exists::Fail, &[]), vec![RecordBatch::try_from_iter(nulls).unwrap()])
            .await;
    assert_eq!(status.unwrap_err().code(), Code::InvalidArgument);
    assert!(server.app.storage.table("public", "t").is_none());
}

/// 1,000 rows of a KiB, from key `first` on.
fn wide(first: i64) -> RecordBatch {
    let ids = first..first + 1_000;
    let names: Vec<String> = ids.clone().map(|id| format!("{id:01024}")).collect();
    let columns: [(&str, ArrayRef); 2] =
        [("id", Arc::new(Int64Array::from_iter_values(ids))), ("name", Arc::new(StringArray::from(names)))];
    RecordBatch::try_from_iter(columns).unwrap()
}

/// Some 40 MiB.
fn many() -> Vec<RecordBatch> {
    (0..40).map(|n| wide(n * 1_000)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn more_rows_than_an_entry_holds_are_one_append() {
    let server = Server::start().await;
    let create = |options| command(NotExist::Create, Exists::Append, options);
    let keyed: &[(&str, &str)] = &[("primary_key", "id"), ("idempotency_key", "k")];
    assert_eq!(append(&server, create(keyed), many()).await.unwrap(), 40_000);
    let snapshot = server.app.storage.table("public", "t").unwrap().snapshot();
    assert_eq!((snapshot.n_rows(), snapshot.upper().0, snapshot.parts().len()), (40_000, 1, 0), "one entry, in files");
    drop(snapshot);
    // Known by its key, then by the keys of its rows.
    assert_eq!(append(&server, create(keyed), many()).await.unwrap(), 40_000);
    assert_eq!(append(&server, command(NotExist::Create, Exists::Fail, keyed), many()).await.unwrap(), 40_000);
    assert_eq!(append(&server, create(&[]), many()).await.unwrap(), 0);
    assert_eq!(code_of(&server, command(NotExist::Create, Exists::Fail, &[]), many()).await, Code::AlreadyExists);
    assert_eq!(append(&server, create(&[]), vec![rows(&[1, 50_000])]).await.unwrap(), 1);
    assert_eq!(count(&server).await, 40_001);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_rows_that_end_with_a_bad_one_leave_nothing() {
    let server = Server::start().await;
    let nullable = |batch: &RecordBatch, id: Option<i64>| {
        let mut ids: Vec<Option<i64>> = batch.column(0).as_primitive::<Int64Type>().iter().collect();
        ids[999] = id;
        let ids: ArrayRef = Arc::new(Int64Array::from(ids));
        let names = Arc::clone(batch.column(1));
        RecordBatch::try_from_iter_with_nullable([("id", ids, true), ("name", names, true)]).unwrap()
    };
    let mut batches: Vec<RecordBatch> = many().iter().map(|batch| nullable(batch, Some(-1))).collect();
    batches.push(nullable(&wide(90_000), None));
    let create = command(NotExist::Create, Exists::Append, &[("primary_key", "id")]);
    let status = append(&server, create, batches).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(server.app.storage.table("public", "t").is_none());
    assert_eq!(append(&server, command(NotExist::Create, Exists::Fail, &[]), many()).await.unwrap(), 40_000);
}
