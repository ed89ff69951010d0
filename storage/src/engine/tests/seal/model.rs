//! Any order of writes, builds, publishes, deletes, truncates and restarts against a model: which keys are remembered, which rows are there.

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::engine::tests::support::{Fixture, batch, delete_keys, keys_of, request};
use crate::env::FailAction;

#[derive(Debug, Clone)]
enum Step {
    Write(Vec<i64>),
    Build,
    Seal,
    Delete(Vec<i64>),
    Truncate,
    Restart,
    Clean,
    /// The next build or publish fails here.
    Fail(&'static str),
}

const POINTS: [&str; 8] = [
    "build.names_recorded",
    "build.file_written",
    "build.layer_written",
    "build.files_synced",
    "publish.file_brought",
    "publish.files_brought",
    "publish.after_send",
    "publish.settled",
];

fn step() -> impl Strategy<Value = Step> {
    let keys = || proptest::collection::vec(0_i64..60, 1..12);
    prop_oneof![
        6 => keys().prop_map(Step::Write),
        3 => Just(Step::Build),
        3 => Just(Step::Seal),
        3 => keys().prop_map(Step::Delete),
        1 => Just(Step::Truncate),
        2 => Just(Step::Restart),
        1 => Just(Step::Clean),
        2 => proptest::sample::select(&POINTS[..]).prop_map(Step::Fail),
    ]
}

async fn run(steps: Vec<Step>) {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    let (mut known, mut there) = (BTreeSet::<i64>::new(), BTreeSet::<i64>::new());
    for step in steps {
        let table = fixture.table("t");
        match &step {
            Step::Write(keys) => {
                let outcome = table.write(request(batch(keys))).await.expect("stored");
                let fresh: BTreeSet<i64> = keys.iter().copied().filter(|key| !known.contains(key)).collect();
                assert_eq!(outcome.accepted, fresh.len() as u64);
                known.extend(&fresh);
                there.extend(&fresh);
            }
            Step::Build => drop(table.build().await),
            Step::Seal => drop(table.seal().await),
            Step::Delete(keys) => {
                // A build that fails leaves rows where a DELETE does not look: the statement fails then.
                if let Ok(n) = delete_keys(&table, keys).await {
                    let before = there.len();
                    there.retain(|key| !keys.contains(key));
                    assert_eq!(n, (before - there.len()) as u64);
                }
            }
            Step::Truncate => {
                assert_eq!(table.truncate().await.expect("truncated").0, there.len() as u64);
                known.clear();
                there.clear();
            }
            Step::Restart => {
                drop(table);
                fixture.restart().await;
            }
            Step::Clean => fixture.engine().clean_files().await,
            Step::Fail(point) => fixture.engine().env().fail.arm(*point, FailAction::Error(1)),
        }
        let expected: Vec<i64> = there.iter().copied().collect();
        assert_eq!(keys_of(&fixture.table("t")), expected, "after {step:?}");
    }
    POINTS.iter().for_each(|point| fixture.engine().env().fail.release(point));
    let sealed = fixture.table("t").seal().await.expect("sealed in the end");
    assert_eq!(sealed.rows, there.len() as u64);
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), there.into_iter().collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_order_keeps_every_row_once(steps in proptest::collection::vec(step(), 1..30)) {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(run(steps));
    }
}
