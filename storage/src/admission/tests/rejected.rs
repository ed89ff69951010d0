//! Are rejected rows read again, and which are forgotten?

use crate::admission::rejected::{KeptRecord, RejectedRecord, pick_forgotten, pick_over};
use crate::admission::{RejectCode, RejectedRow};
use crate::error::Code;

fn record() -> RejectedRecord {
    let row = RejectedRow {
        row: 7,
        column: Some("c".into()),
        code: RejectCode::LateTime,
        message: "m".into(),
        payload: "{}".into(),
    };
    RejectedRecord::new("p", 3, row, 1_000_000)
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

#[test]
fn the_oldest_are_forgotten_first() {
    let kept = |records: &[(u32, u64, i64)]| -> Vec<KeptRecord<u32>> {
        records.iter().map(|&(key, bytes, expires_at_us)| KeptRecord { key, bytes, expires_at_us }).collect()
    };
    let check = |records: &[(u32, u64, i64)], max_bytes: u64, expected: &[u32]| {
        assert_eq!(pick_over(&kept(records), 100, max_bytes), expected);
    };
    check(&[], 10, &[]);
    check(&[(1, 5, 200), (2, 5, 200)], 10, &[]);
    check(&[(1, 5, 200), (2, 5, 200), (3, 1, 200)], 10, &[1]);
    check(&[(1, 5, 100), (2, 5, 101), (3, 6, 99)], 10, &[1, 3]);
    check(&[(1, 5, 100), (2, 5, 200), (3, 6, 200)], 10, &[1, 2]);
    check(&[(1, 50, 200)], 10, &[1]);
    assert_eq!(pick_forgotten(&kept(&[(1, 1 << 30, 200), (2, 1, 200)]), 100), [1]);
}
