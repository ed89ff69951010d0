//! Which class is the open layer? It looks at the first keys, and changes its mind when keys stop lying together.
//!
//! ```text
//! sampling ──(estimate ≤ 8 B a key)──► dense ──(a window > 8 B a new key, or all > 4 B a key)──► sparse
//!     └──────────(else)──────────────────────────────────────────────────────────────────────────►─┘
//! ```
//!
//! A layer that turned sparse keeps its dense part beside the hot table: keys are looked up in both. Chunks of it that do
//! not pay move over, a few keys with each batch, so that no acknowledgement waits for it.

use super::dense::DenseSet;
use super::hot::HotSet;
use super::permutation::Permutation;
use super::word::{LANES, Lanes, MixSecret};

/// Keys that are looked at before the class is chosen.
const SAMPLE_KEYS: usize = 4096;
/// A layer that closes before can still be judged by this many.
const MIN_SAMPLE_KEYS: usize = 256;

/// The bytes a key may take in a dense layer: over a window of new keys, and over all of a layer of some size.
const MAX_WINDOW_BYTES_PER_KEY: usize = 8;
const MAX_BYTES_PER_KEY: usize = 4;
const WINDOW_KEYS: usize = 16_384;
const MIN_KEYS_TO_JUDGE: usize = 65_536;

/// Keys that move from the dense part to the hot table with each batch of at most [`LANES`].
const MOVED_PER_BATCH: usize = 2 * LANES;

/// The most that one key adds to a dense set: a chunk, its list of containers, an array.
const NEW_CHUNK_BYTES: usize = 320;
/// The most that one key adds by doubling an array or a list of containers.
const DOUBLING_BYTES: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// All keys are in the hot table.
    Sampling,
    /// New keys go to the dense set; the hot table is empty. What the dense set was when the window began.
    Dense { window_keys: usize, window_bytes: usize },
    /// New keys go to the hot table. Thin chunks of the dense set from `cursor` on are still to be moved there.
    Sparse { cursor: Option<u64> },
}

/// The open layer of a table with integer keys.
#[derive(Debug)]
pub(super) struct OpenIntegers {
    dense: DenseSet,
    hot: HotSet<u64>,
    mode: Mode,
    range: KeyRange,
    secret: MixSecret,
}

/// Keys are between these, both included. Empty when the first is larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyRange {
    pub(super) min: u64,
    pub(super) max: u64,
}

impl KeyRange {
    pub(super) const EMPTY: Self = Self { min: u64::MAX, max: 0 };
    /// All keys: nothing is ruled out.
    pub(super) const FULL: Self = Self { min: 0, max: u64::MAX };

    /// The range that also holds the keys whose bit is set in `among`.
    fn with(self, keys: &[u64], among: Lanes) -> Self {
        let chosen = keys.iter().enumerate().filter(|(lane, _)| among >> lane & 1 == 1);
        chosen.fold(self, |range, (_, key)| Self { min: range.min.min(*key), max: range.max.max(*key) })
    }

    /// The range that holds the keys of both.
    pub(super) fn union(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }

    pub(super) fn contains(self, key: u64) -> bool {
        (self.min..=self.max).contains(&key)
    }

    /// Whether any of `keys` may be in it.
    pub(super) fn meets(self, keys: &[u64]) -> bool {
        keys.iter().any(|key| self.contains(*key))
    }
}

/// What a layer leaves when it is closed; either set may be empty.
pub(super) struct ClosedParts {
    pub(super) dense: DenseSet,
    pub(super) hot: HotSet<u64>,
    pub(super) range: KeyRange,
    /// The permutation that the next layer can start with; `None`: it looks for itself.
    pub(super) hint: Option<Permutation>,
}

impl OpenIntegers {
    /// An empty layer, dense from the start when `hint` is the permutation of the one before.
    pub(super) fn new(secret: MixSecret, hint: Option<Permutation>) -> Self {
        let (permutation, mode) = match hint {
            None => (Permutation::identity(), Mode::Sampling),
            Some(permutation) => (permutation, Mode::Dense { window_keys: 0, window_bytes: 0 }),
        };
        Self { dense: DenseSet::new(permutation), hot: HotSet::new(secret), mode, range: KeyRange::EMPTY, secret }
    }

    pub(super) fn len(&self) -> usize {
        self.dense.len() + self.hot.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.dense.bytes() + self.hot.bytes()
    }

    pub(super) fn is_dense(&self) -> bool {
        matches!(self.mode, Mode::Dense { .. })
    }

    /// The permutation of the dense part, if there is one.
    pub(super) fn permutation(&self) -> Option<&Permutation> {
        (self.is_dense() || self.dense.len() > 0).then(|| self.dense.permutation())
    }

    /// At most how many bytes [`Self::bytes`] grows by when `n` keys are inserted, whatever they are: a window of keys
    /// that fall apart, after which the rest goes to the hot table, and what moves there meanwhile.
    pub(super) fn growth_bound(&self, n: usize) -> usize {
        let n_moved = match self.mode {
            Mode::Sparse { cursor: None } => 0,
            _ => n.div_ceil(LANES) * MOVED_PER_BATCH,
        };
        let hot = self.hot.growth_bound(n + n_moved.min(self.dense.len() + n));
        match self.mode {
            Mode::Sparse { .. } => hot,
            Mode::Sampling | Mode::Dense { .. } => {
                let doubling = (n * DOUBLING_BYTES).min(self.dense.bytes());
                let apart = NEW_CHUNK_BYTES * n.min(WINDOW_KEYS + LANES);
                hot + doubling + apart + n * MAX_WINDOW_BYTES_PER_KEY + 2 * DOUBLING_BYTES
            }
        }
    }

    /// Inserts the keys whose bit is set in `among`, in order; the bits that come back are of keys that were not there.
    pub(super) fn insert(&mut self, keys: &[u64], among: Lanes) -> Lanes {
        let fresh = match self.mode {
            Mode::Sampling => {
                let fresh = self.hot.insert(keys, among);
                if self.hot.len() >= SAMPLE_KEYS {
                    self.choose();
                }
                fresh
            }
            Mode::Dense { window_keys, window_bytes } => {
                let fresh = self.dense.insert(keys, among);
                self.judge(window_keys, window_bytes);
                fresh
            }
            Mode::Sparse { cursor } => {
                let among = among & !self.dense.probe(keys, among);
                let fresh = self.hot.insert(keys, among);
                self.mode = Mode::Sparse { cursor: cursor.and_then(|cursor| self.move_thin(cursor)) };
                fresh
            }
        };
        self.range = self.range.with(keys, fresh);
        fresh
    }

    pub(super) fn probe(&self, keys: &[u64], among: Lanes) -> Lanes {
        let present = self.dense.probe(keys, among);
        present | self.hot.probe(keys, among & !present)
    }

    /// Moves some keys from thin chunks of the dense set to the hot table; says where to go on.
    fn move_thin(&mut self, mut cursor: u64) -> Option<u64> {
        let moved = self.dense.take_thin(&mut cursor, MOVED_PER_BATCH, MAX_BYTES_PER_KEY)?;
        self.hot.extend(&moved);
        Some(cursor)
    }

    /// Chooses the class by what has come so far.
    fn choose(&mut self) {
        let mut sample = self.hot.keys();
        let permutation = Permutation::choose(&sample);
        if DenseSet::estimate(&sample, &permutation) > MAX_WINDOW_BYTES_PER_KEY * sample.len() {
            self.mode = Mode::Sparse { cursor: None };
            return;
        }
        sample.sort_unstable_by_key(|key| permutation.apply(*key));
        self.dense = DenseSet::new(permutation);
        self.dense.extend(&sample);
        self.hot = HotSet::new(self.secret);
        self.mode = Mode::Dense { window_keys: self.dense.len(), window_bytes: self.dense.bytes() };
    }

    /// Looks back at the end of a window.
    fn judge(&mut self, window_keys: usize, window_bytes: usize) {
        let (n_keys, bytes) = (self.dense.len(), self.dense.bytes());
        let n_new = n_keys - window_keys;
        if n_new < WINDOW_KEYS {
            return;
        }
        let pays = n_keys < MIN_KEYS_TO_JUDGE || bytes <= MAX_BYTES_PER_KEY * n_keys;
        let fell_apart = bytes.saturating_sub(window_bytes) > MAX_WINDOW_BYTES_PER_KEY * n_new;
        self.mode = if pays && !fell_apart {
            Mode::Dense { window_keys: n_keys, window_bytes: bytes }
        } else {
            Mode::Sparse { cursor: Some(0) }
        };
    }

    /// Ends the layer.
    pub(super) fn close(mut self) -> ClosedParts {
        if self.mode == Mode::Sampling && self.hot.len() >= MIN_SAMPLE_KEYS {
            self.choose();
        }
        self.dense.pack();
        let is_thin = self.dense.bytes() > MAX_WINDOW_BYTES_PER_KEY * self.dense.len();
        let hint = (self.is_dense() && !is_thin).then(|| self.dense.permutation().clone());
        ClosedParts { dense: self.dense, hot: self.hot, range: self.range, hint }
    }
}
