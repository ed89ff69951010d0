//! Which schemas and tables are there? User tables and views from the catalog, system tables from the query engine.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_flight::sql::CommandGetTables;
use arrow_flight::sql::metadata::GetTablesBuilder;
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use parking_lot::Mutex;
use tidewater_query::wire_types::Profile;
use tidewater_query::{Interface, Principal, Session, VisibleCatalog, is_admin_table};
use tidewater_storage::catalog::TableDef;
use tidewater_storage::{Code, Error, ErrorKind, Result};

use super::Pattern;
use super::type_info::{metadata_key, type_entries};
use crate::App;
use crate::flight_sql::command::{CATALOG, DEFAULT_SCHEMA, quoted};
use crate::flight_sql::encode::{MAX_MESSAGE_BYTES, Rows};
use crate::flight_sql::statement::schema_bytes;

/// Rows of one batch; a client that looks for one name finds it in the first.
const MAX_BATCH_ROWS: usize = 1_000;

/// Columns that one batch describes, each in one to two KiB of memory: a catalog may have millions.
const MAX_BATCH_COLUMNS: usize = 5_000;

/// What `table_schema` of one table takes at most: a message of the default size holds its row, whose names take little.
const MAX_SCHEMA_BYTES: usize = MAX_MESSAGE_BYTES - (16 << 10);

/// What a view is taken to have until it is planned.
const VIEW_COLUMNS: usize = 100;

/// Where clients find the comment of a column.
const REMARKS: &str = "REMARKS";

const SYSTEM_TABLE: &str = "SYSTEM TABLE";
const TABLE: &str = "TABLE";
const VIEW: &str = "VIEW";

/// All table types, sorted.
pub(super) const TABLE_TYPES: [&str; 3] = [SYSTEM_TABLE, TABLE, VIEW];

/// Tables that the query engine may have of its own; it is asked which of them it has.
const SYSTEM_TABLES: [(&str, &[&str]); 2] = [
    (
        "system",
        &[
            "columns",
            "events",
            "jobs",
            "ledger",
            "metrics",
            "producers",
            "queries",
            "rejected",
            "segments",
            "settings",
            "tables",
            "tokens",
            "users",
        ],
    ),
    ("information_schema", &["columns", "df_settings", "parameters", "routines", "schemata", "tables", "views"]),
];

/// What GetTables asks for.
pub(in crate::flight_sql) struct Filter {
    is_our_catalog: bool,
    schema: Option<Pattern>,
    table: Option<Pattern>,
    /// Which of the types that there are; `None` means all.
    types: Option<Vec<&'static str>>,
}

impl Filter {
    pub fn new(query: &CommandGetTables) -> Self {
        // Grafana asks for BASE TABLE, as information_schema calls it; spelling varies.
        let is_named = |kind: &&'static str| {
            let is_kind = |name: &String| name.eq_ignore_ascii_case(kind);
            let is_base = |name: &String| *kind == TABLE && name.eq_ignore_ascii_case("BASE TABLE");
            query.table_types.iter().any(|name| is_kind(name) || is_base(name))
        };
        Self {
            is_our_catalog: query.catalog.as_deref().is_none_or(|catalog| catalog == CATALOG),
            schema: query.db_schema_filter_pattern.as_deref().map(Pattern::new),
            table: query.table_name_filter_pattern.as_deref().map(Pattern::new),
            // Looked at once, not for each table: a client may name the same types millions of times.
            types: (!query.table_types.is_empty()).then(|| TABLE_TYPES.into_iter().filter(is_named).collect()),
        }
    }

    pub fn matches(&self, schema: &str, name: &str, kind: &str) -> bool {
        self.wants(kind)
            && self.schema.as_ref().is_none_or(|pattern| pattern.matches(schema))
            && self.table.as_ref().is_none_or(|pattern| pattern.matches(name))
    }

    fn wants(&self, kind: &str) -> bool {
        self.is_our_catalog && self.types.as_ref().is_none_or(|types| types.contains(&kind))
    }

    /// The table whose name is the pattern's own text: some clients pass a name unescaped and read the first row.
    fn is_named(&self, name: &str) -> bool {
        self.table.as_ref().is_some_and(|pattern| pattern.equals(name))
    }
}

/// A table or view.
#[derive(Debug, Clone)]
pub(in crate::flight_sql) struct Listed {
    pub schema_name: String,
    pub name: String,
    pub kind: &'static str,
    pub columns: Columns,
}

/// Where the columns of a table stand until they are asked for.
#[derive(Debug, Clone)]
pub(in crate::flight_sql) enum Columns {
    OfTable(Arc<TableDef>),
    /// Its query has to be planned.
    OfView,
    /// Native types, with what Flight SQL says of columns in the metadata.
    Described(SchemaRef),
}

impl Columns {
    fn count(&self) -> usize {
        match self {
            Columns::OfTable(def) => def.columns.len(),
            Columns::OfView => VIEW_COLUMNS,
            Columns::Described(columns) => columns.fields().len(),
        }
    }

    fn described(&self) -> SchemaRef {
        match self {
            Columns::OfTable(def) => columns_of(def),
            // A view over a table that is gone still exists; nobody can say its columns.
            Columns::OfView => Arc::new(Schema::empty()),
            Columns::Described(columns) => Arc::clone(columns),
        }
    }
}

/// The system tables that exist, once they are known: they are fixed for a process.
#[derive(Default)]
pub(super) struct SystemTables {
    known: Mutex<Option<Arc<Vec<Listed>>>>,
}

impl SystemTables {
    /// Names of all schemas, sorted.
    pub async fn schemas(&self, app: &App, session: &Session) -> Result<Vec<String>> {
        let visible = VisibleCatalog::new(&app.storage, &session.principal);
        let mut names: BTreeSet<String> = visible.schemas().into_iter().collect();
        names.insert(DEFAULT_SCHEMA.to_owned());
        names.extend(self.known(app).await?.iter().map(|table| table.schema_name.clone()));
        Ok(names.into_iter().collect())
    }

    /// Tables and views that the session's caller sees and that match. An error if the system tables could not be planned just now.
    pub async fn tables(&self, app: &App, session: &Session, filter: &Filter) -> Result<Vec<Listed>> {
        let visible = VisibleCatalog::new(&app.storage, &session.principal);
        let defs = visible.tables().into_iter().map(|table| table.def());
        let matching = defs.filter(|def| filter.matches(&def.schema_name, &def.name, TABLE));
        let mut listed: Vec<Listed> = matching.map(Listed::table).collect();
        let views = visible.views().into_iter().filter(|view| filter.matches(&view.schema_name, &view.name, VIEW));
        listed.extend(views.map(|view| Listed {
            schema_name: view.schema_name,
            name: view.name,
            kind: VIEW,
            columns: Columns::OfView,
        }));
        if filter.wants(SYSTEM_TABLE) {
            let system = self.known(app).await?;
            let is_admin = session.principal.is_admin();
            let matching = |table: &&Listed| {
                let is_visible = is_admin || table.schema_name != "system" || !is_admin_table(&table.name);
                is_visible && filter.matches(&table.schema_name, &table.name, SYSTEM_TABLE)
            };
            listed.extend(system.iter().filter(matching).cloned());
        }
        Ok(listed)
    }

    /// All of them, whoever asks first.
    async fn known(&self, app: &App) -> Result<Arc<Vec<Listed>>> {
        if let Some(known) = self.known.lock().clone() {
            return Ok(known);
        }
        let session = app.query.session(Principal::admin("server"), Interface::Internal).with_types(Profile::Native);
        let mut found = Vec::new();
        for (schema_name, names) in SYSTEM_TABLES {
            for &name in names {
                if let Some(columns) = planned_columns(app, &session, schema_name, name).await? {
                    found.push(Listed {
                        schema_name: schema_name.to_owned(),
                        name: name.to_owned(),
                        kind: SYSTEM_TABLE,
                        columns: Columns::Described(columns),
                    });
                }
            }
        }
        let found = Arc::new(found);
        *self.known.lock() = Some(found.clone());
        Ok(found)
    }
}

impl Listed {
    fn table(def: Arc<TableDef>) -> Self {
        Self {
            schema_name: def.schema_name.clone(),
            name: def.name.clone(),
            kind: TABLE,
            columns: Columns::OfTable(def),
        }
    }
}

fn columns_of(def: &TableDef) -> SchemaRef {
    let remarks = def.columns.iter().filter_map(|column| Some((column.name.as_str(), column.comment.as_deref()?)));
    let remarks: HashMap<_, _> = remarks.collect();
    with_lengths(&described(&def.schema_name, &def.name, &def.arrow_schema, &remarks, false), def)
}

/// With the characters that a column takes in the place of those that its type does.
fn with_lengths(columns: &Schema, def: &TableDef) -> SchemaRef {
    let fields = columns.fields().iter().zip(&def.columns).map(|(field, column)| {
        let Some(max_chars) = column.max_chars else { return Arc::clone(field) };
        let mut metadata = field.metadata().clone();
        metadata.insert(metadata_key("PRECISION"), max_chars.to_string());
        Arc::new(Field::clone(field).with_metadata(metadata))
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The columns that a SELECT from `schema.name` has; `None` if it cannot be planned. An error if that could not be tried: without it a
/// table would look as if it had no columns, or were not there.
async fn planned_columns(app: &App, session: &Session, schema: &str, name: &str) -> Result<Option<SchemaRef>> {
    let sql = format!("SELECT * FROM {}.{}", quoted(schema), quoted(name));
    match app.query.prepare(session, &sql).await {
        Ok(prepared) => {
            // Neither views nor system tables take rows.
            Ok(Some(described(schema, name, &prepared.dataset_schema, &HashMap::new(), true)))
        }
        Err(error) if is_passing(&error) => {
            let message = format!("the columns of {schema}.{name} cannot be told now: {}", error.message());
            let busy = Error::new(error.code(), message).hint("ask again, or without columns");
            Err(match error.retry_delay() {
                Some(delay) => busy.retry_after(delay),
                None => busy,
            })
        }
        Err(_) => Ok(None),
    }
}

/// Was planning only kept from its end, so that it may succeed another time?
fn is_passing(error: &Error) -> bool {
    let is_of_now = matches!(
        error.kind(),
        ErrorKind::ResourceExhausted | ErrorKind::DeadlineExceeded | ErrorKind::Unavailable | ErrorKind::Cancelled
    );
    // What the statement itself asks for does not become less.
    is_of_now && error.code() != Code::ExpansionTooLarge
}

/// `columns` with the metadata that JDBC and ODBC read.
fn described(
    schema_name: &str,
    table: &str,
    columns: &Schema,
    remarks: &HashMap<&str, &str>,
    is_read_only: bool,
) -> SchemaRef {
    let flag = |is_set: bool| String::from(if is_set { "1" } else { "0" });
    let fields = columns.fields().iter().map(|field| {
        let data_type = field.data_type();
        // What a column is called in SQL does not depend on how it is sent.
        let named = Profile::Portable.data_type(data_type);
        let mut entries = vec![
            ("CATALOG_NAME", CATALOG.to_owned()),
            ("DB_SCHEMA_NAME", schema_name.to_owned()),
            ("TABLE_NAME", table.to_owned()),
            ("IS_AUTO_INCREMENT", flag(false)),
            ("IS_CASE_SENSITIVE", flag(matches!(named, DataType::Utf8))),
            ("IS_READ_ONLY", flag(is_read_only)),
            ("IS_SEARCHABLE", flag(true)),
        ];
        entries.extend(type_entries(&named));
        entries.extend(remarks.get(field.name().as_str()).map(|remark| (REMARKS, (*remark).to_owned())));
        let metadata = entries.into_iter().map(|(key, value)| (metadata_key(key), value));
        Field::new(field.name(), data_type.clone(), field.is_nullable()).with_metadata(metadata.collect())
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The columns of a table as they are sent: without their comments where those take more than a message has. One table with long comments
/// does not keep clients from all others.
fn sent_schema(types: Profile, table: &Listed) -> Result<Bytes> {
    let columns = sent_as(types, &table.columns.described());
    let bytes = schema_bytes(&columns)?;
    if bytes.len() <= MAX_SCHEMA_BYTES {
        return Ok(bytes);
    }
    let (schema, name) = (&table.schema_name, &table.name);
    let bytes = schema_bytes(&without_remarks(&columns))?;
    if bytes.len() <= MAX_SCHEMA_BYTES {
        tracing::warn!(schema, table = name, "the comments of a table's columns are too long to be told");
        return Ok(bytes);
    }
    tracing::warn!(schema, table = name, "the columns of a table are too long to be told");
    schema_bytes(&Schema::empty())
}

fn without_remarks(columns: &Schema) -> Schema {
    let fields = columns.fields().iter().map(|field| {
        let mut metadata = field.metadata().clone();
        metadata.remove(&metadata_key(REMARKS));
        Field::clone(field).with_metadata(metadata)
    });
    Schema::new(fields.collect::<Vec<_>>())
}

/// The same columns in the types that a client is sent.
fn sent_as(types: Profile, columns: &SchemaRef) -> SchemaRef {
    let fields = columns.fields().iter().map(|field| {
        let data_type = types.data_type(field.data_type());
        Field::clone(field).with_data_type(data_type)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// With `table_schema` if it is asked for.
pub(super) fn schema(include_schema: bool) -> SchemaRef {
    GetTablesBuilder::new(None::<String>, None::<String>, None::<String>, None::<String>, include_schema).schema()
}

/// The rows of `listed`, made as they are asked for; with columns in these types, or without. An error if a view could not be planned just
/// then.
pub(super) fn rows(
    app: &Arc<App>,
    session: &Session,
    listed: Vec<Listed>,
    filter: &Filter,
    types: Option<Profile>,
) -> Rows {
    let session = session.clone().with_types(Profile::Native);
    let app = Arc::clone(app);
    let make = move |part| {
        let (app, session) = (Arc::clone(&app), session.clone());
        async move { made(&app, &session, part, types).await }
    };
    stream::iter(parts(listed, filter, types.is_some())).then(make).boxed()
}

/// The tables of each batch: in the order of the specification, but the one that is named literally first.
pub(in crate::flight_sql) fn parts(mut listed: Vec<Listed>, filter: &Filter, with_columns: bool) -> Vec<Vec<Listed>> {
    listed.sort_by(|a, b| {
        let key = |table: &Listed| !filter.is_named(&table.name);
        (key(a), &a.schema_name, &a.name, a.kind).cmp(&(key(b), &b.schema_name, &b.name, b.kind))
    });
    let is_open = filter.table.as_ref().is_none_or(Pattern::is_open);
    let max_rows = if is_open { MAX_BATCH_ROWS } else { usize::MAX };
    let mut parts: Vec<Vec<Listed>> = Vec::new();
    let mut n_columns = 0;
    for table in listed {
        let more = if with_columns { table.columns.count() } else { 0 };
        match parts.last_mut().filter(|part| part.len() < max_rows && n_columns + more <= MAX_BATCH_COLUMNS) {
            Some(part) => {
                n_columns += more;
                part.push(table);
            }
            None => {
                n_columns = more;
                parts.push(vec![table]);
            }
        }
    }
    parts
}

async fn made(app: &App, session: &Session, mut part: Vec<Listed>, types: Option<Profile>) -> Result<RecordBatch> {
    if types.is_none() {
        return batch(&part, types);
    }
    for table in part.iter_mut().filter(|table| matches!(table.columns, Columns::OfView)) {
        match planned_columns(app, session, &table.schema_name, &table.name).await {
            Ok(Some(columns)) => table.columns = Columns::Described(columns),
            Ok(None) => {}
            // What is too much to plan is so every time: that view alone has no columns.
            Err(error) if matches!(error.code(), Code::PlanningDeadline | Code::QueryMemory) => {
                let (schema, view) = (&table.schema_name, &table.name);
                tracing::warn!(schema, view, %error, "a view has no columns");
            }
            Err(error) => return Err(error),
        }
    }
    // Describing takes as long as there are columns: it is nothing for a thread that serves connections.
    let described = tokio::task::spawn_blocking(move || batch(&part, types)).await;
    described.map_err(|reason| Error::internal(format!("the columns of tables could not be described: {reason}")))?
}

/// With `table_schema` if there are `types` for it.
pub(in crate::flight_sql) fn batch(tables: &[Listed], types: Option<Profile>) -> Result<RecordBatch> {
    let text = |get: fn(&Listed) -> &str| Arc::new(StringArray::from_iter_values(tables.iter().map(get))) as ArrayRef;
    let mut columns =
        vec![text(|_| CATALOG), text(|table| &table.schema_name), text(|table| &table.name), text(|table| table.kind)];
    if let Some(types) = types {
        let schemas = tables.iter().map(|table| sent_schema(types, table));
        columns.push(Arc::new(BinaryArray::from_iter_values(schemas.collect::<Result<Vec<_>>>()?)));
    }
    Ok(RecordBatch::try_new(schema(types.is_some()), columns)?)
}

#[cfg(test)]
mod tests;
