//! Do disk and memory agree on what there is, whoever goes away and whoever comes in between?

use std::sync::Arc;

use super::support::{Fixture, abandon, batch, definition, keys_of, request};
use super::*;
use crate::catalog::TableDef;
use crate::error::Code;
use crate::log::{Op, Store};

/// One of two callers made the change; this is the answer of the one that waited.
fn ends_once<T>(second: Result<T>, too_late: Code) {
    if let Err(e) = second {
        assert_eq!(e.code(), too_late);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_leaves_no_table_half_made() {
    let mut fixture = Fixture::open();
    abandon(fixture.engine().create_table(definition("t"))).await;
    ends_once(fixture.engine().create_table(definition("t")).await, Code::TableExists);
    fixture.table("t").write(request(batch(&[1]))).await.expect("stored");
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), [1]);
    abandon(fixture.engine().drop_table("public", "t")).await;
    ends_once(fixture.engine().drop_table("public", "t").await, Code::TableNotFound);
    fixture.restart().await;
    assert!(fixture.engine().table("public", "t").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_leaves_no_view_half_made() {
    let mut fixture = Fixture::open();
    let view = View { schema_name: "public".to_owned(), name: "v".to_owned(), sql: "SELECT 1".to_owned() };
    abandon(fixture.engine().create_view(view.clone(), false)).await;
    ends_once(fixture.engine().create_view(view, false).await, Code::TableExists);
    abandon(fixture.engine().drop_view("public", "v")).await;
    ends_once(fixture.engine().drop_view("public", "v").await, Code::ViewNotFound);
    fixture.restart().await;
    assert!(fixture.engine().view("public", "v").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_needs_a_name() {
    let fixture = Fixture::open();
    let view = |schema: &str, name: &str| View {
        schema_name: schema.to_owned(),
        name: name.to_owned(),
        sql: "SELECT 1".to_owned(),
    };
    for view in [view("public", ""), view("public", "a b"), view("", "v"), view("public", &"v".repeat(256))] {
        let refused = fixture.engine().create_view(view, false).await.expect_err("refused");
        assert_eq!(refused.code(), Code::InvalidName);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_defines_a_name_twice_is_refused() {
    let mut fixture = Fixture::open();
    let def: Arc<TableDef> = fixture.create("t").await.def();
    fixture.close().await;
    let mut second = TableDef::clone(&def);
    second.id = crate::ids::TableId(uuid::Uuid::from_u128(7));
    {
        let store = Store::open(fixture.path()).expect("opens");
        let key = meta_key::of_table(meta_key::TABLE, second.id);
        store.write(&[Op::Put(Family::Meta, key, second.to_disk())], true).expect("written");
    }
    let refused = fixture.reopen().expect_err("refused");
    assert_eq!(refused.code(), Code::LogDamaged);
    assert!(refused.to_string().contains("'public.t' twice"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_goes_again_only_while_it_is_empty() {
    let mut fixture = Fixture::open();
    let empty = fixture.create("empty").await;
    assert!(fixture.engine().drop_table_if_empty(&empty).await.expect("answered"));
    assert_eq!(empty.write(request(batch(&[1]))).await.expect_err("refused").code(), Code::TableClosed);
    let written = fixture.create("written").await;
    written.write(request(batch(&[1]))).await.expect("stored");
    assert!(!fixture.engine().drop_table_if_empty(&written).await.expect("answered"));
    written.write(request(batch(&[2]))).await.expect("the table goes on");
    // Another table has the name by now.
    fixture.create("empty").await.write(request(batch(&[3]))).await.expect("stored");
    assert!(!fixture.engine().drop_table_if_empty(&empty).await.expect("answered"));
    drop((empty, written));
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("written")), [1, 2]);
    assert_eq!(keys_of(&fixture.table("empty")), [3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_others_and_the_end_of_an_empty_table_exclude_each_other() {
    let fixture = Fixture::open();
    for round in 0..50 {
        let table = fixture.create("t").await;
        let writers: Vec<_> = (0..3)
            .map(|key| {
                let table = table.clone();
                tokio::spawn(async move { table.write(request(batch(&[key]))).await })
            })
            .collect();
        for _ in 0..round % 5 {
            tokio::task::yield_now().await;
        }
        let gone = fixture.engine().drop_table_if_empty(&table).await.expect("answered");
        let mut stored = 0;
        for writer in writers {
            stored += u32::from(writer.await.expect("no panic").is_ok());
        }
        assert_eq!(gone, stored == 0, "round {round}: {stored} batches were acknowledged");
        if !gone {
            assert_eq!(stored, 3, "round {round}");
            fixture.engine().drop_table("public", "t").await.expect("dropped");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_table_leaves_the_disk_after_a_week_of_both_clocks() {
    let week = std::time::Duration::from_secs(7 * 86_400);
    let (mut fixture, clock) = Fixture::open_at(1_800_000_000_000_000);
    let table = fixture.create("t").await;
    table.write(request(batch(&[1, 2, 3]))).await.expect("stored");
    let id = table.def().id;
    drop(table);
    fixture.engine().drop_table("public", "t").await.expect("dropped");
    let n_records = |fixture: &Fixture| {
        let store = &fixture.engine().parts.store;
        let count = |family, prefix: Vec<u8>| store.scan(family, &prefix).expect("readable").count();
        let state: usize = crate::log::TABLE_STATE
            .iter()
            .map(|kind| count(Family::State, crate::log::state_prefix(*kind, id, SHARD_ZERO)))
            .sum();
        count(Family::Log, log_prefix(id, SHARD_ZERO)) + state + count(Family::Meta, vec![meta_key::DROPPED])
    };
    let before = n_records(&fixture);
    assert!(before >= 3, "an entry, a ledger row and the definition");
    // Somebody sets the wall clock: nothing is forgotten.
    clock.set_wall(1_800_000_000_000_000 + 8 * 86_400_000_000);
    fixture.engine().purge_dropped().await.expect("done");
    assert_eq!(n_records(&fixture), before);
    clock.advance(week);
    fixture.engine().purge_dropped().await.expect("done");
    assert_eq!(n_records(&fixture), 0);
    fixture.restart().await;
    assert!(fixture.engine().tables().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_folder_adds_up_its_uptime() {
    let (mut fixture, clock) = Fixture::open_at(0);
    clock.advance(std::time::Duration::from_secs(100));
    assert_eq!(fixture.engine().now().uptime_us, 100_000_000);
    fixture.close().await;
    // The clock of the test goes on where a process would begin anew.
    fixture.reopen().expect("opens");
    assert_eq!(fixture.engine().now().uptime_us, 200_000_000);
}
