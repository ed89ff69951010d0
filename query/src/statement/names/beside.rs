//! What is planned where `*` and another column, or two `*`, have columns of one name? The planner refuses them. There the first `*` stays, and
//! all others are columns with names of their own, which the client is not told. The same holds for both sides of a UNION, INTERSECT or EXCEPT, which
//! are of columns by their places: the planner looks for the places by names.

use std::collections::{HashMap, HashSet};
use std::mem;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, OrderByKind, Query, Select, SelectItem, SetExpr, SetQuantifier, Statement as Sql, Value,
};

use super::answers::rename;
use super::{Announced, fold};
use crate::statement::parse::{sql_of, sql_of_mut};

/// The names of a column: those of its table, if it has one, and its own.
type ColumnParts = Vec<String>;

/// A query, or an EXPLAIN of one, that may select two columns of one name beside a `*`, or with one on a side of a UNION or the like.
pub(crate) struct Beside {
    statement: Statement,
    announced: Announced,
    /// It is a UNION or the like. There a `*` alone may have two columns of one name, of two tables, and all are written out.
    is_of_several: bool,
}

impl Beside {
    /// `None` for a query that has one name once beside a `*`, or no `*`. `announced` are the names that are known already.
    pub(crate) fn of(statement: &Statement, announced: &Announced) -> Option<Self> {
        let body = &query(statement)?.body;
        let is_of_several = is_of_several(body);
        let may_repeat = selects(body).into_iter().any(|select| may_repeat(select, is_of_several));
        may_repeat.then(|| Self { statement: statement.clone(), announced: announced.clone(), is_of_several })
    }

    /// Whether it is a UNION or the like: the planner finds one column for another of its name there, or says late that there are two.
    pub(crate) fn is_of_several(&self) -> bool {
        self.is_of_several
    }

    /// For each `*` that is written out a query that has its columns, behind one more: some have none.
    pub(crate) fn wildcards(&self) -> Vec<Statement> {
        let Some(query) = query(&self.statement) else { return Vec::new() };
        let alone = |select: &Select, item: &SelectItem| {
            let one = SelectItem::ExprWithAlias { expr: Expr::value(Value::Null), alias: Ident::with_quote('"', "*") };
            let select = Select { projection: vec![one, item.clone()], distinct: None, ..select.clone() };
            let body = Box::new(SetExpr::Select(Box::new(select)));
            let query = Query { body, order_by: None, limit_clause: None, fetch: None, ..query.clone() };
            Statement::Statement(Box::new(Sql::Query(Box::new(query))))
        };
        let mut wildcards = Vec::new();
        let n_kept = usize::from(!self.is_of_several);
        for select in selects(&query.body).into_iter().filter(|select| may_repeat(select, self.is_of_several)) {
            let items = select.projection.iter().filter(|item| is_wildcard(item)).skip(n_kept);
            wildcards.extend(items.map(|item| alone(select, item)));
        }
        wildcards
    }

    /// The query without two columns of one name, and how its columns are called. `columns` are those of [`Self::wildcards`].
    pub(crate) fn apart(mut self, columns: Vec<Vec<ColumnParts>>) -> (Statement, Announced) {
        let is_explain = matches!(self.statement, Statement::Explain(_));
        let is_of_several = self.is_of_several;
        let mut announced = self.announced.clone();
        if let Some(query) = query_mut(&mut self.statement) {
            let mut columns = columns.into_iter();
            let mut of_answer = None;
            for (i, select) in selects_mut(&mut query.body).into_iter().enumerate() {
                if !may_repeat(select, is_of_several) {
                    continue;
                }
                let written = rename(&mut select.projection, &|is_taken| is_taken || !is_of_several);
                let mut renamed = written.clone();
                let taken = is_of_several.then(|| names(&select.projection));
                for name in taken.iter().flatten() {
                    renamed.entry(name.clone()).or_insert_with(|| name.clone());
                }
                let items = mem::take(&mut select.projection);
                select.projection = written_out(items, taken, &mut columns, &mut renamed);
                if i == 0 {
                    // The first SELECT names the columns of the answer.
                    of_answer = Some((written, renamed));
                }
            }
            if let Some((written, renamed)) = of_answer {
                if !is_of_several {
                    order_by(query, &written);
                }
                announced = self.announced.with(renamed);
            }
        }
        // The columns of an EXPLAIN are those of the plan's text.
        (self.statement, if is_explain { Announced::default() } else { announced })
    }
}

/// The names of the columns that are no `*`.
fn names(items: &[SelectItem]) -> HashSet<String> {
    rename(&mut items.to_vec(), &|_| true).into_values().collect()
}

/// The columns of every `*` behind the first in its place, each under a name of its own. With `taken` names of other columns also those of the first,
/// and those that are the first of their name keep it: in a UNION they have no other one in ORDER BY.
fn written_out(
    items: Vec<SelectItem>,
    mut taken: Option<HashSet<String>>,
    columns: &mut impl Iterator<Item = Vec<ColumnParts>>,
    renamed: &mut HashMap<String, String>,
) -> Vec<SelectItem> {
    let mut keeps_next = taken.is_none();
    let mut written = Vec::with_capacity(items.len());
    for item in items {
        if !is_wildcard(&item) || mem::take(&mut keeps_next) {
            written.push(item);
            continue;
        }
        for parts in columns.next().unwrap_or_default() {
            let Some(name) = parts.last().cloned() else { continue };
            let expr = column(parts);
            if taken.as_mut().is_some_and(|taken| taken.insert(name.clone())) {
                written.push(SelectItem::UnnamedExpr(expr));
                continue;
            }
            let planned = format!("{name}*{}", written.len());
            written.push(SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', planned.clone()) });
            renamed.insert(planned, name);
        }
    }
    written
}

fn column(parts: ColumnParts) -> Expr {
    let mut parts: Vec<Ident> = parts.into_iter().map(|part| Ident::with_quote('"', part)).collect();
    match (parts.len(), parts.pop()) {
        (1, Some(only)) => Expr::Identifier(only),
        (_, last) => Expr::CompoundIdentifier(parts.into_iter().chain(last).collect()),
    }
}

/// ORDER BY of a renamed column, by its new name.
fn order_by(query: &mut Query, renamed: &HashMap<String, String>) {
    let planned: HashMap<&str, &str> =
        renamed.iter().map(|(planned, name)| (name.as_str(), planned.as_str())).collect();
    let Some(order_by) = &mut query.order_by else { return };
    let OrderByKind::Expressions(keys) = &mut order_by.kind else { return };
    for key in keys {
        if let Expr::Identifier(ident) = &mut key.expr
            && let Some(planned) = planned.get(fold(ident).as_str())
        {
            *ident = Ident::with_quote('"', *planned);
        }
    }
}

fn is_wildcard(item: &SelectItem) -> bool {
    matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(_, _))
}

fn query(statement: &Statement) -> Option<&Query> {
    match sql_of(statement)? {
        Sql::Query(query) => Some(query),
        _ => None,
    }
}

fn query_mut(statement: &mut Statement) -> Option<&mut Query> {
    match sql_of_mut(statement)? {
        Sql::Query(query) => Some(query),
        _ => None,
    }
}

/// Whether a SELECT has a `*`, and other columns that may be called like those of it; of several SELECTs also a `*` alone is one.
fn may_repeat(select: &Select, is_of_several: bool) -> bool {
    (is_of_several || select.projection.len() > 1) && select.projection.iter().any(is_wildcard)
}

/// Whether it is a UNION or the like, of columns by their places.
fn is_of_several(body: &SetExpr) -> bool {
    match body {
        SetExpr::Query(query) if is_plain(query) => is_of_several(&query.body),
        SetExpr::SetOperation { set_quantifier, .. } => !is_by_name(*set_quantifier),
        _ => false,
    }
}

/// The SELECTs of which a query consists, from left to right. Where names say what belongs together, and where a part has an order of its own,
/// there are none.
fn selects(body: &SetExpr) -> Vec<&Select> {
    match body {
        SetExpr::Select(select) => vec![&**select],
        SetExpr::Query(query) if is_plain(query) => selects(&query.body),
        SetExpr::SetOperation { left, right, set_quantifier, .. } if !is_by_name(*set_quantifier) => {
            selects(left).into_iter().chain(selects(right)).collect()
        }
        _ => Vec::new(),
    }
}

fn selects_mut(body: &mut SetExpr) -> Vec<&mut Select> {
    match body {
        SetExpr::Select(select) => vec![&mut **select],
        SetExpr::Query(query) if is_plain(query) => selects_mut(&mut query.body),
        SetExpr::SetOperation { left, right, set_quantifier, .. } if !is_by_name(*set_quantifier) => {
            selects_mut(left).into_iter().chain(selects_mut(right)).collect()
        }
        _ => Vec::new(),
    }
}

fn is_plain(query: &Query) -> bool {
    query.with.is_none() && query.order_by.is_none()
}

/// Whether a UNION joins columns by their names, and not by their places.
pub(in crate::statement) fn is_by_name(quantifier: SetQuantifier) -> bool {
    matches!(quantifier, SetQuantifier::ByName | SetQuantifier::AllByName | SetQuantifier::DistinctByName)
}
