//! What does a procedure answer? It runs to its end while the statement is planned, and its rows say what came of it.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use tidewater_storage::{Check, Code, Error, GivenUp, ReplayOptions, ReplayOutcome, Result, Table};
use tokio::time::Instant;

use crate::engine::QueryEngine;
use crate::engine::change::ddl::own_schema;
use crate::engine::context::find_table;
use crate::functions::instant_us;
use crate::registry::Query;
use crate::session::{Session, VisibleCatalog};
use crate::statement::{Attach, Call, Only, Procedure, TableName};

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let field = |name: &str, data_type: DataType| Field::new(name, data_type, true);
    Arc::new(Schema::new(vec![
        field("table", DataType::Utf8),
        field("delta_version", DataType::Int64),
        field("through", DataType::Int64),
        field("rows", DataType::Int64),
        field("files", DataType::Int64),
        field("location", DataType::Utf8),
    ]))
});

static CHECKS: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("check", DataType::Utf8, true),
        Field::new("ok", DataType::Boolean, true),
        Field::new("detail", DataType::Utf8, true),
    ]))
});

static GIVEN_UP: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("file", DataType::Utf8, true),
        Field::new("rows", DataType::Int64, true),
        Field::new("reason", DataType::Utf8, true),
    ]))
});

static REPLAYED: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("table", DataType::Utf8, true),
        Field::new("replayed", DataType::Int64, true),
        Field::new("duplicate", DataType::Int64, true),
        Field::new("still_rejected", DataType::Int64, true),
    ]))
});

static PURGED: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![Field::new("table", DataType::Utf8, true), Field::new("id", DataType::Utf8, true)]))
});

/// The columns of a procedure's answer.
pub(in crate::engine) fn call_schema(procedure: Procedure) -> SchemaRef {
    Arc::clone(match procedure {
        Procedure::Verify => &CHECKS,
        Procedure::GiveUp => &GIVEN_UP,
        Procedure::ReplayRejected => &REPLAYED,
        Procedure::PurgeDropped => &PURGED,
        Procedure::Build | Procedure::Seal | Procedure::Compact => &SCHEMA,
    })
}

/// The columns of the answer of attach.
pub(in crate::engine) fn attach_schema() -> SchemaRef {
    Arc::clone(&SCHEMA)
}

/// What a procedure came to, in the words of its answer.
struct Came {
    /// The version that has the rows; NULL when none was ever made, and of a build, which makes none.
    delta_version: Option<u64>,
    /// The last entry of the log that is settled.
    through: u64,
    /// Rows that are settled, without deleted ones, and their files.
    rows: u64,
    files: u64,
    location: String,
}

impl QueryEngine {
    /// Runs a procedure. When the statement is stopped it is not waited for any more; storage brings what it has begun to its end.
    pub(in crate::engine) async fn call(
        &self,
        call: Call,
        session: &Session,
        query: &Arc<Query>,
        timeout: Duration,
    ) -> Result<RecordBatch> {
        let visible = VisibleCatalog::new(&self.storage, query.principal());
        let table = || find_table(&visible, &call.table);
        let _deadline = self.stop_at(Instant::now() + timeout, timeout, query);
        let came = match call.procedure {
            Procedure::Build => build(&table()?).await?,
            Procedure::Seal => seal(&table()?).await?,
            Procedure::Compact => compact(&table()?).await?,
            Procedure::Verify => return checks(&table()?.verify_within(timeout).await?),
            Procedure::GiveUp => return given_up(&table()?.give_up().await?),
            Procedure::ReplayRejected => {
                let table = table()?;
                let options = replay_options(call.only, session)?;
                return replayed(&call.table.to_string(), &table.replay_rejected(options).await?);
            }
            Procedure::PurgeDropped => return purged(&visible, &call.table).await,
        };
        answer(&call.table.to_string(), came)
    }
}

impl QueryEngine {
    /// Makes a Delta table that is there a table. As [`Self::call`] when the statement is stopped.
    pub(in crate::engine) async fn attach(
        &self,
        attach: Attach,
        query: &Arc<Query>,
        timeout: Duration,
    ) -> Result<RecordBatch> {
        let _deadline = self.stop_at(Instant::now() + timeout, timeout, query);
        if let Some(table) = &attach.table {
            own_schema(&table.schema)?;
        }
        let name = attach.table.map(|table| (table.schema, table.name));
        let table = self.storage.attach_table(&attach.url, name).await?;
        let def = table.def();
        answer(&format!("{}.{}", def.schema_name, def.name), settled(&table))
    }
}

async fn build(table: &Table) -> Result<Came> {
    let through = table.build().await?.0;
    let snapshot = table.snapshot();
    let files = snapshot.files();
    let rows = files.iter().map(|file| file.live_rows()).sum();
    Ok(Came { delta_version: None, through, rows, files: files.len() as u64, location: table.location() })
}

async fn seal(table: &Table) -> Result<Came> {
    let sealed = table.seal().await?;
    Ok(Came {
        delta_version: sealed.delta_version,
        through: sealed.through.0,
        rows: sealed.rows,
        files: sealed.files,
        location: sealed.location,
    })
}

/// What is built stays where it is: files of the Delta table become fewer.
async fn compact(table: &Table) -> Result<Came> {
    table.compact().await?;
    Ok(settled(table))
}

/// What is in the Delta table.
fn settled(table: &Table) -> Came {
    let stats = table.stats();
    Came {
        delta_version: stats.delta_version,
        through: stats.sealed_through,
        rows: stats.sealed_rows,
        files: stats.sealed_files,
        location: table.location(),
    }
}

fn answer(table: &str, came: Came) -> Result<RecordBatch> {
    let number = |n: Option<u64>| {
        let n = n.map(|n| i64::try_from(n).unwrap_or(i64::MAX));
        Arc::new(Int64Array::from(vec![n])) as ArrayRef
    };
    let text = |text: &str| Arc::new(StringArray::from(vec![text])) as ArrayRef;
    let columns = vec![
        text(table),
        number(came.delta_version),
        number(Some(came.through)),
        number(Some(came.rows)),
        number(Some(came.files)),
        text(&came.location),
    ];
    Ok(RecordBatch::try_new(Arc::clone(&SCHEMA), columns)?)
}

/// A row a check; NULL where it could not be made.
fn checks(checks: &[Check]) -> Result<RecordBatch> {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(checks.iter().map(|check| check.name))),
        Arc::new(checks.iter().map(|check| check.is_ok).collect::<BooleanArray>()),
        Arc::new(StringArray::from_iter_values(checks.iter().map(|check| check.detail.as_str()))),
    ];
    Ok(RecordBatch::try_new(Arc::clone(&CHECKS), columns)?)
}

/// A row a damaged file; none where nothing is damaged.
fn given_up(files: &[GivenUp]) -> Result<RecordBatch> {
    let rows = files.iter().map(|file| i64::try_from(file.rows).unwrap_or(i64::MAX));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(files.iter().map(|file| file.file.as_str()))),
        Arc::new(Int64Array::from_iter_values(rows)),
        Arc::new(StringArray::from_iter_values(files.iter().map(|file| file.reason.as_str()))),
    ];
    Ok(RecordBatch::try_new(Arc::clone(&GIVEN_UP), columns)?)
}

/// A row a table that is gone for good. Its name is that of no table, or of another.
async fn purged(visible: &VisibleCatalog, name: &TableName) -> Result<RecordBatch> {
    let not_found = || {
        Error::new(Code::TableNotFound, format!("no table {name} was dropped or replaced lately"))
            .hint("a table is purged under the name that it was dropped with")
    };
    if !visible.sees(&name.schema, &name.name) {
        return Err(not_found());
    }
    let ids = match visible.storage().purge_table(&name.schema, &name.name).await {
        Err(error) if error.code() == Code::TableNotFound => return Err(not_found()),
        ids => ids?,
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(ids.iter().map(|_| name.to_string()))),
        Arc::new(StringArray::from_iter_values(ids.iter().map(ToString::to_string))),
    ];
    Ok(RecordBatch::try_new(Arc::clone(&PURGED), columns)?)
}

/// Times without an offset are those of the session's time zone, in the rows and in the call.
fn replay_options(only: Only, session: &Session) -> Result<ReplayOptions> {
    let zone = session.current().timezone;
    Ok(ReplayOptions {
        principal: session.principal.name.clone(),
        producer: only.producer,
        since_us: only.since.map(|since| instant_us(&since, &zone)).transpose()?,
        time_zone: Some(zone),
        ignore_unknown_columns: false,
    })
}

fn replayed(table: &str, outcome: &ReplayOutcome) -> Result<RecordBatch> {
    let number = |n: u64| Arc::new(Int64Array::from(vec![i64::try_from(n).unwrap_or(i64::MAX)])) as ArrayRef;
    let columns = vec![
        Arc::new(StringArray::from(vec![table])) as ArrayRef,
        number(outcome.replayed),
        number(outcome.duplicates),
        number(outcome.still_rejected),
    ];
    Ok(RecordBatch::try_new(Arc::clone(&REPLAYED), columns)?)
}
