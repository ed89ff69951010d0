//! How does a sidecar stand on disk? The filters one after another, then a directory of them. Bytes in, bytes out.
//!
//! ```text
//! filter     seed u64 · segment length u32 · segment count length u32 · fingerprints
//! directory  for each block of rows: rows u32 · filter's bytes u32 (0: it has none) · XXH3-64 of the filter's bytes u64
//!            n blocks u32 · version u16 · 0 u16 · magic "TWKF" · XXH3-64 of the directory up to here u64
//! ```
//! All numbers are little-endian. The first filter begins the file, and each of the others follows the one before it; the directory ends
//! the file. A filter is a binary fuse filter (`crate::fuse`) of the hashes of its block's keys. A block
//! is rows of the file that follow one another; where row groups begin and end is of no account.

use std::ops::{Range, RangeInclusive};

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Code, Error, Result};
use crate::fuse::Shape;
use crate::ids::array;

const MAGIC: [u8; 4] = *b"TWKF";
/// In version 1 each block was a row group of the file, and its readers count on that.
const VERSION: u16 = 2;
const VERSIONS: RangeInclusive<u16> = 1..=VERSION;

/// Of one block in the directory, and of what ends the directory.
const ENTRY_BYTES: usize = 16;
const END_BYTES: usize = 20;

/// Before a filter's fingerprints.
const SHAPE_BYTES: usize = 16;

/// The directory lies within so many bytes from the end of a sidecar, whatever its length.
pub const TAIL_BYTES: u64 = 32 << 10;

/// Blocks that the directory has place for.
const MAX_BLOCKS: usize = (TAIL_BYTES as usize - END_BYTES) / ENTRY_BYTES;

/// What a sidecar has filters of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// In the order of the file's rows, all of them.
    pub blocks: Vec<Block>,
}

/// Rows that follow one another, and where their filter is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub rows: u64,
    /// Of the filter in the sidecar, in bytes. Empty: there is none, and the block may hold any key.
    pub range: Range<u64>,
    checksum: u64,
}

impl Directory {
    /// Reads the directory from the last bytes of a sidecar of `sidecar_bytes`: all of them, or [`TAIL_BYTES`] at least. `FILE_DAMAGED` for
    /// anything that is no directory, `LOG_UNKNOWN_VERSION` for a newer form.
    pub fn parse(tail: &[u8], sidecar_bytes: u64) -> Result<Self> {
        let Some((_, end)) = tail.split_last_chunk::<END_BYTES>() else {
            return Err(damaged(&format!("it has {} bytes", tail.len())));
        };
        if end[8..12] != MAGIC {
            return Err(damaged("it does not end as one does"));
        }
        let version = u16::from_le_bytes([end[4], end[5]]);
        if !VERSIONS.contains(&version) {
            let message = format!("a sidecar has version {version}, this program reads 1 to {VERSION}");
            return Err(Error::new(Code::LogUnknownVersion, message)
                .hint("use the program version that wrote it, or a newer one"));
        }
        let n_blocks = half(end) as usize;
        let entries = (n_blocks <= MAX_BLOCKS).then(|| n_blocks * ENTRY_BYTES);
        let start = entries.and_then(|entries| tail.len().checked_sub(entries + END_BYTES));
        let start = start.ok_or_else(|| damaged(&format!("it says that it has {n_blocks} blocks")))?;
        let (proven, checksum) = tail[start..].split_at(tail.len() - start - size_of::<u64>());
        if xxh3_64(proven) != word(checksum) {
            return Err(damaged("its directory does not match its checksum"));
        }
        let mut blocks = Vec::with_capacity(n_blocks);
        let mut at = 0_u64;
        for entry in proven[..n_blocks * ENTRY_BYTES].chunks_exact(ENTRY_BYTES) {
            let filter_bytes = u64::from(half(&entry[4..]));
            let range = at..at + filter_bytes;
            at = range.end;
            blocks.push(Block { rows: u64::from(half(entry)), range, checksum: word(&entry[8..]) });
        }
        let whole = at + (tail.len() - start) as u64;
        if whole != sidecar_bytes {
            return Err(damaged(&format!("it has {sidecar_bytes} bytes, and its directory is of {whole}")));
        }
        Ok(Self { blocks })
    }
}

/// The filter of one block.
#[derive(Debug, Clone)]
pub struct Filter {
    /// `None`: there was none.
    shape: Option<Shape>,
    bytes: Bytes,
}

impl Filter {
    /// Takes the bytes that stand at the block's `range`. `FILE_DAMAGED` if they are others.
    pub fn parse(of: &Block, bytes: Bytes) -> Result<Self> {
        let wanted = of.range.end.saturating_sub(of.range.start);
        if bytes.len() as u64 != wanted {
            return Err(damaged(&format!("{} bytes of a filter are {wanted}", bytes.len())));
        }
        if bytes.is_empty() {
            return Ok(Self { shape: None, bytes });
        }
        if xxh3_64(&bytes) != of.checksum {
            return Err(damaged("a filter does not match its checksum"));
        }
        let unsound = || damaged("a filter has a shape that is none");
        let n_bytes = bytes.len().checked_sub(SHAPE_BYTES).and_then(|n| u32::try_from(n).ok()).ok_or_else(unsound)?;
        let shape = Shape {
            seed: word(&bytes),
            segment_length: half(&bytes[8..]),
            segment_count_length: half(&bytes[12..]),
            n_bytes,
        };
        if !shape.is_sound() {
            return Err(unsound());
        }
        Ok(Self { shape: Some(shape), bytes: bytes.slice(SHAPE_BYTES..) })
    }

    /// Whether the block may hold a key with this hash (see [`super::key_hashes`]). Never false for one that it holds; true for about
    /// one in 256 of others.
    pub fn contains(&self, hash: u64) -> bool {
        self.shape.is_none_or(|shape| shape.places(hash).admits(&self.bytes))
    }

    /// What it holds in memory.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }
}

/// The bytes of the filter of a block that holds keys with these hashes; none if no filter was found, which has never been seen. The
/// hashes are sorted and made distinct on the way.
pub(in crate::sealed) fn encode_filter(hashes: &mut Vec<u64>) -> Vec<u8> {
    hashes.sort_unstable();
    hashes.dedup();
    if hashes.is_empty() {
        return Vec::new();
    }
    let Some((shape, fingerprints)) = Shape::build(hashes) else { return Vec::new() };
    let mut out = Vec::with_capacity(SHAPE_BYTES + fingerprints.len());
    out.extend(shape.seed.to_le_bytes());
    out.extend(shape.segment_length.to_le_bytes());
    out.extend(shape.segment_count_length.to_le_bytes());
    out.extend_from_slice(&fingerprints);
    out
}

/// The directory of filters that are being written.
#[derive(Debug, Default)]
pub(in crate::sealed) struct DirectoryBuilder {
    entries: Vec<u8>,
}

impl DirectoryBuilder {
    /// The filter of the next block was written.
    pub(in crate::sealed) fn add(&mut self, rows: u32, filter: &[u8]) -> Result<()> {
        let n_bytes = u32::try_from(filter.len());
        let n_bytes = n_bytes.map_err(|_| Error::internal(format!("a filter of {rows} keys is too large")))?;
        self.entries.extend(rows.to_le_bytes());
        self.entries.extend(n_bytes.to_le_bytes());
        self.entries.extend(xxh3_64(filter).to_le_bytes());
        Ok(())
    }

    /// Whether readers would find it: it lies within [`TAIL_BYTES`].
    pub(in crate::sealed) fn is_full(&self) -> bool {
        self.entries.len() / ENTRY_BYTES >= MAX_BLOCKS
    }

    /// The bytes that end the sidecar.
    pub(in crate::sealed) fn finish(self) -> Vec<u8> {
        let n_blocks = (self.entries.len() / ENTRY_BYTES) as u32;
        let mut out = self.entries;
        out.extend(n_blocks.to_le_bytes());
        out.extend(VERSION.to_le_bytes());
        out.extend([0, 0]);
        out.extend(MAGIC);
        let checksum = xxh3_64(&out);
        out.extend(checksum.to_le_bytes());
        out
    }
}

fn half(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(array(bytes))
}

fn word(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(array(bytes))
}

fn damaged(how: &str) -> Error {
    Error::new(Code::FileDamaged, format!("a sidecar is damaged: {how}"))
        .hint("queries read the file beside it without it; CALL verify writes it again")
}
