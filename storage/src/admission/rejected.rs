//! How does a rejected row stand on disk, and which of them are forgotten?

use prost::Message;

use super::rows::{RejectCode, RejectedRow};
use crate::env::Moment;
use crate::error::{Code, Error, Result};
use crate::limits::{MAX_REJECTED_BYTES, REJECTED_TTL_S};

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

/// Version byte in front of a record.
const VERSION: u8 = 1;

#[derive(Clone, PartialEq, Message)]
struct DiskRecord {
    #[prost(string, tag = "1")]
    producer: String,
    #[prost(uint64, tag = "2")]
    sequence: u64,
    #[prost(uint64, tag = "3")]
    row: u64,
    #[prost(string, optional, tag = "4")]
    column: Option<String>,
    #[prost(string, tag = "5")]
    code: String,
    #[prost(string, tag = "6")]
    message: String,
    #[prost(string, tag = "7")]
    payload: String,
    #[prost(sfixed64, tag = "8")]
    received_at_us: i64,
    #[prost(sfixed64, tag = "9")]
    expires_at_us: i64,
    #[prost(uint64, tag = "10")]
    received_uptime_us: u64,
}

impl RejectedRecord {
    /// The record of a row that was rejected at `at`; it expires 30 days later.
    pub fn new(producer: &str, sequence: u64, row: RejectedRow, at: Moment) -> Self {
        Self {
            producer: producer.to_owned(),
            sequence,
            row: row.row,
            column: row.column,
            code: row.code,
            message: row.message,
            payload: row.payload,
            received_at_us: at.wall_us,
            received_uptime_us: at.uptime_us,
            expires_at_us: at.wall_us.saturating_add(REJECTED_TTL_S as i64 * 1_000_000),
        }
    }

    /// When it was rejected.
    pub fn received(&self) -> Moment {
        Moment { wall_us: self.received_at_us, uptime_us: self.received_uptime_us }
    }

    pub fn encode(&self) -> Vec<u8> {
        let disk = DiskRecord {
            producer: self.producer.clone(),
            sequence: self.sequence,
            row: self.row,
            column: self.column.clone(),
            code: self.code.as_str().to_owned(),
            message: self.message.clone(),
            payload: self.payload.clone(),
            received_at_us: self.received_at_us,
            expires_at_us: self.expires_at_us,
            received_uptime_us: self.received_uptime_us,
        };
        let mut out = Vec::with_capacity(1 + disk.encoded_len());
        out.push(VERSION);
        out.extend(disk.encode_to_vec());
        out
    }

    /// Reads what [`RejectedRecord::encode`] wrote. `LOG_UNKNOWN_VERSION` for a newer form, `LOG_DAMAGED` for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let damaged = |why: &str| Error::new(Code::LogDamaged, format!("a stored rejected row is damaged: {why}"));
        let body = match bytes {
            [VERSION, body @ ..] => body,
            [version, ..] => {
                let message = format!("a rejected row has version {version}, this program reads {VERSION}");
                return Err(Error::new(Code::LogUnknownVersion, message));
            }
            [] => return Err(damaged("it is empty")),
        };
        let disk = DiskRecord::decode(body).map_err(|error| damaged("it cannot be decoded").source(error))?;
        Ok(Self {
            code: RejectCode::parse(&disk.code).ok_or_else(|| damaged("its code is unknown"))?,
            producer: disk.producer,
            sequence: disk.sequence,
            row: disk.row,
            column: disk.column,
            message: disk.message,
            payload: disk.payload,
            received_at_us: disk.received_at_us,
            received_uptime_us: disk.received_uptime_us,
            expires_at_us: disk.expires_at_us,
        })
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
