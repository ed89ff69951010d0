//! Which types do the parameters of a plan have? Those that the planner saw beside them, and what it does not ask itself: arguments of
//! functions, branches of CASE, casts and LIMIT.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result as PlanResult};
use datafusion::logical_expr::expr::{Case, Cast, Placeholder, ScalarFunction, TryCast};
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use tidewater_storage::Result;

use super::{ParameterTypes, parameter_index};
use crate::error::OrError;

/// The types of a plan's parameters, by index from 0, where they are known.
pub(in crate::engine) fn types_of(plan: &LogicalPlan) -> Result<ParameterTypes> {
    let types = plan.get_parameter_types().or_error()?;
    let known = types.into_iter().filter_map(|(name, data_type)| Some((parameter_index(&name)?, data_type?)));
    let mut types = Types(known.collect());
    plan.apply_with_subqueries(|node| types.add_node(node)).or_error()?;
    Ok(types.0)
}

struct Types(ParameterTypes);

impl Types {
    fn add_node(&mut self, node: &LogicalPlan) -> PlanResult<TreeNodeRecursion> {
        if let LogicalPlan::Limit(limit) = node {
            for count in [&limit.skip, &limit.fetch].into_iter().flatten() {
                self.add(count, &DataType::Int64);
            }
        }
        let mut schema = None;
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if is_asked(expr) {
                    let schema = schema.get_or_insert_with(|| merge_schema(&node.inputs()));
                    self.add_expr(expr, schema);
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    }

    /// What is known of a parameter stays.
    fn add(&mut self, expr: &Expr, data_type: &DataType) {
        if let Some(i) = placeholder(expr)
            && !data_type.is_null()
        {
            self.0.entry(i).or_insert_with(|| data_type.clone());
        }
    }

    fn add_expr(&mut self, expr: &Expr, schema: &DFSchema) {
        match expr {
            Expr::Cast(Cast { expr, field }) | Expr::TryCast(TryCast { expr, field }) => {
                self.add(expr, field.data_type());
            }
            Expr::ScalarFunction(function) => self.add_arguments(function, schema),
            Expr::Case(case) => self.add_branches(case, schema),
            _ => {}
        }
    }

    /// What the function makes of a NULL beside its other arguments.
    fn add_arguments(&mut self, function: &ScalarFunction, schema: &DFSchema) {
        let types = function.args.iter().map(|arg| self.type_of(arg, schema));
        let Some(types) = types.collect::<Option<Vec<_>>>() else { return };
        let fields: Vec<_> = types.into_iter().map(|data_type| Arc::new(Field::new("", data_type, true))).collect();
        // A call that does not fit is refused when its values are there.
        let Ok(wanted) = fields_with_udf(&fields, function.func.as_ref()) else { return };
        for (arg, field) in function.args.iter().zip(wanted) {
            self.add(arg, field.data_type());
        }
    }

    /// The branches of a CASE have one type.
    fn add_branches(&mut self, case: &Case, schema: &DFSchema) {
        let branches = || case.when_then_expr.iter().map(|(_, then)| then).chain(&case.else_expr);
        let known = branches().filter_map(|branch| self.type_of(branch, schema)).find(|known| !known.is_null());
        if let Some(known) = known {
            branches().for_each(|branch| self.add(branch, &known));
        }
    }

    /// Null for a parameter of which nothing is known.
    fn type_of(&self, expr: &Expr, schema: &DFSchema) -> Option<DataType> {
        match placeholder(expr) {
            Some(i) => Some(self.0.get(&i).cloned().unwrap_or(DataType::Null)),
            None => expr.get_type(schema).ok(),
        }
    }
}

/// Expressions that tell of a parameter directly below.
fn is_asked(expr: &Expr) -> bool {
    match expr {
        Expr::Cast(Cast { expr, .. }) | Expr::TryCast(TryCast { expr, .. }) => placeholder(expr).is_some(),
        Expr::ScalarFunction(function) => function.args.iter().any(|arg| placeholder(arg).is_some()),
        Expr::Case(case) => {
            let mut branches = case.when_then_expr.iter().map(|(_, then)| then).chain(&case.else_expr);
            branches.any(|branch| placeholder(branch).is_some())
        }
        _ => false,
    }
}

/// The index of the parameter that `expr` is, under another name or not.
pub(in crate::engine) fn placeholder(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Placeholder(Placeholder { id, .. }) => parameter_index(id),
        Expr::Alias(alias) => placeholder(&alias.expr),
        _ => None,
    }
}
