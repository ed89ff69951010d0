//! What is asked? Descriptors and tickets become one of a closed set of requests.

use arrow_flight::flight_descriptor::DescriptorType;
use arrow_flight::sql::{Any, Command, CommandStatementQuery};
use arrow_flight::{FlightDescriptor, Ticket};
use prost::Message;
use tidewater_storage::{Code, Error, Result};

/// The one catalog of a server.
pub(crate) const CATALOG: &str = "tidewater";
/// Where a table is looked for when a client names no schema.
pub(super) const DEFAULT_SCHEMA: &str = "public";

const TYPE_URL_PREFIX: &str = "type.googleapis.com/";
const COMMAND_PACKAGE: &str = "arrow.flight.protocol.sql.";

/// What a descriptor means.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Request {
    /// A statement's text.
    Sql(String),
    /// All rows of a table; without a schema, of the one that the session looks into.
    Scan { schema: Option<String>, table: String },
    /// A command of Flight SQL that is not [`Request::Sql`].
    Command(Command),
}

impl Request {
    /// The statement behind a request, if it is one.
    pub fn sql(&self) -> Option<String> {
        match self {
            Request::Sql(sql) => Some(sql.clone()),
            Request::Scan { schema: Some(schema), table } => {
                Some(format!("SELECT * FROM {}.{}", quoted(schema), quoted(table)))
            }
            Request::Scan { schema: None, table } => Some(format!("SELECT * FROM {}", quoted(table))),
            Request::Command(_) => None,
        }
    }
}

/// A name as a quoted SQL identifier.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Reads a descriptor: a command (wrapped in `Any`), a statement as plain UTF-8 text, or a table's path.
pub(super) fn from_descriptor(descriptor: &FlightDescriptor) -> Result<Request> {
    match descriptor.r#type() {
        DescriptorType::Cmd => match as_any(&descriptor.cmd) {
            Some(any) => match command(any)? {
                Command::CommandStatementQuery(query) => statement(query),
                other => Ok(Request::Command(other)),
            },
            None => plain_sql(&descriptor.cmd),
        },
        DescriptorType::Path => {
            let (schema, table) = table_of_path(&descriptor.path)?;
            Ok(Request::Scan { schema, table })
        }
        DescriptorType::Unknown => Err(invalid("the FlightDescriptor is neither a command nor a path")
            .hint("send a Flight SQL command, SQL text, or the path [schema, table]")),
    }
}

/// Reads a ticket: always a command of Flight SQL.
pub(super) fn from_ticket(ticket: &Ticket) -> Result<Command> {
    match as_any(&ticket.ticket) {
        Some(any) => command(any),
        None => Err(invalid(format!("the ticket of {} bytes is not one of this server", ticket.ticket.len()))
            .hint("pass the ticket of GetFlightInfo's answer unchanged")),
    }
}

/// Unpacks a command; one that is known by name but damaged, or unknown, is an error that names it.
pub(super) fn command(any: Any) -> Result<Command> {
    let name = any.type_url.rsplit('/').next().unwrap_or_default();
    let known = Any { type_url: format!("{TYPE_URL_PREFIX}{name}"), value: any.value };
    match Command::try_from(known) {
        Ok(Command::Unknown(any)) => {
            Err(invalid(format!("'{}' is not a command of Flight SQL", shortened(&any.type_url))))
        }
        Ok(command) => Ok(command),
        Err(error) => Err(invalid(format!("the command {} cannot be read: {error}", shortened(name)))),
    }
}

/// Schema and table of `[catalog, schema, table]`, `[schema, table]` or `[table]`.
pub(super) fn table_of_path(path: &[String]) -> Result<(Option<String>, String)> {
    match path {
        [table] => Ok((None, table.clone())),
        [schema, table] => Ok((Some(schema.clone()), table.clone())),
        [catalog, schema, table] if catalog == CATALOG => Ok((Some(schema.clone()), table.clone())),
        [catalog, ..] if path.len() == 3 => Err(invalid(format!("there is no catalog '{}'", shortened(catalog)))
            .hint(format!("the only catalog is '{CATALOG}'"))),
        _ => Err(invalid(format!("a path of {} parts is not a table", path.len()))
            .hint("send [table], [schema, table] or [catalog, schema, table]")),
    }
}

/// Transactions are not supported: a statement that wants one is refused rather than run outside of it.
pub(super) fn refuse_transaction(id: Option<&bytes::Bytes>) -> Result<()> {
    match id {
        Some(id) if !id.is_empty() => {
            Err(Error::new(Code::InvalidRequest, "the statement asks for a transaction, which is not supported yet")
                .hint("send it without transaction_id; every statement commits by itself"))
        }
        _ => Ok(()),
    }
}

pub(super) fn invalid(message: impl Into<String>) -> Error {
    Error::new(Code::InvalidRequest, message)
}

/// The beginning of a text of a client, for an error message.
pub(super) fn shortened(text: &str) -> String {
    const MAX_CHARS: usize = 80;
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn statement(query: CommandStatementQuery) -> Result<Request> {
    refuse_transaction(query.transaction_id.as_ref())?;
    Ok(Request::Sql(query.query))
}

fn plain_sql(bytes: &[u8]) -> Result<Request> {
    match std::str::from_utf8(bytes) {
        Ok(sql) if !sql.trim().is_empty() => Ok(Request::Sql(sql.to_owned())),
        Ok(_) => Err(invalid("the FlightDescriptor's command is empty")),
        Err(_) => Err(invalid(format!(
            "the FlightDescriptor's command of {} bytes is neither a Flight SQL command nor UTF-8 text",
            bytes.len()
        ))),
    }
}

/// `bytes` as an `Any`, if they are one. SQL text can parse as a protobuf message by accident, so the type's name must
/// look like one.
fn as_any(bytes: &[u8]) -> Option<Any> {
    let any = Any::decode(bytes).ok()?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._/-:".contains(&byte);
    let looks_like_type = any.type_url.contains('/') || any.type_url.starts_with(COMMAND_PACKAGE);
    (looks_like_type && any.type_url.bytes().all(is_name)).then_some(any)
}
