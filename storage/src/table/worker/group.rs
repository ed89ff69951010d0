//! What becomes durable together? One group: one entry, the state records that belong to it, the answers that rest on it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{concat_batches, filter_record_batch};
use roaring::RoaringBitmap;
use tokio::sync::oneshot;

use crate::catalog::TableDef;
use crate::env::Moment;
use crate::error::Result;
use crate::ids::CommitSeq;
use crate::ids::CommitToken;
use crate::log::{BatchMeta, Block, Family, Op};
use crate::realtime::{ZoneMap, tail_zones};
use crate::sealed::FileRef;
use crate::table::handle::Shared;
use crate::table::places::Held;
use crate::table::prepare::PreparedPart;
use crate::table::request::{ProducerInfo, RowsOutcome};
use crate::table::seal::{Books, PublishPlan, PublishedFile, RowCounts, SegmentAnswer};

/// An answer that waits for its sequence to be durable and visible.
pub(crate) enum Answer {
    Rows(oneshot::Sender<Result<RowsOutcome>>, Result<RowsOutcome>, Held),
    Segment(oneshot::Sender<SegmentAnswer>, SegmentAnswer),
    Producer(oneshot::Sender<Result<ProducerInfo>>, Result<ProducerInfo>),
    Accepted(oneshot::Sender<Option<u64>>, Option<u64>),
    /// Rows that went.
    Counted(oneshot::Sender<Result<(u64, CommitToken)>>, Result<(u64, CommitToken)>),
    Altered(oneshot::Sender<Result<Arc<TableDef>>>, Result<Arc<TableDef>>),
    Done(oneshot::Sender<Result<()>>, Result<()>),
    Plan(oneshot::Sender<Result<Option<PublishPlan>>>, Result<Option<Box<PublishPlan>>>),
    /// What is there is looked up when it is sent: it is then what was decided when the rows were counted.
    Books(oneshot::Sender<Result<Books>>, RowCounts, Arc<Shared>),
    Published(oneshot::Sender<Result<Vec<PublishedFile>>>, Result<Vec<PublishedFile>>),
}

impl Answer {
    /// A caller that has gone away is no error: what it asked for stands.
    pub(crate) fn send(self) {
        match self {
            Answer::Rows(to, answer, held) => {
                // First: whoever reads the answer finds its place free.
                drop(held);
                drop(to.send(answer));
            }
            Answer::Segment(to, answer) => drop(to.send(answer)),
            Answer::Producer(to, answer) => drop(to.send(answer)),
            Answer::Accepted(to, answer) => drop(to.send(answer)),
            Answer::Counted(to, answer) => drop(to.send(answer)),
            Answer::Altered(to, answer) => drop(to.send(answer)),
            Answer::Done(to, answer) => drop(to.send(answer)),
            Answer::Plan(to, plan) => drop(to.send(plan.map(|plan| plan.map(|plan| *plan)))),
            Answer::Books(to, counts, shared) => drop(to.send(Ok(Books::new(counts, &shared)))),
            Answer::Published(to, answer) => drop(to.send(answer)),
        }
    }
}

/// How the visible version changes when a group is durable.
pub(crate) enum Publish {
    /// These rows, in order; empty when all were duplicates or rejected.
    Rows(Vec<AcceptedRows>),
    /// The rows of these files.
    Segment(Vec<FileRef>),
    /// Everything before goes.
    Truncate,
    /// These files take the place of the frozen rows, which end with the entry `through`.
    Built { files: Vec<FileRef>, through: CommitSeq },
    /// Files are in the Delta table now, as they are here but for their deleted rows; those in `gone` have no rows any more, or theirs are
    /// in `added`.
    Published { places: HashMap<String, FileRef>, gone: Vec<String>, added: Vec<FileRef> },
    /// All deleted rows of these files.
    Deleted(HashMap<String, Arc<RoaringBitmap>>),
    /// The table has another definition.
    Altered(Arc<TableDef>),
    /// Only the sequence moves.
    Nothing,
}

/// Rows that become visible together, with their zones if they are many.
pub(crate) struct AcceptedRows {
    pub(crate) rows: RecordBatch,
    pub(crate) zones: Option<ZoneMap>,
}

/// Rows that wait to become one group.
#[derive(Default)]
pub(crate) struct RowsGroup {
    pub(crate) seq: CommitSeq,
    pub(crate) at: Moment,
    pub(crate) batches: Vec<BatchMeta>,
    blocks: Vec<Block>,
    /// Accepted rows of small parts that have no block yet.
    small: Vec<RecordBatch>,
    accepted: Vec<AcceptedRows>,
    pub(crate) ops: Vec<Op>,
    pub(crate) answers: Vec<Answer>,
    pub(crate) sync: bool,
    bytes: usize,
}

impl RowsGroup {
    pub(crate) fn new(seq: CommitSeq, at: Moment) -> Self {
        Self { seq, at, ..Self::default() }
    }

    /// About what the group will write, compressed or not.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A record that is written with the entry, and that may be large.
    pub(crate) fn note_record(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.note_bytes(key.len() + value.len());
        self.ops.push(Op::Put(Family::State, key, value));
    }

    /// So much more will be written with the entry.
    pub(crate) fn note_bytes(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// No batch consumed its number: there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Adds a part whose keys are claimed; `losers` are the rows that were here before. Returns how many of its rows the entry holds.
    pub(crate) fn add(&mut self, part: PreparedPart, losers: Option<&BooleanBuffer>) -> Result<u32> {
        let PreparedPart { rows, block, mut zones, .. } = part;
        let n_rows = rows.num_rows() as u32;
        let won = match losers {
            None => rows,
            Some(losers) => {
                let kept = !losers;
                let won = filter_record_batch(&rows, &BooleanArray::new(kept.clone(), None))?;
                zones = zones.map(|zones| zones.narrowed(&kept, &won));
                won
            }
        };
        if won.num_rows() == 0 {
            return Ok(0);
        }
        let Some(block) = block else {
            let n_rows = won.num_rows() as u32;
            self.bytes += won.get_array_memory_size();
            self.small.push(won);
            return Ok(n_rows);
        };
        self.flush_small()?;
        self.accepted.push(AcceptedRows { rows: won, zones });
        let lost: RoaringBitmap = losers.into_iter().flat_map(|l| l.set_indices()).map(|row| row as u32).collect();
        self.bytes += block.bytes();
        self.blocks.push(block.with_lost(lost));
        Ok(n_rows)
    }

    /// What small parts have in common: one block, and one batch to make visible.
    fn flush_small(&mut self) -> Result<()> {
        let rows = match self.small.as_slice() {
            [] => return Ok(()),
            [only] => only.clone(),
            [first, ..] => concat_batches(&first.schema(), &self.small)?,
        };
        self.small.clear();
        self.blocks.push(Block::encode(&rows)?);
        self.accepted.push(AcceptedRows { zones: tail_zones(&rows), rows });
        Ok(())
    }

    /// The entry's blocks, and the rows that become visible.
    pub(crate) fn take_rows(&mut self) -> Result<(Vec<Block>, Vec<AcceptedRows>)> {
        self.flush_small()?;
        Ok((std::mem::take(&mut self.blocks), std::mem::take(&mut self.accepted)))
    }
}
