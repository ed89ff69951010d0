//! Where do the rows of a bulk append go? Few are collected and written at the end; many are written as they come, into files that nobody
//! sees before the end.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::FlightData;
use futures::stream::Stream;
use tidewater_storage::admission::IncomingRows;
use tidewater_storage::ids::CommitToken;
use tidewater_storage::limits::STAGED_ABOVE_BYTES;
use tidewater_storage::memory::Collecting;
use tidewater_storage::{
    Code, Engine, Error, IdempotencyKey, OnError, Result, RowsOutcome, RowsRequest, StageOptions, StagedTable,
    StagedWrite, Table,
};
use tonic::Status;

use super::target::Target;
use crate::App;
use crate::flight_sql::call::Call;
use crate::flight_sql::command::invalid;
use crate::flight_sql::incoming::{Came, Incoming};
use crate::status::{to_flight_status as to_status, to_status_as};

/// When the next rows take so long, memory of those before may be what they, or others, wait for.
const GIVE_WAY_AFTER: Duration = Duration::from_millis(250);

/// Fewer rows stand in nobody's way, and are no file of their own.
const LEAST_BYTES_TO_GIVE: u64 = 64 << 10;

/// How long rows that are all there wait for memory to be prepared in.
const MAX_SPACE_WAIT: Duration = Duration::from_secs(30);

/// What was stored.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::flight_sql) struct Stored {
    pub rows: u64,
    /// The commit that has them; `None`: there was nothing to commit.
    pub token: Option<CommitToken>,
}

impl From<RowsOutcome> for Stored {
    fn from(outcome: RowsOutcome) -> Self {
        Self { rows: outcome.accepted, token: Some(outcome.token) }
    }
}

/// Takes the stream and writes it.
pub(in crate::flight_sql) async fn ingest<S>(
    app: &Arc<App>,
    call: &Call,
    target: Target,
    incoming: Incoming<S>,
) -> Result<Stored, Status>
where
    S: Stream<Item = Result<FlightData, Status>> + Unpin + Send,
{
    let mut target = target;
    target.allow(call.principal(), &app.storage).map_err(|error| adbc_status(&error))?;
    let options = StageOptions {
        principal: call.principal().name.clone(),
        idempotency_key: target.options.get("idempotency_key").cloned().map(IdempotencyKey),
        time_zone: Some(call.session.settings.lock().timezone.clone()),
        ..StageOptions::default()
    };
    let mut append = Append { storage: Arc::clone(&app.storage), target, options };
    let taken = match call.deadline {
        Some(deadline) => tokio::time::timeout_at(deadline, append.take(incoming))
            .await
            .unwrap_or_else(|_| Err(to_status(&crate::call::deadline_passed()))),
        None => append.take(incoming).await,
    };
    let (schema, rows) = taken?;
    // A stream may have come for hours: what the caller might do then may have been taken back.
    let now = app.auth.again(&call.proof).and_then(|now| append.target.allow(&now, &app.storage));
    now.map_err(|error| adbc_status(&error))?;
    // Detached: once the rows are there, the commit and what follows it are not torn apart by a client that goes away.
    let done = tokio::spawn(async move { append.commit(&schema, rows).await });
    let done = done.await.unwrap_or_else(|error| Err(Error::internal(format!("a bulk append ended early: {error}"))));
    done.map_err(|error| adbc_status(&error))
}

/// One bulk append.
struct Append {
    storage: Arc<Engine>,
    target: Target,
    options: StageOptions,
}

/// Where its rows are while they come.
enum Rows {
    /// In memory, each batch with what it holds, and the bytes of all.
    Few(Vec<(RecordBatch, Collecting)>, u64),
    /// In files of a table that is there.
    Append(Box<StagedWrite>),
    /// In files of a table that is made with them.
    Create(Box<StagedTable>),
    /// Nowhere: the append that made the table had the same key, and stored them.
    Known(Stored),
}

impl Append {
    /// Reads the whole stream. What it holds meanwhile is `incoming`'s matter: memory, and for how long. While rows are written
    /// it is not read, and waits for no more than its limits.
    async fn take<S>(&self, mut incoming: Incoming<S>) -> Result<(SchemaRef, Rows), Status>
    where
        S: Stream<Item = Result<FlightData, Status>> + Unpin + Send,
    {
        let check =
            |schema: Option<&SchemaRef>| self.target.check(&self.storage, schema).map_err(|error| adbc_status(&error));
        check(None)?;
        let mut rows = Rows::Few(Vec::new(), 0);
        let held_up = incoming.held_up();
        let mut checked = false;
        loop {
            rows = self.until_it_may_read(rows, &mut incoming).await?;
            let came = {
                let mut next = pin!(incoming.read_held());
                loop {
                    tokio::select! {
                        biased;
                        came = &mut next => break came?,
                        () = tokio::time::sleep(GIVE_WAY_AFTER) => {
                            let is_held_up = held_up.load(Ordering::Relaxed);
                            rows = self.give_way(rows, is_held_up).await.map_err(|error| adbc_status(&error))?;
                        }
                    }
                }
            };
            if !checked && let Some(schema) = incoming.schema() {
                check(Some(schema))?;
                checked = true;
            }
            match came {
                Came::Rows((batch, held)) if batch.num_rows() > 0 => {
                    rows = self.add(rows, batch, held).await.map_err(|error| adbc_status(&error))?;
                }
                Came::Rows(_) | Came::Nothing => {}
                Came::End => break,
            }
        }
        let schema = incoming.schema().cloned().ok_or_else(|| {
            to_status(&invalid("the bulk append has no schema message").hint("send the schema first"))
        })?;
        Ok((schema, rows))
    }

    /// Waits for the limits of the client. It does so also while rows are written: who has the turn and does not take it keeps it from all
    /// others who have the same limits.
    async fn until_it_may_read<S>(&self, mut rows: Rows, incoming: &mut Incoming<S>) -> Result<Rows, Status>
    where
        S: Stream<Item = Result<FlightData, Status>> + Unpin + Send,
    {
        let mut may_read = pin!(incoming.may_read());
        loop {
            tokio::select! {
                biased;
                may = &mut may_read => return may.map(|()| rows),
                () = tokio::time::sleep(GIVE_WAY_AFTER) => {}
            }
            // Its next rows wait for no memory yet.
            let mut written = pin!(self.give_way(rows, false));
            tokio::select! {
                biased;
                may = &mut may_read => {
                    may?;
                    return written.await.map_err(|error| adbc_status(&error));
                }
                given = &mut written => rows = given.map_err(|error| adbc_status(&error))?,
            }
        }
    }

    async fn add(&self, rows: Rows, batch: RecordBatch, held: Collecting) -> Result<Rows> {
        match rows {
            Rows::Few(mut few, bytes) => {
                let bytes = bytes + held.bytes();
                few.push((batch, held));
                if bytes > STAGED_ABOVE_BYTES as u64 { self.staged(few).await } else { Ok(Rows::Few(few, bytes)) }
            }
            mut staged => {
                staged.push(batch, held).await?;
                Ok(staged)
            }
        }
    }

    /// The next rows do not come: those that are here may stand in their way, or in that of other appends.
    async fn give_way(&self, rows: Rows, is_held_up: bool) -> Result<Rows> {
        let mut rows = match rows {
            // Also while its client is slow, or its next message waits for a place: those who have one may wait for this memory. Where nothing
            // can be written it is kept, and the stream ends with what it waits for, or with its commit.
            Rows::Few(few, bytes) if self.must_give(is_held_up, bytes) && self.storage.can_stage() => {
                self.staged(few).await?
            }
            other => other,
        };
        match &mut rows {
            Rows::Append(write) => write.give_way(is_held_up).await?,
            Rows::Create(table) => table.give_way(is_held_up).await?,
            Rows::Few(..) | Rows::Known(_) => {}
        }
        Ok(rows)
    }

    fn must_give(&self, is_held_up: bool, bytes: u64) -> bool {
        let is_much = bytes >= LEAST_BYTES_TO_GIVE && self.storage.memory().is_collecting_scarce();
        bytes > 0 && (is_held_up || is_much)
    }

    /// Rows that are not collected any more.
    async fn staged(&self, few: Vec<(RecordBatch, Collecting)>) -> Result<Rows> {
        let Some(schema) = few.first().map(|(batch, _)| batch.schema()) else {
            return Err(Error::internal("there are no rows to write"));
        };
        let mut staged = self.stage(&schema).await?;
        for (batch, held) in few {
            staged.push(batch, held).await?;
        }
        Ok(staged)
    }

    async fn stage(&self, schema: &SchemaRef) -> Result<Rows> {
        let (storage, target) = (&self.storage, &self.target);
        if target.replace {
            if let Some(stored) = self.replaced_before().await? {
                return Ok(Rows::Known(stored));
            }
            let made = storage.stage_replacement(target.new_table(schema)?, self.options.clone()).await?;
            return Ok(Rows::Create(Box::new(made)));
        }
        if let Some(table) = storage.table(&target.schema, &target.table) {
            if !target.append {
                return self.first_answer(&table).await.map(Rows::Known);
            }
            target.check_columns(&table.def(), schema)?;
            return Ok(Rows::Append(Box::new(table.stage(self.options.clone())?)));
        }
        if !target.create {
            target.check(storage, None)?;
        }
        let made = storage.stage_table(target.new_table(schema)?, self.options.clone()).await?;
        Ok(Rows::Create(Box::new(made)))
    }

    async fn commit(&self, schema: &SchemaRef, rows: Rows) -> Result<Stored> {
        match rows {
            Rows::Few(few, _) => {
                let (rows, held): (Vec<_>, Vec<_>) = few.into_iter().unzip();
                // They are at most half of the memory for rows, all statements together, so others make space meanwhile. Who waited in vain
                // is told what is full.
                let space = self.storage.memory().space_for_rows();
                let has_space = rows.is_empty() || tokio::time::timeout(MAX_SPACE_WAIT, space).await.is_ok();
                let request = RowsRequest { has_space, ..self.request(rows) };
                let stored = self.commit_few(schema, request).await;
                drop(held);
                stored
            }
            Rows::Append(write) => Ok(write.commit().await?.into()),
            Rows::Create(table) => match self.commit_made(*table).await {
                Err(error) if error.code() == Code::TableExists => self.made_by_another(error).await,
                stored => stored,
            },
            Rows::Known(stored) => Ok(stored),
        }
    }

    fn request(&self, rows: Vec<RecordBatch>) -> RowsRequest {
        let StageOptions { principal, idempotency_key, time_zone, .. } = self.options.clone();
        RowsRequest {
            idempotency_key,
            on_error: OnError::Abort,
            time_zone,
            statement: true,
            ..RowsRequest::new(principal, rows.into_iter().map(IncomingRows::from).collect())
        }
    }

    /// Writes, together with the table if that is to be made: both or neither.
    async fn commit_few(&self, schema: &SchemaRef, request: RowsRequest) -> Result<Stored> {
        let (storage, target) = (&self.storage, &self.target);
        if target.replace {
            return self.replace(schema, request).await;
        }
        if let Some(table) = storage.table(&target.schema, &target.table) {
            return self.append(&table, schema, request).await;
        }
        if !target.create {
            target.check(storage, None)?;
        }
        let new = target.new_table(schema)?;
        // A key is remembered with rows, also with none.
        let created = match request.rows.is_empty() && request.idempotency_key.is_none() {
            true => storage.create_table(new).await.map(|(_, notices)| (notices, Stored::default())),
            // Only a table that came up meanwhile needs the rows again; they share their buffers.
            false => {
                let created = storage.create_table_with(new, request.clone()).await;
                created.map(|(_, notices, outcome)| (notices, Stored::from(outcome)))
            }
        };
        match created {
            Ok((notices, stored)) => {
                self.note_made(notices);
                Ok(stored)
            }
            Err(error) if error.code() == Code::TableExists => {
                let table = storage.table(&target.schema, &target.table).ok_or(error)?;
                self.append(&table, schema, request).await
            }
            Err(error) => Err(error),
        }
    }

    /// Makes a table with all rows that are in its files.
    async fn commit_made(&self, table: StagedTable) -> Result<Stored> {
        if self.target.replace {
            // What is to be replaced may have gone since the rows began to come.
            self.target.check(&self.storage, None)?;
            // Or a first attempt came to its end meanwhile: others may have added to its table.
            if let Some(stored) = self.replaced_before().await? {
                return Ok(stored);
            }
        }
        let (_, notices, outcome) = table.commit().await?;
        self.note_made(notices);
        Ok(outcome.into())
    }

    /// Puts a new table with these rows in the place of the one that is there.
    async fn replace(&self, schema: &SchemaRef, request: RowsRequest) -> Result<Stored> {
        self.target.check(&self.storage, None)?;
        if let Some(stored) = self.replaced_before().await? {
            return Ok(stored);
        }
        // A key is remembered with rows, also with none.
        let has_rows = !request.rows.is_empty() || request.idempotency_key.is_some();
        let new = self.target.new_table(schema)?;
        let (_, notices, outcome) = self.storage.replace_table(new, has_rows.then_some(request)).await?;
        self.note_made(notices);
        Ok(outcome.map(Stored::from).unwrap_or_default())
    }

    /// The table that is there is the one that a first attempt, whose answer was lost, put there: it has the key.
    async fn replaced_before(&self) -> Result<Option<Stored>> {
        match self.storage.table(&self.target.schema, &self.target.table) {
            Some(table) => self.stored_before(&table).await,
            None => Ok(None),
        }
    }

    /// What an append with the same key has stored in the table.
    async fn stored_before(&self, table: &Table) -> Result<Option<Stored>> {
        let Some(key) = &self.options.idempotency_key else { return Ok(None) };
        let rows = table.accepted_under(&self.options.principal, key).await?;
        // What is known under a key is visible by now.
        Ok(rows.map(|rows| Stored { rows, token: Some(table.snapshot().token()) }))
    }

    fn note_made(&self, notices: Vec<String>) {
        let principal = &self.options.principal;
        tracing::info!(
            principal,
            kind = "table.create",
            table = self.target.name(),
            ?notices,
            "a bulk append made a table"
        );
    }

    async fn append(&self, table: &Table, schema: &SchemaRef, request: RowsRequest) -> Result<Stored> {
        if !self.target.append {
            return self.first_answer(table).await;
        }
        self.target.check_columns(&table.def(), schema)?;
        if request.rows.is_empty() {
            return Ok(Stored::default());
        }
        Ok(table.write(request).await?.into())
    }

    /// The table is there and the append was to make it. It may be the one that the first attempt made, whose answer was lost.
    async fn first_answer(&self, table: &Table) -> Result<Stored> {
        self.stored_before(table).await?.ok_or_else(|| self.target.exists())
    }

    /// `error`: the table that was to be made with the rows is there. They are in files of their own.
    async fn made_by_another(&self, error: Error) -> Result<Stored> {
        let table = self.storage.table(&self.target.schema, &self.target.table).ok_or(error)?;
        if !self.target.append {
            return self.first_answer(&table).await;
        }
        Err(Error::new(
            Code::StreamOvertaken,
            format!("table '{}' was made by somebody else while the rows were on their way", self.target.name()),
        )
        .hint("send all rows again"))
    }
}

impl Rows {
    /// Rows that are not collected.
    async fn push(&mut self, batch: RecordBatch, held: Collecting) -> Result<()> {
        match self {
            Rows::Append(write) => write.push_held(batch.into(), held).await,
            Rows::Create(table) => table.push_held(batch.into(), held).await,
            Rows::Known(_) => Ok(()),
            Rows::Few(..) => Err(Error::internal("rows that are collected are not written")),
        }
    }
}

/// ADBC's contract: rows that do not fit an existing table are `ALREADY_EXISTS`.
pub(in crate::flight_sql) fn adbc_status(error: &Error) -> Status {
    match error.code() {
        Code::SchemaMismatch => to_status_as(error, tonic::Code::AlreadyExists),
        _ => to_status(error),
    }
}

#[cfg(test)]
mod tests;
