//! How does a rejected row stand on disk, and which of them are forgotten?

use prost::Message;

use super::rows::{RejectCode, RejectedRow};
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
}

impl RejectedRecord {
    /// The record of a row that was rejected at `received_at_us`; it expires 30 days later.
    pub fn new(producer: &str, sequence: u64, row: RejectedRow, received_at_us: i64) -> Self {
        Self {
            producer: producer.to_owned(),
            sequence,
            row: row.row,
            column: row.column,
            code: row.code,
            message: row.message,
            payload: row.payload,
            received_at_us,
            expires_at_us: received_at_us.saturating_add(REJECTED_TTL_S * 1_000_000),
        }
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
            expires_at_us: disk.expires_at_us,
        })
    }
}

/// What the picker needs to know of a stored record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptRecord<K> {
    pub key: K,
    /// Of key and value.
    pub bytes: u64,
    pub expires_at_us: i64,
}

/// Which records of a table to delete, given all of them, oldest first: those that have expired, then the oldest until
/// the others fit 1 GiB. Counters in the ledger stay.
pub fn pick_forgotten<K: Clone>(oldest_first: &[KeptRecord<K>], now_us: i64) -> Vec<K> {
    pick_over(oldest_first, now_us, MAX_REJECTED_BYTES)
}

pub(super) fn pick_over<K: Clone>(oldest_first: &[KeptRecord<K>], now_us: i64, max_bytes: u64) -> Vec<K> {
    let expired = |record: &KeptRecord<K>| record.expires_at_us <= now_us;
    let mut left: u64 = oldest_first.iter().filter(|record| !expired(record)).map(|record| record.bytes).sum();
    let mut forgotten = Vec::new();
    for record in oldest_first {
        if expired(record) {
            forgotten.push(record.key.clone());
        } else if left > max_bytes {
            left -= record.bytes;
            forgotten.push(record.key.clone());
        }
    }
    forgotten
}
