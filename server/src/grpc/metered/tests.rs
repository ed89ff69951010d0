//! Has each large message a place while it comes, whatever frames it comes in, and is the place free afterwards?

use axum::http::HeaderMap;
use bytes::BytesMut;
use futures::{FutureExt, Stream, StreamExt, stream};
use http_body_util::{BodyExt, StreamBody};
use prost::Message;
use prost_types::FileDescriptorSet;
use tidewater_storage::memory::Share;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::*;

const MIB: usize = 1 << 20;

const SHORT: Duration = Duration::from_millis(20);

type Sent = Result<Frame<Bytes>, Status>;

fn ledger() -> Arc<MemoryLedger> {
    MemoryLedger::new(1 << 30)
}

/// A body of anna, who may send statements of up to 4 MiB.
fn metered(memory: &Arc<MemoryLedger>, is_stream: bool, sent: impl Stream<Item = Sent> + Send + 'static) -> Metered {
    let sender = Sender {
        memory: Arc::clone(memory),
        caller: Some("anna".into()),
        kind: MessageKind::Statement,
        max_bytes: 4 * MIB,
        is_stream,
        place: MessagePlace::default(),
        waiting: Arc::new(Semaphore::new(1)),
    };
    Metered::new(Body::new(StreamBody::new(sent)), sender)
}

/// The same of rows, and where the handler finds their places.
fn metered_rows(
    memory: &Arc<MemoryLedger>,
    is_stream: bool,
    sent: impl Stream<Item = Sent> + Send + 'static,
) -> (Metered, MessagePlace) {
    let mut body = metered(memory, is_stream, sent);
    (body.sender.kind, body.sender.max_bytes) = (MessageKind::Rows, 64 * MIB);
    let place = body.sender.place.clone();
    (body, place)
}

fn message(flag: u8, payload: &[u8]) -> Vec<u8> {
    [&prefix(flag, payload.len())[..], payload].concat()
}

fn prefix(flag: u8, length: usize) -> [u8; PREFIX_BYTES] {
    let [a, b, c, d] = u32::try_from(length).expect("32 bits").to_be_bytes();
    [flag, a, b, c, d]
}

fn data(bytes: impl Into<Vec<u8>>) -> Sent {
    Ok(Frame::data(Bytes::from(bytes.into())))
}

/// A body whose data comes when the test says so.
fn by_hand(memory: &Arc<MemoryLedger>, is_stream: bool) -> (mpsc::Sender<Sent>, Metered) {
    let (send, sent) = mpsc::channel(16);
    (send, metered(memory, is_stream, ReceiverStream::new(sent)))
}

/// All that is passed on now, up to the end or to what has not come yet.
fn read(body: &mut Metered) -> Vec<Sent> {
    std::iter::from_fn(|| body.frame().now_or_never().flatten()).collect()
}

fn held(memory: &MemoryLedger) -> usize {
    memory.used(Share::Unassigned) as usize
}

#[tokio::test]
async fn messages_are_passed_on_as_they_are_and_none_begins_before_its_time() {
    let messages = [
        message(0, b"abc"),
        message(0, b""),
        message(1, b"compressed"),
        message(0, &[7; 70_000]),
        message(0, b""),
        message(0, &[8; 66_000]),
    ];
    let all = messages.concat();
    let mut ends: Vec<usize> = Vec::new();
    for message in &messages {
        ends.push(ends.last().unwrap_or(&0) + message.len());
    }
    // In frames of so many bytes: prefixes are cut, or many messages are in one.
    for n_bytes in [1, 3, 5, 7, 16_384, all.len()] {
        let frames: Vec<Sent> = all.chunks(n_bytes).map(data).collect();
        let memory = ledger();
        let mut body = metered(&memory, true, stream::iter(frames));
        let mut passed = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let part = frame.expect("no error").into_data().expect("data");
            let begin = passed.len();
            passed.extend_from_slice(&part);
            let over = ends.iter().filter(|end| begin < **end && **end < passed.len()).count();
            assert_eq!(over, 0, "a part of {n_bytes} bytes goes on behind the end of a message");
            // A large message has its place until the one behind it is asked for, and nothing else has one.
            let is_large = |message: &Vec<u8>| message.len() - PREFIX_BYTES >= 64 << 10;
            if let Some((whole, _)) = messages.iter().zip(&ends).find(|(_, end)| **end == passed.len()) {
                assert_eq!(held(&memory), if is_large(whole) { whole.len() - PREFIX_BYTES } else { 0 }, "{n_bytes}");
                continue;
            }
            let next = messages.iter().zip(&ends).find(|(_, end)| **end > passed.len());
            let (of_next, begun) = next
                .map_or((0, 0), |(message, end)| (message.len() - PREFIX_BYTES, passed.len() + message.len() - end));
            let is_held = of_next >= 64 << 10 && begun >= PREFIX_BYTES;
            assert_eq!(held(&memory), if is_held { of_next } else { 0 }, "{n_bytes}, {} passed on", passed.len());
        }
        assert_eq!(passed, all, "{n_bytes}");
        assert_eq!(held(&memory), 0);
        assert!(body.is_end_stream());
    }
}

#[tokio::test]
async fn a_unary_call_holds_its_message_until_it_has_ended() {
    let memory = ledger();
    let ends: [Option<Sent>; 3] =
        [None, Some(Ok(Frame::trailers(HeaderMap::new()))), Some(Err(Status::aborted("gone")))];
    for last in ends {
        let (send, mut body) = by_hand(&memory, false);
        send.send(data(message(0, &vec![7; MIB]))).await.expect("read");
        assert_eq!(read(&mut body).len(), 1);
        assert_eq!(held(&memory), MIB, "the handler does not have it yet");
        if let Some(last) = last {
            let is_well = last.is_ok();
            send.send(last).await.expect("read");
            assert!(body.frame().now_or_never().flatten().is_some_and(|last| last.is_ok() == is_well));
        } else {
            drop(send);
        }
        assert!(body.frame().await.is_none());
        assert_eq!(held(&memory), 0);
    }
}

#[tokio::test]
async fn what_is_dropped_or_ends_inside_a_message_gives_its_place_back() {
    let memory = ledger();
    let (send, mut body) = by_hand(&memory, true);
    send.send(data(prefix(0, MIB))).await.expect("read");
    read(&mut body);
    assert_eq!(held(&memory), MIB);
    drop(body);
    assert_eq!(held(&memory), 0);

    let (send, mut body) = by_hand(&memory, true);
    send.send(data(prefix(0, MIB))).await.expect("read");
    send.send(data(*b"abc")).await.expect("read");
    drop(send);
    assert!(read(&mut body).into_iter().all(|part| part.is_ok()), "tonic says what is wrong");
    assert!(body.frame().await.is_none());
    assert_eq!(held(&memory), 0);
}

#[tokio::test]
async fn what_has_no_place_is_refused_by_its_prefix() {
    let memory = ledger();
    let mut under_way = Vec::new();
    // A caller has 24 of 32 MiB.
    for _ in 0..6 {
        let (send, mut body) = by_hand(&memory, false);
        send.send(data(prefix(0, 4 * MIB))).await.expect("read");
        assert!(read(&mut body).iter().all(|part| part.is_ok()));
        under_way.push((send, body));
    }
    let (send, mut body) = by_hand(&memory, false);
    send.send(data(message(0, b"small"))).await.expect("read");
    send.send(data(prefix(0, 4 * MIB))).await.expect("read");
    assert!(body.frame().await.is_some_and(|small| small.is_ok()), "small ones need no place");
    let refused = body.frame().await.expect("an answer").expect_err("refused");
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted, "{refused}");
    assert!(body.frame().await.is_none() && body.is_end_stream());
    assert_eq!(held(&memory), 24 * MIB);
    drop(under_way);
    assert_eq!(held(&memory), 0);
}

/// tonic does, by the prefix.
#[tokio::test]
async fn what_is_too_large_is_for_others_to_refuse() {
    let memory = ledger();
    let (send, mut body) = by_hand(&memory, false);
    let sent = [&prefix(0, 4 * MIB + 1)[..], b"abc"].concat();
    send.send(data(sent.clone())).await.expect("read");
    let passed = body.frame().await.expect("passed on").expect("no error").into_data().expect("data");
    assert_eq!((passed.to_vec(), held(&memory)), (sent, 0));
}

#[tokio::test]
async fn who_says_nothing_inside_a_large_message_is_not_waited_for() {
    let memory = ledger();
    let (send, body) = by_hand(&memory, true);
    let mut body = body.with_patience(SHORT);
    // Between messages it may.
    send.send(data(message(0, &vec![7; MIB]))).await.expect("read");
    assert!(body.frame().await.is_some_and(|part| part.is_ok()));
    assert!(tokio::time::timeout(3 * SHORT, body.frame()).await.is_err());
    send.send(data(prefix(0, MIB))).await.expect("read");
    assert!(body.frame().await.is_some_and(|part| part.is_ok()));
    let ended = body.frame().await.expect("an answer").expect_err("ended");
    assert_eq!((ended.code(), held(&memory)), (tonic::Code::DeadlineExceeded, 0), "{ended}");
}

#[tokio::test]
async fn a_stream_waits_for_a_place_for_a_while() {
    let memory = ledger();
    let anna: Arc<str> = "anna".into();
    let others = memory.arriving(MessageKind::Statement, Some(&anna), 24 * MIB as u64).expect("all that she may hold");
    let sent = [message(0, b"small"), message(0, &[7; MIB])].concat();
    let (send, mut body) = by_hand(&memory, true);
    send.send(data(sent.clone())).await.expect("read");
    assert_eq!(read(&mut body).len(), 1, "the small one, and the large one waits");
    assert!(!body.is_end_stream());
    drop(others);
    let passed: Vec<u8> =
        read(&mut body).into_iter().flat_map(|part| part.expect("passed on").into_data().expect("data")).collect();
    assert_eq!(passed, sent[PREFIX_BYTES + 5..]);
    assert_eq!(held(&memory), 0);

    // A prefix in two frames is as good.
    let others = memory.arriving(MessageKind::Statement, Some(&anna), 24 * MIB as u64).expect("all that she may hold");
    send.send(data(&sent[10..12])).await.expect("read");
    send.send(data(&sent[12..])).await.expect("read");
    assert_eq!(read(&mut body).len(), 1, "a part of a prefix, which is passed on");
    drop(others);
    assert!(read(&mut body).into_iter().all(|part| part.is_ok()));
    assert_eq!(held(&memory), 0);
}

#[tokio::test]
async fn a_place_goes_on_with_its_message_and_is_free_when_the_handler_is_done() {
    let memory = MemoryLedger::new(0);
    let rows = || data(message(0, &vec![7; 32 * MIB]));
    let (send, sent) = mpsc::channel(16);
    let (mut body, place) = metered_rows(&memory, true, ReceiverStream::new(sent));
    let mut in_hand = Vec::new();
    for _ in 0..3 {
        // Of 128 MiB she may hold 96.
        send.send(rows()).await.expect("read");
        assert!(body.frame().await.is_some_and(|part| part.is_ok()));
        in_hand.push(place.take());
    }
    assert_eq!(held(&memory), 96 * MIB);
    send.send(rows()).await.expect("read");
    assert!(body.frame().now_or_never().is_none(), "the fourth waits");
    assert!(place.waits());
    in_hand.pop();
    assert!(body.frame().await.is_some_and(|part| part.is_ok()));
    assert!(!place.waits() && place.has_waited());
    // Nobody took it, so it goes when the next message is asked for.
    assert_eq!(held(&memory), 96 * MIB);
    assert!(body.frame().now_or_never().is_none());
    assert_eq!(held(&memory), 64 * MIB);
    drop((in_hand, body));
    assert_eq!(held(&memory), 0);

    // The handler of a call has it when all is read.
    let (mut body, place) = metered_rows(&memory, false, stream::iter([data(message(0, &vec![7; MIB]))]));
    while let Some(part) = body.frame().await {
        assert!(part.is_ok());
    }
    drop(body);
    assert_eq!(held(&memory), MIB);
    drop(place.take());
    assert_eq!(held(&memory), 0);
}

#[tokio::test]
async fn of_what_is_held_back_only_the_end_is_told() {
    let memory = ledger();
    let (send, sent) = mpsc::channel(16);
    let (mut body, place) = metered_rows(&memory, true, ReceiverStream::new(sent));
    let large = message(0, &vec![7; MIB]);
    place.hold_back(true);
    for part in [&large[..0], &large[..3], &large[3..]] {
        send.send(data(part)).await.expect("read");
    }
    assert!(body.frame().now_or_never().is_none() && !body.is_end_stream());
    assert_eq!(held(&memory), 0, "it has not begun");
    place.hold_back(false);
    let passed: Vec<u8> =
        read(&mut body).into_iter().flat_map(|part| part.expect("passed on").into_data().expect("data")).collect();
    assert!(passed == large, "all of it, once");
    place.hold_back(true);
    assert!(body.frame().now_or_never().is_none());
    drop(send);
    assert!(body.frame().await.is_none() && body.is_end_stream());
    assert_eq!(held(&memory), 0);
}

/// Each keeps a part of the window that the one before them needs.
#[tokio::test]
async fn only_so_many_bodies_of_a_connection_wait() {
    let memory = ledger();
    let all = memory.arriving(MessageKind::Rows, None, 256 * MIB as u64).expect("all of it");
    let first = || stream::iter([data(prefix(0, MIB))]).chain(stream::pending());
    let (mut waits, _) = metered_rows(&memory, false, first());
    let (mut refused, _) = metered_rows(&memory, true, first());
    refused.sender.waiting = Arc::clone(&waits.sender.waiting);
    assert!(waits.frame().now_or_never().is_none(), "one may");
    let error = refused.frame().await.expect("an answer").expect_err("refused");
    assert_eq!(error.code(), tonic::Code::ResourceExhausted, "{error}");
    drop(all);
    assert!(waits.frame().await.is_some_and(|part| part.is_ok()));
    assert_eq!(waits.sender.waiting.available_permits(), 1);
}

#[tokio::test]
async fn no_stream_waits_for_a_place_for_ever() {
    let memory = ledger();
    let anna: Arc<str> = "anna".into();
    let _others = memory.arriving(MessageKind::Statement, Some(&anna), 24 * MIB as u64).expect("all that she may hold");
    let (send, body) = by_hand(&memory, true);
    let mut body = body.with_patience(SHORT);
    send.send(data(prefix(0, MIB))).await.expect("read");
    let refused = body.frame().await.expect("an answer").expect_err("refused");
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted, "{refused}");
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn who_trickles_is_not_waited_for() {
    let memory = ledger();
    let (send, body) = by_hand(&memory, true);
    let mut body = body.with_patience(SHORT);
    send.send(data(prefix(0, MIB))).await.expect("read");
    assert!(body.frame().await.is_some_and(|part| part.is_ok()));
    let ended = loop {
        // A byte whenever it has waited for a while.
        match tokio::time::timeout(SHORT / 4, body.frame()).await {
            Ok(Some(Ok(_))) => {}
            Ok(last) => break last.expect("an answer"),
            Err(_) => send.send(data(vec![7])).await.expect("read"),
        }
    };
    assert_eq!(ended.expect_err("ended").code(), tonic::Code::DeadlineExceeded);
    assert_eq!(held(&memory), 0);
}

#[test]
fn methods_with_many_messages_are_known() {
    let set = FileDescriptorSet::decode(tidewater_proto::FILE_DESCRIPTOR_SET).expect("descriptors");
    let mut there = Vec::new();
    for file in &set.file {
        for service in &file.service {
            let methods = service.method.iter().filter(|method| method.client_streaming());
            there.extend(methods.map(|method| format!("/{}.{}/{}", file.package(), service.name(), method.name())));
        }
    }
    let known: Vec<_> = STREAMS.iter().filter(|path| path.starts_with("/tidewater.")).collect();
    assert_eq!(there.iter().collect::<Vec<_>>(), known, "Handshake of Flight has a limit of its own");
}
