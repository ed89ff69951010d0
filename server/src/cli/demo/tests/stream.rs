//! Are duplicates the same row again, soon or minutes later, and is the same seed the same stream?

use std::collections::{BTreeSet, HashMap};

use arrow::array::AsArray;
use proptest::prelude::*;

use super::{BEGIN_US, calls};
use crate::cli::demo::items::{FAT_BYTES, Items, N_ITEMS, Shape};
use crate::cli::demo::stream::{Kind, N_LOCATIONS, Row, Stream};
use crate::cli::demo::table::{ITEM, KEY, batch};

const MINUTE_US: i64 = 60_000_000;
/// What a table allows without an option.
const MAX_FUTURE_US: i64 = 60 * MINUTE_US;
const TICK_US: i64 = 50_000;

/// Holds every row against the rows before it, and returns how long after its first row each duplicate came, by the times of the calls.
#[track_caller]
fn check(calls: &[(i64, Vec<Row>)]) -> Vec<i64> {
    let mut firsts: HashMap<i64, (i64, Row)> = HashMap::new();
    let mut lags = Vec::new();
    for (now_us, row) in calls.iter().flat_map(|(now_us, rows)| rows.iter().map(move |row| (*now_us, *row))) {
        assert!((1..=N_LOCATIONS as u16).contains(&row.location) && usize::from(row.item) < N_ITEMS, "{row:?}");
        match row.kind {
            Kind::Duplicate => {
                let (first_us, first) = firsts[&row.key];
                assert_eq!(Row { kind: first.kind, ..row }, first);
                lags.push(now_us - first_us);
            }
            Kind::BadClock => assert!(row.detected_us > now_us + MAX_FUTURE_US, "{row:?}"),
            Kind::OnTime | Kind::Late => {
                assert!(row.detected_us <= now_us, "{row:?}");
                assert_eq!(firsts.insert(row.key, (now_us, row)), None, "a new row has a new key");
            }
        }
    }
    lags
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn duplicates_are_the_same_row_again_and_a_seed_is_a_stream(
        seed in any::<u64>(),
        pace in prop::collection::vec((0..300_usize, 0..200_000_i64), 1..40),
    ) {
        let sent = calls(seed, pace.clone());
        check(&sent);
        prop_assert_eq!(&sent, &calls(seed, pace.clone()));
        let n_rows: usize = pace.iter().map(|(n, _)| n).sum();
        prop_assert_eq!(sent.iter().map(|(_, rows)| rows.len()).sum::<usize>(), n_rows);
        // Among so many rows two seeds cannot agree by chance.
        prop_assert!(n_rows < 10 || sent != calls(seed ^ 1, pace));
    }
}

#[test]
fn duplicates_come_milliseconds_to_minutes_later() {
    let sent = calls(3, (0..8_000).map(|_| (25, TICK_US)));
    let n_rows = sent.iter().map(|(_, rows)| rows.len()).sum::<usize>() as f64;
    let lags = check(&sent);
    assert!((0.045..0.055).contains(&(lags.len() as f64 / n_rows)), "{} of {n_rows}", lags.len());
    let n_within = |from: i64, to: i64| lags.iter().filter(|lag| (from..to).contains(*lag)).count();
    let share = |from: i64, to: i64| n_within(from, to) as f64 / lags.len() as f64;
    // In the call of the first row or the next, within seconds, and minutes later: evenly on a logarithmic scale.
    let spans = [(0, 2 * TICK_US), (2 * TICK_US, 1_000_000), (1_000_000, 10_000_000), (MINUTE_US, 6 * MINUTE_US)];
    for (from, to) in spans {
        assert!(share(from, to) > 0.05, "{from} to {to}: {}", share(from, to));
    }
    assert_eq!(n_within(6 * MINUTE_US, i64::MAX), 0);
    let n_of = |kind: Kind| sent.iter().flat_map(|(_, rows)| rows).filter(|row| row.kind == kind).count() as f64;
    assert!((0.008..0.012).contains(&(n_of(Kind::Late) / n_rows)), "{}", n_of(Kind::Late));
    assert!((0.0005..0.002).contains(&(n_of(Kind::BadClock) / n_rows)), "{}", n_of(Kind::BadClock));
}

#[test]
fn a_few_places_are_busy_and_all_are_there() {
    let sent = calls(1, (0..2_000).map(|_| (100, TICK_US)));
    let mut counts: HashMap<u16, usize> = HashMap::new();
    for row in sent.iter().flat_map(|(_, rows)| rows) {
        *counts.entry(row.location).or_default() += 1;
    }
    let mut counts: Vec<usize> = counts.into_values().collect();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    assert!(counts.len() > N_LOCATIONS * 9 / 10, "{}", counts.len());
    // By Zipf's law the first has an eighth of a thousand, and twice as much as the second.
    assert!((0.12..0.15).contains(&(counts[0] as f64 / 200_000.0)), "{}", counts[0]);
    assert!((1.8..2.2).contains(&(counts[0] as f64 / counts[1] as f64)), "{} {}", counts[0], counts[1]);
}

#[test]
fn a_clock_that_goes_back_stands_still() {
    let mut stream = Stream::new(1).expect("a stream");
    for now_us in [BEGIN_US, BEGIN_US + TICK_US, BEGIN_US - MINUTE_US, BEGIN_US + 2 * TICK_US] {
        let rows = stream.rows(500, now_us);
        let on_time: Vec<_> = rows.iter().filter(|row| row.kind == Kind::OnTime).collect();
        assert!(!on_time.is_empty(), "{now_us}");
        assert!(on_time.iter().all(|row| row.detected_us > BEGIN_US - MINUTE_US / 60), "{now_us}");
    }
}

#[test]
fn names_are_different_and_sorted_and_fat_ones_have_their_length() {
    for shape in [Shape::Thin, Shape::Fat] {
        let items = Items::new(shape);
        let names: Vec<&str> = (0..N_ITEMS).map(|item| items.name(item as u16)).collect();
        assert!(names.is_sorted());
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), N_ITEMS);
        assert!(shape == Shape::Thin || names.iter().all(|name| name.len() == FAT_BYTES));
    }
}

#[test]
fn a_batch_has_the_rows() {
    let items = Items::new(Shape::Thin);
    let rows = Stream::new(1).expect("a stream").rows(100, BEGIN_US);
    let batch = batch(&rows, &items).expect("a batch");
    let keys = batch.column_by_name(KEY).expect("keys").as_primitive::<arrow::datatypes::Int64Type>().clone();
    let names = batch.column_by_name(ITEM).expect("items").as_string::<i32>().clone();
    for (i, row) in rows.iter().enumerate() {
        assert_eq!((keys.value(i), names.value(i)), (row.key, items.name(row.item)));
    }
}
