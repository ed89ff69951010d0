//! Which calls in FROM can wait for their values? A series with parameters, once it is a list in a subquery: the planner reads a table
//! function's arguments at once, when nothing is bound yet.

use std::mem;
use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Query, Statement as Sql,
    TableFactor, TimezoneInfo, TypedString, Value, Visit, VisitMut, Visitor, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;

use crate::statement::parse::visit_mut;

/// Makes `FROM generate_series(1, $1)` a list that is unnested.
pub(in crate::statement) fn settle_series(statement: &mut Statement) {
    let _: ControlFlow<()> = visit_mut(statement, &mut Settle);
}

struct Settle;

impl VisitorMut for Settle {
    type Break = ();

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, alias, args: Some(args), with_ordinality: false, .. } = factor
            && args.args.iter().any(|arg| Visit::visit(arg, &mut FindParameter).is_break())
            && let Some(mut subquery) = list_of(&name.to_string().to_lowercase())
        {
            let mut put = Put { args: type_parameters(mem::take(&mut args.args)) };
            let _: ControlFlow<()> = VisitMut::visit(&mut *subquery, &mut put);
            *factor = TableFactor::Derived { lateral: false, subquery, alias: alias.take(), sample: None };
        }
        ControlFlow::Continue(())
    }
}

struct FindParameter;

impl Visitor for FindParameter {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if is_parameter(expr) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

fn is_parameter(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if matches!(value.value, Value::Placeholder(_)))
}

/// A query for the series that a function makes, without its arguments; `None` for other functions.
fn list_of(function: &str) -> Option<Box<Query>> {
    let sql = match function {
        "generate_series" => "SELECT unnest(generate_series()) AS value",
        "range" => "SELECT unnest(range()) AS value",
        _ => return None,
    };
    match Parser::parse_sql(&GenericDialect {}, sql).ok()?.pop()? {
        Sql::Query(query) => Some(query),
        _ => None,
    }
}

/// Gives the function without arguments those of the series.
struct Put {
    args: Vec<FunctionArg>,
}

impl VisitorMut for Put {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(Function { args: FunctionArguments::List(list), .. }) if list.args.is_empty() => {
                list.args = mem::take(&mut self.args);
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

/// The arguments with a type for each parameter: a series is of whole numbers, or of dates or times, and then it goes by intervals.
fn type_parameters(mut args: Vec<FunctionArg>) -> Vec<FunctionArg> {
    let mut kind = FindKind { has_interval: false, has_date: false, has_time: false };
    let _: ControlFlow<()> = Visit::visit(&args, &mut kind);
    let interval = DataType::Interval { fields: None, precision: None };
    let (bound, step) = match kind {
        FindKind { has_interval: false, has_date: false, has_time: false } => {
            (DataType::BigInt(None), DataType::BigInt(None))
        }
        FindKind { has_date: true, .. } => (DataType::Date, interval),
        FindKind { .. } => (DataType::Timestamp(None, TimezoneInfo::None), interval),
    };
    for (at, arg) in args.iter_mut().enumerate() {
        if let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = arg {
            type_parameter(expr, if at < 2 { &bound } else { &step });
        }
    }
    args
}

/// What stands in a cast, a call or a query is of the type that is wanted there, and so is what is reckoned with an interval.
fn type_parameter(expr: &mut Expr, data_type: &DataType) {
    let is_reckoned = !matches!(data_type, DataType::Interval { .. });
    match expr {
        Expr::Nested(inner) => type_parameter(inner, data_type),
        Expr::UnaryOp { expr: inner, .. } if is_reckoned => type_parameter(inner, data_type),
        Expr::BinaryOp { left, right, .. } if is_reckoned => {
            type_parameter(left, data_type);
            type_parameter(right, data_type);
        }
        parameter if is_parameter(parameter) => {
            let (expr, data_type) = (Box::new(parameter.clone()), data_type.clone());
            *parameter = Expr::Cast { kind: CastKind::Cast, expr, data_type, array: false, format: None };
        }
        _ => {}
    }
}

struct FindKind {
    has_interval: bool,
    has_date: bool,
    has_time: bool,
}

impl Visitor for FindKind {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Interval(_) => self.has_interval = true,
            Expr::Cast { data_type, .. } | Expr::TypedString(TypedString { data_type, .. }) => match data_type {
                DataType::Interval { .. } => self.has_interval = true,
                DataType::Date => self.has_date = true,
                DataType::Timestamp(_, _) | DataType::Datetime(_) => self.has_time = true,
                _ => {}
            },
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
