//! May this Parquet file be read? What it claims is checked before, and what it stands for is bounded.
//!
//! The Parquet reader takes the word of a file for how much to allocate and how deep to go: a few bytes could end the process, and no error
//! is made of that. Here the footer is walked through before it is read ([`check_footer`]), and the pages of a row group before they are
//! decoded ([`check_row_group`]).

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use lz4_flex::frame::FrameDecoder;
use parquet::basic::{Compression, Type};
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::reader::ChunkReader;
use tidewater_storage::{Code, Error, Result};

use super::thrift::{Fields, Form, Walk};

/// Length of the footer and the mark of the format, at the end of a file.
const TAIL_BYTES: u64 = 8;
const MARK: &[u8] = b"PAR1";

/// A footer of so many bytes is so many times larger when it is read.
const FOOTER_FACTOR: u64 = 16;
const MAX_FOOTER_BYTES: u64 = 16 << 20;

/// Columns, lists and structs; and how deep they may stand in each other.
const MAX_SCHEMA_ELEMENTS: usize = 16_384;
const MAX_NESTING: usize = 32;
const MAX_ROW_GROUPS: usize = i16::MAX as usize;

/// Values of a fixed length have no more: each row has one, also where it is NULL.
const MAX_FIXED_BYTES: i32 = 64 << 10;

/// A page, as it is stored and decompressed. Some write all of a column's row group into one.
const MAX_PAGE_BYTES: u64 = 128 << 20;

/// Where a page begins stands in so many bytes, or at most in so many: it may have the least and the largest value.
const HEADER_BYTES: [u64; 2] = [256, 64 << 10];

/// What a value takes beside itself in a column of lists: where lists begin and end.
const LEVELS_BYTES: u64 = 4;

/// A text or bytes, where they stand.
const VIEW_BYTES: u64 = 16;

/// Rows that are decoded at once have about so many bytes, as long as each column has no more than its page.
const ROWS_BYTES: u64 = 8 << 20;

const NOTHING: Form = Form::Struct(&[]);
const UNIT: Form = Form::Struct(&[(1, NOTHING), (2, NOTHING), (3, NOTHING)]);
const TIME: Form = Form::Struct(&[(1, Form::Bool), (2, UNIT)]);
const LOGICAL_TYPE: Form = Form::Struct(&[
    (1, NOTHING),
    (2, NOTHING),
    (3, NOTHING),
    (4, NOTHING),
    (5, Form::Struct(&[(1, Form::Int), (2, Form::Int)])),
    (6, NOTHING),
    (7, TIME),
    (8, TIME),
    (10, Form::Struct(&[(1, Form::Byte), (2, Form::Bool)])),
    (11, NOTHING),
    (12, NOTHING),
    (13, NOTHING),
    (14, NOTHING),
    (15, NOTHING),
    (16, Form::Struct(&[(1, Form::Byte)])),
    (17, Form::Struct(&[(1, Form::Bytes)])),
    (18, Form::Struct(&[(1, Form::Bytes), (2, Form::Int)])),
]);
const SCHEMA_ELEMENT: Fields = &[
    (1, Form::Int),
    (FIXED_LENGTH, Form::Int),
    (3, Form::Int),
    (4, Form::Bytes),
    (N_CHILDREN, Form::Int),
    (6, Form::Int),
    (7, Form::Int),
    (8, Form::Int),
    (9, Form::Int),
    (10, LOGICAL_TYPE),
];
const FIXED_LENGTH: i16 = 2;
const N_CHILDREN: i16 = 5;
const STATISTICS: Form = Form::Struct(&[
    (1, Form::Bytes),
    (2, Form::Bytes),
    (3, Form::Int),
    (4, Form::Int),
    (5, Form::Bytes),
    (6, Form::Bytes),
    (7, Form::Bool),
    (8, Form::Bool),
]);
const INTS: Form = Form::List(&Form::Int);
const BOX: Form = Form::Struct(&[
    (1, Form::Double),
    (2, Form::Double),
    (3, Form::Double),
    (4, Form::Double),
    (5, Form::Double),
    (6, Form::Double),
    (7, Form::Double),
    (8, Form::Double),
]);
const COLUMN: Form = Form::Struct(&[
    (1, Form::Int),
    (2, INTS),
    (4, Form::Int),
    (5, Form::Int),
    (6, Form::Int),
    (7, Form::Int),
    (9, Form::Int),
    (10, Form::Int),
    (11, Form::Int),
    (12, STATISTICS),
    (13, Form::List(&Form::Struct(&[(1, Form::Int), (2, Form::Int), (3, Form::Int)]))),
    (14, Form::Int),
    (15, Form::Int),
    (16, Form::Struct(&[(1, Form::Int), (2, INTS), (3, INTS)])),
    (17, Form::Struct(&[(1, BOX), (2, INTS)])),
]);
const COLUMN_CHUNK: Form = Form::Struct(&[
    (1, Form::Bytes),
    (2, Form::Int),
    (3, COLUMN),
    (4, Form::Int),
    (5, Form::Int),
    (6, Form::Int),
    (7, Form::Int),
]);
const ROW_GROUP: Form = Form::Struct(&[
    (1, Form::List(&COLUMN_CHUNK)),
    (2, Form::Int),
    (3, Form::Int),
    (4, Form::List(&Form::Struct(&[(1, Form::Int), (2, Form::Bool), (3, Form::Bool)]))),
    (5, Form::Int),
    (7, Form::Int),
]);
const FOOTER: Fields = &[
    (1, Form::Int),
    (SCHEMA, Form::List(&Form::Struct(SCHEMA_ELEMENT))),
    (3, Form::Int),
    (ROW_GROUPS, Form::List(&ROW_GROUP)),
    (5, Form::List(&Form::Struct(&[(1, Form::Bytes), (2, Form::Bytes)]))),
    (6, Form::Bytes),
    (7, Form::List(&Form::Struct(&[(1, NOTHING)]))),
];
const SCHEMA: i16 = 2;
const ROW_GROUPS: i16 = 4;

const DATA_PAGE: i16 = 5;
const DICTIONARY: i16 = 7;
const DATA_PAGE_V2: i16 = 8;
const PAGE: Fields = &[
    (1, Form::Int),
    (2, Form::Int),
    (3, Form::Int),
    (4, Form::Int),
    (DATA_PAGE, Form::Struct(&[(1, Form::Int), (2, Form::Int), (3, Form::Int), (4, Form::Int), (5, STATISTICS)])),
    (6, NOTHING),
    (DICTIONARY, Form::Struct(&[(1, Form::Int), (2, Form::Int), (3, Form::Bool)])),
    (
        DATA_PAGE_V2,
        Form::Struct(&[
            (1, Form::Int),
            (2, Form::Int),
            (3, Form::Int),
            (4, Form::Int),
            (5, Form::Int),
            (6, Form::Int),
            (7, Form::Bool),
            (8, STATISTICS),
        ]),
    ),
];

/// Encodings of texts by their lengths and by what they share with the text before: the reader allocates what the page claims, and a few
/// bytes are a long text.
const DELTA_LENGTH: i32 = 6;
const DELTA_TEXT: i32 = 7;

/// `MALFORMED_PAYLOAD` for what is no footer of a Parquet file, `BATCH_TOO_LARGE` when reading it would take more than `max_bytes`.
pub(crate) fn check_footer(file: &impl ChunkReader, max_bytes: u64) -> Result<()> {
    let no_file = || no_parquet("it does not end as a Parquet file does");
    let tail_at = file.len().checked_sub(TAIL_BYTES).ok_or_else(no_file)?;
    let tail = file.get_bytes(tail_at, TAIL_BYTES as usize).map_err(no_parquet)?;
    let (length, mark) = tail.split_first_chunk().ok_or_else(no_file)?;
    let length = u64::from(u32::from_le_bytes(*length));
    let footer_at = tail_at.checked_sub(length).filter(|_| mark == MARK).ok_or_else(no_file)?;
    if length > MAX_FOOTER_BYTES.min(max_bytes / FOOTER_FACTOR) {
        return Err(too_large(&format!("its footer has {length} bytes"), "write fewer columns and row groups"));
    }
    let footer = file.get_bytes(footer_at, length as usize).map_err(no_parquet)?;
    walk_footer(&footer).ok_or_else(|| no_parquet("its footer is damaged, or its schema is too large"))
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

/// Bytes that reading a row group holds at most, beside the rows that are asked for: a page of each column with its dictionary, and whole
/// columns of lists, of which one row may have all values. `BATCH_TOO_LARGE` for more than `max_bytes`. Reads where pages begin.
///
/// # Panics
/// When the metadata contradicts itself.
pub(crate) fn check_row_group(file: &impl ChunkReader, group: &RowGroupMetaData, max_bytes: u64) -> Result<u64> {
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
pub(crate) fn rows_at_once(group: &RowGroupMetaData, most: usize) -> usize {
    let least: u64 = group.columns().iter().map(value_bytes).sum();
    let usual = group.total_byte_size().max(0) as u64 / group.num_rows().max(1) as u64;
    let n = usize::try_from(ROWS_BYTES / least.max(usual).max(1)).unwrap_or(most);
    n.clamp(1, most)
}

fn column_bytes(file: &impl ChunkReader, column: &ColumnChunkMetaData) -> Result<u64> {
    let (mut at, length) = column.byte_range();
    let behind = || no_parquet("a column stands behind its end");
    let end = at.checked_add(length).filter(|end| *end <= file.len()).ok_or_else(behind)?;
    let (mut dictionary, mut largest, mut values) = (0, 0, 0_u64);
    while at < end {
        let page = page_at(file, at, end)?;
        let stored_at = at + page.header_bytes;
        at = stored_at.checked_add(page.stored_bytes).filter(|at| *at <= end).ok_or_else(behind)?;
        check_page(file, column, &page, stored_at)?;
        let bytes = page.plain_bytes.max(page.stored_bytes);
        match page.is_dictionary {
            true => dictionary = bytes.max(dictionary) + VIEW_BYTES * page.n_values,
            false => {
                largest = bytes.max(largest);
                values = values.saturating_add(page.n_values);
            }
        }
    }
    // A page and the next one: rows may stand in both.
    let pages = dictionary + 2 * largest;
    Ok(match column.column_descr().max_rep_level() {
        0 => pages,
        _ => pages.saturating_add(values.saturating_mul(value_bytes(column) + LEVELS_BYTES)),
    })
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

fn check_page(file: &impl ChunkReader, column: &ColumnChunkMetaData, page: &Page, stored_at: u64) -> Result<()> {
    if page.plain_bytes.max(page.stored_bytes) > MAX_PAGE_BYTES {
        let what = format!("a page has more than {MAX_PAGE_BYTES} bytes");
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

/// The file is not what it says it is.
pub(crate) fn no_parquet(reason: impl std::fmt::Display) -> Error {
    Error::new(Code::MalformedPayload, format!("the Parquet file cannot be read: {reason}"))
        .hint("send the file whole, as a Parquet library writes it")
}

fn too_large(what: &str, hint: &str) -> Error {
    Error::new(Code::BatchTooLarge, format!("the Parquet file takes too much memory to be read: {what}")).hint(hint)
}
