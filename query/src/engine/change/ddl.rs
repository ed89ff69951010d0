//! What does DDL do? Each statement is one or a few calls to storage, with what is worth telling the user.

use std::collections::HashSet;
use std::sync::Arc;

use tidewater_storage::catalog::{NewTable, TableChange};
use tidewater_storage::limits::DROPPED_TABLE_TTL_S;
use tidewater_storage::{Code, Engine, Error, Result, View};

use crate::engine::UpdateOutcome;
use crate::engine::context::find_table;
use crate::error::with_message;
use crate::session::VisibleCatalog;
use crate::statement::{Alter, TableName};

/// Nothing was to be done, and this is why.
fn unchanged(text: String) -> UpdateOutcome {
    UpdateOutcome { notices: vec![text], is_unchanged: true, ..UpdateOutcome::default() }
}

/// Users' names live in users' schemas.
pub(super) fn own_schema(schema: &str) -> Result<()> {
    match schema {
        "system" | "information_schema" => {
            Err(Error::new(Code::InvalidName, format!("schema {schema} belongs to the server"))
                .hint("use another schema"))
        }
        _ => Ok(()),
    }
}

/// What was to be made is there, which is no error.
pub(super) fn exists_already(name: &str) -> UpdateOutcome {
    unchanged(format!("{name} exists already"))
}

pub(in crate::engine) async fn create_table(
    storage: &Arc<Engine>,
    new: NewTable,
    if_not_exists: bool,
    or_replace: bool,
) -> Result<UpdateOutcome> {
    own_schema(&new.schema_name)?;
    let name = format!("{}.{}", new.schema_name, new.name);
    if or_replace {
        let (_, notices, _) = storage.replace_table(new, None).await?;
        return Ok(UpdateOutcome { notices, ..UpdateOutcome::default() });
    }
    match storage.create_table(new).await {
        Ok((_, notices)) => Ok(UpdateOutcome { notices, ..UpdateOutcome::default() }),
        Err(error) if if_not_exists && error.code() == Code::TableExists => Ok(exists_already(&name)),
        Err(error) => Err(error),
    }
}

/// What the names of a statement mean to its caller: what they do not see is not there. All of them are looked up before anything is changed, so that a name that is wrong changes
/// nothing. With IF EXISTS, what is not there becomes a notice.
fn find_all<T>(
    names: Vec<TableName>,
    if_exists: bool,
    outcome: &mut UpdateOutcome,
    find: impl Fn(&TableName) -> Result<T>,
) -> Result<Vec<(TableName, T)>> {
    let mut seen = HashSet::new();
    let mut all = Vec::with_capacity(names.len());
    for name in names {
        if !seen.insert(name.clone()) {
            return Err(Error::new(Code::InvalidStatement, format!("{name} is named twice")).hint("name it once"));
        }
        match find(&name) {
            Ok(found) => all.push((name, found)),
            Err(error) if if_exists && is_missing(&error) => outcome.notices.push(not_there(&name)),
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

fn is_missing(error: &Error) -> bool {
    matches!(error.code(), Code::TableNotFound | Code::ViewNotFound | Code::SchemaNotFound)
}

fn not_there(name: &TableName) -> String {
    format!("{name} does not exist")
}

/// The end of one of several changes: one that fails says which were done before it.
fn note_done(
    changed: Result<String>,
    if_exists: bool,
    name: &TableName,
    done: &mut Vec<String>,
    outcome: &mut UpdateOutcome,
) -> Result<()> {
    match changed {
        Ok(what) => {
            done.push(what);
            Ok(())
        }
        // Somebody else dropped it since it was looked up.
        Err(error) if if_exists && is_missing(&error) => {
            outcome.notices.push(not_there(name));
            Ok(())
        }
        Err(error) if done.is_empty() => Err(error),
        Err(error) => {
            Err(with_message(&error, format!("{name}: {}; before that, {}", error.message(), done.join(", "))))
        }
    }
}

pub(in crate::engine) async fn drop_tables(
    visible: &VisibleCatalog,
    names: Vec<TableName>,
    if_exists: bool,
) -> Result<UpdateOutcome> {
    let mut outcome = UpdateOutcome::default();
    let tables = find_all(names, if_exists, &mut outcome, |name| find_table(visible, name).map(drop))?;
    let mut done = Vec::new();
    for (name, ()) in tables {
        let dropped = visible.storage().drop_table(&name.schema, &name.name).await;
        note_done(dropped.map(|()| format!("{name} was dropped")), if_exists, &name, &mut done, &mut outcome)?;
    }
    outcome.is_unchanged = done.is_empty();
    Ok(outcome)
}

pub(in crate::engine) async fn truncate(
    visible: &VisibleCatalog,
    names: Vec<TableName>,
    if_exists: bool,
) -> Result<UpdateOutcome> {
    let mut outcome = UpdateOutcome::default();
    let tables = find_all(names, if_exists, &mut outcome, |name| find_table(visible, name))?;
    let mut done = Vec::new();
    for (name, table) in tables {
        let truncated = table.truncate().await.map(|(rows, token)| {
            outcome.token = Some(token);
            let what = format!("{rows} rows of {name} were removed");
            outcome.notices.push(what.clone());
            what
        });
        note_done(truncated, if_exists, &name, &mut done, &mut outcome)?;
    }
    outcome.is_unchanged = done.is_empty();
    Ok(outcome)
}

pub(in crate::engine) async fn alter_table(visible: &VisibleCatalog, alter: Alter) -> Result<UpdateOutcome> {
    let Alter { table: name, if_exists, change, if_not_exists } = alter;
    let table = match find_table(visible, &name) {
        Ok(table) => table,
        Err(error) if if_exists && is_missing(&error) => return Ok(unchanged(not_there(&name))),
        Err(error) => return Err(error),
    };
    let added = match &change {
        TableChange::AddColumn(column) if if_not_exists => Some(column.name.clone()),
        _ => None,
    };
    // As the table is at that moment.
    let there = || added.as_ref().filter(|column| table.def().column_index(column).is_some());
    if let Some(column) = there() {
        return Ok(unchanged(format!("{name} has a column '{column}' already")));
    }
    match visible.storage().alter_table(&name.schema, &name.name, change).await {
        Ok(_) => Ok(UpdateOutcome::default()),
        // Somebody else dropped the table, or added the column, since it was looked up.
        Err(error) if if_exists && is_missing(&error) => Ok(unchanged(not_there(&name))),
        Err(_) if there().is_some() => Ok(unchanged(format!("{name} has the column already"))),
        // RENAME TO has no IF NOT EXISTS.
        Err(error) if error.code() == Code::TableExists => {
            Err(Error::new(Code::TableExists, error.message()).hint("choose another name"))
        }
        Err(error) => Err(error),
    }
}

pub(in crate::engine) async fn undrop_table(visible: &VisibleCatalog, name: TableName) -> Result<UpdateOutcome> {
    let not_found = || {
        let days = DROPPED_TABLE_TTL_S / 86_400;
        Error::new(Code::TableNotFound, format!("no table {name} was dropped in the last {days} days"))
            .hint("a table comes back under the name that it was dropped with")
    };
    if !visible.sees(&name.schema, &name.name) {
        return Err(not_found());
    }
    match visible.storage().undrop_table(&name.schema, &name.name).await {
        Ok(_) => Ok(UpdateOutcome::default()),
        Err(error) if error.code() == Code::TableNotFound => Err(not_found()),
        Err(error) if error.code() == Code::TableExists => {
            Err(Error::new(Code::TableExists, error.message()).hint("rename what has the name now, or drop it"))
        }
        Err(error) => Err(error),
    }
}

pub(in crate::engine) async fn create_view(
    storage: &Arc<Engine>,
    view: View,
    or_replace: bool,
    if_not_exists: bool,
) -> Result<UpdateOutcome> {
    own_schema(&view.schema_name)?;
    let name = format!("{}.{}", view.schema_name, view.name);
    match storage.create_view(view, or_replace).await {
        Ok(()) => Ok(UpdateOutcome::default()),
        Err(error) if if_not_exists && error.code() == Code::TableExists => Ok(exists_already(&name)),
        Err(error) => Err(error),
    }
}

pub(in crate::engine) async fn drop_views(
    visible: &VisibleCatalog,
    names: Vec<TableName>,
    if_exists: bool,
) -> Result<UpdateOutcome> {
    let mut outcome = UpdateOutcome::default();
    let views = find_all(names, if_exists, &mut outcome, |name| find_view(visible, name))?;
    let mut done = Vec::new();
    for (name, ()) in views {
        let dropped = visible.storage().drop_view(&name.schema, &name.name).await;
        note_done(dropped.map(|()| format!("{name} was dropped")), if_exists, &name, &mut done, &mut outcome)?;
    }
    outcome.is_unchanged = done.is_empty();
    Ok(outcome)
}

fn find_view(visible: &VisibleCatalog, name: &TableName) -> Result<()> {
    if visible.table(&name.schema, &name.name).is_some() {
        return Err(Error::new(Code::InvalidStatement, format!("{name} is a table")).hint("use DROP TABLE"));
    }
    match visible.view(&name.schema, &name.name) {
        Some(_) => Ok(()),
        None => {
            Err(Error::new(Code::ViewNotFound, format!("view '{name}' not found"))
                .hint("SHOW TABLES lists what there is"))
        }
    }
}
