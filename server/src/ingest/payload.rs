//! Which rows are in a payload? Arrow and JSON, decoded within the limits of one batch and the memory of the process.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, RecordBatch, RecordBatchOptions};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, Schema};
use bytes::Bytes;
use tidewater_proto::ingest::v1::Payload;
use tidewater_proto::ingest::v1::payload::Format;
use tidewater_storage::admission::{IncomingRows, json};
use tidewater_storage::catalog::TableDef;
use tidewater_storage::limits::{MAX_BATCH_BYTES, MAX_BATCH_ROWS};
use tidewater_storage::memory::{Decoding, MemoryLedger};
use tidewater_storage::{Code, Error, PreparedWrite, Result, RowsRequest};

use super::decoding::{INLINE_BYTES, aside, run, space, with};
use super::ipc::{Declared, Decoder, Limits, declared_stream, decode_stream, flat_batch_bytes};
use super::request::{Target, invalid};
use crate::grpc::Places;

/// Values of JSON rows stand as text while they are decoded, which may take this much: storage refuses more.
const MAX_JSON_BYTES: u64 = 4 * MAX_BATCH_BYTES as u64;

/// A byte of JSON becomes about so many: buffers double when they grow.
const JSON_FACTOR: u64 = 2;

/// Each element of a list is a value of its own, though two bytes of JSON are enough for it.
const JSON_LIST_FACTOR: u64 = 18;

/// What is noted of a JSON row beside its values: where it stood, or why it is bad.
const JSON_ROW_BYTES: u64 = 64;

/// Rows that were decoded, and the memory that is held for them until storage counts them.
pub(crate) struct Rows {
    rows: IncomingRows,
    held: Option<Decoding>,
    /// There was memory for them before they were decoded.
    has_space: bool,
}

impl Rows {
    /// Rows that were decoded elsewhere.
    pub fn new(rows: IncomingRows, held: Option<Decoding>) -> Self {
        Self { rows, held, has_space: false }
    }

    /// Casts, admits, hashes and compresses them for the table of `target`.
    pub async fn prepare(self, target: &Target, sequence: u64) -> Result<PreparedWrite> {
        let Self { rows, mut held, has_space } = self;
        let request = RowsRequest { has_space, ..target.rows_request(rows, sequence)? };
        if let Some(held) = &mut held {
            held.hand_over();
        }
        let prepared = target.table.prepare(request).await;
        drop(held);
        prepared
    }
}

/// Decodes the payload of a call. `message` is held until that is done.
pub(super) async fn decode(
    target: &Target,
    payload: Payload,
    message: Places,
    memory: &Arc<MemoryLedger>,
) -> Result<Rows> {
    let (work, declared) = work_on(target, payload, None, message).await?;
    let (rows, held) = run(declared, memory.decoding(declared.bytes()), move || work.run()).await?;
    Ok(Rows::new(rows, held))
}

/// A payload of a stream for which there is memory.
pub(super) struct Ready {
    work: Work,
    declared: Declared,
    held: Decoding,
}

impl Ready {
    /// Waits for the memory, `at_most` so long. `opened` is the schema of the stream, for payloads that are single messages.
    ///
    /// A stream does this for one payload after the other: those that have memory are then all before the one that waits, and go on into the
    /// table without it. Were they to wait side by side, the first could wait for memory that those behind it hold, and they for their turn.
    pub async fn within(
        at_most: Duration,
        target: &Target,
        payload: Payload,
        opened: Option<&Arc<Decoder>>,
        (message, memory): (Places, &Arc<MemoryLedger>),
    ) -> Result<Self> {
        let (work, declared) = work_on(target, payload, opened, message).await?;
        let held = space(declared, memory, at_most).await?;
        Ok(Self { work, declared, held })
    }

    pub async fn decode(self) -> Result<Rows> {
        let Self { work, declared, held } = self;
        let (rows, held) = with(declared, Some(held), move || work.run()).await?;
        Ok(Rows { rows, held, has_space: true })
    }
}

/// What there is to do, and what it takes.
async fn work_on(
    target: &Target,
    payload: Payload,
    opened: Option<&Arc<Decoder>>,
    message: Places,
) -> Result<(Work, Declared)> {
    let format = payload.format.ok_or_else(|| invalid("the batch has no payload", "send rows as Arrow IPC or JSON"))?;
    let size = size_of(&format);
    if size > MAX_BATCH_BYTES {
        return Err(too_large(size as u64));
    }
    let work = Work {
        format,
        def: target.table.def(),
        ignore_unknown_columns: target.ignore_unknown_columns,
        opened: opened.cloned(),
        _message: message,
    };
    let size = size as u64;
    // One message says what it takes in its flatbuffer. To read what all messages of a large stream declare takes a while, too, and
    // rows of JSON are counted byte by byte.
    let (work, declared) = match size < INLINE_BYTES || matches!(work.format, Format::ArrowIpcMessage(_)) {
        true => work.declared()?,
        false => aside(move || work.declared()).await?,
    };
    Ok((work, declared.with_sent(size)))
}

/// Bytes of a payload as sent.
pub(super) fn size_of(format: &Format) -> usize {
    match format {
        Format::ArrowIpcStream(bytes) | Format::ArrowIpcMessage(bytes) | Format::JsonRows(bytes) => bytes.len(),
    }
}

struct Work {
    format: Format,
    def: Arc<TableDef>,
    ignore_unknown_columns: bool,
    opened: Option<Arc<Decoder>>,
    /// Held as long as `format`.
    _message: Places,
}

impl Work {
    /// What [`Self::run`] takes, by the payload's own word; nothing is decoded for it.
    fn declared(self) -> Result<(Self, Declared)> {
        let declared = match &self.format {
            Format::ArrowIpcStream(bytes) => declared_stream(bytes, &Limits::default())?,
            Format::ArrowIpcMessage(bytes) => self.decoder()?.declared_batch(bytes)?,
            Format::JsonRows(bytes) => json_declared(&self.def, bytes),
        };
        Ok((self, declared))
    }

    fn run(self) -> Result<IncomingRows> {
        match &self.format {
            Format::ArrowIpcStream(bytes) => one_batch(bytes).map(Into::into),
            Format::ArrowIpcMessage(bytes) => bounded(self.decoder()?.batch(bytes)?).map(Into::into),
            Format::JsonRows(bytes) => json::decode(&self.def, bytes, self.ignore_unknown_columns),
        }
    }

    fn decoder(&self) -> Result<&Decoder> {
        self.opened.as_deref().ok_or_else(|| {
            invalid(
                "an Arrow IPC message without a schema",
                "send 'arrow_schema' in Open, or complete streams as 'arrow_ipc_stream'",
            )
        })
    }
}

/// About what JSON rows for the table take. Each row has a value, or its place, in each column.
fn json_declared(def: &TableDef, text: &[u8]) -> Declared {
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    text_declared(def, n_json_rows(text), text.len() as u64)
}

/// About what so many rows for the table take, read from a text of `n_bytes`.
pub(crate) fn text_declared(def: &TableDef, n_rows: u64, n_bytes: u64) -> Declared {
    let n_rows = n_rows.min(MAX_BATCH_ROWS as u64);
    let width = |field: &&Field| field.data_type().primitive_width().unwrap_or(4).max(4) as u64;
    let row_bytes: u64 = def.arrow_schema.flattened_fields().iter().map(width).sum();
    let has_lists = def.arrow_schema.fields().iter().any(|field| field.data_type().is_nested());
    let factor = if has_lists { JSON_LIST_FACTOR } else { JSON_FACTOR };
    let values = n_rows.saturating_mul(row_bytes).saturating_add(factor.saturating_mul(n_bytes));
    Declared::new(values.min(MAX_JSON_BYTES).saturating_add(n_rows * JSON_ROW_BYTES))
}

/// Elements of an array, or lines; whether or not they are objects.
fn n_json_rows(text: &[u8]) -> u64 {
    if !text.trim_ascii_start().starts_with(b"[") {
        return 1 + text.iter().filter(|byte| **byte == b'\n').count() as u64;
    }
    let (mut n, mut depth, mut is_text, mut is_escaped) = (1, 0_u64, false, false);
    for byte in text {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            _ if is_text => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' if depth == 1 => n += 1,
            _ => {}
        }
    }
    n
}

/// The rows of a complete stream as one batch.
pub(crate) fn one_batch(bytes: &Bytes) -> Result<RecordBatch> {
    let (schema, mut batches) = decode_stream(bytes, Limits::default())?;
    let flat = batches.iter().map(flat_batch_bytes).fold(0, u64::saturating_add);
    if flat > MAX_BATCH_BYTES as u64 {
        return Err(too_large(flat));
    }
    match (batches.len(), batches.pop()) {
        (1, Some(only)) => Ok(only),
        (_, None) => Ok(RecordBatch::new_empty(schema)),
        (_, Some(last)) => {
            batches.push(last);
            // Batches may have dictionaries of their own, which together may have more values than their indexes reach.
            let plain = batches.iter().map(spelled_out).collect::<Result<Vec<_>>>()?;
            Ok(concat_batches(&plain[0].schema(), &plain)?)
        }
    }
}

/// A batch with dictionaries replaced by their values. Lists and structs keep theirs.
fn spelled_out(batch: &RecordBatch) -> Result<RecordBatch> {
    let mut fields = Vec::with_capacity(batch.num_columns());
    let mut columns = Vec::with_capacity(batch.num_columns());
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        let column = match column.data_type() {
            DataType::Dictionary(_, values) => cast(column, values)?,
            _ => Arc::clone(column),
        };
        fields.push(Field::new(field.name(), column.data_type().clone(), true));
        columns.push(column);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
}

fn bounded(batch: RecordBatch) -> Result<RecordBatch> {
    let flat = flat_batch_bytes(&batch);
    if flat > MAX_BATCH_BYTES as u64 { Err(too_large(flat)) } else { Ok(batch) }
}

fn too_large(bytes: u64) -> Error {
    Error::new(Code::BatchTooLarge, format!("the batch has {bytes} bytes, more than {MAX_BATCH_BYTES}"))
        .hint("send fewer rows in one batch")
        .with("limit_bytes", MAX_BATCH_BYTES)
        .with("bytes", bytes)
}
