//! Do disk and memory agree on what there is, whoever goes away and whoever comes in between?

use std::sync::Arc;

use super::support::{Fixture, abandon, batch, definition, keys_of, request};
use super::*;
use crate::catalog::TableDef;
use crate::error::Code;
use crate::ids::SHARD_ZERO;
use crate::log::{Op, Store, log_prefix};

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
async fn a_table_and_its_first_rows_are_one() {
    let mut fixture = Fixture::open();
    let (table, _, outcome) =
        fixture.engine().create_table_with(definition("t"), request(batch(&[1, 2, 2]))).await.expect("created");
    assert_eq!((outcome.accepted, outcome.duplicates), (2, 1));
    assert_eq!(keys_of(&table), [1, 2]);
    drop(table);
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), [1, 2]);
    // Rows that are refused leave no table, in memory or on disk; a name that is taken stores no rows.
    let mut refused = request(batch(&[1]));
    refused.expected_schema = Some(77);
    let error = fixture.engine().create_table_with(definition("u"), refused).await.expect_err("refused");
    assert_eq!(error.code(), Code::SchemaVersionMismatch);
    let error =
        fixture.engine().create_table_with(definition("t"), request(batch(&[3]))).await.expect_err("the name is taken");
    assert_eq!(error.code(), Code::TableExists);
    fixture.restart().await;
    assert!(fixture.engine().table("public", "u").is_none());
    assert_eq!(keys_of(&fixture.table("t")), [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_make_one_table_at_once_store_the_rows_of_one() {
    let mut fixture = Fixture::open();
    let engine = fixture.engine();
    let (left, right) = tokio::join!(
        engine.create_table_with(definition("t"), request(batch(&[1]))),
        engine.create_table_with(definition("t"), request(batch(&[2])))
    );
    let expected = if left.is_ok() { 1 } else { 2 };
    assert_eq!([left.is_ok(), right.is_ok()].into_iter().filter(|ok| *ok).count(), 1);
    drop((left, right));
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), [expected]);
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
        let definitions = count(Family::Meta, vec![meta_key::DROPPED]) + count(Family::Meta, vec![meta_key::RECLAIM]);
        count(Family::Log, log_prefix(id, SHARD_ZERO)) + state + definitions
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
