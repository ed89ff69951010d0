//! How is a time compared with text? As fine as the time, in microseconds. DataFusion makes nanoseconds of both, which end in 2262 and begin
//! in 1677.

use std::{iter, mem};

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::DFSchema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, cast};
use datafusion::optimizer::AnalyzerRule;

/// Reads text that is compared with a time as such a time. It runs in front of type coercion, which would find another type for both.
#[derive(Debug)]
pub(crate) struct TextAsTime;

impl AnalyzerRule for TextAsTime {
    fn name(&self) -> &str {
        "text_as_time"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(read_plan).data()
    }
}

fn read_plan(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let mut compares = false;
    plan.apply_expressions(|expr| {
        compares |= expr.exists(|expr| Ok(compares_text(expr)))?;
        Ok(if compares { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    if !compares {
        return Ok(Transformed::no(plan));
    }
    let mut schema = merge_schema(&plan.inputs());
    if let LogicalPlan::TableScan(scan) = &plan {
        schema.merge(&DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?);
    }
    let names = NamePreserver::new(&plan);
    let read = plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let read = expr.transform_up(|expr| Ok(read(expr, &schema)))?;
        Ok(if read.transformed { read.update_data(|expr| name.restore(expr)) } else { read })
    })?;
    if read.transformed { read.map_data(LogicalPlan::recompute_schema) } else { Ok(read) }
}

fn compares_text(expr: &Expr) -> bool {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => is_comparison(*op) && (is_text(left) || is_text(right)),
        Expr::Between(Between { expr, low, high, .. }) => is_text(expr) || is_text(low) || is_text(high),
        Expr::InList(InList { list, .. }) => list.iter().any(is_text),
        _ => false,
    }
}

fn read(mut expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let is_read = match &mut expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(*op) => {
            read_texts(left, iter::once(&mut **right), schema) || read_texts(right, iter::once(&mut **left), schema)
        }
        Expr::Between(Between { expr, low, high, .. }) => {
            read_texts(expr, [&mut **low, &mut **high].into_iter(), schema)
                || read_texts(low, iter::once(&mut **expr), schema)
        }
        Expr::InList(InList { expr, list, .. }) => read_texts(expr, list.iter_mut(), schema),
        _ => false,
    };
    if is_read { Transformed::yes(expr) } else { Transformed::no(expr) }
}

/// Reads those that are text, if they are compared with a time. Whether there are any.
fn read_texts<'a>(time: &Expr, others: impl Iterator<Item = &'a mut Expr>, schema: &DFSchema) -> bool {
    let mut texts = others.filter(|other| is_text(other)).peekable();
    if texts.peek().is_none() {
        return false;
    }
    let Ok(data_type @ DataType::Timestamp(TimeUnit::Microsecond, _)) = time.get_type(schema) else { return false };
    texts.for_each(|text| *text = cast(mem::take(text), data_type.clone()));
    true
}

fn is_comparison(op: Operator) -> bool {
    use Operator as Op;
    matches!(
        op,
        Op::Eq | Op::NotEq | Op::Lt | Op::LtEq | Op::Gt | Op::GtEq | Op::IsDistinctFrom | Op::IsNotDistinctFrom
    )
}

fn is_text(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(value, _) if value.data_type().is_string() && !value.is_null())
}
