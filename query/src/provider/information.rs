//! What does `information_schema` say otherwise than the engine? How long a text of a column may be, which the engine does not know, and what
//! clients of other databases expect: places from 1, views only where views are asked for, and every schema.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray, UInt64Array, new_null_array};
use arrow::compute::{concat_batches, filter_record_batch, is_not_null};
use arrow::datatypes::{DataType, SchemaRef, UInt64Type};
use async_trait::async_trait;
use datafusion::catalog::information_schema::{INFORMATION_SCHEMA, InformationSchemaProvider};
use datafusion::catalog::{SchemaProvider, Session, TableProvider};
use datafusion::common::internal_err;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::{StreamExt, future, stream};
use tidewater_storage::catalog::sql_type;

use super::catalog::SYSTEM_SCHEMA;
use crate::error::in_sql;
use crate::session::VisibleCatalog;
use crate::statement::CATALOG;

/// The type of what the server keeps, in `tables`.
const SYSTEM_VIEW: &str = "SYSTEM VIEW";

/// The engine's, with other rows in some of its tables.
#[derive(Debug)]
pub(super) struct InformationSchema {
    inner: InformationSchemaProvider,
    visible: VisibleCatalog,
}

impl InformationSchema {
    pub fn new(inner: InformationSchemaProvider, visible: VisibleCatalog) -> Self {
        Self { inner, visible }
    }
}

#[async_trait]
impl SchemaProvider for InformationSchema {
    fn table_names(&self) -> Vec<String> {
        self.inner.table_names()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some(inner) = self.inner.table(name).await? else { return Ok(None) };
        let told = match name.to_ascii_lowercase().as_str() {
            "columns" => Told::Columns(self.visible.clone()),
            "schemata" => Told::Schemata,
            "tables" => Told::Tables,
            "views" => Told::Views,
            _ => return Ok(Some(inner)),
        };
        Ok(Some(Arc::new(Retold { inner, told })))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.inner.table_exist(name)
    }
}

/// A table of the engine's with other rows.
#[derive(Debug)]
struct Retold {
    inner: Arc<dyn TableProvider>,
    told: Told,
}

#[async_trait]
impl TableProvider for Retold {
    fn schema(&self) -> SchemaRef {
        self.inner.schema()
    }

    fn table_type(&self) -> TableType {
        self.inner.table_type()
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let rows = self.inner.scan(state, None, &[], None).await?;
        let partition: Arc<dyn PartitionStream> =
            Arc::new(Rows { schema: self.schema(), rows, told: self.told.clone() });
        let plan =
            StreamingTableExec::try_new(self.schema(), vec![partition], projection, std::iter::empty(), false, limit)?;
        Ok(Arc::new(plan))
    }
}

/// The engine's rows, which come in one batch, as they are told.
#[derive(Debug)]
struct Rows {
    schema: SchemaRef,
    rows: Arc<dyn ExecutionPlan>,
    told: Told,
}

impl PartitionStream for Rows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let told = self.told.clone();
        let batches = match self.rows.execute(0, context) {
            Ok(batches) => batches.map(move |batch| told.rows(&batch?)).boxed(),
            Err(error) => stream::once(future::ready(Err(error))).boxed(),
        };
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches))
    }
}

/// How rows are told.
#[derive(Debug, Clone)]
enum Told {
    /// With the lengths of the columns that the statement's caller sees.
    Columns(VisibleCatalog),
    Schemata,
    Tables,
    Views,
}

impl Told {
    fn rows(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        match self {
            Told::Columns(visible) => columns(visible, batch),
            Told::Schemata => schemata(batch),
            Told::Tables => tables(batch),
            Told::Views => views(batch),
        }
    }
}

/// The places of columns from 1, their types as SQL calls them, and how long their texts may be.
fn columns(visible: &VisibleCatalog, batch: &RecordBatch) -> Result<RecordBatch> {
    let (schemas, tables, columns) =
        (text(batch, "table_schema")?, text(batch, "table_name")?, text(batch, "column_name")?);
    let Some(places) = batch.column_by_name("ordinal_position").and_then(|c| c.as_primitive_opt::<UInt64Type>()) else {
        return internal_err!("information_schema.columns has no places");
    };
    let types = text(batch, "data_type")?;
    let mut known = HashMap::new();
    let (mut lengths, mut names) = (Vec::new(), Vec::new());
    for row in 0..batch.num_rows() {
        let (schema, table) = (schemas.value(row), tables.value(row));
        let def = known.entry((schema, table)).or_insert_with(|| visible.table(schema, table).map(|t| t.def()));
        let place = usize::try_from(places.value(row)).ok();
        let column = def.as_ref().zip(place).and_then(|(def, place)| def.columns.get(place));
        let column = column.filter(|column| column.name == columns.value(row));
        lengths.push(column.and_then(|column| column.max_chars).map(u64::from));
        names.push(column.map_or_else(|| in_sql(types.value(row)), |column| sql_type(&column.data_type)));
    }
    let lengths = UInt64Array::from(lengths);
    let places: UInt64Array = places.unary(|place| place + 1);
    let batch = with_column(batch, "ordinal_position", Arc::new(places))?;
    let batch = with_column(&batch, "data_type", Arc::new(StringArray::from(names)))?;
    with_column(&batch, "character_maximum_length", Arc::new(lengths))
}

/// Those that there are, and this one.
fn schemata(batch: &RecordBatch) -> Result<RecordBatch> {
    let schema = batch.schema();
    let own = schema.fields().iter().map(|field| match (field.name().as_str(), field.data_type()) {
        ("catalog_name", DataType::Utf8) => Arc::new(StringArray::from(vec![CATALOG])) as ArrayRef,
        ("schema_name", DataType::Utf8) => Arc::new(StringArray::from(vec![INFORMATION_SCHEMA])),
        (_, data_type) => new_null_array(data_type, 1),
    });
    let own = RecordBatch::try_new(Arc::clone(&schema), own.collect())?;
    Ok(concat_batches(&schema, [batch, &own])?)
}

/// What the server keeps is of a type of its own.
fn tables(batch: &RecordBatch) -> Result<RecordBatch> {
    let (schemas, types) = (text(batch, "table_schema")?, text(batch, "table_type")?);
    let types = schemas.iter().zip(types.iter()).map(|(schema, kind)| match schema {
        Some(SYSTEM_SCHEMA | INFORMATION_SCHEMA) => Some(SYSTEM_VIEW),
        _ => kind,
    });
    with_column(batch, "table_type", Arc::new(types.collect::<StringArray>()))
}

/// The engine lists tables there, too, without a definition.
fn views(batch: &RecordBatch) -> Result<RecordBatch> {
    let defined = is_not_null(text(batch, "definition")?)?;
    Ok(filter_record_batch(batch, &defined)?)
}

fn text<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StringArray> {
    match batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>()) {
        Some(column) => Ok(column),
        None => internal_err!("a table of information_schema has no text '{name}'"),
    }
}

fn with_column(batch: &RecordBatch, name: &str, column: ArrayRef) -> Result<RecordBatch> {
    let at = batch.schema().index_of(name)?;
    let mut columns = batch.columns().to_vec();
    columns[at] = column;
    Ok(RecordBatch::try_new(batch.schema(), columns)?)
}
