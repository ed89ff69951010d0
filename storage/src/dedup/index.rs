//! Which rows of a batch are new? The key index of one table, owned by its worker.

use std::sync::Arc;

use arrow::buffer::{BooleanBuffer, Buffer};

use super::canonical::{KeySpec, Keys};
use super::hot::HotSet;
use super::layer::ClosedLayer;
use super::open::OpenIntegers;
use super::permutation::Permutation;
use super::word::{LANES, Lanes, MixSecret, first_lanes};
use crate::error::{Code, Error, Result};
use crate::memory::{Charge, MemoryLedger, Share};

/// What a claim decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// A set bit is a row whose key was here before, or earlier in the same batch. `None`: no row lost.
    pub losers: Option<BooleanBuffer>,
    pub n_losers: usize,
}

/// Figures of a key index, for `system.tables`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DedupStats {
    /// `dense` or `sparse`: where a new key goes.
    pub class: &'static str,
    pub keys: u64,
    /// Bytes of all layers' allocations.
    pub bytes: u64,
    /// Layers that a probe may look at, the open one among them.
    pub layers: usize,
    /// The bits that each distinct permutation in use treats as holes; 0 is the identity.
    pub permutations: Vec<u64>,
}

/// All keys of a table. Not shared: the table's worker owns it and nobody else looks.
///
/// A key is a duplicate iff any layer has it. The only operation that can be refused is [`KeyIndex::has_capacity`].
#[derive(Debug)]
pub struct KeyIndex {
    closed: Vec<ClosedLayer>,
    closed_bytes: usize,
    open: Open,
    secret: MixSecret,
    ledger: Arc<MemoryLedger>,
    charge: Charge,
    max_bytes: Option<u64>,
}

#[derive(Debug)]
enum Open {
    Integers(Box<OpenIntegers>),
    Hashes(HotSet<u128>),
}

impl Open {
    fn new(is_integer: bool, secret: MixSecret, hint: Option<Permutation>) -> Self {
        if is_integer {
            Open::Integers(Box::new(OpenIntegers::new(secret, hint)))
        } else {
            Open::Hashes(HotSet::new(secret))
        }
    }

    /// An empty layer for keys of the same kind.
    fn fresh(&self, secret: MixSecret, hint: Option<Permutation>) -> Self {
        Self::new(matches!(self, Open::Integers(_)), secret, hint)
    }

    fn bytes(&self) -> usize {
        match self {
            Open::Integers(layer) => layer.bytes(),
            Open::Hashes(layer) => layer.bytes(),
        }
    }

    fn len(&self) -> usize {
        match self {
            Open::Integers(layer) => layer.len(),
            Open::Hashes(layer) => layer.len(),
        }
    }

    fn growth_bound(&self, n: usize) -> usize {
        match self {
            Open::Integers(layer) => layer.growth_bound(n),
            Open::Hashes(layer) => layer.growth_bound(n),
        }
    }
}

impl KeyIndex {
    /// An empty index for keys that `spec` makes, charged to [`Share::Keys`].
    pub fn new(spec: &KeySpec, ledger: &Arc<MemoryLedger>) -> Self {
        let secret = spec.mix_secret();
        Self {
            closed: Vec::new(),
            closed_bytes: 0,
            open: Open::new(spec.is_integer(), secret, None),
            secret,
            ledger: Arc::clone(ledger),
            charge: ledger.charge(Share::Keys, 0),
            max_bytes: None,
        }
    }

    /// Also holds this table's index, on its own, under `max_bytes`.
    #[must_use]
    pub fn with_max_bytes(mut self, max_bytes: u64) -> Self {
        self.max_bytes = Some(max_bytes);
        self
    }

    /// Bytes of all layers' allocations.
    pub fn bytes(&self) -> u64 {
        (self.closed_bytes + self.open.bytes()) as u64
    }

    /// Makes sure that `n` keys can be claimed: holds what they need at most, until the next claim. To be called before
    /// [`KeyIndex::claim`], with the rows that it will get.
    ///
    /// # Errors
    /// `DEDUP_BUDGET` when `n` new keys might not fit what all key layers may hold together. No key is forgotten or
    /// claimed then.
    pub fn has_capacity(&mut self, n: usize) -> Result<()> {
        let bytes = self.bytes();
        let wanted = bytes + self.open.growth_bound(n) as u64;
        self.charge.resize(wanted);
        let (used, share) = (self.ledger.used(Share::Keys), self.ledger.share(Share::Keys));
        let refused = if used > share {
            Some((used - wanted + bytes, share, "all key layers"))
        } else {
            self.max_bytes.filter(|max| wanted > *max).map(|max| (bytes, max, "this table's key layers"))
        };
        let Some((used, budget, whose)) = refused else { return Ok(()) };
        self.charge.resize(bytes);
        Err(Error::new(
            Code::DedupBudget,
            format!("{whose} hold {used} of {budget} bytes, and {n} more keys may need {} bytes", wanted - bytes),
        )
        .hint("raise dedup.memory or memory.limit, or drop tables that are no longer needed")
        .with("used_bytes", used)
        .with("budget_bytes", budget))
    }

    /// Decides, in row order, which rows' keys are new, and remembers those. Rows that `skip` names are neither looked at
    /// nor counted. Cannot fail; to be called after [`KeyIndex::has_capacity`].
    pub fn claim(&mut self, keys: &Keys, skip: Option<&BooleanBuffer>) -> Claimed {
        let mut lost = Rows::new(keys.len());
        let closed = &self.closed;
        match (&mut self.open, keys) {
            (Open::Integers(open), Keys::Integers(keys)) => for_each_batch(keys, skip, |start, batch, asked| {
                let unknown = closed.iter().fold(asked, |left, layer| left & !layer.probe_integers(batch, left));
                lost.add(start, asked & !open.insert(batch, unknown));
            }),
            (Open::Hashes(open), Keys::Hashes(keys)) => for_each_batch(keys, skip, |start, batch, asked| {
                let unknown = closed.iter().fold(asked, |left, layer| left & !layer.probe_hashes(batch, left));
                lost.add(start, asked & !open.insert(batch, unknown));
            }),
            _ => unreachable!("a table's keys are all of one kind"),
        }
        self.settle();
        Claimed { n_losers: lost.n_set, losers: lost.finish() }
    }

    /// Remembers keys that were accepted before, for replay: nothing is decided and no budget is asked. Rows that `lost`
    /// names are left out: their keys are here already.
    pub fn insert(&mut self, keys: &Keys, lost: Option<&BooleanBuffer>) {
        match (&mut self.open, keys) {
            (Open::Integers(open), Keys::Integers(keys)) => for_each_batch(keys, lost, |_, batch, asked| {
                open.insert(batch, asked);
            }),
            (Open::Hashes(open), Keys::Hashes(keys)) => for_each_batch(keys, lost, |_, batch, asked| {
                open.insert(batch, asked);
            }),
            _ => unreachable!("a table's keys are all of one kind"),
        }
        self.settle();
    }

    /// Which keys are in some layer; `None`: none of them. Changes nothing.
    pub fn probe(&self, keys: &Keys) -> Option<BooleanBuffer> {
        let mut present = Rows::new(keys.len());
        match (&self.open, keys) {
            (Open::Integers(open), Keys::Integers(keys)) => for_each_batch(keys, None, |start, batch, asked| {
                let left = self.closed.iter().fold(asked, |left, layer| left & !layer.probe_integers(batch, left));
                present.add(start, asked & !left | open.probe(batch, left));
            }),
            (Open::Hashes(open), Keys::Hashes(keys)) => for_each_batch(keys, None, |start, batch, asked| {
                let left = self.closed.iter().fold(asked, |left, layer| left & !layer.probe_hashes(batch, left));
                present.add(start, asked & !left | open.probe(batch, left));
            }),
            _ => unreachable!("a table's keys are all of one kind"),
        }
        present.finish()
    }

    /// Forgets all keys: TRUNCATE.
    pub fn clear(&mut self) {
        self.closed.clear();
        self.closed_bytes = 0;
        self.open = self.open.fresh(self.secret, None);
        self.settle();
    }

    /// Closes the open layer, with the log prefix whose keys it holds, and opens the next one. Returns the closed layers
    /// that this made: none if it was empty, two if it changed its class on the way.
    pub fn close_layer(&mut self) -> &[ClosedLayer] {
        let n_before = self.closed.len();
        let fresh = self.open.fresh(self.secret, None);
        match std::mem::replace(&mut self.open, fresh) {
            Open::Integers(open) => {
                let parts = open.close();
                self.open = self.open.fresh(self.secret, parts.hint);
                self.closed.push(ClosedLayer::dense(parts.dense, parts.range));
                self.closed.push(ClosedLayer::integers(parts.hot, parts.range));
            }
            Open::Hashes(open) => self.closed.push(ClosedLayer::hashes(open)),
        }
        self.closed.retain(|layer| !layer.is_empty());
        self.closed_bytes = self.closed.iter().map(ClosedLayer::bytes).sum();
        self.settle();
        &self.closed[n_before..]
    }

    /// Puts a layer that was read from disk before the open one.
    pub fn add_layer(&mut self, layer: ClosedLayer) {
        self.closed_bytes += layer.bytes();
        self.closed.push(layer);
        self.settle();
    }

    pub fn stats(&self) -> DedupStats {
        let open = match &self.open {
            Open::Integers(open) => (open.is_dense(), open.permutation()),
            Open::Hashes(_) => (false, None),
        };
        let mut permutations: Vec<u64> =
            self.closed.iter().filter_map(ClosedLayer::permutation).chain(open.1).map(Permutation::holes).collect();
        permutations.sort_unstable();
        permutations.dedup();
        DedupStats {
            class: if open.0 { "dense" } else { "sparse" },
            keys: (self.closed.iter().map(ClosedLayer::len).sum::<usize>() + self.open.len()) as u64,
            bytes: self.bytes(),
            layers: self.closed.len() + 1,
            permutations,
        }
    }

    /// Bytes that the ledger holds for this index: [`KeyIndex::bytes`], or more between capacity check and claim.
    pub fn charged(&self) -> u64 {
        self.charge.bytes()
    }

    /// Charges what is held now.
    fn settle(&mut self) {
        self.charge.resize(self.bytes());
    }
}

/// Calls `each` with the first row, the keys and the lanes to ask for, of all batches in order. `skip` names rows that are
/// not asked for.
fn for_each_batch<K>(keys: &[K], skip: Option<&BooleanBuffer>, mut each: impl FnMut(usize, &[K], Lanes)) {
    for (i, batch) in keys.chunks(LANES).enumerate() {
        let start = i * LANES;
        let all = first_lanes(batch.len());
        let skipped = skip.map_or(0, |skip| {
            (0..batch.len()).fold(0, |lanes, lane| lanes | Lanes::from(skip.value(start + lane)) << lane)
        });
        each(start, batch, all & !skipped);
    }
}

/// A bitmap of rows that allocates when the first is added.
struct Rows {
    words: Vec<u64>,
    n_rows: usize,
    n_set: usize,
}

impl Rows {
    fn new(n_rows: usize) -> Self {
        Self { words: Vec::new(), n_rows, n_set: 0 }
    }

    /// Adds a batch's rows. `start` is a multiple of [`LANES`].
    fn add(&mut self, start: usize, rows: Lanes) {
        if rows == 0 {
            return;
        }
        self.words.resize(2 * self.n_rows.div_ceil(LANES), 0);
        self.words[start / 64] = rows as u64;
        self.words[start / 64 + 1] = (rows >> 64) as u64;
        self.n_set += rows.count_ones() as usize;
    }

    fn finish(self) -> Option<BooleanBuffer> {
        (self.n_set > 0).then(|| BooleanBuffer::new(Buffer::from_vec(self.words), 0, self.n_rows))
    }
}
