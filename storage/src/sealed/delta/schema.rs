//! How does Delta describe a table? Its schema as JSON, the features that readers and writers need, its properties.
//!
//! Source: the Delta protocol, sections "Schema Serialization Format", "Table Features" and "Change Metadata".

use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use serde_json::{Value, json};

use super::lines::Protocol;
use crate::catalog::{TableDef, delta_type};
use crate::error::{Error, Result};
use crate::limits::REMOVED_FILE_TTL_S;
use crate::sealed::types::COMMIT_SEQ;

/// Other engines' writers do not know it and refuse the table; readers ignore what only writers need.
pub(super) const EXCLUSIVE_WRITER: &str = "tidewater.exclusiveWriter";
const APPEND_ONLY: &str = "appendOnly";
const TIMESTAMP_NTZ: &str = "timestampNtz";
const DELETION_VECTORS: &str = "deletionVectors";
/// Spark reads a table with NOT NULL columns only if this is declared.
const INVARIANTS: &str = "invariants";

/// Delta's own default. Older commit files go after a checkpoint was read back.
const LOG_RETENTION_DAYS: u64 = 30;

/// Property that holds the table's definition as our catalog writes it.
pub(super) const DEFINITION: &str = "tidewater.definition";

/// What a reader must understand beyond the plain format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features {
    /// A column, or a field of one, is a TIMESTAMP without a zone.
    pub timestamp_ntz: bool,
    /// A file has rows that are deleted by a deletion vector. Some readers refuse tables that only declare it.
    pub deletion_vectors: bool,
}

impl Features {
    /// What the columns of `def` need.
    pub fn of(def: &TableDef) -> Self {
        Self {
            timestamp_ntz: def.columns.iter().any(|column| has_timestamp_ntz(&column.data_type)),
            deletion_vectors: false,
        }
    }

    #[must_use]
    pub fn with_deletion_vectors(self, deletion_vectors: bool) -> Self {
        Self { deletion_vectors, ..self }
    }

    /// The features that a protocol names.
    pub(super) fn named(reader_features: &[String]) -> Self {
        let has = |name: &str| reader_features.iter().any(|feature| feature == name);
        Self { timestamp_ntz: has(TIMESTAMP_NTZ), deletion_vectors: has(DELETION_VECTORS) }
    }
}

/// What writers of a table must have and we have not: somebody else changed it.
pub(super) fn unknown_features(protocol: &Protocol) -> Vec<&str> {
    let known = [EXCLUSIVE_WRITER, APPEND_ONLY, INVARIANTS, TIMESTAMP_NTZ, DELETION_VECTORS];
    let named = protocol.writer_features.iter().flatten().map(String::as_str);
    named.filter(|feature| !known.contains(feature)).collect()
}

fn has_timestamp_ntz(data_type: &DataType) -> bool {
    match data_type {
        DataType::Timestamp(_, None) => true,
        DataType::List(item) => has_timestamp_ntz(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_timestamp_ntz(field.data_type())),
        _ => false,
    }
}

/// The `protocol` action. A table without special features stays at reader version 1, which every reader has.
pub(super) fn protocol_action(features: Features) -> Value {
    let mut both = Vec::new();
    if features.timestamp_ntz {
        both.push(TIMESTAMP_NTZ);
    }
    if features.deletion_vectors {
        both.push(DELETION_VECTORS);
    }
    let writer: Vec<&str> =
        [APPEND_ONLY, INVARIANTS, EXCLUSIVE_WRITER].into_iter().chain(both.iter().copied()).collect();
    // Version 3 asks for the list of the readers' features, and the versions below it forbid it.
    let protocol = if both.is_empty() {
        json!({ "minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": writer })
    } else {
        json!({ "minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": both, "writerFeatures": writer })
    };
    json!({ "protocol": protocol })
}

/// The `metaData` action of `def`. No column is a partition column.
pub(super) fn metadata_action(def: &TableDef, features: Features) -> Result<Value> {
    Ok(json!({ "metaData": {
        "id": def.id.to_string(),
        "name": def.name,
        "format": { "provider": "parquet", "options": {} },
        "schemaString": schema(def).to_string(),
        "partitionColumns": [],
        "configuration": properties(def, features)?,
        "createdTime": def.created_at_us / 1000,
    } }))
}

fn properties(def: &TableDef, features: Features) -> Result<BTreeMap<&'static str, String>> {
    let names = |columns: &[usize]| {
        let names: Vec<&str> = columns.iter().map(|&i| def.columns[i].name.as_str()).collect();
        names.join(", ")
    };
    // Without the secret of its hashed keys: whoever reads the table could make keys that are taken for each other. A folder that is
    // attached hashes its keys anew.
    let public = TableDef { hash_key: [0; 16], ..def.clone() };
    let definition = String::from_utf8(public.to_disk())
        .map_err(|e| Error::internal(format!("the definition of '{}' is not text: {e}", def.name)))?;
    let mut properties = BTreeMap::from([
        ("delta.deletedFileRetentionDuration", format!("interval {} days", REMOVED_FILE_TTL_S / (24 * 3600))),
        ("delta.logRetentionDuration", format!("interval {LOG_RETENTION_DAYS} days")),
        // Ours goes by checkpoints that were read back; an engine that only writes checkpoints leaves the log alone.
        ("delta.enableExpiredLogCleanup", "false".to_owned()),
        ("tidewater.table", def.id.to_string()),
        (DEFINITION, definition),
    ]);
    if features.deletion_vectors {
        properties.insert("delta.enableDeletionVectors", "true".to_owned());
    }
    if !def.key.is_empty() {
        properties.insert("tidewater.key", names(&def.key));
    }
    if !def.options.sort_by.is_empty() {
        properties.insert("tidewater.sort_by", names(&def.options.sort_by));
    }
    if let Some(time_column) = def.options.time_column {
        properties.insert("tidewater.time_column", def.columns[time_column].name.clone());
    }
    Ok(properties)
}

/// The schema as Delta has it: the table's columns, then `_commit_seq` if the table has system columns.
pub(super) fn schema(def: &TableDef) -> Value {
    let mut fields: Vec<Value> = def
        .columns
        .iter()
        .map(|column| field(&column.name, type_of(&column.data_type), column.nullable, column.comment.as_deref()))
        .collect();
    if def.options.system_columns {
        let comment = "the place in the table's log of the entry that brought the row";
        fields.push(field(COMMIT_SEQ, json!("long"), true, Some(comment)));
    }
    json!({ "type": "struct", "fields": fields })
}

fn field(name: &str, data_type: Value, nullable: bool, comment: Option<&str>) -> Value {
    let metadata = comment.map_or_else(|| json!({}), |comment| json!({ "comment": comment }));
    json!({ "name": name, "type": data_type, "nullable": nullable, "metadata": metadata })
}

fn type_of(data_type: &DataType) -> Value {
    match data_type {
        DataType::List(item) => {
            json!({ "type": "array", "elementType": type_of(item.data_type()), "containsNull": item.is_nullable() })
        }
        DataType::Struct(fields) => {
            let fields: Vec<Value> = fields
                .iter()
                .map(|inner| field(inner.name(), type_of(inner.data_type()), inner.is_nullable(), None))
                .collect();
            json!({ "type": "struct", "fields": fields })
        }
        plain => json!(delta_type(plain)),
    }
}
