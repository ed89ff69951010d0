//! What is done before the worker? Cast, admission, key hashing, compression: on the caller's task, in parallel.

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3;

use crate::admission::{AdmissionRules, IncomingRows, RejectedRow, admit};
use crate::catalog::{Durability, TableDef};
use crate::dedup::{KeySpec, Keys};
use crate::error::{Code, Error, Result};
use crate::limits::{
    LARGE_BATCH_BYTES, LARGE_BATCH_ROWS, MAX_BATCH_BYTES, MAX_IDEMPOTENCY_KEY_BYTES, MAX_STATEMENT_ROWS_BYTES,
};
use crate::log::{Block, ipc_bytes};
use crate::table::request::{ProducerBatch, RowsRequest};

/// Rows that passed admission, with what the worker needs of them.
pub(crate) struct PreparedPart {
    pub(crate) rows: RecordBatch,
    /// `None`: the table has no primary key.
    pub(crate) keys: Option<Keys>,
    /// Large parts bring their block; the worker joins small ones.
    pub(crate) block: Option<Block>,
}

/// A request that nothing but the producer's position and the key budget can refuse any more.
pub(crate) struct PreparedRows {
    pub(crate) parts: Vec<PreparedPart>,
    pub(crate) received: u64,
    pub(crate) rejected: Vec<RejectedRow>,
    pub(crate) late: u64,
    pub(crate) future: u64,
    pub(crate) max_event_us: Option<i64>,
    /// Decoded bytes of the rows that passed.
    pub(crate) bytes: u64,
    /// Of the rows as the client sent them; 0 without a producer.
    pub(crate) hash: u64,
    pub(crate) producer: Option<ProducerBatch>,
    /// Principal and key.
    pub(crate) idempotency: Option<(String, String)>,
    pub(crate) principal: String,
    pub(crate) durability: Durability,
}

impl PreparedRows {
    pub(crate) fn n_rows(&self) -> usize {
        self.parts.iter().map(|p| p.rows.num_rows()).sum()
    }
}

/// Casts, admits and encodes. `now_us` is the stamp that event times are measured from.
pub(crate) fn prepare(
    def: &TableDef,
    spec: Option<&KeySpec>,
    request: RowsRequest,
    now_us: i64,
) -> Result<PreparedRows> {
    check_request(def, &request)?;
    let rules = AdmissionRules {
        time_zone: request.time_zone,
        now_us,
        on_error: request.on_error,
        ignore_unknown_columns: request.ignore_unknown_columns,
    };
    let limit = if request.statement { MAX_STATEMENT_ROWS_BYTES } else { MAX_BATCH_BYTES } as u64;
    let mut prepared = PreparedRows {
        parts: Vec::with_capacity(request.rows.len()),
        received: 0,
        rejected: Vec::new(),
        late: 0,
        future: 0,
        max_event_us: None,
        bytes: 0,
        hash: if request.producer.is_some() { content_hash(&request.rows)? } else { 0 },
        idempotency: request.idempotency_key.map(|key| (request.principal.clone(), key.0)),
        producer: request.producer,
        principal: request.principal,
        durability: request.durability.unwrap_or_default().max(def.options.durability),
    };
    if request.durability.is_none() {
        prepared.durability = def.options.durability;
    }
    for incoming in request.rows {
        let admitted = admit(def, incoming, &rules)?;
        prepared.rejected.extend(admitted.rejected.into_iter().map(|mut r| {
            r.row += prepared.received;
            r
        }));
        prepared.received += admitted.received;
        prepared.late += admitted.late;
        prepared.future += admitted.future;
        prepared.bytes += admitted.bytes;
        prepared.max_event_us = prepared.max_event_us.max(admitted.max_event_time_us);
        if prepared.bytes > limit {
            return Err(too_large(prepared.bytes, limit, request.statement));
        }
        prepared.parts.push(prepare_part(admitted.rows, admitted.bytes, spec)?);
    }
    Ok(prepared)
}

fn prepare_part(rows: RecordBatch, bytes: u64, spec: Option<&KeySpec>) -> Result<PreparedPart> {
    let keys = spec.map(|spec| spec.keys(&rows));
    let large = rows.num_rows() >= LARGE_BATCH_ROWS || bytes >= LARGE_BATCH_BYTES as u64;
    let block = if large && rows.num_rows() > 0 { Some(Block::encode(&rows)?) } else { None };
    Ok(PreparedPart { rows, keys, block })
}

fn check_request(def: &TableDef, request: &RowsRequest) -> Result<()> {
    if let Some(expected) = request.expected_schema
        && expected != def.schema_id.0
    {
        return Err(Error::new(
            Code::SchemaVersionMismatch,
            format!("table {} has schema version {}, the request expects {expected}", def.name, def.schema_id.0),
        )
        .hint("read the schema again with GetTableSchema")
        .with("schema_version", def.schema_id.0));
    }
    let Some(key) = &request.idempotency_key else { return Ok(()) };
    let problem = if request.producer.is_some() {
        "the request names a producer and an idempotency key".to_owned()
    } else if key.0.is_empty() || key.0.len() > MAX_IDEMPOTENCY_KEY_BYTES {
        format!("an idempotency key of {} bytes", key.0.len())
    } else {
        return Ok(());
    };
    Err(Error::new(Code::InvalidIdempotencyKey, problem)
        .hint(format!("send a producer, or a key of 1 to {MAX_IDEMPOTENCY_KEY_BYTES} bytes")))
}

fn too_large(bytes: u64, limit: u64, statement: bool) -> Error {
    let (code, what, hint) = if statement {
        (
            Code::StatementRowsTooLarge,
            "the statement's rows",
            "split the statement, or send the rows as batches with `tidewater ingest`",
        )
    } else {
        (Code::BatchTooLarge, "the batch", "send smaller batches")
    };
    Error::new(code, format!("{what} are more than {limit} bytes decoded ({bytes} so far)"))
        .hint(hint)
        .with("limit_bytes", limit)
}

/// A hash of what the client sent: equal for a retry, whatever admission says of the rows by then.
fn content_hash(rows: &[IncomingRows]) -> Result<u64> {
    let mut hash = Xxh3::new();
    for incoming in rows {
        // Metadata is not content: two clients may annotate one schema differently.
        let schema = Arc::new(Schema::new(incoming.batch.schema().fields().clone()));
        hash.update(&ipc_bytes(&incoming.batch.clone().with_schema(schema)?)?);
        for rejected in &incoming.rejected {
            hash.update(&rejected.row.to_le_bytes());
            hash.update(rejected.payload.as_bytes());
        }
    }
    Ok(hash.digest())
}
