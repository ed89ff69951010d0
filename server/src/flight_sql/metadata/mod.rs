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
use tidewater_query::{Session, VisibleCatalog};
use tidewater_storage::{Code, Error, Result};

use super::command::{CATALOG, invalid};
use crate::App;
pub(super) use pattern::Pattern;
#[cfg(test)]
pub(super) use sql_info::rows as sql_info_rows;
#[cfg(test)]
pub(super) use tables::{Filter, Listed, batches as table_batches};
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
    pub async fn rows(&self, app: &App, session: &Session, command: Command) -> Result<Vec<RecordBatch>> {
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
                let listed = self.system.tables(app, session, &filter, query.include_schema).await?;
                return tables::batches(listed, &filter, query.include_schema);
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
        Ok(vec![batch])
    }

    /// One FlightInfo a table that the session's caller sees; its descriptor is the path to ask for.
    pub fn flights(&self, app: &App, session: &Session) -> Result<Vec<FlightInfo>> {
        let infos = VisibleCatalog::new(&app.storage, &session.principal).tables().into_iter().map(|table| {
            let def = table.def();
            let path = FlightDescriptor::new_path(vec![def.schema_name.clone(), def.name.clone()]);
            Ok(FlightInfo::new()
                .try_with_schema(&announced(&session.types().schema(&def.arrow_schema)))?
                .with_descriptor(path)
                .with_ordered(true))
        });
        infos.collect()
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
