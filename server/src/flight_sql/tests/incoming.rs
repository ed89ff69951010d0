//! Are a client's messages read to the end, and refused when they are not what they should be?

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arrow::array::{ArrayRef, DictionaryArray, Int64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type};
use arrow::ipc::CompressionType;
use arrow_flight::encode::{DictionaryHandling, FlightDataEncoderBuilder};
use arrow_flight::{FlightData, FlightDescriptor};
use futures::FutureExt;
use futures::stream::{self, BoxStream, FuturesUnordered, Stream, StreamExt, TryStreamExt};
use tidewater_query::Principal;
use tidewater_storage::TokenLimits;
use tidewater_storage::env::{ManualClock, SystemRng};
use tidewater_storage::memory::{MemoryLedger, Share};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use crate::auth::{Caller, Limits, Proof};
use crate::flight_sql::incoming::Incoming;
use crate::flight_sql::prepared::PreparedStatements;
use crate::grpc::MessagePlace;
use crate::ingest::ipc::tests::fixtures::options;

type Messages = Vec<FlightData>;

async fn encoded(batches: Vec<RecordBatch>) -> Messages {
    encoded_with(None, batches).await
}

/// One message a batch, however large.
async fn encoded_with(codec: Option<CompressionType>, batches: Vec<RecordBatch>) -> Messages {
    FlightDataEncoderBuilder::new()
        .with_options(options(codec))
        .with_max_flight_data_size(1 << 30)
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

/// The smallest that there is.
fn memory() -> Arc<MemoryLedger> {
    MemoryLedger::new(0)
}

/// A client that sends these messages and says nothing more.
async fn silent_behind(
    messages: Messages,
    memory: &Arc<MemoryLedger>,
    draining: &CancellationToken,
) -> Incoming<BoxStream<'static, Result<FlightData, Status>>> {
    Incoming::open((sent(messages).chain(stream::pending()).boxed(), MessagePlace::default()), memory, draining)
        .await
        .unwrap()
        .1
}

async fn read(messages: Messages) -> Result<Vec<RecordBatch>, Status> {
    let (_, mut incoming) =
        Incoming::open((sent(messages), MessagePlace::default()), &memory(), &CancellationToken::new()).await?;
    let mut batches = Vec::new();
    while let Some(batch) = incoming.next().await? {
        batches.push(batch);
    }
    Ok(batches)
}

fn numbers() -> RecordBatch {
    RecordBatch::try_from_iter([("a", Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef)]).unwrap()
}

/// <https://github.com/apache/arrow-rs/issues/4658>
#[tokio::test]
async fn batches_arrive_as_sent() {
    let batches = read(encoded(vec![numbers(), numbers().slice(0, 0), numbers().slice(1, 2)]).await).await.unwrap();
    let rows: Vec<usize> = batches.iter().map(RecordBatch::num_rows).collect();
    // The encoder sends nothing for a batch without rows.
    assert_eq!(rows, [3, 2]);
    assert_eq!(batches[1].column(0).as_ref(), &Int64Array::from(vec![2, 3]));
}

/// <https://github.com/apache/arrow-rs/issues/4895>
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
    let (_, mut incoming) =
        Incoming::open((broken, MessagePlace::default()), &memory(), &CancellationToken::new()).await.unwrap();
    assert_eq!(incoming.next().await.unwrap_err().code(), Code::Cancelled);
}

#[tokio::test]
async fn a_client_that_says_nothing_is_ended_and_holds_nothing() {
    let memory = memory();
    let incoming = silent_behind(encoded(vec![numbers()]).await, &memory, &CancellationToken::new()).await;
    let mut incoming = incoming.with_max_silence(Duration::from_millis(20));
    assert_eq!(incoming.next().await.unwrap().unwrap().num_rows(), 3);
    assert!(memory.used(Share::Realtime) > 0);
    let status = incoming.next().await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    drop(incoming);
    assert_eq!(memory.used(Share::Realtime), 0);
}

#[tokio::test]
async fn a_client_that_sends_no_rows_is_silent() {
    let empty = FlightData::new();
    let messages = encoded(vec![numbers()]).await;
    // Each in time, none with rows; the descriptor and the schema came before.
    let drip = stream::unfold((), move |()| {
        let empty = empty.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Some((Ok(empty), ()))
        }
    });
    let slow = sent(messages[..1].to_vec()).chain(drip).boxed();
    let (_, incoming) =
        Incoming::open((slow, MessagePlace::default()), &memory(), &CancellationToken::new()).await.unwrap();
    let mut incoming = incoming.with_max_silence(Duration::from_millis(50));
    assert_eq!(incoming.next().await.unwrap_err().code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_silent_stream_ends_when_the_process_does() {
    let (memory, draining) = (memory(), CancellationToken::new());
    let incoming = silent_behind(encoded(vec![numbers()]).await, &memory, &draining).await;
    let mut incoming = incoming.with_max_silence_draining(Duration::from_millis(20));
    assert!(incoming.next().await.unwrap().is_some());
    draining.cancel();
    assert_eq!(incoming.next().await.unwrap_err().code(), Code::Unavailable);
    drop(incoming);
    assert_eq!(memory.used(Share::Realtime), 0);
}

#[tokio::test]
async fn what_is_on_its_way_is_read_while_the_process_shuts_down() {
    let draining = CancellationToken::new();
    // The second is so large that another thread decodes it.
    let messages = encoded(vec![numbers(), zeros(1 << 20), numbers()]).await;
    let (_, mut incoming) =
        Incoming::open((sent(messages), MessagePlace::default()), &memory(), &draining).await.unwrap();
    draining.cancel();
    let mut n_rows = 0;
    while let Some(batch) = incoming.next().await.unwrap() {
        n_rows += batch.num_rows();
    }
    assert_eq!(n_rows, 3 + (1 << 17) + 3);
}

#[tokio::test]
async fn streams_are_read_in_turn_while_there_is_no_memory() {
    const N_STREAMS: usize = 60;
    let memory = memory();
    let n_read = Arc::new(AtomicUsize::new(0));
    let messages = encoded(vec![zeros(1 << 20), zeros(1 << 20)]).await;
    let mut streams = Vec::new();
    for _ in 0..N_STREAMS {
        let n_read = Arc::clone(&n_read);
        let counted = sent(messages.clone()).inspect(move |_| {
            n_read.fetch_add(1, Ordering::Relaxed);
        });
        let (_, mut incoming) =
            Incoming::open((counted, MessagePlace::default()), &memory, &CancellationToken::new()).await.unwrap();
        // The rows go on to nobody.
        assert_eq!(incoming.next_held().await.unwrap().unwrap().0.num_rows(), 1 << 17);
        streams.push(incoming);
    }
    let rows = memory.charge(Share::Realtime, memory.share(Share::Realtime));
    let n_before = n_read.swap(0, Ordering::Relaxed);
    assert_eq!(n_before, 2 * N_STREAMS, "schema and rows");
    let mut next: Vec<_> = streams.iter_mut().map(|incoming| Box::pin(incoming.next_held())).collect();
    for next in &mut next {
        assert!(next.as_mut().now_or_never().is_none(), "it waits, and is not refused");
    }
    let n_in_hand = n_read.load(Ordering::Relaxed);
    let bound = memory.share(Share::Unassigned) as usize >> 20;
    assert!((1..bound).contains(&n_in_hand), "{n_in_hand} messages of 1 MiB are in hand");
    drop(rows);
    // Each lets its rows go, for those behind it.
    let mut all: FuturesUnordered<_> = next.into_iter().collect();
    while let Some(next) = all.next().await {
        assert_eq!(next.unwrap().unwrap().0.num_rows(), 1 << 17);
    }
}

/// What bounds them is the place that each had before it was read.
#[tokio::test]
async fn large_first_messages_wait_and_none_is_refused() {
    const N_STREAMS: usize = 20;
    let memory = memory();
    let rows = memory.charge(Share::Realtime, memory.share(Share::Realtime));
    let messages = encoded(vec![zeros(8 << 20)]).await;
    let mut streams = Vec::new();
    for _ in 0..N_STREAMS {
        streams.push(silent_behind(messages.clone(), &memory, &CancellationToken::new()).await);
    }
    let mut next: Vec<_> = streams.iter_mut().map(|incoming| Box::pin(incoming.next_held())).collect();
    for next in &mut next {
        assert!(next.as_mut().now_or_never().is_none(), "it waits");
    }
    drop(rows);
    let mut all: FuturesUnordered<_> = next.into_iter().collect();
    while let Some(next) = all.next().await {
        assert_eq!(next.unwrap().unwrap().0.num_rows(), 1 << 20);
    }
}

#[tokio::test]
async fn a_silent_client_gives_its_turn_back() {
    let memory = memory();
    let messages = encoded(vec![zeros(1 << 20)]).await;
    let silent = silent_behind(messages, &memory, &CancellationToken::new()).await;
    let mut silent = silent.with_max_turn_silence(Duration::from_millis(20));
    assert!(silent.next_held().await.unwrap().is_some());
    let rows = memory.charge(Share::Realtime, memory.share(Share::Realtime));
    let all = memory.limit();
    let mut more = pin!(silent.next_held());
    assert!(more.as_mut().now_or_never().is_none());
    let mut turn = pin!(memory.turn_to_read(all));
    assert!(turn.as_mut().now_or_never().is_none(), "the silent client has a turn");
    tokio::select! {
        _ = &mut more => unreachable!("it says nothing"),
        turn = &mut turn => assert!(turn.unwrap().is_some()),
    }
    drop(rows);
}

/// Nobody else waits for the limit of a client.
#[tokio::test]
async fn a_stream_that_is_slowed_down_has_no_turn() {
    let memory = memory();
    let slow = TokenLimits { bytes_per_s: Some(1 << 10), ..TokenLimits::default() };
    let limits = Limits::new(slow, Arc::new(ManualClock::at(0)));
    let anna = Caller { principal: Principal::admin("anna"), proof: Proof::Nothing };
    let messages = encoded(vec![zeros(1 << 20), zeros(1 << 20)]).await;
    let stream = silent_behind(messages, &memory, &CancellationToken::new()).await;
    let mut stream = stream.limited_by(limits.of(&anna));
    let first = tokio::time::timeout(Duration::from_secs(30), stream.next_held()).await.expect("in time");
    assert!(first.unwrap().is_some());
    let rows = memory.charge(Share::Realtime, memory.share(Share::Realtime));
    let mut second = pin!(stream.next_held());
    assert!(second.as_mut().now_or_never().is_none(), "it waits for its limit");
    let turn = memory.turn_to_read(memory.limit()).now_or_never().expect("at once");
    assert!(turn.unwrap().is_some());
    drop(rows);
}

#[tokio::test]
async fn a_stream_that_is_slowed_down_ends_when_the_process_does() {
    let draining = CancellationToken::new();
    let slow = TokenLimits { bytes_per_s: Some(1 << 10), ..TokenLimits::default() };
    let limits = Limits::new(slow, Arc::new(ManualClock::at(0)));
    let anna = Caller { principal: Principal::admin("anna"), proof: Proof::Nothing };
    let messages = encoded(vec![zeros(1 << 20), zeros(1 << 20)]).await;
    let mut stream = silent_behind(messages, &memory(), &draining).await.limited_by(limits.of(&anna));
    assert!(stream.next().await.unwrap().is_some());
    let mut second = pin!(stream.next());
    assert!(second.as_mut().now_or_never().is_none(), "it waits for its limit");
    draining.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(60), second).await.expect("long before its time comes");
    assert_eq!(ended.unwrap_err().code(), Code::Unavailable);
}

/// Its rows are held until then, and its client may have no time for more.
#[tokio::test]
async fn the_end_of_a_stream_waits_for_no_limit() {
    let slow = TokenLimits { bytes_per_s: Some(1 << 10), ..TokenLimits::default() };
    let limits = Limits::new(slow, Arc::new(ManualClock::at(0)));
    let limiter = limits.of(&Caller { principal: Principal::admin("anna"), proof: Proof::Nothing });
    let messages = encoded(vec![zeros(1 << 20)]).await;
    let sent = (sent(messages), MessagePlace::default());
    let (_, stream) = Incoming::open(sent, &memory(), &CancellationToken::new()).await.unwrap();
    let mut stream = stream.limited_by(Arc::clone(&limiter));
    assert!(stream.next().await.unwrap().is_some());
    let end = stream.next().now_or_never().expect("nothing more comes");
    assert!(end.unwrap().is_none());
    assert!(limiter.batch().is_err(), "what it sent counts for its caller");
}

#[tokio::test]
async fn parameters_wait_for_no_memory_for_rows() {
    let (memory, draining) = (memory(), CancellationToken::new());
    let rows = memory.charge(Share::Realtime, memory.share(Share::Realtime));
    let prepared = PreparedStatements::new(Arc::new(ManualClock::at(0)), Arc::new(SystemRng), memory.clone());
    let mut append = silent_behind(encoded(vec![numbers()]).await, &memory, &draining).await;
    assert!(append.next().now_or_never().is_none());
    let bind = silent_behind(encoded(vec![numbers()]).await, &memory, &draining).await;
    let mut bind = bind.of_parameters(prepared.arriving());
    let bound = bind.next().now_or_never().expect("at once");
    assert_eq!(bound.unwrap().unwrap().num_rows(), 3);
    assert!(memory.used(Share::Unassigned) > 0);
    // They have a limit of their own.
    let many = encoded_with(Some(CompressionType::ZSTD), vec![zeros(40 << 20), zeros(40 << 20)]).await;
    let many = silent_behind(many, &memory, &draining).await;
    let mut many = many.of_parameters(prepared.arriving());
    assert!(many.next().await.unwrap().is_some());
    let status = many.next().await.unwrap_err();
    assert!(status.message().contains("parameters take more"), "{status}");
    drop((bind, many, append, rows));
    assert_eq!((memory.used(Share::Unassigned), memory.used(Share::Realtime)), (0, 0));
}

fn zeros(n_bytes: usize) -> RecordBatch {
    let zeros: ArrayRef = Arc::new(Int64Array::from(vec![0; n_bytes / 8]));
    RecordBatch::try_from_iter([("a", zeros)]).unwrap()
}

#[tokio::test]
async fn small_messages_that_are_large_wait_for_memory_before_they_are_decoded() {
    let (memory, draining) = (memory(), CancellationToken::new());
    let half = memory.share(Share::Realtime) / 2;
    let bomb = encoded_with(Some(CompressionType::ZSTD), vec![zeros(16 << 20)]).await;
    assert!(bomb[1].data_body.len() < 16 << 10);
    let mut first = silent_behind(bomb.clone(), &memory, &draining).await;
    let mut second = silent_behind(bomb.clone(), &memory, &draining).await;
    let mut third = silent_behind(bomb.clone(), &memory, &draining).await;
    for stream in [&mut first, &mut second] {
        assert_eq!(stream.next().await.unwrap().unwrap().num_rows(), 2 << 20);
    }
    let held = memory.used(Share::Realtime);
    assert!((32 << 20..=half).contains(&held), "{held} of {half} bytes");
    {
        let mut next = pin!(third.next());
        assert!(tokio::time::timeout(Duration::from_millis(100), next.as_mut()).await.is_err());
        assert_eq!(memory.used(Share::Realtime), held, "nothing is decoded that nobody counts");
        drop(first);
        assert!(next.await.unwrap().is_some());
    }
    // What can never be held is refused, not waited for.
    let larger = encoded_with(Some(CompressionType::ZSTD), vec![zeros(40 << 20)]).await;
    let status = silent_behind(larger, &memory, &draining).await.next().await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    let largest = encoded_with(Some(CompressionType::ZSTD), vec![zeros(72 << 20)]).await;
    let status = silent_behind(largest, &memory, &draining).await.next().await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    drop((second, third));
    assert_eq!(memory.used(Share::Realtime), 0);
}
