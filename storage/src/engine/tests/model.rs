//! Does any order of writes, repeats, truncates and restarts give what a plain model gives?

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::support::{Fixture, batch, keys_of, producer, request};
use crate::error::Code;

#[derive(Debug, Clone)]
enum Step {
    /// Without a producer.
    Write(Vec<i64>),
    /// By producer `who`; `ahead` is added to the next sequence: below 0 a repeat, above 0 a gap.
    Produce {
        who: u8,
        ahead: i64,
        keys: Vec<i64>,
    },
    Truncate,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let keys = || prop::collection::vec(0_i64..60, 0..20);
    let step = prop_oneof![
        4 => keys().prop_map(Step::Write),
        6 => (0_u8..3, -2_i64..2, keys()).prop_map(|(who, ahead, keys)| Step::Produce { who, ahead, keys }),
        1 => Just(Step::Truncate),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..40)
}

#[derive(Default)]
struct Model {
    rows: BTreeSet<i64>,
    /// The batches of each producer, in order.
    sent: BTreeMap<u8, Vec<Vec<i64>>>,
}

impl Model {
    fn add(&mut self, keys: &[i64]) -> u64 {
        keys.iter().filter(|k| self.rows.insert(**k)).count() as u64
    }
}

async fn run(steps: Vec<Step>) {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Write(keys) => {
                let outcome = fixture.table("t").write(request(batch(&keys))).await.expect("stored");
                assert_eq!(outcome.accepted, model.add(&keys));
                assert_eq!(outcome.accepted + outcome.duplicates, keys.len() as u64);
            }
            Step::Produce { who, ahead, keys } => {
                let n_sent = model.sent.entry(who).or_default().len() as i64;
                let sequence = n_sent + 1 + ahead;
                let known = usize::try_from(sequence - 1).ok().and_then(|i| model.sent[&who].get(i)).cloned();
                let outcome =
                    fixture.table("t").write(producer(&format!("p{who}"), sequence.max(0) as u64, batch(&keys))).await;
                match (known, ahead) {
                    (Some(first), _) if first == keys => assert!(outcome.expect("answered").repeated),
                    (Some(_), _) => assert_eq!(outcome.expect_err("refused").code(), Code::SequenceReused),
                    (None, 0) => {
                        assert_eq!(outcome.expect("stored").accepted, model.add(&keys));
                        model.sent.entry(who).or_default().push(keys);
                    }
                    (None, _) => assert!(outcome.is_err(), "a gap or a number below 1"),
                }
            }
            Step::Truncate => {
                let (gone, _) = fixture.table("t").truncate().await.expect("done");
                assert_eq!(gone, model.rows.len() as u64);
                model.rows.clear();
            }
            Step::Restart => fixture.restart().await,
        }
        let expected: Vec<i64> = model.rows.iter().copied().collect();
        assert_eq!(keys_of(&fixture.table("t")), expected);
    }
    for row in fixture.table("t").ledger().expect("readable") {
        assert_eq!(row.received, row.accepted + row.duplicate + row.repeated + row.rejected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_history_gives_what_the_model_gives(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        runtime.block_on(run(steps));
    }
}
