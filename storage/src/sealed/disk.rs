//! How does what is known of a file stand on disk? One record, versioned; an unknown version is refused by name.

use std::sync::Arc;

use arrow::array::{Array, ArrayData, ArrayRef, AsArray, BinaryArray, BooleanArray, StringArray, make_array};
use arrow::buffer::Buffer;
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, TimeUnit};
use prost::Message;

use super::bounds::ColumnBounds;
use super::file::{SegmentFile, Sidecar, Tail};
use crate::error::{Code, Error, Result};
use crate::ids::{CommitSeq, SchemaId};

/// Stands first in every record.
const VERSION: u8 = 1;

#[derive(Clone, PartialEq, Message)]
struct DiskFile {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint64, tag = "2")]
    bytes: u64,
    #[prost(uint64, tag = "3")]
    rows: u64,
    #[prost(fixed64, tag = "4")]
    checksum: u64,
    #[prost(uint32, tag = "5")]
    schema: u32,
    #[prost(uint64, tag = "6")]
    min_seq: u64,
    #[prost(uint64, tag = "7")]
    max_seq: u64,
    #[prost(sint64, optional, tag = "8")]
    hour: Option<i64>,
    #[prost(message, repeated, tag = "9")]
    columns: Vec<DiskBounds>,
    #[prost(sint64, tag = "10")]
    created_at_us: i64,
    #[prost(message, optional, tag = "11")]
    sidecar: Option<DiskSidecar>,
    #[prost(message, optional, tag = "12")]
    entry: Option<DiskEntry>,
    #[prost(message, optional, tag = "13")]
    tail: Option<DiskTail>,
}

/// The entry that all rows came with.
#[derive(Clone, PartialEq, Message)]
struct DiskEntry {
    #[prost(uint64, tag = "1")]
    seq: u64,
    #[prost(sint64, tag = "2")]
    stamp_us: i64,
}

/// The bounds of one column. A value is little-endian in the width of its type, a text its bytes, a BOOLEAN one byte.
#[derive(Clone, PartialEq, Message)]
struct DiskBounds {
    #[prost(uint64, tag = "1")]
    nulls: u64,
    /// 0: there are no bounds.
    #[prost(uint32, tag = "2")]
    kind: u32,
    /// Of a DECIMAL, with the scale.
    #[prost(uint32, tag = "3")]
    precision: u32,
    #[prost(uint32, tag = "4")]
    scale: u32,
    #[prost(bytes = "vec", optional, tag = "5")]
    min: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "6")]
    max: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct DiskSidecar {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint64, tag = "2")]
    bytes: u64,
    #[prost(fixed64, tag = "3")]
    checksum: u64,
}

#[derive(Clone, PartialEq, Message)]
struct DiskTail {
    #[prost(uint64, tag = "1")]
    bytes: u64,
    #[prost(fixed64, tag = "2")]
    checksum: u64,
}

impl SegmentFile {
    /// The record of the file.
    pub(crate) fn to_disk(&self) -> Vec<u8> {
        let disk = DiskFile {
            name: self.name.clone(),
            bytes: self.bytes,
            rows: self.rows,
            checksum: self.checksum,
            schema: self.schema.0,
            min_seq: self.min_seq.0,
            max_seq: self.max_seq.0,
            hour: self.hour,
            columns: self.columns.iter().map(to_disk_bounds).collect(),
            created_at_us: self.created_at_us,
            sidecar: self.sidecar.as_ref().map(|sidecar| DiskSidecar {
                name: sidecar.name.clone(),
                bytes: sidecar.bytes,
                checksum: sidecar.checksum,
            }),
            entry: self.entry.map(|(seq, stamp_us)| DiskEntry { seq: seq.0, stamp_us }),
            tail: self.tail.map(|Tail { bytes, checksum }| DiskTail { bytes, checksum }),
        };
        let mut out = vec![VERSION];
        out.extend(disk.encode_to_vec());
        out
    }

    /// Reads what [`SegmentFile::to_disk`] wrote; `what` names it in errors. `LOG_UNKNOWN_VERSION` for a newer form, `LOG_DAMAGED` for
    /// anything else.
    pub(crate) fn from_disk(bytes: &[u8], what: &str) -> Result<Self> {
        let disk = match bytes.split_first() {
            Some((&VERSION, body)) => DiskFile::decode(body).map_err(|e| damaged(what, &e.to_string()))?,
            Some((version, _)) => {
                return Err(Error::new(
                    Code::LogUnknownVersion,
                    format!("the record of {what} has version {version}, this program reads {VERSION}"),
                )
                .hint("start the program version that wrote this data folder, or a newer one"));
            }
            None => return Err(damaged(what, "it is empty")),
        };
        let columns = disk.columns.into_iter().enumerate().map(|(at, bounds)| {
            from_disk_bounds(bounds).ok_or_else(|| damaged(what, &format!("the bounds of column {at} are none")))
        });
        Ok(Self {
            columns: columns.collect::<Result<_>>()?,
            name: disk.name,
            bytes: disk.bytes,
            rows: disk.rows,
            checksum: disk.checksum,
            schema: SchemaId(disk.schema),
            min_seq: CommitSeq(disk.min_seq),
            max_seq: CommitSeq(disk.max_seq),
            entry: disk.entry.map(|entry| (CommitSeq(entry.seq), entry.stamp_us)),
            hour: disk.hour,
            created_at_us: disk.created_at_us,
            sidecar: disk.sidecar.map(|sidecar| Sidecar {
                name: sidecar.name,
                bytes: sidecar.bytes,
                checksum: sidecar.checksum,
            }),
            tail: disk.tail.map(|DiskTail { bytes, checksum }| Tail { bytes, checksum }),
        })
    }
}

fn damaged(what: &str, how: &str) -> Error {
    Error::new(Code::LogDamaged, format!("the record of {what} is damaged: {how}"))
        .hint("restore the data folder from a backup")
}

/// Types that have bounds, by the numbers that stand on disk; two more are below.
static KINDS: [(u32, DataType); 16] = [
    (1, DataType::Boolean),
    (2, DataType::Int8),
    (3, DataType::Int16),
    (4, DataType::Int32),
    (5, DataType::Int64),
    (6, DataType::UInt8),
    (7, DataType::UInt16),
    (8, DataType::UInt32),
    (9, DataType::UInt64),
    (10, DataType::Float32),
    (11, DataType::Float64),
    (12, DataType::Utf8),
    (13, DataType::Binary),
    (14, DataType::Date32),
    (15, DataType::Time64(TimeUnit::Microsecond)),
    (16, DataType::Timestamp(TimeUnit::Microsecond, None)),
];
/// A TIMESTAMPTZ, whose zone is UTC.
const INSTANT: u32 = 17;
const DECIMAL: u32 = 18;

/// Number, precision and scale of a type that has bounds.
fn to_kind(data_type: &DataType) -> Option<(u32, u32, u32)> {
    match data_type {
        DataType::Decimal128(precision, scale) => Some((DECIMAL, u32::from(*precision), u32::try_from(*scale).ok()?)),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => Some((INSTANT, 0, 0)),
        other => KINDS.iter().find(|(_, known)| known == other).map(|(kind, _)| (*kind, 0, 0)),
    }
}

fn from_kind(kind: u32, precision: u32, scale: u32) -> Option<DataType> {
    match kind {
        DECIMAL if scale <= precision && (1..=u32::from(DECIMAL128_MAX_PRECISION)).contains(&precision) => {
            Some(DataType::Decimal128(u8::try_from(precision).ok()?, i8::try_from(scale).ok()?))
        }
        INSTANT => Some(DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
        other => KINDS.iter().find(|(kind, _)| *kind == other).map(|(_, known)| known.clone()),
    }
}

fn to_disk_bounds(bounds: &ColumnBounds) -> DiskBounds {
    let known = bounds.min.as_ref().or(bounds.max.as_ref());
    match known.and_then(|value| to_kind(value.data_type())) {
        Some((kind, precision, scale)) => DiskBounds {
            nulls: bounds.nulls,
            kind,
            precision,
            scale,
            min: bounds.min.as_ref().and_then(to_bytes),
            max: bounds.max.as_ref().and_then(to_bytes),
        },
        // A type that has no bounds: nothing is lost but a chance to leave the file unread.
        None => DiskBounds { nulls: bounds.nulls, ..DiskBounds::default() },
    }
}

/// `None`: the record does not say what it should.
fn from_disk_bounds(disk: DiskBounds) -> Option<ColumnBounds> {
    if disk.kind == 0 {
        let has_none = disk.min.is_none() && disk.max.is_none();
        return has_none.then(|| ColumnBounds::unknown(disk.nulls));
    }
    let data_type = from_kind(disk.kind, disk.precision, disk.scale)?;
    let value = |bytes: Option<Vec<u8>>| match bytes {
        Some(bytes) => from_bytes(&bytes, &data_type).map(Some),
        None => Some(None),
    };
    Some(ColumnBounds { min: value(disk.min)?, max: value(disk.max)?, nulls: disk.nulls })
}

/// The bytes of an array's only value.
fn to_bytes(value: &ArrayRef) -> Option<Vec<u8>> {
    if value.len() != 1 || value.is_null(0) {
        return None;
    }
    match value.data_type() {
        DataType::Boolean => Some(vec![u8::from(value.as_boolean().value(0))]),
        DataType::Utf8 => Some(value.as_string::<i32>().value(0).as_bytes().to_vec()),
        DataType::Binary => Some(value.as_binary::<i32>().value(0).to_vec()),
        fixed => {
            let width = fixed.primitive_width()?;
            let data = value.to_data();
            let start = data.offset() * width;
            Some(data.buffers().first()?.as_slice().get(start..start + width)?.to_vec())
        }
    }
}

/// An array of the one value that [`to_bytes`] took.
fn from_bytes(bytes: &[u8], data_type: &DataType) -> Option<ArrayRef> {
    match data_type {
        DataType::Boolean => match bytes {
            [value @ (0 | 1)] => Some(Arc::new(BooleanArray::from(vec![*value == 1]))),
            _ => None,
        },
        DataType::Utf8 => Some(Arc::new(StringArray::from(vec![str::from_utf8(bytes).ok()?]))),
        DataType::Binary => Some(Arc::new(BinaryArray::from(vec![bytes]))),
        fixed => {
            if bytes.len() != fixed.primitive_width()? {
                return None;
            }
            let data = ArrayData::builder(fixed.clone()).len(1).add_buffer(Buffer::from(bytes)).align_buffers(true);
            Some(make_array(data.build().ok()?))
        }
    }
}
