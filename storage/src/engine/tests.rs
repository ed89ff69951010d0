//! Does the engine keep its promises over restarts, damage and every order of requests?

mod access;
mod attach;
mod catalog;
mod damage;
mod dry_run;
mod forget;
mod held;
mod keys;
mod model;
mod pin;
mod place;
mod queue;
mod records;
mod replace;
mod replay;
mod scrub;
mod seal;
mod space;
mod support;
mod sync;
mod upkeep;
mod verify;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;

use self::support::{Fixture, batch, keys_of, producer, request};
use super::*;
use crate::error::Code;
use crate::ids::ProducerId;
use crate::table::{IdempotencyKey, ProducerBatch, RowsRequest, SequenceMode};

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_kept_over_a_restart() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    let first = fixture.table("t").write(request(batch(&[1, 2, 2, 3]))).await.expect("stored");
    assert_eq!((first.received, first.accepted, first.duplicates), (4, 3, 1));
    let second = fixture.table("t").write(request(batch(&[3, 4]))).await.expect("stored");
    assert_eq!((second.accepted, second.duplicates), (1, 1));
    assert_eq!(keys_of(&fixture.table("t")), [1, 2, 3, 4]);
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), [1, 2, 3, 4]);
    assert_eq!(fixture.table("t").snapshot().upper().0, 2);
    let third = fixture.table("t").write(request(batch(&[4, 5]))).await.expect("stored");
    assert_eq!((third.accepted, third.duplicates, third.token.seq.0), (1, 1, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn large_batches_become_sorted_runs() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    let n = 300_000;
    for chunk in (0..n).collect::<Vec<i64>>().chunks(50_000) {
        fixture.table("t").write(request(batch(chunk))).await.expect("stored");
    }
    let expected: Vec<i64> = (0..n).collect();
    assert_eq!(keys_of(&fixture.table("t")), expected);
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), expected);
    assert!(fixture.table("t").snapshot().parts().iter().any(|p| p.sorted), "a restart sorts what fills a run");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_changes_nothing_and_answers_alike() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    let first = fixture.table("t").write(producer("p", 1, batch(&[1, 2]))).await.expect("stored");
    let again = fixture.table("t").write(producer("p", 1, batch(&[1, 2]))).await.expect("answered");
    assert!(again.repeated && !first.repeated);
    assert_eq!((again.received, again.accepted), (2, 2));
    let reused = fixture.table("t").write(producer("p", 1, batch(&[7]))).await.expect_err("refused");
    assert_eq!(reused.code(), Code::SequenceReused);
    let gap = fixture.table("t").write(producer("p", 3, batch(&[7]))).await.expect_err("refused");
    assert_eq!((gap.code(), gap.metadata()), (Code::SequenceGap, &[("last_sequence", "1".to_owned())][..]));
    fixture.restart().await;
    assert!(fixture.table("t").write(producer("p", 1, batch(&[1, 2]))).await.expect("answered").repeated);
    let id = ProducerId::new("p").expect("valid");
    assert_eq!(fixture.table("t").producer(&id).await.expect("answered").map(|p| p.last_sequence), Some(1));
    assert_eq!(keys_of(&fixture.table("t")), [1, 2]);
    let sums = ledger_sums(&fixture.table("t"));
    assert_eq!(sums, [6, 2, 0, 4, 0], "received, accepted, duplicate, repeated, rejected");
}

fn ledger_sums(table: &Table) -> [u64; 5] {
    let mut sums = [0; 5];
    for row in table.ledger().expect("readable") {
        for (sum, n) in sums.iter_mut().zip([row.received, row.accepted, row.duplicate, row.repeated, row.rejected]) {
            *sum += n;
        }
    }
    sums
}

#[tokio::test(flavor = "multi_thread")]
async fn init_producer_fences_older_clients() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    let id = ProducerId::new("p").expect("valid");
    let info = fixture.table("t").init_producer(id.clone(), false, "me").await.expect("answered");
    assert_eq!((info.epoch, info.last_sequence, info.known), (1, 0, false));
    let with_epoch = |epoch, sequence, keys: &[i64]| RowsRequest {
        producer: Some(ProducerBatch {
            id: id.clone(),
            epoch,
            sequence,
            mode: SequenceMode::Contiguous,
            last_acked: None,
        }),
        ..request(batch(keys))
    };
    fixture.table("t").write(with_epoch(1, 1, &[1])).await.expect("stored");
    fixture.restart().await;
    let info = fixture.table("t").init_producer(id.clone(), false, "me").await.expect("answered");
    assert_eq!((info.epoch, info.last_sequence, info.known), (2, 1, true));
    let fenced = fixture.table("t").write(with_epoch(1, 2, &[2])).await.expect_err("refused");
    assert_eq!(fenced.code(), Code::ProducerFenced);
    fixture.table("t").write(with_epoch(2, 2, &[2])).await.expect("stored");
    assert_eq!(keys_of(&fixture.table("t")), [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_answers_once() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    let keyed =
        |keys: &[i64]| RowsRequest { idempotency_key: Some(IdempotencyKey("k".to_owned())), ..request(batch(keys)) };
    assert_eq!(fixture.table("t").write(keyed(&[1, 2])).await.expect("stored").accepted, 2);
    fixture.restart().await;
    let again = fixture.table("t").write(keyed(&[1, 2])).await.expect("answered");
    assert!(again.repeated && again.accepted == 2);
    let neither = RowsRequest { producer: producer("p", 1, batch(&[1])).producer, ..keyed(&[1]) };
    assert_eq!(fixture.table("t").write(neither).await.expect_err("refused").code(), Code::InvalidIdempotencyKey);
}

#[tokio::test(flavor = "multi_thread")]
async fn truncate_forgets_rows_and_keys_but_not_producers() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    fixture.table("t").write(producer("p", 1, batch(&[1, 2]))).await.expect("stored");
    assert_eq!(fixture.table("t").truncate().await.expect("done").0, 2);
    assert_eq!(keys_of(&fixture.table("t")), [0; 0]);
    for restarted in [false, true] {
        if restarted {
            fixture.restart().await;
        }
        assert!(fixture.table("t").write(producer("p", 1, batch(&[1, 2]))).await.expect("answered").repeated);
    }
    assert_eq!(fixture.table("t").write(request(batch(&[1]))).await.expect("stored").accepted, 1);
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_and_created_tables_never_meet() {
    let mut fixture = Fixture::open();
    let first = fixture.create("t").await;
    first.write(request(batch(&[1]))).await.expect("stored");
    let exists = fixture.engine().create_table(support::definition("t")).await.expect_err("refused");
    assert_eq!(exists.code(), Code::TableExists);
    fixture.engine().drop_table("public", "t").await.expect("dropped");
    assert_eq!(first.write(request(batch(&[9]))).await.expect_err("refused").code(), Code::TableClosed);
    let second = fixture.create("t").await;
    assert_eq!(keys_of(&second), [0; 0]);
    assert_eq!(second.write(request(batch(&[1]))).await.expect("stored").accepted, 1);
    assert_ne!(first.def().id, second.def().id);
    drop((first, second));
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn views_are_kept() {
    let mut fixture = Fixture::open();
    let view = View { schema_name: "public".to_owned(), name: "v".to_owned(), sql: "SELECT 1".to_owned() };
    fixture.engine().create_view(view.clone(), false).await.expect("created");
    assert_eq!(fixture.engine().create_view(view.clone(), false).await.expect_err("refused").code(), Code::TableExists);
    fixture.engine().create_view(View { sql: "SELECT 2".to_owned(), ..view }, true).await.expect("replaced");
    fixture.restart().await;
    assert_eq!(fixture.engine().view("public", "v").map(|v| v.sql), Some("SELECT 2".to_owned()));
    fixture.engine().drop_view("public", "v").await.expect("dropped");
    assert_eq!(fixture.engine().drop_view("public", "v").await.expect_err("refused").code(), Code::ViewNotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_do_not_change() {
    let fixture = Fixture::open();
    fixture.create("t").await;
    fixture.table("t").write(request(batch(&[1, 2]))).await.expect("stored");
    let before = fixture.table("t").snapshot();
    fixture.table("t").write(request(batch(&[3]))).await.expect("stored");
    fixture.table("t").truncate().await.expect("done");
    assert_eq!(before.n_rows(), 2);
    let seqs: Vec<i64> = before.parts()[0].seqs.iter().flatten().collect();
    assert_eq!(seqs, [1, 1]);
    assert_eq!(before.parts()[0].rows.column(0).as_primitive::<Int64Type>().values(), &[1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_another_table_is_refused() {
    let fixture = Fixture::open();
    let (a, b) = (fixture.create("a").await, fixture.create("b").await);
    let token = a.write(request(batch(&[1]))).await.expect("stored").token;
    a.wait_visible(&token).await.expect("visible");
    assert_eq!(b.wait_visible(&token).await.expect_err("refused").code(), Code::InvalidCommitToken);
    let decoded = crate::ids::CommitToken::decode(&token.encode()).expect("own bytes");
    assert_eq!(decoded, token);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_on_many_tables() {
    let mut fixture = Fixture::open();
    let mut tasks = Vec::new();
    for t in 0..4 {
        let table = fixture.create(&format!("t{t}")).await;
        for writer in 0..4_i64 {
            let table = table.clone();
            tasks.push(tokio::spawn(async move {
                for sequence in 1..=20 {
                    // Half of each batch is also sent by the next writer.
                    let from = writer * 100 + (sequence as i64 - 1) * 1_000;
                    let keys: Vec<i64> = (from..from + 150).collect();
                    let name = format!("w{writer}");
                    table.write(producer(&name, sequence, batch(&keys))).await.expect("stored");
                }
            }));
        }
    }
    for task in tasks {
        task.await.expect("no panic");
    }
    for restarted in [false, true] {
        if restarted {
            fixture.restart().await;
        }
        for t in 0..4 {
            let expected: Vec<i64> = (0..20).flat_map(|s| s * 1_000..s * 1_000 + 450).collect();
            assert_eq!(keys_of(&fixture.table(&format!("t{t}"))), expected);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_level_os_is_kept_over_a_restart() {
    let mut fixture = Fixture::open();
    let mut new = support::definition("t");
    new.options.push(("durability".to_owned(), "os".to_owned()));
    fixture.engine().create_table(new).await.expect("created");
    let at_os = fixture.table("t").write(request(batch(&[1]))).await.expect("stored");
    assert_eq!(at_os.durability, crate::Durability::Os);
    let raised = RowsRequest { durability: Some(crate::Durability::Fsync), ..request(batch(&[2])) };
    assert_eq!(fixture.table("t").write(raised).await.expect("stored").durability, crate::Durability::Fsync);
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_rows_and_keeps_queries() {
    let fixture = Fixture::open_with(|options| options.min_free_bytes = u64::MAX);
    fixture.create("t").await;
    let full = fixture.table("t").write(request(batch(&[1]))).await.expect_err("refused");
    assert_eq!(full.code(), Code::DiskFull);
    assert!(fixture.engine().ingest_blocked().is_some());
    assert_eq!(keys_of(&fixture.table("t")), [0; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_far_behind_the_log_stops_ingest() {
    let (mut fixture, clock) = Fixture::open_at(1_800_000_000_000_000);
    fixture.create("t").await;
    fixture.table("t").write(request(batch(&[1]))).await.expect("stored");
    clock.set_wall(1_800_000_000_000_000 - 60_000_000);
    let stamps = fixture.table("t").write(request(batch(&[2]))).await.expect("a small step back is ridden out");
    assert_eq!(stamps.token.seq.0, 2);
    fixture.create("empty").await;
    assert!(fixture.engine().ingest_blocked().is_none());
    clock.set_wall(0);
    // A clock that is wrong for one table is wrong for all: also for those that have no entry, are made now, or are found by a start.
    fixture.create("new").await;
    for restarted in [false, true] {
        if restarted {
            fixture.restart().await;
        }
        for name in ["t", "empty", "new"] {
            let refused = fixture.table(name).write(request(batch(&[3]))).await.expect_err("refused");
            assert_eq!(refused.code(), Code::ClockBehind, "{name}");
        }
        assert_eq!(fixture.engine().ingest_blocked().map(|e| e.code()), Some(Code::ClockBehind));
    }
    // Whatever is dropped, the clock has not become right.
    for name in ["t", "empty"] {
        fixture.engine().drop_table("public", name).await.expect("dropped");
    }
    assert_eq!(fixture.table("new").write(request(batch(&[3]))).await.expect_err("refused").code(), Code::ClockBehind);
    clock.set_wall(1_800_000_000_000_000);
    fixture.table("new").write(request(batch(&[3]))).await.expect("stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_durable_says_that_the_clock_is_behind() {
    let now_us = 1_800_000_000_000_000;
    let (mut fixture, clock) = Fixture::open_at(now_us);
    fixture.create("t").await;
    clock.set_wall(2 * now_us);
    let refused = RowsRequest { expected_schema: Some(77), ..request(batch(&[1])) };
    fixture.engine().create_table_with(support::definition("u"), refused).await.expect_err("refused");
    clock.set_wall(now_us);
    assert!(fixture.engine().ingest_blocked().is_none(), "nothing of that clock was kept");
    // A table that was kept holds ingest up until it is gone, as the hint says.
    clock.set_wall(2 * now_us);
    fixture.create("u").await;
    clock.set_wall(now_us);
    let behind = fixture.engine().ingest_blocked().expect("the clock went back");
    assert_eq!(behind.code(), Code::ClockBehind);
    assert!(behind.hint_text().is_some_and(|hint| hint.contains("DROP it and start the server again")), "{behind}");
    fixture.engine().drop_table("public", "u").await.expect("dropped");
    fixture.restart().await;
    assert!(fixture.engine().ingest_blocked().is_none());
    fixture.table("t").write(request(batch(&[1]))).await.expect("stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_worker_is_opened_from_the_log() {
    let fixture = Fixture::open();
    fixture.create("t").await;
    fixture.table("t").write(request(batch(&[1]))).await.expect("stored");
    fixture.engine().env().fail.arm("table.before_publish/rows", crate::env::FailAction::Error(1));
    // The write reached the log; its answer did not reach us.
    assert_eq!(fixture.table("t").write(request(batch(&[2]))).await.expect_err("closed").code(), Code::TableClosed);
    let mut visible = fixture.table("t").shared.visible.subscribe();
    visible.wait_for(|seq| seq.0 == 2).await.expect("opened again");
    assert_eq!(keys_of(&fixture.table("t")), [1, 2]);
}
