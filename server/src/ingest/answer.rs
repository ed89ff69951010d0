//! What is the client told? Outcomes and definitions of storage in the words of the protocol.

use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions, write_message};
use tidewater_proto::ingest::v1::{self as pb, BatchResult, RowError, TableSchema};
use tidewater_storage::catalog::TableDef;
use tidewater_storage::limits::ROW_ERRORS_IN_ANSWER;
use tidewater_storage::{Durability, Error, Result, RowsOutcome};

use crate::status::to_rpc;

/// The message of one row's error.
const MAX_ROW_MESSAGE_CHARS: usize = 500;

/// A batch that was taken.
pub(super) fn stored(batch_id: u64, sequence: u64, outcome: RowsOutcome) -> BatchResult {
    let rows = outcome.row_errors.into_iter().take(ROW_ERRORS_IN_ANSWER);
    BatchResult {
        batch_id,
        sequence,
        status: None,
        repeated: outcome.repeated,
        received: outcome.received,
        accepted: outcome.accepted,
        duplicates: outcome.duplicates,
        rejected: outcome.rejected,
        row_errors: rows
            .map(|row| row_error(row.row, row.column.as_deref(), row.code.as_str(), &row.message))
            .collect(),
        commit_token: outcome.token.encode().into(),
        durability: durability(outcome.durability).into(),
    }
}

/// A batch that was refused.
pub(super) fn refused(batch_id: u64, sequence: u64, error: &Error) -> BatchResult {
    let rows = error.rows().iter().take(ROW_ERRORS_IN_ANSWER);
    BatchResult {
        batch_id,
        sequence,
        status: Some(to_rpc(error)),
        row_errors: rows.map(|row| row_error(row.row, row.column.as_deref(), row.code, &row.message)).collect(),
        ..BatchResult::default()
    }
}

fn row_error(row: u64, column: Option<&str>, code: &str, message: &str) -> RowError {
    RowError {
        row,
        column: column.unwrap_or_default().to_owned(),
        code: code.to_owned(),
        message: message.chars().take(MAX_ROW_MESSAGE_CHARS).collect(),
    }
}

pub(super) fn durability(durability: Durability) -> pb::Durability {
    match durability {
        Durability::Os => pb::Durability::Os,
        Durability::Fsync => pb::Durability::Fsync,
    }
}

/// The shape of a table.
pub(super) fn table_schema(def: &TableDef) -> Result<TableSchema> {
    let name = |column: &usize| def.columns.get(*column).map(|column| column.name.clone());
    Ok(TableSchema {
        version: def.schema_id.0,
        arrow_schema: schema_message(&def.arrow_schema)?.into(),
        time_column: def.options.time_column.as_ref().and_then(name).unwrap_or_default(),
        primary_key: def.key.iter().filter_map(name).collect(),
        sort_by: def.options.sort_by.iter().filter_map(name).collect(),
        table_id: def.id.to_string(),
    })
}

/// An encapsulated Arrow IPC Schema message.
pub(crate) fn schema_message(schema: &SchemaRef) -> Result<Vec<u8>> {
    let options = IpcWriteOptions::default();
    let mut tracker = DictionaryTracker::new(true);
    let message = IpcDataGenerator::default().schema_to_bytes_with_dictionary_tracker(schema, &mut tracker, &options);
    let mut out = Vec::new();
    write_message(&mut out, message, &options)?;
    Ok(out)
}
