//! May the caller change that? What a statement makes, changes and drops is checked before anything is planned.
//!
//! What a statement reads is not checked here: its catalog has only what the caller may read ([`VisibleCatalog`]), through views, subqueries
//! and WITH as well. A name that the caller has no role on is left to the look-up that follows, which finds nothing.
//!
//! [`VisibleCatalog`]: crate::session::VisibleCatalog

use tidewater_storage::Result;
use tidewater_storage::catalog::TableChange;

use crate::session::{Principal, Role};
use crate::statement::{Alter, Kind, Procedure, TableName};

/// `PERMISSION_DENIED` for a caller who may not run the statement; fine for one who is told that a table is not there.
pub(super) fn check(kind: &Kind, caller: &Principal) -> Result<()> {
    let changed = |needed: Role, name: &TableName, what: &str| match name.schema.as_str() {
        // Nobody changes those, which is what the look-up says.
        "system" | "information_schema" => Ok(()),
        _ => caller.check_seen(needed, &name.schema, &name.name, what),
    };
    let all = |names: &[TableName], what: &str| names.iter().try_for_each(|name| changed(Role::Admin, name, what));
    match kind {
        Kind::Query(_) | Kind::Show(_) | Kind::Set { .. } => Ok(()),
        Kind::Insert(insert) => changed(Role::Writer, &insert.table, "INSERT INTO"),
        Kind::Delete(delete) => changed(Role::Writer, &delete.table, "DELETE FROM"),
        Kind::Call(call) => {
            let needed = match call.procedure {
                Procedure::GiveUp | Procedure::PurgeDropped => Role::Admin,
                Procedure::Build
                | Procedure::Seal
                | Procedure::Compact
                | Procedure::Verify
                | Procedure::ReplayRejected => Role::Writer,
            };
            changed(needed, &call.table, &format!("CALL {} of", call.procedure.name()))
        }
        // It reads whatever the process may read on its machine.
        Kind::Attach(_) => caller.check_admin("CALL attach"),
        Kind::CreateTable { new, .. } | Kind::CreateTableAs { new, .. } => {
            caller.check_new(&new.schema_name, &new.name, "CREATE TABLE")
        }
        Kind::CreateView { name, .. } => caller.check_new(&name.schema, &name.name, "CREATE VIEW"),
        Kind::DropTables { names, .. } => all(names, "DROP TABLE"),
        Kind::DropViews { names, .. } => all(names, "DROP VIEW"),
        Kind::Truncate { names, .. } => all(names, "TRUNCATE"),
        Kind::UndropTable { name } => changed(Role::Admin, name, "UNDROP TABLE"),
        Kind::AlterTable(Alter { table, change, .. }) => {
            changed(Role::Admin, table, "ALTER TABLE")?;
            match change {
                TableChange::Rename { name } if caller.sees(&table.schema, &table.name) => {
                    caller.check_new(&table.schema, name, "rename a table to")
                }
                _ => Ok(()),
            }
        }
    }
}
