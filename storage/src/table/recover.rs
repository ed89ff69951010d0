//! What was the table when the process ended? Replay: it inserts keys and rows as the log has them and decides nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use roaring::RoaringBitmap;
use tokio::sync::mpsc;

use crate::admission::rejected;
use crate::catalog::TableDef;
use crate::dedup::KeyIndex;
use crate::env::Moment;
use crate::error::{Code, Error, Result};
use crate::ids::{CommitSeq, ProducerId, SHARD_ZERO};
use crate::log::{
    Delete, DeletedRows, Entry, EntryBody, Family, Forget, LogWriter, Segment, entries, meta_key, name_entry,
    state_key, state_prefix, suffix_of,
};
use crate::producers::ProducerState;
use crate::realtime::{Realtime, build_runs};
use crate::sealed::{FileRef, SegmentFile};
use crate::table::commit;
use crate::table::handle::{QUEUE_REQUESTS, Shared};
use crate::table::prepare::widened;
use crate::table::seal::{
    Files, KeyEpoch, LayerFile, LoadedSeal, OpenSegment, SealState, built_file, load_base, load_seal,
};
use crate::table::snapshot::TableVersion;
use crate::table::worker::{
    IdempotencyKeys, RejectedRows, TableState, Worker, load_keys, make_space_for_more, read_layer,
};

/// What a replay found, for the line that the start prints.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Replayed {
    pub(crate) entries: u64,
    pub(crate) rows: u64,
    pub(crate) keys: u64,
    pub(crate) producers: usize,
    pub(crate) last_seq: CommitSeq,
}

/// Reads the table's records and log. Streams: one entry is in memory beside what stays. Blocks.
fn replay(shared: &Shared) -> Result<(TableState, TableVersion, Replayed)> {
    let def = recorded_def(shared)?;
    let base = load_base(shared).map_err(|e| name_record(e, &def, "where its log begins"))?;
    let LoadedSeal { state: seal, mut files } =
        load_seal(shared, base).map_err(|e| name_record(e, &def, "what is built and published"))?;
    let mut state = load_state(shared, &def, seal)?;
    load_keys(&mut state, shared).map_err(|e| name_record(e, &def, "its keys"))?;
    let base = state.seal.base.seq;
    let (stores, quarantine) = (shared.folders.stores().clone(), Arc::clone(&shared.quarantine));
    let mut version = TableVersion::empty(Arc::clone(&def), shared.log_id, stores, quarantine);
    let mut replayed = Replayed { producers: state.producers.len(), ..Replayed::default() };
    let mut realtime = Realtime::empty();
    let mut may_make_space = true;
    for entry in entries(&shared.store, def.id, base)? {
        let (seq, entry) = entry?;
        shared.env.fail.hit("replay.entry")?;
        let applied = apply(&mut state, shared, realtime, &files, seq, &entry);
        (realtime, files) = applied.map_err(|e| name_entry(e, def.id, seq))?;
        if may_make_space {
            may_make_space = make_space_for_more(&mut state, shared).map_err(|e| name_record(e, &def, "its keys"))?;
        }
        while let Some(parts) = realtime.sortable() {
            let runs = build_runs(&parts, &def.options.sort_by)?;
            realtime = realtime.with_run(&parts, runs.into_iter().map(Arc::new).collect());
        }
        (state.last_seq, state.last_stamp_us) = (seq, entry.stamp_us);
        state.seal.arrivals.note(seq, Moment { wall_us: entry.stamp_us, uptime_us: entry.uptime_us });
        // The stamp of a table that is opened again holds this process's uptime already.
        let entry_before_us = entry.uptime_us.saturating_sub(shared.env.clock.uptime().as_micros() as u64);
        state.uptime_before_us = state.uptime_before_us.max(entry_before_us);
        replayed.entries += 1;
    }
    let settled = state.seal.settled.map_or(CommitSeq(0), |settled| settled.through());
    if settled > state.last_seq {
        return Err(Error::new(
            Code::LogDamaged,
            format!(
                "the log of table {}.{} ends with entry {}, and its Delta table has all through {settled}",
                def.schema_name, def.name, state.last_seq
            ),
        )
        .hint("acknowledged entries are missing, so the server does not start; restore the folder from a backup"));
    }
    if let Some(keys) = &mut state.keys {
        keys.load_filters().map_err(|e| name_record(e, &def, "its keys"))?;
    }
    replayed.rows = realtime.n_rows();
    replayed.keys = state.keys.as_ref().map_or(0, |k| k.stats().keys);
    replayed.last_seq = state.last_seq;
    version = version.with_entry(state.last_seq, realtime).with_files(files);
    Ok((state, version, replayed))
}

/// What the folder says the table is: an ALTER may have been written and not seen before the worker failed. A table that is being made has
/// no record yet.
fn recorded_def(shared: &Shared) -> Result<Arc<TableDef>> {
    match shared.store.get(Family::Meta, &meta_key::of_table(meta_key::TABLE, shared.def.id))? {
        Some(record) => Ok(Arc::new(TableDef::from_disk(&record)?)),
        None => Ok(Arc::clone(&shared.version.load().def)),
    }
}

/// The realtime rows and the files after an entry.
fn apply(
    state: &mut TableState,
    shared: &Shared,
    realtime: Realtime,
    files: &Files,
    seq: CommitSeq,
    entry: &Entry,
) -> Result<(Realtime, Files)> {
    match &entry.body {
        EntryBody::Rows { blocks, .. } => {
            // As the worker did.
            state.begin_epoch(Moment { wall_us: entry.stamp_us, uptime_us: entry.uptime_us });
            let mut realtime = realtime;
            for block in blocks {
                let rows = widened(block.decode()?, &state.def.arrow_schema)
                    .ok_or_else(|| Error::new(Code::LogDamaged, "holds rows of another schema than its table"))?;
                if let (Some(keys), Some(spec)) = (&mut state.keys, &shared.spec) {
                    keys.insert(&spec.keys(&rows), None);
                }
                realtime = realtime.with_rows(rows, seq.0, entry.stamp_us)?;
            }
            Ok((realtime, files.clone()))
        }
        EntryBody::Truncate => {
            if let Some(keys) = &mut state.keys {
                keys.clear();
            }
            Ok((Realtime::empty(), Files::default()))
        }
        EntryBody::Segment(segment) => {
            let at = Moment { wall_us: state.last_stamp_us, uptime_us: entry.uptime_us };
            // As the worker did, so that layers are in the order of the log.
            state.close_keys(at);
            Ok((realtime, files.with(apply_segment(state, shared, seq, segment)?)))
        }
        EntryBody::Delete(delete) => Ok((realtime, apply_delete(state, files, delete)?)),
        // The definition, the producers' records: they were written, or deleted, in the same batch.
        EntryBody::Schema { .. } | EntryBody::Producer(_) => Ok((realtime, files.clone())),
        // The layers' records, too.
        EntryBody::Forget(Forget { keys_through, .. }) => {
            if let Some(keys) = &mut state.keys {
                keys.forget_through(*keys_through);
            }
            Ok((realtime, files.clone()))
        }
    }
}

/// The files of a stream, and its keys: their layers are on record, but a TRUNCATE that is replayed before would have forgotten them.
fn apply_segment(state: &mut TableState, shared: &Shared, seq: CommitSeq, segment: &Segment) -> Result<Vec<FileRef>> {
    let files = segment.files.iter().map(|file| SegmentFile::from_disk(file, "a file of a stream"));
    let files = files.collect::<Result<Vec<_>>>()?;
    let refs = files.iter().map(|file| built_file(file, &state.seal, shared)).collect::<Result<_>>()?;
    if let (Some(keys), Some(spec)) = (&mut state.keys, &shared.spec) {
        for layer in &segment.key_layers {
            let layer = LayerFile::from_disk(layer)?;
            keys.add_layer(read_layer(&layer, spec, shared)?, layer.from, layer.through, layer.epoch);
            if layer.epoch > state.seal.key_epoch.number {
                state.seal.key_epoch = KeyEpoch::of([&layer].into_iter());
            }
        }
    }
    state.seal.segments.push(OpenSegment { seq, files });
    Ok(refs)
}

/// Deleting a row twice is deleting it once: a build may have recorded the rows of this entry already.
fn apply_delete(state: &mut TableState, files: &Files, delete: &Delete) -> Result<Files> {
    let mut all = HashMap::with_capacity(delete.files.len());
    for DeletedRows { file, rows } in &delete.files {
        let rows = RoaringBitmap::deserialize_from(rows.as_slice())
            .map_err(|e| Error::new(Code::LogDamaged, format!("names rows that cannot be read: {e}")))?;
        let n_rows = state.seal.rows_of(file).unwrap_or(0);
        // A file that was published and removed since is named by entries of before.
        if n_rows == 0 {
            continue;
        }
        if rows.max().is_some_and(|last| u64::from(last) >= n_rows) {
            return Err(Error::new(Code::LogDamaged, format!("names rows that the file {file} does not have")));
        }
        let deleted = state.seal.deleted.entry(file.clone()).or_default();
        *Arc::make_mut(deleted) |= rows;
        all.insert(file.clone(), Arc::clone(deleted));
        state.seal.unrecorded.insert(file.clone());
    }
    Ok(files.with_deleted(&all))
}

/// Producers, ledger and idempotency keys, as their records say.
fn load_state(shared: &Shared, def: &Arc<TableDef>, seal: SealState) -> Result<TableState> {
    let before = seal.base.at;
    // The stamp of a table that is opened again holds this process's uptime already.
    let built_before_us = before.uptime_us.saturating_sub(shared.env.clock.uptime().as_micros() as u64);
    let mut state = TableState {
        last_seq: seal.built_through(),
        last_stamp_us: before.wall_us,
        uptime_before_us: shared.uptime_before_us.max(built_before_us),
        keys: shared.spec.as_ref().map(|spec| KeyIndex::new(spec, &shared.memory).with_disk(&shared.gate.key_disk)),
        producers: Default::default(),
        idempotency: IdempotencyKeys::default(),
        unwritten: Default::default(),
        changed: Default::default(),
        rejected: load_rejected(shared)?,
        has_forgotten: shared.store.get(Family::State, &state_prefix(state_key::FORGOT, def.id, SHARD_ZERO))?.is_some(),
        unsynced: false,
        seal,
        // What became of the definition before is not known.
        narrowed: def.schema_id,
        def: Arc::clone(def),
    };
    shared.activity.clear();
    for record in shared.store.scan(Family::State, &state_prefix(state_key::PRODUCER, def.id, SHARD_ZERO))? {
        let (key, value) = record?;
        let (id, producer) = read_producer(suffix_of(&key), &value)
            .map_err(|e| name_record(e, def, &format!("the producer '{}'", shown(suffix_of(&key)))))?;
        // All of it is there before anybody asks.
        let before = (CommitSeq(0), CommitSeq(0));
        shared.activity.note(&id, before, producer.last_seen_us, producer.max_event_us);
        state.producers.insert(id, producer);
    }
    load_ledger(shared)?;
    for record in shared.store.scan(Family::State, &state_prefix(state_key::IDEMPOTENCY, def.id, SHARD_ZERO))? {
        let (key, value) = record?;
        // Not passed over: its request would be stored again.
        state
            .idempotency
            .load(suffix_of(&key), &value)
            .map_err(|e| name_record(e, def, &format!("the idempotency key '{}'", shown(suffix_of(&key)))))?;
    }
    state.idempotency.loaded();
    Ok(state)
}

fn read_producer(name: &[u8], value: &[u8]) -> Result<(ProducerId, ProducerState)> {
    let id = ProducerId::new(String::from_utf8_lossy(name))
        .map_err(|e| Error::new(Code::LogDamaged, format!("its key is damaged: {}", e.message())))?;
    Ok((id, ProducerState::from_disk(value)?))
}

/// The counters. A row that is damaged is passed over: it tells of rows and holds none.
fn load_ledger(shared: &Shared) -> Result<()> {
    let def = &shared.def;
    let mut ledger = shared.ledger.lock();
    *ledger = Default::default();
    for record in shared.store.scan(Family::State, &state_prefix(state_key::LEDGER, def.id, SHARD_ZERO))? {
        let (key, value) = record?;
        let key = suffix_of(&key);
        match ledger.load(key, &value) {
            Err(e) if e.code() == Code::LogDamaged => {
                tracing::warn!(table_id = %def.id, table = def.name, key = shown(key), reason = %e, "a ledger row cannot be read");
            }
            loaded => loaded.map_err(|e| name_record(e, def, &format!("the ledger row '{}'", shown(key))))?,
        }
    }
    Ok(())
}

/// Where rejected rows stand. A record that cannot be read is forgotten with its neighbours: it keeps no table closed.
fn load_rejected(shared: &Shared) -> Result<RejectedRows> {
    let def = &shared.def;
    let mut rows = RejectedRows::default();
    let mut newest = Moment::default();
    for record in shared.store.scan(Family::State, &state_prefix(state_key::REJECTED, def.id, SHARD_ZERO))? {
        let (key, value) = record?;
        let warn = |e: Error| {
            let key = shown(suffix_of(&key));
            tracing::warn!(table_id = %def.id, table = def.name, key, reason = %e, "rejected rows cannot be read");
        };
        match rejected::received(&value) {
            Ok(received) => newest = newest.max(received),
            Err(e) => warn(e),
        }
        match suffix_of(&key).split_last_chunk::<REJECTED_INDEX_BYTES>().map(|(seq, _)| sequence(seq)) {
            Some(Ok(seq)) => rows.note(seq, (key.len() + value.len()) as u64, newest),
            _ => warn(Error::new(Code::LogDamaged, "its key is damaged")),
        }
    }
    Ok(rows)
}

/// Behind the sequence in the key of rejected rows: the number of their record within the entry.
const REJECTED_INDEX_BYTES: usize = 4;

/// All of `bytes` is one sequence.
fn sequence(bytes: &[u8]) -> Result<CommitSeq> {
    let whole: [u8; 8] = bytes
        .try_into()
        .map_err(|_| Error::new(Code::LogDamaged, format!("{} bytes stand where a sequence has 8", bytes.len())))?;
    Ok(CommitSeq(u64::from_be_bytes(whole)))
}

/// Says which record of which table an error is about, and how to go on.
fn name_record(error: Error, def: &TableDef, what: &str) -> Error {
    let hint = match error.code() {
        Code::LogUnknownVersion => "start the version of Tidewater that wrote this folder, or a newer one",
        _ => "restore the folder from a backup; nothing was changed",
    };
    let TableDef { schema_name, name, id, .. } = def;
    Error::new(
        error.code(),
        format!("table {schema_name}.{name} ({id}): the record of {what} cannot be used: {}", error.message()),
    )
    .hint(hint)
    .with("table", id)
}

/// A key for a message.
fn shown(key: &[u8]) -> String {
    const CHARS: usize = 160;
    String::from_utf8_lossy(key).chars().flat_map(char::escape_debug).take(CHARS).collect()
}

/// Opens the table from its log and starts its worker. When the worker fails, the table is closed, opened from the log and
/// started again: memory that may be ahead of the log is never gone on with.
pub(crate) fn supervise(shared: &Arc<Shared>, log: &Arc<LogWriter>) -> Result<Replayed> {
    let (worker, replayed) = open(shared, log)?;
    let (shared, log) = (Arc::clone(shared), Arc::clone(log));
    shared.running.send_replace(true);
    tokio::spawn(async move {
        let mut next = Some(worker);
        while let Some(worker) = next {
            let ended = tokio::spawn(worker.run()).await;
            // Its runs have no memory any more, whoever holds the table.
            shared.keys.clear();
            shared.jobs.lock().end_of_worker(shared.env.clock.now_us());
            next = match ended {
                Ok(Ok(())) => None,
                Ok(Err(e)) => reopen(&shared, &log, e.to_string()).await,
                // What a panic says may quote a value; the reason is logged, and told to who asks.
                Err(_) => reopen(&shared, &log, "its worker failed: this is a bug, please report it".to_owned()).await,
            };
        }
        shared.running.send_replace(false);
    });
    Ok(replayed)
}

/// Closes the table, waits until what its worker had submitted is written, and opens it from the log. `None`: it stays closed.
async fn reopen(shared: &Arc<Shared>, log: &Arc<LogWriter>, reason: String) -> Option<Worker> {
    tracing::error!(table_id = %shared.def.id, table = %shared.def.name, reason, "the table is closed and opened from its log");
    if !shared.is_closing() {
        *shared.closed_reason.lock() = Some(reason);
    }
    shared.queue.store(None);
    log.commit(commit::sync()).await.ok()?;
    let (task_shared, task_log) = (Arc::clone(shared), Arc::clone(log));
    match tokio::task::spawn_blocking(move || open(&task_shared, &task_log)).await.ok()? {
        Ok((worker, _)) => {
            if !shared.is_closing() {
                *shared.closed_reason.lock() = None;
            }
            Some(worker)
        }
        Err(e) => {
            *shared.closed_reason.lock() = Some(e.to_string());
            None
        }
    }
}

fn open(shared: &Arc<Shared>, log: &Arc<LogWriter>) -> Result<(Worker, Replayed)> {
    let (state, version, replayed) = replay(shared)?;
    version.replaces(&shared.version.load(), &shared.memory);
    let upper = version.upper;
    shared.version.store(Arc::new(version));
    if state.last_seq > CommitSeq(0) {
        shared.note_publish(state.last_stamp_us, state.keys.as_ref());
    }
    shared.opened.fetch_add(1, Ordering::AcqRel);
    let (queue, requests) = mpsc::channel(QUEUE_REQUESTS);
    shared.queue.store(Some(Arc::new(queue)));
    // Whoever closed the table in the meantime did not see this queue: it is closed by one of the two.
    if shared.is_closing() {
        shared.queue.store(None);
    }
    // Last: who waits for a sequence reads the version next, or writes.
    shared.visible.send_replace(upper);
    Ok((Worker::new(state, Arc::clone(shared), Arc::clone(log), requests), replayed))
}
