//! Is every message small enough, and the whole result the same rows?

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Int32Array, Int64Array, ListArray, RecordBatch, RecordBatchOptions,
    StringArray, StructArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef};
use arrow_flight::FlightData;
use arrow_flight::decode::FlightRecordBatchStream;
use futures::FutureExt;
use futures::stream::{self, StreamExt, TryStreamExt};
use proptest::prelude::*;
use prost::Message;
use tidewater_storage::{Code, Error};
use tokio::time::Instant;

use crate::flight_sql::encode::{
    self, Encoder, Form, KEEP_ALIVE, MAX_MESSAGE_BYTES, TARGET_BYTES, encoded_bytes, stream_of,
};

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).unwrap()
}

fn text_of(sizes: impl IntoIterator<Item = usize>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(sizes.into_iter().map(|size| "x".repeat(size))))
}

fn encode_all(batches: &[RecordBatch]) -> Vec<FlightData> {
    let mut encoder = Encoder::new(batches[0].schema());
    let mut messages = vec![encoder.schema_message()];
    for batch in batches {
        encoder.push(batch.clone()).unwrap();
        while let Some(message) = encoder.next().unwrap() {
            messages.push(message);
        }
    }
    messages
}

fn decode(schema: &SchemaRef, messages: Vec<FlightData>) -> RecordBatch {
    let rows = FlightRecordBatchStream::new_from_flight_data(stream::iter(messages.into_iter().map(Ok)));
    let batches: Vec<RecordBatch> = rows.try_collect().now_or_never().unwrap().unwrap();
    concat_batches(schema, &batches).unwrap()
}

/// Encodes, checks every message, decodes, compares. Returns the sizes of the messages after the schema.
fn check(input: &RecordBatch) -> Vec<usize> {
    let messages = encode_all(std::slice::from_ref(input));
    let sizes: Vec<usize> = messages.iter().skip(1).map(Message::encoded_len).collect();
    assert!(sizes.iter().all(|&size| size <= MAX_MESSAGE_BYTES), "{sizes:?}");
    assert_eq!(decode(&input.schema(), messages), *input);
    sizes
}

#[test]
fn small_results_are_one_message() {
    assert_eq!(check(&batch(vec![("a", Arc::new(Int64Array::from(vec![1, 2, 3])))])).len(), 1);
}

#[test]
fn even_rows_fill_messages_to_the_target() {
    let rows = Int64Array::from_iter_values(0..2_000_000);
    let sizes = check(&batch(vec![("a", Arc::new(rows))]));
    assert!(sizes.iter().all(|&size| size <= TARGET_BYTES + 4096), "{sizes:?}");
    assert!(sizes.len() <= 10, "{sizes:?}");
}

/// <https://github.com/apache/arrow-adbc/issues/2078>
#[test]
fn skewed_rows() {
    let mut sizes = vec![10; 10_000];
    sizes[5_000] = 3 << 20;
    check(&batch(vec![("a", text_of(sizes))]));
    check(&batch(vec![("a", text_of([3 << 20, 3 << 20, 1, 3 << 20]))]));
}

#[test]
fn slices_are_counted_by_what_they_show() {
    let large =
        batch(vec![("a", text_of(vec![1000; 20_000])), ("b", Arc::new(BooleanArray::from(vec![true; 20_000])))]);
    let slice = large.slice(1_003, 50);
    assert!(encoded_bytes(&slice) < 60_000);
    assert_eq!(check(&slice).len(), 1);
}

#[test]
fn wide_results() {
    let columns: Vec<(String, ArrayRef)> =
        (0..2_000).map(|i| (format!("c{i}"), Arc::new(Int64Array::from(vec![i; 3_000])) as ArrayRef)).collect();
    check(&RecordBatch::try_from_iter(columns).unwrap());
}

#[test]
fn nested_results() {
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>((0..3_000).map(|i| Some(vec![Some(i); 300])));
    let lists: ArrayRef = Arc::new(lists);
    let item = Arc::new(Field::new("item", lists.data_type().clone(), true));
    let structs: ArrayRef = Arc::new(StructArray::from(vec![(item, lists.clone())]));
    let all = batch(vec![("l", lists), ("s", structs)]);
    assert!(check(&all).len() > 2);
    check(&all.slice(7, 2_000));
}

#[test]
fn a_row_that_fits_no_message_is_an_error_with_its_size() {
    let rows = batch(vec![("a", text_of([1, 5 << 20, 1]))]);
    let mut encoder = Encoder::new(rows.schema());
    encoder.push(rows).unwrap();
    let mut sent = 0;
    let error = loop {
        match encoder.next() {
            Ok(Some(_)) => sent += 1,
            Ok(None) => panic!("an error was expected"),
            Err(error) => break error,
        }
    };
    assert_eq!((sent, error.code()), (1, Code::ResultTooLarge));
    assert!(error.to_string().contains("52"), "{error}");
}

#[test]
fn rows_without_columns_keep_their_number() {
    let options = RecordBatchOptions::new().with_row_count(Some(7));
    let rows = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap();
    let messages = encode_all(&[rows]);
    assert_eq!(messages.len(), 2);
}

#[test]
fn other_types_than_announced_are_refused() {
    let mut encoder = Encoder::new(Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)])));
    let rows = batch(vec![("a", Arc::new(Int32Array::from(vec![1])))]);
    assert_eq!(encoder.push(rows).unwrap_err().code(), Code::Internal);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Any mix of row sizes, nulls and slices: every message is below the limit and the rows come out as they went in.
    #[test]
    fn any_sizes(sizes in prop::collection::vec(prop_oneof![8 => 0..2_000_usize, 2 => 0..300_000_usize, 1 => 0..3_900_000_usize], 1..60), skip in 0..10_usize) {
        let numbers: Vec<Option<i64>> = sizes.iter().map(|&size| (size % 3 != 0).then_some(size as i64)).collect();
        let bytes = BinaryArray::from_iter(sizes.iter().map(|&size| (size % 5 != 0).then(|| vec![7_u8; size / 100])));
        let input = batch(vec![("t", text_of(sizes.clone())), ("n", Arc::new(Int64Array::from(numbers))), ("b", Arc::new(bytes))]);
        let skip = skip.min(sizes.len() - 1);
        check(&input.slice(skip, sizes.len() - skip));
    }
}

#[tokio::test]
async fn the_schema_comes_first_also_without_rows() {
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("a", DataType::Utf8, false)]));
    let messages: Vec<FlightData> = stream_of(schema.clone(), vec![]).try_collect().await.unwrap();
    assert_eq!(messages.len(), 1);
    assert_eq!(Schema::try_from(&messages[0]).unwrap(), *schema);
}

fn numbers() -> RecordBatch {
    batch(vec![("a", Arc::new(Int64Array::from(vec![1])))])
}

/// <https://github.com/gizmodata/gizmosql/commit/2eee00247bf7090364023ba26efbf7fa0436e3aa>
#[tokio::test]
async fn an_empty_batch_whenever_nothing_comes_for_a_while() {
    let rows = numbers();
    let schema = rows.schema();
    let (started, starting) = tokio::sync::oneshot::channel();
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let running = stream::unfold(receiver, |mut rows| async { rows.recv().await.map(|batch| (Ok(batch), rows)) });
    let start = Box::pin(async move {
        starting.await.unwrap();
        Ok(running.boxed())
    });
    let mut messages = encode::stream_within(schema.clone(), start, None, Duration::ZERO, "q");
    let mut sent = vec![messages.next().await.unwrap().unwrap()];
    let mut quiet = async |sent: &mut Vec<FlightData>| sent.push(messages.next().await.unwrap().unwrap());
    // The schema was sent; signs of life while the query waits, then while it runs.
    quiet(&mut sent).await;
    started.send(()).unwrap();
    quiet(&mut sent).await;
    quiet(&mut sent).await;
    assert_eq!(decode(&schema, sent.clone()).num_rows(), 0);
    sender.send(rows).await.unwrap();
    drop(sender);
    while let Some(message) = messages.next().await {
        sent.push(message.unwrap());
    }
    assert_eq!(decode(&schema, sent).num_rows(), 1);
    assert_eq!(KEEP_ALIVE, Duration::from_secs(10));
}

#[tokio::test]
async fn the_deadline_ends_the_stream_with_an_error() {
    let rows = numbers();
    let start = Box::pin(async { Ok(stream::pending().boxed()) });
    let mut messages = encode::stream(rows.schema(), start, Some(Instant::now()), "q");
    assert!(messages.next().await.unwrap().is_ok());
    let status = messages.next().await.unwrap().unwrap_err();
    assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
    assert_eq!(status.metadata().get("x-query-id").unwrap(), "q");
    assert!(messages.next().await.is_none());
}

#[tokio::test]
async fn the_deadline_ends_a_stream_whose_rows_are_always_there() {
    let rows = numbers();
    let schema = rows.schema();
    let endless = stream::repeat_with(move || Ok(rows.clone())).boxed();
    let mut messages = encode::stream(schema, Box::pin(async { Ok(endless) }), Some(Instant::now()), "q");
    assert!(messages.next().await.unwrap().is_ok());
    assert_eq!(messages.next().await.unwrap().unwrap_err().code(), tonic::Code::DeadlineExceeded);
    assert!(messages.next().await.is_none());
}

#[test]
fn a_client_may_ask_for_larger_messages() {
    let rows = batch(vec![("a", text_of([5 << 20, 1, 1]))]);
    let next = |form: Form| {
        let mut encoder = Encoder::new(rows.schema()).in_form(form);
        encoder.push(rows.clone()).unwrap();
        encoder.next()
    };
    for too_small in [Form::default(), Form::default().up_to(1), Form::default().up_to(5 << 20)] {
        assert_eq!(next(too_small).unwrap_err().code(), Code::ResultTooLarge);
    }
    let message = next(Form::default().up_to(6 << 20)).unwrap().unwrap();
    assert!(message.encoded_len() > 5 << 20);
}

/// <https://github.com/StarRocks/starrocks/issues/65089>
#[tokio::test]
async fn an_error_after_rows_is_not_a_short_answer() {
    let rows = numbers();
    let schema = rows.schema();
    let failing = stream::iter([Ok(rows), Err(Error::new(Code::QueryMemory, "too much"))]).boxed();
    let start = Box::pin(async { Ok(failing) });
    let messages: Vec<_> = encode::stream(schema, start, None, "q").collect().await;
    assert_eq!(messages.len(), 3);
    assert_eq!(messages[2].as_ref().unwrap_err().code(), tonic::Code::ResourceExhausted);
}

#[tokio::test]
async fn dropping_the_stream_drops_the_query() {
    let alive = Arc::new(());
    let held = alive.clone();
    let rows = numbers();
    let schema = rows.schema();
    let running = stream::iter([Ok(rows)]).chain(stream::pending()).inspect(move |_| drop(held.clone())).boxed();
    let mut messages = encode::stream(schema, Box::pin(async { Ok(running) }), None, "q");
    messages.next().await.unwrap().unwrap();
    messages.next().await.unwrap().unwrap();
    assert_eq!(Arc::strong_count(&alive), 2);
    drop(messages);
    assert_eq!(Arc::strong_count(&alive), 1);
}
