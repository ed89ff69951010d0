//! How do definitions stand on disk? JSON with a kind and a version; unknown versions are refused by name.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::define::check_length;
use super::definition::{ColumnDef, TableDef, View, arrow_schema, folder_of};
use super::options::{Durability, SealOptions, TableOptions};
use super::types::canonical_type;
use crate::env::Moment;
use crate::error::{Code, Error, Result};
use crate::ids::{SchemaId, TableId, array};

/// The newest versions that this program reads and writes.
const TABLE_VERSION: u32 = 3;
/// Of a table without lengths of text: programs from before these were there read it.
const TABLE_VERSION_WITHOUT_LENGTHS: u32 = 2;
const VIEW_VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Header {
    kind: String,
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DiskTable {
    kind: String,
    version: u32,
    id: Uuid,
    schema: String,
    name: String,
    schema_id: u32,
    columns: Vec<DiskColumn>,
    key: Vec<usize>,
    options: DiskOptions,
    hash_key: [u8; 16],
    created_at_us: i64,
    /// Since version 2.
    #[serde(default)]
    folder: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DiskColumn {
    name: String,
    #[serde(rename = "type")]
    data_type: DiskType,
    nullable: bool,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    comment: Option<String>,
    /// Since version 3.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    max_chars: Option<u32>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DiskOptions {
    time_column: Option<usize>,
    sort_by: Vec<usize>,
    max_future_us: i64,
    max_lateness_us: Option<i64>,
    durability: DiskDurability,
    system_columns: bool,
    /// Since version 2, as those below.
    #[serde(default)]
    seal: Option<DiskSeal>,
    #[serde(default)]
    dedup_window_us: Option<i64>,
    #[serde(default)]
    retention_us: Option<i64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DiskSeal {
    after_rows: u64,
    after_us: i64,
    after_bytes: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum DiskDurability {
    Os,
    Fsync,
}

/// The canonical storage types, under names of our own: the text of a type in SQL may change, this may not.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum DiskType {
    Boolean,
    Int8,
    Int16,
    Int32,
    Int64,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Float32,
    Float64,
    Decimal { precision: u8, scale: u8 },
    Text,
    Binary,
    Date,
    TimeUs,
    TimestampUs,
    InstantUs,
    List(Box<DiskType>),
    Struct(Vec<DiskField>),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DiskField {
    name: String,
    #[serde(rename = "type")]
    data_type: DiskType,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DiskView {
    kind: String,
    version: u32,
    schema: String,
    name: String,
    sql: String,
}

const TABLE: &str = "table";
const VIEW: &str = "view";

impl TableDef {
    /// The definition as it stands on disk.
    ///
    /// # Panics
    /// If a column's type is not canonical, which neither [`super::define`] nor [`TableDef::from_disk`] lets happen.
    pub fn to_disk(&self) -> Vec<u8> {
        let columns = self
            .columns
            .iter()
            .map(|column| DiskColumn {
                name: column.name.clone(),
                data_type: to_disk_type(&column.data_type),
                nullable: column.nullable,
                comment: column.comment.clone(),
                max_chars: column.max_chars,
            })
            .collect();
        let options = &self.options;
        let has_lengths = self.columns.iter().any(|column| column.max_chars.is_some());
        encode(&DiskTable {
            kind: TABLE.to_owned(),
            version: if has_lengths { TABLE_VERSION } else { TABLE_VERSION_WITHOUT_LENGTHS },
            id: self.id.0,
            schema: self.schema_name.clone(),
            name: self.name.clone(),
            schema_id: self.schema_id.0,
            columns,
            key: self.key.clone(),
            options: DiskOptions {
                time_column: options.time_column,
                sort_by: options.sort_by.clone(),
                max_future_us: options.max_future_us,
                max_lateness_us: options.max_lateness_us,
                durability: match options.durability {
                    Durability::Os => DiskDurability::Os,
                    Durability::Fsync => DiskDurability::Fsync,
                },
                system_columns: options.system_columns,
                seal: Some(DiskSeal {
                    after_rows: options.seal.after_rows,
                    after_us: options.seal.after_us,
                    after_bytes: options.seal.after_bytes,
                }),
                dedup_window_us: options.dedup_window_us,
                retention_us: options.retention_us,
            },
            hash_key: self.hash_key,
            created_at_us: self.created_at_us,
            folder: Some(self.folder.clone()),
        })
    }

    /// Reads what [`TableDef::to_disk`] wrote. `LOG_UNKNOWN_VERSION` for a newer form, `LOG_DAMAGED` for anything else.
    pub fn from_disk(bytes: &[u8]) -> Result<Self> {
        check_header(TABLE, TABLE_VERSION, bytes)?;
        let disk: DiskTable = decode(TABLE, bytes)?;
        let columns: Vec<ColumnDef> = disk
            .columns
            .into_iter()
            .map(|column| ColumnDef {
                name: column.name,
                data_type: from_disk_type(column.data_type),
                nullable: column.nullable,
                comment: column.comment,
                max_chars: column.max_chars,
            })
            .collect();
        let named = disk.key.iter().chain(&disk.options.sort_by).chain(&disk.options.time_column);
        if columns.is_empty() || named.into_iter().any(|&i| i >= columns.len()) {
            return Err(damaged(TABLE, format!("'{}' names a column that it does not have", disk.name)));
        }
        if let Some(column) =
            columns.iter().find(|column| canonical_type(&column.data_type).ok().as_ref() != Some(&column.data_type))
        {
            return Err(damaged(TABLE, format!("'{}' has a column of type {}", disk.name, column.data_type)));
        }
        if let Some(error) = columns.iter().find_map(|column| check_length(column).err()) {
            return Err(damaged(TABLE, format!("'{}': {}", disk.name, error.message())));
        }
        let id = TableId(disk.id);
        Ok(Self {
            folder: disk.folder.unwrap_or_else(|| folder_of(&disk.name, id)),
            id,
            schema_name: disk.schema,
            name: disk.name,
            schema_id: SchemaId(disk.schema_id),
            arrow_schema: arrow_schema(&columns),
            columns,
            key: disk.key,
            options: TableOptions {
                time_column: disk.options.time_column,
                sort_by: disk.options.sort_by,
                max_future_us: disk.options.max_future_us,
                max_lateness_us: disk.options.max_lateness_us,
                durability: match disk.options.durability {
                    DiskDurability::Os => Durability::Os,
                    DiskDurability::Fsync => Durability::Fsync,
                },
                system_columns: disk.options.system_columns,
                seal: disk.options.seal.map_or(SealOptions::default(), |seal| SealOptions {
                    after_rows: seal.after_rows,
                    after_us: seal.after_us,
                    after_bytes: seal.after_bytes,
                }),
                dedup_window_us: disk.options.dedup_window_us,
                retention_us: disk.options.retention_us,
            },
            hash_key: disk.hash_key,
            created_at_us: disk.created_at_us,
        })
    }
}

/// Version byte in front of a dropped table's record.
const DROPPED_VERSION: u8 = 1;
const DROPPED_HEADER_BYTES: usize = 1 + 8 + 8;

/// A table that was dropped at `at`: version, both clocks in big endian, its definition.
pub(crate) fn dropped_to_disk(def: &TableDef, at: Moment) -> Vec<u8> {
    let mut out = vec![DROPPED_VERSION];
    out.extend(at.wall_us.to_be_bytes());
    out.extend(at.uptime_us.to_be_bytes());
    out.extend(def.to_disk());
    out
}

/// Reads what [`dropped_to_disk`] wrote; errors as for [`TableDef::from_disk`].
pub(crate) fn dropped_from_disk(bytes: &[u8]) -> Result<(TableDef, Moment)> {
    match bytes {
        [DROPPED_VERSION, ..] if bytes.len() >= DROPPED_HEADER_BYTES => {}
        [version, ..] if *version != DROPPED_VERSION => {
            return Err(Error::new(
                Code::LogUnknownVersion,
                format!("a dropped table has version {version}, this program reads {DROPPED_VERSION}"),
            ));
        }
        _ => return Err(Error::new(Code::LogDamaged, "the record of a dropped table is too short")),
    }
    let at =
        Moment { wall_us: i64::from_be_bytes(array(&bytes[1..])), uptime_us: u64::from_be_bytes(array(&bytes[9..])) };
    Ok((TableDef::from_disk(&bytes[DROPPED_HEADER_BYTES..])?, at))
}

/// The view as it stands on disk.
pub fn view_to_disk(view: &View) -> Vec<u8> {
    encode(&DiskView {
        kind: VIEW.to_owned(),
        version: VIEW_VERSION,
        schema: view.schema_name.clone(),
        name: view.name.clone(),
        sql: view.sql.clone(),
    })
}

/// Reads what [`view_to_disk`] wrote; errors as for [`TableDef::from_disk`].
pub fn view_from_disk(bytes: &[u8]) -> Result<View> {
    check_header(VIEW, VIEW_VERSION, bytes)?;
    let disk: DiskView = decode(VIEW, bytes)?;
    Ok(View { schema_name: disk.schema, name: disk.name, sql: disk.sql })
}

fn to_disk_type(data_type: &DataType) -> DiskType {
    use DataType as T;
    match data_type {
        T::Boolean => DiskType::Boolean,
        T::Int8 => DiskType::Int8,
        T::Int16 => DiskType::Int16,
        T::Int32 => DiskType::Int32,
        T::Int64 => DiskType::Int64,
        T::UInt8 => DiskType::Uint8,
        T::UInt16 => DiskType::Uint16,
        T::UInt32 => DiskType::Uint32,
        T::UInt64 => DiskType::Uint64,
        T::Float32 => DiskType::Float32,
        T::Float64 => DiskType::Float64,
        T::Decimal128(precision, scale) if *scale >= 0 => {
            DiskType::Decimal { precision: *precision, scale: scale.unsigned_abs() }
        }
        T::Utf8 => DiskType::Text,
        T::Binary => DiskType::Binary,
        T::Date32 => DiskType::Date,
        T::Time64(TimeUnit::Microsecond) => DiskType::TimeUs,
        T::Timestamp(TimeUnit::Microsecond, None) => DiskType::TimestampUs,
        T::Timestamp(TimeUnit::Microsecond, Some(_)) => DiskType::InstantUs,
        T::List(item) => DiskType::List(Box::new(to_disk_type(item.data_type()))),
        T::Struct(fields) => DiskType::Struct(
            fields
                .iter()
                .map(|field| DiskField { name: field.name().clone(), data_type: to_disk_type(field.data_type()) })
                .collect(),
        ),
        other => unreachable!("{other} is not a canonical storage type"),
    }
}

fn from_disk_type(data_type: DiskType) -> DataType {
    use DataType as T;
    match data_type {
        DiskType::Boolean => T::Boolean,
        DiskType::Int8 => T::Int8,
        DiskType::Int16 => T::Int16,
        DiskType::Int32 => T::Int32,
        DiskType::Int64 => T::Int64,
        DiskType::Uint8 => T::UInt8,
        DiskType::Uint16 => T::UInt16,
        DiskType::Uint32 => T::UInt32,
        DiskType::Uint64 => T::UInt64,
        DiskType::Float32 => T::Float32,
        DiskType::Float64 => T::Float64,
        DiskType::Decimal { precision, scale } => T::Decimal128(precision, i8::try_from(scale).unwrap_or(i8::MAX)),
        DiskType::Text => T::Utf8,
        DiskType::Binary => T::Binary,
        DiskType::Date => T::Date32,
        DiskType::TimeUs => T::Time64(TimeUnit::Microsecond),
        DiskType::TimestampUs => T::Timestamp(TimeUnit::Microsecond, None),
        DiskType::InstantUs => T::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        DiskType::List(item) => T::List(Arc::new(Field::new_list_field(from_disk_type(*item), true))),
        DiskType::Struct(fields) => T::Struct(
            fields.into_iter().map(|field| Field::new(field.name, from_disk_type(field.data_type), true)).collect(),
        ),
    }
}

#[expect(
    clippy::expect_used,
    reason = "only maps with keys that are not text and failing Serialize impls make it fail; there are none"
)]
pub(crate) fn encode(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain structs are written as JSON")
}

pub(crate) fn decode<'a, T: Deserialize<'a>>(kind: &str, bytes: &'a [u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| damaged(kind, error.to_string()).source(error))
}

/// Kind and version are looked at before the rest, so that a newer form is named as such and not taken for damage.
pub(crate) fn check_header(kind: &str, newest: u32, bytes: &[u8]) -> Result<()> {
    let header: Header = decode(kind, bytes)?;
    if header.kind != kind {
        return Err(damaged(
            kind,
            format!("it is the definition of a '{}'", header.kind.chars().take(40).collect::<String>()),
        ));
    }
    if header.version == 0 || header.version > newest {
        return Err(Error::new(
            Code::LogUnknownVersion,
            format!("the definition of a {kind} has version {}, this program reads up to {newest}", header.version),
        )
        .hint("start the program version that wrote this data folder, or a newer one"));
    }
    Ok(())
}

fn damaged(kind: &str, why: String) -> Error {
    Error::new(Code::LogDamaged, format!("the stored definition of a {kind} is damaged: {why}"))
        .hint("restore the data folder from a backup")
}
