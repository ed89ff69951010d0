//! How does a built range become part of the Delta table? Its files are brought there, and one commit says so.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use uuid::Uuid;

use super::picker::Cause;
use crate::error::{Code, Error, Result};
use crate::ids::CommitSeq;
use crate::publishing::{Draft, Tested, bring, checkpoint, decide, delta_table, look_closer, settle, settle_recorded};
use crate::sealed::{DeletionVector, DeltaTable};
use crate::table::{Intent, PublishPlan, PublishedFile, Sealed, Settled, Shared, Table, TableRequest, names_anywhere};

impl Table {
    /// Brings everything that was acknowledged before the call into the Delta table: durable there when this returns. Waits as long as the
    /// store is away; the caller bounds that.
    pub async fn seal(&self) -> Result<Sealed> {
        super::build::build(self, Cause::Request).await?;
        let settled = publish(self, Cause::Request).await?;
        let snapshot = self.snapshot();
        let published = || snapshot.files().iter().filter(|file| file.place.is_published);
        Ok(Sealed {
            delta_version: settled.map(|settled| settled.version),
            through: settled.map_or(CommitSeq(0), |settled| settled.through()),
            rows: published().map(|file| file.live_rows()).sum(),
            files: published().count() as u64,
            location: self.location(),
        })
    }
}

/// Publishes what is built until there is nothing left. Returns what is settled then; `None`: nothing was ever published. Runs to its end
/// whether or not the caller waits.
pub(crate) async fn publish(table: &Table, cause: Cause) -> Result<Option<Settled>> {
    let table = table.clone();
    let task = tokio::spawn(async move {
        let shared = Arc::clone(&table.shared);
        let _one = shared.publishing.lock().await;
        *shared.last_publish.lock() = Some(shared.env.clock.uptime());
        let id = shared.jobs.lock().add("publish", cause.name());
        shared.jobs.lock().begin(id, shared.env.clock.now_us());
        let outcome = publish_all(&table).await;
        let now_us = shared.env.clock.now_us();
        shared.jobs.lock().end(id, now_us, outcome.as_ref().err().map(ToString::to_string));
        outcome
    });
    task.await.unwrap_or_else(|e| Err(Error::ended_early("a publish", &e)))
}

async fn publish_all(table: &Table) -> Result<Option<Settled>> {
    let shared = &table.shared;
    let delta = delta_table(shared)?;
    settle_recorded(table, &delta).await?;
    loop {
        let Some(plan) = table.ask(|answer| TableRequest::PlanPublish { answer }).await? else {
            return Ok(shared.sealing.lock().settled);
        };
        let intent = match prepare(shared, &delta, &plan).await {
            // What came before it is published all the same.
            Err(e) if e.code() == Code::FileDamaged => match look_closer(shared, &plan.adds, &e).await? {
                Some(Tested::Damaged(_)) => continue,
                _ => return Err(e),
            },
            Err(e) if e.code() == Code::BuildOvertaken => continue,
            prepared => prepared?,
        };
        let (truncated, decided) = (plan.truncated, Box::new(intent.clone()));
        match decide(table, |answer| TableRequest::Send { truncated, intent: decided, answer }).await {
            // What it brought to the store has names on record: they are cleaned.
            Err(e) if e.code() == Code::BuildOvertaken => continue,
            decided => decided?,
        }
        settle(table, &delta, intent).await?;
        checkpoint(table, &delta).await;
    }
}

/// Files and deletion vectors are in the store when this returns, and the commit is made.
async fn prepare(shared: &Arc<Shared>, delta: &DeltaTable, plan: &PublishPlan) -> Result<Intent> {
    let version = plan.from.map_or(0, |from| from.version + 1);
    let mut brought = Vec::with_capacity(plan.adds.len());
    for file in &plan.adds {
        if shared.stopping.load(Ordering::Relaxed) {
            return Err(Error::new(
                Code::ShuttingDown,
                "files are on their way to the Delta table; the next start goes on",
            ));
        }
        if shared.sealing.lock().truncated != plan.truncated {
            // Why bring the others? The worker decides it once more.
            return Err(Error::new(Code::BuildOvertaken, "the table was truncated while its files were brought"));
        }
        brought.push(bring(shared, &file.file).await?);
        shared.env.fail.hit("publish.file_brought")?;
    }
    let n_vectors = plan.adds.iter().filter(|file| file.deleted.is_some()).count() + plan.revised.len();
    let ids: Vec<Uuid> = (0..n_vectors).map(|_| shared.env.rng.uuid()).collect();
    let names: Vec<String> = ids.iter().map(|id| DeletionVector::name_of(*id)).collect();
    if !names.is_empty() {
        shared.log.commit(names_anywhere(shared.def.id, &names)).await?;
    }
    let mut ids = ids.into_iter();
    let mut adds = Vec::with_capacity(plan.adds.len() + plan.revised.len());
    for (file, brought) in plan.adds.iter().zip(brought) {
        let vector = match file.deleted.as_ref().and_then(|deleted| Some((deleted, ids.next()?))) {
            Some((deleted, id)) => Some(delta.write_deletion_vector(id, deleted).await?),
            None => None,
        };
        adds.push(PublishedFile { file: brought, version, vector, since: None });
    }
    // Files with another deletion vector: removed with the old one and added with the new.
    for (replaced, id) in plan.revised.iter().zip(ids) {
        let vector = delta.write_deletion_vector(id, &replaced.deleted).await?;
        adds.push(PublishedFile { vector: Some(vector), ..replaced.file.clone() });
    }
    shared.env.fail.hit("publish.files_brought")?;
    let removes = plan.removes.iter().chain(plan.revised.iter().map(|replaced| &replaced.file));
    let draft = Draft {
        operation: operation(plan),
        from: plan.from,
        through: plan.through,
        def: &plan.def,
        adds: &adds,
        removes: removes.collect(),
        data_change: true,
    };
    draft.intent(shared)
}

fn operation(plan: &PublishPlan) -> &'static str {
    match (plan.from, plan.adds.is_empty(), plan.removes.is_empty() && plan.revised.is_empty()) {
        (None, ..) => "CREATE TABLE",
        (_, true, false) => "DELETE",
        _ => "WRITE",
    }
}
