//! How does a result leave? Arrow IPC messages, each bounded by its encoded size, with a sign of life in between.
//!
//! Clients keep gRPC's default limit of 4 MiB a message (Grafana, tonic). Splitting by row count fails on skewed rows
//! and on slices of large buffers, so rows are halved until their encoded size fits.

use std::future::Future;
use std::time::Duration;

use arrow::array::{Array, ArrayData, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use arrow_flight::{FlightData, SchemaAsIpc};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use prost::Message;
use tidewater_storage::{Code, Error, Result};
use tokio::time::Instant;
use tonic::Status;
use tonic::metadata::{AsciiMetadataValue, MetadataMap};

use super::call::QUERY_ID_HEADER;
use crate::call::deadline_passed;
use crate::status::to_flight_status as to_status;

/// What a message aims at.
pub(crate) const TARGET_BYTES: usize = 2 << 20;

/// What a message never passes: the default limit of gRPC clients, less space for framing.
pub(crate) const MAX_MESSAGE_BYTES: usize = (4 << 20) - FRAMING_BYTES;
const FRAMING_BYTES: usize = 64 << 10;

/// After this long without data an empty batch is sent, so that proxies keep the connection.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Arrow IPC pads every buffer to this.
const ALIGNMENT: usize = 64;

/// A field node, and a buffer's place, in a message's header.
const HEADER_ENTRY_BYTES: usize = 16;

const _: () = assert!(TARGET_BYTES < MAX_MESSAGE_BYTES && MAX_MESSAGE_BYTES < 4 << 20);

/// How a client wants its messages.
#[derive(Debug, Clone)]
pub(crate) struct Form {
    options: IpcWriteOptions,
    /// What a message that holds a single row may take; those of several rows are as small as ever.
    max_bytes: usize,
}

impl Default for Form {
    fn default() -> Self {
        Self { options: IpcWriteOptions::default(), max_bytes: MAX_MESSAGE_BYTES }
    }
}

impl Form {
    /// With the values of a message compressed.
    pub fn compressed(self, codec: CompressionType) -> Result<Self> {
        Ok(Self { options: self.options.try_with_compression(Some(codec))?, ..self })
    }

    /// For a client that takes messages of so many bytes, framing and all; never less than the default of gRPC clients.
    pub fn up_to(self, client_bytes: usize) -> Self {
        Self { max_bytes: client_bytes.saturating_sub(FRAMING_BYTES).max(MAX_MESSAGE_BYTES), ..self }
    }
}

/// Batches of a result on their way.
pub(crate) type Rows = BoxStream<'static, Result<RecordBatch>>;

/// Turns batches of one schema into messages.
pub(crate) struct Encoder {
    schema: SchemaRef,
    form: Form,
    dictionaries: DictionaryTracker,
    context: IpcWriteContext,
    /// Parts that are not encoded yet; the next one is last.
    waiting: Vec<RecordBatch>,
}

impl Encoder {
    pub fn new(schema: SchemaRef) -> Self {
        Self {
            schema,
            form: Form::default(),
            dictionaries: DictionaryTracker::new(false),
            context: IpcWriteContext::default(),
            waiting: Vec::new(),
        }
    }

    pub fn in_form(self, form: Form) -> Self {
        Self { form, ..self }
    }

    /// The message that begins every stream.
    pub fn schema_message(&self) -> FlightData {
        SchemaAsIpc::new(&self.schema, &self.form.options).into()
    }

    /// Takes a batch; its types must be the announced ones.
    pub fn push(&mut self, batch: RecordBatch) -> Result<()> {
        let announced = self.schema.fields().iter().map(|field| field.data_type());
        let got = batch.columns().iter().map(|column| column.data_type());
        if !announced.eq(got) {
            let got = batch.schema();
            return Err(Error::internal(format!("a batch of {got} was made for a result of {}", self.schema)));
        }
        if batch.num_rows() > 0 {
            self.waiting.push(batch);
        }
        Ok(())
    }

    /// The next message of what was pushed, `None` when all of it was returned.
    pub fn next(&mut self) -> Result<Option<FlightData>> {
        while let Some(batch) = self.waiting.pop() {
            let n_rows = batch.num_rows();
            let n_bytes = encoded_bytes(&batch);
            if n_bytes > TARGET_BYTES && n_rows > 1 {
                self.split(&batch, n_bytes.div_ceil(TARGET_BYTES).max(2));
                continue;
            }
            let message = self.message(&batch)?;
            let n_bytes = message.encoded_len();
            let max_bytes = if n_rows == 1 { self.form.max_bytes } else { MAX_MESSAGE_BYTES };
            if n_bytes <= max_bytes {
                return Ok(Some(message));
            }
            if n_rows == 1 {
                return Err(row_too_large(n_bytes, max_bytes));
            }
            self.split(&batch, 2);
        }
        Ok(None)
    }

    /// A message without rows.
    pub fn keep_alive(&mut self) -> Result<FlightData> {
        self.message(&RecordBatch::new_empty(self.schema.clone()))
    }

    /// Puts `batch` back as `n_parts` slices of equal row counts.
    fn split(&mut self, batch: &RecordBatch, n_parts: usize) {
        let n_rows = batch.num_rows();
        let step = n_rows.div_ceil(n_parts).max(1);
        let starts: Vec<usize> = (0..n_rows).step_by(step).collect();
        self.waiting.extend(starts.into_iter().rev().map(|start| batch.slice(start, step.min(n_rows - start))));
    }

    fn message(&mut self, batch: &RecordBatch) -> Result<FlightData> {
        let generator = IpcDataGenerator::default();
        let (dictionaries, message) =
            generator.encode(batch, &mut self.dictionaries, &self.form.options, &mut self.context)?;
        if !dictionaries.is_empty() {
            return Err(Error::internal(format!("a result has dictionary columns: {}", self.schema)));
        }
        Ok(message.into())
    }
}

fn row_too_large(n_bytes: usize, max_bytes: usize) -> Error {
    Error::new(
        Code::ResultTooLarge,
        format!("one row of the result takes {n_bytes} bytes, a message at most {max_bytes}"),
    )
    .hint("select fewer columns, or parts of the long values; over Flight SQL x-flight-max-message asks for more")
    .with("row_bytes", n_bytes)
    .with("limit_bytes", max_bytes)
}

/// Bytes of a batch as an IPC message: exact for the types that results have, never less for others.
pub(crate) fn encoded_bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|column| array_bytes(&column.to_data(), 0, column.len())).sum()
}

/// Bytes of `len` values of `data` from `offset`: padded buffers, and their entries in the header.
fn array_bytes(data: &ArrayData, offset: usize, len: usize) -> usize {
    let start = data.offset() + offset;
    let own = match data.data_type() {
        DataType::Null => return HEADER_ENTRY_BYTES,
        DataType::Boolean => buffer(len.div_ceil(8)),
        DataType::FixedSizeBinary(width) => buffer(usize::try_from(*width).unwrap_or(0) * len),
        DataType::Utf8 | DataType::Binary => {
            let values = offsets::<i32>(data, start, len);
            buffer((len + 1) * 4) + buffer(values.1 - values.0)
        }
        DataType::LargeUtf8 | DataType::LargeBinary => {
            let values = offsets::<i64>(data, start, len);
            buffer((len + 1) * 8) + buffer(values.1 - values.0)
        }
        DataType::List(_) | DataType::Map(_, _) => {
            let (from, to) = offsets::<i32>(data, start, len);
            buffer((len + 1) * 4) + array_bytes(&data.child_data()[0], from, to - from)
        }
        DataType::LargeList(_) => {
            let (from, to) = offsets::<i64>(data, start, len);
            buffer((len + 1) * 8) + array_bytes(&data.child_data()[0], from, to - from)
        }
        DataType::FixedSizeList(_, width) => {
            let width = usize::try_from(*width).unwrap_or(0);
            array_bytes(&data.child_data()[0], start * width, len * width)
        }
        DataType::Struct(_) => data.child_data().iter().map(|child| array_bytes(child, start, len)).sum(),
        other => match other.primitive_width() {
            Some(width) => buffer(width * len),
            None => buffer(data.get_array_memory_size()),
        },
    };
    HEADER_ENTRY_BYTES + buffer(len.div_ceil(8)) + own
}

/// A buffer in the body, and its place in the header.
fn buffer(n_bytes: usize) -> usize {
    n_bytes.next_multiple_of(ALIGNMENT) + HEADER_ENTRY_BYTES
}

/// Where the values of `len` entries from `start` begin and end.
fn offsets<O: Copy + TryInto<usize> + arrow::datatypes::ArrowNativeType>(
    data: &ArrayData,
    start: usize,
    len: usize,
) -> (usize, usize) {
    let offsets = data.buffers()[0].typed_data::<O>();
    let at = |index: usize| offsets.get(index).map_or(0, |offset| offset.as_usize());
    (at(start), at(start + len))
}

/// What follows the rows of a query that has ended: metadata of the application for the last message, and the trailers of the call.
pub(crate) type Ending = Box<dyn FnOnce() -> (Bytes, MetadataMap) + Send>;

/// What a result's stream holds between two messages.
struct Sending {
    encoder: Encoder,
    source: Source,
    schema_sent: bool,
    deadline: Option<Instant>,
    keep_alive: Duration,
    query_id: String,
    ending: Option<Ending>,
    trailers: Option<MetadataMap>,
}

enum Source {
    Starting(BoxFuture<'static, Result<Rows>>),
    Running(Rows),
    Ended,
}

enum Step<T> {
    Done(T),
    /// Nothing came for the keep-alive interval.
    Quiet,
}

/// The answer of a DoGet: schema, then batches. Dropping it drops `start` and what came of it, which cancels the query.
/// An error ends the stream with a status: never a short answer that looks whole.
pub(crate) fn stream(
    schema: SchemaRef,
    start: BoxFuture<'static, Result<Rows>>,
    deadline: Option<Instant>,
    query_id: &str,
) -> BoxStream<'static, Result<FlightData, Status>> {
    stream_within(schema, start, deadline, KEEP_ALIVE, query_id)
}

/// [`stream`] in a form of its own, with a last message, which has no rows, and trailers.
pub(super) fn stream_with(
    schema: SchemaRef,
    form: Form,
    start: BoxFuture<'static, Result<Rows>>,
    deadline: Option<Instant>,
    query_id: &str,
    ending: Ending,
) -> BoxStream<'static, Result<FlightData, Status>> {
    let mut sending = Sending::new(schema, start, deadline, KEEP_ALIVE, query_id);
    sending.encoder = sending.encoder.in_form(form);
    sending.ending = Some(ending);
    sending.into_stream()
}

/// [`stream`] with an interval of its own between signs of life.
pub(super) fn stream_within(
    schema: SchemaRef,
    start: BoxFuture<'static, Result<Rows>>,
    deadline: Option<Instant>,
    keep_alive: Duration,
    query_id: &str,
) -> BoxStream<'static, Result<FlightData, Status>> {
    Sending::new(schema, start, deadline, keep_alive, query_id).into_stream()
}

/// The answer of a DoGet whose rows are there already.
pub(crate) fn stream_of(
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
) -> BoxStream<'static, Result<FlightData, Status>> {
    let rows: Rows = stream::iter(batches.into_iter().map(Ok)).boxed();
    stream(schema, Box::pin(async { Ok(rows) }), None, "")
}

impl Sending {
    fn new(
        schema: SchemaRef,
        start: BoxFuture<'static, Result<Rows>>,
        deadline: Option<Instant>,
        keep_alive: Duration,
        query_id: &str,
    ) -> Self {
        Self {
            encoder: Encoder::new(schema),
            source: Source::Starting(start),
            schema_sent: false,
            deadline,
            keep_alive,
            query_id: query_id.to_owned(),
            ending: None,
            trailers: None,
        }
    }

    fn into_stream(self) -> BoxStream<'static, Result<FlightData, Status>> {
        stream::try_unfold(self, |mut sending| async move {
            match sending.next().await {
                Ok(Some(message)) => Ok(Some((message, sending))),
                Ok(None) => match sending.trailers.take() {
                    // A status ends a call, and OK is one: its metadata are the trailers.
                    Some(trailers) => Err(Status::with_metadata(tonic::Code::Ok, "", trailers)),
                    None => Ok(None),
                },
                Err(error) => Err(sending.status(&error)),
            }
        })
        .boxed()
    }

    async fn next(&mut self) -> Result<Option<FlightData>> {
        if !self.schema_sent {
            self.schema_sent = true;
            return Ok(Some(self.encoder.schema_message()));
        }
        loop {
            // Rows that are there whenever they are asked for are never waited for.
            let is_late = self.deadline.is_some_and(|deadline| deadline <= Instant::now());
            if is_late && !matches!(self.source, Source::Ended) {
                return Err(deadline_passed());
            }
            if let Some(message) = self.encoder.next()? {
                return Ok(Some(message));
            }
            match &mut self.source {
                Source::Starting(start) => match wait(self.deadline, self.keep_alive, start).await? {
                    Step::Done(rows) => self.source = Source::Running(rows?),
                    Step::Quiet => return self.encoder.keep_alive().map(Some),
                },
                Source::Running(rows) => match wait(self.deadline, self.keep_alive, rows.next()).await? {
                    Step::Done(Some(batch)) => self.encoder.push(batch?)?,
                    Step::Done(None) => {
                        self.source = Source::Ended;
                        return self.last_message();
                    }
                    Step::Quiet => return self.encoder.keep_alive().map(Some),
                },
                Source::Ended => return Ok(None),
            }
        }
    }

    fn last_message(&mut self) -> Result<Option<FlightData>> {
        let Some(ending) = self.ending.take() else { return Ok(None) };
        let (app_metadata, trailers) = ending();
        self.trailers = Some(trailers);
        Ok(Some(self.encoder.keep_alive()?.with_app_metadata(app_metadata)))
    }

    /// The status that ends the stream; it names the query.
    fn status(&self, error: &Error) -> Status {
        let mut status = to_status(error);
        if let Ok(value) = AsciiMetadataValue::try_from(self.query_id.as_str())
            && !self.query_id.is_empty()
        {
            status.metadata_mut().insert(QUERY_ID_HEADER, value);
        }
        status
    }
}

/// Waits for `work`, at most `keep_alive`; past `deadline` it is an error.
async fn wait<T>(deadline: Option<Instant>, keep_alive: Duration, work: impl Future<Output = T>) -> Result<Step<T>> {
    let quiet = Instant::now() + keep_alive;
    let until = deadline.map_or(quiet, |deadline| deadline.min(quiet));
    match tokio::time::timeout_at(until, work).await {
        Ok(done) => Ok(Step::Done(done)),
        Err(_) if deadline.is_some_and(|deadline| deadline <= until) => Err(deadline_passed()),
        Err(_) => Ok(Step::Quiet),
    }
}
