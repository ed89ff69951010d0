//! What is in this server? Catalogs, schemas, tables, keys, types and SqlInfo, served from the catalog, never by a query.

mod keys;
mod pattern;
mod sql_info;
mod tables;
mod type_info;

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_flight::sql::Command;
use arrow_flight::sql::metadata::{GetCatalogsBuilder, GetDbSchemasBuilder};
use arrow_flight::{FlightDescriptor, FlightInfo};
use futures::stream::{self, BoxStream, StreamExt};
use tidewater_query::{Session, VisibleCatalog};
use tidewater_storage::{Code, Error, Result};

use super::command::{CATALOG, invalid};
use super::encode::Rows;
use crate::App;
pub(super) use pattern::Pattern;
#[cfg(test)]
pub(super) use sql_info::rows as sql_info_rows;
#[cfg(test)]
pub(super) use tables::{Columns, Filter, Listed, batch as batch_of_tables, parts as parts_of_tables};
pub(super) use type_info::announced;
#[cfg(test)]
pub(super) use type_info::rows as type_info_rows;

/// Answers the metadata commands.
#[derive(Default)]
pub(super) struct Metadata {
    system: tables::SystemTables,
}

impl Metadata {
    /// The schema of a command's answer: the reference's, to the letter, because ADBC compares.
    pub fn schema(&self, command: &Command) -> Result<SchemaRef> {
        Ok(match command {
            Command::CommandGetCatalogs(_) => GetCatalogsBuilder::new().schema(),
            Command::CommandGetDbSchemas(_) => GetDbSchemasBuilder::new(None::<String>, None::<String>).schema(),
            Command::CommandGetTables(query) => tables::schema(query.include_schema),
            Command::CommandGetTableTypes(_) => table_types_schema(),
            Command::CommandGetPrimaryKeys(_) => keys::primary_keys_schema(),
            Command::CommandGetExportedKeys(_)
            | Command::CommandGetImportedKeys(_)
            | Command::CommandGetCrossReference(_) => keys::foreign_keys_schema(),
            Command::CommandGetSqlInfo(_) => sql_info::schema(),
            Command::CommandGetXdbcTypeInfo(_) => type_info::schema(),
            Command::CommandStatementSubstraitPlan(_) => return Err(no_substrait()),
            other => return Err(invalid(format!("{} cannot be asked for here", other.type_url()))),
        })
    }

    /// The rows of a command's answer.
    pub async fn rows(&self, app: &Arc<App>, session: &Session, command: Command) -> Result<Rows> {
        let batch = match command {
            Command::CommandGetCatalogs(_) => {
                strings(GetCatalogsBuilder::new().schema(), vec![vec![CATALOG.to_owned()]])?
            }
            Command::CommandGetDbSchemas(query) => {
                let schemas = self.system.schemas(app, session).await?;
                let pattern = query.db_schema_filter_pattern.as_deref().map(Pattern::new);
                let is_ours = query.catalog.as_deref().is_none_or(|catalog| catalog == CATALOG);
                let matching = |name: &String| is_ours && pattern.as_ref().is_none_or(|pattern| pattern.matches(name));
                let names: Vec<String> = schemas.into_iter().filter(matching).collect();
                let schema = GetDbSchemasBuilder::new(None::<String>, None::<String>).schema();
                strings(schema, vec![vec![CATALOG.to_owned(); names.len()], names])?
            }
            Command::CommandGetTables(query) => {
                let filter = tables::Filter::new(&query);
                let listed = self.system.tables(app, session, &filter).await?;
                let types = query.include_schema.then(|| session.types());
                return Ok(tables::rows(app, session, listed, &filter, types));
            }
            Command::CommandGetTableTypes(_) => {
                let names = tables::TABLE_TYPES.iter().map(|&name| name.to_owned()).collect();
                strings(table_types_schema(), vec![names])?
            }
            Command::CommandGetPrimaryKeys(query) => keys::primary_keys(app, session, &query)?,
            Command::CommandGetSqlInfo(query) => sql_info::rows(&query.info)?,
            Command::CommandGetXdbcTypeInfo(query) => type_info::rows(query.data_type)?,
            other => RecordBatch::new_empty(self.schema(&other)?),
        };
        Ok(stream::iter([Ok(batch)]).boxed())
    }

    /// One FlightInfo a table that the session's caller sees, made as it is asked for: together their columns may be millions. Its descriptor
    /// is the path to ask for.
    pub fn flights(&self, app: &App, session: &Session) -> BoxStream<'static, Result<FlightInfo>> {
        let types = session.types();
        let tables = VisibleCatalog::new(&app.storage, &session.principal).tables();
        let defs: Vec<_> = tables.iter().map(|table| table.def()).collect();
        let infos = defs.into_iter().map(move |def| -> Result<FlightInfo> {
            let path = FlightDescriptor::new_path(vec![def.schema_name.clone(), def.name.clone()]);
            Ok(FlightInfo::new()
                .try_with_schema(&announced(&types.schema(&def.arrow_schema)))?
                .with_descriptor(path)
                .with_ordered(true))
        });
        stream::iter(infos).boxed()
    }
}

fn table_types_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("table_type", DataType::Utf8, false)]))
}

/// A batch of text columns.
fn strings(schema: SchemaRef, columns: Vec<Vec<String>>) -> Result<RecordBatch> {
    let columns = columns.into_iter().map(|column| Arc::new(StringArray::from(column)) as ArrayRef).collect();
    Ok(RecordBatch::try_new(schema, columns)?)
}

pub(super) fn no_substrait() -> Error {
    Error::new(Code::UnsupportedRequest, "Substrait plans are not supported yet").hint("send SQL")
}
