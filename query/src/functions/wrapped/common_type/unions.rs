//! Which number stands in a UNION beside a DECIMAL? The one that is written, with all its digits, as if it were chosen from both.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::error::Result;
use datafusion::logical_expr::expr::Alias;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, Projection, Union};

use super::values::Choice;
use crate::functions::wrapped::compared::is_number;

/// The plan with these numbers as DECIMALs; those that stand beside none are DOUBLEs.
pub(in crate::functions::wrapped) fn with_digits(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_down_with_subqueries(|node| match node {
        LogicalPlan::Union(union) => read_union(union),
        LogicalPlan::Projection(projection) if projection.expr.iter().any(is_column_of_digits) => {
            let alone = vec![Choice::default(); projection.expr.len()];
            Ok(Transformed::yes(read_projection(projection, &alone)?))
        }
        other => Ok(Transformed::no(other)),
    })
    .data()
}

/// What of a column of a SELECT is a number that is written, or a name for one.
fn number_of(column: &Expr) -> Option<&Expr> {
    match column {
        Expr::Alias(Alias { expr, .. }) => number_of(expr),
        number => is_number(number).then_some(number),
    }
}

/// The same with more digits than a DOUBLE has.
fn is_column_of_digits(column: &Expr) -> bool {
    number_of(column).is_some_and(|number| matches!(number, Expr::Cast(_)))
}

fn read_union(union: Union) -> Result<Transformed<LogicalPlan>> {
    let mut choices = vec![Choice::default(); union.schema.fields().len()];
    let mut has_number = vec![false; choices.len()];
    for input in &union.inputs {
        look_at(input, &mut choices, &mut has_number);
    }
    match has_number.contains(&true) {
        true => read_inputs(union, &choices).map(Transformed::yes),
        false => Ok(Transformed::no(LogicalPlan::Union(union))),
    }
}

/// Adds the types of what a UNION joins, but for its numbers: only in which columns those are.
fn look_at(plan: &LogicalPlan, choices: &mut [Choice], has_number: &mut [bool]) {
    match plan {
        LogicalPlan::Union(union) => union.inputs.iter().for_each(|input| look_at(input, choices, has_number)),
        LogicalPlan::Distinct(Distinct::All(input)) => look_at(input, choices, has_number),
        plan => {
            let exprs: &[Expr] = match plan {
                LogicalPlan::Projection(projection) => &projection.expr,
                _ => &[],
            };
            for (i, field) in plan.schema().fields().iter().enumerate().take(choices.len()) {
                match exprs.get(i).and_then(number_of) {
                    Some(_) => has_number[i] = true,
                    None => choices[i].add(field.data_type()),
                }
            }
        }
    }
}

fn read_inputs(union: Union, choices: &[Choice]) -> Result<LogicalPlan> {
    let read = |input| read_input(Arc::unwrap_or_clone(input), choices).map(Arc::new);
    let inputs = union.inputs.into_iter().map(read).collect::<Result<Vec<_>>>()?;
    Ok(LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?))
}

fn read_input(plan: LogicalPlan, choices: &[Choice]) -> Result<LogicalPlan> {
    match plan {
        LogicalPlan::Union(union) => read_inputs(union, choices),
        LogicalPlan::Distinct(Distinct::All(input)) => {
            let input = read_input(Arc::unwrap_or_clone(input), choices)?;
            Ok(LogicalPlan::Distinct(Distinct::All(Arc::new(input))))
        }
        LogicalPlan::Projection(projection) => read_projection(projection, choices),
        other => Ok(other),
    }
}

/// Its numbers as what they are beside these.
fn read_projection(projection: Projection, choices: &[Choice]) -> Result<LogicalPlan> {
    let names = NamePreserver::new_for_projection();
    let read = |(expr, choice): (Expr, &Choice)| {
        let value: Option<ScalarValue> = number_of(&expr).and_then(|number| choice.number(number));
        match value {
            Some(value) => names.save(&expr).restore(Expr::Literal(value, None)),
            None => expr,
        }
    };
    let exprs = projection.expr.into_iter().zip(choices).map(read).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, projection.input)?))
}
