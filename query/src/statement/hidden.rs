//! How do `_commit_seq` and `_ingested_at` stay out of `SELECT *`? Tables show them only to statements that name one, and there every
//! wildcard is rewritten to leave them out.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    ExcludeSelectItem, Ident, Join, JoinConstraint, JoinOperator, ObjectName, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, TableFactor, VisitMut, VisitorMut, WildcardAdditionalOptions,
};
use tidewater_storage::{Code, Error, Result};

use super::names::{Scope, TableName, fold};
use crate::error::{OrError, or_break};

/// The system columns of a table.
pub(super) const HIDDEN_COLUMNS: [&str; 2] = ["_commit_seq", "_ingested_at"];

/// Rewrites the wildcards over tables that show system columns; `shows` tells which do. Names are resolved in `schema`.
pub(crate) fn hide_system_columns<T: VisitMut>(
    statement: &mut T,
    schema: &str,
    shows: &dyn Fn(&TableName) -> bool,
) -> Result<()> {
    let mut rewriter = Rewriter { schema, shows, scope: Scope::default() };
    statement.visit(&mut rewriter).or_error()
}

struct Rewriter<'a> {
    schema: &'a str,
    shows: &'a dyn Fn(&TableName) -> bool,
    /// Names of WITH hide tables of the same name.
    scope: Scope,
}

/// One relation of a FROM: how to qualify a wildcard over it, and whether it shows system columns.
struct Factor {
    qualifier: Option<ObjectName>,
    shows: bool,
}

impl VisitorMut for Rewriter<'_> {
    type Break = Box<Error>;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Box<Error>> {
        self.scope.enter(query);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Box<Error>> {
        self.scope.leave(query);
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Box<Error>> {
        or_break(self.rewrite(select))
    }
}

impl Rewriter<'_> {
    fn rewrite(&self, select: &mut Select) -> Result<()> {
        let mut factors = Vec::new();
        let mut merged = false;
        for table in &select.from {
            self.add_factor(&table.relation, &mut factors, &mut merged);
            for join in &table.joins {
                merged |= merges_columns(join);
                self.add_factor(&join.relation, &mut factors, &mut merged);
            }
        }
        if !factors.iter().any(|factor| factor.shows) {
            return Ok(());
        }
        if select.from.iter().flat_map(|t| &t.joins).any(is_natural) {
            return Err(unclear("NATURAL JOIN compares them, too"));
        }
        let mut projection = Vec::with_capacity(select.projection.len());
        for item in std::mem::take(&mut select.projection) {
            match item {
                SelectItem::Wildcard(options) => expand(options, &factors, merged, &mut projection)?,
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                    let last = name.0.last().and_then(|part| part.as_ident()).map(fold);
                    let named = factors.iter().find(|factor| {
                        factor.qualifier.as_ref().and_then(|q| q.0.last()?.as_ident().map(fold)) == last
                    });
                    let options = if named.is_some_and(|factor| factor.shows) { exclude(options)? } else { options };
                    projection.push(SelectItem::QualifiedWildcard(
                        SelectItemQualifiedWildcardKind::ObjectName(name),
                        options,
                    ));
                }
                other => projection.push(other),
            }
        }
        select.projection = projection;
        Ok(())
    }

    fn add_factor(&self, factor: &TableFactor, out: &mut Vec<Factor>, merged: &mut bool) {
        match factor {
            TableFactor::Table { name, alias, args: None, .. } => {
                let shows = !self.scope.has(name)
                    && TableName::resolve(name, self.schema).is_ok_and(|name| (self.shows)(&name));
                let qualifier =
                    alias.as_ref().map_or_else(|| name.clone(), |alias| ObjectName::from(vec![alias.name.clone()]));
                out.push(Factor { qualifier: Some(qualifier), shows });
            }
            TableFactor::NestedJoin { table_with_joins, .. } => {
                self.add_factor(&table_with_joins.relation, out, merged);
                for join in &table_with_joins.joins {
                    *merged |= merges_columns(join);
                    self.add_factor(&join.relation, out, merged);
                }
            }
            TableFactor::Derived { alias, .. }
            | TableFactor::Table { alias, .. }
            | TableFactor::Function { alias, .. }
            | TableFactor::UNNEST { alias, .. } => {
                let qualifier = alias.as_ref().map(|alias| ObjectName::from(vec![alias.name.clone()]));
                out.push(Factor { qualifier, shows: false });
            }
            _ => out.push(Factor { qualifier: None, shows: false }),
        }
    }
}

/// `*` as one qualified wildcard a relation.
fn expand(
    options: WildcardAdditionalOptions,
    factors: &[Factor],
    merged: bool,
    out: &mut Vec<SelectItem>,
) -> Result<()> {
    if merged {
        return Err(unclear("a join with USING merges columns"));
    }
    let own_options = options.opt_exclude.is_some()
        || options.opt_except.is_some()
        || options.opt_replace.is_some()
        || options.opt_ilike.is_some()
        || options.opt_rename.is_some();
    if own_options && factors.len() > 1 {
        return Err(unclear("EXCLUDE and the like stand on a wildcard over several tables"));
    }
    for factor in factors {
        let Some(qualifier) = &factor.qualifier else {
            return Err(unclear("a relation in FROM has no name"));
        };
        let options = if factor.shows { exclude(options.clone())? } else { options.clone() };
        out.push(SelectItem::QualifiedWildcard(
            SelectItemQualifiedWildcardKind::ObjectName(qualifier.clone()),
            options,
        ));
    }
    Ok(())
}

/// Adds the system columns to what a wildcard leaves out.
fn exclude(mut options: WildcardAdditionalOptions) -> Result<WildcardAdditionalOptions> {
    if options.opt_except.is_some() || options.opt_ilike.is_some() {
        return Err(unclear("EXCEPT or ILIKE stands on the wildcard"));
    }
    let mut names = match options.opt_exclude.take() {
        Some(ExcludeSelectItem::Single(name)) => vec![name],
        Some(ExcludeSelectItem::Multiple(names)) => names,
        None => Vec::new(),
    };
    for hidden in HIDDEN_COLUMNS {
        let there =
            names.iter().any(|name| name.0.last().and_then(|p| p.as_ident()).is_some_and(|i| fold(i) == hidden));
        if !there {
            names.push(ObjectName::from(vec![Ident::new(hidden)]));
        }
    }
    options.opt_exclude = Some(ExcludeSelectItem::Multiple(names));
    Ok(options)
}

fn unclear(why: &str) -> Error {
    Error::new(Code::UnsupportedStatement, format!("* beside {} is not clear here: {why}", HIDDEN_COLUMNS.join(" or ")))
        .hint("name the columns instead of *")
}

fn constraint(join: &Join) -> Option<&JoinConstraint> {
    match &join.join_operator {
        JoinOperator::Join(c)
        | JoinOperator::Inner(c)
        | JoinOperator::Left(c)
        | JoinOperator::LeftOuter(c)
        | JoinOperator::Right(c)
        | JoinOperator::RightOuter(c)
        | JoinOperator::FullOuter(c) => Some(c),
        _ => None,
    }
}

fn merges_columns(join: &Join) -> bool {
    matches!(constraint(join), Some(JoinConstraint::Using(_)))
}

fn is_natural(join: &Join) -> bool {
    matches!(constraint(join), Some(JoinConstraint::Natural))
}
