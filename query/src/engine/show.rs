//! What do SHOW of a setting and DESCRIBE answer? Small batches made on the spot.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::TableReference;
use datafusion::logical_expr::LogicalPlanBuilder;
use tidewater_storage::catalog::{ColumnDef, sql_type};
use tidewater_storage::{Code, Error, Result};

use super::context::StatementContext;
use crate::error::{OrError, from_datafusion};
use crate::session::{DESCRIPTIONS, canonical_name, show};
use crate::statement::{CATALOG, Show, TableName};

/// The answer to SHOW or DESCRIBE.
pub(super) async fn answer(what: &Show, context: &StatementContext) -> Result<RecordBatch> {
    match what {
        Show::Setting(name) => {
            let name = canonical_name(name)?;
            let value = show(&context.settings, name)?;
            text_batch(&[name], vec![vec![Some(value)]])
        }
        Show::AllSettings => {
            let mut columns = [Vec::new(), Vec::new(), Vec::new()];
            for (name, description) in DESCRIPTIONS {
                columns[0].push(Some(name.to_string()));
                columns[1].push(Some(show(&context.settings, name)?));
                columns[2].push(Some(description.to_string()));
            }
            text_batch(&["name", "value", "description"], columns.to_vec())
        }
        Show::Columns(table) => describe(table, context).await,
    }
}

/// One row a column, with what only our own tables know.
async fn describe(table: &TableName, context: &StatementContext) -> Result<RecordBatch> {
    let fields = fields_of(table, context).await?;
    let def = context.stored(table);
    let mut columns = vec![Vec::new(); 5];
    for (i, field) in fields.fields().iter().enumerate() {
        let key = def.as_ref().is_some_and(|def| def.key.contains(&i));
        let column = def.as_ref().and_then(|def| def.columns.get(i));
        let comment = column.and_then(|column| column.comment.clone());
        let data_type = column.map_or_else(|| sql_type(field.data_type()), ColumnDef::sql_type);
        columns[0].push(Some(field.name().clone()));
        columns[1].push(Some(data_type));
        columns[2].push(Some(if field.is_nullable() { "YES" } else { "NO" }.to_string()));
        columns[3].push(key.then(|| "PRI".to_string()));
        columns[4].push(comment);
    }
    text_batch(&["column_name", "data_type", "is_nullable", "key", "comment"], columns)
}

async fn fields_of(table: &TableName, context: &StatementContext) -> Result<SchemaRef> {
    let reference = TableReference::full(CATALOG, table.schema.as_str(), table.name.as_str());
    let schema = context.state.schema_for_ref(reference).map_err(|_| {
        Error::new(Code::SchemaNotFound, format!("there is no schema '{}'", table.schema))
            .hint("SHOW SCHEMAS lists what there is")
    })?;
    match schema.table(&table.name).await.map_err(from_datafusion)? {
        Some(provider) => match provider.get_logical_plan() {
            Some(plan) => {
                let plan = LogicalPlanBuilder::from(plan.into_owned()).build().or_error()?;
                Ok(Arc::new(plan.schema().as_arrow().clone()))
            }
            None => Ok(provider.schema()),
        },
        None => Err(Error::new(Code::TableNotFound, format!("table '{table}' not found"))
            .hint("SHOW TABLES lists what there is")),
    }
}

/// Columns of text.
fn text_batch(names: &[&str], columns: Vec<Vec<Option<String>>>) -> Result<RecordBatch> {
    let fields: Vec<Field> = names.iter().map(|name| Field::new(*name, DataType::Utf8, true)).collect();
    let arrays = columns.into_iter().map(|column| Arc::new(StringArray::from(column)) as ArrayRef).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}
