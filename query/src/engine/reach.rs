//! What does a statement reach? The tables and views that it names, and what those views name, before anything is planned.

use std::collections::HashSet;

use tidewater_storage::View;

use crate::session::VisibleCatalog;
use crate::statement::{Statement, relations, reparse};

/// What a statement is about to read.
pub(super) struct Reach {
    /// Schema and name; some are names of nothing.
    pub(super) tables: Vec<(String, String)>,
    pub(super) views: Vec<View>,
    /// The statement, or one of these views, names a system column.
    pub(super) names_hidden: bool,
}

/// Follows the names of a statement, resolved in `schema`, through views, as far as the caller sees.
pub(super) fn reach(visible: &VisibleCatalog, statement: &Statement, schema: &str) -> Reach {
    let mut reach = Reach { tables: Vec::new(), views: Vec::new(), names_hidden: statement.names_hidden };
    let mut waiting: Vec<_> = statement.reads(schema).into_iter().collect();
    let mut seen = HashSet::new();
    while let Some(name) = waiting.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        let Some(view) = visible.view(&name.schema, &name.name) else {
            reach.tables.push((name.schema, name.name));
            continue;
        };
        // A text that is not read here is refused when the view is planned.
        if let Ok(text) = reparse(&view.sql) {
            reach.names_hidden |= text.names_hidden;
            // The names in a view are fully qualified.
            waiting.extend(relations(&text.statement, "public"));
        }
        reach.views.push(view);
    }
    reach
}
