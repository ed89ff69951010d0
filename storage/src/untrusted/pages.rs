//! May the pages of this Parquet file be decoded? What stands before each is walked through, and what it stands for is bounded.

use std::io::{self, Read};
use std::ops::Range;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use lz4_flex::frame::FrameDecoder;
use parquet::basic::{Compression, Type};
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::page_index::offset_index::PageLocation;
use parquet::file::reader::ChunkReader;

use super::footer::{place_of, place_of_page};
use super::forms::{DATA_PAGE, DATA_PAGE_V2, DICTIONARY, PAGE};
use super::thrift::{Form, Walk};
use super::{no_parquet, too_large};
use crate::error::{Code, Error, Result};

/// A page, as it is stored and decompressed. Some write all of a column's row group into one.
const MAX_PAGE_BYTES: u64 = 128 << 20;

/// The same in a file of a table. Of those that we write the largest is a dictionary: 128 MiB, and the value that was too much.
const MAX_SEALED_PAGE_BYTES: u64 = 512 << 20;

/// A page of a file of a table that takes more than this to be decoded is asked for from the memory of whoever reads it.
const MUCH_BYTES: u64 = 64 << 20;

/// Where a page begins stands in so many bytes, or at most in so many: it may have the least and the largest value.
const HEADER_BYTES: [u64; 2] = [256, 64 << 10];

/// What a value takes beside itself in a column of lists: where lists begin and end.
const LEVELS_BYTES: u64 = 4;

/// A text or bytes, where they stand.
const VIEW_BYTES: u64 = 16;

/// Rows that are decoded at once have about so many bytes, as long as each column has no more than its page.
const ROWS_BYTES: u64 = 8 << 20;

/// Encodings of texts by their lengths and by what they share with the text before: the reader allocates what the page claims, and a few
/// bytes are a long text.
const DELTA_LENGTH: i32 = 6;
const DELTA_TEXT: i32 = 7;

/// Bytes that reading a row group holds at most, beside the rows that are asked for: a page of each column with its dictionary, and whole
/// columns of lists, of which one row may have all values. `BATCH_TOO_LARGE` for more than `max_bytes`. Reads where pages begin.
pub fn check_row_group(file: &impl ChunkReader, group: &RowGroupMetaData, max_bytes: u64) -> Result<u64> {
    let mut total = 0_u64;
    for column in group.columns() {
        total = total.saturating_add(column_bytes(file, column)?);
        if total > max_bytes {
            let what = format!("reading one row group takes more than {max_bytes} bytes");
            return Err(too_large(&what, "write smaller row groups and pages"));
        }
    }
    Ok(total)
}

/// How many rows of a row group to decode at once, so that they do not take much more than [`ROWS_BYTES`]; at most `most`.
pub fn rows_at_once(group: &RowGroupMetaData, most: usize) -> usize {
    let least: u64 = group.columns().iter().map(value_bytes).sum();
    let usual = group.total_byte_size().max(0) as u64 / group.num_rows().max(1) as u64;
    let n = usize::try_from(ROWS_BYTES / least.max(usual).max(1)).unwrap_or(most);
    n.clamp(1, most)
}

fn column_bytes(file: &impl ChunkReader, column: &ColumnChunkMetaData) -> Result<u64> {
    let (mut dictionary, mut largest, mut values) = (0, 0, 0_u64);
    let place = place_of(column, file.len())?;
    each_page(file, column, place, MAX_PAGE_BYTES, |page, _| {
        let bytes = page.plain_bytes.max(page.stored_bytes);
        match page.is_dictionary {
            true => dictionary = bytes.max(dictionary) + VIEW_BYTES * page.n_values,
            false => {
                largest = bytes.max(largest);
                values = values.saturating_add(page.n_values);
            }
        }
        Ok(())
    })?;
    // A page and the next one: rows may stand in both.
    let pages = dictionary + 2 * largest;
    Ok(match column.column_descr().max_rep_level() {
        0 => pages,
        _ => pages.saturating_add(values.saturating_mul(value_bytes(column) + LEVELS_BYTES)),
    })
}

/// Checks the pages that stand at `place`, to its end, and gives each with where it begins.
fn each_page(
    file: &impl ChunkReader,
    column: &ColumnChunkMetaData,
    place: Range<u64>,
    max_page_bytes: u64,
    mut take: impl FnMut(&Page, Range<u64>) -> Result<()>,
) -> Result<()> {
    let (mut at, end) = (place.start, place.end);
    while at < end {
        let page = page_at(file, at, end)?;
        let stored_at = at + page.header_bytes;
        let next = stored_at.checked_add(page.stored_bytes).filter(|next| *next <= end);
        let next = next.ok_or_else(|| no_parquet("a page stands behind the end of its column"))?;
        check_page(file, column, &page, stored_at, max_page_bytes)?;
        take(&page, at..next)?;
        at = next;
    }
    Ok(())
}

/// Whether columns of a row group of a file of a table, which may be one that another server wrote, may be decoded.
pub fn check_sealed_columns(
    file: &impl ChunkReader,
    group: &RowGroupMetaData,
    is_wanted: impl Fn(usize) -> bool,
) -> Result<()> {
    for (_, column) in group.columns().iter().enumerate().filter(|(leaf, _)| is_wanted(*leaf)) {
        each_page(file, column, place_of(column, file.len())?, MAX_SEALED_PAGE_BYTES, |_, _| Ok(()))?;
    }
    Ok(())
}

/// The same of a part of a column: `part` are the bytes of a file from `at` on, whole pages. `pages`: where the page index says that the
/// column's pages are, for the reader believes it. Returns what decoding the largest page takes, if that is much; else 0.
pub fn check_sealed_part(part: &Bytes, at: u64, column: &ColumnChunkMetaData, pages: &[PageLocation]) -> Result<u64> {
    let place = place_of(column, u64::MAX)?;
    let elsewhere = || no_parquet("its page index says that pages are where others are");
    let end = at + part.len() as u64;
    let mut largest = 0;
    // Of a column of many pages each may be a part by itself.
    let first = pages.partition_point(|page| u64::try_from(page.offset).is_ok_and(|offset| offset < at));
    let mut said = pages[first..].iter().filter_map(place_of_page).peekable();
    let is_nested = column.column_descr().max_rep_level() > 0;
    each_page(part, column, 0..part.len() as u64, MAX_SEALED_PAGE_BYTES, |page, found| {
        let found = at + found.start..at + found.end;
        // What stands first is a dictionary if pages begin behind it.
        let is_first = found.start == place.start && said.peek().is_none_or(|first| first.start >= found.end);
        if !pages.is_empty() && !is_first && said.next() != Some(found) {
            return Err(elsewhere());
        }
        let decoded = if is_nested { page.n_values.saturating_mul(value_bytes(column) + LEVELS_BYTES) } else { 0 };
        largest = page.plain_bytes.max(page.stored_bytes).max(decoded).max(largest);
        Ok(())
    })?;
    if said.next().is_some_and(|page| page.start < end) {
        return Err(elsewhere());
    }
    Ok(if largest > MUCH_BYTES { largest } else { 0 })
}

/// What a value takes at least, and at most if it is no text.
fn value_bytes(column: &ColumnChunkMetaData) -> u64 {
    match column.column_type() {
        Type::BOOLEAN => 1,
        Type::INT32 | Type::FLOAT => 4,
        Type::INT64 | Type::DOUBLE => 8,
        Type::INT96 => 12,
        Type::BYTE_ARRAY => VIEW_BYTES,
        Type::FIXED_LEN_BYTE_ARRAY => VIEW_BYTES.max(u64::from(column.column_descr().type_length().unsigned_abs())),
    }
}

/// What stands before a page.
#[derive(Debug, Default)]
struct Page {
    header_bytes: u64,
    stored_bytes: u64,
    plain_bytes: u64,
    is_dictionary: bool,
    n_values: u64,
    is_delta: bool,
    /// In front of the values, never compressed.
    level_bytes: u64,
}

fn page_at(file: &impl ChunkReader, at: u64, end: u64) -> Result<Page> {
    for wanted in HEADER_BYTES {
        let bytes = file.get_bytes(at, wanted.min(end - at) as usize).map_err(no_parquet)?;
        if let Some(page) = walk_page(&bytes) {
            return Ok(page);
        }
    }
    Err(no_parquet("the beginning of a page is damaged"))
}

fn walk_page(bytes: &[u8]) -> Option<Page> {
    let (mut page, mut walk, mut n_kinds) = (Page::default(), Walk::new(bytes), 0);
    let size = |walk: &mut Walk<'_>| u64::try_from(walk.number()?).ok();
    walk.fields(PAGE, |walk, page_id, form| {
        match (page_id, form) {
            (2, _) => page.plain_bytes = size(walk)?,
            (3, _) => page.stored_bytes = size(walk)?,
            (DATA_PAGE | DICTIONARY | DATA_PAGE_V2, Form::Struct(known)) => {
                page.is_dictionary = page_id == DICTIONARY;
                n_kinds += 1;
                walk.fields(known, |walk, id, form| {
                    match (page_id, id) {
                        (_, 1) => page.n_values = size(walk)?,
                        (DATA_PAGE, 2) | (DATA_PAGE_V2, 4) => {
                            page.is_delta |= matches!(walk.number()?, DELTA_LENGTH | DELTA_TEXT);
                        }
                        (DATA_PAGE_V2, 5 | 6) => page.level_bytes += size(walk)?,
                        _ => walk.value(form)?,
                    }
                    Some(())
                })?;
            }
            (_, form) => walk.value(form)?,
        }
        Some(())
    })?;
    page.header_bytes = (bytes.len() - walk.n_left()) as u64;
    // Of two kinds the reader would take either.
    (n_kinds <= 1).then_some(page)
}

fn check_page(
    file: &impl ChunkReader,
    column: &ColumnChunkMetaData,
    page: &Page,
    stored_at: u64,
    max_page_bytes: u64,
) -> Result<()> {
    if page.plain_bytes.max(page.stored_bytes) > max_page_bytes {
        let what = format!("a page has more than {max_page_bytes} bytes");
        return Err(too_large(&what, "write smaller pages"));
    }
    if page.is_dictionary && page.n_values > page.plain_bytes {
        return Err(no_parquet("a dictionary has more values than bytes"));
    }
    if page.is_delta {
        return Err(Error::new(
            Code::MalformedPayload,
            format!("the Parquet file has texts in a delta encoding, in column '{}'", column.column_path().string()),
        )
        .hint("write the column plain or with a dictionary, as version 1.0 of the format has it"));
    }
    // The other codecs write into what the page says that it has.
    let is_unbounded = matches!(column.compression(), Compression::GZIP(_) | Compression::LZ4);
    if !is_unbounded || page.plain_bytes == 0 {
        return Ok(());
    }
    let stored = file.get_bytes(stored_at, page.stored_bytes as usize).map_err(no_parquet)?;
    let compressed = stored.get(page.level_bytes as usize..).unwrap_or_default();
    let plain: Box<dyn Read + '_> = match column.compression() {
        Compression::GZIP(_) => Box::new(MultiGzDecoder::new(compressed)),
        _ => Box::new(FrameDecoder::new(compressed)),
    };
    // What cannot be decompressed is refused when it is read.
    match io::copy(&mut plain.take(page.plain_bytes + 1), &mut io::sink()) {
        Ok(n) if n > page.plain_bytes => Err(no_parquet("a page has more bytes than it says")),
        _ => Ok(()),
    }
}
