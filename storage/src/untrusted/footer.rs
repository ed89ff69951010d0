//! May the footer of this Parquet file be read? And the page index that it names?

use std::ops::Range;

use bytes::Bytes;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::page_index::offset_index::PageLocation;
use parquet::file::reader::ChunkReader;

use super::forms::{COLUMN_INDEX, FIXED_LENGTH, FOOTER, N_CHILDREN, OFFSET_INDEX, ROW_GROUPS, SCHEMA, SCHEMA_ELEMENT};
use super::thrift::{Fields, Form, Walk};
use super::{guarded, no_parquet, too_large};
use crate::error::{Error, Result};

/// Length of the footer and the mark of the format, at the end of a file.
pub const TAIL_BYTES: u64 = 8;
const MARK: &[u8] = b"PAR1";

/// A footer of so many bytes is so many times larger when it is read.
const FOOTER_FACTOR: u64 = 16;
const MAX_FOOTER_BYTES: u64 = 16 << 20;

/// The footer of a file of a table says when each of its entries came, and has thousands of columns in many row groups.
const MAX_SEALED_FOOTER_BYTES: u64 = 256 << 20;

/// Columns, lists and structs; and how deep they may stand in each other.
const MAX_SCHEMA_ELEMENTS: usize = 16_384;
const MAX_NESTING: usize = 32;
const MAX_ROW_GROUPS: usize = i16::MAX as usize;

/// Values of a fixed length have no more: each row has one, also where it is NULL.
const MAX_FIXED_BYTES: i32 = 64 << 10;

/// Of a file that somebody brings. `MALFORMED_PAYLOAD` for what is no footer of a Parquet file, `BATCH_TOO_LARGE` when reading it would take
/// more than `max_bytes`.
pub fn check_footer(file: &impl ChunkReader, max_bytes: u64) -> Result<()> {
    footer_bytes(file, MAX_FOOTER_BYTES.min(max_bytes / FOOTER_FACTOR)).map(drop)
}

/// The footer of a file of a table, which may be one that another server wrote, without its page index. `file` may be its end alone. Where
/// columns and page index are is within `file_bytes`.
pub fn read_sealed_footer(file: &impl ChunkReader, file_bytes: u64) -> Result<ParquetMetaData> {
    let footer = footer_bytes(file, MAX_SEALED_FOOTER_BYTES)?;
    let footer = guarded(|| ParquetMetaDataReader::decode_metadata(&footer).map_err(no_parquet))?;
    let columns = footer.row_groups().iter().flat_map(|group| group.columns());
    let mut places = columns.map(|column| place_of(column, file_bytes)).collect::<Result<Vec<_>>>()?;
    // Of two columns in one place a reader would take what was checked as the other.
    places.sort_unstable_by_key(|place| (place.start, place.end));
    if places.windows(2).any(|two| two[0].end > two[1].start) {
        return Err(no_parquet("two of its columns stand in one place"));
    }
    index_place(&footer, file_bytes)?;
    Ok(footer)
}

/// How many bytes at the end of a file the footer is that `tail`, the last [`TAIL_BYTES`], tells of. They may be more than the file has.
pub fn sealed_footer_bytes(tail: &[u8]) -> Result<u64> {
    Ok(length_in(tail, MAX_SEALED_FOOTER_BYTES)? + TAIL_BYTES)
}

/// What the end of a file says how long its footer is.
fn length_in(tail: &[u8], max_footer_bytes: u64) -> Result<u64> {
    let (length, mark) = tail.split_first_chunk().ok_or_else(no_end)?;
    let length = u64::from(u32::from_le_bytes(*length));
    match mark == MARK {
        true if length > max_footer_bytes => Err(long_footer(length)),
        true => Ok(length),
        false => Err(no_end()),
    }
}

fn no_end() -> Error {
    no_parquet("it does not end as a Parquet file does")
}

fn long_footer(length: u64) -> Error {
    too_large(&format!("its footer has {length} bytes"), "write fewer columns and row groups")
}

/// Checked.
fn footer_bytes(file: &impl ChunkReader, max_footer_bytes: u64) -> Result<Bytes> {
    let tail_at = file.len().checked_sub(TAIL_BYTES).ok_or_else(no_end)?;
    let tail = file.get_bytes(tail_at, TAIL_BYTES as usize).map_err(no_parquet)?;
    let length = length_in(&tail, max_footer_bytes)?;
    let footer_at = tail_at.checked_sub(length).ok_or_else(no_end)?;
    let footer = file.get_bytes(footer_at, length as usize).map_err(no_parquet)?;
    walk_footer(&footer).ok_or_else(|| no_parquet("its footer is damaged, or its schema is too large"))?;
    Ok(footer)
}

/// Where the pages of a column are.
pub(super) fn place_of(column: &ColumnChunkMetaData, file_bytes: u64) -> Result<Range<u64>> {
    let at = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
    let place = u64::try_from(at).ok().zip(u64::try_from(column.compressed_size()).ok());
    let place = place.and_then(|(at, length)| Some(at..at.checked_add(length)?));
    place.filter(|place| place.end <= file_bytes).ok_or_else(|| no_parquet("a column stands behind its end"))
}

/// Where the page index is, all of it. `None`: there is none.
pub fn index_place(footer: &ParquetMetaData, file_bytes: u64) -> Result<Option<Range<u64>>> {
    let mut place: Option<Range<u64>> = None;
    for column in footer.row_groups().iter().flat_map(|group| group.columns()) {
        for part in index_parts(column, file_bytes)?.into_iter().flatten() {
            place = Some(place.map_or(part.clone(), |all| all.start.min(part.start)..all.end.max(part.end)));
        }
    }
    Ok(place)
}

/// Where the offset index and the column index of a column are.
fn index_parts(column: &ColumnChunkMetaData, file_bytes: u64) -> Result<[Option<Range<u64>>; 2]> {
    let parts = [
        (column.offset_index_offset(), column.offset_index_length()),
        (column.column_index_offset(), column.column_index_length()),
    ];
    let mut places = [None, None];
    for (place, part) in places.iter_mut().zip(parts) {
        let (Some(at), Some(length)) = part else { continue };
        let part = u64::try_from(at).ok().zip(u64::try_from(length).ok());
        let part = part.and_then(|(at, length)| Some(at..at.checked_add(length)?));
        let part = part.filter(|part| part.end <= file_bytes);
        *place = Some(part.ok_or_else(|| no_parquet("its page index stands behind its end"))?);
    }
    Ok(places)
}

/// Whether the page index of a file of a table may be read. `index` are the bytes at `at`, which is where [`index_place`] begins.
pub fn check_index(footer: &ParquetMetaData, index: &[u8], at: u64) -> Result<()> {
    let damaged = || no_parquet("its page index is damaged");
    let walk = |place: Range<u64>, fields: Fields| -> Option<()> {
        let (start, end) = (place.start.checked_sub(at)?, place.end.checked_sub(at)?);
        let part = index.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)?;
        Walk::new(part).fields(fields, |walk, _, form| walk.value(form))
    };
    for column in footer.row_groups().iter().flat_map(|group| group.columns()) {
        let parts = index_parts(column, u64::MAX)?;
        for (place, fields) in parts.into_iter().zip([OFFSET_INDEX, COLUMN_INDEX]) {
            place.map_or(Some(()), |place| walk(place, fields)).ok_or_else(damaged)?;
        }
    }
    Ok(())
}

/// Whether pages are where a column is, one behind the other; a reader takes them from where they are said to be. `footer` has its page index.
pub fn check_locations(footer: &ParquetMetaData, file_bytes: u64) -> Result<()> {
    let Some(index) = footer.offset_index() else { return Ok(()) };
    let wrong = || no_parquet("its page index says that pages are where they cannot be");
    for (group, of_group) in footer.row_groups().iter().zip(index) {
        for (column, of_column) in group.columns().iter().zip(of_group) {
            let place = place_of(column, file_bytes)?;
            let mut at = place.start;
            for page in of_column.page_locations() {
                let page = place_of_page(page).filter(|page| page.start >= at && page.end <= place.end);
                at = page.ok_or_else(wrong)?.end;
            }
        }
    }
    Ok(())
}

pub(super) fn place_of_page(page: &PageLocation) -> Option<Range<u64>> {
    let (at, length) = (u64::try_from(page.offset).ok()?, u64::try_from(page.compressed_page_size).ok()?);
    Some(at..at.checked_add(length)?)
}

fn walk_footer(footer: &[u8]) -> Option<()> {
    Walk::new(footer).fields(FOOTER, |walk, id, form| match (id, form) {
        (SCHEMA, Form::List(element)) => walk_schema(walk, *element),
        (ROW_GROUPS, Form::List(group)) => {
            let n = walk.list(*group).filter(|n| *n <= MAX_ROW_GROUPS)?;
            (0..n).try_for_each(|_| walk.value(*group))
        }
        (_, form) => walk.value(form),
    })
}

/// The elements of the schema: each says how many of those behind it are within it.
fn walk_schema(walk: &mut Walk<'_>, element: Form) -> Option<()> {
    let n = walk.list(element).filter(|n| *n <= MAX_SCHEMA_ELEMENTS)?;
    // By element that is not at its end: how many are still to come within it.
    let mut open: Vec<usize> = Vec::new();
    for _ in 0..n {
        let (mut n_children, mut fixed_length) = (0, 0);
        walk.fields(SCHEMA_ELEMENT, |walk, id, form| {
            match id {
                FIXED_LENGTH => fixed_length = walk.number()?,
                N_CHILDREN => n_children = walk.number()?,
                _ => walk.value(form)?,
            }
            Some(())
        })?;
        while open.last() == Some(&0) {
            open.pop();
        }
        if let Some(last) = open.last_mut() {
            *last -= 1;
        }
        let n_children = usize::try_from(n_children).ok()?;
        if n_children > 0 {
            open.push(n_children);
        }
        (n_children <= n && open.len() <= MAX_NESTING && fixed_length <= MAX_FIXED_BYTES).then_some(())?;
    }
    Some(())
}
