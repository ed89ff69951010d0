//! How are rows compared, `(a, b) = (c, d)`? Value by value, as standard SQL has it, so that a NULL in them leaves open what no other value decides.
//! The planner makes structs of them, of which each is equal to another or is not.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, UnaryOperator, visit_expressions,
};
use tidewater_storage::{Code, Error, Result};

use crate::limits::MAX_EXPANDED_NODES;
use crate::statement::measure::expressions_of;
use crate::statement::parse::settle_exprs;

/// Rewrites comparisons of rows into those of their values.
pub(crate) fn settle(statement: &mut Statement) -> Result<()> {
    settle_exprs(statement, settle_expr)
}

fn settle_expr(expr: &mut Expr) -> Result<()> {
    let written = written_out(expr)?;
    ask_each(expr)?;
    if let Some(written) = written {
        *expr = nested(written);
    }
    Ok(())
}

/// What stands in the place of an expression that compares rows.
fn written_out(expr: &Expr) -> Result<Option<Expr>> {
    use BinaryOperator as Op;
    Ok(match expr {
        Expr::BinaryOp { left, op, right } => match (items(left), items(right)) {
            (Some(left), Some(right)) => compared(op, left, right)?,
            (Some(_), None) if is_subquery(right) => return Err(of_subquery()),
            _ => None,
        },
        Expr::IsDistinctFrom(left, right) => match (items(left), items(right)) {
            (Some(left), Some(right)) => Some(by_pairs(left, right, Op::Or, &|left, right| {
                Ok(Expr::IsDistinctFrom(Box::new(nested(left)), Box::new(nested(right))))
            })?),
            _ => None,
        },
        Expr::IsNotDistinctFrom(left, right) => match (items(left), items(right)) {
            (Some(left), Some(right)) => Some(by_pairs(left, right, Op::And, &|left, right| {
                Ok(Expr::IsNotDistinctFrom(Box::new(nested(left)), Box::new(nested(right))))
            })?),
            _ => None,
        },
        Expr::IsNull(row) => items(row).and_then(|items| all(items.into_iter().map(|item| Expr::IsNull(boxed(item))))),
        Expr::IsNotNull(row) => {
            items(row).and_then(|items| all(items.into_iter().map(|item| Expr::IsNotNull(boxed(item)))))
        }
        Expr::InList { expr: row, list, negated } => match items(row) {
            Some(row) => in_list(&row, list, *negated)?,
            None => None,
        },
        Expr::InSubquery { expr: row, .. } if items(row).is_some() => return Err(of_subquery()),
        Expr::AnyOp { left, right, .. } | Expr::AllOp { left, right, .. }
            if items(left).is_some() && is_subquery(right) =>
        {
            return Err(of_subquery());
        }
        Expr::Between { expr: row, negated, low, high } => match (items(row), items(low), items(high)) {
            (Some(row), Some(low), Some(high)) => {
                check_copies(&row, 2)?;
                check_volatile(&row)?;
                let above = compared(&Op::GtEq, row.clone(), low)?;
                let below = compared(&Op::LtEq, row, high)?;
                above.zip(below).map(|(above, below)| negated_if(*negated, joined(above, Op::And, below)))
            }
            _ => None,
        },
        _ => None,
    })
}

/// `CASE (a, b) WHEN (c, d)` as CASE of such a comparison.
fn ask_each(expr: &mut Expr) -> Result<()> {
    let Expr::Case { operand, conditions, .. } = expr else { return Ok(()) };
    let Some(row) = operand.as_deref().and_then(items) else { return Ok(()) };
    let Some(rows) = conditions.iter().map(|when| items(&when.condition)).collect::<Option<Vec<_>>>() else {
        return Ok(());
    };
    check_copies(&row, rows.len())?;
    if rows.len() > 1 {
        check_volatile(&row)?;
    }
    for (when, other) in conditions.iter_mut().zip(rows) {
        if let Some(condition) = compared(&BinaryOperator::Eq, row.clone(), other)? {
            when.condition = condition;
        }
    }
    *operand = None;
    Ok(())
}

/// The values of a row that is written out.
fn items(expr: &Expr) -> Option<Vec<Expr>> {
    match expr {
        Expr::Tuple(items) => Some(items.clone()),
        Expr::Nested(inner) => items(inner),
        Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case("row") => {
            let FunctionArguments::List(list) = &function.args else { return None };
            let item = |arg: &FunctionArg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(item)) => Some(item.clone()),
                _ => None,
            };
            list.args.iter().map(item).collect()
        }
        _ => None,
    }
}

fn is_subquery(expr: &Expr) -> bool {
    match expr {
        Expr::Subquery(_) => true,
        Expr::Nested(inner) => is_subquery(inner),
        _ => false,
    }
}

fn of_subquery() -> Error {
    Error::new(Code::UnsupportedStatement, "a row is not compared with what a subquery gives")
        .hint("write EXISTS (SELECT 1 FROM … WHERE x = a AND y = b)")
}

/// `None` for an operator that compares nothing.
fn compared(op: &BinaryOperator, left: Vec<Expr>, right: Vec<Expr>) -> Result<Option<Expr>> {
    use BinaryOperator as Op;
    Ok(Some(match op {
        Op::Eq => by_pairs(left, right, Op::And, &|left, right| pair(&Op::Eq, left, right))?,
        Op::NotEq => by_pairs(left, right, Op::Or, &|left, right| pair(&Op::NotEq, left, right))?,
        Op::Lt | Op::LtEq => in_order(left, right, Op::Lt, op)?,
        Op::Gt | Op::GtEq => in_order(left, right, Op::Gt, op)?,
        _ => return Ok(None),
    }))
}

/// Two values of rows, which may be rows themselves.
fn pair(op: &BinaryOperator, left: Expr, right: Expr) -> Result<Expr> {
    if let (Some(left), Some(right)) = (items(&left), items(&right))
        && let Some(compared) = compared(op, left, right)?
    {
        return Ok(nested(compared));
    }
    Ok(joined(nested(left), op.clone(), nested(right)))
}

fn by_pairs(
    left: Vec<Expr>,
    right: Vec<Expr>,
    between: BinaryOperator,
    compare: &dyn Fn(Expr, Expr) -> Result<Expr>,
) -> Result<Expr> {
    check_lengths(&left, &right)?;
    let pairs: Vec<Expr> =
        left.into_iter().zip(right).map(|(left, right)| compare(left, right)).collect::<Result<_>>()?;
    let whole = pairs.into_iter().reduce(|left, right| joined(left, between.clone(), right));
    whole.ok_or_else(empty)
}

fn check_lengths(left: &[Expr], right: &[Expr]) -> Result<()> {
    match left.len() == right.len() {
        true => Ok(()),
        false => Err(Error::new(
            Code::InvalidStatement,
            format!("a row of {} values is compared with one of {}", left.len(), right.len()),
        )
        .hint("write as many values on both sides")),
    }
}

fn empty() -> Error {
    Error::new(Code::InvalidStatement, "a row has no values").hint("write at least one")
}

/// The first two values that differ decide: `a < c OR (a = c AND b < d)`. Of more values, by halves: what is written stays flat.
fn in_order(left: Vec<Expr>, right: Vec<Expr>, strict: BinaryOperator, last: &BinaryOperator) -> Result<Expr> {
    check_lengths(&left, &right)?;
    if left.iter().chain(&right).any(|item| items(item).is_some()) {
        return Err(Error::new(Code::UnsupportedStatement, "rows within rows are not put in an order")
            .hint("write all values in one row"));
    }
    // The last ones are compared once, the others once more for each time that what is in front of them is halved.
    let n_copies = left.len().checked_ilog2().unwrap_or(0) as usize + 1;
    check_copies(left.iter().chain(&right), n_copies)?;
    let n_but_last = left.len().saturating_sub(1);
    check_volatile(left.iter().take(n_but_last).chain(right.iter().take(n_but_last)))?;
    by_halves(&left, &right, &strict, last)
}

fn by_halves(left: &[Expr], right: &[Expr], strict: &BinaryOperator, last: &BinaryOperator) -> Result<Expr> {
    use BinaryOperator as Op;
    match (left, right) {
        ([], _) | (_, []) => Err(empty()),
        ([left], [right]) => pair(last, left.clone(), right.clone()),
        _ => {
            let (left, left_rest) = left.split_at(left.len() / 2);
            let (right, right_rest) = right.split_at(right.len() / 2);
            let decided = by_halves(left, right, strict, strict)?;
            let equal = by_pairs(left.to_vec(), right.to_vec(), Op::And, &|left, right| pair(&Op::Eq, left, right))?;
            let open = joined(equal, Op::And, nested(by_halves(left_rest, right_rest, strict, last)?));
            Ok(joined(decided, Op::Or, nested(open)))
        }
    }
}

/// Refuses what would become too large when it is written out: a row stands in each comparison, and comparisons of rows may stand in rows.
fn check_copies<'a>(row: impl IntoIterator<Item = &'a Expr>, n_copies: usize) -> Result<()> {
    let n_nodes: u64 = row.into_iter().map(expressions_of).sum();
    if n_nodes.saturating_mul(n_copies as u64) <= MAX_EXPANDED_NODES as u64 {
        return Ok(());
    }
    Err(Error::new(Code::StatementTooComplex, format!("a row of {n_nodes} expressions is compared {n_copies} times"))
        .hint("join with a table of values: FROM t JOIN (VALUES …) AS v(a, b) ON t.a = v.a AND t.b = v.b"))
}

/// Functions that give another value each time.
const VOLATILE: [&str; 2] = ["random", "uuid"];

/// Refuses what would be asked more than once for a value that is to be one.
fn check_volatile<'a>(values: impl IntoIterator<Item = &'a Expr>) -> Result<()> {
    let is_volatile = |expr: &Expr| match expr {
        Expr::Function(call) => VOLATILE.iter().any(|name| call.name.to_string().eq_ignore_ascii_case(name)),
        _ => false,
    };
    for value in values {
        let found = visit_expressions(value, |expr| match is_volatile(expr) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        });
        if found.is_break() {
            return Err(Error::new(
                Code::UnsupportedStatement,
                format!("{value} stands in a row that is compared more than once, with another value each time"),
            )
            .hint("give it a name first: FROM (SELECT random() AS r, a FROM t) AS x WHERE (r, a) < (0.5, 2)"));
        }
    }
    Ok(())
}

/// One of several rows, of which all are written out; of others the planner makes structs.
fn in_list(row: &[Expr], list: &[Expr], negated: bool) -> Result<Option<Expr>> {
    let Some(rows) = list.iter().map(items).collect::<Option<Vec<_>>>() else { return Ok(None) };
    check_copies(row, rows.len())?;
    if rows.len() > 1 {
        check_volatile(row)?;
    }
    let equal = |other: Vec<Expr>| {
        by_pairs(row.to_vec(), other, BinaryOperator::And, &|left, right| pair(&BinaryOperator::Eq, left, right))
    };
    let mut open: Vec<Expr> = rows.into_iter().map(|other| equal(other).map(nested)).collect::<Result<_>>()?;
    // In pairs: a chain would be as deep as it is long.
    while open.len() > 1 {
        let mut pairs = open.into_iter();
        let mut halved = Vec::new();
        while let Some(first) = pairs.next() {
            halved.push(match pairs.next() {
                Some(second) => nested(joined(first, BinaryOperator::Or, second)),
                None => first,
            });
        }
        open = halved;
    }
    Ok(open.pop().map(|whole| negated_if(negated, whole)))
}

fn all(conditions: impl Iterator<Item = Expr>) -> Option<Expr> {
    conditions.reduce(|left, right| joined(left, BinaryOperator::And, right))
}

fn negated_if(negated: bool, condition: Expr) -> Expr {
    match negated {
        true => Expr::UnaryOp { op: UnaryOperator::Not, expr: boxed(condition) },
        false => condition,
    }
}

fn joined(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

/// In parentheses, unless it stands for itself.
fn nested(expr: Expr) -> Expr {
    let is_one = matches!(
        expr,
        Expr::Value(_) | Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Nested(_) | Expr::Function(_)
    );
    if is_one { expr } else { Expr::Nested(Box::new(expr)) }
}

fn boxed(expr: Expr) -> Box<Expr> {
    Box::new(nested(expr))
}
