//! Which rows are in these bytes? The decoder for messages and streams of Arrow IPC.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::concat;
use arrow::datatypes::SchemaRef;
use arrow::ipc;
use tidewater_storage::{Error, Result};

use super::arrays::Walk;
use super::declared::{self, Declared};
use super::frame::{self, Message};
use super::schema::{self, Checked};
use super::{Budget, Limits, flat_bytes, malformed, too_large};

/// What one message was.
#[derive(Debug)]
pub enum Decoded {
    /// The schema of what follows.
    Schema,
    /// A dictionary, which the decoder keeps; or a message without content.
    Nothing,
    Rows(RecordBatch),
}

/// Decodes the messages of one stream. Batches have nullable fields without metadata, see the module.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    checked: Option<Checked>,
    dictionaries: HashMap<i64, ArrayRef>,
    /// For copies of dictionaries that go on, over the life of the decoder.
    copies: Budget,
}

impl Decoder {
    /// A decoder whose first message is a schema.
    pub fn new(limits: Limits) -> Self {
        Self { limits, checked: None, dictionaries: HashMap::new(), copies: Budget::of_copies(limits.copied_bytes) }
    }

    /// A decoder for record batches under the schema in `message` (encapsulated: with its length in front).
    pub fn under_schema(message: &[u8], limits: Limits) -> Result<Self> {
        let mut decoder = Self::new(limits);
        let (mut rest, mut budget) = (message, Budget::new(limits.decoded_bytes));
        match guarded(|| frame::next(&mut rest)?.map(|message| decoder.take(message, &mut budget)).transpose())? {
            Some(Decoded::Schema) if rest.is_empty() => Ok(decoder),
            _ => Err(malformed("exactly one Schema message is wanted here")),
        }
    }

    /// The schema, once it is known.
    pub fn schema(&self) -> Option<&SchemaRef> {
        self.checked.as_ref().map(|checked| &checked.schema)
    }

    /// A column's values stand in a dictionary, so that messages depend on messages before them.
    pub fn has_dictionaries(&self) -> bool {
        self.checked.as_ref().is_some_and(|checked| !checked.dictionaries.is_empty())
    }

    /// What [`Self::parts`] takes for the same message. `BATCH_TOO_LARGE` if that is more than the limit.
    pub fn declared_parts(&self, metadata: &[u8], body: &[u8]) -> Result<Declared> {
        guarded(|| self.declared(&in_parts(metadata, body)?))
    }

    /// What [`Self::batch`] takes for the same message. `BATCH_TOO_LARGE` if that is more than the limit.
    pub fn declared_batch(&self, message: &[u8]) -> Result<Declared> {
        guarded(|| self.declared(&only_message(message)?))
    }

    /// One message in two parts, as Arrow Flight sends it: the flatbuffer and the body.
    pub fn parts(&mut self, metadata: &[u8], body: &[u8]) -> Result<Decoded> {
        let mut budget = Budget::new(self.limits.decoded_bytes);
        guarded(|| self.take(in_parts(metadata, body)?, &mut budget))
    }

    /// Exactly one encapsulated RecordBatch message. Needs a schema without dictionaries, and nothing else: messages of
    /// one stream can be decoded side by side.
    pub fn batch(&self, message: &[u8]) -> Result<RecordBatch> {
        let mut budget = Budget::new(self.limits.decoded_bytes);
        guarded(|| {
            let Message { header, body } = only_message(message)?;
            match header.header_as_record_batch() {
                Some(batch) => self.rows(batch, body, &mut budget),
                None => Err(not_one_batch()),
            }
        })
    }

    fn declared(&self, message: &Message<'_>) -> Result<Declared> {
        let declared = declared::of_message(message)?;
        let copies = match message.header.header_as_dictionary_batch() {
            Some(batch) if batch.isDelta() => {
                let old = self.dictionaries.get(&batch.id()).map_or(0, flat_bytes);
                old.saturating_add(declared.buffers())
            }
            _ => 0,
        };
        declared.with_copies(copies).within(&self.limits)
    }

    fn take(&mut self, message: Message<'_>, budget: &mut Budget) -> Result<Decoded> {
        let Message { header, body } = message;
        if let Some(schema) = header.header_as_schema() {
            if self.checked.is_some() {
                return Err(malformed("a second schema"));
            }
            self.checked = Some(schema::read(schema, self.limits.unions)?);
            return Ok(Decoded::Schema);
        }
        if let Some(batch) = header.header_as_record_batch() {
            return self.rows(batch, body, budget).map(Decoded::Rows);
        }
        if let Some(dictionary) = header.header_as_dictionary_batch() {
            self.dictionary(dictionary, body, budget)?;
            return Ok(Decoded::Nothing);
        }
        match header.header_type() {
            ipc::MessageHeader::NONE if body.is_empty() => Ok(Decoded::Nothing),
            other => Err(malformed(format!("a message of type {}", other.variant_name().unwrap_or("unknown")))),
        }
    }

    fn checked(&self) -> Result<&Checked> {
        self.checked.as_ref().ok_or_else(|| malformed("the schema is missing"))
    }

    fn rows(&self, batch: ipc::RecordBatch<'_>, body: &[u8], budget: &mut Budget) -> Result<RecordBatch> {
        let checked = self.checked()?;
        let rows = match usize::try_from(batch.length()) {
            Ok(rows) if rows as u64 <= self.limits.rows => rows,
            _ => return Err(malformed(format!("a batch of {} rows; {} are taken", batch.length(), self.limits.rows))),
        };
        let mut walk = Walk::new(batch, body, &self.dictionaries, budget)?;
        let mut columns = Vec::with_capacity(checked.columns.len());
        for (shape, field) in checked.columns.iter().zip(checked.schema.fields()) {
            columns.push(walk.column(shape, rows).map_err(|error| in_column(field.name(), error))?);
        }
        walk.end()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(checked.schema.clone(), columns, &options).map_err(malformed)
    }

    /// Keeps a dictionary: the first of its id, another in its place, or more values at its end.
    fn dictionary(&mut self, batch: ipc::DictionaryBatch<'_>, body: &[u8], budget: &mut Budget) -> Result<()> {
        let id = batch.id();
        let checked = self.checked()?;
        let shape =
            checked.dictionaries.get(&id).ok_or_else(|| malformed(format!("dictionary {id} is not in the schema")))?;
        let data = batch.data().ok_or_else(|| malformed(format!("dictionary {id} has no values")))?;
        let n = match usize::try_from(data.length()) {
            Ok(n) if n as u64 <= self.limits.rows => n,
            _ => return Err(malformed(format!("a dictionary of {} values", data.length()))),
        };
        let none = HashMap::new();
        let mut walk = Walk::new(data, body, &none, budget)?;
        let mut values = walk.column(shape, n)?;
        walk.end()?;
        let old = self.dictionaries.get(&id);
        if batch.isDelta() {
            let old = old.ok_or_else(|| malformed(format!("dictionary {id} is continued before it begins")))?;
            // Both are copied.
            self.copies.pay(flat_bytes(old).saturating_add(flat_bytes(&values)))?;
            values = concat(&[old.as_ref(), values.as_ref()]).map_err(malformed)?;
        }
        let others = self.dictionaries.iter().filter(|(other, _)| **other != id);
        let kept = others.map(|(_, values)| flat_bytes(values)).fold(flat_bytes(&values), u64::saturating_add);
        if kept > self.limits.dictionary_bytes {
            return Err(too_large("the stream's dictionaries", kept, self.limits.dictionary_bytes));
        }
        self.dictionaries.insert(id, values);
        Ok(())
    }
}

/// The message that a client of Arrow Flight sends as two parts.
fn in_parts<'a>(metadata: &'a [u8], body: &'a [u8]) -> Result<Message<'a>> {
    let header = frame::header(metadata)?;
    if usize::try_from(header.bodyLength()) != Ok(body.len()) {
        return Err(malformed(format!("a body of {} bytes that declares {}", body.len(), header.bodyLength())));
    }
    Ok(Message { header, body })
}

/// The one message that `bytes` hold.
fn only_message(bytes: &[u8]) -> Result<Message<'_>> {
    let mut rest = bytes;
    frame::next(&mut rest)?.filter(|_| rest.is_empty()).ok_or_else(not_one_batch)
}

fn not_one_batch() -> Error {
    malformed("exactly one RecordBatch message is wanted here")
}

/// What [`decode_stream`] takes for the same bytes. `BATCH_TOO_LARGE` if that is more than the limit.
pub fn declared_stream(bytes: &[u8], limits: &Limits) -> Result<Declared> {
    guarded(|| declared::of_stream(bytes, limits))
}

/// All record batches of a complete stream; its end mark may be missing. The limits hold for all of it together.
pub fn decode_stream(bytes: &[u8], limits: Limits) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    guarded(|| {
        let mut decoder = Decoder::new(limits);
        let (mut rest, mut budget, mut batches) = (bytes, Budget::new(limits.decoded_bytes), Vec::new());
        while let Some(message) = frame::next(&mut rest)? {
            if let Decoded::Rows(batch) = decoder.take(message, &mut budget)? {
                batches.push(batch);
            }
        }
        let schema = decoder.checked()?.schema.clone();
        Ok((schema, batches))
    })
}

/// A panic while decoding is a bug of the code around here, and the input's end, not the server's. What it says may quote the input: only
/// the process's panic hook writes it, at debug.
fn guarded<T>(decode: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|_| {
        tracing::error!("decoding an Arrow payload panicked: please report this");
        Err(malformed("its arrays contradict each other"))
    })
}

fn in_column(name: &str, error: Error) -> Error {
    if error.code() != tidewater_storage::Code::MalformedPayload {
        return error;
    }
    let name: String = name.chars().take(80).collect();
    let out = Error::new(error.code(), format!("{} (column '{name}')", error.message()));
    match error.hint_text() {
        Some(hint) => out.hint(hint),
        None => out,
    }
}
