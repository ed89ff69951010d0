//! Are a client's messages read to the end, and refused when they are not what they should be?

use std::sync::Arc;

use arrow::array::{ArrayRef, DictionaryArray, Int64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type};
use arrow_flight::encode::{DictionaryHandling, FlightDataEncoderBuilder};
use arrow_flight::{FlightData, FlightDescriptor};
use futures::stream::{self, Stream, TryStreamExt};
use tonic::{Code, Status};

use crate::flight_sql::incoming::Incoming;

type Messages = Vec<FlightData>;

async fn encoded(batches: Vec<RecordBatch>) -> Messages {
    FlightDataEncoderBuilder::new()
        .with_dictionary_handling(DictionaryHandling::Resend)
        .with_flight_descriptor(Some(FlightDescriptor::new_cmd("x")))
        .build(stream::iter(batches.into_iter().map(Ok)))
        .try_collect()
        .await
        .unwrap()
}

fn sent(messages: Messages) -> impl Stream<Item = Result<FlightData, Status>> + Unpin + Send {
    stream::iter(messages.into_iter().map(Ok))
}

async fn read(messages: Messages) -> Result<Vec<RecordBatch>, Status> {
    let (_, mut incoming) = Incoming::open(sent(messages)).await?;
    let mut batches = Vec::new();
    while let Some(batch) = incoming.next().await? {
        batches.push(batch);
    }
    Ok(batches)
}

fn numbers() -> RecordBatch {
    RecordBatch::try_from_iter([("a", Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef)]).unwrap()
}

#[tokio::test]
async fn batches_arrive_as_sent() {
    let batches = read(encoded(vec![numbers(), numbers().slice(0, 0), numbers().slice(1, 2)]).await).await.unwrap();
    let rows: Vec<usize> = batches.iter().map(RecordBatch::num_rows).collect();
    // The encoder sends nothing for a batch without rows.
    assert_eq!(rows, [3, 2]);
    assert_eq!(batches[1].column(0).as_ref(), &Int64Array::from(vec![2, 3]));
}

#[tokio::test]
async fn dictionaries_are_read() {
    let words: DictionaryArray<Int32Type> = ["a", "b", "a"].into_iter().collect();
    let batch = RecordBatch::try_from_iter([("w", Arc::new(words) as ArrayRef)]).unwrap();
    let batches = read(encoded(vec![batch.clone()]).await).await.unwrap();
    let plain = |batch: &RecordBatch| cast(batch.column(0), &DataType::Utf8).unwrap();
    assert_eq!(plain(&batches[0]).as_ref(), plain(&batch).as_ref());
}

#[tokio::test]
async fn an_empty_stream_is_an_error_at_once() {
    let status = read(vec![]).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("empty DoPut stream: no FlightDescriptor"), "{status}");
}

#[tokio::test]
async fn the_first_message_needs_a_descriptor() {
    let mut messages = encoded(vec![numbers()]).await;
    messages[0].flight_descriptor = None;
    assert_eq!(read(messages).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_descriptor_alone_has_no_rows() {
    let message = FlightData::new().with_descriptor(FlightDescriptor::new_cmd("x"));
    assert_eq!(read(vec![message]).await.unwrap(), vec![]);
}

#[tokio::test]
async fn garbage_and_truncated_messages_are_errors() {
    let whole = encoded(vec![numbers()]).await;
    for message in [0, 1] {
        // The last bytes of a header are padding.
        for parts in [0, 1, 2] {
            let mut messages = whole.clone();
            let header = messages[message].data_header.clone();
            let cut = header.len() - header.len() / 4 * parts;
            messages[message].data_header = header.slice(0..header.len() - cut);
            let status = read(messages).await.unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument, "message {message} cut by {cut}: {status}");
        }
    }
    let mut messages = whole.clone();
    messages[1].data_body = messages[1].data_body.slice(0..8);
    assert_eq!(read(messages).await.unwrap_err().code(), Code::InvalidArgument);
    let rows_without_schema =
        vec![FlightData { flight_descriptor: whole[0].flight_descriptor.clone(), ..whole[1].clone() }];
    assert_eq!(read(rows_without_schema).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn an_error_of_the_transport_is_passed_on() {
    let messages = encoded(vec![numbers()]).await;
    let broken = stream::iter([Ok(messages[0].clone()), Err(Status::cancelled("gone"))]);
    let (_, mut incoming) = Incoming::open(broken).await.unwrap();
    assert_eq!(incoming.next().await.unwrap_err().code(), Code::Cancelled);
}
