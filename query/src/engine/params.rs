//! What stands for `$1`? Values that a client binds, checked and put into a plan.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::logical_expr::LogicalPlan;
use tidewater_storage::{Code, Error, Result};

use super::Parameters;
use crate::error::OrError;
use crate::wire_types::{to_wire, wire_schema};

/// The rows of parameters for a statement that takes `wanted`; views and dictionaries made plain. No row when it takes none.
pub(super) fn rows(parameters: Option<Parameters>, wanted: usize) -> Result<Option<RecordBatch>> {
    let got = parameters.as_ref().map_or(0, |p| p.0.num_columns());
    if got != wanted {
        return Err(Error::new(Code::InvalidParameter, format!("the statement takes {wanted} parameters, got {got}"))
            .hint("bind one value for each ? or $n"));
    }
    match parameters {
        Some(Parameters(batch)) if wanted > 0 => {
            if batch.num_rows() == 0 {
                return Err(Error::new(Code::InvalidParameter, "the parameters have no row").hint("bind one row"));
            }
            let schema = wire_schema(&batch.schema());
            Ok(Some(to_wire(batch, &schema)?))
        }
        _ => Ok(None),
    }
}

/// The one row that a query takes.
pub(super) fn one_row(batch: &RecordBatch) -> Result<()> {
    match batch.num_rows() {
        1 => Ok(()),
        rows => Err(Error::new(Code::InvalidParameter, format!("a query takes one row of parameters, got {rows}"))
            .hint("run it once for each row")),
    }
}

/// The plan with row `row` in place of its parameters.
pub(super) fn bind(plan: LogicalPlan, batch: &RecordBatch, row: usize) -> Result<LogicalPlan> {
    let values = batch.columns().iter().map(|column| ScalarValue::try_from_array(column, row));
    let values = values.collect::<datafusion::common::Result<Vec<_>>>().or_error()?;
    plan.with_param_values(ParamValues::from(values)).or_error()
}

/// The place from 0 of the parameter that is called `$1`, `$2`, …
pub(super) fn parameter_index(name: &str) -> Option<usize> {
    name.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1)
}

/// The plan with NULLs of the known types in place of its parameters: its result has the types that it will have.
pub(super) fn bind_nulls(plan: LogicalPlan, types: &[DataType]) -> Result<LogicalPlan> {
    let values = types.iter().map(ScalarValue::try_from).collect::<datafusion::common::Result<Vec<_>>>().or_error()?;
    plan.with_param_values(ParamValues::from(values)).or_error()
}

/// The types of `n` parameters; Null where nothing tells.
pub(super) fn types(known: &HashMap<usize, DataType>, n: usize) -> Vec<DataType> {
    (0..n).map(|i| known.get(&i).cloned().unwrap_or(DataType::Null)).collect()
}

/// Fields `1`, `2`, … as a client is told them.
pub(super) fn schema(types: &[DataType]) -> SchemaRef {
    let field = |(i, data_type): (usize, &DataType)| Field::new((i + 1).to_string(), data_type.clone(), true);
    wire_schema(&Arc::new(Schema::new(types.iter().enumerate().map(field).collect::<Vec<_>>())))
}
