//! How do files that are sorted in the same way become one? As a stream: the next row is always the least of all first rows, so that a
//! batch of each file is all that is in memory.

use std::cmp::Ordering;

use arrow::row::Rows;

use super::memory::Memory;
use super::{Input, Merge, Merged};
use crate::catalog::TableDef;
use crate::error::Result;
use crate::memory::Share;
use crate::sealed::{FileWriter, Order, ReadingBytes, SegmentFile, SourceRows, Target, sort_keys};

pub(super) fn merge(merge: &Merge, hour: Option<i64>, order: &Order, readings: &[ReadingBytes]) -> Result<Merged> {
    let memory = Memory::of(readings, merge.def.columns.len(), merge.budget);
    // Two files may take more than there is for a merge.
    let beyond = memory.bytes().saturating_sub(merge.budget);
    let _beyond = merge.shared.memory.charge(Share::Unassigned, beyond);
    let inputs = &merge.inputs[..memory.n_inputs];
    let name = merge.name(0)?;
    let path = merge.shared.folders.built_path(name);
    let go_on = |coming| merge.check_stop(coming);
    let target = Target { path: &path, hour, def: &merge.def, go_on: &go_on };
    let mut output = Output::new(target, inputs, memory);
    let mut merger = Merger::open(inputs, &merge.def, order, memory)?;
    while let Some(chunk) = merger.next_chunk()? {
        output.take(chunk)?;
    }
    let mut stamps = Vec::new();
    for input in inputs {
        stamps.extend(input.stamps()?);
    }
    let file = output.finish(name.clone(), stamps, merge.now_us)?;
    Ok(Merged { files: vec![merge.finished(file, memory.n_inputs)?], n_inputs: memory.n_inputs })
}

/// Rows that come next, as places in some of the batches.
#[derive(Default)]
struct Chunk {
    pieces: Vec<SourceRows>,
    rows: Vec<(u32, u32)>,
}

/// A file, and where its next row is.
struct Cursor {
    batches: Box<dyn Iterator<Item = Result<SourceRows>>>,
    piece: SourceRows,
    /// Of the rows of `piece`; `None`: rows are in the order of their entries.
    keys: Option<Rows>,
    row: usize,
    /// The place of `piece` in the chunk that is being made, once it has a row there.
    slot: Option<u32>,
}

impl Cursor {
    /// `None`: the file has no rows that are not deleted.
    fn open(input: &Input, def: &TableDef, order: &Order, n_rows: usize) -> Result<Option<Self>> {
        let mut batches = input.batches(def, n_rows)?;
        let Some(piece) = batches.next().transpose()? else { return Ok(None) };
        let keys = keys_of(&piece, def, order)?;
        Ok(Some(Self { batches: Box::new(batches), piece, keys, row: 0, slot: None }))
    }

    /// Goes to the next row. `false`: there is none.
    fn advance(&mut self, def: &TableDef, order: &Order) -> Result<bool> {
        self.row += 1;
        if self.row < self.piece.rows.num_rows() {
            return Ok(true);
        }
        let Some(piece) = self.batches.next().transpose()? else { return Ok(false) };
        self.keys = keys_of(&piece, def, order)?;
        (self.piece, self.row, self.slot) = (piece, 0, None);
        Ok(true)
    }

    fn key(&self) -> &[u8] {
        self.keys.as_ref().map_or(&[], |keys| keys.row(self.row).data())
    }

    /// By the sorted columns, then by entry.
    fn compare(&self, other: &Self) -> Ordering {
        let seq = |cursor: &Self| cursor.piece.seqs.value(cursor.row);
        self.key().cmp(other.key()).then_with(|| seq(self).cmp(&seq(other)))
    }
}

fn keys_of(piece: &SourceRows, def: &TableDef, order: &Order) -> Result<Option<Rows>> {
    if order.is_arrival() { Ok(None) } else { sort_keys(piece, def, order).map(Some) }
}

/// All files, and which of them is next.
struct Merger<'m> {
    def: &'m TableDef,
    order: &'m Order,
    cursors: Vec<Cursor>,
    /// Places of cursors that have rows left. None is before the one at half its place.
    heap: Vec<usize>,
    chunk_rows: usize,
}

impl<'m> Merger<'m> {
    fn open(inputs: &[Input], def: &'m TableDef, order: &'m Order, memory: Memory) -> Result<Self> {
        let mut cursors = Vec::with_capacity(inputs.len());
        for input in inputs {
            cursors.extend(Cursor::open(input, def, order, memory.batch_rows)?);
        }
        let heap = (0..cursors.len()).collect();
        let mut merger = Self { def, order, cursors, heap, chunk_rows: memory.chunk_rows };
        for at in (0..merger.heap.len() / 2).rev() {
            merger.sink(at);
        }
        Ok(merger)
    }

    /// The next rows. `None`: that was all.
    fn next_chunk(&mut self) -> Result<Option<Chunk>> {
        let mut chunk = Chunk::default();
        while let Some(&next) = self.heap.first().filter(|_| chunk.rows.len() < self.chunk_rows) {
            let cursor = &mut self.cursors[next];
            let slot = match cursor.slot {
                Some(slot) => slot,
                None => {
                    let slot = chunk.pieces.len() as u32;
                    chunk.pieces.push(cursor.piece.clone());
                    *cursor.slot.insert(slot)
                }
            };
            chunk.rows.push((slot, cursor.row as u32));
            if !cursor.advance(self.def, self.order)? {
                self.heap.swap_remove(0);
            }
            self.sink(0);
        }
        for cursor in &mut self.cursors {
            cursor.slot = None;
        }
        Ok((!chunk.rows.is_empty()).then_some(chunk))
    }

    /// Exchanges the cursor at this place of the heap with those below that are before it.
    fn sink(&mut self, mut at: usize) {
        loop {
            let (left, right) = (2 * at + 1, 2 * at + 2);
            let mut first = at;
            if left < self.heap.len() && self.is_before(left, first) {
                first = left;
            }
            if right < self.heap.len() && self.is_before(right, first) {
                first = right;
            }
            if first == at {
                return;
            }
            self.heap.swap(at, first);
            at = first;
        }
    }

    fn is_before(&self, a: usize, b: usize) -> bool {
        let (a, b) = (self.heap[a], self.heap[b]);
        self.cursors[a].compare(&self.cursors[b]).then(a.cmp(&b)).is_lt()
    }
}

/// The file that is written. Its first rows wait until there are enough to decide how it is laid out.
struct Output<'a> {
    target: Target<'a>,
    /// By column: some row may have a NaN.
    nans: Vec<bool>,
    memory: Memory,
    first: Vec<Chunk>,
    n_first: usize,
    writer: Option<FileWriter<'a>>,
}

impl<'a> Output<'a> {
    fn new(target: Target<'a>, inputs: &[Input], memory: Memory) -> Self {
        // Bounds are unknown where there is one.
        let may_have_nan = |at: usize| {
            let mut bounds = inputs.iter().filter_map(|input| input.file.columns.get(at));
            bounds.any(|bounds| bounds.min.is_none())
        };
        let nans = (0..target.def.columns.len()).map(may_have_nan).collect();
        Self { target, nans, memory, first: Vec::new(), n_first: 0, writer: None }
    }

    fn take(&mut self, chunk: Chunk) -> Result<()> {
        if let Some(writer) = &mut self.writer {
            return writer.write(&chunk.pieces, &chunk.rows);
        }
        self.n_first += chunk.rows.len();
        self.first.push(chunk);
        if self.n_first >= self.memory.first_rows {
            self.writer = Some(self.begin()?);
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<FileWriter<'a>> {
        let first = std::mem::take(&mut self.first);
        let writer = {
            let Chunk { pieces, rows } = joined(&first);
            FileWriter::begin(self.target, &rows, &pieces, &|at| self.nans[at])?
        };
        let mut writer = writer.with_groups_of(self.memory.group_bytes);
        // Each goes when it is written: the row group grows where it was.
        for chunk in first {
            writer.write(&chunk.pieces, &chunk.rows)?;
        }
        Ok(writer)
    }

    fn finish(mut self, name: String, stamps: Vec<(i64, i64)>, now_us: i64) -> Result<SegmentFile> {
        let writer = match self.writer.take() {
            Some(writer) => writer,
            None => self.begin()?,
        };
        writer.finish(name, stamps.into_iter(), now_us)
    }
}

/// The rows of all of them, one after the other.
fn joined(chunks: &[Chunk]) -> Chunk {
    let mut all = Chunk::default();
    for Chunk { pieces, rows } in chunks {
        let offset = all.pieces.len() as u32;
        all.pieces.extend(pieces.iter().cloned());
        all.rows.extend(rows.iter().map(|&(piece, row)| (offset + piece, row)));
    }
    all
}
