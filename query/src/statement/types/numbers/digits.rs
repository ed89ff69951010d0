//! Where are all digits of a number kept that is compared, or chosen from? In its text, until it is known what stands beside it: a DECIMAL has
//! up to 38 of them, a DOUBLE some 16.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::{DataType as ArrowType, Field, FieldRef};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, DataType, Distinct, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments,
    Ident, ObjectName, Query, SelectItem, SetExpr, VisitorMut,
};

use super::{Decimal, Number, quoted};
use crate::statement::names::is_by_name;
use crate::statement::parse::visit_mut;

/// The name of a type that is a DOUBLE and knows that the text in it was written as a number. No column is of it.
const WRITTEN: &str = "number as it is written";

/// Functions that give one of their arguments.
pub(crate) const CHOICES: [&str; 7] = ["coalesce", "greatest", "ifnull", "least", "nullif", "nvl", "nvl2"];

/// Window functions that give a value of another row, or where there is none their third argument.
pub(crate) const SHIFTS: [&str; 2] = ["lag", "lead"];

/// Makes the numbers that are compared or chosen from, and are no DOUBLE with all their digits, casts of text to that type. To be called on what goes to
/// the planner: nothing else reads it.
pub(crate) fn keep_digits(statement: &mut Statement) {
    let _: ControlFlow<()> = visit_mut(statement, &mut Keep { recursive: 0 });
}

struct Keep {
    /// How many recursive queries are around what is visited. Their parts tell each other their columns before numbers are what they become.
    recursive: usize,
}

impl VisitorMut for Keep {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.recursive += usize::from(is_recursive(query));
        if self.recursive == 0 && matches!(&*query.body, SetExpr::SetOperation { .. }) {
            keep_selected(&mut query.body);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.recursive -= usize::from(is_recursive(query));
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::BinaryOp { left, op, right } if is_comparison(op) => {
                keep(left);
                keep(right);
            }
            Expr::IsDistinctFrom(left, right) | Expr::IsNotDistinctFrom(left, right) => {
                keep(left);
                keep(right);
            }
            Expr::Between { expr, low, high, .. } => {
                keep(expr);
                keep(low);
                keep(high);
            }
            Expr::InList { expr, list, .. } => {
                keep(expr);
                list.iter_mut().for_each(keep);
            }
            Expr::Case { operand, conditions, else_result, .. } => {
                if let Some(operand) = operand {
                    keep(operand);
                    conditions.iter_mut().for_each(|when| keep(&mut when.condition));
                }
                conditions.iter_mut().for_each(|when| keep(&mut when.result));
                if let Some(result) = else_result {
                    keep(result);
                }
            }
            Expr::Function(Function { name, args: FunctionArguments::List(list), .. }) if is_choice(name) => {
                for arg in &mut list.args {
                    if let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = arg {
                        keep(expr);
                    }
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

fn is_recursive(query: &Query) -> bool {
    query.with.as_ref().is_some_and(|with| with.recursive)
}

/// What the sides of a UNION select: a column of the answer is chosen from both. Where a side is more than that, its columns are as they are.
fn keep_selected(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) if matches!(select.distinct, None | Some(Distinct::Distinct)) => {
            for item in &mut select.projection {
                if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
                    keep(expr);
                }
            }
        }
        SetExpr::Query(query) if query.order_by.is_none() && query.limit_clause.is_none() && query.fetch.is_none() => {
            keep_selected(&mut query.body);
        }
        SetExpr::SetOperation { left, right, set_quantifier, .. } if !is_by_name(*set_quantifier) => {
            keep_selected(left);
            keep_selected(right);
        }
        _ => {}
    }
}

fn is_comparison(op: &BinaryOperator) -> bool {
    use BinaryOperator as Op;
    matches!(op, Op::Eq | Op::NotEq | Op::Lt | Op::LtEq | Op::Gt | Op::GtEq | Op::Spaceship)
}

fn is_choice(name: &ObjectName) -> bool {
    let [part] = name.0.as_slice() else { return false };
    let mut functions = CHOICES.iter().chain(&SHIFTS);
    part.as_ident().is_some_and(|ident| functions.any(|function| ident.value.eq_ignore_ascii_case(function)))
}

fn keep(expr: &mut Expr) {
    let Some(number) = Number::of(expr).filter(|number| !number.is_whole()) else { return };
    let Some(written) = Decimal::parse(number.text()).map(Decimal::shortest) else { return };
    let double = number.text().parse::<f64>().ok().and_then(|double| Decimal::parse(&double.to_string()));
    if double.map(Decimal::shortest).as_ref() == Some(&written) {
        return;
    }
    *expr = Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(quoted(written.text())),
        data_type: DataType::Custom(ObjectName::from(vec![Ident::with_quote('"', WRITTEN)]), Vec::new()),
        array: false,
        format: None,
    };
}

/// The type of such a cast.
pub(in crate::statement::types) fn written_type(sql: &DataType) -> Option<FieldRef> {
    let DataType::Custom(name, _) = sql else { return None };
    let [part] = name.0.as_slice() else { return None };
    part.as_ident().filter(|ident| ident.value == WRITTEN)?;
    let metadata = HashMap::from([(WRITTEN.to_owned(), String::new())]);
    Some(Arc::new(Field::new("", ArrowType::Float64, true).with_metadata(metadata)))
}

/// Whether a cast to this field is that of a number which was written.
pub(crate) fn is_written_number(field: &Field) -> bool {
    field.metadata().contains_key(WRITTEN)
}
