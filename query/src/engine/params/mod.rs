//! What stands for `$1`? Values that a client binds, checked and put into a plan.

mod each;
mod frames;
mod infer;
mod moved;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, DecimalType, Field, Schema, SchemaRef};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::logical_expr::LogicalPlan;
use tidewater_storage::catalog::{one_nan, sql_type};
use tidewater_storage::{Code, Error, Result};

pub(super) use self::each::{EachRow, Rest};
pub(super) use self::frames::settle_frames;
pub(super) use self::infer::{placeholder, types_of as parameter_types};
pub(super) use self::moved::MovedTimes;
use super::Parameters;
use crate::error::OrError;
use crate::functions::with_hours;
use crate::wire_types::{Profile, to_wire, wire_schema};

/// Of a value that does not fit so many bytes are quoted.
const MAX_QUOTED_BYTES: usize = 40;

/// Types of parameters by index from 0, where they are known.
pub(super) type ParameterTypes = HashMap<usize, DataType>;

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
            let batch = to_wire(batch, &schema)?;
            batch.columns().iter().enumerate().try_for_each(|(i, column)| check_digits(i, column))?;
            let columns = batch.columns().iter().map(one_nan).collect();
            Ok(Some(RecordBatch::try_new(batch.schema(), columns)?))
        }
        _ => Ok(None),
    }
}

/// Clients may send decimals with more digits than their type says, which no reader expects.
fn check_digits(i: usize, column: &ArrayRef) -> Result<()> {
    let checked = match column.data_type() {
        DataType::Decimal128(precision, scale) => {
            let mut values = column.as_primitive::<Decimal128Type>().iter().flatten();
            values.try_for_each(|value| Decimal128Type::validate_decimal_precision(value, *precision, *scale))
        }
        DataType::Decimal256(precision, scale) => {
            let mut values = column.as_primitive::<Decimal256Type>().iter().flatten();
            values.try_for_each(|value| Decimal256Type::validate_decimal_precision(value, *precision, *scale))
        }
        _ => Ok(()),
    };
    checked.map_err(|source| {
        Error::new(
            Code::InvalidParameter,
            format!("parameter {}: a value has more digits than its type {} says", i + 1, column.data_type()),
        )
        .hint("bind it with the precision that it has")
        .source(source)
    })
}

/// The values of one row: numbers as text where the plan compares them with text, and times as fine as those of the plan, whose result has
/// the unit that was announced.
fn values(batch: &RecordBatch, row: usize, known: &ParameterTypes) -> Result<Vec<ScalarValue>> {
    let value = |(i, column): (usize, &ArrayRef)| {
        let value = ScalarValue::try_from_array(column, row).or_error()?;
        match known.get(&i) {
            Some(DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) if column.data_type().is_numeric() => {
                value.cast_to(&DataType::Utf8).or_error()
            }
            Some(wanted) => match finer(column.data_type(), wanted) {
                Some(data_type) => value.cast_to(&data_type).or_error(),
                None => Ok(value),
            },
            None => Ok(value),
        }
    };
    batch.columns().iter().enumerate().map(value).collect()
}

/// The type of a time in the unit that is wanted, if that is a finer one.
fn finer(got: &DataType, wanted: &DataType) -> Option<DataType> {
    match (got, wanted) {
        (DataType::Timestamp(unit, zone), DataType::Timestamp(wanted, _)) if unit < wanted => {
            Some(DataType::Timestamp(*wanted, zone.clone()))
        }
        (DataType::Time32(_), DataType::Time64(wanted)) => Some(DataType::Time64(*wanted)),
        _ => None,
    }
}

/// The plan with row `row` in place of its parameters, as a client of that profile binds them.
pub(super) fn bind(plan: LogicalPlan, batch: &RecordBatch, row: usize, profile: Profile) -> Result<LogicalPlan> {
    let known = parameter_types(&plan)?;
    let values = values(batch, row, &known)?;
    if profile == Profile::Jdbc {
        check_wrapped(&values, &known)?;
    }
    let has_dates = values.iter().any(|value| value.data_type() == DataType::Date32);
    let plan = plan.with_param_values(ParamValues::from(values)).or_error()?;
    if has_dates { with_hours(plan).or_error() } else { Ok(plan) }
}

/// The JDBC driver makes a BIGINT of what it binds for a UBIGINT, and what is above 2^63 - 1 becomes negative without a word: compared with
/// that, any row may match. A negative number is none of a UBIGINT, either.
fn check_wrapped(values: &[ScalarValue], known: &ParameterTypes) -> Result<()> {
    let wrapped = values.iter().enumerate().find_map(|(i, value)| match (value, known.get(&i)) {
        (ScalarValue::Int64(Some(n)), Some(DataType::UInt64)) if *n < 0 => Some((i, *n)),
        _ => None,
    });
    match wrapped {
        Some((i, n)) => Err(Error::new(Code::InvalidParameter, format!("parameter {}: {n} is no UBIGINT", i + 1))
            .hint("bind what is above 2^63 - 1 with setBigDecimal to CAST(? AS DECIMAL(20,0))")),
        None => Ok(()),
    }
}

/// An error of a plan into which row `row` was put. It names the parameter that is none of what the plan wants, if there is one.
pub(super) fn blame(error: Error, plan: &LogicalPlan, batch: &RecordBatch, row: usize) -> Error {
    if !matches!(error.code(), Code::InvalidStatement | Code::QueryFailed) {
        return error;
    }
    let Ok(known) = parameter_types(plan) else { return error };
    let Ok(values) = values(batch, row, &known) else { return error };
    let mut wrong = values.into_iter().enumerate().filter_map(|(i, value)| {
        let wanted = known.get(&i).filter(|wanted| !wanted.is_null())?;
        (!value.is_null() && value.cast_to(wanted).is_err()).then_some((i, value, wanted.clone()))
    });
    match wrong.next() {
        Some((i, value, wanted)) => {
            let text: String = value.to_string().chars().take(MAX_QUOTED_BYTES).collect();
            let message = format!("parameter {}: '{text}' is no {}", i + 1, sql_type(&wanted));
            Error::new(Code::InvalidParameter, message).hint("bind a value of that type").source(error)
        }
        None => error,
    }
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
pub(super) fn types(known: &ParameterTypes, n: usize) -> Vec<DataType> {
    (0..n).map(|i| known.get(&i).cloned().unwrap_or(DataType::Null)).collect()
}

/// Fields `1`, `2`, … as a client of that profile is told them.
pub(super) fn schema(types: &[DataType], profile: Profile) -> SchemaRef {
    let field = |(i, data_type): (usize, &DataType)| Field::new((i + 1).to_string(), data_type.clone(), true);
    profile.parameters(&Arc::new(Schema::new(types.iter().enumerate().map(field).collect::<Vec<_>>())))
}
