//! Which parts of a filter hold for all rows of a file? Those that the file's bounds prove: no row need be asked about them.
//!
//! DataFusion knows row groups that match fully, but asks its row filter about their rows all the same (55.2), and decodes columns for it.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{
    BinaryExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, Literal, NotExpr,
};
use datafusion::physical_expr::{PhysicalExpr, conjunction_opt, split_conjunction};

/// Values of longer lists are not compared with bounds, file after file.
const MAX_PROVEN_IN_LIST: usize = 256;

/// What rows must be asked about.
pub(in crate::provider::sealed) enum Left {
    All,
    /// Without what is proven.
    Part(Arc<dyn PhysicalExpr>),
    Nothing,
}

impl Left {
    /// Of a filter over the columns that `of_file` tells about, by their places, for rows of that file.
    ///
    /// A conjunct is proven when it is TRUE for every value that may be there, so that there is no NULL among them. Bounds count as limits
    /// only: whether a row has them, or whether they are those of a text that was cut or of a deleted row, does not matter.
    pub fn of(filter: &Arc<dyn PhysicalExpr>, of_file: &Statistics) -> Self {
        let conjuncts = split_conjunction(filter);
        let n = conjuncts.len();
        let left: Vec<_> = conjuncts.into_iter().filter(|conjunct| !is_proven(conjunct, of_file)).cloned().collect();
        match left.len() {
            all if all == n => Self::All,
            _ => conjunction_opt(left).map_or(Self::Nothing, Self::Part),
        }
    }
}

/// Whether a condition is TRUE for all rows. What is not known here is not proven: another form, a cast, a dynamic filter.
fn is_proven(condition: &Arc<dyn PhysicalExpr>, of_file: &Statistics) -> bool {
    if let Some(binary) = condition.downcast_ref::<BinaryExpr>() {
        return match binary.op() {
            Operator::And => is_proven(binary.left(), of_file) && is_proven(binary.right(), of_file),
            // TRUE OR NULL is TRUE.
            Operator::Or => is_proven(binary.left(), of_file) || is_proven(binary.right(), of_file),
            _ => compares(binary, of_file),
        };
    }
    if let Some(list) = condition.downcast_ref::<InListExpr>() {
        return is_in(list, of_file);
    }
    if let Some(is_not_null) = condition.downcast_ref::<IsNotNullExpr>() {
        let known = column(is_not_null.arg(), of_file);
        return known.is_some_and(|known| known.null_count == Precision::Exact(0));
    }
    if let Some(is_null) = condition.downcast_ref::<IsNullExpr>() {
        let Some(known) = column(is_null.arg(), of_file) else { return false };
        let (nulls, rows) = (&known.null_count, &of_file.num_rows);
        return matches!((nulls, rows), (Precision::Exact(nulls), Precision::Exact(rows)) if nulls == rows);
    }
    // A column of truth values, by itself.
    let is_all = |values: Option<Values<'_>>, wanted: bool| {
        values.is_some_and(|values| values.compare(Operator::Eq, &ScalarValue::Boolean(Some(wanted))))
    };
    match condition.downcast_ref::<NotExpr>() {
        Some(not) => is_all(Values::of(not.arg(), of_file), false),
        None => is_all(Values::of(condition, of_file), true),
    }
}

/// Whether a comparison of a column with a literal holds.
fn compares(binary: &BinaryExpr, of_file: &Statistics) -> bool {
    let literal = |of: &Arc<dyn PhysicalExpr>| of.downcast_ref::<Literal>().map(|literal| literal.value().clone());
    if let (Some(values), Some(literal)) = (Values::of(binary.left(), of_file), literal(binary.right())) {
        return values.compare(*binary.op(), &literal);
    }
    if let (Some(literal), Some(values)) = (literal(binary.left()), Values::of(binary.right(), of_file)) {
        return binary.op().swap().is_some_and(|op| values.compare(op, &literal));
    }
    false
}

/// `IN` holds if the only value is listed, `NOT IN` if each one that is listed lies outside; a NULL there proves nothing.
fn is_in(list: &InListExpr, of_file: &Statistics) -> bool {
    let Some(values) = Values::of(list.expr(), of_file) else { return false };
    if list.len() > MAX_PROVEN_IN_LIST {
        return false;
    }
    let compare = |listed: &Arc<dyn PhysicalExpr>, op: Operator| {
        listed.downcast_ref::<Literal>().is_some_and(|literal| values.compare(op, literal.value()))
    };
    match list.negated() {
        true => list.list().iter().all(|listed| compare(listed, Operator::NotEq)),
        false => list.list().iter().any(|listed| compare(listed, Operator::Eq)),
    }
}

fn column<'a>(of: &Arc<dyn PhysicalExpr>, of_file: &'a Statistics) -> Option<&'a ColumnStatistics> {
    of_file.column_statistics.get(of.downcast_ref::<Column>()?.index())
}

/// The values of a column without NULLs: all of them lie between these two, or are one of them.
struct Values<'a> {
    min: &'a ScalarValue,
    max: &'a ScalarValue,
}

impl<'a> Values<'a> {
    /// `None` if `of` is no column of which that is known.
    fn of(of: &Arc<dyn PhysicalExpr>, of_file: &'a Statistics) -> Option<Self> {
        match column(of, of_file)? {
            ColumnStatistics {
                null_count: Precision::Exact(0),
                min_value: Precision::Exact(min),
                max_value: Precision::Exact(max),
                ..
            } if has_one_order(&min.data_type()) => Some(Self { min, max }),
            _ => None,
        }
    }

    /// Whether `value op literal` is TRUE for each value.
    fn compare(&self, op: Operator, literal: &ScalarValue) -> bool {
        let (min, max) = (order(self.min, literal), order(self.max, literal));
        match op {
            Operator::Gt => min == Some(Ordering::Greater),
            Operator::GtEq => min.is_some_and(Ordering::is_ge),
            Operator::Lt => max == Some(Ordering::Less),
            Operator::LtEq => max.is_some_and(Ordering::is_le),
            Operator::Eq | Operator::IsNotDistinctFrom => min == Some(Ordering::Equal) && max == Some(Ordering::Equal),
            Operator::NotEq | Operator::IsDistinctFrom => min == Some(Ordering::Greater) || max == Some(Ordering::Less),
            _ => false,
        }
    }
}

/// Types that bounds and comparisons put into the same order. Floats have two zeros and NaN.
fn has_one_order(data_type: &DataType) -> bool {
    data_type.is_integer()
        || matches!(
            data_type,
            DataType::Boolean
                | DataType::Date32
                | DataType::Time64(_)
                | DataType::Timestamp(_, _)
                | DataType::Decimal128(_, _)
                | DataType::Utf8
                | DataType::Utf8View
        )
}

/// `None` if one of them is NULL, or if they are of different types: a comparison casts one of them then. Text is text in any form.
fn order(bound: &ScalarValue, literal: &ScalarValue) -> Option<Ordering> {
    if bound.is_null() || literal.is_null() {
        return None;
    }
    match (bound.try_as_str(), literal.try_as_str()) {
        (Some(bound), Some(literal)) => Some(bound?.cmp(literal?)),
        _ if bound.data_type() == literal.data_type() => bound.partial_cmp(literal),
        _ => None,
    }
}
