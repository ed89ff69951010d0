//! How are the columns of an answer called? As the statement writes them, and two may be called the same. The planner wants names that
//! differ: there the second has another name than the client is told.

use std::collections::{HashMap, HashSet};
use std::fmt::{self, Write};
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, Ident, ObjectNamePart, OrderByKind, Query, Select, SelectItem, SetExpr, Statement as Sql,
    TableAlias, TableFactor, TableWithJoins, VisitMut, VisitorMut,
};

use super::calls::is_call;
use super::fold;

/// A longer text is cut: it is a name, and clients write it into statements of their own.
const MAX_NAME_CHARS: usize = 120;

/// How the columns of an answer are called that have another name in its plan: by that name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Announced(HashMap<String, String>);

impl Announced {
    /// The schema of the plan with the names that the client is told.
    pub(crate) fn of(&self, schema: SchemaRef) -> SchemaRef {
        if self.0.is_empty() {
            return schema;
        }
        let fields = schema.fields().iter().map(|field| match self.0.get(field.name()) {
            Some(name) => Arc::new(Field::clone(field).with_name(name)),
            None => Arc::clone(field),
        });
        Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone()))
    }

    /// The same names, and those of columns that the plan calls `planned` and the client another name.
    pub(super) fn with(&self, planned: HashMap<String, String>) -> Self {
        let told = |name: String| self.0.get(&name).cloned().unwrap_or(name);
        Self(planned.into_iter().map(|(planned, name)| (planned, told(name))).collect())
    }
}

/// Gives each expression without a name its text as one, in every query whose columns are named from outside it. Of an answer the columns
/// are told apart, too; elsewhere the planner refuses two of one name. To be called while the statement is as it was written.
pub(in crate::statement) fn name_columns(statement: &mut Statement, is_answer: bool) -> Announced {
    match statement {
        Statement::Statement(sql) => name_in(sql, is_answer),
        Statement::Explain(explain) => {
            name_columns(&mut explain.statement, is_answer);
            Announced::default()
        }
        _ => Announced::default(),
    }
}

fn name_in(sql: &mut Sql, is_answer: bool) -> Announced {
    let mut announced = Announced::default();
    match sql {
        Sql::Query(query) => {
            name_body(&mut query.body, is_answer);
            if is_answer {
                announced = Announced(tell_apart(&mut query.body));
            }
            sort_by_names(query);
        }
        Sql::CreateView(view) => name_query(&mut view.query),
        Sql::CreateTable(create) => match &mut create.query {
            // Its columns are listed: what it selects goes by its place.
            Some(query) if !create.columns.is_empty() => drop(tell_apart(&mut query.body)),
            Some(query) => name_query(query),
            None => {}
        },
        // What it selects goes by its place.
        Sql::Insert(insert) => {
            if let Some(query) = &mut insert.source {
                tell_apart(&mut query.body);
            }
        }
        _ => {}
    }
    let _: ControlFlow<()> = VisitMut::visit(sql, &mut NameParts);
    announced
}

/// Names the columns of what stands in FROM and in WITH. Queries within expressions have no names that anybody could use.
struct NameParts;

impl NameParts {
    fn name(query: &mut Query, alias: Option<&TableAlias>) {
        if alias.is_some_and(|alias| !alias.columns.is_empty()) {
            tell_apart(&mut query.body);
            sort_by_names(query);
        } else {
            name_query(query);
        }
    }
}

impl VisitorMut for NameParts {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if let Some(with) = &mut query.with {
            with.cte_tables.iter_mut().for_each(|cte| Self::name(&mut cte.query, Some(&cte.alias)));
        }
        // Also of those in parentheses, beside a UNION or alone.
        sort_by_names(query);
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        // Beside another one a query without an alias keeps the planner's names, which say the tables and so differ.
        if let [TableWithJoins { relation: TableFactor::Derived { subquery, alias: None, .. }, joins }] =
            select.from.as_mut_slice()
            && joins.is_empty()
        {
            Self::name(subquery, None);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Derived { subquery, alias: Some(alias), .. } = factor {
            Self::name(subquery, Some(alias));
        }
        ControlFlow::Continue(())
    }
}

fn name_query(query: &mut Query) {
    name_body(&mut query.body, false);
    sort_by_names(query);
}

/// `may_repeat`: what has the same name is told apart afterwards.
fn name_body(body: &mut SetExpr, may_repeat: bool) {
    match body {
        SetExpr::Select(select) => name_items(&mut select.projection, may_repeat),
        SetExpr::Query(query) => name_body(&mut query.body, may_repeat),
        SetExpr::SetOperation { left, right, .. } => {
            name_body(left, may_repeat);
            name_body(right, may_repeat);
        }
        _ => {}
    }
}

fn name_items(items: &mut [SelectItem], may_repeat: bool) {
    let mut times: HashMap<String, usize> = HashMap::new();
    for name in items.iter().filter_map(name_of) {
        *times.entry(name).or_default() += 1;
    }
    for item in items {
        let SelectItem::UnnamedExpr(expr) = item else { continue };
        let alias = match column(expr) {
            Some([name]) if is_call(name) => name.clone(),
            // It has its name.
            Some([_]) => continue,
            // This may be a field of a struct, which the planner calls otherwise. A column keeps its name under the same one.
            Some([.., last]) if times.get(&fold(last)) == Some(&1) => last.clone(),
            Some(_) => continue,
            None => {
                let (name, is_cut) = text_of(expr);
                if is_cut && !may_repeat && times.get(&name) != Some(&1) {
                    // The texts may differ behind the cut.
                    continue;
                }
                Ident::with_quote('"', name)
            }
        };
        *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
    }
}

/// Gives columns whose name is taken other names, on both sides of a UNION. Returns the true names by those of the first SELECT, which
/// names the result.
fn tell_apart(body: &mut SetExpr) -> HashMap<String, String> {
    match body {
        SetExpr::Select(select) => rename(&mut select.projection, &|is_taken| is_taken),
        SetExpr::Query(query) => tell_apart(&mut query.body),
        SetExpr::SetOperation { left, right, .. } => {
            tell_apart(right);
            tell_apart(left)
        }
        _ => HashMap::new(),
    }
}

/// Renames those columns of which `is_wanted` says so, told whether one before has the name. The true names by the new ones.
pub(super) fn rename(items: &mut [SelectItem], is_wanted: &dyn Fn(bool) -> bool) -> HashMap<String, String> {
    let mut taken: HashSet<String> = items.iter().filter_map(name_of).collect();
    let mut times: HashMap<String, usize> = HashMap::new();
    let mut renamed = HashMap::new();
    for item in items {
        let Some(name) = name_of(item) else { continue };
        let n = times.entry(name.clone()).or_default();
        *n += 1;
        if !is_wanted(*n > 1) {
            continue;
        }
        let planned = loop {
            let planned = format!("{name}:{n}");
            if taken.insert(planned.clone()) {
                break planned;
            }
            *n += 1;
        };
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else { continue };
        *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: Ident::with_quote('"', planned.clone()) };
        renamed.insert(planned, name);
    }
    renamed
}

/// ORDER BY of an expression that SELECT DISTINCT has, by its name: the planner looks there for names only.
fn sort_by_names(query: &mut Query) {
    let Query { body, order_by: Some(order_by), .. } = query else { return };
    let (SetExpr::Select(select), OrderByKind::Expressions(keys)) = (&**body, &mut order_by.kind) else { return };
    if select.distinct != Some(Distinct::Distinct) {
        return;
    }
    let names: HashSet<String> = select.projection.iter().filter_map(name_of).collect();
    let expressions: Vec<(Expr, &Ident)> = select
        .projection
        .iter()
        .filter_map(|item| match item {
            SelectItem::ExprWithAlias { expr, alias } => Some((folded(expr), alias)),
            _ => None,
        })
        .collect();
    for key in keys {
        // A name means a column of the answer first, which may be computed from others than the one of the table.
        if matches!(&key.expr, Expr::Identifier(ident) if names.contains(&fold(ident))) {
            continue;
        }
        let wanted = folded(&key.expr);
        if let Some((_, alias)) = expressions.iter().find(|(expr, _)| *expr == wanted) {
            key.expr = Expr::Identifier((*alias).clone());
        }
    }
}

/// The expression with its names as the planner reads them: those without quotes in small letters.
fn folded(expr: &Expr) -> Expr {
    let mut expr = expr.clone();
    let _: ControlFlow<()> = VisitMut::visit(&mut expr, &mut FoldNames);
    expr
}

struct FoldNames;

impl VisitorMut for FoldNames {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let fold_name = |name: &mut Ident| *name = Ident::with_quote('"', fold(name));
        match expr {
            Expr::Identifier(name) => fold_name(name),
            Expr::CompoundIdentifier(parts) => parts.iter_mut().for_each(fold_name),
            Expr::Function(function) => {
                for part in &mut function.name.0 {
                    if let ObjectNamePart::Identifier(name) = part {
                        fold_name(name);
                    }
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// What the planner calls a column, and the client. `None` for wildcards.
fn name_of(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(fold(alias)),
        SelectItem::UnnamedExpr(expr) => Some(match column(expr) {
            Some([.., last]) => fold(last),
            _ => text_of(expr).0,
        }),
        _ => None,
    }
}

/// The parts of a column's name, if the expression is nothing but that.
fn column(expr: &Expr) -> Option<&[Ident]> {
    match expr {
        Expr::Identifier(ident) => Some(std::slice::from_ref(ident)),
        Expr::CompoundIdentifier(parts) => Some(parts),
        Expr::Nested(inner) => column(inner),
        _ => None,
    }
}

/// The text of an expression, and whether it was cut.
fn text_of(expr: &Expr) -> (String, bool) {
    let mut beginning = Beginning { text: String::new(), left: MAX_NAME_CHARS };
    let is_cut = write!(beginning, "{expr}").is_err();
    let mut text = beginning.text;
    if is_cut {
        text.pop();
        text.push('…');
    }
    (text, is_cut)
}

/// The first characters of what is written. A subquery may be long, and all of it is not asked for.
struct Beginning {
    text: String,
    left: usize,
}

impl Write for Beginning {
    fn write_str(&mut self, written: &str) -> fmt::Result {
        for c in written.chars() {
            self.left = self.left.checked_sub(1).ok_or(fmt::Error)?;
            self.text.push(c);
        }
        Ok(())
    }
}
