//! What is `x IN (SELECT y …)`, and what are ANY and ALL? True where a `y` fits, NULL where none does and one of them, or `x`, is NULL, else false; and
//! ALL is that of the opposite comparison, negated. DataFusion has the NULL of an IN that is a condition by itself, and of no other.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Exists, InList, InSubquery, SetComparison, SetQuantifier};
use datafusion::logical_expr::utils::disjunction;
use datafusion::logical_expr::{
    BinaryExpr, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator, Subquery, lit,
};
use tidewater_storage::{Code, Error};

use super::{copies, is_asking, rows};
use crate::error::to_datafusion;

/// What the column of a subquery is called, so that no other has the name.
const VALUE: &str = "__value";

/// `value op ANY (subquery)`, or the opposite of it.
pub(super) struct AnyOf {
    value: Expr,
    op: Operator,
    subquery: Subquery,
    is_negated: bool,
}

impl AnyOf {
    /// What is asked so. `None` for all else.
    pub fn of(expr: &Expr) -> Option<Self> {
        match expr {
            Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
                Some(Self::new(expr, Operator::Eq, subquery, *negated))
            }
            Expr::InList(InList { expr, list, negated }) => match list.as_slice() {
                [Expr::ScalarSubquery(subquery)] => Some(Self::new(expr, Operator::Eq, subquery, *negated)),
                _ => None,
            },
            Expr::SetComparison(SetComparison { expr, subquery, op, quantifier }) => {
                let opposite = op.negate()?;
                Some(match quantifier {
                    SetQuantifier::Any => Self::new(expr, *op, subquery, false),
                    SetQuantifier::All => Self::new(expr, opposite, subquery, true),
                })
            }
            Expr::Not(expr) => Self::of(expr).map(|any| Self { is_negated: !any.is_negated, ..any }),
            _ => None,
        }
    }

    fn new(value: &Expr, op: Operator, subquery: &Subquery, is_negated: bool) -> Self {
        Self { value: value.clone(), op, subquery: subquery.clone(), is_negated }
    }

    /// Whether DataFusion's own join answers it where it is a condition by itself. The one for NOT IN looks at the NULLs of all rows, and only if it has
    /// a key on either side.
    pub fn is_plain(&self) -> bool {
        self.op == Operator::Eq && (!self.is_negated || !self.is_correlated() && self.value.any_column_refs())
    }

    /// Whether its rows depend on the query around it.
    pub fn is_correlated(&self) -> bool {
        !self.subquery.outer_ref_columns.is_empty()
    }

    /// As a condition of which only the rows matter for which it is true: `is_alone`, or with others one of which is enough.
    pub fn where_true(self, is_alone: bool, schema: &DFSchema) -> Result<Expr> {
        if let Some(asked) = self.of_one()? {
            return Ok(asked);
        }
        if self.is_plain() && (is_alone || !self.is_negated) {
            // Among others a column of no table would be there twice.
            let subquery = match self.subquery.subquery.schema().qualified_field(0).0 {
                None if !is_alone => self.subquery.with_plan(Arc::new(given(&self.subquery)?)),
                _ => self.subquery,
            };
            return Ok(Expr::InSubquery(InSubquery::new(Box::new(self.value), subquery, self.is_negated)));
        }
        if self.is_negated && !is_alone {
            return self.exact(schema);
        }
        let given = self.given()?;
        let fits = self.fits(schema)?;
        if !self.is_negated {
            return rows::any(only(&given, fits)?);
        }
        // What is NULL does not fit, and is not known not to.
        let is_known = !self.gives_null() && !self.value.nullable(schema)?;
        let may_fit = if is_known { fits } else { fits.is_not_false() };
        Ok(Expr::Not(Box::new(rows::any(only(&given, may_fit)?)?)))
    }

    /// With its NULL.
    pub fn exact(self, schema: &DFSchema) -> Result<Expr> {
        if let Some(asked) = self.of_one()? {
            return Ok(asked);
        }
        copies::check_within(&self.subquery.subquery)?;
        let given = self.given()?;
        let fits = rows::any(only(&given, self.fits(schema)?)?)?;
        let any = match self.open(&given, schema)? {
            Some(open) => fits.or(open.and(lit(ScalarValue::Boolean(None)))),
            None => fits,
        };
        Ok(if self.is_negated { Expr::Not(Box::new(any)) } else { any })
    }

    /// Whether a NULL leaves it open where none fits. `None` where there is none.
    fn open(&self, given: &LogicalPlan, schema: &DFSchema) -> Result<Option<Expr>> {
        let null = Expr::Column(Column::from_name(VALUE));
        let is_null = self.value.clone().is_null();
        let (may_be_null, may_give_null) = (self.value.nullable(schema)?, self.gives_null());
        // What is the same for all rows is read once for both questions. Of others the highest is not always a join.
        if may_be_null && may_give_null && !self.is_correlated() {
            return rows::any_or_null(given.clone(), null, is_null).map(Some);
        }
        let mut open = Vec::new();
        if may_be_null {
            open.push(is_null.and(rows::any(given.clone())?));
        }
        if may_give_null {
            open.push(rows::any(only(given, null.is_null())?)?);
        }
        Ok(disjunction(open))
    }

    /// As a comparison, where there is one row for each of the query around, also where the subquery chooses none for it, or HAVING leaves it out.
    fn of_one(&self) -> Result<Option<Expr>> {
        let (left, given) = match rows::value_left(&self.subquery)? {
            Some(given) => (rows::left_by_having(&Exists::new(self.subquery.clone(), false))?, given),
            None if self.is_correlated() && rows::is_one(&self.subquery.subquery) => (None, self.subquery.clone()),
            None => return Ok(None),
        };
        let given = Box::new(Expr::ScalarSubquery(given));
        let compared = Expr::BinaryExpr(BinaryExpr::new(Box::new(self.value.clone()), self.op, given));
        let any = match left {
            Some(left) => left.and(compared),
            None => compared,
        };
        Ok(Some(if self.is_negated { Expr::Not(Box::new(any)) } else { any }))
    }

    fn gives_null(&self) -> bool {
        self.subquery.subquery.schema().field(0).is_nullable()
    }

    /// The rows of the subquery with the one column that it gives.
    fn given(&self) -> Result<LogicalPlan> {
        if !may_ask(&self.value) {
            return Err(to_datafusion(refused()));
        }
        given(&self.subquery)
    }

    /// Whether a row fits, as the subquery sees it.
    fn fits(&self, schema: &DFSchema) -> Result<Expr> {
        let value = Box::new(of_outer(self.value.clone(), schema)?);
        Ok(Expr::BinaryExpr(BinaryExpr::new(value, self.op, Box::new(Expr::Column(Column::from_name(VALUE))))))
    }
}

fn given(subquery: &Subquery) -> Result<LogicalPlan> {
    let plan = &subquery.subquery;
    let value = Expr::Column(Column::from(plan.schema().qualified_field(0))).alias(VALUE);
    LogicalPlanBuilder::from(LogicalPlan::clone(plan)).project([value])?.build()
}

fn only(rows: &LogicalPlan, condition: Expr) -> Result<LogicalPlan> {
    LogicalPlanBuilder::from(rows.clone()).filter(condition)?.build()
}

/// Whether a value can be asked about within a subquery of its own: it is of this query alone, and is the same each time.
fn may_ask(value: &Expr) -> bool {
    let is_beyond = |expr: &Expr| match expr {
        Expr::ScalarSubquery(subquery) => !subquery.outer_ref_columns.is_empty(),
        Expr::OuterReferenceColumn(..) => true,
        expr => is_asking(expr) || expr.is_volatile_node(),
    };
    value.exists(|expr| Ok(is_beyond(expr))).is_ok_and(|found| !found)
}

fn refused() -> Error {
    let what = "IN, ANY or ALL of a subquery is not supported in this place for a value that is random, is of the query around, or has a \
                subquery in it";
    Error::new(Code::UnsupportedStatement, what)
        .hint("select the value in a WITH or a query in FROM, and compare its column")
}

/// The value as a subquery names it.
fn of_outer(value: Expr, schema: &DFSchema) -> Result<Expr> {
    value
        .transform(|expr| match expr {
            Expr::Column(column) => {
                let field = Arc::clone(schema.qualified_field_from_column(&column)?.1);
                Ok(Transformed::yes(Expr::OuterReferenceColumn(field, column)))
            }
            other => Ok(Transformed::no(other)),
        })
        .data()
}
