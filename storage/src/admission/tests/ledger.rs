//! Do the counters add up, whatever is rolled up when?

use proptest::prelude::*;

use crate::admission::ledger::{Counts, Ledger, LedgerOp, Span, minute_of};
use crate::error::Code;

const DAY_MINUTES: i64 = 1440;
const US_PER_MINUTE: i64 = 60_000_000;

fn counts(accepted: u64, duplicate: u64, repeated: u64, rejected: u64) -> Counts {
    let received = accepted + duplicate + repeated + rejected;
    Counts {
        received,
        accepted,
        duplicate,
        repeated,
        rejected,
        late: rejected / 2,
        future: rejected / 3,
        bytes: accepted * 10,
    }
}

/// The stored ledger: what a log would hold after these puts and deletes.
#[derive(Default)]
struct Stored(std::collections::BTreeMap<Vec<u8>, Vec<u8>>);

impl Stored {
    fn write(&mut self, ops: &[LedgerOp]) {
        for op in ops {
            match op {
                LedgerOp::Put { key, value } => {
                    self.0.insert(key.clone(), value.clone());
                }
                LedgerOp::Delete { key } => assert!(self.0.remove(key).is_some(), "deletes what is there"),
            }
        }
    }

    fn load(&self) -> Ledger {
        let mut ledger = Ledger::default();
        for (key, value) in &self.0 {
            ledger.load(key, value).unwrap();
        }
        ledger
    }
}

#[test]
fn values_are_absolute() {
    let mut ledger = Ledger::default();
    let (key, _) = ledger.add("p", 5, &counts(1, 2, 3, 4));
    let (again, value) = ledger.add("p", 5, &counts(10, 0, 0, 0));
    assert_eq!(key, again);
    let mut loaded = Ledger::default();
    loaded.load(&key, &value).unwrap();
    assert_eq!(loaded.rows().collect::<Vec<_>>(), ledger.rows().collect::<Vec<_>>());
    assert_eq!(loaded.totals(), counts(11, 2, 3, 4) + Counts { late: 0, ..Counts::default() });
    assert_eq!(ledger.rows().next().unwrap().start_us, 5 * US_PER_MINUTE);
}

#[test]
fn minutes_become_hours_and_hours_days() {
    let mut ledger = Ledger::default();
    for minute in [-61, -1, 0, 59, 60, 8 * DAY_MINUTES] {
        ledger.add("p", minute, &counts(1, 0, 0, 0));
    }
    let spans = |ledger: &Ledger| {
        ledger.rows().map(|row| (row.span, row.start_us / US_PER_MINUTE, row.counts.accepted)).collect::<Vec<_>>()
    };
    let at = |minute: i64| minute * US_PER_MINUTE;
    assert_eq!(ledger.compact(at(0)), vec![]);
    // The hour of minutes 0 to 59 ends 7 days before.
    let ops = ledger.compact(at(7 * DAY_MINUTES + 60));
    ledger.apply(&ops).unwrap();
    assert_eq!(
        spans(&ledger),
        [
            (Span::Minute, 60, 1),
            (Span::Minute, 8 * DAY_MINUTES, 1),
            (Span::Hour, -120, 1),
            (Span::Hour, -60, 1),
            (Span::Hour, 0, 2)
        ]
    );
    assert_eq!(ledger.compact(at(7 * DAY_MINUTES + 60)), vec![], "nothing is left to do");
    let ops = ledger.compact(at(200 * DAY_MINUTES));
    ledger.apply(&ops).unwrap();
    assert_eq!(spans(&ledger), [(Span::Day, -DAY_MINUTES, 2), (Span::Day, 0, 3), (Span::Day, 8 * DAY_MINUTES, 1)]);
    // A minute that comes after its day was summed is added to it.
    ledger.add("p", 3, &counts(5, 0, 0, 0));
    let ops = ledger.compact(at(200 * DAY_MINUTES));
    ledger.apply(&ops).unwrap();
    assert_eq!(spans(&ledger)[1], (Span::Day, 0, 8));
}

#[test]
fn pages_have_every_row_once() {
    let mut ledger = Ledger::default();
    for minute in 0..10 {
        for producer in ["a", "b"] {
            ledger.add(producer, minute, &counts(1, 0, 0, 0));
        }
    }
    let mut reading = ledger.read();
    let mut rows = ledger.page(&mut reading, 7).unwrap();
    assert_eq!(rows.len(), 7);
    // The ledger goes on between pages, and what comes stands behind.
    ledger.add("a", 20, &counts(5, 0, 0, 0));
    loop {
        let page = ledger.page(&mut reading, 7).unwrap();
        if page.is_empty() {
            break;
        }
        rows.extend(page);
    }
    assert_eq!(rows, ledger.rows().collect::<Vec<_>>());
    assert!(!ledger.may_roll_up());
    drop(reading);
    assert!(ledger.may_roll_up());
}

#[test]
fn a_roll_up_waits_for_readings_but_not_for_ever() {
    let mut ledger = Ledger::default();
    ledger.add("p", 0, &counts(1, 0, 0, 0));
    let mut reading = ledger.read();
    assert_eq!((0..100).take_while(|_| !ledger.may_roll_up()).count(), 24);
    let ops = ledger.compact(30 * DAY_MINUTES * US_PER_MINUTE);
    ledger.apply(&ops).unwrap();
    assert_eq!(ledger.page(&mut reading, 1).unwrap_err().code(), Code::TableClosed);
    assert_eq!(Ledger::default().page(&mut ledger.read(), 1).unwrap_err().code(), Code::TableClosed);
}

#[test]
fn damage_is_refused() {
    let mut ledger = Ledger::default();
    let (key, value) = ledger.clone().add("p", 5, &counts(1, 0, 0, 0));
    let cases: [(&[u8], &[u8], Code); 6] = [
        (&key[..5], &value, Code::LogDamaged),
        (&[9; 12], &value, Code::LogDamaged),
        (&[&key[..], b"\xff"].concat(), &value, Code::LogDamaged),
        (&key, &[], Code::LogDamaged),
        (&key, &[1, 0xff], Code::LogDamaged),
        (&key, &[2], Code::LogUnknownVersion),
    ];
    for (key, value, code) in cases {
        assert_eq!(ledger.load(key, value).unwrap_err().code(), code);
    }
    assert_eq!(ledger.totals(), Counts::default());
}

#[test]
fn the_disk_form_of_version_one() {
    let (key, value) = Ledger::default().add("p/1", -1, &counts(1, 2, 3, 300));
    assert_eq!(key, [&[0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff][..], b"p/1"].concat());
    assert_eq!(value, [1, 8, 178, 2, 16, 1, 24, 2, 32, 3, 40, 172, 2, 48, 150, 1, 56, 100, 64, 10]);
}

proptest! {
    /// Sums by producer never change, every row is balanced, and the stored ledger is the one in memory.
    #[test]
    fn roll_ups_keep_every_sum(steps in proptest::collection::vec(
        (0..3u8, 0..300 * DAY_MINUTES, 0..50u64, 0..50u64, 0..50u64, 0..50u64, any::<bool>()), 1..60,
    )) {
        let mut ledger = Ledger::default();
        let mut stored = Stored::default();
        let mut sums = [Counts::default(); 3];
        let mut now = 0;
        for (producer, minute, a, d, p, r, roll_up) in steps {
            let add = counts(a, d, p, r);
            sums[usize::from(producer)] += &add;
            let (key, value) = ledger.add(&producer.to_string(), minute, &add);
            stored.write(&[LedgerOp::Put { key, value }]);
            now = now.max(minute);
            if roll_up {
                let ops = ledger.compact(now * US_PER_MINUTE);
                stored.write(&ops);
                ledger.apply(&ops).unwrap();
                let finest = ledger.rows().filter(|row| row.span == Span::Minute).map(|row| minute_of(row.start_us)).min();
                prop_assert!(finest.is_none_or(|minute| minute >= now - 7 * DAY_MINUTES - 60));
            }
            prop_assert!(ledger.rows().all(|row| row.counts.is_balanced()));
        }
        for (producer, expected) in sums.iter().enumerate() {
            let name = producer.to_string();
            let sum = ledger.rows().filter(|row| *row.producer == *name).fold(Counts::default(), |sum, row| sum + row.counts);
            prop_assert_eq!(&sum, expected);
        }
        prop_assert_eq!(ledger.totals(), sums[0] + sums[1] + sums[2]);
        let loaded = stored.load();
        prop_assert_eq!(loaded.rows().collect::<Vec<_>>(), ledger.rows().collect::<Vec<_>>());
        prop_assert_eq!(loaded.totals(), ledger.totals());
    }
}
