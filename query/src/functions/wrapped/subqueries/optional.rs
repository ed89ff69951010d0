//! When is a subquery that gives a value NULL? Also where it has no row, whatever its column says. DataFusion asks the column: for one that is NOT NULL
//! `(SELECT id FROM t WHERE …) IS NULL` was false for each row, and `coalesce` of it never took what stands behind.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, LogicalPlanBuilder, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Subquery, Volatility,
};

use super::rows::is_one;
use crate::rules::holds;

/// One for all calls.
static OPTIONAL: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(Optional::new())));

/// The plan with such values that may be NULL, and what is computed from them.
pub(super) fn read(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut is_found = false;
    plan.apply_with_subqueries(|node| {
        is_found |= holds(node, is_optional)?;
        Ok(if is_found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    if !is_found {
        return Ok(plan);
    }
    plan.transform_up_with_subqueries(|node| {
        let node = node.map_expressions(|expr| expr.transform_up(with_null))?.data;
        node.recompute_schema().map(Transformed::yes)
    })
    .data()
}

fn is_optional(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarSubquery(subquery) if may_be_none(&subquery.subquery))
}

fn may_be_none(plan: &LogicalPlan) -> bool {
    !is_one(plan) && !plan.schema().field(0).is_nullable()
}

fn with_null(expr: Expr) -> Result<Transformed<Expr>> {
    let subquery = match expr {
        Expr::ScalarSubquery(subquery) if may_be_none(&subquery.subquery) => subquery,
        other => return Ok(Transformed::no(other)),
    };
    let plan = LogicalPlan::clone(&subquery.subquery);
    let name = plan.schema().field(0).name().clone();
    let column = Expr::Column(Column::from(plan.schema().qualified_field(0)));
    let value = call(vec![column]).alias(name);
    let plan = LogicalPlanBuilder::from(plan).project([value])?.build()?;
    Ok(Transformed::yes(Expr::ScalarSubquery(Subquery { subquery: Arc::new(plan), ..subquery })))
}

/// The value, as if it were computed from another one.
pub(super) fn beside(value: Expr, other: Expr) -> Expr {
    call(vec![value, other])
}

fn call(args: Vec<Expr>) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&OPTIONAL), args))
}

/// Gives its first argument, which alone may be NULL for all that is known.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Optional {
    signature: Signature,
}

/// As plans show it.
const NAME: &str = "optional";

impl Optional {
    fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Optional {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(arg_types.to_vec())
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types {
            [data_type] | [data_type, _] => Ok(data_type.clone()),
            _ => internal_err!("{NAME} has one argument or two"),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        match args.arg_fields {
            [field] => Ok(Arc::new(Field::clone(field).with_nullable(true))),
            [field, _] => Ok(Arc::clone(field)),
            _ => internal_err!("{NAME} has one argument or two"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.into_iter().next() {
            Some(value) => Ok(value),
            None => internal_err!("{NAME} has one argument or two"),
        }
    }
}
