//! What is a closed layer, and what is its form on disk? Keys of one range of the log, immutable.
//!
//! ```text
//! header   magic "TWKL" · version u16 · class u8 · key kind u8 · holes of the permutation u64
//!          n_keys u64 · n_parts u64 · smallest key u64 · largest key u64 (0 and the maximum for hashes)
//! dense    n_parts × { chunk u64, length u32, portable roaring bitmap of the chunk's values }      chunks ascending
//! sparse   n_keys keys of 8 or 16 bytes, ascending; n_parts is 0
//! trailer  XXH3-64 of all bytes before it
//! ```
//! All numbers are little-endian. Sparse keys are stored as they are, not as they are mixed in RAM.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;
use std::sync::Arc;

use roaring::RoaringBitmap;
use xxhash_rust::xxh3::Xxh3;

use super::canonical::KeySpec;
use super::dense::DenseSet;
use super::hot::HotSet;
use super::open::KeyRange;
use super::permutation::Permutation;
use super::word::{LANES, Lanes, MixSecret, Word};
use crate::error::{Code, Error, Result};
use crate::ids::array;
use crate::memory::{Charge, MemoryLedger, Share};

const MAGIC: [u8; 4] = *b"TWKL";
const VERSION: u16 = 1;

const CLASS_DENSE: u8 = 1;
const CLASS_SPARSE: u8 = 2;
const KIND_INTEGERS: u8 = 1;
const KIND_HASHES: u8 = 2;

/// Keys that are sorted at once when a sparse layer is written, unless it has more than [`SORT_PARTS`] times as many; tests have many
/// parts of few keys.
const SORT_KEYS: usize = if cfg!(test) { 512 } else { 1 << 19 };
const SORT_PARTS: usize = 16;

/// About what the writing of a layer takes in memory.
pub(super) const WRITE_SCRATCH_BYTES: u64 = (SORT_KEYS * size_of::<u128>()) as u64;

/// A chunk has at most 256 containers of 8 KiB and their headers.
const MAX_CHUNK_BYTES: u32 = 4 << 20;

/// The part of the log whose keys a layer or a run holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Span {
    /// The first and the last entry, both included.
    pub(super) from: u64,
    pub(super) through: u64,
    /// Keys of different epochs never meet in one layer: an epoch is forgotten as a whole.
    pub(super) epoch: u32,
}

impl Span {
    /// From the first entry of both to the last, in the later epoch.
    pub(super) fn union(self, other: Self) -> Self {
        Self {
            from: self.from.min(other.from),
            through: self.through.max(other.through),
            epoch: self.epoch.max(other.epoch),
        }
    }

    pub(super) fn contains(self, other: Self) -> bool {
        self.from <= other.from && other.through <= self.through
    }
}

/// Keys of one range of the log. Nothing is added to it and nothing taken away.
#[derive(Debug)]
pub struct ClosedLayer {
    keys: ClosedKeys,
    /// Layers of time-ordered keys are mostly ruled out by it.
    range: KeyRange,
    span: Span,
    /// What it holds in memory is given back with its last user, who may be a job that writes it. `None`: nobody holds it yet.
    charge: Option<Charge>,
}

#[derive(Debug)]
enum ClosedKeys {
    Dense(DenseSet),
    Integers(HotSet<u64>),
    Hashes(HotSet<u128>),
}

impl ClosedLayer {
    pub(super) fn dense(keys: DenseSet, range: KeyRange) -> Self {
        Self::new(ClosedKeys::Dense(keys), range)
    }

    pub(super) fn integers(keys: HotSet<u64>, range: KeyRange) -> Self {
        Self::new(ClosedKeys::Integers(keys), range)
    }

    pub(super) fn hashes(keys: HotSet<u128>) -> Self {
        Self::new(ClosedKeys::Hashes(keys), KeyRange::FULL)
    }

    fn new(keys: ClosedKeys, range: KeyRange) -> Self {
        Self { keys, range, span: Span::default(), charge: None }
    }

    /// The layer as an index holds it: with its place in the log, charged to [`Share::Keys`].
    pub(super) fn held(mut self, span: Span, ledger: &Arc<MemoryLedger>) -> Arc<Self> {
        self.charge = Some(ledger.charge(Share::Keys, self.bytes() as u64));
        self.span = span;
        Arc::new(self)
    }

    /// One layer of all keys of `first` and `more`, which are of one class and, if dense, of one permutation. Nobody holds it.
    pub(super) fn merged(first: &Self, more: &[Arc<Self>]) -> Self {
        let range = more.iter().fold(first.range, |range, layer| range.union(layer.range));
        let keys = match &first.keys {
            ClosedKeys::Dense(keys) => ClosedKeys::Dense(DenseSet::merged(keys, &all(more, Self::as_dense))),
            ClosedKeys::Integers(keys) => ClosedKeys::Integers(HotSet::merged(keys, &all(more, Self::as_integers))),
            ClosedKeys::Hashes(keys) => ClosedKeys::Hashes(HotSet::merged(keys, &all(more, Self::as_hashes))),
        };
        Self::new(keys, range)
    }

    fn as_dense(&self) -> Option<&DenseSet> {
        if let ClosedKeys::Dense(keys) = &self.keys { Some(keys) } else { None }
    }

    fn as_integers(&self) -> Option<&HotSet<u64>> {
        if let ClosedKeys::Integers(keys) = &self.keys { Some(keys) } else { None }
    }

    fn as_hashes(&self) -> Option<&HotSet<u128>> {
        if let ClosedKeys::Hashes(keys) = &self.keys { Some(keys) } else { None }
    }

    pub(super) fn span(&self) -> Span {
        self.span
    }

    /// The first entry of the log whose keys it holds; 0 while no index holds the layer.
    pub fn from(&self) -> u64 {
        self.span.from
    }

    /// The last one.
    pub fn through(&self) -> u64 {
        self.span.through
    }

    /// Bytes that the ledger holds for it: [`ClosedLayer::bytes`] as soon as an index holds the layer.
    pub(super) fn charged(&self) -> u64 {
        self.charge.as_ref().map_or(0, Charge::bytes)
    }

    /// The smallest and the largest key, or a wider range.
    pub(super) fn range(&self) -> KeyRange {
        self.range
    }

    /// Its integers in the order of a run on disk: permuted if it is dense, else mixed and reversed. None if it holds hashes.
    pub(super) fn integer_words(&self) -> Box<dyn Iterator<Item = u64> + '_> {
        match &self.keys {
            ClosedKeys::Dense(keys) => Box::new(keys.words()),
            ClosedKeys::Integers(keys) => Box::new(keys.in_order()),
            ClosedKeys::Hashes(_) => Box::new(std::iter::empty()),
        }
    }

    /// Its hashes in the order of a run on disk: reversed. None if it holds integers.
    pub(super) fn hash_words(&self) -> Box<dyn Iterator<Item = u128> + '_> {
        match &self.keys {
            ClosedKeys::Hashes(keys) => Box::new(keys.in_order()),
            ClosedKeys::Dense(_) | ClosedKeys::Integers(_) => Box::new(std::iter::empty()),
        }
    }

    /// Its integers as they are, in no order that means anything. None if it holds hashes.
    pub(super) fn raw_integers(&self) -> Box<dyn Iterator<Item = u64> + '_> {
        match &self.keys {
            ClosedKeys::Dense(keys) => Box::new(keys.words().map(|word| keys.permutation().invert(word))),
            ClosedKeys::Integers(keys) => Box::new(keys.iter()),
            ClosedKeys::Hashes(_) => Box::new(std::iter::empty()),
        }
    }

    /// Its hashes as they are, in no order that means anything. None if it holds integers.
    pub(super) fn raw_hashes(&self) -> Box<dyn Iterator<Item = u128> + '_> {
        match &self.keys {
            ClosedKeys::Hashes(keys) => Box::new(keys.iter()),
            ClosedKeys::Dense(_) | ClosedKeys::Integers(_) => Box::new(std::iter::empty()),
        }
    }

    pub fn len(&self) -> usize {
        match &self.keys {
            ClosedKeys::Dense(keys) => keys.len(),
            ClosedKeys::Integers(keys) => keys.len(),
            ClosedKeys::Hashes(keys) => keys.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of all allocations.
    pub fn bytes(&self) -> usize {
        match &self.keys {
            ClosedKeys::Dense(keys) => keys.bytes(),
            ClosedKeys::Integers(keys) => keys.bytes(),
            ClosedKeys::Hashes(keys) => keys.bytes(),
        }
    }

    /// About what its keys take in a run on disk: whole keys and their filter, or what bitmaps take.
    pub(super) fn spilled_bytes(&self) -> u64 {
        const FEW_PAGES: u64 = 64 << 10;
        let n_keys = self.len() as u64;
        FEW_PAGES
            + match &self.keys {
                ClosedKeys::Dense(keys) => keys.bytes() as u64,
                ClosedKeys::Integers(_) => n_keys * (size_of::<u64>() as u64 + 2),
                ClosedKeys::Hashes(_) => n_keys * (size_of::<u128>() as u64 + 2),
            }
    }

    /// `dense` or `sparse`.
    pub fn class(&self) -> &'static str {
        match &self.keys {
            ClosedKeys::Dense(_) => "dense",
            ClosedKeys::Integers(_) | ClosedKeys::Hashes(_) => "sparse",
        }
    }

    pub(super) fn permutation(&self) -> Option<&Permutation> {
        match &self.keys {
            ClosedKeys::Dense(keys) => Some(keys.permutation()),
            ClosedKeys::Integers(_) | ClosedKeys::Hashes(_) => None,
        }
    }

    /// Of the integers whose bit is set in `among`, those that are in the layer.
    pub(super) fn probe_integers(&self, keys: &[u64], among: Lanes) -> Lanes {
        match &self.keys {
            _ if among == 0 || !self.range.meets(keys) => 0,
            ClosedKeys::Dense(layer) => layer.probe(keys, among),
            ClosedKeys::Integers(layer) => layer.probe(keys, among),
            ClosedKeys::Hashes(_) => 0,
        }
    }

    /// Of the hashes whose bit is set in `among`, those that are in the layer.
    pub(super) fn probe_hashes(&self, keys: &[u128], among: Lanes) -> Lanes {
        match &self.keys {
            ClosedKeys::Hashes(layer) if among != 0 => layer.probe(keys, among),
            _ => 0,
        }
    }

    /// Writes the layer's disk form. The caller syncs.
    pub fn write_to(&self, out: impl Write) -> io::Result<()> {
        let mut out = Hashing { inner: out, hash: Xxh3::new() };
        let (class, kind, holes, n_parts) = match &self.keys {
            ClosedKeys::Dense(keys) => (CLASS_DENSE, KIND_INTEGERS, keys.permutation().holes(), keys.chunks().len()),
            ClosedKeys::Integers(_) => (CLASS_SPARSE, KIND_INTEGERS, 0, 0),
            ClosedKeys::Hashes(_) => (CLASS_SPARSE, KIND_HASHES, 0, 0),
        };
        out.write_all(&MAGIC)?;
        out.write_all(&VERSION.to_le_bytes())?;
        out.write_all(&[class, kind])?;
        for number in [holes, self.len() as u64, n_parts as u64, self.range.min, self.range.max] {
            out.write_all(&number.to_le_bytes())?;
        }
        match &self.keys {
            ClosedKeys::Dense(keys) => {
                for (id, bitmap) in keys.chunks() {
                    out.write_all(&id.to_le_bytes())?;
                    out.write_all(&(bitmap.serialized_size() as u32).to_le_bytes())?;
                    bitmap.serialize_into(&mut out)?;
                }
            }
            ClosedKeys::Integers(keys) => write_sorted(keys, |key| key.to_le_bytes(), &mut out)?,
            ClosedKeys::Hashes(keys) => write_sorted(keys, |key| key.to_le_bytes(), &mut out)?,
        }
        let checksum = out.hash.digest();
        out.inner.write_all(&checksum.to_le_bytes())?;
        out.inner.flush()
    }

    /// Writes and syncs the layer's file; the caller syncs the folder. Returns its bytes.
    pub fn write_file(&self, path: &Path) -> io::Result<u64> {
        let mut out = BufWriter::new(File::create(path)?);
        self.write_to(&mut out)?;
        out.flush()?;
        out.get_ref().sync_all()?;
        out.get_ref().metadata().map(|found| found.len())
    }

    /// Reads what [`ClosedLayer::write_to`] wrote for a table whose keys are made by `spec`. Damage, another version and
    /// keys of another kind are errors that name `what`, the layer's file.
    pub fn read_from(input: impl Read, spec: &KeySpec, what: &str) -> Result<Self> {
        let mut input = Hashing { inner: input, hash: Xxh3::new() };
        let layer = read_layer(&mut input, spec, what)?;
        let expected = input.hash.digest();
        let mut checksum = [0; 8];
        input.inner.read_exact(&mut checksum).map_err(|e| damaged(what, "is cut short").source(e))?;
        if u64::from_le_bytes(checksum) != expected {
            return Err(damaged(what, "does not match its checksum"));
        }
        Ok(layer)
    }
}

/// What `pick` finds in layers, which are all of the class that it looks for.
fn all<T>(layers: &[Arc<ClosedLayer>], pick: fn(&ClosedLayer) -> Option<&T>) -> Vec<&T> {
    layers.iter().filter_map(|layer| pick(layer)).collect()
}

fn damaged(what: &str, how: &str) -> Error {
    Error::new(Code::LogDamaged, format!("the key layer {what} {how}")).hint("restore the file from a backup")
}

/// Sorts the keys a part at a time: each pass over them takes those of one range, so that a copy of all is never in memory.
fn write_sorted<K: Word, const N: usize>(
    keys: &HotSet<K>,
    bytes: fn(K) -> [u8; N],
    out: &mut impl Write,
) -> io::Result<()> {
    let n_parts = keys.len().div_ceil(SORT_KEYS).clamp(1, SORT_PARTS);
    let ends = quantiles(keys, n_parts);
    let mut part = Vec::with_capacity(keys.len() / n_parts);
    let mut block = Vec::with_capacity(LANES * N);
    for i in 0..n_parts {
        let (start, end) = (i.checked_sub(1).map(|before| ends[before]), ends.get(i).copied());
        let is_in = |key: &K| start.is_none_or(|start| *key >= start) && end.is_none_or(|end| *key < end);
        part.clear();
        part.extend(keys.iter().filter(is_in));
        part.sort_unstable();
        for batch in part.chunks(LANES) {
            block.clear();
            batch.iter().for_each(|key| block.extend_from_slice(&bytes(*key)));
            out.write_all(&block)?;
        }
    }
    Ok(())
}

/// The keys that cut all into `n_parts` of about the same size, found in a sample: a set's order has nothing to do with the keys'.
fn quantiles<K: Word>(keys: &HotSet<K>, n_parts: usize) -> Vec<K> {
    const SAMPLES_A_PART: usize = 64;
    if n_parts < 2 {
        return Vec::new();
    }
    let step = (keys.len() / (SAMPLES_A_PART * n_parts)).max(1);
    let mut sample: Vec<K> = keys.iter().step_by(step).collect();
    sample.sort_unstable();
    (1..n_parts).map(|i| sample[i * sample.len() / n_parts]).collect()
}

fn read_layer(input: &mut impl Read, spec: &KeySpec, what: &str) -> Result<ClosedLayer> {
    let cut = |e: io::Error| damaged(what, "is cut short").source(e);
    let mut head = [0; 8];
    input.read_exact(&mut head).map_err(cut)?;
    if head[..4] != MAGIC {
        return Err(damaged(what, "is not a key layer"));
    }
    let version = u16::from_le_bytes([head[4], head[5]]);
    if version != VERSION {
        return Err(Error::new(Code::LogUnknownVersion, format!("the key layer {what} has version {version}"))
            .hint(format!("this server reads version {VERSION}; use the release that wrote the file")));
    }
    let mut numbers = [0; 5];
    for number in &mut numbers {
        *number = read_u64(input).map_err(cut)?;
    }
    let [holes, n_keys, n_parts, min, max] = numbers;
    let range = KeyRange { min, max };
    let keys = match (head[6], head[7], spec.is_integer()) {
        (CLASS_DENSE, KIND_INTEGERS, true) => ClosedKeys::Dense(read_chunks(input, holes, n_parts, what)?),
        (CLASS_SPARSE, KIND_INTEGERS, true) => {
            ClosedKeys::Integers(read_sorted(input, n_keys, spec.mix_secret(), u64::from_le_bytes, what)?)
        }
        (CLASS_SPARSE, KIND_HASHES, false) => {
            ClosedKeys::Hashes(read_sorted(input, n_keys, spec.mix_secret(), u128::from_le_bytes, what)?)
        }
        _ => return Err(damaged(what, "holds keys of another kind than its table")),
    };
    let layer = ClosedLayer::new(keys, range);
    if layer.len() as u64 != n_keys {
        return Err(damaged(what, "has another number of keys than its header says"));
    }
    Ok(layer)
}

fn read_u64(input: &mut impl Read) -> io::Result<u64> {
    let mut raw = [0; 8];
    input.read_exact(&mut raw)?;
    Ok(u64::from_le_bytes(raw))
}

fn read_chunks(input: &mut impl Read, holes: u64, n_chunks: u64, what: &str) -> Result<DenseSet> {
    let cut = |e: io::Error| damaged(what, "is cut short").source(e);
    let mut keys = DenseSet::new(Permutation::new(holes));
    let mut block = Vec::new();
    for _ in 0..n_chunks {
        let id = read_u64(input).map_err(cut)?;
        let mut length = [0; 4];
        input.read_exact(&mut length).map_err(cut)?;
        let length = u32::from_le_bytes(length);
        if length > MAX_CHUNK_BYTES {
            return Err(damaged(what, "has a chunk that is too long"));
        }
        block.resize(length as usize, 0);
        input.read_exact(&mut block).map_err(cut)?;
        let bitmap = RoaringBitmap::deserialize_from(block.as_slice())
            .map_err(|e| damaged(what, "has a chunk that cannot be read").source(e))?;
        keys.add_chunk(id, bitmap).ok_or_else(|| damaged(what, "has a chunk out of place"))?;
    }
    Ok(keys)
}

/// Keys are read and inserted a batch at a time, so a forged count allocates nothing.
fn read_sorted<K: Word, const N: usize>(
    input: &mut impl Read,
    n_keys: u64,
    secret: MixSecret,
    parse: fn([u8; N]) -> K,
    what: &str,
) -> Result<HotSet<K>> {
    let mut keys = HotSet::new(secret);
    let mut raw = vec![0; LANES * N];
    let mut batch = Vec::with_capacity(LANES);
    let mut left = n_keys;
    while left > 0 {
        let n = left.min(LANES as u64) as usize;
        input.read_exact(&mut raw[..n * N]).map_err(|e| damaged(what, "is cut short").source(e))?;
        batch.clear();
        batch.extend(raw[..n * N].chunks_exact(N).map(|key| parse(array(key))));
        keys.extend(&batch);
        left -= n as u64;
    }
    Ok(keys)
}

/// Hashes all that passes through.
struct Hashing<T> {
    inner: T,
    hash: Xxh3,
}

impl<T: Write> Write for Hashing<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hash.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Read for Hashing<T> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(bytes)?;
        self.hash.update(&bytes[..n]);
        Ok(n)
    }
}
