//! How does a table get another shape or name, or come back? Through its worker where rows are concerned, under the catalog's lock always.

use std::sync::{Arc, Weak};

use super::create::Coming;
use super::housekeep::PURGED;
use super::{Engine, name_of, start_table, to_its_end};
use crate::catalog::{TableChange, TableDef, dropped_from_disk};
use crate::env::Moment;
use crate::error::{Code, Error, Result};
use crate::log::{Family, meta_key};
use crate::table::{Table, TableRequest, Write, sync, undrop_table};

impl Engine {
    /// Changes a table's definition; visible to statements that start after this returns. `TABLE_NOT_FOUND`, `TABLE_EXISTS` for a name that
    /// is taken, and what [`TableDef::with_change`] refuses.
    pub async fn alter_table(self: &Arc<Self>, schema: &str, name: &str, change: TableChange) -> Result<Table> {
        let (engine, schema, name) = (Arc::clone(self), schema.to_owned(), name.to_owned());
        to_its_end(async move {
            let _changing = engine.changing.lock().await;
            let table = engine.table(&schema, &name).ok_or_else(|| not_found(&schema, &name))?;
            if let TableChange::Rename { name } = &change {
                engine.check_free(&schema, name)?;
            }
            let before = name_of(&table.def());
            let def = match table.ask(|answer| TableRequest::Alter { change, answer }).await {
                Ok(def) => def,
                Err(e) => {
                    // A worker that failed may have written it before: the folder decides.
                    engine.log.commit(sync()).await?;
                    engine.follow_record(&table, &before)?;
                    return Err(e);
                }
            };
            engine.change(|names| {
                names.tables.remove(&before);
                names.tables.insert(name_of(&def), table.clone());
            });
            tracing::info!(table_id = %def.id, schema = def.schema_name, table = def.name, "a table was altered");
            Ok(table)
        })
        .await
    }

    /// Names a table as its record does.
    fn follow_record(&self, table: &Table, before: &(String, String)) -> Result<()> {
        let key = meta_key::of_table(meta_key::TABLE, table.def().id);
        let Some(record) = self.parts.store.get(Family::Meta, &key)? else { return Ok(()) };
        let name = name_of(&TableDef::from_disk(&record)?);
        if name != *before {
            self.change(|names| {
                names.tables.remove(before);
                names.tables.insert(name, table.clone());
            });
        }
        Ok(())
    }

    /// Brings back the table of this name that was dropped last, with all its rows and keys. `TABLE_NOT_FOUND` if none was dropped in the
    /// last seven days, `TABLE_EXISTS` if the name is taken meanwhile, `TOO_MANY_TABLES`.
    ///
    /// The catalog goes on while its log is read: `changing` is held to take the name, and again for the record.
    pub async fn undrop_table(self: &Arc<Self>, schema: &str, name: &str) -> Result<Table> {
        let (engine, schema, name) = (Arc::clone(self), schema.to_owned(), name.to_owned());
        to_its_end(async move {
            // From here on nobody else has the name, nor clears the table away.
            let (def, _coming) = engine.take_back(&schema, &name).await?;
            let before = engine.dropped.lock().get(&def.id).and_then(Weak::upgrade);
            if let Some(before) = before {
                // Two workers of one table would write over each other.
                Table::new(Arc::clone(&before)).closed().await;
                super::seal::quiet(&before).await;
            }
            let id = def.id;
            let (parts, record) = (engine.parts.clone(), undrop_table(&def));
            let (table, _) = tokio::task::spawn_blocking(move || start_table(&parts, def))
                .await
                .map_err(|e| Error::internal(format!("the table could not be started: {e}")))??;
            let _changing = engine.changing.lock().await;
            if let Err(e) = engine.log.commit(record).await {
                table.close("it could not be brought back");
                return Err(e);
            }
            engine.dropped.lock().remove(&id);
            engine.change(|names| {
                names.tables.insert(name_of(&table.def()), table.clone());
            });
            tracing::info!(table_id = %id, schema, table = name, "a dropped table is there again");
            Ok(table)
        })
        .await
    }

    /// The table that comes back, and its name.
    async fn take_back(&self, schema: &str, name: &str) -> Result<(TableDef, Coming)> {
        let _changing = self.changing.lock().await;
        self.check_free(schema, name)?;
        let def = self.dropped_last(schema, name)?.ok_or_else(|| not_found(schema, name))?;
        self.check_count()?;
        self.parts.gate.check_space(Write::Small)?;
        let coming = self.take_name(name_of(&def), def.id);
        Ok((def, coming))
    }

    fn dropped_last(&self, schema: &str, name: &str) -> Result<Option<TableDef>> {
        let dropped = self.dropped_as(schema, name)?.into_iter().filter(|(at, _)| *at != PURGED);
        Ok(dropped.max_by_key(|(at, _)| *at).map(|(_, def)| def))
    }

    /// All tables that were dropped under this name and are on disk, with the moments at which they were.
    pub(super) fn dropped_as(&self, schema: &str, name: &str) -> Result<Vec<(Moment, TableDef)>> {
        let mut dropped = Vec::new();
        for record in self.parts.store.scan(Family::Meta, &[meta_key::DROPPED])? {
            // One that cannot be read is another's concern.
            let Ok((def, at)) = dropped_from_disk(&record?.1) else { continue };
            if def.schema_name == schema && def.name == name {
                dropped.push((at, def));
            }
        }
        Ok(dropped)
    }
}

pub(super) fn not_found(schema: &str, name: &str) -> Error {
    Error::new(Code::TableNotFound, format!("table '{schema}.{name}' not found"))
        .hint("SHOW TABLES lists what there is")
}
