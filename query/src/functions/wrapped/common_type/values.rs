//! As what are values read that are compared with each other, or that one is chosen from? A date beside a time is a time in microseconds, and so
//! is a text beside both: DataFusion makes nanoseconds of them, which end in 2262. A DECIMAL beside a DOUBLE is a DOUBLE. And a number beside
//! a DECIMAL is the DECIMAL that is written.

use std::mem;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr_schema::cast_subquery;
use datafusion::logical_expr::{Expr, ExprSchemable, Subquery, cast};

use super::spans::as_lengths_of_subquery;
use crate::functions::wrapped::compared::{is_number, is_of_numbers, is_text, text_of};
use crate::statement::beside_decimal;

/// Reads values that one is chosen from. Whether any was read.
pub(in crate::functions::wrapped) fn chosen(values: &mut [&mut Expr], schema: &DFSchema) -> bool {
    // A REAL has too few digits for what is given, and not only compared.
    let is_read = as_times(values, schema) || as_floating(values, schema, |_| DataType::Float64);
    as_decimals(values, schema) || is_read
}

fn types(values: &[&mut Expr], schema: &DFSchema) -> Vec<DataType> {
    values.iter().map(|value| value.get_type(schema).unwrap_or(DataType::Null)).collect()
}

/// The type in which dates are compared with times of another one.
pub(super) fn time_beside_dates(of: &DataType) -> Option<DataType> {
    match of {
        // Who has nanoseconds has asked for them.
        DataType::Timestamp(TimeUnit::Nanosecond, _) => None,
        DataType::Timestamp(_, zone) => Some(DataType::Timestamp(TimeUnit::Microsecond, zone.clone())),
        _ => None,
    }
}

/// Makes times of the dates and texts among `values`, if there are a date and a time. Whether any was read.
pub(in crate::functions::wrapped) fn as_times(values: &mut [&mut Expr], schema: &DFSchema) -> bool {
    let types = types(values, schema);
    let Some(time) = types.iter().find_map(time_beside_dates) else { return false };
    if !types.contains(&DataType::Date32) {
        return false;
    }
    for (value, of) in values.iter_mut().zip(&types) {
        if *of == DataType::Date32 || is_text(value) {
            let date = mem::take(&mut **value);
            **value = cast(date, time.clone());
        }
    }
    true
}

/// The type in which a value is compared with one of another type: a date with a time, a DECIMAL with a DOUBLE.
fn type_beside(of: &DataType, other: &DataType) -> Option<DataType> {
    match of {
        DataType::Date32 => time_beside_dates(other),
        decimal if decimal.is_decimal() && other.is_floating() => Some(other.clone()),
        _ => None,
    }
}

/// Reads a value and the column of a subquery that it is compared with. Whether any was read.
pub(in crate::functions::wrapped) fn as_subquery(value: &mut Expr, subquery: &mut Subquery, schema: &DFSchema) -> bool {
    let Ok(of) = value.get_type(schema) else { return false };
    let Some(column) = subquery.subquery.schema().fields().first().map(|field| field.data_type().clone()) else {
        return false;
    };
    if let Some(wanted) = type_beside(&of, &column) {
        *value = cast(mem::take(value), wanted);
        return true;
    }
    match type_beside(&column, &of).and_then(|wanted| cast_subquery(subquery.clone(), &wanted).ok()) {
        Some(read) => {
            *subquery = read;
            true
        }
        None => as_lengths_of_subquery(value, subquery, schema),
    }
}

/// Makes DOUBLEs of the DECIMALs among `values`, if one of them is a DOUBLE and not computed of written numbers alone. Whether any was read.
/// What is compared with a REAL is a REAL.
pub(in crate::functions::wrapped) fn as_doubles(values: &mut [&mut Expr], schema: &DFSchema) -> bool {
    as_floating(values, schema, DataType::clone)
}

fn as_floating(values: &mut [&mut Expr], schema: &DFSchema, wanted: impl Fn(&DataType) -> DataType) -> bool {
    let types = types(values, schema);
    let mut computed = values.iter().zip(&types).filter(|(value, _)| !is_of_numbers(value));
    let Some((_, floating)) = computed.find(|(_, of)| of.is_floating()) else { return false };
    let mut is_read = false;
    for (value, _) in values.iter_mut().zip(&types).filter(|(_, of)| of.is_decimal()) {
        let decimal = mem::take(&mut **value);
        **value = cast(decimal, wanted(floating));
        is_read = true;
    }
    is_read
}

/// Makes DECIMALs of the numbers that are chosen from beside one; those that are no DECIMAL there are DOUBLEs. Whether any was read.
fn as_decimals(values: &mut [&mut Expr], schema: &DFSchema) -> bool {
    let mut choice = Choice::default();
    for value in values.iter().filter(|value| !is_number(value)) {
        if let Ok(of) = value.get_type(schema) {
            choice.add(&of);
        }
    }
    let mut is_read = false;
    for value in values.iter_mut().filter(|value| is_number(value)) {
        if let Some(number) = choice.number(value) {
            **value = Expr::Literal(number, None);
            is_read = true;
        }
    }
    is_read
}

/// What numbers are chosen from together with.
#[derive(Debug, Default, Clone)]
pub(super) struct Choice {
    decimal: Option<(u8, i8)>,
    has_doubles: bool,
}

impl Choice {
    pub fn add(&mut self, of: &DataType) {
        match of {
            DataType::Decimal128(precision, scale) if self.decimal.is_none() => {
                self.decimal = Some((*precision, *scale));
            }
            of => self.has_doubles |= of.is_floating(),
        }
    }

    /// What a written number is here. `None` for a DOUBLE that stays one.
    pub fn number(&self, number: &Expr) -> Option<ScalarValue> {
        let text = text_of(number)?;
        let decimal = self.decimal.filter(|_| !self.has_doubles);
        match decimal.and_then(|of| chosen_decimal(&text, of)) {
            Some(value @ ScalarValue::Decimal128(..)) => Some(value),
            _ if matches!(number, Expr::Literal(..)) => None,
            _ => Some(ScalarValue::Float64(text.parse().ok())),
        }
    }
}

/// The type in which DataFusion takes a DOUBLE beside a DECIMAL.
const DOUBLE_AS_DECIMAL: (u8, i8) = (30, 15);

/// The number in a type with which the choice is of the same type as with the DOUBLE, if it has a place there.
fn chosen_decimal(text: &str, beside: (u8, i8)) -> Option<ScalarValue> {
    let (precision, scale) = DOUBLE_AS_DECIMAL;
    match beside_decimal(text, precision, scale) {
        Some(value) if value.data_type() == DataType::Decimal128(precision, scale) => Some(value),
        _ => beside_decimal(text, beside.0, beside.1),
    }
}
