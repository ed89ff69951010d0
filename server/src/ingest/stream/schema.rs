//! Which schema does the client know? It is told of another one before the first result that came of it.

use std::sync::atomic::{AtomicU32, Ordering};

use tidewater_proto::ingest::v1::write_stream_response::Msg;
use tidewater_proto::ingest::v1::{Opened, SchemaChanged};
use tidewater_storage::{Result, Table};

use crate::ingest::answer;

/// What the client of one stream was told.
pub(super) struct Known<'a> {
    table: &'a Table,
    version: AtomicU32,
}

impl<'a> Known<'a> {
    pub fn new(table: &'a Table, opened: &Opened) -> Self {
        let version = opened.schema.as_ref().map_or(0, |schema| schema.version);
        Self { table, version: AtomicU32::new(version) }
    }

    /// What is to be said before anything else, if the table has another schema by now. The schema under which a batch was stored is the
    /// table's when its result is there.
    pub fn changed(&self) -> Result<Option<Msg>> {
        let def = self.table.def();
        let version = def.schema_id.0;
        if self.version.swap(version, Ordering::Relaxed) == version {
            return Ok(None);
        }
        Ok(Some(Msg::SchemaChanged(SchemaChanged { schema: Some(answer::table_schema(&def)?) })))
    }
}
