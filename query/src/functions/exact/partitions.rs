//! In which order do the rows of `OVER (PARTITION BY a % 2 > 0)` come to the window? In that of a column that is computed below it. DataFusion gets
//! the bounds of such a comparison wrong, then knows nothing of the order that it has just sorted by, and fails.

use std::mem;

use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, LogicalPlanBuilder, Window};

/// The plan with windows that are partitioned and ordered by columns, where that was by comparisons. To be called behind the optimizer, which would
/// put the two together again.
pub(super) fn with_key_columns(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Window(window) if has_comparisons(&window)? => over_columns(window).map(Transformed::yes),
        other => Ok(Transformed::no(other)),
    })
    .data()
}

fn has_comparisons(window: &Window) -> Result<bool> {
    let mut found = false;
    for expr in &window.window_expr {
        expr.apply(|expr| {
            if let Expr::WindowFunction(call) = expr {
                let order = call.params.order_by.iter().map(|sort| &sort.expr);
                found |= call.params.partition_by.iter().chain(order).any(compares);
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    Ok(found)
}

fn compares(key: &Expr) -> bool {
    let is_comparison = |expr: &Expr| match expr {
        Expr::BinaryExpr(BinaryExpr { op, .. }) => op.supports_propagation() || op.is_logic_operator(),
        // What windows have in common is a column already, under another name in each: it is not taken for the same.
        expr => matches!(expr, Expr::Between(_) | Expr::InList(_) | Expr::Case(_) | Expr::Alias(_)),
    };
    key.exists(|expr| Ok(is_comparison(expr))).is_ok_and(|found| found)
}

fn over_columns(window: Window) -> Result<LogicalPlan> {
    let Window { input, window_expr, schema } = window;
    let mut keys = Keys(Vec::new());
    let names = NamePreserver::new_for_projection();
    let window_expr = window_expr.into_iter().map(|expr| {
        let name = names.save(&expr);
        Ok(name.restore(expr.transform_down(|expr| Ok(keys.taken(expr))).data()?))
    });
    let window_expr = window_expr.collect::<Result<Vec<_>>>()?;
    let computed = keys.0.into_iter().map(|(key, name)| key.alias(name));
    let below: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).chain(computed).collect();
    let below = LogicalPlanBuilder::from(input).project(below)?.build()?;
    let over = LogicalPlan::Window(Window::try_new(window_expr, below.into())?);
    LogicalPlanBuilder::from(over).project(schema.columns().into_iter().map(Expr::Column))?.build()
}

/// What is computed below a window, with its names.
struct Keys(Vec<(Expr, String)>);

impl Keys {
    fn taken(&mut self, expr: Expr) -> Transformed<Expr> {
        let Expr::WindowFunction(mut call) = expr else { return Transformed::no(expr) };
        let order = call.params.order_by.iter_mut().map(|sort| &mut sort.expr);
        for key in call.params.partition_by.iter_mut().chain(order).filter(|key| compares(key)) {
            *key = match mem::take(key).unalias() {
                column @ Expr::Column(_) => column,
                key => self.column(key),
            };
        }
        Transformed::yes(Expr::WindowFunction(call))
    }

    fn column(&mut self, key: Expr) -> Expr {
        let i = self.0.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
            self.0.push((key, format!("__window_key_{}", self.0.len())));
            self.0.len() - 1
        });
        Expr::Column(Column::new_unqualified(&self.0[i].1))
    }
}
