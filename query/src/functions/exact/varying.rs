//! Which keys of ROLLUP, CUBE and GROUPING SETS are one value in all groups? None: a constant is NULL in the sets that it is not a key of, but DataFusion
//! still takes the column for that constant. It finds the groups of each partition in order then, gives them out early, and does not put them together.

use std::mem;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::utils::take_function_args;
use datafusion::common::{ScalarValue, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

static VARYING: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(Varying::new())));
static VARIES: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(Varies::new())));

/// The plan with keys of grouping sets that are no constants. To be called behind the optimizer, which would look for more that varies. All keys: the
/// column of a query in FROM, or a column that a filter leaves one value of, is a constant, too.
pub(super) fn with_varying_keys(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Aggregate(mut aggregate) if aggregate.group_expr.iter().any(is_of_sets) => {
            let keys = mem::take(&mut aggregate.group_expr).into_iter();
            aggregate.group_expr = keys.map(in_sets).collect::<Result<_>>()?;
            Ok(Transformed::yes(LogicalPlan::Aggregate(aggregate)))
        }
        other => Ok(Transformed::no(other)),
    })
    .data()
}

fn is_of_sets(key: &Expr) -> bool {
    matches!(key, Expr::GroupingSet(_))
}

fn in_sets(sets: Expr) -> Result<Expr> {
    if !is_of_sets(&sets) {
        return Ok(sets);
    }
    let names = NamePreserver::new_for_projection();
    sets.map_children(|key| {
        let name = names.save(&key);
        Ok(Transformed::yes(name.restore(varying(key))))
    })
    .data()
}

/// A call is a constant where all its arguments are, and one without arguments is none.
fn varying(key: Expr) -> Expr {
    let varies = Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&VARIES), Vec::new()));
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&VARYING), vec![key, varies]))
}

/// Gives its first argument.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Varying {
    signature: Signature,
}

impl Varying {
    fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Varying {
    /// As plans show it.
    fn name(&self) -> &str {
        "varying"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(arg_types.to_vec())
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types {
            [data_type, _] => Ok(data_type.clone()),
            _ => internal_err!("{} has two arguments", self.name()),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let [field, _] = take_function_args(self.name(), args.arg_fields)?;
        Ok(Arc::clone(field))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value, _] = take_function_args(self.name(), args.args)?;
        Ok(value)
    }
}

/// Nothing is known of what it gives, which nobody looks at.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Varies {
    signature: Signature,
}

impl Varies {
    fn new() -> Self {
        Self { signature: Signature::nullary(Volatility::Volatile) }
    }
}

impl ScalarUDFImpl for Varies {
    fn name(&self) -> &str {
        "varies"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(ScalarValue::Boolean(None)))
    }
}
