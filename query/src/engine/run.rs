//! From text to answer: preparing, planning and running one statement.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use futures::StreamExt;
use tidewater_storage::ids::CommitToken;
use tidewater_storage::{Code, Error, Result};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::change::{InsertWork, ddl};
use super::deed::Deed;
use super::job::{Job, Work};
use super::stream::{Source, Terms};
use super::{
    Parameters, PendingQuery, Planned, PlannedKind, Prepared, QueryEngine, QueryState, RunOptions, UpdateOutcome,
};
use crate::admission::Class;
use crate::limits::{MAX_STALL, MAX_VISIBLE_WAIT};
use crate::registry::{Query, Running, StopReason};
use crate::session::{DESCRIPTIONS, Principal, Session, VisibleCatalog, canonical_name, show};
use crate::wire_types::{to_wire, wire_schema};

/// What planning a statement came to.
enum Outcome {
    Rows { schema: SchemaRef, source: Source },
    Update(UpdateOutcome),
}

impl QueryEngine {
    /// Parses and plans without running. Any statement kind.
    pub async fn prepare(&self, session: &Session, sql: &str) -> Result<Prepared> {
        self.open()?;
        let job = self.job(session, sql, self.memory.query_pool(), false);
        self.planner.run(move |waiter| job.prepare(waiter)).await
    }

    /// Plans a SELECT (EXPLAIN, SHOW, VALUES …), or runs DDL, DML and CALL. Exactly one statement, a trailing `;` is fine.
    /// `parameters` may have several rows: a query runs once for each, in one answer over one snapshot; DML runs as often and is committed once.
    pub async fn plan(
        &self,
        session: &Session,
        sql: &str,
        parameters: Option<Parameters>,
        options: RunOptions,
    ) -> Result<Planned> {
        self.open()?;
        let settings = session.current();
        let timeout = options.timeout.map_or(settings.statement_timeout, |t| t.min(settings.statement_timeout));
        let running = self.registry.begin(session, sql, options.query_id.clone(), self.memory.query_pool())?;
        let query = Arc::clone(running.query());
        let outcome = tokio::select! {
            biased;
            error = query.stopped() => Err(error),
            outcome = self.plan_or_update(&query, session, sql, parameters, &options, timeout) => outcome,
        };
        match outcome {
            Ok(Outcome::Rows { schema, source }) => {
                let pending = self.pending(running, Arc::clone(&schema), source, timeout, settings.max_rows);
                Ok(Planned { query_id: query.id().to_string(), kind: PlannedKind::Rows { schema, pending } })
            }
            Ok(Outcome::Update(outcome)) => {
                running.end(Ok(()));
                Ok(Planned { query_id: query.id().to_string(), kind: PlannedKind::Update(outcome) })
            }
            Err(error) => {
                running.end(Err(&error));
                Err(error.with("query_id", query.id()))
            }
        }
    }

    /// EXPLAIN as text.
    pub async fn explain(&self, session: &Session, sql: &str, analyze: bool) -> Result<String> {
        let sql = format!("EXPLAIN {}{sql}", if analyze { "ANALYZE " } else { "" });
        let planned = self.plan(session, &sql, None, RunOptions::default()).await?;
        let PlannedKind::Rows { pending, .. } = planned.kind else {
            return Err(Error::internal("EXPLAIN gave no rows"));
        };
        let mut batches = pending.start().await?;
        let mut text = String::new();
        while let Some(batch) = batches.next().await {
            append_plan(&batch?, &mut text);
        }
        Ok(text)
    }

    fn open(&self) -> Result<()> {
        match self.closing.load(Ordering::Acquire) {
            true => {
                Err(Error::new(Code::ShuttingDown, "the server is stopping")
                    .hint("send it again when the server is back"))
            }
            false => Ok(()),
        }
    }

    fn job(&self, session: &Session, sql: &str, pool: Arc<crate::memory::QueryPool>, only_updates: bool) -> Job {
        Job {
            contexts: Arc::clone(&self.contexts),
            handle: self.runtime.handle().clone(),
            session: session.clone(),
            sql: sql.to_string(),
            pool,
            planner: self.planner.clone(),
            only_updates,
        }
    }

    fn pending(
        &self,
        running: Running,
        schema: SchemaRef,
        source: Source,
        timeout: Duration,
        max_rows: u64,
    ) -> PendingQuery {
        let class = match &source {
            Source::Plan(planned) => planned.class,
            Source::Batch(_) => Class::Metadata,
        };
        let terms = Terms {
            schema,
            admission: Arc::clone(&self.admission),
            handle: self.runtime.of(class).clone(),
            upkeep: self.runtime.upkeep().clone(),
            timeout,
            patience: MAX_STALL,
            max_rows,
        };
        PendingQuery::new(running, source, terms)
    }

    async fn plan_or_update(
        &self,
        query: &Arc<Query>,
        session: &Session,
        sql: &str,
        parameters: Option<Parameters>,
        options: &RunOptions,
        timeout: Duration,
    ) -> Result<Outcome> {
        self.wait_visible(&options.min_commit, &session.principal).await?;
        let clock = Arc::clone(&self.storage.env().clock);
        let start = clock.uptime();
        let job = self.job(session, sql, Arc::clone(&query.pool), options.only_updates);
        let work = self.planner.run(move |waiter| job.plan(parameters, waiter)).await?;
        query.set_planned(clock.uptime().saturating_sub(start));
        let deed = Deed::of(&work);
        let outcome = self.do_work(work, query, session, timeout).await?;
        let is_unchanged = matches!(&outcome, Outcome::Update(update) if update.is_unchanged);
        if let Some(deed) = deed.filter(|_| !is_unchanged) {
            deed.note(query);
        }
        Ok(outcome)
    }

    async fn do_work(&self, work: Work, query: &Arc<Query>, session: &Session, timeout: Duration) -> Result<Outcome> {
        let work = match work {
            Work::Call(call) => {
                query.set_state(QueryState::Running);
                Work::Batch(self.call(call, session, query, timeout).await?)
            }
            Work::Attach(attach) => {
                query.set_state(QueryState::Running);
                Work::Batch(self.attach(attach, query, timeout).await?)
            }
            other => other,
        };
        match work {
            Work::Rows(planned) => {
                query.set_catalog(Arc::clone(&planned.catalog));
                query.set_state(QueryState::Waiting);
                Ok(Outcome::Rows { schema: Arc::clone(&planned.schema), source: Source::Plan(planned) })
            }
            Work::Batch(batch) => {
                let schema = wire_schema(&batch.schema());
                let batch = to_wire(batch, &schema)?;
                Ok(Outcome::Rows { schema, source: Source::Batch(batch) })
            }
            other => {
                // These wait for a slot first.
                if !matches!(other, Work::Insert(_) | Work::Delete(_)) {
                    query.set_state(QueryState::Running);
                }
                self.update(other, query, session, timeout).await.map(Outcome::Update)
            }
        }
    }

    async fn update(
        &self,
        work: Work,
        query: &Arc<Query>,
        session: &Session,
        timeout: Duration,
    ) -> Result<UpdateOutcome> {
        let storage = &self.storage;
        let visible = VisibleCatalog::new(storage, &session.principal);
        if work.is_change() {
            query.begin_commit()?;
        }
        match work {
            Work::Insert(insert) => self.insert(insert, query, timeout).await,
            Work::Delete(delete) => self.delete(delete, query, timeout).await,
            Work::Set { name, value } => {
                session.check_keeps_settings()?;
                let own = session.with_own_settings();
                // A caller may fail to keep it, and then nothing is set.
                let session = if session.is_kept_by_caller() { &own } else { session };
                self.set(session, &name, value.as_deref())?;
                Ok(UpdateOutcome { settings: changed(session, &name)?, ..UpdateOutcome::default() })
            }
            Work::CreateTable { new, if_not_exists, or_replace } => {
                ddl::create_table(storage, *new, if_not_exists, or_replace).await
            }
            Work::DropTables { names, if_exists } => ddl::drop_tables(&visible, names, if_exists).await,
            Work::Truncate { names, if_exists } => ddl::truncate(&visible, names, if_exists).await,
            Work::CreateView { view, or_replace, if_not_exists } => {
                ddl::create_view(storage, view, or_replace, if_not_exists).await
            }
            Work::DropViews { names, if_exists } => ddl::drop_views(&visible, names, if_exists).await,
            Work::AlterTable(alter) => ddl::alter_table(&visible, alter).await,
            Work::UndropTable(name) => ddl::undrop_table(&visible, name).await,
            Work::Rows(_) | Work::Batch(_) | Work::Call(_) | Work::Attach(_) => {
                Err(Error::internal("a query is no update"))
            }
        }
    }

    /// An INSERT, or a CREATE TABLE AS, waits for a slot like a query. Its deadline holds until its rows have their place in the queue, or
    /// are all in files; a commit that has begun is waited for.
    async fn insert(&self, work: InsertWork, query: &Arc<Query>, timeout: Duration) -> Result<UpdateOutcome> {
        let class = work.class();
        let deadline = self.stop_at(Instant::now() + timeout, timeout, query);
        query.set_state(QueryState::Waiting);
        let slot = self.admission.admit(class).await?;
        query.set_state(QueryState::Running);
        let rows = work.collect(query, self.runtime.of(class)).await;
        // What its source still does is for nobody.
        query.pool.stop();
        drop(slot);
        rows?.commit(query, deadline).await
    }

    /// Stops the statement at `until`, which is `timeout` after its beginning, unless what this returns is dropped before. No statement goes
    /// on for longer than snapshots are kept.
    pub(super) fn stop_at(&self, until: Instant, timeout: Duration, query: &Arc<Query>) -> AbortOnDropHandle<()> {
        let watched = Arc::clone(query);
        let until = until.min(query.until());
        AbortOnDropHandle::new(self.runtime.upkeep().spawn(async move {
            tokio::time::sleep_until(until).await;
            watched.stop(StopReason::Deadline(timeout));
        }))
    }

    /// Waits until the commits that a client saw are visible here.
    async fn wait_visible(&self, tokens: &[CommitToken], caller: &Principal) -> Result<()> {
        let visible = VisibleCatalog::new(&self.storage, caller);
        let wait = async {
            for token in tokens {
                let tables = visible.tables();
                let Some(table) = tables.into_iter().find(|table| table.def().id == token.table) else {
                    return Err(Error::new(
                        Code::TableNotFound,
                        format!("there is no table with the id {}", token.table),
                    )
                    .hint("the table of this commit token was dropped"));
                };
                table.wait_visible(token).await?;
            }
            Ok(())
        };
        match tokio::time::timeout(MAX_VISIBLE_WAIT, wait).await {
            Ok(result) => result,
            Err(_) => Err(Error::new(
                Code::NotYetVisible,
                format!("a commit of min_commit was not visible within {} s", MAX_VISIBLE_WAIT.as_secs()),
            )
            .hint("try again, or ask the server that acknowledged it")),
        }
    }
}

/// The settings that SET or RESET of `name` was about, as they are now.
fn changed(session: &Session, name: &str) -> Result<Vec<(&'static str, String)>> {
    let names = match name.eq_ignore_ascii_case("all") {
        true => DESCRIPTIONS.map(|(name, _)| name).to_vec(),
        false => vec![canonical_name(name)?],
    };
    let settings = session.current();
    names.into_iter().map(|name| Ok((name, show(&settings, name)?))).collect()
}

/// The plans of an EXPLAIN result, each under its name.
fn append_plan(batch: &RecordBatch, text: &mut String) {
    let (Some(kinds), Some(plans)) = (
        batch.column(0).as_string_opt::<i32>(),
        batch.columns().get(1).and_then(|column| column.as_string_opt::<i32>()),
    ) else {
        return;
    };
    for (kind, plan) in kinds.iter().zip(plans.iter()) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}:\n{}", kind.unwrap_or_default(), plan.unwrap_or_default().trim_end());
    }
}
