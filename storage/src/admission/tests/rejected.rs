//! Are rejected rows read again, how many are kept, and which are forgotten?

use crate::admission::rejected::{KeptRows, RejectedBlock, RejectedRecord, pick_forgotten, pick_over, received};
use crate::admission::{RejectCode, RejectedBatch, RejectedRow};
use crate::env::Moment;
use crate::error::Code;
use crate::limits::{
    MAX_REJECTED_BATCH_BYTES, MAX_REJECTED_BATCH_ROWS, MAX_REJECTED_MESSAGE_BYTES, MAX_REJECTED_ROW_BYTES,
    REJECTED_RECORD_BYTES, ROW_ERRORS_IN_ANSWER,
};

const AT: Moment = Moment { wall_us: 1_000_000, uptime_us: 300 };

fn row(number: u64) -> RejectedRow {
    RejectedRow {
        row: number,
        column: Some("c".into()),
        code: RejectCode::LateTime,
        message: "m".into(),
        payload: "{}".into(),
    }
}

/// What is read of `row` when producer `p` sent it in batch 3.
fn record(row: RejectedRow) -> RejectedRecord {
    RejectedRecord {
        producer: "p".into(),
        sequence: 3,
        row: row.row,
        column: row.column,
        code: row.code,
        message: row.message,
        payload: row.payload,
        received_at_us: 1_000_000,
        received_uptime_us: 300,
        expires_at_us: (30 * 86_400 + 1) * 1_000_000,
    }
}

fn read(blocks: &[RejectedBlock]) -> Vec<RejectedRecord> {
    blocks.iter().flat_map(|block| RejectedRecord::decode(&block.record(AT)).unwrap()).collect()
}

#[test]
fn records_are_read_again() {
    let rows: Vec<RejectedRow> =
        RejectCode::ALL.into_iter().map(|code| RejectedRow { code, column: None, ..row(7) }).collect();
    let blocks = RejectedBlock::encode("p", 3, rows.clone()).unwrap();
    assert_eq!(blocks.len(), 1);
    assert_eq!(read(&blocks), rows.into_iter().map(record).collect::<Vec<_>>());
    assert_eq!(received(&blocks[0].record(AT)).unwrap(), AT);
    assert!(RejectedBlock::encode("p", 3, Vec::new()).unwrap().is_empty());
}

#[test]
fn many_rows_are_few_records() {
    let fat = |number| RejectedRow { payload: "x".repeat(MAX_REJECTED_ROW_BYTES), ..row(number) };
    let rows: Vec<RejectedRow> = (0..50_000).map(row).chain((50_000..50_040).map(fat)).collect();
    let bytes: usize = rows.iter().map(|row| row.payload.len() + 80).sum();
    let blocks = RejectedBlock::encode("p", 3, rows.clone()).unwrap();
    assert!((2..=1 + bytes / REJECTED_RECORD_BYTES).contains(&blocks.len()), "{} records", blocks.len());
    assert_eq!(read(&blocks), rows.into_iter().map(record).collect::<Vec<_>>());
}

/// A record as it stands on disk; its block was made by a compressor that only stores.
fn version_two() -> Vec<u8> {
    let mut record = vec![2];
    record.extend(1_000_000i64.to_le_bytes());
    record.extend(300u64.to_le_bytes());
    record.extend(2_592_001_000_000i64.to_le_bytes());
    record.extend(30u32.to_le_bytes());
    record.extend(0x0858_ab93_3559_9a8bu64.to_le_bytes());
    record.extend([0x28, 0xb5, 0x2f, 0xfd, 0x20, 30, 0xf1, 0, 0]);
    record.extend([10, 1, b'p', 16, 3, 26, 23, 8, 7, 18, 1, b'c', 26, 9]);
    record.extend(b"LATE_TIME");
    record.extend([34, 1, b'm', 42, 2, b'{', b'}']);
    record
}

#[test]
fn version_two_is_still_read() {
    assert_eq!(RejectedRecord::decode(&version_two()).unwrap(), [record(row(7))]);
    // All but the block is what is written today.
    let written = RejectedBlock::encode("p", 3, vec![row(7)]).unwrap()[0].record(AT);
    assert_eq!(written[..29], version_two()[..29]);
}

#[test]
fn damage_is_refused() {
    let good = version_two();
    let check = |bytes: &[u8], code: Code| assert_eq!(RejectedRecord::decode(bytes).unwrap_err().code(), code);
    check(&[], Code::LogDamaged);
    check(&[&[1], &good[1..]].concat(), Code::LogUnknownVersion);
    check(&[&[3], &good[1..]].concat(), Code::LogUnknownVersion);
    for end in 1..good.len() {
        check(&good[..end], Code::LogDamaged);
    }
    for at in 25..good.len() {
        let mut flipped = good.clone();
        flipped[at] ^= 0xff;
        check(&flipped, Code::LogDamaged);
    }
}

#[test]
fn what_a_batch_leaves_is_bounded_and_counted() {
    let mut batch = RejectedBatch::new();
    batch.add((0..10).map(row).collect(), 10);
    batch.add((10..30_000).map(row).collect(), 1_000_000);
    // Behind what is missing nothing is kept.
    batch.add((2_000_000..2_000_005).map(row).collect(), 5);
    let rejections = batch.finish("p", 3).unwrap();
    assert_eq!(rejections.n_rejected, 1_000_015);
    let mut kept = read(&rejections.blocks);
    let note = kept.pop().unwrap();
    assert_eq!(kept, (0..MAX_REJECTED_BATCH_ROWS as u64).map(row).map(record).collect::<Vec<_>>());
    assert_eq!((note.row, note.code), (MAX_REJECTED_BATCH_ROWS as u64, RejectCode::NotKept));
    let n_more = format!("{} more rows", 1_000_015 - MAX_REJECTED_BATCH_ROWS);
    assert!(note.message.starts_with(&n_more), "{}", note.message);
    assert_eq!(rejections.first.len(), ROW_ERRORS_IN_ANSWER);
    assert_eq!(rejections.first[ROW_ERRORS_IN_ANSWER - 1].message, note.message);
    assert_eq!(rejections.first[1], RejectedRow { payload: String::new(), ..row(1) });
}

#[test]
fn a_batch_whose_rows_are_all_kept_says_nothing_of_others() {
    let mut batch = RejectedBatch::new();
    let rows: Vec<RejectedRow> = (0..MAX_REJECTED_BATCH_ROWS as u64).map(row).collect();
    batch.add(rows.clone(), rows.len() as u64);
    let rejections = batch.finish("p", 3).unwrap();
    assert_eq!(read(&rejections.blocks), rows.into_iter().map(record).collect::<Vec<_>>());
    assert!(rejections.first.iter().all(|row| row.code == RejectCode::LateTime));
    assert_eq!(RejectedBatch::new().finish("p", 3).unwrap().blocks.len(), 0);
}

#[test]
fn long_texts_are_cut() {
    let mut batch = RejectedBatch::new();
    let fat =
        |number| RejectedRow {
            payload: "x".repeat(MAX_REJECTED_ROW_BYTES), message: "ü".repeat(5_000), ..row(number)
        };
    batch.add((0..300).map(fat).collect(), 300);
    let kept = read(&batch.finish("p", 3).unwrap().blocks);
    assert_eq!(kept.iter().map(|row| row.payload.len()).sum::<usize>(), MAX_REJECTED_BATCH_BYTES);
    assert!(kept.iter().all(|row| row.message.len() == MAX_REJECTED_MESSAGE_BYTES));
    assert!(kept[299].payload.is_empty());
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
