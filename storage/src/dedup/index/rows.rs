//! Which rows are meant? A bitmap of rows, and the walk over a batch by lanes.

use arrow::buffer::{BooleanBuffer, Buffer};

use crate::dedup::word::{LANES, Lanes, first_lanes};

/// Calls `each` with the first row, the keys and the lanes to ask for, of all batches in order. `skip` names rows that are
/// not asked for.
pub(super) fn for_each_batch<K>(keys: &[K], skip: Option<&BooleanBuffer>, mut each: impl FnMut(usize, &[K], Lanes)) {
    for (i, batch) in keys.chunks(LANES).enumerate() {
        let start = i * LANES;
        each(start, batch, first_lanes(batch.len()) & !lanes_of(skip, start, batch.len()));
    }
}

/// The bits of `n` rows from `start` on.
#[inline]
pub(super) fn lanes_of(rows: Option<&BooleanBuffer>, start: usize, n: usize) -> Lanes {
    rows.map_or(0, |rows| (0..n).fold(0, |lanes, lane| lanes | Lanes::from(rows.value(start + lane)) << lane))
}

/// A bitmap of rows that allocates when the first is added.
pub(super) struct Rows {
    words: Vec<u64>,
    n_rows: usize,
    n_set: usize,
}

impl Rows {
    pub(super) fn new(n_rows: usize) -> Self {
        Self { words: Vec::new(), n_rows, n_set: 0 }
    }

    pub(super) fn n_set(&self) -> usize {
        self.n_set
    }

    /// Adds a batch's rows, none of which is there. `start` is a multiple of [`LANES`].
    pub(super) fn add(&mut self, start: usize, rows: Lanes) {
        if rows == 0 {
            return;
        }
        self.allocate();
        self.words[start / 64] |= rows as u64;
        self.words[start / 64 + 1] |= (rows >> 64) as u64;
        self.n_set += rows.count_ones() as usize;
    }

    /// Adds a row that is not there.
    pub(super) fn set(&mut self, row: usize) {
        self.allocate();
        self.words[row / 64] |= 1 << (row % 64);
        self.n_set += 1;
    }

    /// Whole batches of lanes, so that the last one has both its words.
    fn allocate(&mut self) {
        self.words.resize(2 * self.n_rows.div_ceil(LANES), 0);
    }

    /// `None`: no row was added.
    pub(super) fn finish(self) -> Option<BooleanBuffer> {
        (self.n_set > 0).then(|| BooleanBuffer::new(Buffer::from_vec(self.words), 0, self.n_rows))
    }
}
