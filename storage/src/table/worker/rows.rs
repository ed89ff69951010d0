//! Rows: producer check, deduplication, into the group. All that can refuse stands before the claim.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::admission::ledger::{Counts, minute_of};
use crate::catalog::Durability;
use crate::dedup::Claimed;
use crate::error::{Code, Error, Result};
use crate::ids::{CommitToken, SHARD_ZERO};
use crate::limits::MAX_PRODUCERS;
use crate::log::{BatchMeta, Family, Op, state_key};
use crate::producers::{BatchCounts, Decision, ProducerState, decide};
use crate::realtime::tail_zones;
use crate::table::places::Held;
use crate::table::prepare::{PreparedRows, ReplayedRecord, widened};
use crate::table::request::{ProducerBatch, RowsOutcome};
use crate::table::worker::group::{Answer, RowsGroup};
use crate::table::worker::state::IdempotencyKeys;
use crate::table::worker::task::{Worker, closed};

/// When memory for keys comes back by itself.
const KEYS_RETRY_AFTER: Duration = Duration::from_secs(1);

/// A window as an option of a table is written, rounded down. `None`: it is shorter than any that a table can have.
fn window_text(us: u64) -> Option<String> {
    const MINUTE_US: u64 = 60_000_000;
    let minutes = us / MINUTE_US;
    match minutes {
        0 => None,
        1 => Some("1 minute".to_owned()),
        2..120 => Some(format!("{minutes} minutes")),
        120..2880 => Some(format!("{} hours", minutes / 60)),
        _ => Some(format!("{} days", minutes / 1440)),
    }
}

/// What the checks found.
pub(crate) enum Verdict {
    Store,
    Repeat { first: Option<BatchCounts> },
}

impl Worker {
    /// Puts the rows into `group` and their answer with them. An error that is returned (rather than answered) closes the table.
    pub(crate) fn on_rows(
        &mut self,
        group: &mut RowsGroup,
        mut rows: PreparedRows,
        held: Held,
        answer: oneshot::Sender<Result<RowsOutcome>>,
    ) -> Result<()> {
        let verdict = self.check_rows(group, &mut rows);
        let durability = rows.durability;
        // A repeat or a refusal needs no sync of its own, unless what it rests on is unsynced or stands in this very group.
        let stores = matches!(verdict, Ok(Verdict::Store));
        let is_on_disk = !stores && !self.state.unsynced && group.is_empty();
        group.sync |= durability == Durability::Fsync && !is_on_disk;
        let outcome = match verdict {
            Err(refused) => {
                metrics::counter!("tidewater_refused_batches_total", "code" => refused.code().reason()).increment(1);
                Err(refused)
            }
            Ok(Verdict::Repeat { first }) => Ok(self.repeat(group, &rows, first)),
            Ok(Verdict::Store) => Ok(self.store(group, &mut rows)?),
        };
        group.answers.push(Answer::Rows(answer, outcome, held));
        Ok(())
    }

    /// Everything that can refuse the batch. Changes nothing but forgotten idempotency keys.
    pub(crate) fn check_rows(&mut self, group: &mut RowsGroup, rows: &mut PreparedRows) -> Result<Verdict> {
        if let Some((principal, key)) = &rows.idempotency {
            let suffix = IdempotencyKeys::suffix(principal, key);
            if let Some(first) = self.state.idempotency.get(&suffix) {
                return Ok(Verdict::Repeat { first: Some(first) });
            }
            let (gone, fits) = self.state.idempotency.expire(group.at);
            group.ops.extend(
                gone.iter().map(|s| Op::Delete(Family::State, self.state.state_key(state_key::IDEMPOTENCY, s))),
            );
            fits?;
        }
        if let Some(batch) = &rows.producer {
            let known = self.state.producers.get(&batch.id);
            if let Decision::Repeat { first } =
                decide(known, batch, rows.hash, &rows.principal, self.state.has_forgotten)?
            {
                return Ok(Verdict::Repeat { first });
            }
            if known.is_none() && self.state.producers.len() >= MAX_PRODUCERS {
                return Err(Error::new(
                    Code::TooManyProducers,
                    format!("table {} remembers {MAX_PRODUCERS} producers", self.state.def.name),
                )
                .hint("reuse producer ids: one for each long-lived client, not one for each batch"));
            }
        }
        if let Some(refusal) = rows.refusal.take() {
            return Err(refusal);
        }
        // A worker that failed may have had them on their way: the record was read before that was written.
        let opened = self.shared.opened.load(Ordering::Acquire);
        if rows.replayed.iter().any(|record| record.opened != opened) {
            let why = "it was opened again while rejected rows were on their way".to_owned();
            return Err(closed(&self.state.def.name, Some(why)));
        }
        self.widen(rows)?;
        self.check_keys(rows.n_rows())?;
        if let Some(keys) = &mut self.state.keys {
            // A run that is damaged still refuses the batch whole. From here to the claim no layer comes or goes. Runs were asked before,
            // beside the worker: it does so itself only if others took their place since, with other keys.
            for part in &mut rows.parts {
                let found = part.in_runs.take();
                part.known = part.keys.as_ref().map(|own| keys.look_up_with(own, found)).transpose()?;
            }
        }
        Ok(Verdict::Store)
    }

    /// Whether so many keys fit. When they do not, what makes space is begun: nothing else may happen to this table.
    fn check_keys(&mut self, n_rows: usize) -> Result<()> {
        let Some(keys) = &mut self.state.keys else { return Ok(()) };
        let Err(refused) = keys.has_capacity(n_rows) else { return Ok(()) };
        let is_too_large = !keys.can_ever_take(n_rows);
        let is_passing = !is_too_large && (refused.retry_delay().is_some() || keys.is_helped_by_build());
        self.shared.note_keys(self.state.keys.as_ref());
        self.start_keys_job();
        Err(match is_passing {
            true => refused.retry_after(KEYS_RETRY_AFTER),
            false if is_too_large => refused,
            false => self.with_fitting_window(refused),
        })
    }

    /// Says which `dedup_window` would fit: all keys that are remembered do, so one as long as they took to come, less what the next epoch
    /// needs.
    fn with_fitting_window(&self, refused: Error) -> Error {
        let (now, def, seal) = (self.now(), &self.state.def, &self.state.seal);
        let began_us = seal.layer_files.iter().map(|file| file.epoch_began_us).chain([seal.key_epoch.began_us]).min();
        let by_uptime_us = now.uptime_us.saturating_sub(began_us.unwrap_or(0));
        let by_wall_us = now.wall_us.saturating_sub(def.created_at_us).max(0) as u64;
        let window_us = by_uptime_us.min(by_wall_us) / 4 * 3;
        let hint = refused.hint_text().unwrap_or_default();
        let (hint, window) = match window_text(window_us) {
            Some(text) => (format!("{hint}; at the rate so far a dedup_window of '{text}' would fit"), text),
            None => (format!("{hint}; at the rate so far no dedup_window would fit"), "none".to_owned()),
        };
        refused.hint(hint).with("fitting_dedup_window", window)
    }

    /// An ALTER TABLE may have come between the batch's preparation and its turn.
    fn widen(&self, rows: &mut PreparedRows) -> Result<()> {
        let altered = || {
            Error::new(
                Code::SchemaVersionMismatch,
                format!("table {} was altered while the batch was on its way", self.state.def.name),
            )
            .hint("send the batch again")
        };
        // The length of a text is nothing that the rows' schema says.
        if rows.schema < self.state.narrowed {
            return Err(altered());
        }
        let schema = &self.state.def.arrow_schema;
        for part in rows.parts.iter_mut().filter(|part| part.rows.schema_ref() != schema) {
            part.rows = widened(part.rows.clone(), schema).ok_or_else(altered)?;
            // Bounds are by column.
            part.zones = tail_zones(&part.rows);
        }
        Ok(())
    }

    pub(crate) fn repeat(
        &mut self,
        group: &mut RowsGroup,
        rows: &PreparedRows,
        first: Option<BatchCounts>,
    ) -> RowsOutcome {
        let received = rows.received;
        let counts = Counts { received, repeated: received, ..Counts::default() };
        if let Some(batch) = &rows.producer
            && let Some(state) = self.state.producers.get_mut(&batch.id)
        {
            state.repeated += received;
            // Whoever retries is alive.
            state.see(group.at);
            group.note_bytes(self.state.note_changed(&batch.id));
        }
        let (suffix, value) = self.count(rows.producer.as_ref(), group.at.wall_us, &counts);
        self.state.unwritten.insert(suffix, value);
        // The same rows were sent as the first time.
        let first = first.unwrap_or(BatchCounts { received, ..BatchCounts::default() });
        RowsOutcome {
            received: first.received,
            accepted: first.accepted,
            duplicates: first.duplicates,
            rejected: first.rejected,
            repeated: true,
            row_errors: Vec::new(),
            // The original may stand in this very group.
            token: self.token(if group.is_empty() { self.state.last_seq } else { group.seq }),
            durability: rows.durability,
        }
    }

    /// Claims keys and fills the group. From the claim on nothing may fail but the write.
    fn store(&mut self, group: &mut RowsGroup, rows: &mut PreparedRows) -> Result<RowsOutcome> {
        let mut counts =
            BatchCounts { received: rows.received, rejected: rows.rejected.n_rejected, ..BatchCounts::default() };
        let mut in_entry = 0;
        for part in std::mem::take(&mut rows.parts) {
            let n_rows = part.rows.num_rows() as u64;
            let claimed = match (&mut self.state.keys, &part.keys, &part.known) {
                (Some(index), Some(keys), Some(known)) => index.claim_known(keys, None, known),
                _ => Claimed { losers: None, n_losers: 0 },
            };
            counts.duplicates += claimed.n_losers as u64;
            counts.accepted += n_rows - claimed.n_losers as u64;
            in_entry += group.add(part, claimed.losers.as_ref())?;
        }
        group.batches.push(BatchMeta {
            producer: rows.producer.as_ref().map(|p| p.id.to_string()).unwrap_or_default(),
            epoch: rows.producer.as_ref().map_or(0, |p| p.epoch),
            sequence: rows.producer.as_ref().map_or(0, |p| p.sequence),
            rows: in_entry,
        });
        self.note_producer(group, rows, counts);
        if let Some((principal, key)) = &rows.idempotency {
            let suffix = IdempotencyKeys::suffix(principal, key);
            let value = self.state.idempotency.note(&suffix, counts, group.at);
            group.ops.push(Op::Put(Family::State, self.state.state_key(state_key::IDEMPOTENCY, &suffix), value));
        }
        self.note_rejected(group, rows);
        self.settle_replayed(group, rows);
        group.sync |= !rows.records.is_empty();
        group.ops.append(&mut rows.records);
        let ledger = Counts { late: rows.late, future: rows.future, bytes: rows.bytes, ..Counts::from(counts) };
        let (suffix, value) = self.count(rows.producer.as_ref(), group.at.wall_us, &ledger);
        self.state.unwritten.insert(suffix, value);
        Ok(RowsOutcome {
            received: counts.received,
            accepted: counts.accepted,
            duplicates: counts.duplicates,
            rejected: counts.rejected,
            repeated: false,
            row_errors: std::mem::take(&mut rows.rejected.first),
            token: self.token(group.seq),
            durability: rows.durability,
        })
    }

    fn note_producer(&mut self, group: &mut RowsGroup, rows: &PreparedRows, counts: BatchCounts) {
        let Some(batch) = &rows.producer else { return };
        let state = self.state.producers.entry(batch.id.clone()).or_insert_with(|| ProducerState::new(&rows.principal));
        state.note(batch.sequence, rows.hash, counts, (group.seq, group.at));
        state.max_event_us = state.max_event_us.max(rows.max_event_us);
        let visible = *self.shared.visible.borrow();
        self.shared.activity.note(&batch.id, (group.seq, visible), group.at.wall_us, state.max_event_us);
        group.note_bytes(self.state.note_changed(&batch.id));
    }

    fn note_rejected(&mut self, group: &mut RowsGroup, rows: &PreparedRows) {
        for block in &rows.rejected.blocks {
            // The index is unique within the entry: several batches may share it.
            let mut suffix = group.seq.0.to_be_bytes().to_vec();
            suffix.extend((self.rejected_in_group as u32).to_be_bytes());
            self.rejected_in_group += 1;
            let record = block.record(group.at);
            let key = self.state.state_key(state_key::REJECTED, &suffix);
            self.state.rejected.note(group.seq, (key.len() + record.len()) as u64, group.at);
            group.note_record(key, record);
        }
        if !rows.rejected.blocks.is_empty() {
            group.ops.extend(self.state.forget_rejected(group.at));
        }
    }

    /// Rows that were rejected once leave their records with the entry that has them now. A record that was forgotten meanwhile stays so.
    fn settle_replayed(&mut self, group: &mut RowsGroup, rows: &mut PreparedRows) {
        group.sync |= !rows.replayed.is_empty();
        for ReplayedRecord { seq, key, bytes, rest, .. } in std::mem::take(&mut rows.replayed) {
            let after = rest.as_ref().map_or(0, |rest| (key.len() + rest.len()) as u64);
            if !self.state.rejected.replace(seq, bytes, after) {
                continue;
            }
            match rest {
                Some(rest) => group.note_record(key, rest),
                None => group.ops.push(Op::Delete(Family::State, key)),
            }
        }
    }

    /// Adds to the ledger; returns the record's own key and absolute value.
    pub(crate) fn count(
        &mut self,
        producer: Option<&ProducerBatch>,
        stamp_us: i64,
        counts: &Counts,
    ) -> (Vec<u8>, Vec<u8>) {
        let producer = producer.map_or("", |p| p.id.as_str());
        self.shared.ledger.lock().add(producer, minute_of(stamp_us), counts)
    }

    pub(crate) fn token(&self, seq: crate::ids::CommitSeq) -> CommitToken {
        CommitToken { table: self.state.def.id, shard: SHARD_ZERO, log: self.shared.log_id, seq }
    }
}
