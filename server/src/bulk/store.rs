//! What becomes of the rows of a body? One batch, or a statement of its own when they are many, or nothing when they are only tried.

use std::sync::Arc;

use tidewater_query::Role;
use tidewater_storage::admission::{IncomingRows, RejectCode, RejectedRow};
use tidewater_storage::catalog::TableDef;
use tidewater_storage::ids::CommitToken;
use tidewater_storage::limits::MAX_BATCH_BYTES;
use tidewater_storage::memory::Decoding;
use tidewater_storage::{Code, DryRunOutcome, Error, Result, RowFault, RowsOutcome};
use tokio_util::sync::CancellationToken;

use super::body::{MAX_BODY_BYTES, Received};
use super::coding::{Coding, too_large, unreadable};
use super::elements::ElementPieces;
use super::messages::MessagePieces;
use super::options::{Format, Options};
use super::pieces::{ParquetPieces, Pieces, TextPieces};
use super::spool::{Spool, SpoolChunks};
use super::whole;
use crate::App;
use crate::call::Call;
use crate::ingest::decoding::aside;
use crate::ingest::ipc::flat_batch_bytes;
use crate::ingest::{Rows, Target};

/// What reading a part of a Parquet file may take: this part of all memory, or so much where that is little. Some writers have pages of
/// 100 MiB.
const PARQUET_DIVISOR: u64 = 4;
const LEAST_PARQUET_BYTES: u64 = 256 << 20;

/// What a row is counted as beside its values, which may all be NULL.
const ROW_BYTES: u64 = 8;

/// What became of the rows.
#[derive(Debug)]
pub(super) struct Outcome {
    pub received: u64,
    pub accepted: u64,
    pub duplicates: u64,
    pub rejected: u64,
    pub repeated: bool,
    /// The first rejected rows.
    pub errors: Vec<RejectedRow>,
    /// `None`: nothing was stored.
    pub token: Option<CommitToken>,
}

impl From<RowsOutcome> for Outcome {
    fn from(stored: RowsOutcome) -> Self {
        Self {
            received: stored.received,
            accepted: stored.accepted,
            duplicates: stored.duplicates,
            rejected: stored.rejected,
            repeated: stored.repeated,
            errors: stored.row_errors.into_iter().filter(|row| row.code != RejectCode::NotKept).collect(),
            token: Some(stored.token),
        }
    }
}

impl From<DryRunOutcome> for Outcome {
    fn from(tried: DryRunOutcome) -> Self {
        Self {
            received: tried.received,
            accepted: tried.accepted,
            duplicates: tried.duplicates,
            rejected: tried.rejected,
            repeated: false,
            errors: tried.row_errors,
            token: None,
        }
    }
}

/// A request whose body is there.
pub(super) struct Load {
    pub app: Arc<App>,
    pub spool: Arc<Spool>,
    pub options: Arc<Options>,
    pub target: Target,
    pub call: Call,
}

impl Load {
    pub async fn run(self, received: Received) -> Result<Outcome> {
        self.check_caller()?;
        let received = Arc::new(received);
        let may_be_large = self.may_be_large();
        let small = match self.whole(&received).await {
            Err(error) if error.code() == Code::BatchTooLarge && may_be_large => None,
            whole => whole?,
        };
        match small {
            Some(outcome) => Ok(outcome),
            None if may_be_large => self.pieces(received).await,
            None => Err(too_many()),
        }
    }

    /// With a producer the request is one of its batches, and those are small.
    fn may_be_large(&self) -> bool {
        self.options.aborts && self.options.request.producer.is_none()
    }

    /// A body comes, and is decoded, for as long as that takes: its sender may be barred meanwhile.
    fn check_caller(&self) -> Result<()> {
        self.call.check_again(&self.app, Role::Writer, &self.target.table.def(), "write to")
    }

    /// All rows at once. `None`: they are too many for that.
    async fn whole(&self, received: &Arc<Received>) -> Result<Option<Outcome>> {
        let (table, memory) = (&self.target.table, self.app.storage.memory());
        let Some((rows, held)) = whole::rows(received, &self.options, &table.def(), memory).await? else {
            return Ok(None);
        };
        if self.options.dry_run {
            return self.tried(rows, held).await.map(Some);
        }
        let prepared = Rows::new(rows, held).prepare(&self.target, self.options.request.sequence).await?;
        let stored = table.submit(prepared).await?.outcome().await?;
        Ok(Some(stored.into()))
    }

    async fn tried(&self, rows: IncomingRows, held: Option<Decoding>) -> Result<Outcome> {
        let mut run = self.target.table.dry_run(self.options.stage_options(&self.call.principal.name))?;
        // It counts the rows by itself.
        drop(held);
        run.push(rows).await?;
        let tried = run.outcome();
        if tried.bytes > MAX_BATCH_BYTES as u64 && !self.may_be_large() {
            return Err(too_many());
        }
        self.checked(tried)
    }

    /// As a write that aborts would answer.
    fn checked(&self, tried: DryRunOutcome) -> Result<Outcome> {
        if !self.options.aborts || tried.rejected == 0 {
            return Ok(tried.into());
        }
        let faults = tried.row_errors.into_iter().map(|row| RowFault {
            row: row.row,
            column: row.column,
            code: row.code.as_str(),
            message: row.message,
        });
        let (n_bad, received) = (tried.rejected, tried.received);
        Err(Error::new(Code::BadRows, format!("{n_bad} of {received} rows are bad, so none would be stored"))
            .hint("correct these rows, or let good rows be stored with on_error=keep")
            .with("rejected", n_bad)
            .with("received", received)
            .with_rows(faults.collect()))
    }

    /// The rows piece by piece: all of them are stored at the end, or none.
    async fn pieces(self, received: Arc<Received>) -> Result<Outcome> {
        let options = self.options.stage_options(&self.call.principal.name);
        let table = &self.target.table;
        if self.options.dry_run {
            let mut run = table.dry_run(options)?;
            let mut pieces = self.open(&received, run.def()).await?;
            let mut total = 0;
            while let Some(rows) = self.next(&mut pieces, &mut total).await? {
                run.push(rows).await?;
            }
            return self.checked(run.outcome());
        }
        let mut write = table.stage(options)?;
        let mut pieces = self.open(&received, write.def()).await?;
        let mut total = 0;
        while let Some(rows) = self.next(&mut pieces, &mut total).await? {
            write.push(rows).await?;
        }
        drop((pieces, received));
        self.check_caller()?;
        Ok(write.commit().await?.into())
    }

    async fn open(&self, received: &Arc<Received>, def: &Arc<TableDef>) -> Result<Option<Box<dyn Pieces>>> {
        let (received, def) = (Arc::clone(received), Arc::clone(def));
        let (options, spool) = (Arc::clone(&self.options), Arc::clone(&self.spool));
        if options.format != Format::Parquet {
            return aside(move || open(&received, &options, &def).map(Some)).await;
        }
        let max_bytes = (self.app.storage.memory().limit() / PARQUET_DIVISOR).max(LEAST_PARQUET_BYTES);
        let given_up = CancellationToken::new();
        let _waiting = given_up.clone().drop_guard();
        aside(move || parquet(&received, options.coding, &spool, max_bytes, &given_up).map(Some)).await
    }

    /// The next piece, decoded when there is memory for it. Nothing else is waited for meanwhile. `total` is counted on: a few bytes of
    /// Parquet may stand for rows without end.
    async fn next(&self, pieces: &mut Option<Box<dyn Pieces>>, total: &mut u64) -> Result<Option<IncomingRows>> {
        let lost = || Error::internal("a body is read on after an error");
        let mut reading = pieces.take().ok_or_else(lost)?;
        let place = self.app.storage.memory().decoding(reading.decoding_bytes()).await?;
        let (back, rows) = aside(move || {
            let rows = reading.next()?;
            drop(place);
            Ok((reading, rows))
        })
        .await?;
        *pieces = Some(back);
        if let Some(rows) = &rows {
            let bytes = flat_batch_bytes(&rows.batch).saturating_add(ROW_BYTES * rows.batch.num_rows() as u64);
            *total = total.saturating_add(bytes);
        }
        match *total > MAX_BODY_BYTES {
            true => Err(too_large(MAX_BODY_BYTES)),
            false => Ok(rows),
        }
    }
}

fn too_many() -> Error {
    too_large(MAX_BATCH_BYTES as u64).hint(
        "send the rows in several requests, or with on_error=abort and without a producer: then they may be many, and are stored all or \
         not at all",
    )
}

fn open(received: &Received, options: &Options, def: &Arc<TableDef>) -> Result<Box<dyn Pieces>> {
    let body = options.coding.decoded(received.reader(), MAX_BODY_BYTES).map_err(unreadable)?;
    Ok(match options.format {
        Format::Json => Box::new(ElementPieces::new(def, options.ignores_unknown_columns(), body)),
        Format::Arrow => Box::new(MessagePieces::new(body)),
        Format::Ndjson | Format::Csv | Format::Parquet => Box::new(TextPieces::new(def, options, body)?),
    })
}

/// A Parquet file is read from its end: what is compressed as a whole goes into a file first.
fn parquet(
    received: &Received,
    coding: Coding,
    spool: &Arc<Spool>,
    max_bytes: u64,
    given_up: &CancellationToken,
) -> Result<Box<dyn Pieces>> {
    let file = match (coding, received) {
        (Coding::Identity, Received::Memory(bytes, _)) => {
            return Ok(Box::new(ParquetPieces::new(bytes.clone(), max_bytes)?));
        }
        (Coding::Identity, Received::File(file)) => Arc::clone(file),
        (coding, received) => {
            let mut file = spool.file()?;
            let mut body = coding.decoded(received.reader(), MAX_BODY_BYTES).map_err(unreadable)?;
            file.fill(&mut body, MAX_BODY_BYTES, given_up)?;
            Arc::new(file)
        }
    };
    Ok(Box::new(ParquetPieces::new(SpoolChunks(file), max_bytes)?))
}
