//! What do operators mean that the parser or the planner reads otherwise, or not at all? `||` joins what arithmetic has computed, `IS DISTINCT FROM`
//! ends before AND, LIKE takes any character of escape, SIMILAR TO fits the whole text, AT TIME ZONE is a call, `mod` is `%`, BETWEEN compares, and
//! `= ANY` of a list with NULL may be NULL.

use std::mem;
use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Array, BinaryOperator, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, Ident, ObjectName, UnaryOperator, Value, ValueWithSpan, visit_expressions,
};
use tidewater_storage::{Code, Error, Result};

use super::similar;
use crate::statement::parse::settle_exprs;

/// The function that writes a pattern with backslashes.
pub(crate) const LIKE_ESCAPE: &str = "like_escape";

/// The function behind `AT TIME ZONE`.
pub(crate) const AT_TIME_ZONE: &str = "timezone";

/// Rewrites them into what the planner reads so.
pub(crate) fn settle(statement: &mut Statement) -> Result<()> {
    settle_exprs(statement, settle_expr)
}

fn settle_expr(expr: &mut Expr) -> Result<()> {
    match expr {
        Expr::BinaryOp { .. } => {
            regroup(expr);
            end_operand(expr);
        }
        Expr::IsDistinctFrom(..) | Expr::IsNotDistinctFrom(..) | Expr::UnaryOp { .. } => end_operand(expr),
        Expr::AnyOp { .. } => any_of_list(expr),
        Expr::AtTimeZone { timestamp, time_zone } => {
            let (time, zone) = (take(timestamp), take(time_zone));
            *expr = call(AT_TIME_ZONE, vec![zone, time]);
        }
        Expr::Between { .. } => part_between(expr),
        Expr::Function(function) => {
            if let Some(remainder) = remainder(function) {
                *expr = remainder;
            }
        }
        Expr::SimilarTo { .. } => similar::settle(expr)?,
        Expr::Like { pattern, escape_char: Some(escape), .. }
        | Expr::ILike { pattern, escape_char: Some(escape), .. } => settle_escape(pattern, escape)?,
        _ => {}
    }
    Ok(())
}

/// The parser gives `||` the rank of `*`, and would add or divide what is joined: `'n' || 7 % 4` is no `('n' || 7) % 4`. Parentheses are
/// expressions of their own.
fn regroup(expr: &mut Expr) {
    let Expr::BinaryOp { left, op, right } = expr else { return };
    if !is_arithmetic(op) {
        return;
    }
    if is_joined(right) {
        let (first, mut joined) = (take(left), take(right));
        let operand = first_operand(&mut joined);
        let second = take(operand);
        *operand = Expr::BinaryOp { left: Box::new(first), op: op.clone(), right: Box::new(second) };
        regroup(operand);
        *expr = joined;
    } else if is_joined(left) {
        let (mut joined, second) = (take(left), take(right));
        if let Expr::BinaryOp { right: operand, .. } = &mut joined {
            let first = take(operand);
            **operand = Expr::BinaryOp { left: Box::new(first), op: op.clone(), right: Box::new(second) };
        }
        *expr = joined;
    }
}

fn is_arithmetic(op: &BinaryOperator) -> bool {
    use BinaryOperator as Op;
    matches!(op, Op::Plus | Op::Minus | Op::Multiply | Op::Divide | Op::Modulo)
}

fn is_joined(expr: &Expr) -> bool {
    matches!(expr, Expr::BinaryOp { op: BinaryOperator::StringConcat, .. })
}

fn first_operand(expr: &mut Expr) -> &mut Expr {
    match expr {
        Expr::BinaryOp { left, op: BinaryOperator::StringConcat, .. } => first_operand(left),
        other => other,
    }
}

/// The parser takes all that follows `IS DISTINCT FROM` for its operand: `a IS DISTINCT FROM b AND c` is no `a IS DISTINCT FROM (b AND c)`. What
/// stands around it, NOT or AND, takes too much then, too.
fn end_operand(expr: &mut Expr) {
    let operand = match expr {
        Expr::IsDistinctFrom(_, operand)
        | Expr::IsNotDistinctFrom(_, operand)
        | Expr::UnaryOp { op: UnaryOperator::Not, expr: operand }
            if is_logical(operand) =>
        {
            operand
        }
        Expr::BinaryOp { op: BinaryOperator::And, right, .. }
            if matches!(**right, Expr::BinaryOp { op: BinaryOperator::Or, .. }) =>
        {
            right
        }
        _ => return,
    };
    let mut whole = take(operand);
    **operand = take(first_condition(&mut whole));
    let ended = take(expr);
    *first_condition(&mut whole) = ended;
    *expr = whole;
}

fn is_logical(expr: &Expr) -> bool {
    matches!(expr, Expr::BinaryOp { op: BinaryOperator::And | BinaryOperator::Or, .. })
}

fn first_condition(expr: &mut Expr) -> &mut Expr {
    match expr {
        Expr::BinaryOp { left, op: BinaryOperator::And | BinaryOperator::Or, .. } => first_condition(left),
        other => other,
    }
}

/// `x = ANY(list)` as `(NOT x <> ALL(list))`, which is NULL where the list has no `x`, but NULLs: the planner only looks whether `x` is there. A
/// parameter keeps its type, which is known beside the operator alone.
fn any_of_list(expr: &mut Expr) {
    let Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } = expr else { return };
    if matches!(**right, Expr::Subquery(_) | Expr::Value(ValueWithSpan { value: Value::Placeholder(_), .. })) {
        return;
    }
    // A list that is written out is an IN, which files are chosen by. With a query in it the parser reads another IN.
    if let Expr::Array(array) = &mut **right
        && !array.elem.is_empty()
        && !array.elem.iter().any(|element| matches!(element, Expr::Array(_)))
        && !has_query(array)
    {
        let (value, list) = (Box::new(take(left)), mem::take(&mut array.elem));
        *expr = Expr::Nested(Box::new(Expr::InList { expr: value, list, negated: false }));
        return;
    }
    let (left, right) = (Box::new(take(left)), Box::new(take(right)));
    let none = Box::new(Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right });
    *expr = Expr::Nested(Box::new(Expr::UnaryOp { op: UnaryOperator::Not, expr: none }));
}

fn has_query(list: &Array) -> bool {
    let is_query = |expr: &Expr| match expr {
        Expr::Subquery(_) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    visit_expressions(list, is_query).is_break()
}

/// What stood there; NULL stands there now.
pub(super) fn take(expr: &mut Expr) -> Expr {
    mem::replace(expr, Expr::Value(Value::Null.into()))
}

/// `mod(a, b)` as `((a) % (b))`.
fn remainder(function: &Function) -> Option<Expr> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(a)), FunctionArg::Unnamed(FunctionArgExpr::Expr(b))] =
        list.args.as_slice()
    else {
        return None;
    };
    if !function.name.to_string().eq_ignore_ascii_case("mod") || function.over.is_some() || function.filter.is_some() {
        return None;
    }
    let operand = |expr: &Expr| Box::new(Expr::Nested(Box::new(expr.clone())));
    let remainder = Expr::BinaryOp { left: operand(a), op: BinaryOperator::Modulo, right: operand(b) };
    Some(Expr::Nested(Box::new(remainder)))
}

/// Writes a pattern with another character of escape as one with backslashes, which is all that LIKE reads: at once, or by a function where the
/// pattern is known later.
fn settle_escape(pattern: &mut Expr, escape: &mut ValueWithSpan) -> Result<()> {
    match &escape.value {
        Value::SingleQuotedString(text) if text == "\\" => return Ok(()),
        Value::SingleQuotedString(text) if text.chars().nth(1).is_none() => {}
        Value::Placeholder(_) => {}
        other => {
            return Err(Error::new(Code::InvalidStatement, format!("ESCAPE takes one character, and not {other}"))
                .hint("write ESCAPE '!', or leave it out: a backslash escapes % and _"));
        }
    }
    match (&mut *pattern, &escape.value) {
        (
            Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }),
            Value::SingleQuotedString(character),
        ) => {
            *text = with_backslashes(text, character.chars().next()).ok_or_else(|| {
                Error::new(Code::InvalidStatement, format!("the pattern '{text}' ends with its character of escape"))
                    .hint("write the character twice where it stands for itself")
            })?;
        }
        (pattern, _) => *pattern = call(LIKE_ESCAPE, vec![take(pattern), Expr::Value(escape.clone())]),
    }
    escape.value = Value::SingleQuotedString("\\".to_owned());
    Ok(())
}

/// The pattern with backslashes in the place of its character of escape; nothing is escaped where there is no such character. `None`: the
/// pattern ends with that character.
pub(crate) fn with_backslashes(pattern: &str, escape: Option<char>) -> Option<String> {
    let mut written = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        let is_escaped = Some(c) == escape;
        let plain = if is_escaped { chars.next()? } else { c };
        if plain == '\\' || (is_escaped && matches!(plain, '%' | '_')) {
            written.push('\\');
        }
        written.push(plain);
    }
    Some(written)
}

/// A call of one of our functions, or of DataFusion's.
pub(in crate::statement) fn call(function: &str, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(function)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// `at BETWEEN $1 - INTERVAL '1 hour' AND $2` as two comparisons: those tell which type a parameter beside an interval has. Of a column
/// only, which may stand there twice.
fn part_between(expr: &mut Expr) {
    let Expr::Between { expr: value, negated, low, high } = expr else { return };
    if !is_column(value) || !(is_moved_parameter(low) || is_moved_parameter(high)) {
        return;
    }
    let (above, both, below) = match *negated {
        false => (BinaryOperator::GtEq, BinaryOperator::And, BinaryOperator::LtEq),
        true => (BinaryOperator::Lt, BinaryOperator::Or, BinaryOperator::Gt),
    };
    let compare = |left: Expr, op: BinaryOperator, right: Expr| {
        Box::new(Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) })
    };
    let left = compare((**value).clone(), above, take(low));
    let right = compare(take(value), below, take(high));
    *expr = Expr::Nested(Box::new(Expr::BinaryOp { left, op: both, right }));
}

fn is_column(expr: &Expr) -> bool {
    match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => true,
        Expr::Nested(inner) => is_column(inner),
        _ => false,
    }
}

/// A parameter to which intervals are added, or from which they are taken.
fn is_moved_parameter(expr: &Expr) -> bool {
    let is_parameter = |expr: &Expr| {
        matches!(expr, Expr::Value(ValueWithSpan { value: Value::Placeholder(_), .. })) || is_moved_parameter(expr)
    };
    match expr {
        Expr::Nested(inner) => is_moved_parameter(inner),
        Expr::BinaryOp { left, op: BinaryOperator::Plus, right } => {
            (is_parameter(left) && is_interval(right)) || (is_interval(left) && is_parameter(right))
        }
        Expr::BinaryOp { left, op: BinaryOperator::Minus, right } => is_parameter(left) && is_interval(right),
        _ => false,
    }
}

fn is_interval(expr: &Expr) -> bool {
    match expr {
        Expr::Interval(_) => true,
        Expr::Cast { data_type: DataType::Interval { .. }, .. } => true,
        Expr::Nested(inner) => is_interval(inner),
        Expr::BinaryOp { left, op: BinaryOperator::Multiply, right } => is_interval(left) || is_interval(right),
        Expr::BinaryOp { left, op: BinaryOperator::Divide, .. } => is_interval(left),
        _ => false,
    }
}
