//! Is there always one table of a name while another takes its place: the one before or the one after, with all its rows?

use super::support::{Fixture, batch, definition, keys_of, request};
use super::*;
use crate::catalog::TableChange;
use crate::env::FailAction;
use crate::sealing::StageOptions;

/// Another table under the name of the first: it has one column less.
fn narrow(name: &str) -> crate::catalog::NewTable {
    let mut new = definition(name);
    new.columns.retain(|column| column.name != "name");
    new
}

fn n_columns(fixture: &Fixture) -> usize {
    fixture.table("t").def().columns.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_one_before_is_dropped_and_comes_back_when_the_name_is_free() {
    let mut fixture = Fixture::open();
    let before = fixture.create("t").await;
    before.write(request(batch(&[1, 2]))).await.expect("stored");
    let pinned = before.snapshot();
    let (after, _, outcome) =
        fixture.engine().replace_table(definition("t"), Some(request(batch(&[3])))).await.expect("replaced");
    assert_eq!(outcome.map(|outcome| outcome.accepted), Some(1));
    assert_eq!((keys_of(&after), pinned.n_rows()), (vec![3], 2), "who reads the one before goes on");
    assert_eq!(before.write(request(batch(&[4]))).await.expect_err("closed").code(), Code::TableClosed);
    drop((before, pinned, after));
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), [3]);
    assert_eq!(fixture.engine().undrop_table("public", "t").await.expect_err("taken").code(), Code::TableExists);
    let rename = TableChange::Rename { name: "u".to_owned() };
    fixture.engine().alter_table("public", "t", rename).await.expect("renamed");
    fixture.engine().undrop_table("public", "t").await.expect("there again");
    assert_eq!((keys_of(&fixture.table("t")), keys_of(&fixture.table("u"))), (vec![1, 2], vec![3]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_made() {
    let mut fixture = Fixture::open();
    fixture.engine().replace_table(definition("t"), Some(request(batch(&[1])))).await.expect("made");
    // Without rows, and with another shape.
    fixture.engine().replace_table(narrow("t"), None).await.expect("replaced");
    assert_eq!((n_columns(&fixture), fixture.engine().tables().len()), (2, 1));
    fixture.restart().await;
    assert_eq!((n_columns(&fixture), fixture.engine().tables().len()), (2, 1));
    let view = View { schema_name: "public".to_owned(), name: "v".to_owned(), sql: "SELECT 1".to_owned() };
    fixture.engine().create_view(view, false).await.expect("made");
    let refused = fixture.engine().replace_table(definition("v"), None).await.expect_err("a view");
    assert_eq!(refused.code(), Code::TableExists);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_refused_leave_the_one_before_as_it_was() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    fixture.table("t").write(request(batch(&[1]))).await.expect("stored");
    let mut refused = request(batch(&[2]));
    refused.expected_schema = Some(77);
    fixture.engine().replace_table(definition("t"), Some(refused)).await.expect_err("refused");
    fixture.table("t").write(request(batch(&[3]))).await.expect("it is open");
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), [1, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_takes_the_place_at_its_end() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    fixture.table("t").write(request(batch(&[1]))).await.expect("stored");
    let options = || StageOptions { principal: "me".to_owned(), ..StageOptions::default() };
    let given_up = fixture.engine().stage_replacement(definition("t"), options()).await.expect("begun");
    let mut stream = fixture.engine().stage_replacement(definition("t"), options()).await.expect("begun");
    stream.push(batch(&[5, 6]).into()).await.expect("taken");
    drop(given_up);
    // Until then the one before is what it was.
    fixture.table("t").write(request(batch(&[2]))).await.expect("stored");
    assert_eq!(keys_of(&fixture.table("t")), [1, 2]);
    let (_, _, outcome) = stream.commit().await.expect("replaced");
    assert_eq!((outcome.accepted, keys_of(&fixture.table("t"))), (2, vec![5, 6]));
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), [5, 6]);
    assert_eq!(fixture.engine().tables().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_fails_leaves_one_of_both() {
    for (point, expected) in [("table.before_submit/rows", 1), ("table.before_publish/rows", 2)] {
        let mut fixture = Fixture::open();
        fixture.create("t").await;
        fixture.table("t").write(request(batch(&[1]))).await.expect("stored");
        let id = fixture.table("t").def().id;
        fixture.engine().env().fail.arm(point, FailAction::Error(1));
        fixture.engine().replace_table(definition("t"), Some(request(batch(&[2])))).await.expect_err("it failed");
        assert_eq!(fixture.table("t").def().id == id, expected == 1, "{point}");
        fixture.restart().await;
        assert_eq!(keys_of(&fixture.table("t")), [expected], "{point}");
        assert_eq!(fixture.engine().tables().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_replaced_leaves_nothing_in_memory() {
    let fixture = Fixture::open();
    fixture.create("t").await;
    for _ in 0..10 {
        let before = Arc::downgrade(&fixture.table("t").shared);
        fixture.engine().replace_table(definition("t"), None).await.expect("replaced");
        let gone = async {
            while before.strong_count() > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), gone).await.expect("its worker ends");
    }
    assert_eq!(fixture.engine().dropped.lock().len(), 1, "the last one alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_find_one_table_or_the_other() {
    let fixture = Fixture::open();
    fixture.engine().replace_table(definition("t"), Some(request(batch(&[0, 1, 2])))).await.expect("made");
    let engine = Arc::clone(fixture.engine());
    let done = Arc::new(AtomicBool::new(false));
    let reading = {
        let done = Arc::clone(&done);
        tokio::task::spawn_blocking(move || {
            while !done.load(Ordering::Acquire) {
                let table = engine.table("public", "t").expect("there is always one");
                let keys = keys_of(&table);
                assert_eq!(keys, [keys[0], keys[0] + 1, keys[0] + 2], "all rows of one of them");
            }
        })
    };
    for n in 1..20 {
        let rows = request(batch(&[3 * n, 3 * n + 1, 3 * n + 2]));
        fixture.engine().replace_table(definition("t"), Some(rows)).await.expect("replaced");
    }
    done.store(true, Ordering::Release);
    reading.await.expect("each look-up found a whole table");
}
