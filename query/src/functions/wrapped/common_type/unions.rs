//! Of which type is a column of a UNION? A number beside a DECIMAL is the one that is written, with all its digits, as if it were chosen from both;
//! a DECIMAL beside a DOUBLE is a DOUBLE, where DataFusion makes 0 of 1e-20; a date beside a time is a time in microseconds. And what stands
//! around the UNION reads the column as that: until its parts are cast DataFusion takes it for one of the type that the first part has.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::Alias;
use datafusion::logical_expr::expr_rewriter::{NamePreserver, coerce_plan_expr_for_schema};
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, Projection, Union};
use datafusion::optimizer::analyzer::type_coercion::TypeCoercionRewriter;

use super::values::{Choice, time_beside_dates};
use crate::functions::exact::opaque;
use crate::functions::wrapped::compared::{is_number, is_of_numbers};

/// The plan with the columns of its UNIONs as they are in the answer. Numbers of many digits that stand in none are DOUBLEs.
pub(crate) fn settle_unions(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut has_union = false;
    plan.apply_with_subqueries(|node| {
        has_union |= matches!(node, LogicalPlan::Union(_));
        Ok(if has_union { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    if !has_union {
        return with_digits(plan);
    }
    // A written number asks what stands beside it, which may come from another UNION.
    let plan = plan.transform_up_with_subqueries(|node| {
        let is_asking = matches!(node, LogicalPlan::Union(_)) && has_numbers(&node);
        if is_asking { Ok(Transformed::no(node)) } else { settle(node) }
    });
    with_digits(plan.data()?)?.transform_up_with_subqueries(settle).data()
}

/// Whether a part of a UNION selects numbers that are written.
fn has_numbers(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Union(union) => union.inputs.iter().any(|part| has_numbers(part)),
        LogicalPlan::Distinct(Distinct::All(input)) => has_numbers(input),
        LogicalPlan::Projection(projection) => projection.expr.iter().any(|column| number_of(column).is_some()),
        _ => false,
    }
}

fn settle(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let settled = match node {
        LogicalPlan::Union(union) => TypeCoercionRewriter::coerce_union(in_common(told_apart(union)?)?)?,
        around => around.recompute_schema()?,
    };
    Ok(Transformed::yes(settled))
}

/// The parts with DOUBLEs in the place of the DECIMALs that stand beside some, and times of microseconds in that of dates: DataFusion makes
/// nanoseconds of both, which end in 2262.
fn in_common(union: Union) -> Result<Union> {
    let wanted = |column: usize| {
        let fields = union.inputs.iter().filter_map(|part| part.schema().fields().get(column));
        let types = fields.map(|field| field.data_type());
        let has_dates = || types.clone().any(|of| *of == DataType::Date32);
        match union.inputs.iter().any(|part| gives_doubles(part, column)) {
            true => Some(DataType::Float64),
            false => types.clone().find_map(time_beside_dates).filter(|_| has_dates()),
        }
    };
    let wanted: Vec<Option<DataType>> = (0..union.schema.fields().len()).map(wanted).collect();
    if wanted.iter().all(Option::is_none) {
        return Ok(union);
    }
    let read = |part: Arc<LogicalPlan>| {
        let wanted = with_wanted(part.schema(), &wanted)?;
        coerce_plan_expr_for_schema(Arc::unwrap_or_clone(part), &wanted).map(Arc::new)
    };
    Union::try_new_with_loose_types(union.inputs.into_iter().map(read).collect::<Result<Vec<_>>>()?)
}

/// The parts without two columns that are the same column: where both are sorted by, DataFusion sorts the part by one of them and misses the
/// other.
fn told_apart(mut union: Union) -> Result<Union> {
    for part in &mut union.inputs {
        let LogicalPlan::Projection(projection) = &**part else { continue };
        let mut seen: Vec<&Column> = Vec::new();
        let mut repeated = vec![false; projection.expr.len()];
        for (expr, repeated) in projection.expr.iter().zip(&mut repeated) {
            let Expr::Column(column) = unnamed(expr) else { continue };
            *repeated = seen.contains(&column);
            seen.push(column);
        }
        if !repeated.contains(&true) {
            continue;
        }
        let names = NamePreserver::new_for_projection();
        let apart = |(expr, repeated): (&Expr, bool)| match repeated {
            true => names.save(expr).restore(opaque(unnamed(expr).clone())),
            false => expr.clone(),
        };
        let exprs = projection.expr.iter().zip(repeated).map(apart).collect();
        *part = Arc::new(LogicalPlan::Projection(Projection::try_new(exprs, Arc::clone(&projection.input))?));
    }
    Ok(union)
}

/// Whether a column is of DOUBLEs that are not computed of written numbers alone: DataFusion makes DECIMALs of those.
fn gives_doubles(part: &LogicalPlan, column: usize) -> bool {
    let is_floating = part.schema().fields().get(column).is_some_and(|field| field.data_type().is_floating());
    let written = match part {
        LogicalPlan::Projection(projection) => projection.expr.get(column).map(unnamed),
        _ => None,
    };
    is_floating && written.is_none_or(|expr| !is_of_numbers(expr) || is_number(expr))
}

fn with_wanted(schema: &DFSchema, wanted: &[Option<DataType>]) -> Result<DFSchema> {
    let fields = schema.iter().zip(wanted).map(|((table, field), wanted)| {
        let is_read = |wanted: &&DataType| match field.data_type() {
            DataType::Date32 => matches!(wanted, DataType::Timestamp(..)),
            other => other.is_decimal() && wanted.is_floating(),
        };
        let field = match wanted.as_ref().filter(is_read) {
            Some(wanted) => Arc::new(Field::clone(field).with_data_type(wanted.clone())),
            None => Arc::clone(field),
        };
        (table.cloned(), field)
    });
    DFSchema::new_with_metadata(fields.collect(), schema.metadata().clone())
}

fn with_digits(plan: LogicalPlan) -> Result<LogicalPlan> {
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

fn unnamed(column: &Expr) -> &Expr {
    match column {
        Expr::Alias(Alias { expr, .. }) => unnamed(expr),
        value => value,
    }
}

/// What of a column of a SELECT is a number that is written, or a name for one.
fn number_of(column: &Expr) -> Option<&Expr> {
    Some(unnamed(column)).filter(|value| is_number(value))
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
