//! Which rows go to which file, and in what order? Pure: rows in, places of rows out.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::{SortOptions, take};
use arrow::datatypes::{DataType, Int64Type, TimestampMicrosecondType};
use arrow::row::{RowConverter, Rows, SortField};

use super::filters::filtering_bytes;
use super::write::writing_bytes;
use crate::catalog::{TableDef, one_nan};
use crate::error::{Error, Result};

/// An hour of event time with so many rows gets a file of its own.
pub(crate) const HOUR_ROWS: u64 = 65_536;

/// So many hours, the newest, get one. Rows of others go to one more file: old rows that arrive late would make thousands of files.
const MAX_HOURS: usize = 3;

const HOUR_US: i64 = 3_600_000_000;

/// What a row takes while files are planned, beside its key: its place once before and once after the sort, its place and first bytes in
/// the sort and half of that again as the sort's own space, and where its key begins.
const ROW_BYTES: u64 = 8 + 8 + 16 + 8 + 8;

/// The least that a text which is not empty takes in Arrow's row format: its bytes are cut into blocks.
const TEXT_KEY_BYTES: usize = 10;

/// First bytes of a column in Arrow's row format, where NULLs are last: of a NULL, and of a text without bytes. Other values begin with a
/// byte that is the same for all of them.
const NULL: u8 = 0xFF;
const EMPTY_TEXT: u8 = 1;

/// Rows of one immutable piece. `seqs[i]` is the entry of row i; `stamps` ascending (seq, stamp µs), one for each of these entries. Pieces
/// are in the order of arrival; so are rows of one entry that are equal by the table's `sort_by`. Columns that were added to the table
/// later are missing at the end.
#[derive(Debug, Clone)]
pub(crate) struct SourceRows {
    pub(crate) rows: RecordBatch,
    pub(crate) seqs: Int64Array,
    pub(crate) stamps: Arc<[(i64, i64)]>,
}

/// The rows of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlannedFile {
    /// Hours since 1970 of the event time of all its rows. `None`: they are of several hours, or the table has no time column.
    pub(crate) hour: Option<i64>,
    /// (source, row), in the order of the file.
    pub(crate) rows: Vec<(u32, u32)>,
}

/// Divides rows among at most 4 files: one for each hour of event time (UTC) that holds at least 65,536 of them, newest first, at most 3
/// of these, and a late one for the rest. Without rows there is no file; without a time column there is one.
///
/// Rows of a file are sorted by the columns `sort_by`, ascending, NULLs last, NaN after numbers; equal rows are in the order of their
/// entries, then of their arrival, and with an empty `sort_by` all are. In a file of several hours they are by hour first, so that each hour
/// lies in it as in a file of its own.
pub(crate) fn plan_files(sources: &[SourceRows], def: &TableDef) -> Result<Vec<PlannedFile>> {
    plan_by(sources, def, HOUR_ROWS)
}

/// All rows in one file. `None`: there are none.
pub(crate) fn plan_file(sources: &[SourceRows], def: &TableDef) -> Result<Option<PlannedFile>> {
    Ok(plan_by(sources, def, u64::MAX)?.pop())
}

/// [`plan_files`] with another number of rows that are enough for an hour's own file.
pub(in crate::sealed) fn plan_by(sources: &[SourceRows], def: &TableDef, hour_rows: u64) -> Result<Vec<PlannedFile>> {
    index(sources.len())?;
    for source in sources {
        index(source.rows.num_rows())?;
    }
    let mut files = split(sources, def.options.time_column, hour_rows);
    for file in &mut files {
        let rows = std::mem::take(&mut file.rows);
        file.rows = sorted(rows, sources, def, &order_of(file.hour, def))?;
    }
    Ok(files)
}

/// About what a build of these rows holds at its peak, beside them: first their places and what is compared, then their places and what is
/// being written.
pub(crate) fn working_bytes(sources: &[SourceRows], def: &TableDef) -> u64 {
    let n_rows: u64 = sources.iter().map(|source| source.rows.num_rows() as u64).sum();
    let bytes: u64 = sources.iter().map(|source| batch_bytes(&source.rows)).sum();
    let order = order_of(None, def);
    let keys: u64 = order.columns.iter().map(|&column| key_column_bytes(sources, def, column)).sum();
    let hours = if order.hour_of.is_some() { n_rows * key_row_bytes(&DataType::Int64) as u64 } else { 0 };
    let planning = n_rows * ROW_BYTES + keys + hours;
    let places = n_rows * size_of::<(u32, u32)>() as u64;
    planning.max(places + writing_bytes(n_rows, bytes) + filtering_bytes(n_rows, def))
}

/// What rows are sorted by: for each a key whose bytes have this order. At least one column must be named.
pub(crate) fn sort_keys(source: &SourceRows, def: &TableDef, order: &Order) -> Result<Rows> {
    let rows: Vec<(u32, u32)> = (0..index(source.rows.num_rows())?).map(|row| (0, row)).collect();
    keys_of(&rows, std::slice::from_ref(source), def, order)
}

/// Bytes that these rows take in memory.
pub(crate) fn rows_bytes(rows: &RecordBatch) -> u64 {
    batch_bytes(rows)
}

/// What the keys of all rows take of this column, at most.
fn key_column_bytes(sources: &[SourceRows], def: &TableDef, column: usize) -> u64 {
    let data_type = &def.columns[column].data_type;
    let of_source = |source: &SourceRows| {
        let fixed = source.rows.num_rows() as u64 * key_row_bytes(data_type) as u64;
        // A text takes up to twice its bytes, in a buffer that doubles when it is full.
        let texts = source.rows.columns().get(column).filter(|_| is_text(data_type)).map_or(0, column_bytes);
        fixed + 4 * texts
    };
    sources.iter().map(of_source).sum()
}

/// What a value takes in a key; a text takes this at least.
fn key_row_bytes(data_type: &DataType) -> usize {
    match data_type {
        DataType::Boolean => 2,
        other => other.primitive_width().map_or(TEXT_KEY_BYTES, |width| 1 + width),
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::Binary)
}

/// What a file is sorted by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    /// The hour of this column, which is the event time, comes before all columns.
    pub(crate) hour_of: Option<usize>,
    pub(crate) columns: Vec<usize>,
}

impl Order {
    /// As rows came.
    pub(crate) fn is_arrival(&self) -> bool {
        self.columns.is_empty()
    }

    /// Whether rows of one hour that have the order `other` have this one, too.
    pub(crate) fn holds_in_an_hour(&self, other: &Order) -> bool {
        self.hour_of.is_some() && other.hour_of.is_none() && self.columns == other.columns
    }
}

/// What a file of this hour is sorted by.
pub(crate) fn order_of(hour: Option<i64>, def: &TableDef) -> Order {
    let sort_by = &def.options.sort_by;
    let by = |hour_of, columns| Order { hour_of, columns };
    match (def.options.time_column, hour) {
        (Some(time), None) if sort_by.is_empty() => by(None, vec![time]),
        // Who sorts by time has the hours in order.
        (Some(time), None) if sort_by[0] != time => by(Some(time), sort_by.clone()),
        _ => by(None, sort_by.clone()),
    }
}

/// The files with their rows in the order of the sources.
fn split(sources: &[SourceRows], time: Option<usize>, hour_rows: u64) -> Vec<PlannedFile> {
    let (large, hour_of_rest) = large_hours(sources, time, hour_rows);
    let mut files: Vec<PlannedFile> =
        large.iter().map(|&hour| PlannedFile { hour: Some(hour), rows: Vec::new() }).collect();
    let mut rest = PlannedFile { hour: hour_of_rest, rows: Vec::new() };
    for (at, source) in (0_u32..).zip(sources) {
        for (row, hour) in (0_u32..).zip(hours(source, time)) {
            let file = match hour.and_then(|hour| large.iter().position(|large| *large == hour)) {
                Some(own) => &mut files[own],
                None => &mut rest,
            };
            file.rows.push((at, row));
        }
    }
    if !rest.rows.is_empty() {
        files.push(rest);
    }
    files
}

/// The hour of each row, or `None` for all where there is no time column.
fn hours(source: &SourceRows, time: Option<usize>) -> impl Iterator<Item = Option<i64>> {
    let times = time
        .and_then(|time| source.rows.columns().get(time))
        .and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
    (0..source.rows.num_rows())
        .map(move |row| times.filter(|times| times.is_valid(row)).map(|times| times.value(row).div_euclid(HOUR_US)))
}

/// The hours that get a file of their own, newest first; and the hour of all other rows, if they have one.
fn large_hours(sources: &[SourceRows], time: Option<usize>, hour_rows: u64) -> (Vec<i64>, Option<i64>) {
    let mut counts: HashMap<Option<i64>, u64> = HashMap::new();
    for hour in sources.iter().flat_map(|source| hours(source, time)) {
        *counts.entry(hour).or_default() += 1;
    }
    let mut large: Vec<i64> =
        counts.iter().filter(|(_, n_rows)| **n_rows >= hour_rows).filter_map(|(hour, _)| *hour).collect();
    large.sort_unstable_by(|a, b| b.cmp(a));
    large.truncate(MAX_HOURS);
    let mut others = counts.keys().filter(|hour| !hour.is_some_and(|hour| large.contains(&hour)));
    let hour_of_others = match (others.next(), others.next()) {
        (Some(only), None) => *only,
        _ => None,
    };
    (large, hour_of_others)
}

/// `rows` by the columns `order`, then by entry. Compares Arrow's row format, whose bytes have the order of the values; eight of them are
/// kept beside the place, so that most comparisons touch no key. The sort is stable and takes advantage of ascending stretches, which
/// sorted runs are.
fn sorted(mut rows: Vec<(u32, u32)>, sources: &[SourceRows], def: &TableDef, order: &Order) -> Result<Vec<(u32, u32)>> {
    let seq = |(source, row): (u32, u32)| sources[source as usize].seqs.value(row as usize);
    if order.is_arrival() {
        rows.sort_by_key(|&row| seq(row));
        return Ok(rows);
    }
    let keys = keys_of(&rows, sources, def, order)?;
    let n_rows = index(rows.len())?;
    let is_text = order.hour_of.is_none() && is_text(&def.columns[order.columns[0]].data_type);
    let mut places: Vec<(u64, u32)> =
        (0..n_rows).map(|at| (prefix(keys.row(at as usize).data(), is_text), at)).collect();
    places.sort_by(|a, b| {
        a.0.cmp(&b.0)
            .then_with(|| keys.row(a.1 as usize).data().cmp(keys.row(b.1 as usize).data()))
            .then_with(|| seq(rows[a.1 as usize]).cmp(&seq(rows[b.1 as usize])))
    });
    Ok(places.iter().map(|&(_, at)| rows[at as usize]).collect())
}

/// What is compared for each of `rows`, which are in the order of the sources.
fn keys_of(rows: &[(u32, u32)], sources: &[SourceRows], def: &TableDef, order: &Order) -> Result<Rows> {
    let options = SortOptions { descending: false, nulls_first: false };
    let hour = order.hour_of.map(|_| &DataType::Int64);
    let of_columns = order.columns.iter().map(|&column| &def.columns[column].data_type);
    let types: Vec<&DataType> = hour.into_iter().chain(of_columns).collect();
    let fields = types.iter().map(|&data_type| SortField::new_with_options(data_type.clone(), options)).collect();
    let converter = RowConverter::new(fields)?;
    let row_bytes: usize = types.iter().map(|data_type| key_row_bytes(data_type)).sum();
    let mut keys = converter.empty_rows(rows.len(), rows.len() * row_bytes);
    for of_source in rows.chunk_by(|a, b| a.0 == b.0) {
        let source = &sources[of_source[0].0 as usize].rows;
        let is_whole = of_source.len() == source.num_rows();
        let places = UInt32Array::from_iter_values(of_source.iter().map(|(_, row)| *row));
        let mut columns = Vec::with_capacity(types.len());
        let column_of = |at: usize| -> Result<ArrayRef> {
            Ok(match source.columns().get(at) {
                Some(column) if is_whole => Arc::clone(column),
                Some(column) => take(column, &places, None)?,
                None => new_null_array(&def.columns[at].data_type, of_source.len()),
            })
        };
        if let Some(time) = order.hour_of {
            columns.push(hours_as_column(&column_of(time)?)?);
        }
        for &at in &order.columns {
            columns.push(one_nan(&column_of(at)?));
        }
        converter.append(&mut keys, &columns)?;
    }
    Ok(keys)
}

/// The hour of each event time.
fn hours_as_column(times: &ArrayRef) -> Result<ArrayRef> {
    let times = times.as_primitive_opt::<TimestampMicrosecondType>();
    let times = times.ok_or_else(|| Error::internal("the event time is no time of microseconds"))?;
    Ok(Arc::new(times.unary::<_, Int64Type>(|time| time.div_euclid(HOUR_US))))
}

/// Eight bytes of a key as a number of the same order; a shorter key is filled up with the lowest byte. The first byte of a key says no
/// more than whether there is a value, or whether a text is empty, so it gives way to one of the value.
fn prefix(key: &[u8], is_text: bool) -> u64 {
    match key.split_first() {
        Some((&NULL, _)) => u64::MAX,
        // The next column follows at once.
        Some((&EMPTY_TEXT, _)) if is_text => 0,
        Some((_, value)) => {
            let mut first = [0; 8];
            let n = value.len().min(8);
            first[..n].copy_from_slice(&value[..n]);
            u64::from_be_bytes(first)
        }
        None => 0,
    }
}

/// Bytes that the rows of a batch take; of a slice, only its own rows.
pub(in crate::sealed) fn batch_bytes(rows: &RecordBatch) -> u64 {
    rows.columns().iter().map(column_bytes).sum()
}

fn column_bytes(column: &ArrayRef) -> u64 {
    let data = column.to_data();
    data.get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size()) as u64
}

fn index(n: usize) -> Result<u32> {
    u32::try_from(n).map_err(|_| Error::internal(format!("{n} rows or pieces are too many for one build")))
}
