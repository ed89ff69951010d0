//! Which rows of a sorted part can match? Binary search on the columns that it is sorted by.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, DynComparator, make_comparator};
use arrow::compute::SortOptions;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, Literal};
use tidewater_storage::realtime::RealtimePart;

/// A conjunct `column op value`, turned so that the column is on the left.
#[derive(Debug)]
struct Bound {
    column: usize,
    op: Operator,
    /// One value.
    value: ArrayRef,
}

/// The conjuncts of a predicate that narrow sorted parts.
#[derive(Debug, Default)]
pub(super) struct LeadingBounds {
    /// In the order of the sort columns: bounds on all but the last have an equality.
    by_column: Vec<(usize, Vec<Bound>)>,
}

impl LeadingBounds {
    /// Bounds on a prefix of `sort_by`: equalities, then ranges on the next column.
    pub fn new<'a>(conjuncts: impl Iterator<Item = &'a Arc<dyn PhysicalExpr>>, sort_by: &[usize]) -> Self {
        let mut bounds: Vec<Bound> = conjuncts.filter_map(bound_of).collect();
        let mut by_column = Vec::new();
        for &column in sort_by {
            let own: Vec<Bound> = bounds.extract_if(.., |bound| bound.column == column).collect();
            if own.is_empty() {
                break;
            }
            let fixed = own.iter().any(|bound| bound.op == Operator::Eq);
            by_column.push((column, own));
            if !fixed {
                break;
            }
        }
        Self { by_column }
    }

    pub fn is_empty(&self) -> bool {
        self.by_column.is_empty()
    }

    /// A range of the part that holds every matching row. The part must be sorted: ascending, NULLs last.
    pub fn narrow(&self, part: &RealtimePart) -> Range<usize> {
        let mut rows = 0..part.rows.num_rows();
        for (column, bounds) in &self.by_column {
            // A column that is newer than the part narrows nothing: all its values there are NULL.
            let Some(values) = part.rows.columns().get(*column) else { return rows };
            // Floats are left out: sorting may treat the two zeros as equal where comparing does not.
            if values.data_type().is_floating() {
                return rows;
            }
            for bound in bounds {
                if bound.value.data_type() != values.data_type() {
                    return rows;
                }
                let Ok(compare) = make_comparator(values, &bound.value, SortOptions::default().asc().nulls_last())
                else {
                    return rows;
                };
                rows = narrow(rows, bound.op, &compare);
            }
        }
        rows
    }
}

fn narrow(rows: Range<usize>, op: Operator, compare: &DynComparator) -> Range<usize> {
    // The first row in `rows` that is not below the value, or not at it or below.
    let first = |at_too: bool| {
        let (mut low, mut high) = (rows.start, rows.end);
        while low < high {
            let middle = low + (high - low) / 2;
            let order = compare(middle, 0);
            if order.is_lt() || (at_too && order.is_eq()) { low = middle + 1 } else { high = middle }
        }
        low
    };
    match op {
        Operator::Eq => first(false)..first(true),
        Operator::Gt => first(true)..rows.end,
        Operator::GtEq => first(false)..rows.end,
        Operator::Lt => rows.start..first(false),
        Operator::LtEq => rows.start..first(true),
        _ => rows,
    }
}

fn bound_of(conjunct: &Arc<dyn PhysicalExpr>) -> Option<Bound> {
    let binary = conjunct.downcast_ref::<BinaryExpr>()?;
    let (column, op, literal) = match binary.left().downcast_ref::<Column>() {
        Some(column) => (column, *binary.op(), binary.right().downcast_ref::<Literal>()?),
        None => {
            (binary.right().downcast_ref::<Column>()?, binary.op().swap()?, binary.left().downcast_ref::<Literal>()?)
        }
    };
    let known = matches!(op, Operator::Eq | Operator::Gt | Operator::GtEq | Operator::Lt | Operator::LtEq);
    if !known || literal.value().is_null() {
        return None;
    }
    Some(Bound { column: column.index(), op, value: literal.value().to_array().ok()? })
}
