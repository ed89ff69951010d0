//! What does a single call ask for by its headers? The schema of its table names, the types of its rows, and the form of its messages.
//!
//! JDBC makes headers of parameters of its URL that it does not know, and Grafana of its metadata, so that both can choose a schema when they
//! connect. What was set in a session counts more.

use arrow::ipc::CompressionType;
use tidewater_query::Session;
use tidewater_query::wire_types::Profile;
use tidewater_storage::{Code, Error, Result};
use tonic::metadata::MetadataMap;

use crate::App;
use crate::flight_sql::CATALOG;
use crate::flight_sql::encode::Form;

const CATALOG_HEADER: &str = "catalog";
const SCHEMA_HEADER: &str = "schema";
/// What others call a database is a schema here; the catalog's name is no harm.
const DATABASE_HEADER: &str = "database";

const TYPES_HEADER: &str = "x-flight-types";
const COMPAT_HEADER: &str = "x-flight-compat";

const COMPRESSION_HEADER: &str = "x-flight-compression";
/// Bytes of a message that the client takes.
const MAX_MESSAGE_HEADER: &str = "x-flight-max-message";

/// What is taken of a client in one message, too.
const MOST_MESSAGE_BYTES: usize = 64 << 20;

/// How the JDBC driver introduces itself: by its name, or, up to 18.3, by that of the library that it calls with.
const JDBC_DRIVER: &str = "JDBC Flight SQL Driver";
const GRPC_JAVA: &str = "grpc-java-netty/";

/// Sets the schema that the headers name, if they do. `INVALID_REQUEST` for another catalog, `SCHEMA_NOT_FOUND`.
pub(crate) fn set_schema(app: &App, session: &Session, metadata: &MetadataMap) -> Result<()> {
    if let Some(catalog) = text(metadata, CATALOG_HEADER).filter(|catalog| *catalog != CATALOG) {
        let shown: String = catalog.chars().take(40).collect();
        return Err(Error::new(
            Code::InvalidRequest,
            format!("the header 'catalog' names '{shown}', which is not there"),
        )
        .hint(format!("the only catalog is '{CATALOG}'")));
    }
    let database = || text(metadata, DATABASE_HEADER).filter(|database| *database != CATALOG);
    match text(metadata, SCHEMA_HEADER).or_else(database) {
        Some(schema) => app.query.set(session, "schema", Some(schema)),
        None => Ok(()),
    }
}

/// The types that the headers name. `INVALID_SETTING` for others.
pub(crate) fn types(metadata: &MetadataMap) -> Result<Option<Profile>> {
    let named = text(metadata, TYPES_HEADER).or_else(|| text(metadata, COMPAT_HEADER));
    named.map(str::parse).transpose()
}

/// The form that the headers ask for. `INVALID_REQUEST` for one that there is not.
pub(crate) fn form(metadata: &MetadataMap) -> Result<Form> {
    let mut form = Form::default();
    if let Some(codec) = text(metadata, COMPRESSION_HEADER) {
        form = match codec.to_ascii_lowercase().as_str() {
            "lz4" => form.compressed(CompressionType::LZ4_FRAME)?,
            "zstd" => form.compressed(CompressionType::ZSTD)?,
            "none" => form,
            _ => return Err(no_value(COMPRESSION_HEADER, codec, "lz4, zstd or none")),
        };
    }
    if let Some(bytes) = text(metadata, MAX_MESSAGE_HEADER) {
        let n = bytes.parse::<usize>().ok().filter(|n| (1..=MOST_MESSAGE_BYTES).contains(n));
        let n = n.ok_or_else(|| no_value(MAX_MESSAGE_HEADER, bytes, "a number of bytes up to 67108864"))?;
        form = form.up_to(n);
    }
    Ok(form)
}

fn no_value(header: &str, value: &str, takes: &str) -> Error {
    let shown: String = value.chars().take(40).collect();
    Error::new(Code::InvalidRequest, format!("the header '{header}' cannot be '{shown}'"))
        .hint(format!("it takes {takes}"))
}

/// The types that fit the client, unless it asks for others.
pub(crate) fn fitting_types(metadata: &MetadataMap) -> Profile {
    let agent = text(metadata, "user-agent").unwrap_or_default();
    match agent.contains(JDBC_DRIVER) || agent.starts_with(GRPC_JAVA) {
        true => Profile::Jdbc,
        false => Profile::Portable,
    }
}

/// A header that says something.
fn text<'a>(metadata: &'a MetadataMap, name: &str) -> Option<&'a str> {
    metadata.get(name)?.to_str().ok().map(str::trim).filter(|text| !text.is_empty())
}
