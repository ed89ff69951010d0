//! Which number does a literal stand for where a DECIMAL is wanted? The one that is written. The planner reads a literal with a point as a
//! DOUBLE, which has some 16 digits of it.

mod digits;

use std::ops::ControlFlow;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType as ArrowType, i256};
use datafusion::common::ScalarValue;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, ExactNumberInfo, Expr, Query, SetExpr, UnaryOperator, Value, VisitorMut,
};

pub(super) use self::digits::written_type;
pub(crate) use self::digits::{CHOICES, SHIFTS, is_written_number, keep_digits};
use super::operators::take;
use crate::statement::parse::visit_mut;

/// Digits that are looked at: no type has more.
const MAX_DIGITS: usize = 76;

/// A number as it is written, with its sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Number(String);

/// A number as an integer of units of 10^-scale.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Decimal {
    is_negative: bool,
    /// No zeros in front.
    digits: String,
    scale: usize,
}

impl Number {
    /// The number that `expr` writes out, with or without a sign.
    pub(crate) fn of(expr: &Expr) -> Option<Self> {
        match expr {
            Expr::Value(value) => match &value.value {
                Value::Number(text, false) => Some(Self(text.replace('_', ""))),
                _ => None,
            },
            Expr::UnaryOp { op: UnaryOperator::Plus, expr } => Self::of(expr),
            Expr::UnaryOp { op: UnaryOperator::Minus, expr } => Self::of(expr).map(Self::negated),
            Expr::Nested(expr) => Self::of(expr),
            _ => None,
        }
    }

    fn negated(self) -> Self {
        match self.0.strip_prefix('-') {
            Some(text) => Self(text.to_owned()),
            None => Self(format!("-{}", self.0)),
        }
    }

    /// As it is written.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    /// The planner reads it exactly.
    fn is_whole(&self) -> bool {
        self.0.parse::<i64>().is_ok() || self.0.parse::<u64>().is_ok()
    }

    /// Rounded to `scale` digits behind the point, half away from zero, as text that is read digit by digit. `None` for what no DECIMAL is.
    pub(crate) fn rounded(&self, scale: i8) -> Option<String> {
        let scale = usize::try_from(scale).ok()?;
        Some(Decimal::parse(&self.0)?.rounded(scale).text())
    }
}

impl Decimal {
    fn parse(text: &str) -> Option<Self> {
        let (is_negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut digits = format!("{whole}{fraction}");
        if digits.is_empty() || digits.len() > MAX_DIGITS || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let scale = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
        if scale.unsigned_abs() as usize > MAX_DIGITS {
            return None;
        }
        if scale < 0 {
            digits.push_str(&"0".repeat(scale.unsigned_abs() as usize));
        }
        let digits = digits.trim_start_matches('0').to_owned();
        Some(Self { is_negative, digits, scale: usize::try_from(scale).unwrap_or(0) })
    }

    /// The same number without zeros behind all other digits behind the point.
    fn shortest(mut self) -> Self {
        while self.scale > 0 && (self.digits.is_empty() || self.digits.ends_with('0')) {
            self.digits.pop();
            self.scale -= 1;
        }
        self
    }

    fn signed_digits(&self, zeros: usize) -> String {
        match self.digits.as_str() {
            "" => "0".to_owned(),
            digits => format!("{}{digits}{}", if self.is_negative { "-" } else { "" }, "0".repeat(zeros)),
        }
    }

    fn rounded(self, scale: usize) -> Self {
        let Some(cut) = self.scale.checked_sub(scale).filter(|cut| *cut > 0) else { return self };
        // What is cut off may be longer than all that there is.
        let padded = format!("{:0>width$}", self.digits, width = cut + 1);
        let (kept, lost) = padded.split_at(padded.len() - cut);
        let mut digits: Vec<u8> = kept.bytes().collect();
        if lost.as_bytes()[0] >= b'5' {
            add_one(&mut digits);
        }
        let digits: String = digits.into_iter().map(char::from).collect();
        Self { digits: digits.trim_start_matches('0').to_owned(), scale, ..self }
    }

    fn text(&self) -> String {
        let sign = if self.is_negative && !self.digits.is_empty() { "-" } else { "" };
        let digits = format!("{:0>width$}", self.digits, width = self.scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - self.scale);
        match fraction {
            "" => format!("{sign}{whole}"),
            fraction => format!("{sign}{whole}.{fraction}"),
        }
    }
}

/// The number as a value that is compared exactly with every DECIMAL(`precision`, `scale`): one of that type if it has a place there, else one of a
/// type whose common one holds both. `None` for what no such type holds.
pub(crate) fn beside_decimal(text: &str, precision: u8, scale: i8) -> Option<ScalarValue> {
    let number = Decimal::parse(text)?.shortest();
    let (places, behind) = (usize::from(precision), usize::try_from(scale).ok()?);
    let whole = number.digits.len().saturating_sub(number.scale);
    if number.scale <= behind && whole + behind <= places {
        let units = number.signed_digits(behind - number.scale).parse().ok()?;
        return Some(ScalarValue::Decimal128(Some(units), precision, scale));
    }
    let (own_precision, own_scale) = (u8::try_from(whole + number.scale).ok()?, i8::try_from(number.scale).ok()?);
    let common = whole.max(places.saturating_sub(behind)) + number.scale.max(behind);
    let units = number.signed_digits(0);
    if common <= usize::from(DECIMAL128_MAX_PRECISION) {
        Some(ScalarValue::Decimal128(Some(units.parse().ok()?), own_precision, own_scale))
    } else if common <= usize::from(DECIMAL256_MAX_PRECISION) {
        Some(ScalarValue::Decimal256(Some(i256::from_string(&units)?), own_precision, own_scale))
    } else {
        None
    }
}

/// The number, or one with fewer digits for it that is less than, equal to and greater than the same DECIMALs(`precision`, `scale`).
pub(crate) fn compared_with_decimal(text: &str, precision: u8, scale: i8) -> Option<ScalarValue> {
    if let Some(exact) = beside_decimal(text, precision, scale) {
        return Some(exact);
    }
    let number = Decimal::parse(text)?.shortest();
    let (places, behind) = (usize::from(precision), usize::try_from(scale).ok()?);
    let whole = number.digits.len().saturating_sub(number.scale);
    let digits = if whole + behind > places {
        // Beyond all of them: one more digit than they have.
        format!("1{}", "0".repeat(places + 1))
    } else {
        // Between two of them.
        let n_kept = number.digits.len().saturating_sub(number.scale.saturating_sub(behind));
        format!("{}5", number.digits.get(..n_kept)?)
    };
    let units = if number.is_negative { format!("-{digits}") } else { digits };
    let (precision, scale) = (precision.checked_add(2)?, scale.checked_add(1)?);
    if precision <= DECIMAL128_MAX_PRECISION {
        Some(ScalarValue::Decimal128(Some(units.parse().ok()?), precision, scale))
    } else {
        Some(ScalarValue::Decimal256(Some(i256::from_string(&units)?), precision, scale))
    }
}

/// Adds one to the number that these digits are.
fn add_one(digits: &mut Vec<u8>) {
    for digit in digits.iter_mut().rev() {
        if *digit < b'9' {
            *digit += 1;
            return;
        }
        *digit = b'0';
    }
    digits.insert(0, b'1');
}

/// Gives casts of literals to DECIMAL the digits that are written: they become casts of text.
pub(crate) fn settle(statement: &mut Statement) {
    let _: ControlFlow<()> = visit_mut(statement, &mut Settle);
}

struct Settle;

impl VisitorMut for Settle {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Cast { expr: inner, data_type, .. } = expr
            && matches!(data_type, DataType::Decimal(_) | DataType::Numeric(_) | DataType::Dec(_))
            && let Some(number) = Number::of(inner).filter(|number| !number.is_whole())
            && let Some(decimal) = Decimal::parse(number.text())
        {
            **inner = quoted(decimal.text());
        }
        ControlFlow::Continue(())
    }
}

fn quoted(text: String) -> Expr {
    Expr::Value(Value::SingleQuotedString(text).into())
}

/// Makes the numbers in VALUES that go to columns of DECIMAL those that are written, rounded to the column's digits. `types` are those of
/// the columns, in the order of the values.
pub(crate) fn settle_values(query: &mut Query, types: &[Option<ArrowType>]) {
    let SetExpr::Values(values) = &mut *query.body else { return };
    for (column, data_type) in types.iter().enumerate() {
        let Some(ArrowType::Decimal128(precision, scale)) = data_type else { continue };
        let cells = values.rows.iter_mut().filter_map(|row| row.content.get_mut(column));
        let mut cells: Vec<&mut Expr> = cells.collect();
        let has_fraction = cells.iter().any(|cell| Number::of(cell).is_some_and(|number| !number.is_whole()));
        if has_fraction {
            settle_column(&mut cells, *precision, *scale);
        }
    }
}

/// Cells of one column. Storage reads text digit by digit, but the column must be nothing else: beside an expression all are cast.
fn settle_column(cells: &mut [&mut Expr], precision: u8, scale: i8) {
    let rounded: Vec<Option<String>> = cells.iter().map(|cell| Number::of(cell)?.rounded(scale)).collect();
    if cells.iter().zip(&rounded).any(|(cell, text)| text.is_none() && Number::of(cell).is_some()) {
        // A number that no DECIMAL holds, which storage says.
        return;
    }
    let is_plain = cells.iter().zip(&rounded).all(|(cell, text)| text.is_some() || is_null_or_text(cell));
    for (cell, text) in cells.iter_mut().zip(rounded) {
        if let Some(text) = text {
            **cell = quoted(text);
        }
        if !is_plain {
            **cell = cast(take(cell), precision, scale);
        }
    }
}

fn is_null_or_text(cell: &Expr) -> bool {
    let Expr::Value(value) = cell else { return false };
    matches!(value.value, Value::Null | Value::SingleQuotedString(_))
}

fn cast(value: Expr, precision: u8, scale: i8) -> Expr {
    let info = ExactNumberInfo::PrecisionAndScale(u64::from(precision), i64::from(scale));
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(value),
        data_type: DataType::Decimal(info),
        array: false,
        format: None,
    }
}

#[cfg(test)]
mod tests;
