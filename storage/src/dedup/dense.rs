//! Where do keys with an order live? Roaring bitmaps over permuted integers.
//!
//! A map of chunks of 2^24 neighbouring values each: small enough that looking at one, adding a container to one or taking
//! one apart is never a pause, and the map itself is a B-tree, which never rehashes.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use roaring::RoaringBitmap;

use super::permutation::Permutation;
use super::word::{Lanes, first_lanes};

/// Low bits of a permuted key that stand in a chunk's bitmap.
const CHUNK_BITS: u32 = 24;
const CHUNK_MASK: u64 = (1 << CHUNK_BITS) - 1;

/// New keys of a chunk after which its bytes are measured again, or as many as it has containers if those are more: then
/// measuring costs a key no more than a container's visit. Until then each key counts as [`ESTIMATED_KEY_BYTES`].
const MEASURE_EVERY: usize = 64;
const ESTIMATED_KEY_BYTES: usize = 8;

/// A container's header inside a bitmap, and the words of a bitset.
const CONTAINER_BYTES: usize = 32;
const BITSET_BYTES: usize = 8192;

/// What an entry of the map takes: the standard library's B-tree is at least half and mostly two thirds full.
const CHUNK_BYTES: usize = (size_of::<u64>() + size_of::<Chunk>()) * 3 / 2 + 16;

#[derive(Debug, Default)]
struct Chunk {
    bitmap: RoaringBitmap,
    /// Bytes as last measured, and keys since.
    measured: usize,
    pending: usize,
    measure_after: usize,
}

impl Chunk {
    fn bytes(&self) -> usize {
        self.measured + self.pending * ESTIMATED_KEY_BYTES
    }

    /// Measures the bitmap's allocations. The capacity of the list of containers is not told; it doubles from four.
    fn measure(&mut self) {
        let s = self.bitmap.statistics();
        // The statistics count an array's values as four bytes each; they are two.
        let arrays = s.n_bytes_array_containers as usize / 2;
        let bitsets = s.n_bitset_containers as usize * BITSET_BYTES;
        let containers = (s.n_containers as usize).next_power_of_two().max(4) * CONTAINER_BYTES;
        self.measured = CHUNK_BYTES + containers + arrays + bitsets + s.n_bytes_run_containers as usize;
        self.pending = 0;
        self.measure_after = MEASURE_EVERY.max(s.n_containers as usize);
    }
}

/// An exact set of integers in RAM, cheap when they lie together once permuted.
#[derive(Debug)]
pub(super) struct DenseSet {
    permutation: Permutation,
    chunks: BTreeMap<u64, Chunk>,
    n_keys: usize,
    bytes: usize,
}

impl DenseSet {
    pub(super) fn new(permutation: Permutation) -> Self {
        Self { permutation, chunks: BTreeMap::new(), n_keys: 0, bytes: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.n_keys
    }

    /// Bytes of all allocations; at most 256 keys of a chunk are estimated.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn permutation(&self) -> &Permutation {
        &self.permutation
    }

    /// What keys would take, from where they fall: for choosing a class from a sample. Containers that are partly filled
    /// by a sample are counted as if they stayed so.
    pub(super) fn estimate(keys: &[u64], permutation: &Permutation) -> usize {
        let mut containers: Vec<u64> = keys.iter().map(|key| permutation.apply(*key) >> 16).collect();
        containers.sort_unstable();
        containers.chunk_by(|a, b| a == b).map(|keys| CONTAINER_BYTES + (4 * keys.len()).clamp(16, BITSET_BYTES)).sum()
    }

    /// Inserts the keys whose bit is set in `among`, in order; the bits that come back are of keys that were not there.
    pub(super) fn insert(&mut self, keys: &[u64], among: Lanes) -> Lanes {
        let mut fresh = 0;
        let mut lane = 0;
        while lane < keys.len() {
            let first = self.permutation.apply(keys[lane]);
            let id = first >> CHUNK_BITS;
            if among >> lane & 1 == 0 {
                lane += 1;
                continue;
            }
            let chunk = self.chunks.entry(id).or_default();
            let (mut permuted, mut n_fresh, old_bytes) = (first, 0, chunk.bytes());
            loop {
                if among >> lane & 1 == 1 && chunk.bitmap.insert((permuted & CHUNK_MASK) as u32) {
                    fresh |= 1 << lane;
                    n_fresh += 1;
                }
                lane += 1;
                if lane == keys.len() {
                    break;
                }
                permuted = self.permutation.apply(keys[lane]);
                if permuted >> CHUNK_BITS != id {
                    break;
                }
            }
            chunk.pending += n_fresh;
            if chunk.pending >= chunk.measure_after {
                chunk.measure();
            }
            self.n_keys += n_fresh;
            self.bytes = self.bytes + chunk.bytes() - old_bytes;
        }
        fresh
    }

    /// Of the keys whose bit is set in `among`, those that are in the set.
    pub(super) fn probe(&self, keys: &[u64], among: Lanes) -> Lanes {
        let mut present = 0;
        let mut last: Option<(u64, Option<&Chunk>)> = None;
        for (lane, key) in keys.iter().enumerate() {
            if among >> lane & 1 == 0 {
                continue;
            }
            let permuted = self.permutation.apply(*key);
            let id = permuted >> CHUNK_BITS;
            let chunk = match last {
                Some((last_id, chunk)) if last_id == id => chunk,
                _ => self.chunks.get(&id),
            };
            last = Some((id, chunk));
            if chunk.is_some_and(|chunk| chunk.bitmap.contains((permuted & CHUNK_MASK) as u32)) {
                present |= 1 << lane;
            }
        }
        present
    }

    /// Inserts keys without asking which were there.
    pub(super) fn extend(&mut self, keys: &[u64]) {
        for batch in keys.chunks(super::word::LANES) {
            self.insert(batch, first_lanes(batch.len()));
        }
    }

    /// Takes up to `n` keys out of chunks, from `cursor` on, whose keys take more than `max_bytes_per_key`, and moves the
    /// cursor to where to go on. `None` when there is no chunk left to look at.
    pub(super) fn take_thin(&mut self, cursor: &mut u64, n: usize, max_bytes_per_key: usize) -> Option<Vec<u64>> {
        let mut keys = Vec::new();
        for _ in 0..n {
            let Some((id, chunk)) = self.chunks.range_mut(*cursor..).next() else {
                return (!keys.is_empty()).then_some(keys);
            };
            let id = *id;
            if chunk.bytes() <= max_bytes_per_key * chunk.bitmap.len() as usize {
                *cursor = id + 1;
                continue;
            }
            *cursor = id;
            let n_before = keys.len();
            let lows = chunk.bitmap.iter().take(n - n_before);
            keys.extend(lows.map(|low| self.permutation.invert(id << CHUNK_BITS | u64::from(low))));
            let n_taken = keys.len() - n_before;
            self.n_keys -= n_taken;
            self.bytes -= chunk.bytes();
            chunk.bitmap.remove_smallest(n_taken as u64);
            chunk.measure();
            if chunk.bitmap.is_empty() {
                self.chunks.remove(&id);
            } else {
                self.bytes += chunk.bytes();
            }
            if keys.len() == n {
                break;
            }
        }
        Some(keys)
    }

    /// Packs a set that will not change: runs where they are smaller, and no spare capacity.
    pub(super) fn pack(&mut self) {
        self.bytes = 0;
        for chunk in self.chunks.values_mut() {
            chunk.bitmap.optimize();
            // A copy is allocated to size.
            chunk.bitmap = chunk.bitmap.clone();
            chunk.measure();
            self.bytes += chunk.bytes();
        }
    }

    /// All keys, permuted, ascending.
    pub(super) fn words(&self) -> impl Iterator<Item = u64> {
        self.chunks.iter().flat_map(|(id, chunk)| {
            let high = *id << CHUNK_BITS;
            chunk.bitmap.iter().map(move |low| high | u64::from(low))
        })
    }

    /// One packed set of all keys of `first` and `more`, which have the same permutation: chunk by chunk.
    pub(super) fn merged(first: &Self, more: &[&Self]) -> Self {
        let mut merged = Self::new(first.permutation.clone());
        for (id, chunk) in std::iter::once(&first).chain(more).flat_map(|set| &set.chunks) {
            match merged.chunks.entry(*id) {
                Entry::Vacant(entry) => {
                    entry.insert(Chunk { bitmap: chunk.bitmap.clone(), ..Chunk::default() });
                }
                Entry::Occupied(mut entry) => entry.get_mut().bitmap |= &chunk.bitmap,
            }
        }
        merged.n_keys = merged.chunks.values().map(|chunk| chunk.bitmap.len() as usize).sum();
        merged.pack();
        merged
    }

    /// The chunks, ascending: number and bitmap.
    pub(super) fn chunks(&self) -> impl ExactSizeIterator<Item = (u64, &RoaringBitmap)> {
        self.chunks.iter().map(|(id, chunk)| (*id, &chunk.bitmap))
    }

    /// Adds a chunk that was read from disk. `None` when it is there already or has values outside its range.
    pub(super) fn add_chunk(&mut self, id: u64, bitmap: RoaringBitmap) -> Option<()> {
        let n_keys = bitmap.len() as usize;
        let is_valid = id < 1 << (64 - CHUNK_BITS) && bitmap.max().is_some_and(|max| u64::from(max) <= CHUNK_MASK);
        match self.chunks.entry(id) {
            Entry::Vacant(entry) if is_valid => {
                let mut chunk = Chunk { bitmap, ..Chunk::default() };
                chunk.measure();
                self.bytes += chunk.bytes();
                self.n_keys += n_keys;
                entry.insert(chunk);
                Some(())
            }
            _ => None,
        }
    }
}
