//! What may be asked of a worker? A closed list; each request has one handler, in the file of its name.

use std::sync::Arc;

use arrow::buffer::BooleanBuffer;
use roaring::RoaringBitmap;
use tokio::sync::oneshot;

use crate::catalog::{TableChange, TableDef};
use crate::dedup::{KeySnapshot, Keys};
use crate::error::Result;
use crate::ids::{CommitSeq, CommitToken, ProducerId};
use crate::table::places::Held;
use crate::table::prepare::PreparedRows;
use crate::table::request::{ProducerInfo, RowsOutcome};
use crate::table::seal::{
    Books, Built, Frozen, Intent, KeysSeen, PublishOutcome, PublishPlan, PublishedFile, SegmentAnswer, Staged,
};

/// Everything that changes a table.
pub(crate) enum TableRequest {
    Rows {
        rows: Box<PreparedRows>,
        held: Held,
        answer: oneshot::Sender<Result<RowsOutcome>>,
    },
    InitProducer {
        id: ProducerId,
        reset: bool,
        principal: String,
        answer: oneshot::Sender<Result<ProducerInfo>>,
    },
    /// Where a producer stands; changes nothing, but waits its turn.
    LookUpProducer {
        id: ProducerId,
        answer: oneshot::Sender<Result<ProducerInfo>>,
    },
    /// How many rows were accepted under an idempotency key; changes nothing, but waits its turn.
    LookUpKey {
        suffix: Vec<u8>,
        answer: oneshot::Sender<Option<u64>>,
    },
    /// Rolls the ledger up; forgets producers and rejected rows that are past their limits.
    Housekeep,
    /// Memory for keys is short somewhere, or a job over keys that failed may be tried again. `gives_filters`: rows of another table are
    /// refused for it.
    TendKeys {
        gives_filters: bool,
    },
    Truncate {
        answer: oneshot::Sender<Result<(u64, CommitToken)>>,
    },
    /// Rows of files go.
    Delete {
        rows: Vec<(String, RoaringBitmap)>,
        answer: oneshot::Sender<Result<(u64, CommitToken)>>,
    },
    /// The keys of all rows that are decided.
    SeeKeys {
        answer: oneshot::Sender<Result<KeysSeen>>,
    },
    /// Which of these keys the table has, for rows that are only tried: what is closed as a snapshot, and what the open layer knows.
    ProbeKeys {
        keys: Arc<Keys>,
        answer: oneshot::Sender<Result<(KeySnapshot, Option<BooleanBuffer>)>>,
    },
    /// Files of a stream become rows of the table.
    Segment {
        staged: Box<Staged>,
        answer: oneshot::Sender<SegmentAnswer>,
    },
    Alter {
        change: TableChange,
        answer: oneshot::Sender<Result<Arc<TableDef>>>,
    },
    /// Closes the open prefix of the log, to be built.
    Freeze {
        answer: oneshot::Sender<Result<Option<Frozen>>>,
    },
    /// A closed prefix is in files.
    Built {
        built: Box<Built>,
        answer: oneshot::Sender<Result<()>>,
    },
    /// What the next commit of the Delta table is to say; changes nothing.
    PlanPublish {
        answer: oneshot::Sender<Result<Option<PublishPlan>>>,
    },
    /// May the commit that says so be sent? If so, it is on record when this is answered; else `BUILD_OVERTAKEN`: a TRUNCATE came since it
    /// was planned, which knew of this one.
    Send {
        truncated: Option<CommitSeq>,
        intent: Box<Intent>,
        answer: oneshot::Sender<Result<()>>,
    },
    /// Those of these published files, as Delta's log has them, that may be replaced: not those that are gone or on their way out, and not
    /// those of which rows were deleted that the log does not know.
    LookUpPublished {
        names: Vec<String>,
        answer: oneshot::Sender<Result<Vec<PublishedFile>>>,
    },
    /// May these published files leave with this commit? With how many deleted rows each was read. If so, the commit is on record when this
    /// is answered, and nothing is deleted from them until it is settled. Else `BUILD_OVERTAKEN`. `retention_us`: they are past this
    /// retention, and nothing takes their place; they stay if the table keeps rows for longer by now.
    Leave {
        files: Vec<(String, u64)>,
        retention_us: Option<i64>,
        intent: Box<Intent>,
        answer: oneshot::Sender<Result<()>>,
    },
    /// How many rows were ever accepted and how many left, beside those that are there then; changes nothing.
    Count {
        answer: oneshot::Sender<Result<Books>>,
    },
    /// That commit was found at its version.
    Published {
        outcome: PublishOutcome,
        answer: oneshot::Sender<Result<()>>,
    },
}
