//! What is done before the worker? Cast, admission, key hashing, compression: on the caller's task, in parallel.

use std::sync::Arc;

use arrow::array::{RecordBatch, new_null_array};
use arrow::datatypes::SchemaRef;

use crate::admission::{AdmissionRules, Admitted, IncomingRows, RejectedBatch, Rejections, admit};
use crate::catalog::{Durability, TableDef};
use crate::dedup::{FoundInRuns, KeySpec, Keys, Known, RunSet};
use crate::error::{Code, Error, Result};
use crate::ids::{CommitSeq, SchemaId};
use crate::limits::{
    LARGE_BATCH_BYTES, LARGE_BATCH_ROWS, MAX_BATCH_BYTES, MAX_IDEMPOTENCY_KEY_BYTES, MAX_STATEMENT_ROWS_BYTES,
};
use crate::log::{Block, Op};
use crate::producers::ContentHash;
use crate::realtime::{ZoneMap, tail_zones};
use crate::table::request::{IdempotencyKey, ProducerBatch, RowsRequest};

/// Rows that passed admission, with what the worker needs of them.
pub(crate) struct PreparedPart {
    pub(crate) rows: RecordBatch,
    /// `None`: the table has no primary key.
    pub(crate) keys: Option<Keys>,
    /// Large parts bring their block; the worker joins small ones.
    pub(crate) block: Option<Block>,
    /// What the runs on disk knew of the keys before the worker's turn; it holds as long as the runs have the same keys.
    pub(crate) in_runs: Option<FoundInRuns>,
    /// What closed layers and runs know of the keys; the worker looks it up before it claims any.
    pub(crate) known: Option<Known>,
    /// Of parts that stay as they are until they are sorted.
    pub(crate) zones: Option<ZoneMap>,
}

/// A request that nothing but the producer's position and the key budget can refuse any more, or one that brings its refusal along.
pub(crate) struct PreparedRows {
    /// What admission said against a batch that can be recognised as a repeat. Only the worker knows whether it is one: a batch that was
    /// committed is repeated, even if its rows would be refused by now.
    pub(crate) refusal: Option<Error>,
    /// The table's when they passed admission.
    pub(crate) schema: SchemaId,
    pub(crate) parts: Vec<PreparedPart>,
    pub(crate) received: u64,
    pub(crate) rejected: Rejections,
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
    /// Records of others that become durable with the rows, or not at all.
    pub(crate) records: Vec<Op>,
    /// Records of rejected rows that some of these rows were in until now.
    pub(crate) replayed: Vec<ReplayedRecord>,
}

/// A record of rejected rows, some of which are on their way into the table.
pub(crate) struct ReplayedRecord {
    /// The entry that it came with.
    pub(crate) seq: CommitSeq,
    pub(crate) key: Vec<u8>,
    /// Of key and value, as it is.
    pub(crate) bytes: u64,
    /// Its value without those rows; `None`: there are no others.
    pub(crate) rest: Option<Vec<u8>>,
    /// How often the table had been opened before it was read.
    pub(crate) opened: u64,
}

impl PreparedRows {
    /// Of rows that are in files: the schema that they were cast to, who brings them, how many came and how large they were, decoded.
    pub(crate) fn of_files(
        schema: SchemaId,
        principal: &str,
        key: Option<IdempotencyKey>,
        received: u64,
        bytes: u64,
    ) -> Self {
        Self {
            refusal: None,
            schema,
            parts: Vec::new(),
            received,
            rejected: Rejections::default(),
            late: 0,
            future: 0,
            max_event_us: None,
            bytes,
            hash: 0,
            producer: None,
            idempotency: key.map(|key| (principal.to_owned(), key.0)),
            principal: principal.to_owned(),
            durability: Durability::Fsync,
            records: Vec::new(),
            replayed: Vec::new(),
        }
    }

    /// Of rows that passed admission by themselves, to the table's `schema`.
    pub(crate) fn of_admitted(
        admitted: Admitted,
        schema: SchemaId,
        spec: Option<&KeySpec>,
        principal: &str,
    ) -> Result<Self> {
        let Admitted { rows, bytes, max_event_time_us: max_event_us, .. } = admitted;
        let received = rows.num_rows() as u64;
        let parts = vec![prepare_part(rows, bytes, spec)?];
        Ok(Self { parts, max_event_us, ..Self::of_files(schema, principal, None, received, bytes) })
    }

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
    check_idempotency_key(&request)?;
    let RowsRequest { rows, producer, idempotency_key, principal, .. } = &request;
    let mut prepared = PreparedRows {
        refusal: None,
        schema: def.schema_id,
        parts: Vec::with_capacity(rows.len()),
        received: rows.iter().map(|r| (r.batch.num_rows() + r.rejected.len()) as u64).sum(),
        rejected: Rejections::default(),
        late: 0,
        future: 0,
        max_event_us: None,
        bytes: 0,
        hash: if producer.is_some() { content_hash(rows)? } else { 0 },
        idempotency: idempotency_key.clone().map(|key| (principal.clone(), key.0)),
        producer: producer.clone(),
        principal: principal.clone(),
        durability: request.durability.map_or(def.options.durability, |asked| asked.max(def.options.durability)),
        records: Vec::new(),
        replayed: Vec::new(),
    };
    let may_be_repeat = producer.is_some() || idempotency_key.is_some();
    match prepared.admit(def, spec, request, now_us) {
        Err(refusal) if may_be_repeat => {
            prepared.refusal = Some(refusal);
            prepared.parts.clear();
        }
        admitted => admitted?,
    }
    Ok(prepared)
}

impl PreparedRows {
    /// About what the request holds from when it is prepared until it is answered: its rows, decoded, with their keys and blocks, and its
    /// rejected rows.
    pub(crate) fn held_bytes(&self) -> u64 {
        let beside = |part: &PreparedPart| {
            let keys = part.keys.as_ref().map_or(0, Keys::bytes);
            let zones = part.zones.as_ref().map_or(0, ZoneMap::bytes);
            // Two at a time: as made and in its entry, then in the entry and in the log's write.
            keys + zones + 2 * part.block.as_ref().map_or(0, Block::bytes)
        };
        let beside = self.parts.iter().map(beside).sum::<usize>();
        self.bytes + (beside + 2 * self.rejected.bytes()) as u64
    }

    /// Asks the runs on disk for the keys, so that the worker need not. Blocks. What cannot be read is asked for again, and told, in its
    /// turn: a batch that is a repeat is answered as one.
    pub(crate) fn look_up(&mut self, runs: &RunSet) {
        for part in self.parts.iter_mut().filter(|_| !runs.is_empty()) {
            part.in_runs = part.keys.as_ref().and_then(|keys| runs.look_up(keys).ok());
        }
    }

    fn admit(&mut self, def: &TableDef, spec: Option<&KeySpec>, request: RowsRequest, now_us: i64) -> Result<()> {
        check_schema(def, request.expected_schema)?;
        let limit = if request.statement { MAX_STATEMENT_ROWS_BYTES } else { MAX_BATCH_BYTES } as u64;
        let mut rules = AdmissionRules {
            first_row: 0,
            time_zone: request.time_zone,
            now_us,
            on_error: request.on_error,
            ignore_unknown_columns: request.ignore_unknown_columns,
        };
        let mut rejected = RejectedBatch::new();
        for incoming in request.rows {
            let admitted = admit(def, incoming, &rules)?;
            rules.first_row += admitted.received;
            rejected.add(admitted.rejected, admitted.n_rejected);
            self.late += admitted.late;
            self.future += admitted.future;
            self.bytes += admitted.bytes;
            self.max_event_us = self.max_event_us.max(admitted.max_event_time_us);
            if self.bytes > limit {
                return Err(too_large(self.bytes, limit, request.statement));
            }
            self.parts.push(prepare_part(admitted.rows, admitted.bytes, spec)?);
        }
        let (producer, sequence) = self.producer.as_ref().map_or(("", 0), |p| (p.id.as_str(), p.sequence));
        self.rejected = rejected.finish(producer, sequence)?;
        Ok(())
    }
}

fn prepare_part(rows: RecordBatch, bytes: u64, spec: Option<&KeySpec>) -> Result<PreparedPart> {
    let keys = spec.map(|spec| spec.keys(&rows));
    let large = rows.num_rows() >= LARGE_BATCH_ROWS || bytes >= LARGE_BATCH_BYTES as u64;
    let block = if large && rows.num_rows() > 0 { Some(Block::encode(&rows)?) } else { None };
    Ok(PreparedPart { zones: tail_zones(&rows), rows, keys, in_runs: None, known: None, block })
}

/// Whether rows of `old` are rows of `new` once the columns that were added since are NULL in them.
pub(crate) fn is_widened(old: &SchemaRef, new: &SchemaRef) -> bool {
    let (old, new) = (old.fields(), new.fields());
    old.len() <= new.len()
        && old.iter().zip(new).all(|(old, new)| {
            old.name() == new.name() && old.data_type() == new.data_type() && (new.is_nullable() || !old.is_nullable())
        })
}

/// Rows that came before columns were added, with these columns NULL. `None`: the rows are of another schema.
pub(crate) fn widened(rows: RecordBatch, schema: &SchemaRef) -> Option<RecordBatch> {
    if rows.schema_ref() == schema {
        return Some(rows);
    }
    if !is_widened(rows.schema_ref(), schema) {
        return None;
    }
    let fields = schema.fields();
    let added = fields[rows.num_columns()..].iter().map(|field| new_null_array(field.data_type(), rows.num_rows()));
    let columns = rows.columns().iter().cloned().chain(added).collect();
    RecordBatch::try_new(Arc::clone(schema), columns).ok()
}

/// `SCHEMA_VERSION_MISMATCH` unless the table's schema is the one that is expected, if there is one.
pub(crate) fn check_schema(def: &TableDef, expected: Option<u32>) -> Result<()> {
    match expected {
        Some(expected) if expected != def.schema_id.0 => Err(Error::new(
            Code::SchemaVersionMismatch,
            format!("table {} has schema version {}, the request expects {expected}", def.name, def.schema_id.0),
        )
        .hint("read the schema again with GetTableSchema")
        .with("schema_version", def.schema_id.0)),
        _ => Ok(()),
    }
}

fn check_idempotency_key(request: &RowsRequest) -> Result<()> {
    let Some(key) = &request.idempotency_key else { return Ok(()) };
    if request.producer.is_some() {
        return Err(invalid_key("the request names a producer and an idempotency key".to_owned()));
    }
    check_key(key)
}

/// `INVALID_IDEMPOTENCY_KEY` for one that is empty or too long.
pub(crate) fn check_key(key: &IdempotencyKey) -> Result<()> {
    match key.0.len() {
        1..=MAX_IDEMPOTENCY_KEY_BYTES => Ok(()),
        other => Err(invalid_key(format!("an idempotency key of {other} bytes"))),
    }
}

fn invalid_key(problem: String) -> Error {
    Error::new(Code::InvalidIdempotencyKey, problem)
        .hint(format!("send a producer, or a key of 1 to {MAX_IDEMPOTENCY_KEY_BYTES} bytes"))
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
    let mut hash = ContentHash::default();
    for incoming in rows {
        hash.add_batch(&incoming.batch)?;
        hash.add_number(incoming.rejected.len() as u64);
        for rejected in &incoming.rejected {
            hash.add_number(rejected.row);
            hash.add_text(rejected.payload.as_bytes());
        }
    }
    Ok(hash.finish())
}
