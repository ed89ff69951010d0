//! Any order of writes, deletes, seals, compactions, restarts and failures, against a set of keys.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::engine::tests::support::{Fixture, delete_keys, keys_of};
use crate::env::FailAction;

#[derive(Debug, Clone)]
enum Step {
    /// Each sealed by itself, so that there is something to merge.
    Pieces(Vec<i64>),
    Write(Vec<i64>),
    Seal,
    Compact,
    Delete(Vec<i64>),
    Truncate,
    Restart,
    Clean,
    /// The next time somebody passes here it fails.
    Fail(&'static str),
}

const POINTS: [&str; 8] = [
    "build.files_synced",
    "compact.names_recorded",
    "compact.files_synced",
    "compact.file_brought",
    "compact.decided",
    "publish.files_brought",
    "publish.after_send",
    "publish.settled",
];

fn step() -> impl Strategy<Value = Step> {
    let keys = || proptest::collection::vec(0_i64..80, 1..16);
    prop_oneof![
        4 => proptest::collection::vec(0_i64..80, 4..7).prop_map(Step::Pieces),
        2 => keys().prop_map(Step::Write),
        2 => Just(Step::Seal),
        5 => Just(Step::Compact),
        3 => keys().prop_map(Step::Delete),
        1 => Just(Step::Truncate),
        2 => Just(Step::Restart),
        1 => Just(Step::Clean),
        2 => proptest::sample::select(&POINTS[..]).prop_map(Step::Fail),
    ]
}

/// Keys that were ever written, and those that are there.
#[derive(Default)]
struct Model {
    known: BTreeSet<i64>,
    there: BTreeSet<i64>,
}

impl Model {
    async fn write(&mut self, table: &Table, keys: &[i64]) {
        let fresh: BTreeSet<i64> = keys.iter().copied().filter(|key| !self.known.contains(key)).collect();
        assert_eq!(write(table, keys).await, fresh.len() as u64);
        self.known.extend(&fresh);
        self.there.extend(&fresh);
    }
}

async fn run(steps: Vec<Step>) {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    let mut model = Model::default();
    for step in steps {
        let table = fixture.table("t");
        match &step {
            Step::Pieces(keys) => {
                for key in keys {
                    model.write(&table, &[*key, key + 100]).await;
                    drop(table.seal().await);
                }
            }
            Step::Write(keys) => model.write(&table, keys).await,
            Step::Seal => drop(table.seal().await),
            Step::Compact => drop(table.compact().await),
            Step::Delete(keys) => {
                if let Ok(n) = delete_keys(&table, keys).await {
                    let before = model.there.len();
                    for key in keys {
                        model.there.remove(key);
                    }
                    assert_eq!(n, (before - model.there.len()) as u64);
                }
            }
            Step::Truncate => {
                assert_eq!(table.truncate().await.expect("truncated").0, model.there.len() as u64);
                model = Model::default();
            }
            Step::Restart => {
                drop(table);
                fixture.restart().await;
            }
            Step::Clean => fixture.engine().clean_files().await,
            Step::Fail(point) => fixture.engine().env().fail.arm(*point, FailAction::Error(1)),
        }
        let expected: Vec<i64> = model.there.iter().copied().collect();
        assert_eq!(keys_of(&fixture.table("t")), expected, "after {step:?}");
    }
    POINTS.iter().for_each(|point| fixture.engine().env().fail.release(point));
    let table = fixture.table("t");
    assert_eq!(table.seal().await.expect("sealed in the end").rows, model.there.len() as u64);
    table.compact().await.expect("compacted in the end");
    assert!(names(&table).len() < 30, "files are merged");
    // A table that was never published has no log.
    if table.stats().delta_version.is_some() {
        assert_eq!(delta_names(&table).await, names(&table));
    }
    drop(table);
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), model.there.into_iter().collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn any_order_keeps_every_row_once(steps in proptest::collection::vec(step(), 1..16)) {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(run(steps));
    }
}
