//! Does merging end, and how much is written until then?

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;

use crate::compaction::picker::{
    Candidate, Group, Kind, MAX_INPUTS, MERGED_BYTES, MERGED_ROWS, MIN_INPUTS, SMALL_BYTES, hour_bytes, late_hours,
    pick,
};
use crate::sealed::HOUR_ROWS;

const HOUR_US: i64 = 3_600_000_000;
const MIB: u64 = 1 << 20;

/// Long after all event times.
const NOW_US: i64 = 1_000_000 * HOUR_US;

fn file(hour: Option<i64>, mib: u64, rows: u64) -> Candidate {
    let times = hour.map_or((0, 100 * HOUR_US), |hour| (hour * HOUR_US, hour * HOUR_US + HOUR_US - 1));
    Candidate { hour, bytes: mib * MIB, rows, deleted: 0, times: Some(times), min_seq: 1, is_left_alone: false }
}

fn check(files: &[Candidate], expected: &[(&[usize], Kind)]) {
    let expected: Vec<Group> =
        expected.iter().map(|(files, kind)| Group { files: files.to_vec(), kind: *kind }).collect();
    assert_eq!(pick(files, NOW_US), expected);
}

#[test]
fn small_files_of_one_large_hour_become_one() {
    let files: Vec<_> = (0..5).map(|_| file(Some(7), 10, 1_000_000)).collect();
    check(&files, &[(&[0, 1, 2, 3, 4], Kind::Hour)]);
    check(&files[..3], &[]);
}

#[test]
fn large_files_are_left_alone() {
    let mut files: Vec<_> = (0..4).map(|_| file(Some(7), 40, 1_000_000)).collect();
    check(&files, &[]);
    files[2] = file(Some(7), 200, 1_000_000);
    files[2].deleted = 200_000;
    check(&files, &[]);
    files[2].deleted = 200_001;
    check(&files, &[(&[2], Kind::Rewrite)]);
    files[2].deleted = 1_000_000;
    // All rows are deleted: the next publish removes it.
    check(&files, &[]);
}

#[test]
fn hours_that_are_large_enough_never_meet() {
    let large = |hour| (0..3).map(move |_| file(Some(hour), 11, 1_000_000));
    let files: Vec<_> = large(1).chain(large(2)).chain(large(3)).collect();
    check(&files, &[]);
}

#[test]
fn small_hours_meet_their_neighbours_up_to_a_large_one() {
    let mut files: Vec<_> = [1, 2, 4, 9].map(|hour| file(Some(hour), 5, 1_000_000)).to_vec();
    check(&files, &[(&[0, 1, 2, 3], Kind::Hours)]);
    files.push(file(Some(3), 40, 1_000_000));
    check(&files, &[]);
}

#[test]
fn late_files_meet_late_files_only() {
    let files: Vec<_> = [None, Some(1), None, Some(2), None, None].map(|hour| file(hour, 5, 100_000)).to_vec();
    check(&files, &[(&[0, 2, 4, 5], Kind::Late)]);
}

#[test]
fn a_merged_file_is_bounded() {
    let files: Vec<_> = (0..20).map(|_| file(Some(7), 30, 1_000_000)).collect();
    let groups = pick(&files, NOW_US);
    assert_eq!(groups.iter().map(|group| group.files.len()).collect::<Vec<_>>(), [8, 8, 4]);
    let files: Vec<_> = (0..20).map(|_| file(Some(7), 3, 7_000_000)).collect();
    let groups = pick(&files, NOW_US);
    assert!(!groups.is_empty() && groups.iter().all(|group| group.files.len() <= 4), "at most 32 M rows");
    let files: Vec<_> = (0..200).map(|_| file(Some(7), 1, 10)).collect();
    let groups = pick(&files, NOW_US);
    assert!(!groups.is_empty() && groups.iter().all(|group| group.files.len() <= MAX_INPUTS));
}

#[test]
fn a_large_neighbour_is_not_written_again_for_a_few_rows() {
    let mut files = vec![file(Some(7), 31, 1_000_000)];
    files.extend((0..3).map(|_| file(Some(7), 1, 1000)));
    check(&files, &[]);
    files.push(file(Some(7), 1, 1000));
    check(&files, &[(&[1, 2, 3, 4], Kind::Hour)]);
}

#[test]
fn young_files_hold_ten_minutes() {
    let minute = HOUR_US / 60;
    let at = |first: i64, last: i64| Candidate {
        times: Some((7 * HOUR_US + first * minute, 7 * HOUR_US + last * minute)),
        ..file(Some(7), 10, 1_000_000)
    };
    let files: Vec<_> = (0..12).map(|n| at(2 * n, 2 * n + 2)).collect();
    let groups = pick(&files, 7 * HOUR_US + 30 * minute);
    assert_eq!(groups.iter().map(|group| group.files.clone()).collect::<Vec<_>>(), [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]);
    let groups = pick(&files, 9 * HOUR_US);
    assert_eq!(groups.len(), 1);
    assert_eq!(groups[0].files.len(), 12);
}

#[test]
fn a_file_that_is_left_alone_counts_in_its_hour() {
    let mut files: Vec<_> = (0..4).map(|_| file(Some(7), 5, 1_000_000)).collect();
    files.push(Candidate { is_left_alone: true, deleted: 900_000, ..file(Some(7), 300, 1_000_000) });
    files.push(file(Some(8), 5, 1_000_000));
    check(&files, &[(&[0, 1, 2, 3], Kind::Hour)]);
}

#[test]
fn late_rows_get_files_of_hours_that_are_large() {
    let rows = BTreeMap::from([(1, 100_000), (2, 100_000), (3, HOUR_ROWS - 1), (4, 500_000)]);
    let others = BTreeMap::from([(1, SMALL_BYTES), (3, 10 * SMALL_BYTES)]);
    assert_eq!(late_hours(&rows, 10 * MIB, &others, 200_000), [1]);
    // Hour 4 has enough by itself.
    assert_eq!(late_hours(&rows, 60 * MIB, &others, 200_000), [4, 1]);
    // The rest would be as small as what it came from, and most of it was only copied.
    assert_eq!(late_hours(&rows, 10 * MIB, &others, 700_000), Vec::<i64>::new());
}

/// A file with the hours of its rows.
#[derive(Debug, Clone)]
struct Simulated {
    hours: BTreeMap<i64, u64>,
    deleted: u64,
    bytes_per_row: u64,
    seq: u64,
}

impl Simulated {
    fn candidate(&self) -> Candidate {
        let rows = self.hours.values().sum();
        let (first, last) = (*self.hours.keys().next().expect("hours"), *self.hours.keys().last().expect("hours"));
        Candidate {
            hour: (first == last).then_some(first),
            bytes: u64::max(rows * self.bytes_per_row, 1000),
            rows,
            deleted: self.deleted.min(rows - 1),
            times: Some((first * HOUR_US, last * HOUR_US + HOUR_US - 1)),
            min_seq: self.seq,
            is_left_alone: false,
        }
    }

    /// Rows that are left, by hour.
    fn live(&self) -> BTreeMap<i64, u64> {
        let mut left = self.candidate().deleted;
        let mut live = self.hours.clone();
        for rows in live.values_mut() {
            let gone = left.min(*rows);
            (*rows, left) = (*rows - gone, left - gone);
        }
        live.retain(|_, rows| *rows > 0);
        live
    }
}

/// Does what the first group says. Returns the rows that were written; `None`: there is nothing to do.
fn step(files: &mut Vec<Simulated>) -> Option<u64> {
    let candidates: Vec<Candidate> = files.iter().map(Simulated::candidate).collect();
    let groups = pick(&candidates, NOW_US);
    let mut seen = HashSet::new();
    for group in &groups {
        assert!(group.files.iter().all(|at| seen.insert(*at)), "a file is picked twice");
        let sum = |of: fn(&Candidate) -> u64| group.files.iter().map(|at| of(&candidates[*at])).sum::<u64>();
        if group.kind == Kind::Rewrite {
            assert_eq!(group.files.len(), 1);
        } else {
            assert!((MIN_INPUTS..=MAX_INPUTS).contains(&group.files.len()));
            assert!(sum(Candidate::live_bytes) <= MERGED_BYTES && sum(Candidate::live_rows) <= MERGED_ROWS);
        }
    }
    let group = groups.into_iter().max_by_key(|group| group.files.len())?;
    let mut rows: BTreeMap<i64, u64> = BTreeMap::new();
    let (mut bytes, mut most) = (0, 0);
    for &at in &group.files {
        files[at].live().into_iter().for_each(|(hour, n)| *rows.entry(hour).or_default() += n);
        bytes += candidates[at].live_bytes();
        most = most.max(candidates[at].live_rows());
    }
    let written = rows.values().sum();
    let own = match group.kind {
        Kind::Late => late_hours(&rows, bytes, &hour_bytes(&candidates), most),
        _ => Vec::new(),
    };
    let bytes_per_row = files[group.files[0]].bytes_per_row;
    let taken: HashSet<usize> = group.files.into_iter().collect();
    *files = files.iter().enumerate().filter(|(at, _)| !taken.contains(at)).map(|(_, file)| file.clone()).collect();
    let made = |hours| Simulated { hours, deleted: 0, bytes_per_row, seq: 1 };
    for hour in own {
        files.extend(rows.remove_entry(&hour).map(|(hour, n)| made(BTreeMap::from([(hour, n)]))));
    }
    if !rows.is_empty() {
        files.push(made(rows));
    }
    Some(written)
}

fn built() -> impl Strategy<Value = Simulated> {
    let rows = prop_oneof![1_u64..100, 1000_u64..100_000, 100_000_u64..5_000_000];
    (proptest::collection::btree_map(0_i64..12, rows, 1..5), 0_u64..1_000_000, 0_u64..3).prop_map(
        |(hours, deleted, kind)| Simulated {
            hours,
            deleted: if kind == 0 { deleted } else { 0 },
            bytes_per_row: 0,
            seq: 1,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn merging_ends_and_writes_a_row_a_few_times(
        files in proptest::collection::vec(built(), 1..80),
        bytes_per_row in prop_oneof![Just(3_u64), Just(20), Just(500)],
    ) {
        let mut there: Vec<Simulated> = Vec::new();
        let (mut came, mut written) = (0, 0);
        for file in files {
            came += file.hours.values().sum::<u64>();
            there.push(Simulated { bytes_per_row, ..file });
            let mut n_steps = 0;
            while let Some(rows) = step(&mut there) {
                written += rows;
                n_steps += 1;
                prop_assert!(n_steps < 1000, "it does not end");
            }
        }
        // Once for each magnitude below 32 M rows, once more when late rows get to their hours, and once without the deleted ones.
        prop_assert!(written <= came * (13 + 2), "{written} rows were written of {came}");
    }
}
