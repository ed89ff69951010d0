//! Does the oracle count what a naive count of all rows says, and does it notice one row?

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;

use super::{BEGIN_US, calls};
use crate::cli::demo::oracle::{KEPT_S, MODULUS, Oracle, Window};
use crate::cli::demo::stream::Row;

/// The first row of each key whose clock is not ahead: what a table has.
fn stored(calls: &[(i64, Vec<Row>)]) -> Vec<Row> {
    let mut keys = HashSet::new();
    let rows = calls.iter().flat_map(|(now_us, rows)| rows.iter().map(move |row| (*now_us, *row)));
    let good = rows.filter(|(now_us, row)| row.detected_us <= now_us + 3_600_000_000);
    good.map(|(_, row)| row).filter(|row| keys.insert(row.key)).collect()
}

fn oracle(calls: &[(i64, Vec<Row>)]) -> Oracle {
    let mut oracle = Oracle::new(2);
    for (i, (_, rows)) in calls.iter().enumerate() {
        oracle.record(i % 2, rows);
    }
    oracle
}

/// All that the oracle says must be what a count of the rows says; the first difference, if there is one.
fn compare(oracle: &Oracle, calls: &[(i64, Vec<Row>)], window: Window) -> Result<(), String> {
    let all: Vec<&Row> = calls.iter().flat_map(|(_, rows)| rows).collect();
    let rows = stored(calls);
    let n_ahead = calls.iter().flat_map(|(now_us, rows)| rows.iter().filter(|row| row.detected_us > *now_us)).count();
    let mut by_location: BTreeMap<String, u64> = BTreeMap::new();
    let mut items: BTreeMap<(u16, u16), u64> = BTreeMap::new();
    for row in &rows {
        *by_location.entry(row.location.to_string()).or_default() += 1;
        if (window.from_s * 1_000_000..window.to_s * 1_000_000).contains(&row.detected_us) {
            *items.entry((row.location, row.item)).or_default() += 1;
        }
    }
    let same = |what: &str, oracle: String, naive: String| {
        if oracle == naive { Ok(()) } else { Err(format!("{what}: the oracle says {oracle}, a count {naive}")) }
    };
    same("received", oracle.received.to_string(), all.len().to_string())?;
    same("accepted", oracle.accepted.to_string(), rows.len().to_string())?;
    same("rejected", oracle.rejected.to_string(), n_ahead.to_string())?;
    same("duplicates", oracle.duplicates.to_string(), (all.len() - rows.len() - n_ahead).to_string())?;
    let sum = |of: fn(&Row) -> i64| rows.iter().map(|row| of(row) % MODULUS).sum::<i64>();
    let sums = [sum(|row| row.key), sum(|row| i64::from(row.camera)), sum(|row| row.detected_us)];
    same("sums", format!("{:?}", oracle.sums), format!("{sums:?}"))?;
    same("by location", format!("{:?}", oracle.by_location()), format!("{by_location:?}"))?;
    for location in rows.iter().map(|row| row.location).collect::<HashSet<_>>() {
        let mut naive: Vec<(u16, u64)> =
            items.iter().filter(|((of, _), _)| *of == location).map(|((_, item), n)| (*item, *n)).collect();
        naive.sort_by(|(a, n), (b, m)| m.cmp(n).then(a.cmp(b)));
        naive.truncate(5);
        same("top items", format!("{:?}", oracle.top_items(location, window, 5)), format!("{naive:?}"))?;
    }
    let in_window: u64 = items.values().sum();
    same("items", oracle.items(window).values().sum::<u64>().to_string(), in_window.to_string())?;
    let busy: u64 = oracle.busiest(window, usize::MAX).iter().map(|(_, n)| n).sum();
    same("busiest", busy.to_string(), in_window.to_string())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn counts_are_those_of_a_naive_count(
        seed in any::<u64>(),
        pace in prop::collection::vec((1..300_usize, 0..30_000_000_i64), 1..40),
        window in (0..KEPT_S, 0..KEPT_S),
    ) {
        let sent = calls(seed, pace);
        let oracle = oracle(&sent);
        let Some(whole) = oracle.whole() else { return Ok(()) };
        for (from, to) in [window, (0, KEPT_S)] {
            let window = Window { from_s: whole.to_s - 1 - from.max(to), to_s: whole.to_s - from.min(to) };
            prop_assert!(window.from_s >= oracle.remembered_from_s());
            prop_assert_eq!(compare(&oracle, &sent, window), Ok(()));
        }
        for (producer, counted) in oracle.producers().iter().enumerate() {
            let n_rows: usize = sent.iter().skip(producer).step_by(2).map(|(_, rows)| rows.len()).sum();
            prop_assert_eq!(counted.rows, n_rows as u64);
        }
    }
}

#[test]
fn an_oracle_that_missed_one_row_disagrees() {
    let sent = calls(5, [(100, 0), (100, 50_000)]);
    let whole = oracle(&sent).whole().expect("rows");
    assert_eq!(compare(&oracle(&sent), &sent, whole), Ok(()));
    for missing in 0..200 {
        let mut less = sent.clone();
        let rows = &mut less[missing / 100].1;
        rows.remove(missing % 100);
        assert!(compare(&oracle(&less), &sent, whole).is_err(), "row {missing}");
    }
}

#[test]
fn repeats_come_on_top() {
    let mut oracle = oracle(&calls(1, [(10, 0)]));
    oracle.record_repeat(0, 10);
    assert_eq!((oracle.received, oracle.repeated, oracle.producers()[0].repeated), (10, 10, 10));
    assert!(oracle.whole().is_some_and(|window| window.to_s >= BEGIN_US / 1_000_000));
}
