//! Are rejected rows read again, and which are forgotten?

use crate::admission::rejected::{KeptRows, RejectedRecord, pick_forgotten, pick_over};
use crate::admission::{RejectCode, RejectedRow};
use crate::env::Moment;
use crate::error::Code;

fn record() -> RejectedRecord {
    let row = RejectedRow {
        row: 7,
        column: Some("c".into()),
        code: RejectCode::LateTime,
        message: "m".into(),
        payload: "{}".into(),
    };
    RejectedRecord::new("p", 3, row, Moment { wall_us: 1_000_000, uptime_us: 300 })
}

#[test]
fn records_are_read_again() {
    assert_eq!(RejectedRecord::decode(&record().encode()).unwrap(), record());
    for code in RejectCode::ALL {
        let record = RejectedRecord { code, column: None, ..record() };
        assert_eq!(RejectedRecord::decode(&record.encode()).unwrap(), record);
    }
    assert_eq!(record().expires_at_us, (30 * 86_400 + 1) * 1_000_000);
}

#[test]
fn the_disk_form_of_version_one() {
    let mut expected = vec![1, 10, 1, b'p', 16, 3, 24, 7, 34, 1, b'c', 42, 9];
    expected.extend(b"LATE_TIME");
    expected.extend([50, 1, b'm', 58, 2, b'{', b'}', 65]);
    expected.extend(1_000_000i64.to_le_bytes());
    expected.push(73);
    expected.extend(2_592_001_000_000i64.to_le_bytes());
    expected.extend([80, 0xac, 0x02]);
    assert_eq!(record().encode(), expected);
}

#[test]
fn damage_is_refused() {
    let good = record().encode();
    let mut unknown_code = good.clone();
    unknown_code[13] = b'X';
    let cases = [
        (vec![], Code::LogDamaged),
        ([&[2], &good[1..]].concat(), Code::LogUnknownVersion),
        (good[..good.len() - 1].to_vec(), Code::LogDamaged),
        (unknown_code, Code::LogDamaged),
    ];
    for (bytes, code) in cases {
        assert_eq!(RejectedRecord::decode(&bytes).unwrap_err().code(), code);
    }
}

const DAY_US: i64 = 86_400 * 1_000_000;

/// `days` ago by the wall clock, `up_days` ago by uptime.
fn kept(key: u32, bytes: u64, days: i64, up_days: i64) -> KeptRows<u32> {
    let newest = Moment { wall_us: -days * DAY_US, uptime_us: ((100 - up_days) * DAY_US).unsigned_abs() };
    KeptRows { key, bytes, newest }
}

const NOW: Moment = Moment { wall_us: 0, uptime_us: (100 * DAY_US).unsigned_abs() };

#[test]
fn the_oldest_are_forgotten_first() {
    let check = |rows: &[KeptRows<u32>], max_bytes: u64, expected: &[u32]| {
        assert_eq!(pick_over(rows.iter().cloned(), NOW, max_bytes), expected);
    };
    check(&[], 10, &[]);
    check(&[kept(1, 5, 2, 2), kept(2, 5, 1, 1)], 10, &[]);
    check(&[kept(1, 5, 2, 2), kept(2, 5, 1, 1), kept(3, 1, 1, 1)], 10, &[1]);
    check(&[kept(1, 5, 30, 30), kept(2, 5, 29, 29), kept(3, 6, 31, 31)], 10, &[1, 3]);
    check(&[kept(1, 5, 30, 30), kept(2, 5, 1, 1), kept(3, 6, 1, 1)], 10, &[1, 2]);
    check(&[kept(1, 50, 1, 1)], 10, &[1]);
    assert_eq!(pick_forgotten([kept(1, 1 << 30, 1, 1), kept(2, 1, 1, 1)].into_iter(), NOW), [1]);
}

#[test]
fn rows_that_are_old_by_one_clock_only_are_kept() {
    let rows = [kept(1, 1, 40, 2), kept(2, 1, 2, 40), kept(3, 1, 40, 40)];
    assert_eq!(pick_forgotten(rows.into_iter(), NOW), [3]);
}
