//! Which rows are in a payload? Arrow and JSON, decoded within the limits of one batch.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch, RecordBatchOptions};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, Schema};
use bytes::Bytes;
use tidewater_proto::ingest::v1::Payload;
use tidewater_proto::ingest::v1::payload::Format;
use tidewater_storage::admission::{IncomingRows, json};
use tidewater_storage::catalog::TableDef;
use tidewater_storage::limits::MAX_BATCH_BYTES;
use tidewater_storage::memory::{MemoryLedger, Share};
use tidewater_storage::{Code, Error, Result};

use super::ipc::{Decoder, Limits, decode_stream, flat_batch_bytes};
use super::request::{Target, invalid};

/// A payload of this size is decoded on a thread that may be busy; smaller ones are decoded at once.
const INLINE_BYTES: usize = 64 << 10;

/// Decodes a payload. `opened` is the schema of the stream, for payloads that are single messages.
pub(super) async fn decode(
    target: &Target,
    payload: Payload,
    opened: Option<&Arc<Decoder>>,
    memory: &Arc<MemoryLedger>,
) -> Result<IncomingRows> {
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
    };
    if size < INLINE_BYTES {
        return work.run();
    }
    // The payload and, for a moment, what comes out of it; storage counts the rows from then on.
    let held = memory.charge(Share::Realtime, 2 * size as u64);
    let decoded = tokio::task::spawn_blocking(move || {
        let _held = held;
        work.run()
    });
    decoded.await.map_err(|error| Error::internal(format!("a payload could not be decoded: {error}")))?
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
}

impl Work {
    fn run(self) -> Result<IncomingRows> {
        match self.format {
            Format::ArrowIpcStream(bytes) => one_batch(&bytes).map(Into::into),
            Format::ArrowIpcMessage(bytes) => {
                let decoder = self.opened.ok_or_else(|| {
                    invalid(
                        "an Arrow IPC message without a schema",
                        "send 'arrow_schema' in Open, or complete streams as 'arrow_ipc_stream'",
                    )
                })?;
                bounded(decoder.batch(&bytes)?).map(Into::into)
            }
            Format::JsonRows(bytes) => json::decode(&self.def, &bytes, self.ignore_unknown_columns),
        }
    }
}

/// The rows of a complete stream as one batch.
fn one_batch(bytes: &Bytes) -> Result<RecordBatch> {
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
