//! A process that ends anywhere between picking files and noting that they were replaced.

use super::*;
use crate::engine::tests::support::{Fixture, delete_keys, keys_of};
use crate::env::FailAction;

const POINTS: [&str; 8] = [
    "compact.names_recorded",
    "compact.file_written",
    "compact.files_synced",
    "compact.file_brought",
    "compact.decided",
    "publish.before_send",
    "publish.after_send",
    "publish.settled",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_row_is_there_once_whatever_a_compaction_came_to() {
    for point in POINTS {
        let mut fixture = Fixture::open();
        fixture.create("t").await;
        let table = fixture.table("t");
        seal_pieces(&table, 5, 10).await;
        delete_keys(&table, &[7]).await.expect("deleted");
        table.seal().await.expect("sealed");
        let expected: Vec<i64> = all(50).into_iter().filter(|key| *key != 7).collect();
        let inputs = names(&table);
        fixture.engine().env().fail.arm(point, FailAction::Error(1));
        drop(table.compact().await);
        assert_eq!(keys_of(&table), expected, "{point}");
        drop(table);
        fixture.restart().await;
        let table = fixture.table("t");
        assert_eq!(keys_of(&table), expected, "{point}");
        fixture.engine().clean_files().await;
        assert_eq!(keys_of(&table), expected, "{point}");
        // What was sent is settled, what was not is done again.
        table.seal().await.expect("sealed");
        table.compact().await.expect("compacted");
        assert_eq!(keys_of(&table), expected, "{point}");
        assert_eq!(names(&table).len(), 1, "{point}");
        assert_eq!(delta_names(&table).await, names(&table), "{point}");
        assert_eq!(delete_keys(&table, &[8]).await.expect("deleted"), 1, "{point}: nothing leaves any more");
        table.seal().await.expect("sealed");
        fixture.engine().clean_files().await;
        // The files that were merged stay for readers of older versions; nothing else does.
        let mut expected_files = inputs;
        expected_files.extend(names(&table));
        expected_files.sort_unstable();
        assert_eq!(files_in(&delta_folder(&table), ".parquet"), expected_files, "{point}");
        assert_eq!(files_in(&table.shared.folders.built(), ".parquet"), Vec::<String>::new(), "{point}");
        let sidecars: Vec<String> = expected_files.iter().map(|name| name.replace(".parquet", ".filters")).collect();
        assert_eq!(files_in(&path_of(&table, "_filters"), ".filters"), sidecars, "{point}");
        assert_eq!(files_in(&table.shared.folders.built(), ".filters"), Vec::<String>::new(), "{point}");
        drop(table);
        fixture.restart().await;
        assert_eq!(keys_of(&fixture.table("t")).len(), 48, "{point}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_was_decided_is_settled_by_the_next_publish() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    seal_pieces(&fixture.table("t"), 4, 10).await;
    fixture.engine().env().fail.arm("compact.decided", FailAction::Error(1));
    assert!(fixture.table("t").compact().await.is_err());
    fixture.restart().await;
    let table = fixture.table("t");
    // Nobody has to write first: an engine sees that something is to be published.
    until_noted(&table).await;
    assert!(table.shared.sealing.lock().is_unpublished);
    assert_eq!(table.seal().await.expect("settled").delta_version, Some(4));
    assert!(!table.shared.sealing.lock().is_unpublished);
    assert_eq!((names(&table).len(), keys_of(&table)), (1, all(40)));
}

/// The worker has told what there is to do.
async fn until_noted(table: &Table) {
    crate::engine::tests::support::until(|| table.shared.sealing.lock().settled.is_some()).await;
}
