//! What would become of these rows? The same casts, checks and keys as when they are stored, and nothing that stays.

use std::sync::Arc;

use arrow::buffer::BooleanBuffer;

use super::aside;
use crate::admission::{AdmissionRules, Admitted, IncomingRows, RejectedRow, admit};
use crate::catalog::TableDef;
use crate::dedup::{KeyIndex, KeySnapshot, Keys};
use crate::error::{Error, Result};
use crate::limits::ROW_ERRORS_IN_ANSWER;
use crate::memory::Share;
use crate::sealing::StageOptions;
use crate::table::{OnError, Table, TableRequest, check_schema};

/// Rows that are only tried, however many they are.
pub struct DryRun {
    table: Table,
    /// As it was at the beginning.
    def: Arc<TableDef>,
    options: StageOptions,
    /// The keys of all rows so far. `None`: the table has no primary key, or an error took them.
    own: Option<KeyIndex>,
    outcome: DryRunOutcome,
}

/// What would have become of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DryRunOutcome {
    pub received: u64,
    /// Good rows with keys that are new, to the table as it was then and among these rows.
    pub accepted: u64,
    pub duplicates: u64,
    pub rejected: u64,
    /// Of the good rows, decoded.
    pub bytes: u64,
    /// The first rejected rows, ascending, without payloads.
    pub row_errors: Vec<RejectedRow>,
}

impl Table {
    /// Begins to try rows. Producer and idempotency key of the options are not looked at. `SCHEMA_VERSION_MISMATCH`, and what the table
    /// itself refuses while it takes nothing.
    pub fn dry_run(&self, options: StageOptions) -> Result<DryRun> {
        let shared = &self.shared;
        shared.gate.check(false)?;
        let def = self.def();
        check_schema(&def, options.expected_schema)?;
        let own = shared.spec.as_ref().map(|spec| KeyIndex::new(spec, &shared.memory));
        Ok(DryRun { table: self.clone(), def, options, own, outcome: DryRunOutcome::default() })
    }
}

impl DryRun {
    /// The table's definition when it began: what rows are cast to.
    pub fn def(&self) -> &Arc<TableDef> {
        &self.def
    }

    /// Tries rows that follow those before. Errors refuse all of them, as they would refuse a batch: `SCHEMA_MISMATCH`, `BATCH_TOO_LARGE`,
    /// `DEDUP_BUDGET` and the like.
    pub async fn push(&mut self, rows: IncomingRows) -> Result<()> {
        let (admitted, keys) = self.admit(rows).await?;
        let n_good = admitted.rows.num_rows() as u64;
        let n_lost = match keys {
            Some(keys) => self.duplicates(Arc::new(keys), admitted.rows.num_rows()).await?,
            None => 0,
        };
        let outcome = &mut self.outcome;
        outcome.received += admitted.received;
        outcome.accepted += n_good - n_lost;
        outcome.duplicates += n_lost;
        outcome.rejected += admitted.n_rejected;
        outcome.bytes += admitted.bytes;
        let free = ROW_ERRORS_IN_ANSWER - outcome.row_errors.len();
        let first = admitted.rejected.into_iter().take(free);
        outcome.row_errors.extend(first.map(|row| RejectedRow { payload: String::new(), ..row }));
        Ok(())
    }

    pub fn outcome(self) -> DryRunOutcome {
        self.outcome
    }

    async fn admit(&mut self, rows: IncomingRows) -> Result<(Admitted, Option<Keys>)> {
        let shared = Arc::clone(&self.table.shared);
        let rules = AdmissionRules {
            first_row: self.outcome.received,
            time_zone: self.options.time_zone.clone(),
            now_us: shared.env.clock.now_us().max(shared.gate.newest_stamp_us()),
            on_error: OnError::Keep,
            ignore_unknown_columns: self.options.ignore_unknown_columns,
        };
        let def = Arc::clone(&self.def);
        // The rows once more: cast to the table's types.
        let memory = shared.memory.charge(Share::Realtime, rows.batch.get_array_memory_size() as u64);
        aside(move || {
            let admitted = admit(&def, rows, &rules)?;
            let keys = shared.spec.as_ref().map(|spec| spec.keys(&admitted.rows));
            drop(memory);
            Ok((admitted, keys))
        })
        .await
    }

    /// How many of these keys the table or a row before has.
    async fn duplicates(&mut self, keys: Arc<Keys>, n_rows: usize) -> Result<u64> {
        let asked = Arc::clone(&keys);
        let seen = self.table.ask(|answer| TableRequest::ProbeKeys { keys: asked, answer }).await?;
        let lost = || Error::internal("rows are tried after an error");
        let mut own = self.own.take().ok_or_else(lost)?;
        let (own, n_lost) = aside(move || {
            let known = known(&keys, seen)?;
            own.has_capacity(n_rows)?;
            let claimed = own.claim(&keys, known.as_ref());
            let n_known = known.as_ref().map_or(0, BooleanBuffer::count_set_bits) as u64;
            Ok((own, n_known + claimed.n_losers as u64))
        })
        .await?;
        self.own = Some(own);
        Ok(n_lost)
    }
}

/// Those of the keys that the table has. Reads files of keys.
fn known(keys: &Keys, (closed, open): (KeySnapshot, Option<BooleanBuffer>)) -> Result<Option<BooleanBuffer>> {
    Ok(match (closed.probe(keys)?, open) {
        (Some(closed), Some(open)) => Some(&closed | &open),
        (closed, open) => closed.or(open),
    })
}

impl std::fmt::Debug for DryRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DryRun").field("table", &self.table).field("outcome", &self.outcome).finish_non_exhaustive()
    }
}
