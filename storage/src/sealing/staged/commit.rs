//! When is a stream part of its table? When the worker wrote its entry. Keys that came meanwhile are compared before, beside the worker.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::files::Unowned;
use super::lost::find_lost;
use crate::catalog::TableDef;
use crate::env::in_background;
use crate::error::{Code, Error, Result};
use crate::limits::STAGED_ROUNDS;
use crate::log::Op;
use crate::memory::Charge;
use crate::sealing::build::hold_until_told;
use crate::table::{KeysSeen, RowsOutcome, SegmentAnswer, Staged, Table, TableRequest};

/// A stream of which all rows and keys are in files.
pub(crate) struct ReadyWrite {
    table: Table,
    def: Arc<TableDef>,
    staged: Box<Staged>,
    unowned: Unowned,
    /// Rows that are in no file because the table had their keys.
    n_known: u64,
    /// For the key layers, until the table is charged for them.
    _memory: Charge,
}

impl ReadyWrite {
    pub(super) fn new(
        table: Table,
        def: Arc<TableDef>,
        staged: Box<Staged>,
        unowned: Unowned,
        n_known: u64,
        memory: Charge,
    ) -> Self {
        Self { table, def, staged, unowned, n_known, _memory: memory }
    }

    /// Records that become durable in the same commit.
    pub(crate) fn with_records(mut self, records: Vec<Op>) -> Self {
        self.staged.rows.records = records;
        self
    }

    /// Makes it part of the table. Runs to its end whether or not the caller waits.
    pub(crate) async fn commit(self) -> Result<RowsOutcome> {
        tokio::spawn(self.decide()).await.unwrap_or_else(|e| Err(Error::ended_early("a commit", &e)))
    }

    async fn decide(self) -> Result<RowsOutcome> {
        let Self { table, def, mut staged, mut unowned, n_known, _memory } = self;
        for _ in 0..STAGED_ROUNDS {
            table.shared.env.fail.hit("stage.before_commit")?;
            match send(&table, staged, &mut unowned).await? {
                SegmentAnswer::Stored(outcome) => {
                    if !outcome.repeated {
                        // They are the table's.
                        unowned.take();
                    }
                    return Ok(outcome);
                }
                SegmentAnswer::Refused(refused) => return Err(refused),
                SegmentAnswer::Behind(back, now) => staged = compare(&table, &def, back, now, n_known).await?,
            }
        }
        Err(overtaken(&def, "others write the same keys all the time").hint("send the rows again when they have ended"))
    }
}

/// Asks the worker. Whose the files are is not known until it answers.
async fn send(table: &Table, staged: Box<Staged>, unowned: &mut Unowned) -> Result<SegmentAnswer> {
    let places = unowned.take();
    let (answer, receiver) = oneshot::channel();
    let sent = table.shared.send(TableRequest::Segment { staged, answer }).await;
    let answered = match sent {
        Ok(()) => receiver.await,
        Err(closed) => {
            unowned.add(places);
            return Err(closed);
        }
    };
    match answered {
        Ok(answer) => {
            unowned.add(places);
            Ok(answer)
        }
        Err(_) => {
            hold_until_told(&table.shared, places).await;
            Err(table.shared.closed())
        }
    }
}

/// The stream, compared with the keys that the table has `now`.
async fn compare(
    table: &Table,
    def: &Arc<TableDef>,
    mut staged: Box<Staged>,
    now: KeysSeen,
    n_known: u64,
) -> Result<Box<Staged>> {
    if n_known > 0 && staged.seen.as_ref().is_none_or(|before| before.id != now.id) {
        return Err(overtaken(def, &format!("{n_known} rows were left out for keys that it may have forgotten since"))
            .hint("send all rows again"));
    }
    let (def, shared) = (Arc::clone(def), Arc::clone(&table.shared));
    let work = move || -> Result<Box<Staged>> {
        find_lost(&mut staged, now, &def, &shared)?;
        Ok(staged)
    };
    in_background("stage", work).await?
}

fn overtaken(def: &TableDef, why: &str) -> Error {
    Error::new(Code::StreamOvertaken, format!("table {} changed while the rows were on their way: {why}", def.name))
}
