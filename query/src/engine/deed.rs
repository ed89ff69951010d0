//! Who changed what there is? Statements of administrators stand in the log, and so in `system.events`, with their names.

use super::job::Work;
use crate::registry::Query;
use crate::statement::{Procedure, TableName};

/// What a statement is about to do to the catalog, in words without a row's value.
pub(super) struct Deed {
    kind: &'static str,
    /// Names of tables or views.
    what: String,
}

impl Deed {
    /// `None` for statements that read, and for those that change rows alone.
    pub(super) fn of(work: &Work) -> Option<Self> {
        let of = |kind, what: String| Some(Self { kind, what });
        match work {
            Work::CreateTable { new, .. } => of("table.create", format!("{}.{}", new.schema_name, new.name)),
            Work::DropTables { names, .. } => of("table.drop", joined(names)),
            Work::Truncate { names, .. } => of("table.truncate", joined(names)),
            Work::CreateView { view, .. } => of("view.create", format!("{}.{}", view.schema_name, view.name)),
            Work::DropViews { names, .. } => of("view.drop", joined(names)),
            Work::AlterTable(alter) => of("table.alter", alter.table.to_string()),
            Work::UndropTable(name) => of("table.undrop", name.to_string()),
            Work::Insert(insert) => insert.new_table().and_then(|name| of("table.create", name)),
            Work::Call(call) if call.procedure == Procedure::GiveUp => of("table.give_up", call.table.to_string()),
            Work::Call(call) if call.procedure == Procedure::PurgeDropped => of("table.purge", call.table.to_string()),
            Work::Attach(attach) => {
                let named = attach.table.as_ref().map(ToString::to_string);
                of("table.attach", named.unwrap_or_else(|| "under its own name".to_owned()))
            }
            Work::Rows(_) | Work::Batch(_) | Work::Set { .. } | Work::Delete(_) | Work::Call(_) => None,
        }
    }

    /// It is done.
    pub(super) fn note(self, query: &Query) {
        let Self { kind, what } = self;
        let (principal, query_id) = (&query.principal().name, query.id());
        tracing::info!(principal, kind, what, query_id, "an administrator ran a statement");
    }
}

fn joined(names: &[TableName]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
