//! Do the budgets of the realtime share hold, and does everything that was taken come back?

use futures::FutureExt;

use super::*;

const MIB: u64 = 1 << 20;

fn ledger() -> Arc<MemoryLedger> {
    MemoryLedger::new(1 << 30)
}

#[tokio::test]
async fn what_is_decoded_at_once_has_a_bound() {
    let ledger = ledger();
    let budget = ledger.share(Share::Realtime) / DECODING_DIVISOR;
    let half = ledger.decoding(budget / 2).await.expect("a place");
    assert_eq!(ledger.used(Share::Realtime), budget / 2);
    let mut whole = std::pin::pin!(ledger.decoding(budget));
    assert!(whole.as_mut().now_or_never().is_none());
    // Behind one that waits all wait, so that its turn comes.
    assert!(ledger.decoding(1).now_or_never().is_none());
    drop(half);
    drop(whole.await.expect("a place"));
    assert_eq!(ledger.used(Share::Realtime), 0);
}

#[tokio::test]
async fn more_than_may_be_decoded_at_once_is_decoded_alone() {
    let ledger = ledger();
    let large = ledger.decoding(ledger.limit()).await.expect("a place");
    assert_eq!(ledger.used(Share::Realtime), ledger.limit());
    assert!(ledger.decoding(1).now_or_never().is_none());
    drop(large);
    assert!(ledger.decoding(1).now_or_never().is_some());
}

#[tokio::test]
async fn what_storage_counts_keeps_its_place() {
    let ledger = ledger();
    let mut decoding = ledger.decoding(ledger.limit()).await.expect("a place");
    decoding.hand_over();
    assert_eq!(ledger.used(Share::Realtime), 0);
    assert!(ledger.decoding(1).now_or_never().is_none());
}

#[tokio::test]
async fn statements_that_collect_have_half_of_the_share_together() {
    let ledger = ledger();
    let half = ledger.share(Share::Realtime) / COLLECTING_DIVISOR;
    assert!((100 * MIB..120 * MIB).contains(&half), "the figures below are for {half} bytes");
    let (mut one, mut other) = (ledger.collecting(), ledger.collecting());
    one.grow(60 * MIB).await.expect("held");
    other.grow(20 * MIB).await.expect("held");
    assert!(other.grow(60 * MIB).now_or_never().is_none());
    assert_eq!((one.bytes(), other.bytes()), (60 * MIB, 20 * MIB));
    one.shrink(40 * MIB);
    other.grow(60 * MIB).now_or_never().expect("it fits now").expect("held");
    assert_eq!(ledger.used(Share::Realtime), 100 * MIB);
    // What can never fit does not wait.
    let error = one.grow(half).now_or_never().expect("at once").expect_err("too much");
    assert_eq!(error.code(), Code::MemoryPressure);
    drop((one, other));
    assert_eq!(ledger.used(Share::Realtime), 0);
    ledger.collecting().grow(half / PERMIT_BYTES * PERMIT_BYTES).now_or_never().expect("all of it").expect("held");
}

#[tokio::test]
async fn what_is_collected_is_decoded_under_its_own_charge() {
    let ledger = ledger();
    let mut held = ledger.collecting();
    held.grow(MIB).await.expect("held");
    let decoding = held.decoding(MIB).await.expect("a place");
    assert_eq!(ledger.used(Share::Realtime), MIB);
    assert!(ledger.decoding(ledger.limit()).now_or_never().is_none());
    drop(decoding);
    assert_eq!(ledger.used(Share::Realtime), MIB);
}

#[tokio::test]
async fn statements_wait_while_stored_rows_fill_the_share() {
    let ledger = ledger();
    let rows = ledger.charge(Share::Realtime, ledger.share(Share::Realtime));
    let mut held = ledger.collecting();
    assert!(held.grow(MIB).now_or_never().is_none());
    assert_eq!(held.bytes(), 0);
    drop(rows);
    held.grow(MIB).await.expect("held");
    assert_eq!(held.bytes(), MIB);
}

#[tokio::test]
async fn streams_leave_a_quarter_to_others_and_go_on_in_order() {
    let ledger = ledger();
    let share = ledger.share(Share::Realtime);
    let rows = ledger.charge(Share::Realtime, share / 4 * 3);
    let mut first = std::pin::pin!(ledger.decoding_with_space(ledger.limit()));
    let mut second = std::pin::pin!(ledger.decoding_with_space(MIB));
    assert!(first.as_mut().now_or_never().is_none());
    assert!(second.as_mut().now_or_never().is_none());
    assert!(ledger.space_for_rows().now_or_never().is_none());
    assert!(ledger.decoding(ledger.limit()).now_or_never().is_some(), "who waits here keeps no place to decode");
    assert_eq!(ledger.used(Share::Realtime), share / 4 * 3, "who waits is not counted: it would wait for itself");
    drop(rows);
    let first = first.await.expect("a place");
    assert_eq!(ledger.used(Share::Realtime), ledger.limit());
    assert!(second.as_mut().now_or_never().is_none(), "what went on is counted for those behind it");
    drop(first);
    drop(second.await.expect("a place"));
    ledger.space_for_rows().await;
    assert_eq!(ledger.used(Share::Realtime), 0);
}

#[tokio::test]
async fn streams_with_little_that_waited_go_on_one_by_one() {
    let ledger = ledger();
    let most = ledger.share(Share::Realtime) / 100 * STREAMS_PERCENT;
    let few = || Box::pin(ledger.decoding_few_with_space(MIB));
    let early = few().now_or_never().expect("there is memory: nobody waits").expect("counted");
    assert_eq!(ledger.used(Share::Realtime), MIB, "those who come at the same time see it");
    drop(early);
    let mut rows = ledger.charge(Share::Realtime, most);
    let (mut first, mut second, mut third) = (few(), few(), few());
    for waits in [&mut first, &mut second, &mut third] {
        assert!(waits.as_mut().now_or_never().is_none());
    }
    // Two find something left, and the third finds these two.
    rows.resize(most - MIB - MIB / 2);
    let done = (first.await.expect("counted"), second.await.expect("counted"));
    assert!(third.as_mut().now_or_never().is_none());
    rows.resize(0);
    assert!(few().now_or_never().is_none(), "one waits before it");
    drop((third.await.expect("counted"), done));
    assert!(few().now_or_never().is_some());
    assert_eq!(ledger.used(Share::Realtime), 0);
}

#[tokio::test]
async fn streams_leave_memory_to_readers_that_keep_more_than_theirs() {
    let ledger = ledger();
    let kept = ledger.charge(Share::Queries, ledger.share(Share::Queries));
    ledger.space_for_rows().await;
    let more = ledger.charge(Share::Queries, ledger.share(Share::Realtime) / 4 * 3);
    assert!(ledger.space_for_rows().now_or_never().is_none(), "the rest of the limit is for all");
    drop(more);
    ledger.space_for_rows().await;
    drop(kept);
}

#[tokio::test]
async fn streams_are_read_in_turn_while_rows_have_no_memory() {
    let ledger = ledger();
    let bound = ledger.share(Share::Unassigned) / TURNS_DIVISOR;
    assert!(ledger.turn_to_read(bound).await.expect("read").is_none(), "there is memory: nobody waits for a turn");
    let rows = ledger.charge(Share::Realtime, ledger.share(Share::Realtime));
    let first = ledger.turn_to_read(bound - MIB).await.expect("read").expect("a turn");
    let mut second = std::pin::pin!(ledger.turn_to_read(2 * MIB));
    assert!(second.as_mut().now_or_never().is_none(), "as much as may wait is in hand");
    assert!(ledger.turn_to_read(1024).await.expect("read").is_none(), "small ones need no turn");
    drop(first);
    assert!(second.await.expect("read").is_some());
    // A message of any size is read, alone.
    assert!(ledger.turn_to_read(ledger.limit()).await.expect("read").is_some());
    drop(rows);
}

#[tokio::test]
async fn what_is_collected_changes_hands() {
    let ledger = ledger();
    let half = ledger.share(Share::Realtime) / COLLECTING_DIVISOR;
    let mut reader = ledger.collecting();
    reader.grow(3 * MIB).await.expect("held");
    let mut writer = ledger.collecting();
    writer.merge(reader.split(2 * MIB));
    assert_eq!((reader.bytes(), writer.bytes(), ledger.used(Share::Realtime)), (MIB, 2 * MIB, 3 * MIB));
    // More than there is gives all there is.
    writer.merge(reader.split(2 * MIB));
    assert_eq!((reader.bytes(), writer.bytes(), ledger.used(Share::Realtime)), (0, 3 * MIB, 3 * MIB));
    assert!(writer.try_grow(MIB));
    assert!(!reader.try_grow(half - 3 * MIB), "there is no place without waiting");
    assert_eq!((reader.bytes(), writer.bytes()), (0, 4 * MIB));
    writer.shrink(4 * MIB);
    assert!(reader.try_grow(half / PERMIT_BYTES * PERMIT_BYTES), "every place came back");
    drop((reader, writer));
    assert_eq!(ledger.used(Share::Realtime), 0);
}

#[tokio::test]
async fn messages_on_their_way_have_a_bound_of_one_caller_and_in_all() {
    let ledger = ledger();
    let [anna, bert]: [Arc<str>; 2] = ["anna".into(), "bert".into()];
    for (kind, total) in [(MessageKind::Rows, 256 * MIB), (MessageKind::Statement, 32 * MIB)] {
        let arriving = |caller: &Arc<str>, bytes| ledger.arriving(kind, Some(caller), bytes);
        let of_anna = arriving(&anna, total / 4 * 3).expect("her part").expect("a place");
        let error = arriving(&anna, MIB).expect_err("more than that");
        assert_eq!(error.code(), Code::MemoryPressure);
        assert!(error.retry_delay().is_some() && error.message().contains("'anna'"), "{error}");
        let of_bert = arriving(&bert, total / 4).expect("what is left").expect("a place");
        let error = arriving(&bert, MIB).expect_err("more than all");
        assert!(!error.message().contains("bert"), "{error}");
        assert_eq!(ledger.used(Share::Unassigned), total);
        // Small ones need no place.
        assert!(arriving(&bert, 1024).expect("small").is_none());
        drop(of_anna);
        assert!(arriving(&bert, MIB).expect("there is space").is_some());
        drop(of_bert);
        assert_eq!(ledger.used(Share::Unassigned), 0);
        // A caller is forgotten with the last message.
        assert!(ledger.rows_arriving.is_empty() && ledger.statements_arriving.is_empty());
    }
}

#[tokio::test]
async fn streams_are_read_in_turn_while_many_messages_are_on_their_way() {
    let ledger = ledger();
    let anna: Arc<str> = "anna".into();
    let half = ledger.arriving(MessageKind::Rows, Some(&anna), 128 * MIB).expect("held");
    assert!(ledger.turn_to_read(MIB).await.expect("read").is_none());
    let more = ledger.arriving(MessageKind::Rows, Some(&anna), MIB).expect("held");
    assert!(ledger.turn_to_read(MIB).await.expect("read").is_some());
    assert!(ledger.turn_to_read(1024).await.expect("read").is_none(), "small ones need no turn");
    drop((half, more));
    assert!(ledger.turn_to_read(MIB).await.expect("read").is_none());
}

#[tokio::test]
async fn who_waits_for_a_place_gets_it_when_one_is_free() {
    let ledger = ledger();
    let all = ledger.arriving(MessageKind::Rows, None, 256 * MIB).expect("all of it").expect("a place");
    let patience = Duration::from_secs(60);
    let mut waits = Box::pin(Arc::clone(&ledger).arriving_within(MessageKind::Rows, None, MIB, patience));
    assert!(waits.as_mut().now_or_never().is_none());
    drop(all);
    assert!(waits.await.expect("a place").is_some());
    let all = ledger.arriving(MessageKind::Rows, None, 256 * MIB).expect("all of it");
    let refused = Arc::clone(&ledger).arriving_within(MessageKind::Rows, None, MIB, Duration::ZERO).await;
    assert_eq!(refused.expect_err("none is free").code(), Code::MemoryPressure);
    drop(all);
}

#[tokio::test]
async fn places_are_given_in_the_order_of_asking() {
    let ledger = ledger();
    let [anna, bert]: [Arc<str>; 2] = ["anna".into(), "bert".into()];
    let patience = Duration::from_secs(60);
    let waits = |caller: &Arc<str>, bytes| {
        Box::pin(Arc::clone(&ledger).arriving_within(MessageKind::Rows, Some(Arc::clone(caller)), bytes, patience))
    };
    let of_anna = ledger.arriving(MessageKind::Rows, Some(&anna), 192 * MIB).expect("her part");
    let mut more_of_anna = waits(&anna, MIB);
    assert!(more_of_anna.as_mut().now_or_never().is_none());
    // She waits for herself, and stands in the way of nobody else.
    let of_bert = ledger.arriving(MessageKind::Rows, Some(&bert), 32 * MIB).expect("what is left");
    let mut large = waits(&bert, 64 * MIB);
    assert!(large.as_mut().now_or_never().is_none());
    let overtakes = ledger.arriving(MessageKind::Rows, None, MIB).expect_err("one waits");
    assert_eq!(overtakes.code(), Code::MemoryPressure);
    drop(of_bert);
    drop(large.await.expect("a place"));
    drop(of_anna);
    drop(more_of_anna.await.expect("a place"));
    // One that is given up leaves nothing.
    let all = ledger.arriving(MessageKind::Rows, None, 256 * MIB).expect("all of it");
    let mut given_up = waits(&anna, MIB);
    assert!(given_up.as_mut().now_or_never().is_none());
    drop((given_up, all));
    assert_eq!(ledger.used(Share::Unassigned), 0);
    assert!(ledger.rows_arriving.is_empty());
}

/// The largest messages of either kind, as the server takes them.
#[tokio::test]
async fn the_smallest_ledger_has_space_for_the_largest_message() {
    let (ledger, anna) = (MemoryLedger::new(MIN_LIMIT_BYTES), "anna".into());
    for (kind, bytes) in [(MessageKind::Rows, 64 * MIB), (MessageKind::Statement, 4 * MIB)] {
        assert!(ledger.arriving(kind, Some(&anna), bytes).expect("space").is_some());
    }
}
