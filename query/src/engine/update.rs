//! What does DDL do? Each statement is one or a few calls to storage, with what is worth telling the user.

use std::sync::Arc;

use tidewater_storage::catalog::NewTable;
use tidewater_storage::{Code, Engine, Error, Result, View};

use super::UpdateOutcome;
use super::context::find_table;
use crate::statement::TableName;

fn notice(text: String) -> UpdateOutcome {
    UpdateOutcome { notices: vec![text], ..UpdateOutcome::default() }
}

/// Users' names live in users' schemas.
fn own_schema(schema: &str) -> Result<()> {
    match schema {
        "system" | "information_schema" => {
            Err(Error::new(Code::InvalidName, format!("schema {schema} belongs to the server"))
                .hint("use another schema"))
        }
        _ => Ok(()),
    }
}

pub(super) async fn create_table(storage: &Arc<Engine>, new: NewTable, if_not_exists: bool) -> Result<UpdateOutcome> {
    own_schema(&new.schema_name)?;
    let name = format!("{}.{}", new.schema_name, new.name);
    match storage.create_table(new).await {
        Ok((_, notices)) => Ok(UpdateOutcome { notices, ..UpdateOutcome::default() }),
        Err(error) if if_not_exists && error.code() == Code::TableExists => {
            Ok(notice(format!("{name} exists already")))
        }
        Err(error) => Err(error),
    }
}

pub(super) async fn drop_tables(
    storage: &Arc<Engine>,
    names: Vec<TableName>,
    if_exists: bool,
) -> Result<UpdateOutcome> {
    let mut outcome = UpdateOutcome::default();
    for name in names {
        let found = find_table(storage, &name).map(drop);
        let dropped = match found {
            Ok(()) => storage.drop_table(&name.schema, &name.name).await,
            Err(error) => Err(error),
        };
        missing_is_fine(dropped, if_exists, &name, &mut outcome)?;
    }
    Ok(outcome)
}

/// With IF EXISTS, what is not there becomes a notice.
fn missing_is_fine(result: Result<()>, if_exists: bool, name: &TableName, outcome: &mut UpdateOutcome) -> Result<()> {
    match result {
        Err(error)
            if if_exists && matches!(error.code(), Code::TableNotFound | Code::ViewNotFound | Code::SchemaNotFound) =>
        {
            outcome.notices.push(format!("{name} does not exist"));
            Ok(())
        }
        other => other,
    }
}

pub(super) async fn truncate(storage: &Engine, names: Vec<TableName>, if_exists: bool) -> Result<UpdateOutcome> {
    let mut outcome = UpdateOutcome::default();
    for name in names {
        let truncated = match find_table(storage, &name) {
            Ok(table) => table.truncate().await,
            Err(error) => Err(error),
        };
        match truncated {
            Ok((rows, token)) => {
                outcome.notices.push(format!("{rows} rows of {name} were removed"));
                outcome.token = Some(token);
            }
            Err(error) => missing_is_fine(Err(error), if_exists, &name, &mut outcome)?,
        }
    }
    Ok(outcome)
}

pub(super) async fn create_view(
    storage: &Arc<Engine>,
    view: View,
    or_replace: bool,
    if_not_exists: bool,
) -> Result<UpdateOutcome> {
    own_schema(&view.schema_name)?;
    let name = format!("{}.{}", view.schema_name, view.name);
    match storage.create_view(view, or_replace).await {
        Ok(()) => Ok(UpdateOutcome::default()),
        Err(error) if if_not_exists && error.code() == Code::TableExists => {
            Ok(notice(format!("{name} exists already")))
        }
        Err(error) => Err(error),
    }
}

pub(super) async fn drop_views(storage: &Arc<Engine>, names: Vec<TableName>, if_exists: bool) -> Result<UpdateOutcome> {
    let mut outcome = UpdateOutcome::default();
    for name in names {
        if storage.table(&name.schema, &name.name).is_some() {
            return Err(Error::new(Code::InvalidStatement, format!("{name} is a table")).hint("use DROP TABLE"));
        }
        let dropped = storage.drop_view(&name.schema, &name.name).await;
        missing_is_fine(dropped, if_exists, &name, &mut outcome)?;
    }
    Ok(outcome)
}
