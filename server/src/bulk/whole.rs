//! Which rows are in a body that fits one batch? All of them at once, decoded within the memory that all interfaces have for that.

use std::io::{Cursor, Read};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use bytes::Bytes;
use tidewater_storage::admission::IncomingRows;
use tidewater_storage::admission::json::{self, JsonRow};
use tidewater_storage::catalog::TableDef;
use tidewater_storage::limits::{MAX_BATCH_BYTES, MAX_BATCH_ROWS};
use tidewater_storage::memory::{Decoding, MemoryLedger};
use tidewater_storage::{Code, Error, Result};

use super::body::Received;
use super::coding::{Coding, unreadable, unreadable_text};
use super::options::{Format, Options};
use super::pieces::{ParquetPieces, Pieces, TextReader, cutter};
use crate::ingest::decoding::{self, aside};
use crate::ingest::ipc::{Declared, Limits, MAX_DECODED_BYTES, declared_stream, flat_batch_bytes};
use crate::ingest::{one_batch, text_declared};

/// What is noted of a record of CSV and of each of its fields: where it stands.
const RECORD_BYTES: u64 = 48;
const FIELD_BYTES: u64 = 12;

/// What reading a part of a Parquet file may take. Pages that are larger have more rows than a batch.
const PARQUET_BYTES: u64 = 3 * MAX_BATCH_BYTES as u64;

/// Bodies that are looked at on the thread of their connection.
const INLINE_BYTES: u64 = 64 << 10;

/// The rows, and what is held for them until storage counts them. `None`: the body has more than a batch may have.
pub(super) async fn rows(
    received: &Arc<Received>,
    options: &Arc<Options>,
    def: &Arc<TableDef>,
    memory: &Arc<MemoryLedger>,
) -> Result<Option<(IncomingRows, Option<Decoding>)>> {
    let look = {
        let (received, options, def) = (Arc::clone(received), Arc::clone(options), Arc::clone(def));
        move || look(&received, &options, &def)
    };
    let is_small = received.bytes() < INLINE_BYTES && options.coding == Coding::Identity;
    let looked = if is_small { look() } else { aside(look).await };
    let Some((n_bytes, declared)) = looked? else { return Ok(None) };
    let work = {
        let (received, options, def) = (Arc::clone(received), Arc::clone(options), Arc::clone(def));
        move || decode(text(&received, options.coding, n_bytes)?, &options, &def)
    };
    let declared = declared.with_sent(n_bytes);
    // A body that is in memory is counted there, so it may wait.
    decoding::run(declared, memory.decoding(declared.bytes()), work).await.map(Some)
}

/// How long the body is, decompressed, and about what it takes to decode it; nothing of it is kept.
fn look(received: &Received, options: &Options, def: &TableDef) -> Result<Option<(u64, Declared)>> {
    let is_text = matches!(options.format, Format::Ndjson | Format::Json | Format::Csv);
    let is_at_hand = options.coding == Coding::Identity && matches!(received, Received::Memory(..));
    let counted = match is_text || options.coding != Coding::Identity {
        true => count(received, options)?,
        false => Some((received.bytes(), 0, 0)).filter(|(n_bytes, ..)| *n_bytes <= MAX_BATCH_BYTES as u64),
    };
    let Some((n_bytes, n_rows, n_fields)) = counted else { return Ok(None) };
    let copied = if is_at_hand { 0 } else { n_bytes };
    let of_rows = match (options.format, received) {
        (Format::Ndjson | Format::Json, _) => text_declared(def, n_rows, n_bytes).bytes(),
        // As it is cut, and as texts of columns.
        (Format::Csv, _) => {
            let beside = 3 * n_bytes + n_rows * RECORD_BYTES + n_fields * FIELD_BYTES;
            text_declared(def, n_rows, n_bytes).bytes() + beside
        }
        (Format::Arrow, Received::Memory(bytes, _)) if is_at_hand => {
            return Ok(Some((n_bytes, declared_stream(bytes, &Limits::default())?)));
        }
        (Format::Arrow, _) => MAX_DECODED_BYTES,
        // Its pages, and the rows.
        (Format::Parquet, _) => PARQUET_BYTES + MAX_BATCH_BYTES as u64,
    };
    Ok(Some((n_bytes, Declared::new(of_rows.saturating_add(copied)))))
}

/// Bytes of the body, decompressed, and no fewer rows and fields of CSV than it has. `None`: more bytes than a batch may have.
fn count(received: &Received, options: &Options) -> Result<Option<(u64, u64, u64)>> {
    let mut body = options.coding.decoded(received.reader(), u64::MAX).map_err(unreadable)?;
    let ends_row = |byte: &u8| match options.format {
        Format::Json => *byte == b',',
        Format::Csv => matches!(byte, b'\n' | b'\r'),
        _ => *byte == b'\n',
    };
    let ends_field = |byte: &&u8| options.format == Format::Csv && **byte == options.csv.delimiter;
    let (mut n_bytes, mut n_rows, mut n_fields) = (0, 1, 0);
    let mut buffer = vec![0; INLINE_BYTES as usize];
    loop {
        let n = body.read(&mut buffer).map_err(unreadable)?;
        if n == 0 {
            return Ok(Some((n_bytes, n_rows, n_rows + n_fields)));
        }
        n_bytes += n as u64;
        if n_bytes > MAX_BATCH_BYTES as u64 {
            return Ok(None);
        }
        n_rows += buffer[..n].iter().filter(|byte| ends_row(byte)).count() as u64;
        n_fields += buffer[..n].iter().filter(ends_field).count() as u64;
    }
}

/// The body, decompressed, of which the length is known.
fn text(received: &Received, coding: Coding, n_bytes: u64) -> Result<Bytes> {
    if let (Received::Memory(bytes, _), Coding::Identity) = (received, coding) {
        return Ok(bytes.clone());
    }
    let mut text = Vec::with_capacity(n_bytes as usize);
    let mut body = coding.decoded(received.reader(), MAX_BATCH_BYTES as u64).map_err(unreadable)?;
    body.read_to_end(&mut text).map_err(unreadable)?;
    Ok(text.into())
}

fn decode(text: Bytes, options: &Options, def: &Arc<TableDef>) -> Result<IncomingRows> {
    let ignores_unknown = options.ignores_unknown_columns();
    match options.format {
        Format::Ndjson => json::decode_lines(def, &text, ignores_unknown),
        Format::Json => json_document(&text, def, ignores_unknown),
        Format::Csv => csv(text, options, def),
        Format::Arrow => one_batch(&text).map(Into::into),
        Format::Parquet => parquet(text),
    }
}

/// An array of objects, or one object.
fn json_document(text: &[u8], def: &TableDef, ignores_unknown: bool) -> Result<IncomingRows> {
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    match text.trim_ascii().first() {
        Some(b'[') => json::decode(def, text, ignores_unknown),
        // Read as the array of itself, so that nothing may follow it.
        Some(b'{') => json::decode(def, &[&b"["[..], text, &b"]"[..]].concat(), ignores_unknown),
        _ => Err(Error::new(Code::MalformedPayload, "the body is neither a JSON array nor an object")
            .hint("send [{…}, {…}], or one object a line as application/x-ndjson")),
    }
}

fn csv(text: Bytes, options: &Options, def: &Arc<TableDef>) -> Result<IncomingRows> {
    let mut cutter = cutter(Cursor::new(text), options);
    let reader = TextReader::new(def, options, &mut cutter)?;
    let records = cutter.next(MAX_BATCH_ROWS + 1, usize::MAX).map_err(|error| unreadable_text(&error))?;
    match records {
        Some(records) if records.len() > MAX_BATCH_ROWS => {
            let what = format!("the body has more than {MAX_BATCH_ROWS} rows");
            Err(Error::new(Code::BatchTooLarge, what).hint("send the rows in smaller requests"))
        }
        Some(records) => reader.rows(&records),
        None => json::decode_rows(def, std::iter::empty::<JsonRow<'_>>(), options.ignores_unknown_columns()),
    }
}

fn parquet(file: Bytes) -> Result<IncomingRows> {
    let mut pieces = ParquetPieces::new(file, PARQUET_BYTES)?;
    let (mut batches, mut flat, mut n_rows): (Vec<RecordBatch>, u64, usize) = (Vec::new(), 0, 0);
    while let Some(rows) = pieces.next()? {
        flat = flat.saturating_add(flat_batch_bytes(&rows.batch));
        // Rows of a file without columns take nothing.
        n_rows += rows.batch.num_rows();
        if flat > MAX_BATCH_BYTES as u64 || n_rows > MAX_BATCH_ROWS {
            let what = format!(
                "the Parquet file has more than {MAX_BATCH_ROWS} rows, or they take more than {MAX_BATCH_BYTES} bytes"
            );
            return Err(Error::new(Code::BatchTooLarge, what).hint("send fewer rows in one request"));
        }
        batches.push(rows.batch);
    }
    Ok(match batches.as_slice() {
        [] => RecordBatch::new_empty(pieces.schema()),
        [only] => only.clone(),
        [first, ..] => concat_batches(&first.schema(), &batches)?,
    }
    .into())
}
