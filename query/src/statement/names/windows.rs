//! Which window does a name mean? One of WINDOW in the same SELECT: `OVER w` is all of it, `OVER (w …)` is of the same rows in the same order, with
//! what else is written. The planner reads the first of these where a column is computed, and of the second what else is written alone.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Expr, Function, Ident, NamedWindowDefinition, NamedWindowExpr, Query, Select, SetExpr, VisitMut, VisitorMut,
    WindowSpec, WindowType,
};
use tidewater_storage::{Code, Error, Result};

use super::fold;
use crate::error::{OrError, or_break};
use crate::statement::measure::Copies;
use crate::statement::parse::sql_of_mut;

/// Writes the windows in the place of their names. `INVALID_STATEMENT` for a name that none has, or what its window does not allow;
/// `STATEMENT_TOO_COMPLEX` where they are written out too often.
pub(in crate::statement) fn settle_named_windows(statement: &mut Statement) -> Result<()> {
    let mut windows = Windows { scopes: Vec::new(), copies: Copies::new() };
    sql_of_mut(statement).map_or(Ok(()), |sql| sql.visit(&mut windows).or_error())
}

/// Windows by their folded names.
type Named = Vec<(String, WindowSpec)>;

struct Windows {
    /// Of the queries and SELECTs around, the innermost last: it alone counts.
    scopes: Vec<Named>,
    copies: Copies,
}

impl VisitorMut for Windows {
    type Break = Box<Error>;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Box<Error>> {
        // For ORDER BY, which stands outside of the SELECT.
        let named = match &*query.body {
            SetExpr::Select(select) => or_break(self.named(select))?,
            _ => Named::new(),
        };
        self.scopes.push(named);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<Box<Error>> {
        self.scopes.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Box<Error>> {
        let named = or_break(self.named(select))?;
        self.scopes.push(named);
        select.named_window.clear();
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _select: &mut Select) -> ControlFlow<Box<Error>> {
        self.scopes.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Box<Error>> {
        let Expr::Function(Function { over: Some(over), .. }) = expr else { return ControlFlow::Continue(()) };
        or_break(self.settle(over))
    }
}

impl Windows {
    fn settle(&mut self, over: &mut WindowType) -> Result<()> {
        let known = self.scopes.last().map_or(&[][..], Vec::as_slice);
        let written = match over {
            WindowType::NamedWindow(name) => copy(find(known, name)?, &mut self.copies)?,
            WindowType::WindowSpec(spec) if spec.window_name.is_some() => extended(spec, known, &mut self.copies)?,
            WindowType::WindowSpec(_) => return Ok(()),
        };
        *over = WindowType::WindowSpec(written);
        Ok(())
    }

    /// The windows of a SELECT, each of which may name those before it.
    fn named(&mut self, select: &Select) -> Result<Named> {
        let mut known = Named::new();
        for NamedWindowDefinition(name, window) in &select.named_window {
            if known.iter().any(|(other, _)| *other == fold(name)) {
                return Err(Error::new(Code::InvalidStatement, format!("WINDOW has two windows '{name}'"))
                    .hint("give each a name of its own"));
            }
            let spec = match window {
                NamedWindowExpr::NamedWindow(other) => copy(find(&known, other)?, &mut self.copies)?,
                NamedWindowExpr::WindowSpec(spec) => extended(spec, &known, &mut self.copies)?,
            };
            known.push((fold(name), spec));
        }
        Ok(known)
    }
}

fn find<'a>(known: &'a [(String, WindowSpec)], name: &Ident) -> Result<&'a WindowSpec> {
    let wanted = fold(name);
    let found = known.iter().find(|(name, _)| *name == wanted);
    found.map(|(_, spec)| spec).ok_or_else(|| {
        Error::new(Code::InvalidStatement, format!("there is no window '{name}' here"))
            .hint("define it in WINDOW of the same SELECT, before it is named there")
    })
}

fn copy(spec: &WindowSpec, copies: &mut Copies) -> Result<WindowSpec> {
    copies.count(spec)?;
    Ok(spec.clone())
}

/// `spec` with what the window has that it names, if it names one.
fn extended(spec: &WindowSpec, known: &[(String, WindowSpec)], copies: &mut Copies) -> Result<WindowSpec> {
    let Some(name) = &spec.window_name else { return Ok(spec.clone()) };
    let named = find(known, name)?;
    let refuse = |problem: &str, hint: &'static str| {
        Err(Error::new(Code::InvalidStatement, format!("(… {name} …) of a window {problem}")).hint(hint))
    };
    if !spec.partition_by.is_empty() {
        return refuse("has a PARTITION BY of its own", "leave it out: it is that of the window that is named");
    }
    if !spec.order_by.is_empty() && !named.order_by.is_empty() {
        return refuse("has an ORDER BY, as the window that is named has", "leave one of them out");
    }
    if named.window_frame.is_some() {
        return refuse("names a window that has a frame", "write OVER and the name without parentheses for all of it");
    }
    let mut written = copy(named, copies)?;
    if written.order_by.is_empty() {
        written.order_by.clone_from(&spec.order_by);
    }
    written.window_frame.clone_from(&spec.window_frame);
    Ok(written)
}
