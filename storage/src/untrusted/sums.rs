//! Are these bytes of a file of a table the ones that were written? Each block of it has a checksum, so that who reads a part tests that part.
//!
//! ```text
//! │ block │ block │ block │ … │ the rest │ page index, footer with the checksums of the blocks │
//! │◄────────────── columns ─────────────►│◄─ tail, whose own is known beside the file (Tail) ─►│
//! ```
//! The checksum of the whole file says as much, and to know it all of the file has to be read.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::error::{Code, Error, Result};

/// The key of a file's footer under which the checksums of its blocks stand: Z85( version u8 | u32, little-endian, for each block ).
pub const SUMS: &str = "tidewater.sums";

const VERSION: u8 = 1;

/// Reading a few rows takes up to a block more at each end of what is asked for, which a disk reads ahead anyway; the checksums are a part in
/// six thousand of the file.
pub(crate) const BLOCK_BYTES: u64 = 32 << 10;

const SUM_BYTES: usize = size_of::<u32>();

/// What has to be the same of a block: half of its XXH3-64.
fn sum_of(xxh3: u64) -> u32 {
    xxh3 as u32
}

/// The checksums of a file that is being written.
#[derive(Default)]
pub(crate) struct SumsWriter {
    hash: Xxh3,
    /// In the block that is not full yet.
    n_bytes: u64,
    sums: Vec<u8>,
}

impl SumsWriter {
    /// The next bytes of the file.
    pub(crate) fn add(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let left = usize::try_from(BLOCK_BYTES - self.n_bytes).unwrap_or(usize::MAX);
            let (part, behind) = bytes.split_at(left.min(bytes.len()));
            self.hash.update(part);
            self.n_bytes += part.len() as u64;
            bytes = behind;
            if self.n_bytes == BLOCK_BYTES {
                self.end_block();
            }
        }
    }

    fn end_block(&mut self) {
        self.sums.extend(sum_of(self.hash.digest()).to_le_bytes());
        self.hash.reset();
        self.n_bytes = 0;
    }

    /// Of all bytes until here, as they stand under [`SUMS`].
    pub(crate) fn finish(mut self) -> String {
        if self.n_bytes > 0 {
            self.end_block();
        }
        let mut text = Vec::with_capacity(1 + self.sums.len());
        text.push(VERSION);
        text.extend(self.sums);
        z85::encode(text)
    }
}

/// The checksums of a file's blocks, and which blocks were tested since they were read.
#[derive(Debug)]
pub struct Sums {
    sums: Vec<u32>,
    /// Of all blocks.
    n_bytes: u64,
    /// A bit for each block: it was as it should be.
    tested: Vec<AtomicU64>,
}

impl Sums {
    /// What stands under [`SUMS`] in the footer of a file with so many bytes before its tail. `LOG_UNKNOWN_VERSION` for a newer form,
    /// `FILE_DAMAGED` for anything else.
    pub fn read(text: &str, n_bytes: u64) -> Result<Self> {
        let bytes = z85::decode(text).map_err(|e| damaged(&format!("the checksums of its blocks are damaged: {e}")))?;
        let sums = match bytes.split_first() {
            Some((&VERSION, sums)) => sums,
            Some((version, _)) => {
                return Err(Error::new(
                    Code::LogUnknownVersion,
                    format!("the checksums of a file's blocks have version {version}, this program reads {VERSION}"),
                ));
            }
            None => return Err(damaged("it has no checksums of its blocks")),
        };
        let sums: Vec<u32> = sums.as_chunks::<SUM_BYTES>().0.iter().map(|sum| u32::from_le_bytes(*sum)).collect();
        if sums.len() as u64 != n_bytes.div_ceil(BLOCK_BYTES) || bytes.len() != 1 + SUM_BYTES * sums.len() {
            return Err(damaged(&format!("it has checksums of {} blocks in {n_bytes} bytes", sums.len())));
        }
        let tested = (0..sums.len().div_ceil(u64::BITS as usize)).map(|_| AtomicU64::new(0)).collect();
        Ok(Self { sums, n_bytes, tested })
    }

    /// Bytes on the heap.
    pub fn bytes(&self) -> usize {
        self.sums.capacity() * SUM_BYTES + self.tested.capacity() * size_of::<AtomicU64>()
    }

    /// What is to be read instead of `ranges` so that it can be tested: whole blocks, ascending, none of them twice. `None`: all of their
    /// blocks were tested before.
    pub fn to_read(&self, ranges: &[Range<u64>]) -> Option<Vec<Range<u64>>> {
        let mut blocks = ranges.iter().flat_map(|range| range.start / BLOCK_BYTES..range.end.div_ceil(BLOCK_BYTES));
        if blocks.all(|block| self.is_tested(block)) {
            return None;
        }
        let mut wide: Vec<Range<u64>> = ranges.iter().map(|range| self.around(range)).collect();
        wide.sort_unstable_by_key(|range| range.start);
        wide.dedup_by(|next, last| {
            let is_joined = next.start <= last.end;
            if is_joined {
                last.end = last.end.max(next.end);
            }
            is_joined
        });
        Some(wide)
    }

    /// The parts `ranges` of what was read of the file, which is tested: `read` are the bytes of `wide`, which [`Self::to_read`] gave for
    /// them. `FILE_DAMAGED`: they are not what was written.
    pub fn tested(&self, wide: &[Range<u64>], read: &[Bytes], ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        for (place, bytes) in wide.iter().zip(read) {
            self.test(place.start / BLOCK_BYTES, bytes)?;
        }
        let part = |range: &Range<u64>| -> Option<Bytes> {
            let at = wide.partition_point(|place| place.start <= range.start).checked_sub(1)?;
            let (place, bytes) = (wide.get(at)?, read.get(at)?);
            let start = usize::try_from(range.start - place.start).ok()?;
            let end = usize::try_from(range.end.checked_sub(place.start)?).ok()?;
            (start <= end && end <= bytes.len()).then(|| bytes.slice(start..end))
        };
        ranges.iter().map(|range| part(range).ok_or_else(|| damaged("it is shorter than it was"))).collect()
    }

    /// Tests blocks from `first` on.
    fn test(&self, first: u64, bytes: &[u8]) -> Result<()> {
        for (block, bytes) in (first..).zip(bytes.chunks(BLOCK_BYTES as usize)) {
            let at = usize::try_from(block).ok().filter(|at| self.sums.get(*at) == Some(&sum_of(xxh3_64(bytes))));
            let at = at.ok_or_else(|| damaged("its bytes do not match their checksum"))?;
            self.tested[at / u64::BITS as usize].fetch_or(bit_of(at), Ordering::Relaxed);
        }
        Ok(())
    }

    fn is_tested(&self, block: u64) -> bool {
        let Ok(at) = usize::try_from(block) else { return false };
        let word = self.tested.get(at / u64::BITS as usize);
        word.is_some_and(|word| word.load(Ordering::Relaxed) & bit_of(at) != 0)
    }

    /// The blocks of a range. What stands behind the last one is of none, and is found to be so when it is tested.
    fn around(&self, range: &Range<u64>) -> Range<u64> {
        let end = range.end.div_ceil(BLOCK_BYTES).saturating_mul(BLOCK_BYTES).min(self.n_bytes).max(range.end);
        range.start / BLOCK_BYTES * BLOCK_BYTES..end
    }
}

fn bit_of(block: usize) -> u64 {
    1 << (block % u64::BITS as usize)
}

fn damaged(how: &str) -> Error {
    Error::new(Code::FileDamaged, how)
}
