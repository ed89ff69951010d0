//! Of which type is a column of a UNION? A number beside a DECIMAL is the one that is written, with all its digits, as if it were chosen from both;
//! a DECIMAL beside a DOUBLE is a DOUBLE, where DataFusion makes 0 of 1e-20; a date beside a time is a time in microseconds. And what stands
//! around the UNION reads the column as that: until its parts are cast DataFusion takes it for one of the type that the first part has.
//! The parts of a recursive query have the types that it was planned with, or it is refused.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::Alias;
use datafusion::logical_expr::expr_rewriter::{NamePreserver, coerce_plan_expr_for_schema};
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, Projection, RecursiveQuery, Union};
use datafusion::optimizer::analyzer::type_coercion::TypeCoercionRewriter;
use tidewater_storage::catalog::sql_type;
use tidewater_storage::{Code, Error};

use super::values::{Choice, time_beside_dates};
use crate::error::to_datafusion;
use crate::functions::exact::opaque;
use crate::functions::wrapped::compared::{is_number, is_of_numbers};
use crate::rules::holds;

/// How the UNIONs of a statement get their columns.
pub(in crate::functions::wrapped) struct Unions {
    /// Something has an order of several columns.
    has_orders: bool,
}

impl Unions {
    pub fn of(statement: &LogicalPlan) -> Result<Self> {
        let mut has_orders = false;
        statement.apply_with_subqueries(|node| {
            has_orders |= has_order(node);
            Ok(if has_orders { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        Ok(Self { has_orders })
    }

    /// The plan with the columns that it has in the answer, if it is a UNION, which is asked for them by what stands around it. A written number asks
    /// all that it stands beside, in UNIONs within UNIONs, too; one of many digits that stands in none is a DOUBLE.
    pub fn settled(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        plan.transform_down_up(with_digits, |node| self.settle(node)).data()
    }

    fn settle(&self, node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        match node {
            LogicalPlan::Union(union) => {
                let union = if self.has_orders { told_apart(union)? } else { union };
                TypeCoercionRewriter::coerce_union(in_common(union)?).map(Transformed::yes)
            }
            other => Ok(Transformed::no(other)),
        }
    }
}

/// Whether a node sorts by several columns. Windows sort their partitions.
fn has_order(node: &LogicalPlan) -> bool {
    let is_ordered = |expr: &Expr| matches!(expr, Expr::AggregateFunction(call) if call.params.order_by.len() > 1);
    match node {
        LogicalPlan::Sort(sort) => sort.expr.len() > 1,
        LogicalPlan::Distinct(Distinct::On(distinct)) => distinct.sort_expr.as_ref().is_some_and(|keys| keys.len() > 1),
        LogicalPlan::Window(_) => true,
        LogicalPlan::Aggregate(_) => holds(node, is_ordered).unwrap_or(true),
        _ => false,
    }
}

/// Whether a plan is not what it is in the answer until it is settled.
pub(in crate::functions::wrapped) fn is_open(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Union(_) => true,
        LogicalPlan::Distinct(Distinct::All(input)) => is_open(input),
        LogicalPlan::Projection(projection) => projection.expr.iter().any(is_column_of_digits),
        _ => false,
    }
}

/// Refuses a recursive query of which a part has become of another type than it was `planned` with: its rows are read as that.
pub(in crate::functions::wrapped) fn check_recursive(query: &RecursiveQuery, planned: &DFSchema) -> Result<()> {
    for part in [&query.static_term, &query.recursive_term] {
        for (field, planned) in part.schema().fields().iter().zip(planned.fields()) {
            if field.data_type() != planned.data_type() {
                return Err(to_datafusion(of_two_types(planned.name(), field.data_type(), planned.data_type())));
            }
        }
    }
    Ok(())
}

fn of_two_types(column: &str, of: &DataType, planned: &DataType) -> Error {
    let (of, planned) = (sql_type(of), sql_type(planned));
    let problem = format!("the column '{column}' of WITH RECURSIVE is {of} in one part and {planned} in the other");
    Error::new(Code::UnsupportedStatement, problem).hint(format!("write CAST(… AS {of}) in both"))
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
        // The types that it has itself are those of what its first part was.
        return Union::try_new_with_loose_types(union.inputs);
    }
    let read = |part: Arc<LogicalPlan>| {
        let wanted = with_wanted(part.schema(), &wanted)?;
        coerce_plan_expr_for_schema(Arc::unwrap_or_clone(part), &wanted).map(Arc::new)
    };
    Union::try_new_with_loose_types(union.inputs.into_iter().map(read).collect::<Result<Vec<_>>>()?)
}

/// The parts without two columns that are the same column: where both are sorted by, DataFusion sorts the part by one of them and misses the
/// other. Where none are, bounds of files are asked about both.
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

/// The numbers of a UNION, and of a SELECT that stands in none, as they are in the answer; what is below these is left alone.
fn with_digits(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    Ok(match node {
        LogicalPlan::Union(union) => read_union(union)?,
        LogicalPlan::Projection(projection) if projection.expr.iter().any(is_column_of_digits) => {
            let alone = vec![Choice::default(); projection.expr.len()];
            Transformed::new(read_projection(projection, &alone)?, true, TreeNodeRecursion::Jump)
        }
        LogicalPlan::Distinct(Distinct::All(_)) => Transformed::no(node),
        part => Transformed::new(part, false, TreeNodeRecursion::Jump),
    })
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
