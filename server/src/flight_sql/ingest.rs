//! How does bulk append work? The whole stream is collected, then written as one statement: all of it or nothing.
//!
//! A table that the command creates is made only when every row has arrived, so that a client that goes away leaves
//! nothing behind. From there on the work belongs to a task of its own: it ends whether or not the client still waits.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::can_cast_types;
use arrow::datatypes::SchemaRef;
use arrow_flight::FlightData;
use arrow_flight::sql::{CommandStatementIngest, TableExistsOption, TableNotExistOption};
use futures::stream::Stream;
use tidewater_storage::admission::IncomingRows;
use tidewater_storage::catalog::{ColumnDef, NewTable, TableDef, canonical_type};
use tidewater_storage::memory::Collecting;
use tidewater_storage::{Code, Engine, Error, IdempotencyKey, OnError, Result, RowsRequest, Table};
use tonic::Status;
use tonic::metadata::{KeyAndValueRef, MetadataMap};

use super::call::Call;
use super::command::{CATALOG, DEFAULT_SCHEMA, invalid, refuse_transaction, shortened};
use super::incoming::Incoming;
use crate::App;
use crate::status::{to_status, to_status_as};

/// ADBC cannot send options with the command, but it can send headers: `x-ingest-primary-key` is `primary_key`.
const OPTION_HEADER_PREFIX: &str = "x-ingest-";

/// What the command asks for, checked.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub schema: String,
    pub table: String,
    /// Make the table when there is none.
    pub create: bool,
    /// Add to the table when there is one.
    pub append: bool,
    pub options: BTreeMap<String, String>,
}

impl Target {
    /// Checks a command and the headers that came with it.
    pub fn new(command: CommandStatementIngest, headers: &MetadataMap) -> Result<Self> {
        refuse_transaction(command.transaction_id.as_ref())?;
        if command.table.is_empty() {
            return Err(invalid("the bulk append names no table"));
        }
        if let Some(catalog) = command.catalog.filter(|catalog| !catalog.is_empty() && catalog != CATALOG) {
            return Err(invalid(format!("there is no catalog '{}'", shortened(&catalog)))
                .hint(format!("the only catalog is '{CATALOG}'; leave it out")));
        }
        if command.temporary {
            return Err(unsupported(
                "temporary tables are not supported yet",
                "append to an ordinary table and drop it",
            ));
        }
        let Some(definition) = command.table_definition_options else {
            return Err(invalid("the bulk append has no table_definition_options"));
        };
        let create = match definition.if_not_exist() {
            TableNotExistOption::Create => true,
            TableNotExistOption::Fail => false,
            TableNotExistOption::Unspecified => {
                return Err(invalid("if_not_exist is not set").hint("set CREATE or FAIL"));
            }
        };
        let append = match definition.if_exists() {
            TableExistsOption::Append => true,
            TableExistsOption::Fail => false,
            TableExistsOption::Replace => {
                return Err(unsupported(
                    "replacing a table by bulk append is not supported yet",
                    "drop the table, then create it",
                ));
            }
            TableExistsOption::Unspecified => return Err(invalid("if_exists is not set").hint("set FAIL or APPEND")),
        };
        let schema = command.schema.filter(|schema| !schema.is_empty()).unwrap_or_else(|| DEFAULT_SCHEMA.to_owned());
        let options = options(command.options, headers)?;
        Ok(Self { schema, table: command.table, create, append, options })
    }

    fn name(&self) -> String {
        format!("{}.{}", self.schema, self.table)
    }

    /// Whether the rows can go where the command says, as far as that is known before they are there.
    fn check(&self, storage: &Engine, schema: Option<&SchemaRef>) -> Result<()> {
        match storage.table(&self.schema, &self.table) {
            None if self.create => Ok(()),
            None => Err(Error::new(Code::TableNotFound, format!("table '{}' not found", self.name()))
                .hint("create it first, or ask for its creation")),
            // A key may be that of the append that made the table: its rows decide.
            Some(_) if !self.append && self.options.contains_key("idempotency_key") => Ok(()),
            Some(_) if !self.append => Err(self.exists()),
            Some(table) => schema.map_or(Ok(()), |schema| self.check_columns(&table.def(), schema)),
        }
    }

    fn exists(&self) -> Error {
        Error::new(Code::TableExists, format!("table '{}' already exists", self.name()))
            .hint("append to it, or choose another name")
    }

    /// Columns match by name, in any order. What cannot match is told all at once.
    fn check_columns(&self, def: &TableDef, schema: &SchemaRef) -> Result<()> {
        self.check_options(def)?;
        let mut problems = Vec::new();
        let given: HashMap<String, _> =
            schema.fields().iter().map(|field| (field.name().to_lowercase(), field)).collect();
        let wanted: HashMap<String, _> =
            def.columns.iter().map(|column| (column.name.to_lowercase(), column)).collect();
        for field in schema.fields() {
            match wanted.get(&field.name().to_lowercase()) {
                None => problems.push(format!("column '{}' is not in the table", field.name())),
                Some(column) if !can_cast_types(field.data_type(), &column.data_type) => {
                    problems.push(format!(
                        "column '{}' is {}, the table has {}",
                        field.name(),
                        field.data_type(),
                        column.data_type
                    ));
                }
                Some(_) => {}
            }
        }
        let missing =
            def.columns.iter().filter(|column| !column.nullable && !given.contains_key(&column.name.to_lowercase()));
        problems.extend(missing.map(|column| format!("column '{}' is missing and must not be NULL", column.name)));
        if problems.is_empty() {
            return Ok(());
        }
        Err(Error::new(
            Code::SchemaMismatch,
            format!("table '{}' has other columns: {}", self.name(), problems.join("; ")),
        )
        .hint("rename, cast or drop the columns before they are sent"))
    }

    /// Options that shape a table must be those that the table has.
    fn check_options(&self, def: &TableDef) -> Result<()> {
        let names = |indexes: &[usize]| indexes.iter().map(|&i| def.columns[i].name.to_lowercase()).collect::<Vec<_>>();
        let time: Vec<usize> = def.options.time_column.into_iter().collect();
        for (name, has) in
            [("primary_key", names(&def.key)), ("time_column", names(&time)), ("sort_by", names(&def.options.sort_by))]
        {
            let Some(asked) = self.options.get(name) else { continue };
            if column_list(&asked.to_lowercase()) != has {
                return Err(Error::new(
                    Code::InvalidOption,
                    format!(
                        "table '{}' has {name} '{}', the bulk append asks for '{asked}'",
                        self.name(),
                        has.join(", ")
                    ),
                )
                .hint("leave the option out when the table exists"));
            }
        }
        Ok(())
    }

    /// The table that data of `schema` makes.
    fn new_table(&self, schema: &SchemaRef) -> Result<NewTable> {
        let columns = schema.fields().iter().map(|field| {
            let data_type = canonical_type(field.data_type())?;
            Ok(ColumnDef { name: field.name().clone(), data_type, nullable: true, comment: None })
        });
        let option = |name: &str| self.options.get(name).map(|value| (name.to_owned(), value.clone()));
        Ok(NewTable {
            schema_name: self.schema.clone(),
            name: self.table.clone(),
            columns: columns.collect::<Result<_>>()?,
            key: self.options.get("primary_key").map(|key| column_list(key)).unwrap_or_default(),
            options: ["time_column", "sort_by"].into_iter().filter_map(option).collect(),
            from_data: true,
        })
    }
}

/// Options of the command, then those of the headers. What is not known is an error, never ignored.
fn options(command: HashMap<String, String>, headers: &MetadataMap) -> Result<BTreeMap<String, String>> {
    let mut options = BTreeMap::new();
    for header in headers.iter() {
        let KeyAndValueRef::Ascii(key, value) = header else { continue };
        if let Some(name) = key.as_str().strip_prefix(OPTION_HEADER_PREFIX) {
            let value = value.to_str().map_err(|_| invalid(format!("the header {key} is not text")))?;
            options.insert(name.replace('-', "_"), value.to_owned());
        }
    }
    options.extend(command);
    for name in options.keys() {
        match name.as_str() {
            "primary_key" | "time_column" | "sort_by" | "idempotency_key" => {}
            "on_conflict" => {
                return Err(unsupported(
                    "the option on_conflict is not supported yet",
                    "the first row of a key wins; leave it out",
                ));
            }
            other => {
                return Err(Error::new(
                    Code::InvalidOption,
                    format!("'{}' is not an option of bulk append", shortened(other)),
                )
                .hint("the options are primary_key, time_column, sort_by and idempotency_key"));
            }
        }
    }
    Ok(options)
}

fn column_list(text: &str) -> Vec<String> {
    text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

/// Collects the stream and writes it. Returns the rows that were stored.
pub(super) async fn ingest<S>(app: &Arc<App>, call: &Call, target: Target, incoming: Incoming<S>) -> Result<u64, Status>
where
    S: Stream<Item = Result<FlightData, Status>> + Unpin + Send,
{
    let collected = match call.deadline {
        Some(deadline) => tokio::time::timeout_at(deadline, collect(app, &target, incoming))
            .await
            .unwrap_or_else(|_| Err(to_status(&crate::call::deadline_passed()))),
        None => collect(app, &target, incoming).await,
    };
    let collected = collected?;
    let principal = call.principal().name.clone();
    let time_zone = call.session.settings.lock().timezone.clone();
    let app = Arc::clone(app);
    // Detached: once the rows are there, the commit and what follows it are not torn apart by a client that goes away.
    let done = tokio::spawn(async move {
        let Collected { schema, rows, held } = collected;
        let request = request(rows, principal, time_zone, &target);
        let done = commit(&app.storage, &target, &schema, request).await;
        drop(held);
        done
    });
    let done = done.await.unwrap_or_else(|error| Err(Error::internal(format!("a bulk append ended early: {error}"))));
    done.map_err(|error| adbc_status(&error))
}

struct Collected {
    schema: SchemaRef,
    rows: Vec<RecordBatch>,
    held: Collecting,
}

/// Reads the whole stream. What it holds meanwhile is `incoming`'s matter: memory, and for how long.
async fn collect<S>(app: &App, target: &Target, mut incoming: Incoming<S>) -> Result<Collected, Status>
where
    S: Stream<Item = Result<FlightData, Status>> + Unpin + Send,
{
    target.check(&app.storage, None).map_err(|error| adbc_status(&error))?;
    let mut rows = Vec::new();
    let mut checked = false;
    loop {
        let batch = incoming.next().await?;
        if !checked && let Some(schema) = incoming.schema() {
            target.check(&app.storage, Some(schema)).map_err(|error| adbc_status(&error))?;
            checked = true;
        }
        let Some(batch) = batch else { break };
        if batch.num_rows() > 0 {
            rows.push(batch);
        }
    }
    let schema = incoming.schema().cloned();
    let schema = schema
        .ok_or_else(|| to_status(&invalid("the bulk append has no schema message").hint("send the schema first")))?;
    Ok(Collected { schema, rows, held: incoming.into_held() })
}

fn request(rows: Vec<RecordBatch>, principal: String, time_zone: String, target: &Target) -> RowsRequest {
    RowsRequest {
        idempotency_key: target.options.get("idempotency_key").cloned().map(IdempotencyKey),
        on_error: OnError::Abort,
        time_zone: Some(time_zone),
        statement: true,
        ..RowsRequest::new(principal, rows.into_iter().map(IncomingRows::from).collect())
    }
}

/// Writes, together with the table if that is to be made: both or neither.
async fn commit(storage: &Arc<Engine>, target: &Target, schema: &SchemaRef, request: RowsRequest) -> Result<u64> {
    if let Some(table) = storage.table(&target.schema, &target.table) {
        return append(&table, target, schema, request).await;
    }
    if !target.create {
        target.check(storage, None)?;
    }
    let new = target.new_table(schema)?;
    // A key is remembered with rows, also with none.
    let created = match request.rows.is_empty() && request.idempotency_key.is_none() {
        true => storage.create_table(new).await.map(|(_, notices)| (notices, 0)),
        // Only a table that came up meanwhile needs the rows again; they share their buffers.
        false => {
            let created = storage.create_table_with(new, request.clone()).await;
            created.map(|(_, notices, outcome)| (notices, outcome.accepted))
        }
    };
    match created {
        Ok((notices, accepted)) => {
            for notice in notices {
                tracing::info!(table = target.name(), notice, "a bulk append made a table");
            }
            Ok(accepted)
        }
        Err(error) if error.code() == Code::TableExists => {
            let table = storage.table(&target.schema, &target.table).ok_or(error)?;
            append(&table, target, schema, request).await
        }
        Err(error) => Err(error),
    }
}

async fn append(table: &Table, target: &Target, schema: &SchemaRef, request: RowsRequest) -> Result<u64> {
    if !target.append {
        // It may be the table that the first attempt made, whose answer was lost.
        let first = match &request.idempotency_key {
            Some(key) => table.accepted_under(&request.principal, key).await?,
            None => None,
        };
        return first.ok_or_else(|| target.exists());
    }
    target.check_columns(&table.def(), schema)?;
    if request.rows.is_empty() {
        return Ok(0);
    }
    Ok(table.write(request).await?.accepted)
}

/// ADBC's contract: rows that do not fit an existing table are `ALREADY_EXISTS`.
pub(super) fn adbc_status(error: &Error) -> Status {
    match error.code() {
        Code::SchemaMismatch => to_status_as(error, tonic::Code::AlreadyExists),
        _ => to_status(error),
    }
}

fn unsupported(message: &str, hint: &str) -> Error {
    Error::new(Code::UnsupportedRequest, message).hint(hint)
}
