//! Can damaged or forged bytes do harm? Valid streams with bytes changed, cut, added, and every number forged.

use std::panic;

use arrow::array::{Array, RecordBatch};

use super::super::{Limits, declared_stream, decode_stream};
use super::fixtures::{CODECS, batch, columns, stream, union};

const LIMITS: Limits =
    Limits { decoded_bytes: 1 << 20, dictionary_bytes: 256 << 10, copied_bytes: 1 << 20, rows: 100_000, unions: true };

/// Decodes; what comes out was declared, is within the budget and can be read to its last value.
fn survive(bytes: &[u8]) -> bool {
    let declared = declared_stream(bytes, &LIMITS);
    let Ok((_, batches)) = decode_stream(bytes, LIMITS) else { return false };
    declared.unwrap();
    let mut total = 0;
    for batch in &batches {
        for column in batch.columns() {
            column.to_data().validate_full().unwrap();
            total += column.get_buffer_memory_size();
        }
        let options = arrow::util::display::FormatOptions::new().with_display_error(true);
        let _ = arrow::util::pretty::pretty_format_batches_with_options(
            &[batch.slice(0, batch.num_rows().min(3))],
            &options,
        );
    }
    // Dictionaries are shared by batches, and empty arrays hold a little.
    assert!(total as u64 <= 4 * LIMITS.decoded_bytes, "{total} bytes");
    true
}

/// Streams with few rows, so that metadata is most of them; all types in one, and each type alone.
fn valid_streams() -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for codec in CODECS {
        out.push(stream(&[batch(20), batch(20)], codec));
        for (name, array) in columns(9).into_iter().chain([("union", union(9))]) {
            out.push(stream(&[RecordBatch::try_from_iter([(name, array)]).unwrap()], codec));
        }
    }
    out
}

/// Numbers that are always the same (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

/// Panics that the decoder catches are bugs all the same: count them.
fn count_panics(work: impl FnOnce()) -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    let name = std::thread::current().name().map(str::to_owned);
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if std::thread::current().name() == name.as_deref() {
            PANICS.fetch_add(1, Ordering::Relaxed);
        }
        eprintln!("{info}");
    }));
    work();
    panic::set_hook(before);
    PANICS.swap(0, Ordering::Relaxed)
}

#[test]
fn bytes_that_were_changed_cut_or_added() {
    let streams = valid_streams();
    let panics = count_panics(|| {
        let mut numbers = Numbers(1);
        let mut survived = 0;
        for round in 0..8_000 {
            let mut bytes = streams[round % streams.len()].clone();
            for _ in 0..=numbers.below(3) {
                let at = numbers.below(bytes.len());
                match numbers.below(6) {
                    0 => bytes[at] ^= 1 << numbers.below(8),
                    1 => bytes[at] = numbers.next() as u8,
                    2 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][numbers.below(5)],
                    3 => bytes.truncate(at.max(1)),
                    4 => bytes.insert(at, numbers.next() as u8),
                    _ => {
                        let until = (at + 1 + numbers.below(64)).min(bytes.len());
                        bytes.drain(at..until);
                        bytes.push(0);
                    }
                }
            }
            survived += usize::from(survive(&bytes));
        }
        assert!(survived > 0);
    });
    assert_eq!(panics, 0, "the decoder had to catch panics");
}

#[test]
fn every_number_forged() {
    const WIDE: [i64; 6] = [-1, 1 << 16, u32::MAX as i64, 1 << 40, i64::MAX, i64::MIN];
    const NARROW: [i32; 4] = [0, 1, -1, i32::MAX];
    let panics = count_panics(|| {
        for codec in CODECS {
            for (name, array) in columns(5) {
                let bytes = stream(&[RecordBatch::try_from_iter([(name, array)]).unwrap()], codec);
                for at in (0..bytes.len() - 8).step_by(4) {
                    for number in NARROW {
                        survive(&[&bytes[..at], &number.to_le_bytes(), &bytes[at + 4..]].concat());
                    }
                    for number in WIDE.iter().filter(|_| at % 8 == 0) {
                        survive(&[&bytes[..at], &number.to_le_bytes(), &bytes[at + 8..]].concat());
                    }
                }
            }
        }
    });
    assert_eq!(panics, 0, "the decoder had to catch panics");
}

#[test]
fn noise() {
    let mut numbers = Numbers(2);
    for _ in 0..2_000 {
        let n = numbers.below(300);
        let noise: Vec<u8> = (0..n).map(|_| numbers.next() as u8).collect();
        survive(&noise);
        survive(&[&[0xff, 0xff, 0xff, 0xff, n as u8, 0, 0, 0], noise.as_slice()].concat());
    }
}
