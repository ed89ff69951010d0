//! How is a file laid out? By its first rows: which columns hardly repeat a value, which are long texts that do.

use std::path::Path;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Schema};
use hashbrown::HashSet;
use parquet::arrow::ArrowSchemaConverter;
use parquet::basic::{Compression, Encoding, Type as PhysicalType, ZstdLevel};
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::SchemaDescriptor;
use xxhash_rust::xxh3::xxh3_64;

use super::output::parquet_error;
use super::plan::{Order, SourceRows};
use super::rows::{joined_column, places};
use crate::catalog::TableDef;
use crate::error::Result;
use crate::limits::{ROW_GROUP_ROWS, ZONE_ROWS};

/// Rows of one page: what a reader skips at once, the same as a zone of fresh rows.
pub(super) const PAGE_ROWS: usize = ZONE_ROWS;

/// Rows of one row group where a larger one would have texts for more than one dictionary.
const SMALL_GROUP_ROWS: usize = ROW_GROUP_ROWS / 4;

/// Rows of one row group of a file with long texts that repeat: each group has a dictionary of its own.
pub(super) const LONG_TEXT_ROWS: usize = 1 << 20;

/// A dictionary of long texts may take so much.
const LONG_TEXT_DICTIONARY_BYTES: usize = 128 << 20;

/// The library gives the dictionary of other values up when it is so large, and the rest of the row group is written without any.
const DICTIONARY_BYTES: usize = parquet::file::properties::DEFAULT_DICTIONARY_PAGE_SIZE_LIMIT;

/// Texts are long above this average.
const LONG_TEXT_BYTES: usize = 256;

/// Long texts repeat when fewer than this part of them are distinct.
const LONG_TEXT_DISTINCT_DIVISOR: usize = 10;

/// A row group of wide rows ends when it takes about so much, encoded: the writer holds all of it in memory.
pub(super) const ROW_GROUP_BYTES: usize = 256 << 20;

/// Zstandard's fastest level: higher ones take several times as long for a few percent.
const ZSTD_LEVEL: i32 = 1;

/// Keys of the footer beside that of the stamps.
const TABLE: &str = "tidewater.table";
const SCHEMA: &str = "tidewater.schema";

/// What decides how a column is encoded.
#[derive(Debug, Clone, Copy, Default)]
struct ColumnFacts {
    /// More than half of the values are distinct, and a dictionary would only add to them, or so many that it would be given up.
    is_near_unique: bool,
    is_repeated_long_text: bool,
    /// A dictionary of its texts would be given up.
    has_many_texts: bool,
    /// Parquet's statistics leave NaN out, while a query may find it above all numbers.
    has_nan: bool,
}

/// The properties of a file that begins with these rows in this order, sorted by the columns `order`. `stored` is the file's schema;
/// `has_nan` says whether any row of the file may have a NaN in a column.
pub(super) fn properties(
    path: &Path,
    rows: &[(u32, u32)],
    order: &Order,
    sources: &[SourceRows],
    def: &TableDef,
    stored: &Schema,
    has_nan: &dyn Fn(usize) -> bool,
) -> Result<WriterProperties> {
    let leaves = ArrowSchemaConverter::new().convert(stored).map_err(|e| parquet_error(path, e))?;
    let facts = facts(&rows[..rows.len().min(ROW_GROUP_ROWS)], sources, def, stored, has_nan)?;
    let group_rows = group_rows(&facts, &leaves, stored);
    let level = ZstdLevel::try_new(ZSTD_LEVEL).map_err(|e| parquet_error(path, e))?;
    let mut builder = WriterProperties::builder()
        // The form that readers of other languages take apart: name, then version.
        .set_created_by(concat!("tidewater version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(group_rows))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_sorting_columns(sorting_columns(order, &leaves, stored))
        .set_key_value_metadata(Some(vec![
            KeyValue::new(TABLE.to_owned(), def.id.to_string()),
            KeyValue::new(SCHEMA.to_owned(), def.schema_id.0.to_string()),
        ]));
    for leaf in 0..leaves.num_columns() {
        builder = with_column(builder, &leaves, leaf, facts[leaves.get_column_root_idx(leaf)]);
    }
    Ok(builder.build())
}

fn group_rows(facts: &[ColumnFacts], leaves: &SchemaDescriptor, stored: &Schema) -> usize {
    if facts.iter().any(|facts| facts.is_repeated_long_text) {
        return LONG_TEXT_ROWS;
    }
    // Of these it is not known.
    let is_nested_text = |leaf: usize| {
        leaves.column(leaf).physical_type() == PhysicalType::BYTE_ARRAY
            && stored.field(leaves.get_column_root_idx(leaf)).data_type().is_nested()
    };
    let has_many_texts =
        facts.iter().any(|facts| facts.has_many_texts) || (0..leaves.num_columns()).any(is_nested_text);
    if has_many_texts { SMALL_GROUP_ROWS } else { ROW_GROUP_ROWS }
}

fn with_column(
    mut builder: WriterPropertiesBuilder,
    leaves: &SchemaDescriptor,
    leaf: usize,
    facts: ColumnFacts,
) -> WriterPropertiesBuilder {
    let column = leaves.column(leaf);
    let path = column.path();
    if facts.is_near_unique {
        builder = builder.set_column_dictionary_enabled(path.clone(), false);
        if matches!(column.physical_type(), PhysicalType::INT32 | PhysicalType::INT64) {
            builder = builder.set_column_encoding(path.clone(), Encoding::DELTA_BINARY_PACKED);
        }
    }
    if facts.is_repeated_long_text {
        builder = builder.set_column_dictionary_page_size_limit(path.clone(), LONG_TEXT_DICTIONARY_BYTES);
    }
    if facts.has_nan && matches!(column.physical_type(), PhysicalType::FLOAT | PhysicalType::DOUBLE) {
        builder = builder.set_column_statistics_enabled(path.clone(), EnabledStatistics::None);
    }
    builder
}

/// The order as Parquet says it: by leaf columns, which are counted through lists and structs. `None`: there is none, or no column has what
/// comes first, the hour.
fn sorting_columns(order: &Order, leaves: &SchemaDescriptor, stored: &Schema) -> Option<Vec<SortingColumn>> {
    if order.hour_of.is_some() {
        return None;
    }
    let leaf_of = |column: usize| {
        let is_nested = stored.field(column).data_type().is_nested();
        let leaf = (0..leaves.num_columns()).find(|&leaf| leaves.get_column_root_idx(leaf) == column)?;
        i32::try_from(leaf).ok().filter(|_| !is_nested)
    };
    let columns: Vec<SortingColumn> = order
        .columns
        .iter()
        .map_while(|&column| leaf_of(column))
        .map(|column_idx| SortingColumn { column_idx, descending: false, nulls_first: false })
        .collect();
    (!columns.is_empty()).then_some(columns)
}

/// By column of the file; `first` are the rows of its first row group.
fn facts(
    first: &[(u32, u32)],
    sources: &[SourceRows],
    def: &TableDef,
    stored: &Schema,
    has_nan: &dyn Fn(usize) -> bool,
) -> Result<Vec<ColumnFacts>> {
    let first = places(first);
    let mut facts = Vec::with_capacity(stored.fields().len());
    for (at, column) in def.columns.iter().enumerate() {
        facts.push(match &column.data_type {
            DataType::Utf8 | DataType::Binary => ColumnFacts {
                is_repeated_long_text: is_repeated_long_text(sources, at, &first),
                has_many_texts: has_many_texts(sources, at, &first),
                ..ColumnFacts::default()
            },
            data_type if data_type.is_nested() => ColumnFacts { has_nan: has_nan(at), ..ColumnFacts::default() },
            data_type => ColumnFacts {
                is_near_unique: is_near_unique(&joined_column(sources, at, data_type, &first)?),
                has_nan: has_nan(at),
                ..ColumnFacts::default()
            },
        });
    }
    // Rows of one entry stand apart from each other in most orders: differences of neighbours take fewer bits than places in a dictionary.
    let commit_seq = ColumnFacts { is_near_unique: true, ..ColumnFacts::default() };
    facts.resize(stored.fields().len(), commit_seq);
    Ok(facts)
}

/// Whether more than half of these values of one width (bits have none) are distinct, or more than a dictionary takes.
fn is_near_unique(values: &ArrayRef) -> bool {
    let data = values.to_data();
    let width = values.data_type().primitive_width().filter(|width| *width <= size_of::<u128>());
    let (Some(width), Some(buffer)) = (width, data.buffers().first()) else { return false };
    let bytes = &buffer.as_slice()[data.offset() * width..(data.offset() + data.len()) * width];
    let n_values = values.len() - values.null_count();
    let stored_width = match values.data_type() {
        DataType::Decimal128(..=9, _) => size_of::<i32>(),
        DataType::Decimal128(..=18, _) => size_of::<i64>(),
        _ => width,
    };
    let mut seen: HashSet<u128> = HashSet::new();
    for (row, value) in bytes.chunks_exact(width).enumerate() {
        if values.is_valid(row) {
            let mut word = [0; size_of::<u128>()];
            word[..width].copy_from_slice(value);
            seen.insert(u128::from_le_bytes(word));
            if seen.len() * 2 > n_values || seen.len() * stored_width > DICTIONARY_BYTES {
                return true;
            }
        }
    }
    false
}

fn is_repeated_long_text(sources: &[SourceRows], at: usize, places: &[(usize, usize)]) -> bool {
    let values = || places.iter().filter_map(move |&(source, row)| text(&sources[source].rows, at, row));
    let (n_values, n_bytes) = values().fold((0, 0), |(n, bytes), value| (n + 1, bytes + value.len()));
    if n_bytes <= n_values * LONG_TEXT_BYTES {
        return false;
    }
    let mut seen: HashSet<u64> = HashSet::new();
    for value in values() {
        seen.insert(xxh3_64(value));
        if seen.len() * LONG_TEXT_DISTINCT_DIVISOR >= n_values {
            return false;
        }
    }
    true
}

/// Whether these texts are more than a dictionary takes.
fn has_many_texts(sources: &[SourceRows], at: usize, places: &[(usize, usize)]) -> bool {
    let mut seen: HashSet<u64> = HashSet::new();
    let mut bytes = 0;
    for &(source, row) in places {
        if let Some(value) = text(&sources[source].rows, at, row)
            && seen.insert(xxh3_64(value))
        {
            // After their length, as Parquet writes them.
            bytes += size_of::<u32>() + value.len();
            if bytes > DICTIONARY_BYTES {
                return true;
            }
        }
    }
    false
}

/// The bytes of a text; `None` for NULL.
fn text(rows: &RecordBatch, at: usize, row: usize) -> Option<&[u8]> {
    let column = rows.columns().get(at).filter(|column| column.is_valid(row))?;
    match column.data_type() {
        DataType::Utf8 => Some(column.as_string::<i32>().value(row).as_bytes()),
        _ => column.as_binary_opt::<i32>().map(|bytes| bytes.value(row)),
    }
}

pub(super) fn has_nan(sources: &[SourceRows], at: usize) -> bool {
    sources.iter().filter_map(|source| source.rows.columns().get(at)).any(is_nan_in)
}

fn is_nan_in(values: &ArrayRef) -> bool {
    match values.data_type() {
        DataType::Float32 => values.as_primitive::<Float32Type>().values().iter().any(|v| v.is_nan()),
        DataType::Float64 => values.as_primitive::<Float64Type>().values().iter().any(|v| v.is_nan()),
        DataType::List(_) => is_nan_in(values.as_list::<i32>().values()),
        DataType::Struct(_) => values.as_struct().columns().iter().any(is_nan_in),
        _ => false,
    }
}
