//! Which functions do operators and literals become? Guarded ones: DataFusion's planners put its own functions into the plan, past the
//! registry in which ours replace them.

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::common::utils::list_ndims;
use datafusion::error::Result;
use datafusion::functions::core as plain;
use datafusion::functions_nested::{concat, make_array, map};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr, RawDictionaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, ScalarUDF};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::concat::ConcatOperator;
use super::{guard_of, guarded::Guarded};
use crate::functions::wrapped::beside_null;

/// Stands before DataFusion's planners.
#[derive(Debug)]
pub(super) struct GuardedPlanner {
    join_text: Arc<ScalarUDF>,
    join_lists: Arc<ScalarUDF>,
    append: Arc<ScalarUDF>,
    prepend: Arc<ScalarUDF>,
    list: Arc<ScalarUDF>,
    map: Arc<ScalarUDF>,
    structure: Arc<ScalarUDF>,
    named_structure: Arc<ScalarUDF>,
}

impl GuardedPlanner {
    pub fn new() -> Self {
        let guarded = |inner: Arc<ScalarUDF>| match guard_of(inner.name()) {
            Some(guard) => Arc::new(Guarded::wrap(inner, guard)),
            None => inner,
        };
        Self {
            join_text: guarded(Arc::new(ScalarUDF::new_from_impl(ConcatOperator::new()))),
            join_lists: guarded(Arc::new(beside_null(concat::array_concat_udf()))),
            append: guarded(Arc::new(beside_null(concat::array_append_udf()))),
            prepend: guarded(Arc::new(beside_null(concat::array_prepend_udf()))),
            list: guarded(make_array::make_array_udf()),
            map: guarded(map::map_udf()),
            structure: guarded(plain::r#struct()),
            named_structure: guarded(plain::named_struct()),
        }
    }

    /// How deep the lists of an operand are. In a long chain of texts the left operand is a call of ours, and costs no walk for its type.
    fn depth(&self, operand: &Expr, schema: &DFSchema) -> Result<u64> {
        match operand {
            Expr::ScalarFunction(call) if call.func == self.join_text => Ok(0),
            _ => Ok(list_ndims(&operand.get_type(schema)?)),
        }
    }
}

fn call(function: &Arc<ScalarUDF>, args: Vec<Expr>) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(function), args))
}

impl ExprPlanner for GuardedPlanner {
    /// `||` joins texts or lists, or puts an element before or behind a list.
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        if expr.op != BinaryOperator::StringConcat {
            return Ok(PlannerResult::Original(expr));
        }
        let (left, right) = (self.depth(&expr.left, schema)?, self.depth(&expr.right, schema)?);
        let (function, grows) = match (left, right) {
            (0, 0) => (&self.join_text, true),
            (left, right) if left == right => (&self.join_lists, true),
            (left, right) if left > right => (&self.append, false),
            _ => (&self.prepend, false),
        };
        // A chain is one call, which knows of all that is joined; each link for itself would find its left operand made already.
        Ok(PlannerResult::Planned(match expr.left {
            Expr::ScalarFunction(mut chain) if grows && chain.func == *function => {
                chain.args.push(expr.right);
                Expr::ScalarFunction(chain)
            }
            left => call(function, vec![left, expr.right]),
        }))
    }

    fn plan_array_literal(&self, exprs: Vec<Expr>, _schema: &DFSchema) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(call(&self.list, exprs)))
    }

    fn plan_make_map(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        if !args.len().is_multiple_of(2) {
            // DataFusion's planner says what is wrong.
            return Ok(PlannerResult::Original(args));
        }
        let (keys, values): (Vec<_>, Vec<_>) = args.into_iter().enumerate().partition(|(i, _)| i % 2 == 0);
        let list = |parts: Vec<(usize, Expr)>| call(&self.list, parts.into_iter().map(|(_, expr)| expr).collect());
        Ok(PlannerResult::Planned(call(&self.map, vec![list(keys), list(values)])))
    }

    fn plan_struct_literal(&self, args: Vec<Expr>, is_named_struct: bool) -> Result<PlannerResult<Vec<Expr>>> {
        let function = if is_named_struct { &self.named_structure } else { &self.structure };
        Ok(PlannerResult::Planned(call(function, args)))
    }

    fn plan_dictionary_literal(
        &self,
        expr: RawDictionaryExpr,
        _schema: &DFSchema,
    ) -> Result<PlannerResult<RawDictionaryExpr>> {
        let pairs = expr.keys.into_iter().zip(expr.values).flat_map(|(key, value)| [key, value]);
        Ok(PlannerResult::Planned(call(&self.named_structure, pairs.collect())))
    }
}
