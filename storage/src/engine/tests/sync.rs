//! Is the log synced before a change is answered? After kill -9 what was only written is there, too: only RocksDB can tell.

use super::support::{Fixture, batch, definition, producer, request};
use crate::engine::View;
use crate::error::{Code, Error};
use crate::ids::ProducerId;
use crate::{Durability, RowsRequest};

fn n_syncs(fixture: &Fixture) -> u64 {
    fixture.engine().parts.store.n_syncs()
}

/// Runs one change and says whether the log was synced in it.
async fn syncs<T>(fixture: &Fixture, change: impl Future<Output = crate::Result<T>>) -> bool {
    let before = n_syncs(fixture);
    change.await.expect("answered");
    n_syncs(fixture) > before
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_synced_before_its_answer() {
    let fixture = Fixture::open();
    let engine = fixture.engine();
    let view = View { schema_name: "public".to_owned(), name: "v".to_owned(), sql: "SELECT 1".to_owned() };
    let producer = ProducerId::new("p").expect("a name");
    assert!(syncs(&fixture, engine.create_table(definition("t"))).await, "CREATE TABLE");
    let table = fixture.table("t");
    assert!(syncs(&fixture, engine.create_table_with(definition("u"), request(batch(&[1])))).await, "with rows");
    assert!(syncs(&fixture, table.write(request(batch(&[1])))).await, "rows");
    assert!(syncs(&fixture, table.write(request(batch(&[1])))).await, "duplicates");
    assert!(syncs(&fixture, table.init_producer(producer, false, "me")).await, "InitProducer");
    assert!(syncs(&fixture, table.truncate()).await, "TRUNCATE");
    assert!(syncs(&fixture, engine.create_view(view, false)).await, "CREATE VIEW");
    assert!(syncs(&fixture, engine.drop_view("public", "v")).await, "DROP VIEW");
    assert!(syncs(&fixture, engine.drop_table("public", "t")).await, "DROP TABLE");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_level_os_is_synced_only_where_it_is_asked_for() {
    let fixture = Fixture::open();
    let mut new = definition("t");
    new.options.push(("durability".to_owned(), "os".to_owned()));
    fixture.engine().create_table(new).await.expect("created");
    let table = fixture.table("t");
    assert!(!syncs(&fixture, table.write(request(batch(&[1])))).await, "a write at the level of the table");
    let raised = RowsRequest { durability: Some(Durability::Fsync), ..request(batch(&[2])) };
    assert!(syncs(&fixture, table.write(raised)).await, "a write that asks for more");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_an_entry_is_synced_with_what_it_rests_on() {
    let fixture = Fixture::open();
    let mut new = definition("t");
    new.options.push(("durability".to_owned(), "os".to_owned()));
    fixture.engine().create_table(new).await.expect("created");
    let table = fixture.table("t");
    let at_os = |sequence, key: i64| producer("p", sequence, batch(&[key]));
    let raised = |sequence, key| RowsRequest { durability: Some(Durability::Fsync), ..at_os(sequence, key) };
    let gap = async || {
        let refused = table.write(raised(9, 9)).await.expect_err("refused");
        assert_eq!(refused.code(), Code::SequenceGap);
        Ok::<(), Error>(())
    };
    assert!(!syncs(&fixture, table.write(at_os(1, 1))).await, "a write at the level of the table");
    // Nothing is written for it: a sync alone.
    assert!(syncs(&fixture, gap()).await, "a refusal says where the producer stands");
    assert!(!syncs(&fixture, gap()).await, "that is on disk by now");
    assert!(!syncs(&fixture, table.write(at_os(2, 2))).await, "a write at the level of the table");
    assert!(syncs(&fixture, table.write(raised(2, 2))).await, "a repeat says that its original is stored");
}
