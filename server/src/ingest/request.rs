//! What is asked, of which table? Requests of the protocol in the words of storage.

use tidewater_proto::ingest::v1::{self as pb, BatchOptions, Open, Producer, TableRef, WriteRequest};
use tidewater_query::{Principal, Role};
use tidewater_storage::admission::IncomingRows;
use tidewater_storage::ids::ProducerId;
use tidewater_storage::{
    Code, Durability, Error, IdempotencyKey, OnError, ProducerBatch, Result, RowsRequest, SequenceMode, Table,
};

use crate::App;

/// The only catalog.
const CATALOG: &str = "tidewater";
const DEFAULT_SCHEMA: &str = "public";

/// The table that a request names. `what` says with a verb what takes the role `needed`; without any role on it the table does not exist.
pub(crate) fn find_table(
    app: &App,
    name: Option<&TableRef>,
    principal: &Principal,
    needed: Role,
    what: &str,
) -> Result<Table> {
    let name = name.filter(|name| !name.table.is_empty());
    let name = name.ok_or_else(|| invalid("the request names no table", "fill in 'table.table'"))?;
    if !name.catalog.is_empty() && name.catalog != CATALOG {
        return Err(Error::new(Code::TableNotFound, format!("catalog '{}' not found", cut(&name.catalog)))
            .hint("leave the catalog empty: there is one, 'tidewater'"));
    }
    let schema = if name.schema.is_empty() { DEFAULT_SCHEMA } else { &name.schema };
    principal.check(needed, schema, &name.table, what)?;
    app.storage.table(schema, &name.table).ok_or_else(|| {
        Error::new(Code::TableNotFound, format!("table '{}.{}' not found", cut(schema), cut(&name.table)))
            .hint("create it first, by CREATE TABLE or 'tidewater ingest --create'; SHOW TABLES lists what there is")
    })
}

/// Where rows go, and how: what all batches of a stream have in common.
#[derive(Clone)]
pub(crate) struct Target {
    pub table: Table,
    principal: String,
    producer: Option<NumberedBy>,
    idempotency_key: Option<String>,
    on_error: OnError,
    durability: Option<Durability>,
    time_zone: Option<String>,
    expected_schema: Option<u32>,
    pub ignore_unknown_columns: bool,
}

/// A producer as a request names it.
#[derive(Debug, Clone)]
struct NumberedBy {
    id: ProducerId,
    epoch: u64,
    mode: SequenceMode,
    last_acked: Option<u64>,
}

impl Target {
    pub fn of_write(app: &App, request: &WriteRequest, principal: &Principal) -> Result<Self> {
        let mut target =
            Self::new(app, request.table.as_ref(), request.producer.as_ref(), request.options.as_ref(), principal)?;
        if !request.idempotency_key.is_empty() {
            target.idempotency_key = Some(request.idempotency_key.clone());
        }
        Ok(target)
    }

    pub fn of_open(app: &App, open: &Open, principal: &Principal) -> Result<Self> {
        Self::new(app, open.table.as_ref(), open.producer.as_ref(), open.options.as_ref(), principal)
    }

    fn new(
        app: &App,
        table: Option<&TableRef>,
        producer: Option<&Producer>,
        options: Option<&BatchOptions>,
        principal: &Principal,
    ) -> Result<Self> {
        let table = find_table(app, table, principal, Role::Writer, "write to")?;
        let default = BatchOptions::default();
        let options = options.unwrap_or(&default);
        Ok(Self {
            table,
            principal: principal.name.clone(),
            producer: producer.map(numbered_by).transpose()?,
            idempotency_key: None,
            on_error: on_error(options.on_row_error)?,
            durability: durability(options.durability)?,
            time_zone: Some(options.time_zone.clone()).filter(|zone| !zone.is_empty()),
            expected_schema: Some(options.expected_schema_version).filter(|version| *version != 0),
            ignore_unknown_columns: ignores_unknown_columns(options.schema_policy)?,
        })
    }

    pub fn producer_id(&self) -> Option<&ProducerId> {
        self.producer.as_ref().map(|producer| &producer.id)
    }

    /// How the producer numbers its batches, if there is one.
    pub fn numbering(&self) -> Option<SequenceMode> {
        self.producer.as_ref().map(|producer| producer.mode)
    }

    /// What acknowledgements promise.
    pub fn durability(&self) -> Durability {
        let floor = self.table.def().options.durability;
        self.durability.map_or(floor, |asked| asked.max(floor))
    }

    /// One batch as storage takes it.
    pub fn rows_request(&self, rows: IncomingRows, sequence: u64) -> Result<RowsRequest> {
        if self.producer.is_none() && sequence != 0 {
            return Err(invalid(
                format!("sequence {sequence} without a producer"),
                "name a producer, or leave the sequence out",
            ));
        }
        let producer = self.producer.clone().map(|producer| ProducerBatch {
            id: producer.id,
            epoch: producer.epoch,
            sequence,
            mode: producer.mode,
            last_acked: producer.last_acked,
        });
        Ok(RowsRequest {
            rows: vec![rows],
            producer,
            idempotency_key: self.idempotency_key.clone().map(IdempotencyKey),
            principal: self.principal.clone(),
            on_error: self.on_error,
            durability: self.durability,
            time_zone: self.time_zone.clone(),
            expected_schema: self.expected_schema,
            ignore_unknown_columns: self.ignore_unknown_columns,
            statement: false,
            has_space: false,
        })
    }
}

fn numbered_by(producer: &Producer) -> Result<NumberedBy> {
    let mode = match pb::SequenceMode::try_from(producer.mode) {
        Ok(pb::SequenceMode::Unspecified | pb::SequenceMode::Contiguous) => SequenceMode::Contiguous,
        Ok(pb::SequenceMode::Monotonic) => SequenceMode::Monotonic,
        Err(_) => return Err(unknown_value("sequence mode", producer.mode)),
    };
    let id = ProducerId::new(producer.id.as_str())?;
    Ok(NumberedBy { id, epoch: producer.epoch, mode, last_acked: producer.last_acked })
}

fn on_error(value: i32) -> Result<OnError> {
    match pb::OnRowError::try_from(value) {
        Ok(pb::OnRowError::Unspecified | pb::OnRowError::Keep) => Ok(OnError::Keep),
        Ok(pb::OnRowError::Abort) => Ok(OnError::Abort),
        Err(_) => Err(unknown_value("on_row_error", value)),
    }
}

fn durability(value: i32) -> Result<Option<Durability>> {
    match pb::Durability::try_from(value) {
        Ok(pb::Durability::Unspecified) => Ok(None),
        Ok(pb::Durability::Os) => Ok(Some(Durability::Os)),
        Ok(pb::Durability::Fsync) => Ok(Some(Durability::Fsync)),
        Ok(pb::Durability::Replicated) => Err(unsupported("durability REPLICATED", "ask for FSYNC")),
        Err(_) => Err(unknown_value("durability", value)),
    }
}

fn ignores_unknown_columns(value: i32) -> Result<bool> {
    match pb::SchemaPolicy::try_from(value) {
        Ok(pb::SchemaPolicy::Strict) => Ok(false),
        Ok(pb::SchemaPolicy::IgnoreUnknownColumns) => Ok(true),
        Ok(pb::SchemaPolicy::AddColumns) => Err(unsupported("schema policy ADD_COLUMNS", "use ALTER TABLE")),
        Ok(pb::SchemaPolicy::CreateTable) => Err(unsupported("schema policy CREATE_TABLE", "use CREATE TABLE")),
        Err(_) => Err(unknown_value("schema policy", value)),
    }
}

fn unknown_value(what: &str, value: i32) -> Error {
    Error::new(Code::UnsupportedRequest, format!("{what} {value} is not known here"))
        .hint("the client may be newer than the server")
}

fn unsupported(what: &str, hint: &str) -> Error {
    Error::new(Code::UnsupportedRequest, format!("{what} is not supported yet")).hint(hint)
}

/// A request that breaks the protocol.
pub(super) fn invalid(message: impl Into<String>, hint: &str) -> Error {
    Error::new(Code::InvalidRequest, message).hint(hint)
}

/// As much of a client's text as an error repeats.
fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}
