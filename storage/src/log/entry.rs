//! How does a change stand on disk? Header, facts, then one compressed block around plain Arrow IPC per part.
//!
//! ```text
//! version u8 | kind u8 | 0 u16 | schema id u32 | raw length u64 | xxh3 u64 | facts length u32 | facts | blocks
//! ```
//! Numbers are little-endian. The checksum covers everything but itself and is tested, like every length, before anything is decoded.

use arrow::array::{BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use prost::Message;
use roaring::RoaringBitmap;
use xxhash_rust::xxh3::Xxh3;

use crate::error::{Code, Error, Result};
use crate::ids::{SchemaId, array};
use crate::limits::MAX_STATEMENT_ROWS_BYTES;

/// The version that this code writes. A reader refuses what it does not know, by name.
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 28;
const CHECKSUM_AT: usize = 16;

/// Rows above this average size are worth zstd's time; below it LZ4 costs a third (thin rows compress no better).
const FAT_ROW_BYTES: usize = 512;

/// What one block may decode to: a statement's rows and what Arrow adds to them.
const MAX_RAW_BYTES: u64 = 2 * MAX_STATEMENT_ROWS_BYTES as u64;

/// The closed list of changes. The numbers stand on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryKind {
    Rows = 1,
    /// Files that are already built.
    Segment = 2,
    Delete = 3,
    Truncate = 4,
    Schema = 5,
    /// A producer's new epoch.
    Producer = 6,
    /// Keys or producers that expire.
    Forget = 7,
}

impl EntryKind {
    fn from_disk(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Rows,
            2 => Self::Segment,
            3 => Self::Delete,
            4 => Self::Truncate,
            5 => Self::Schema,
            6 => Self::Producer,
            7 => Self::Forget,
            _ => return None,
        })
    }
}

/// How a block is compressed. The numbers stand on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    Lz4 = 1,
    Zstd = 2,
}

/// A batch as it stands in an entry.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct BatchMeta {
    /// Empty: none was named.
    #[prost(string, tag = "1")]
    pub(crate) producer: String,
    #[prost(uint64, tag = "2")]
    pub(crate) epoch: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) sequence: u64,
    /// Its rows in the blocks, in order, those that lost deduplication included.
    #[prost(uint32, tag = "4")]
    pub(crate) rows: u32,
}

#[derive(Clone, PartialEq, Message)]
struct BlockMeta {
    #[prost(uint32, tag = "1")]
    codec: u32,
    #[prost(uint64, tag = "2")]
    raw_bytes: u64,
    #[prost(uint64, tag = "3")]
    bytes: u64,
    #[prost(uint32, tag = "4")]
    rows: u32,
    /// A serialised roaring bitmap of the rows that lost deduplication; empty: none did.
    #[prost(bytes = "vec", tag = "5")]
    lost: Vec<u8>,
}

/// A producer's new epoch, as it stands in an entry.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ProducerEpoch {
    #[prost(string, tag = "1")]
    pub(crate) producer: String,
    #[prost(uint64, tag = "2")]
    pub(crate) epoch: u64,
    #[prost(bool, tag = "3")]
    pub(crate) reset: bool,
}

/// Files that were built before their entry was written: they stand under the table's `built/` and become rows of it at once.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Segment {
    /// Each in the disk form of a settled file, with the sequence and the stamp of this entry.
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub(crate) files: Vec<Vec<u8>>,
    /// The layers that hold their keys, each in the disk form of its record; none for a table without a primary key.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub(crate) key_layers: Vec<Vec<u8>>,
}

/// Rows of one file that go.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct DeletedRows {
    #[prost(string, tag = "1")]
    pub(crate) file: String,
    /// A serialised roaring bitmap of row numbers.
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) rows: Vec<u8>,
}

/// What a DELETE found. Their keys stay remembered.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Delete {
    #[prost(message, repeated, tag = "1")]
    pub(crate) files: Vec<DeletedRows>,
}

/// What is old by both clocks and remembered no longer.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Forget {
    #[prost(string, repeated, tag = "1")]
    pub(crate) producers: Vec<String>,
    /// Key layers whose range ends at or before this sequence; 0: none.
    #[prost(uint64, tag = "2")]
    pub(crate) keys_through: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Facts {
    #[prost(int64, tag = "1")]
    stamp_us: i64,
    #[prost(message, repeated, tag = "2")]
    batches: Vec<BatchMeta>,
    #[prost(message, repeated, tag = "3")]
    blocks: Vec<BlockMeta>,
    #[prost(message, optional, tag = "4")]
    producer: Option<ProducerEpoch>,
    /// The definition's disk form, in a `Schema` entry.
    #[prost(bytes = "vec", tag = "5")]
    definition: Vec<u8>,
    /// Uptime that the log has accumulated, in microseconds: forgetting needs age by both clocks.
    #[prost(uint64, tag = "6")]
    uptime_us: u64,
    #[prost(message, optional, tag = "7")]
    segment: Option<Segment>,
    #[prost(message, optional, tag = "8")]
    delete: Option<Delete>,
    #[prost(message, optional, tag = "9")]
    forget: Option<Forget>,
}

/// Rows, encoded and compressed. Made on the connection's task for large batches, by the worker for joined small ones.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    codec: Codec,
    raw_bytes: u64,
    data: Vec<u8>,
    rows: u32,
    lost: RoaringBitmap,
}

impl Block {
    /// Encodes `rows` as an Arrow IPC stream and compresses it.
    pub(crate) fn encode(rows: &RecordBatch) -> Result<Self> {
        let raw = ipc_bytes(rows)?;
        let n_rows = rows.num_rows();
        let (codec, data) = if raw.len() / n_rows.max(1) > FAT_ROW_BYTES {
            let data = zstd::bulk::compress(&raw, 1)
                .map_err(|e| Error::internal(format!("{} bytes of rows cannot be compressed: {e}", raw.len())))?;
            (Codec::Zstd, data)
        } else {
            (Codec::Lz4, lz4_flex::block::compress(&raw))
        };
        Ok(Self { codec, raw_bytes: raw.len() as u64, data, rows: n_rows as u32, lost: RoaringBitmap::new() })
    }

    /// The rows that lost deduplication: they stay in the block and are never read.
    pub(crate) fn with_lost(mut self, lost: RoaringBitmap) -> Self {
        self.lost = lost;
        self
    }

    /// Compressed size.
    pub(crate) fn bytes(&self) -> usize {
        self.data.len()
    }

    /// The rows that won.
    pub(crate) fn decode(&self) -> Result<RecordBatch> {
        let raw_bytes = self.raw_bytes as usize;
        let raw = match self.codec {
            Codec::Lz4 => lz4_flex::block::decompress(&self.data, raw_bytes).map_err(|e| damaged(&e.to_string()))?,
            Codec::Zstd => zstd::bulk::decompress(&self.data, raw_bytes).map_err(|e| damaged(&e.to_string()))?,
        };
        let mut reader = StreamReader::try_new(raw.as_slice(), None).map_err(|e| damaged(&e.to_string()))?;
        let rows = match reader.next() {
            Some(rows) => rows.map_err(|e| damaged(&e.to_string()))?,
            None => return Err(damaged("a block without a batch")),
        };
        if rows.num_rows() != self.rows as usize {
            return Err(damaged("a block with another number of rows than its header says"));
        }
        if self.lost.is_empty() {
            return Ok(rows);
        }
        let kept = BooleanBuffer::collect_bool(rows.num_rows(), |row| !self.lost.contains(row as u32));
        Ok(filter_record_batch(&rows, &BooleanArray::new(kept, None))?)
    }
}

/// A plain Arrow IPC stream of one batch.
fn ipc_bytes(rows: &RecordBatch) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(rows.get_array_memory_size().min(MAX_STATEMENT_ROWS_BYTES) + 4096);
    let mut writer = StreamWriter::try_new(&mut out, &rows.schema())?;
    writer.write(rows)?;
    writer.finish()?;
    drop(writer);
    Ok(out)
}

/// What an entry says.
#[derive(Debug, Clone)]
pub(crate) enum EntryBody {
    Rows { batches: Vec<BatchMeta>, blocks: Vec<Block> },
    Segment(Segment),
    Delete(Delete),
    Truncate,
    Schema { definition: Vec<u8> },
    Producer(ProducerEpoch),
    Forget(Forget),
}

impl EntryBody {
    pub(crate) fn kind(&self) -> EntryKind {
        match self {
            Self::Rows { .. } => EntryKind::Rows,
            Self::Segment(_) => EntryKind::Segment,
            Self::Delete(_) => EntryKind::Delete,
            Self::Truncate => EntryKind::Truncate,
            Self::Schema { .. } => EntryKind::Schema,
            Self::Producer(_) => EntryKind::Producer,
            Self::Forget(_) => EntryKind::Forget,
        }
    }
}

/// One change of a table.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) schema: SchemaId,
    /// Microseconds since 1970; never goes back within a log.
    pub(crate) stamp_us: i64,
    /// Uptime that the log has accumulated, in microseconds.
    pub(crate) uptime_us: u64,
    pub(crate) body: EntryBody,
}

impl Entry {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut facts = Facts { stamp_us: self.stamp_us, uptime_us: self.uptime_us, ..Facts::default() };
        let mut blocks: &[Block] = &[];
        match &self.body {
            EntryBody::Rows { batches, blocks: own } => {
                facts.batches.clone_from(batches);
                facts.blocks = own.iter().map(BlockMeta::of).collect();
                blocks = own;
            }
            EntryBody::Segment(segment) => facts.segment = Some(segment.clone()),
            EntryBody::Delete(delete) => facts.delete = Some(delete.clone()),
            EntryBody::Truncate => {}
            EntryBody::Schema { definition } => facts.definition.clone_from(definition),
            EntryBody::Producer(epoch) => facts.producer = Some(epoch.clone()),
            EntryBody::Forget(forget) => facts.forget = Some(forget.clone()),
        }
        let kind = self.body.kind();
        let facts = facts.encode_to_vec();
        let raw: u64 = blocks.iter().map(|b| b.raw_bytes).sum();
        let mut out = Vec::with_capacity(HEADER_BYTES + facts.len() + blocks.iter().map(Block::bytes).sum::<usize>());
        out.extend([VERSION, kind as u8, 0, 0]);
        out.extend(self.schema.0.to_le_bytes());
        out.extend(raw.to_le_bytes());
        out.extend([0; 8]);
        out.extend((facts.len() as u32).to_le_bytes());
        out.extend(facts);
        for block in blocks {
            out.extend(&block.data);
        }
        let sum = checksum(&out);
        out[CHECKSUM_AT..CHECKSUM_AT + 8].copy_from_slice(&sum.to_le_bytes());
        out
    }

    /// Reads what [`Entry::encode`] wrote. `LOG_DAMAGED` or `LOG_UNKNOWN_VERSION` otherwise; the caller adds which entry it is.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        if bytes.len() < HEADER_BYTES {
            return Err(damaged("shorter than its header"));
        }
        if bytes[0] != VERSION {
            return Err(Error::new(
                Code::LogUnknownVersion,
                format!("has version {}, this program reads {VERSION}", bytes[0]),
            )
            .hint("start the version of Tidewater that wrote this folder, or a newer one"));
        }
        let stored = u64::from_le_bytes(array(&bytes[CHECKSUM_AT..]));
        if checksum(bytes) != stored {
            return Err(damaged("its checksum does not match its bytes"));
        }
        let kind = EntryKind::from_disk(bytes[1]);
        let schema = SchemaId(u32::from_le_bytes(array(&bytes[4..])));
        let facts_bytes = u32::from_le_bytes(array(&bytes[24..])) as usize;
        let (facts, data) = bytes[HEADER_BYTES..]
            .split_at_checked(facts_bytes)
            .ok_or_else(|| damaged("its facts are longer than it is"))?;
        let facts = Facts::decode(facts).map_err(|e| damaged(&e.to_string()))?;
        let body = match kind {
            Some(EntryKind::Rows) => {
                EntryBody::Rows { blocks: read_blocks(&facts.blocks, data)?, batches: facts.batches }
            }
            Some(EntryKind::Segment) => EntryBody::Segment(facts.segment.ok_or_else(|| without_facts("segment"))?),
            Some(EntryKind::Delete) => EntryBody::Delete(facts.delete.ok_or_else(|| without_facts("delete"))?),
            Some(EntryKind::Truncate) => EntryBody::Truncate,
            Some(EntryKind::Schema) => EntryBody::Schema { definition: facts.definition },
            Some(EntryKind::Producer) => EntryBody::Producer(facts.producer.ok_or_else(|| without_facts("producer"))?),
            Some(EntryKind::Forget) => EntryBody::Forget(facts.forget.ok_or_else(|| without_facts("forget"))?),
            None => {
                return Err(Error::new(Code::LogUnknownVersion, format!("is of an unknown kind ({})", bytes[1]))
                    .hint("start the version of Tidewater that wrote this folder, or a newer one"));
            }
        };
        Ok(Self { schema, stamp_us: facts.stamp_us, uptime_us: facts.uptime_us, body })
    }
}

impl BlockMeta {
    fn of(block: &Block) -> Self {
        let mut lost = Vec::new();
        if !block.lost.is_empty() {
            lost.reserve(block.lost.serialized_size());
            // Writing to a Vec does not fail.
            let _ = block.lost.serialize_into(&mut lost);
        }
        Self {
            codec: block.codec as u32,
            raw_bytes: block.raw_bytes,
            bytes: block.data.len() as u64,
            rows: block.rows,
            lost,
        }
    }
}

fn read_blocks(metas: &[BlockMeta], mut data: &[u8]) -> Result<Vec<Block>> {
    let mut blocks = Vec::with_capacity(metas.len());
    for meta in metas {
        if meta.raw_bytes > MAX_RAW_BYTES {
            return Err(damaged("a block that decodes to more than any entry holds"));
        }
        let codec = match meta.codec {
            1 => Codec::Lz4,
            2 => Codec::Zstd,
            other => return Err(damaged(&format!("a block with unknown codec {other}"))),
        };
        let (own, rest) = data
            .split_at_checked(meta.bytes as usize)
            .ok_or_else(|| damaged("a block that is longer than the entry"))?;
        data = rest;
        let lost = match meta.lost.as_slice() {
            [] => RoaringBitmap::new(),
            bytes => RoaringBitmap::deserialize_from(bytes).map_err(|e| damaged(&e.to_string()))?,
        };
        blocks.push(Block { codec, raw_bytes: meta.raw_bytes, data: own.to_vec(), rows: meta.rows, lost });
    }
    if !data.is_empty() {
        return Err(damaged("bytes after its last block"));
    }
    Ok(blocks)
}

fn checksum(entry: &[u8]) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(&entry[..CHECKSUM_AT]);
    hash.update(&entry[CHECKSUM_AT + 8..]);
    hash.digest()
}

fn without_facts(kind: &str) -> Error {
    damaged(&format!("a {kind} entry that does not say what it is about"))
}

fn damaged(what: &str) -> Error {
    Error::new(Code::LogDamaged, format!("is damaged: {what}"))
        .hint("restore the folder from a backup; nothing was changed")
}
