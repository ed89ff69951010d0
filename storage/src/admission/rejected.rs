//! How do rejected rows stand on disk, and which of them are forgotten?
//!
//! ```text
//! version u8 | received i64 | uptime u64 | expires i64 | raw length u32 | xxh3 u64 | block
//! ```
//! Numbers are little-endian, times in µs. The block is compressed, holds neighbouring rows of one batch and is made before the worker
//! says when; length and checksum are about the block and tested before anything of it is decoded.

use prost::Message;
use xxhash_rust::xxh3::xxh3_64;

use super::rows::{RejectCode, RejectedRow};
use crate::env::Moment;
use crate::error::{Code, Error, Result};
use crate::ids::array;
use crate::limits::{MAX_REJECTED_BYTES, REJECTED_RECORD_BYTES, REJECTED_TTL_S};

/// One row of `system.rejected`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedRecord {
    /// Empty for batches without a producer.
    pub producer: String,
    pub sequence: u64,
    /// Its place in the batch as the client sent it, from 0.
    pub row: u64,
    pub column: Option<String>,
    pub code: RejectCode,
    pub message: String,
    /// The row as JSON, cut at 64 KiB.
    pub payload: String,
    /// µs since 1970.
    pub received_at_us: i64,
    /// Uptime of the log by then, µs: the row is forgotten when it is old by both clocks.
    pub received_uptime_us: u64,
    pub expires_at_us: i64,
}

/// The version that this code writes, in front of a record. 1 held one row a record.
const VERSION: u8 = 2;

/// Everything before the block.
const HEADER_BYTES: usize = 37;

/// What a block may decode to: it is cut behind the row that takes it over [`REJECTED_RECORD_BYTES`].
const MAX_RAW_BYTES: usize = 2 * REJECTED_RECORD_BYTES;

/// What a row takes beside its texts, at most.
const ROW_BYTES: usize = 64;

#[derive(Clone, PartialEq, Message)]
struct DiskRow {
    #[prost(uint64, tag = "1")]
    row: u64,
    #[prost(string, optional, tag = "2")]
    column: Option<String>,
    #[prost(string, tag = "3")]
    code: String,
    #[prost(string, tag = "4")]
    message: String,
    #[prost(string, tag = "5")]
    payload: String,
}

#[derive(Clone, PartialEq, Message)]
struct DiskRows {
    #[prost(string, tag = "1")]
    producer: String,
    #[prost(uint64, tag = "2")]
    sequence: u64,
    #[prost(message, repeated, tag = "3")]
    rows: Vec<DiskRow>,
}

/// Rejected rows of one batch, compressed: a record but for when they were rejected.
#[derive(Debug, Clone)]
pub struct RejectedBlock {
    raw_bytes: u32,
    checksum: u64,
    data: Vec<u8>,
}

impl RejectedBlock {
    /// Blocks of about [`REJECTED_RECORD_BYTES`] with the rows of one batch, in their order.
    pub fn encode(producer: &str, sequence: u64, rows: Vec<RejectedRow>) -> Result<Vec<Self>> {
        let mut blocks = Vec::new();
        let mut next = DiskRows { producer: producer.to_owned(), sequence, rows: Vec::new() };
        let mut bytes = 0;
        for row in rows {
            bytes += text_bytes(&row) + ROW_BYTES;
            next.rows.push(DiskRow {
                row: row.row,
                column: row.column,
                code: row.code.as_str().to_owned(),
                message: row.message,
                payload: row.payload,
            });
            if bytes >= REJECTED_RECORD_BYTES {
                blocks.push(Self::of(&next)?);
                next.rows.clear();
                bytes = 0;
            }
        }
        if !next.rows.is_empty() {
            blocks.push(Self::of(&next)?);
        }
        Ok(blocks)
    }

    fn of(rows: &DiskRows) -> Result<Self> {
        let raw = rows.encode_to_vec();
        let raw_bytes =
            u32::try_from(raw.len()).ok().filter(|bytes| *bytes as usize <= MAX_RAW_BYTES).ok_or_else(|| {
                Error::internal(format!("{} bytes of rejected rows are too many for a record", raw.len()))
            })?;
        let data = zstd::bulk::compress(&raw, 1)
            .map_err(|e| Error::internal(format!("{raw_bytes} bytes of rejected rows cannot be compressed: {e}")))?;
        Ok(Self { raw_bytes, checksum: xxh3_64(&data), data })
    }

    /// What it holds in memory and, about, on disk.
    pub fn bytes(&self) -> usize {
        HEADER_BYTES + self.data.len()
    }

    /// The record of rows that were rejected at `at`; they expire 30 days later.
    pub fn record(&self, at: Moment) -> Vec<u8> {
        let expires_us = at.wall_us.saturating_add(REJECTED_TTL_S as i64 * 1_000_000);
        let mut out = Vec::with_capacity(self.bytes());
        out.push(VERSION);
        out.extend(at.wall_us.to_le_bytes());
        out.extend(at.uptime_us.to_le_bytes());
        out.extend(expires_us.to_le_bytes());
        out.extend(self.raw_bytes.to_le_bytes());
        out.extend(self.checksum.to_le_bytes());
        out.extend(&self.data);
        out
    }
}

/// Bytes of a row's texts.
fn text_bytes(row: &RejectedRow) -> usize {
    row.column.as_ref().map_or(0, String::len) + row.message.len() + row.payload.len()
}

/// When the rows of a record were rejected, without decoding them. Errors as [`RejectedRecord::decode`].
pub fn received(record: &[u8]) -> Result<Moment> {
    let (header, _) = split(record)?;
    Ok(Moment { wall_us: i64::from_le_bytes(array(&header[1..])), uptime_us: u64::from_le_bytes(array(&header[9..])) })
}

fn split(record: &[u8]) -> Result<(&[u8], &[u8])> {
    match record.first() {
        Some(&VERSION) => record.split_at_checked(HEADER_BYTES).ok_or_else(|| damaged("it is shorter than its header")),
        Some(version) => Err(Error::new(
            Code::LogUnknownVersion,
            format!("a record of rejected rows has version {version}, this program reads {VERSION}"),
        )),
        None => Err(damaged("it is empty")),
    }
}

fn damaged(why: &str) -> Error {
    Error::new(Code::LogDamaged, format!("a record of rejected rows is damaged: {why}"))
}

impl RejectedRecord {
    /// The rows of a record that [`RejectedBlock::record`] made, in their order; about [`REJECTED_RECORD_BYTES`] of them.
    /// `LOG_UNKNOWN_VERSION` for a newer form, `LOG_DAMAGED` for anything else.
    pub fn decode(record: &[u8]) -> Result<Vec<Self>> {
        let (header, data) = split(record)?;
        let received = received(record)?;
        let expires_at_us = i64::from_le_bytes(array(&header[17..]));
        let raw_bytes = u32::from_le_bytes(array(&header[25..])) as usize;
        if raw_bytes > MAX_RAW_BYTES || xxh3_64(data) != u64::from_le_bytes(array(&header[29..])) {
            return Err(damaged("its checksum does not match its bytes"));
        }
        let raw = zstd::bulk::decompress(data, raw_bytes).map_err(|e| damaged("it cannot be decoded").source(e))?;
        if raw.len() != raw_bytes {
            return Err(damaged("its rows are shorter than it says"));
        }
        let disk = DiskRows::decode(raw.as_slice()).map_err(|e| damaged("it cannot be decoded").source(e))?;
        let row = |row: DiskRow| -> Result<Self> {
            Ok(Self {
                code: RejectCode::parse(&row.code).ok_or_else(|| damaged("the code of a row is unknown"))?,
                producer: disk.producer.clone(),
                sequence: disk.sequence,
                row: row.row,
                column: row.column,
                message: row.message,
                payload: row.payload,
                received_at_us: received.wall_us,
                received_uptime_us: received.uptime_us,
                expires_at_us,
            })
        };
        disk.rows.into_iter().map(row).collect()
    }
}

/// Rejected rows of neighbouring entries, which are forgotten together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptRows<K> {
    /// Which they are.
    pub key: K,
    /// Of keys and values.
    pub bytes: u64,
    /// When the newest of them was rejected.
    pub newest: Moment,
}

/// Which rejected rows of a table to delete, given all of them, oldest first: those that are older than 30 days by both clocks, then
/// the oldest until the others fit 1 GiB. Counters in the ledger stay.
pub fn pick_forgotten<K: Clone>(oldest_first: impl Iterator<Item = KeptRows<K>> + Clone, now: Moment) -> Vec<K> {
    pick_over(oldest_first, now, MAX_REJECTED_BYTES)
}

pub(super) fn pick_over<K: Clone>(
    oldest_first: impl Iterator<Item = KeptRows<K>> + Clone,
    now: Moment,
    max_bytes: u64,
) -> Vec<K> {
    let expired = |rows: &KeptRows<K>| rows.newest.is_older_than(REJECTED_TTL_S, now);
    let mut left: u64 = oldest_first.clone().filter(|rows| !expired(rows)).map(|rows| rows.bytes).sum();
    let mut forgotten = Vec::new();
    for rows in oldest_first {
        if expired(&rows) {
            forgotten.push(rows.key);
        } else if left > max_bytes {
            left -= rows.bytes;
            forgotten.push(rows.key);
        }
    }
    forgotten
}
