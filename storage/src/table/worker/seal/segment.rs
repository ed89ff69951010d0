//! A stream's files become rows of the table: one entry. Its keys are compared here only with those that came last; all others were
//! compared beside the worker.

use std::sync::Arc;

use arrow::buffer::BooleanBuffer;
use tokio::sync::oneshot;

use crate::admission::ledger::Counts;
use crate::dedup::{KeySnapshot, Keys};
use crate::error::{Code, Error, Result};
use crate::limits::COMPARED_KEYS;
use crate::log::{Family, Op, state_key};
use crate::producers::BatchCounts;
use crate::sealed::FileRef;
use crate::table::commit::{self, Place, SegmentRecord};
use crate::table::gate::Write;
use crate::table::prepare::is_widened;
use crate::table::request::RowsOutcome;
use crate::table::seal::{KeysSeen, LayerFile, OpenSegment, SegmentAnswer, Staged, StagedFile, StagedLayer};
use crate::table::worker::group::{Answer, Publish, RowsGroup};
use crate::table::worker::rows::Verdict;
use crate::table::worker::state::IdempotencyKeys;
use crate::table::worker::task::{Prepared, Worker};

/// What the checks found.
enum Checked {
    New,
    Repeat(Option<BatchCounts>),
    /// Others brought keys that must be compared beside the worker.
    Behind(KeysSeen),
}

impl Worker {
    /// All keys that are decided, for another thread.
    pub(crate) fn on_see_keys(&mut self, answer: oneshot::Sender<Result<KeysSeen>>) {
        let seen = self.see_keys().ok_or_else(|| {
            Error::internal(format!("table {} has no primary key to compare with", self.state.def.name))
        });
        drop(answer.send(seen));
    }

    /// Reads no disk and changes nothing: who asks looks at what is closed by itself.
    pub(crate) fn on_probe_keys(
        &self,
        keys: &Keys,
        answer: oneshot::Sender<Result<(KeySnapshot, Option<BooleanBuffer>)>>,
    ) {
        let missing = || Error::internal(format!("table {} has no primary key to compare with", self.state.def.name));
        let known = self.state.keys.as_ref().ok_or_else(missing).and_then(|index| {
            let snapshot = index.snapshot();
            let open = index.probe_new(keys, snapshot.through())?;
            Ok((snapshot, open))
        });
        drop(answer.send(known));
    }

    /// `None`: the table has no primary key.
    fn see_keys(&mut self) -> Option<KeysSeen> {
        let at = self.now();
        self.state.begin_epoch(at);
        self.state.close_keys(at);
        let keys = self.state.keys.as_ref()?;
        Some(KeysSeen { snapshot: keys.snapshot(), id: self.keys_id })
    }

    /// All that can refuse the stream stands before anything is changed.
    pub(crate) fn on_segment(&mut self, mut staged: Staged, answer: oneshot::Sender<SegmentAnswer>) -> Prepared {
        // Takes what the checks want to be written; it never gets a row.
        let mut group = RowsGroup::new(self.state.last_seq.next(), self.now());
        let checked = self.check_segment(&mut group, &mut staged);
        let mut sync = false;
        let answered = match checked {
            Ok(Checked::New) => return self.store_segment(group.ops, staged, answer),
            Ok(Checked::Repeat(first)) => {
                // What it repeats may not be on disk yet.
                sync = self.state.unsynced;
                SegmentAnswer::Stored(self.repeat(&mut group, &staged.rows, first))
            }
            Ok(Checked::Behind(seen)) => SegmentAnswer::Behind(Box::new(staged), seen),
            Err(refused) => {
                metrics::counter!("tidewater_refused_batches_total", "code" => refused.code().reason()).increment(1);
                SegmentAnswer::Refused(refused)
            }
        };
        let mut ops = group.ops;
        ops.extend(self.state.take_unwritten());
        self.state.unsynced &= !sync;
        Prepared {
            seq: self.state.last_seq,
            commit: (sync || !ops.is_empty()).then(|| commit::records(ops, sync)),
            publish: Publish::Nothing,
            stamp_us: self.state.last_stamp_us,
            answers: vec![Answer::Segment(answer, answered)],
        }
    }

    fn check_segment(&mut self, group: &mut RowsGroup, staged: &mut Staged) -> Result<Checked> {
        if let Verdict::Repeat { first } = self.check_rows(group, &mut staged.rows)? {
            return Ok(Checked::Repeat(first));
        }
        self.shared.gate.check_space(Write::Small)?;
        let def = &self.state.def;
        if !is_widened(&staged.schema, &def.arrow_schema) {
            return Err(Error::new(
                Code::SchemaVersionMismatch,
                format!("table {} was altered while the rows were on their way", def.name),
            )
            .hint("send all of them again"));
        }
        let Some(seen) = &staged.seen else { return Ok(Checked::New) };
        let (id, through) = (seen.id, seen.snapshot.through());
        let Some(now) = self.see_keys() else { return Ok(Checked::New) };
        let layers: Vec<_> = staged.layers.iter().map(|layer| &layer.layer).collect();
        let is_new = now.id == id
            && now.snapshot.n_since(through) <= COMPARED_KEYS
            && !now.snapshot.meets_since(through, &layers);
        Ok(if is_new { Checked::New } else { Checked::Behind(now) })
    }

    /// `ops` are of the checks. From here on nothing may fail but the write.
    fn store_segment(&mut self, mut ops: Vec<Op>, staged: Staged, answer: oneshot::Sender<SegmentAnswer>) -> Prepared {
        let place = self.next_place();
        let (accepted, received) = (staged.n_accepted(), staged.rows.received);
        let Staged { rows, files, layers, names, .. } = staged;
        let counts = BatchCounts { received, accepted, duplicates: received - accepted, ..BatchCounts::default() };
        let outcome = RowsOutcome {
            received,
            accepted,
            duplicates: counts.duplicates,
            rejected: 0,
            repeated: false,
            row_errors: Vec::new(),
            token: self.token(place.seq),
            durability: rows.durability,
        };
        let refs: Vec<FileRef> = files.into_iter().map(|file| file_of(file, place)).collect();
        let layers = self.add_layers(layers, place);
        if let Some((principal, key)) = &rows.idempotency {
            let suffix = IdempotencyKeys::suffix(principal, key);
            let value = self.state.idempotency.note(&suffix, counts, place.at);
            ops.push(Op::Put(Family::State, self.state.state_key(state_key::IDEMPOTENCY, &suffix), value));
        }
        let ledger = Counts { bytes: rows.bytes, ..Counts::from(counts) };
        let (suffix, value) = self.count(None, place.at.wall_us, &ledger);
        self.state.unwritten.insert(suffix, value);
        ops.extend(self.state.take_unwritten());
        ops.extend(rows.records);
        let record = SegmentRecord { files: &refs, layers: &layers, used_names: &names, records: ops };
        let commit = commit::segment(place, record);
        let seal = &mut self.state.seal;
        for file in &refs {
            if let Some(deleted) = &file.deleted {
                seal.deleted.insert(file.file.name.clone(), Arc::clone(deleted));
            }
        }
        seal.layer_files.extend(layers);
        let files = refs.iter().map(|file| (*file.file).clone()).collect();
        seal.segments.push(OpenSegment { seq: place.seq, files });
        self.decided_rows += accepted;
        self.state.unsynced = false;
        Prepared {
            seq: place.seq,
            commit: Some(commit),
            publish: Publish::Segment(refs),
            stamp_us: place.at.wall_us,
            answers: vec![Answer::Segment(answer, SegmentAnswer::Stored(outcome))],
        }
    }

    /// Remembers the stream's keys. Returns the records of their files. The open layer was closed by the checks, so that layers stay in the
    /// order of the log.
    fn add_layers(&mut self, layers: Vec<StagedLayer>, place: Place) -> Vec<LayerFile> {
        let (seq, epoch) = (place.seq.0, self.state.seal.key_epoch);
        let mut files = Vec::with_capacity(layers.len());
        for StagedLayer { mut file, layer } in layers {
            (file.from, file.through) = (seq, seq);
            (file.stamp_us, file.uptime_us) = (place.at.wall_us, place.at.uptime_us);
            (file.epoch, file.epoch_began_us) = (epoch.number, epoch.began_us);
            files.push(file);
            if let Some(keys) = &mut self.state.keys {
                keys.add_layer(layer, seq, seq, epoch.number);
            }
        }
        files
    }
}

/// The file as the table has it: all of its rows came with the entry at `place`.
fn file_of(staged: StagedFile, place: Place) -> FileRef {
    let StagedFile { mut file, place: at, lost } = staged;
    (file.min_seq, file.max_seq) = (place.seq, place.seq);
    file.entry = Some((place.seq, place.at.wall_us));
    FileRef { file: Arc::new(file), place: at, deleted: (!lost.is_empty()).then(|| Arc::new(lost)) }
}
