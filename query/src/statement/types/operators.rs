//! What do operators mean that the planner reads otherwise, or not at all? `||` joins what arithmetic has computed, LIKE takes any
//! character of escape, and `mod` is `%`.

use std::mem;
use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Value, ValueWithSpan, VisitMut,
    VisitorMut,
};
use tidewater_storage::{Code, Error, Result};

/// Rewrites them into what the planner reads so.
pub(crate) fn settle(statement: &mut Statement) -> Result<()> {
    let flow = match statement {
        Statement::Statement(sql) => VisitMut::visit(&mut **sql, &mut Settle),
        Statement::Explain(explain) => return settle(&mut explain.statement),
        _ => ControlFlow::Continue(()),
    };
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

struct Settle;

impl VisitorMut for Settle {
    type Break = Box<Error>;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Box<Error>> {
        match expr {
            Expr::BinaryOp { .. } => regroup(expr),
            Expr::Function(function) => {
                if let Some(remainder) = remainder(function) {
                    *expr = remainder;
                }
            }
            Expr::Like { pattern, escape_char: Some(escape), .. }
            | Expr::ILike { pattern, escape_char: Some(escape), .. } => {
                if let Err(error) = settle_escape(pattern, escape) {
                    return ControlFlow::Break(Box::new(error));
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
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

fn take(expr: &mut Expr) -> Expr {
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

/// Writes a pattern with another character of escape as one with backslashes, which is all that LIKE reads.
fn settle_escape(pattern: &mut Expr, escape: &mut ValueWithSpan) -> Result<()> {
    let character = match &escape.value {
        Value::SingleQuotedString(text) if text.chars().nth(1).is_none() => text.chars().next(),
        other => {
            return Err(Error::new(Code::InvalidStatement, format!("ESCAPE takes one character, and not {other}"))
                .hint("write ESCAPE '!', or leave it out: a backslash escapes % and _"));
        }
    };
    if character == Some('\\') {
        return Ok(());
    }
    match pattern {
        Expr::Value(value) => match &mut value.value {
            Value::SingleQuotedString(text) => *text = with_backslashes(text, character)?,
            Value::Null => {}
            _ => return Err(not_a_text(pattern)),
        },
        _ => return Err(not_a_text(pattern)),
    }
    escape.value = Value::SingleQuotedString("\\".to_owned());
    Ok(())
}

fn not_a_text(pattern: &Expr) -> Error {
    Error::new(
        Code::UnsupportedStatement,
        format!("ESCAPE with another character than a backslash is not supported for the pattern {pattern}"),
    )
    .hint("write the pattern as text in quotes, or escape % and _ in it with backslashes")
}

/// Nothing is escaped where there is no such character.
fn with_backslashes(pattern: &str, escape: Option<char>) -> Result<String> {
    let mut written = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        let is_escaped = Some(c) == escape;
        let plain = match is_escaped {
            true => chars.next().ok_or_else(|| {
                Error::new(Code::InvalidStatement, format!("the pattern '{pattern}' ends with its character of escape"))
                    .hint("write the character twice where it stands for itself")
            })?,
            false => c,
        };
        if plain == '\\' || (is_escaped && matches!(plain, '%' | '_')) {
            written.push('\\');
        }
        written.push(plain);
    }
    Ok(written)
}
