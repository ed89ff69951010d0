//! What does a settled file on the local disk hold? Its rows in the table's types, the stamps of its entries, its checksum. Blocks.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch, new_null_array};
use arrow::datatypes::{DataType, Field, Fields, Int64Type, Schema, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::Type as PhysicalType;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::reader::ChunkReader;
use xxhash_rust::xxh3::Xxh3;

use super::stamps;
use super::types::{COMMIT_SEQ, from_stored};
use crate::error::{Code, Error, Result};
use crate::limits::ZONE_ROWS;
use crate::untrusted::{check_sealed_columns, read_sealed_footer};

/// A file is read in pieces of this size for its checksum.
const READ_BYTES: usize = 1 << 20;

/// Bytes and XXH3-64 of a whole file.
pub(crate) fn checksum_of(path: &Path) -> Result<(u64, u64)> {
    let read = || -> io::Result<(u64, u64)> {
        let mut file = File::open(path)?;
        let mut hash = Xxh3::new();
        let mut bytes = 0;
        let mut piece = vec![0; READ_BYTES];
        loop {
            match file.read(&mut piece) {
                Ok(0) => return Ok((bytes, hash.digest())),
                Ok(n) => {
                    hash.update(&piece[..n]);
                    bytes += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    };
    read().map_err(|e| unreadable(path, e))
}

/// A file and its footer, which is checked before it is believed: another server may have written the file, and its checksum.
fn opened(path: &Path) -> Result<(File, ParquetMetaData)> {
    let file = File::open(path).map_err(|e| unreadable(path, e))?;
    let n_bytes = file.metadata().map_err(|e| unreadable(path, e))?.len();
    let footer = read_sealed_footer(&file, n_bytes).map_err(|e| damaged(path, e.message()).source(e))?;
    Ok((file, footer))
}

/// Checks the pages of the columns that are read, by their places among those of the file, in some of its row groups.
fn check_pages(
    path: &Path,
    file: &impl ChunkReader,
    footer: &ParquetMetaData,
    groups: Range<usize>,
    is_wanted: impl Fn(usize) -> bool,
) -> Result<()> {
    let leaves = footer.file_metadata().schema_descr();
    let is_wanted = |leaf: usize| is_wanted(leaves.get_column_root_idx(leaf));
    let groups = footer.row_groups().get(groups).unwrap_or_default();
    let checked = groups.iter().try_for_each(|group| check_sealed_columns(file, group, is_wanted));
    checked.map_err(|e| damaged(path, e.message()).source(e))
}

fn reader_of<R: ChunkReader + 'static>(
    path: &Path,
    file: R,
    footer: Arc<ParquetMetaData>,
) -> Result<ParquetRecordBatchReaderBuilder<R>> {
    let footer = ArrowReaderMetadata::try_new(footer, ArrowReaderOptions::new());
    let footer = footer.map_err(|e| damaged(path, &e.to_string()))?;
    Ok(ParquetRecordBatchReaderBuilder::new_with_metadata(file, footer))
}

/// When the entries came that the file has rows of: (commit_seq, stamp in microseconds), ascending.
pub(crate) fn read_stamps(path: &Path) -> Result<Vec<(i64, i64)>> {
    let (_, footer) = opened(path)?;
    let values = footer.file_metadata().key_value_metadata().into_iter().flatten();
    let text = values.filter(|value| value.key == stamps::STAMPS).find_map(|value| value.value.as_deref());
    let text = text.ok_or_else(|| damaged(path, &format!("its footer has no {}", stamps::STAMPS)))?;
    stamps::decode(text).map_err(|e| match e.code() {
        Code::FileDamaged => damaged(path, e.message()).source(e),
        _ => e,
    })
}

/// About what reading a file row group by row group holds at its peak: of each column its dictionary, a page, and a batch of rows.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ReadingBytes {
    /// However many rows a batch has.
    pages: u64,
    /// A decoded row.
    row: u64,
}

impl ReadingBytes {
    #[cfg(test)]
    pub(crate) fn new(pages: u64, row: u64) -> Self {
        Self { pages, row }
    }

    /// Of a decoded row.
    pub(crate) fn row_bytes(self) -> u64 {
        self.row
    }

    /// Of batches of so many rows.
    pub(crate) fn with_batches_of(self, n_rows: usize) -> u64 {
        // A batch is there once as it was read, and once in the table's types.
        self.pages.saturating_add(2 * self.row * n_rows as u64)
    }
}

/// Looks it up in the file's footer.
pub(crate) fn reading_bytes(path: &Path) -> Result<ReadingBytes> {
    let (_, footer) = opened(path)?;
    let mut most = ReadingBytes::default();
    for group in footer.row_groups() {
        let n_rows = group.num_rows().unsigned_abs().max(1);
        let columns = group.columns().iter().map(|column| column_bytes(column, n_rows));
        let all = columns.fold(ReadingBytes::default(), |all, column| ReadingBytes {
            pages: all.pages + column.pages,
            row: all.row + column.row,
        });
        most = ReadingBytes { pages: most.pages.max(all.pages), row: most.row.max(all.row) };
    }
    Ok(most)
}

/// Of one column in a row group of so many rows.
fn column_bytes(column: &ColumnChunkMetaData, n_rows: u64) -> ReadingBytes {
    let raw = column.uncompressed_size().unsigned_abs();
    // The dictionary stands before all pages, and is compressed as well as they are.
    let packed =
        column.dictionary_page_offset().map_or(0, |at| column.data_page_offset().saturating_sub(at).unsigned_abs());
    let ratio = raw.div_ceil(column.compressed_size().unsigned_abs().max(1));
    let dictionary = packed.saturating_mul(ratio).min(raw);
    let page = (raw - dictionary) * (ZONE_ROWS as u64).min(n_rows) / n_rows;
    let width = match column.column_type() {
        PhysicalType::BYTE_ARRAY => size_of::<i32>(),
        PhysicalType::FIXED_LEN_BYTE_ARRAY | PhysicalType::INT96 => size_of::<i128>(),
        _ => size_of::<i64>(),
    };
    let values = column.num_values().unsigned_abs() * width as u64;
    let texts = column.unencoded_byte_array_data_bytes().map_or(raw, i64::unsigned_abs);
    let texts = if column.column_type() == PhysicalType::BYTE_ARRAY { texts } else { 0 };
    ReadingBytes { pages: dictionary + page, row: (values + texts).div_ceil(n_rows) }
}

/// The rows of a file, in their order: batches in the types of `schema`, the table's, and the entry of each row. Columns that the table got
/// after the file are NULL. `None` for entries: the file has no `_commit_seq`, because the table has no system columns or because all rows
/// came with one entry (see [`super::SegmentFile::entry`]).
#[cfg(test)]
pub(crate) fn read_file(
    path: &Path,
    schema: &SchemaRef,
) -> Result<impl Iterator<Item = Result<(RecordBatch, Option<Int64Array>)>> + use<>> {
    read_file_by(path, schema, ZONE_ROWS)
}

/// The same in batches of so many rows.
pub(crate) fn read_file_by(
    path: &Path,
    schema: &SchemaRef,
    batch_rows: usize,
) -> Result<impl Iterator<Item = Result<(RecordBatch, Option<Int64Array>)>> + use<>> {
    let (input, footer) = opened(path)?;
    check_pages(path, &input, &footer, 0..footer.num_row_groups(), |_| true)?;
    let reader = reader_of(path, input, Arc::new(footer))?;
    let n_columns = table_columns(path, reader.schema(), schema)?;
    let reader = reader.with_batch_size(batch_rows).build().map_err(|e| damaged(path, &e.to_string()))?;
    Ok(FileRows { path: path.into(), reader, schema: Arc::clone(schema), n_columns })
}

/// Some columns of a file, its rows in their order: each at its place in the table's `schema`, in the table's type. Where others belong
/// stand columns of nothing but NULLs, of no type.
pub(crate) fn read_columns(
    path: &Path,
    schema: &SchemaRef,
    columns: &[usize],
) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<>> {
    let (input, footer) = opened(path)?;
    let groups = 0..footer.num_row_groups();
    columns_of(path, input, Arc::new(footer), groups, schema, columns)
}

/// The same of some row groups of a file, whose columns `input` has at their places. `path` names it.
pub(super) fn columns_of<R: ChunkReader + 'static>(
    path: &Path,
    input: R,
    footer: Arc<ParquetMetaData>,
    groups: Range<usize>,
    schema: &SchemaRef,
    columns: &[usize],
) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<R>> {
    check_pages(path, &input, &footer, groups.clone(), |column| columns.contains(&column))?;
    let reader = reader_of(path, input, footer)?.with_row_groups(groups.collect());
    let n_columns = table_columns(path, reader.schema(), schema)?;
    if columns.iter().any(|&column| column >= n_columns) {
        return Err(damaged(path, &format!("it has {n_columns} columns, and others are needed")));
    }
    // They come in the file's order, each once.
    let wanted: BTreeSet<usize> = columns.iter().copied().collect();
    let mask = ProjectionMask::roots(reader.parquet_schema(), wanted.iter().copied());
    let reader = reader.with_projection(mask).with_batch_size(ZONE_ROWS).build();
    let reader = reader.map_err(|e| damaged(path, &e.to_string()))?;
    let fields = schema.fields().iter().enumerate().map(|(at, field)| match wanted.contains(&at) {
        true => Arc::clone(field),
        false => Arc::new(Field::new(field.name(), DataType::Null, true)),
    });
    let fields: Fields = fields.collect();
    let (schema, path): (SchemaRef, Box<Path>) = (Arc::new(Schema::new(fields)), path.into());
    Ok(reader.map(move |stored| {
        let stored = stored.map_err(|e| damaged(&path, &e.to_string()))?;
        placed(&stored, &schema).map_err(|e| damaged(&path, e.message()).source(e))
    }))
}

/// The columns of `stored` in the places of those of `schema` that have a type.
fn placed(stored: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let mut of_file = stored.columns().iter();
    let columns = schema.fields().iter().map(|field| match (field.data_type(), stored.num_rows()) {
        (DataType::Null, n_rows) => Ok(new_null_array(&DataType::Null, n_rows)),
        (data_type, _) => {
            let column = of_file.next().ok_or_else(|| Error::internal("a column of a file was not read"))?;
            from_stored(column, data_type)
        }
    });
    Ok(RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<_>>()?)?)
}

/// How many columns of the table the file has: the first ones, in order.
fn table_columns(path: &Path, stored: &Schema, schema: &Schema) -> Result<usize> {
    // No column of a table may have a name that begins like this.
    let own = stored.fields().iter().filter(|field| field.name() != COMMIT_SEQ).map(|field| field.name().as_str());
    let own: Vec<&str> = own.collect();
    let of_table: Vec<&str> = schema.fields().iter().take(own.len()).map(|field| field.name().as_str()).collect();
    if own.is_empty() || own != of_table {
        return Err(damaged(path, &format!("its columns are {}, which are not those of the table", own.join(", "))));
    }
    match stored.fields().get(own.len()) {
        Some(seqs) if seqs.name() != COMMIT_SEQ || *seqs.data_type() != DataType::Int64 => {
            Err(damaged(path, &format!("it has a column {} of type {}", seqs.name(), seqs.data_type())))
        }
        _ => Ok(own.len()),
    }
}

struct FileRows {
    path: Box<Path>,
    reader: ParquetRecordBatchReader,
    schema: SchemaRef,
    /// Of the table, in the file; one more is of entries.
    n_columns: usize,
}

impl Iterator for FileRows {
    type Item = Result<(RecordBatch, Option<Int64Array>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let stored = match self.reader.next()? {
            Ok(stored) => stored,
            Err(e) => return Some(Err(damaged(&self.path, &e.to_string()))),
        };
        Some(self.table_rows(&stored).map_err(|e| damaged(&self.path, e.message()).source(e)))
    }
}

impl FileRows {
    fn table_rows(&self, stored: &RecordBatch) -> Result<(RecordBatch, Option<Int64Array>)> {
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        for (at, field) in self.schema.fields().iter().enumerate() {
            columns.push(match stored.columns()[..self.n_columns].get(at) {
                Some(column) => from_stored(column, field.data_type())?,
                None => new_null_array(field.data_type(), stored.num_rows()),
            });
        }
        let seqs = stored.columns().get(self.n_columns).map(|seqs| seqs.as_primitive::<Int64Type>().clone());
        Ok((RecordBatch::try_new(Arc::clone(&self.schema), columns)?, seqs))
    }
}

fn unreadable(path: &Path, e: io::Error) -> Error {
    Error::new(Code::FolderUnusable, format!("{} cannot be read: {e}", path.display())).source(e)
}

fn damaged(path: &Path, how: &str) -> Error {
    Error::new(Code::FileDamaged, format!("{} is damaged: {how}", path.display()))
        .hint("restore the file from a backup; queries that do not need it go on")
}
