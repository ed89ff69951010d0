//! What happens to a batch on its way in? Match columns, cast, check, sort good rows from bad ones.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::{filter_record_batch, max, min};
use arrow::datatypes::{Schema, TimestampMicrosecondType};

use super::cast::{CastContext, Mismatch, Zone, cast, wall_text};
use super::columns::match_columns;
use super::footprint::{check_decoded_size, own_bytes, unpinned};
use super::payload::payloads;
use super::refusals::{Refusals, bad_rows};
use super::rows::{AdmissionRules, Admitted, IncomingRows, OnError, RejectCode, RejectedRow};
use crate::catalog::{TableDef, one_nan, sql_type};
use crate::error::{Code, Error, Result};
use crate::limits::{MAX_BATCH_ROWS, MAX_REJECTED_BATCH_ROWS};

/// Casts a batch to the table's schema and sorts its good rows from its bad ones.
///
/// Columns match by name, in any order; a nullable one that is missing is NULL. Good rows that need no cast are passed
/// on without a copy, unless that would keep alive a much larger message. Every NaN becomes the one that tables have. A
/// plain TIMESTAMP as event time is taken as UTC when it is compared with the clock.
///
/// Errors refuse the batch whole: `SCHEMA_MISMATCH` (an unknown or missing column, a type without a cast),
/// `BAD_ROWS` (a bad row, and the rules say abort), `BATCH_TOO_LARGE`, `INVALID_SETTING` (the time zone).
pub fn admit(def: &TableDef, incoming: IncomingRows, rules: &AdmissionRules) -> Result<Admitted> {
    let IncomingRows { batch, row_numbers, rejected } = incoming;
    let received = (batch.num_rows() + rejected.len()) as u64;
    check_shape(&batch, row_numbers.as_deref(), received, rules)?;
    let zone = Zone::parse(rules.time_zone.as_deref())?;
    let sources = match_columns(def, batch.schema_ref(), rules.ignore_unknown_columns)?;
    check_decoded_size(&batch, &def.arrow_schema)?;

    let mut refusals = Refusals::new(batch.num_rows(), rules.on_error);
    let context = CastContext { zone: &zone, ignore_unknown: rules.ignore_unknown_columns };
    let columns = cast_columns(def, &batch, &sources, &context, &mut refusals)?;
    check_nulls(def, &columns, &mut refusals);
    check_lengths(def, &columns, &mut refusals);
    check_times(def, &columns, rules.now_us, &mut refusals);

    let n_bad = refusals.len() + rejected.len();
    let good = refusals.good();
    let (late, future) = (refusals.n_late(), refusals.n_future());
    let aborts = rules.on_error == OnError::Abort && n_bad > 0;
    let mut rejected = rejected_rows(def, &batch, row_numbers.as_deref(), rejected, refusals, aborts);
    rejected.iter_mut().for_each(|row| row.row += rules.first_row);
    if aborts {
        return Err(bad_rows(def, &rejected, n_bad, received));
    }
    let rows = good_rows(def, columns, batch.num_rows(), good)?;
    // The message is let go before its rows are looked at: what they still hold is theirs.
    drop(batch);
    let bytes = own_bytes(&rows);
    let rows = unpinned(rows, bytes)?;
    Ok(Admitted {
        received,
        n_rejected: n_bad as u64,
        late,
        future,
        max_event_time_us: def
            .options
            .time_column
            .and_then(|i| max(rows.column(i).as_primitive::<TimestampMicrosecondType>())),
        rows,
        rejected,
        bytes,
    })
}

fn check_shape(batch: &RecordBatch, row_numbers: Option<&[u64]>, received: u64, rules: &AdmissionRules) -> Result<()> {
    if row_numbers.is_some_and(|numbers| numbers.len() != batch.num_rows()) {
        return Err(Error::internal("a batch has another number of rows than of row numbers"));
    }
    if rules.on_error == OnError::Keep && received > MAX_BATCH_ROWS as u64 {
        return Err(Error::new(
            Code::BatchTooLarge,
            format!("the batch has {received} rows, the limit is {MAX_BATCH_ROWS}"),
        )
        .with("rows", received)
        .with("limit", MAX_BATCH_ROWS)
        .hint("send the rows in smaller batches"));
    }
    Ok(())
}

fn cast_columns(
    def: &TableDef,
    batch: &RecordBatch,
    sources: &[Option<usize>],
    context: &CastContext<'_>,
    refusals: &mut Refusals,
) -> Result<Vec<ArrayRef>> {
    let mut columns = Vec::with_capacity(sources.len());
    for (i, (column, source)) in def.columns.iter().zip(sources).enumerate() {
        let Some(source) = source else {
            columns.push(new_null_array(&column.data_type, batch.num_rows()));
            continue;
        };
        let from = batch.column(*source);
        let mut report =
            |row: usize, code: RejectCode, message: &dyn Fn() -> String| refusals.add(row, i, code, message);
        let array = cast(from, &column.data_type, context, &mut report).map_err(|Mismatch(detail)| {
            let types =
                format!("the data has {}, the table {}", sql_type(from.data_type()), sql_type(&column.data_type));
            let detail = detail.map(|detail| format!(": {detail}")).unwrap_or_default();
            Error::new(Code::SchemaMismatch, format!("table '{}', column '{}': {types}{detail}", def.name, column.name))
                .with("table", &def.name)
                .with("column", &column.name)
                .hint("send the column in a type that the table's type holds")
        })?;
        columns.push(one_nan(&array));
    }
    Ok(columns)
}

/// A NULL in a column that may have none.
fn check_nulls(def: &TableDef, columns: &[ArrayRef], refusals: &mut Refusals) {
    for (i, (column, array)) in def.columns.iter().zip(columns).enumerate() {
        if column.nullable || array.null_count() == 0 {
            continue;
        }
        let role = match i {
            i if def.key.contains(&i) => "primary key",
            i if def.options.time_column == Some(i) => "time",
            _ => "NOT NULL",
        };
        for row in (0..array.len()).filter(|&row| array.is_null(row)) {
            refusals.add(row, i, RejectCode::NullViolation, &|| format!("NULL in a {role} column"));
        }
    }
}

/// A text with more characters than its column takes.
fn check_lengths(def: &TableDef, columns: &[ArrayRef], refusals: &mut Refusals) {
    for (i, (column, array)) in def.columns.iter().zip(columns).enumerate() {
        let Some(max_chars) = column.max_chars else { continue };
        let most = usize::try_from(max_chars).unwrap_or(usize::MAX);
        for (row, text) in array.as_string::<i32>().iter().enumerate() {
            // A character has at least one byte, so that most texts need not be counted.
            let Some(text) = text.filter(|text| text.len() > most) else { continue };
            let n_chars = text.chars().count();
            if n_chars > most {
                let message = || format!("a value of {n_chars} characters is too long for {}", column.sql_type());
                refusals.add(row, i, RejectCode::OutOfRange, &message);
            }
        }
    }
}

/// Event times too far ahead of or behind the clock.
fn check_times(def: &TableDef, columns: &[ArrayRef], now_us: i64, refusals: &mut Refusals) {
    let Some(i) = def.options.time_column else { return };
    let times = columns[i].as_primitive::<TimestampMicrosecondType>();
    let latest = now_us.saturating_add(def.options.max_future_us);
    let since = |us: Option<i64>| us.map_or(i64::MIN, |us| now_us.saturating_sub(us));
    let (in_time_from, kept_from) = (since(def.options.max_lateness_us), since(def.options.retention_us));
    let earliest = in_time_from.max(kept_from);
    let in_time = max(times).is_none_or(|most| most <= latest) && min(times).is_none_or(|least| least >= earliest);
    if in_time {
        return;
    }
    let text = |us: i64| wall_text(us).map_or_else(|| us.to_string(), |text| text + "Z");
    for row in (0..times.len()).filter(|&row| times.is_valid(row)) {
        let time = times.value(row);
        if time > latest {
            refusals.add(row, i, RejectCode::FutureTime, &|| {
                format!("{} is more than max_future ahead of the server's clock, {}", text(time), text(now_us))
            });
        } else if time < kept_from {
            refusals.add(row, i, RejectCode::Expired, &|| {
                format!("{} is past the retention of the table by the server's clock, {}", text(time), text(now_us))
            });
        } else if time < in_time_from {
            refusals.add(row, i, RejectCode::LateTime, &|| {
                format!("{} is more than max_lateness behind the server's clock, {}", text(time), text(now_us))
            });
        }
    }
}

/// The good rows in the table's schema.
fn good_rows(def: &TableDef, columns: Vec<ArrayRef>, n_rows: usize, good: Option<BooleanArray>) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
    let Some(good) = good else {
        return Ok(RecordBatch::try_new_with_options(def.arrow_schema.clone(), columns, &options)?);
    };
    // Bad rows may have a NULL where the table has none, so the batch gets its schema after they are gone.
    let loose: Vec<_> =
        def.arrow_schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    let all = RecordBatch::try_new_with_options(Arc::new(Schema::new(loose)), columns, &options)?;
    let (_, columns, n_kept) = filter_record_batch(&all, &good)?.into_parts();
    let options = RecordBatchOptions::new().with_row_count(Some(n_kept));
    Ok(RecordBatch::try_new_with_options(def.arrow_schema.clone(), columns, &options)?)
}

/// The first rejected rows of decoding and of admission, ascending. Without payloads for a batch that is aborted.
fn rejected_rows(
    def: &TableDef,
    batch: &RecordBatch,
    row_numbers: Option<&[u64]>,
    decoded: Vec<RejectedRow>,
    refusals: Refusals,
    aborts: bool,
) -> Vec<RejectedRow> {
    // Beside each row, its place in `batch` if it got that far.
    let mut first: Vec<(RejectedRow, Option<usize>)> = decoded.into_iter().map(|row| (row, None)).collect();
    first.extend(refusals.into_sorted().into_iter().map(|refusal| {
        let row = RejectedRow {
            row: row_numbers.map_or(refusal.row as u64, |numbers| numbers[refusal.row]),
            column: Some(def.columns[refusal.column].name.clone()),
            code: refusal.code,
            message: refusal.message,
            payload: String::new(),
        };
        (row, Some(refusal.row))
    }));
    first.sort_by_key(|(row, _)| row.row);
    first.truncate(MAX_REJECTED_BATCH_ROWS);
    if !aborts {
        let places: Vec<usize> = first.iter().filter_map(|(_, place)| *place).collect();
        let admitted = first.iter_mut().filter(|(_, place)| place.is_some());
        for ((row, _), payload) in admitted.zip(payloads(batch, &places)) {
            row.payload = payload;
        }
    }
    first.into_iter().map(|(row, _)| row).collect()
}
