//! What does a single call ask for by its headers? The schema of its table names, and the types of its rows.
//!
//! JDBC makes headers of parameters of its URL that it does not know, and Grafana of its metadata, so that both can choose a schema when they
//! connect. What was set in a session counts more.

use tidewater_query::Session;
use tidewater_query::wire_types::Profile;
use tidewater_storage::{Code, Error, Result};
use tonic::metadata::MetadataMap;

use crate::App;
use crate::flight_sql::CATALOG;

const CATALOG_HEADER: &str = "catalog";
const SCHEMA_HEADER: &str = "schema";
/// What others call a database is a schema here; the catalog's name is no harm.
const DATABASE_HEADER: &str = "database";

const TYPES_HEADER: &str = "x-flight-types";
const COMPAT_HEADER: &str = "x-flight-compat";

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
