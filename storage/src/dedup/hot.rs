//! Where do keys without order live? An exact hash set that grows one small segment at a time.
//!
//! Linear hashing (Litwin, 1980) over sorted, packed segments. The low bits of a mixed key name its segment and are not
//! stored (quotienting, Cleary 1984); what remains, the residue, is stored in whole bytes, ascending. Residues are
//! uniform, so interpolation finds one in a step or two. When the segments hold too many keys on average, the next one
//! in turn is split in two: nothing is ever rehashed as a whole, and one key costs at most one split of some hundred keys.
//!
//! Past 3 million integers a key costs six bytes and the slack of its segment's allocation.

use super::word::{LANES, Lanes, MixSecret, Word, first_lanes, prefetch};

/// Keys per segment, on average over all segments, past which the next segment is split.
const KEYS_PER_SEGMENT: usize = 56;

/// Segments whose headers are allocated together; a page is never moved.
const PAGE_SEGMENTS: usize = 1024;

/// A segment: `n` residues of `width` bytes, ascending, and as many bytes of slack as a whole-word read needs.
#[derive(Debug, Default)]
struct Segment {
    bytes: Vec<u8>,
}

/// A copy fills the same size class: it takes as much memory and has as many free places.
impl Clone for Segment {
    fn clone(&self) -> Self {
        let mut bytes = Vec::with_capacity(self.bytes.capacity());
        bytes.extend_from_slice(&self.bytes);
        Self { bytes }
    }
}

/// Bytes that the allocator hands out for a request: jemalloc's size classes, four to a doubling. Segments fill them.
fn size_class(bytes: usize) -> usize {
    if bytes <= 16 {
        return 16;
    }
    let step = (bytes.next_power_of_two() / 8).max(16);
    bytes.next_multiple_of(step)
}

impl Segment {
    fn len<K: Word>(&self, width: usize) -> usize {
        // Both are far below 2^32, where a division is much cheaper.
        if self.bytes.is_empty() { 0 } else { ((self.bytes.len() - K::BYTES) as u32 / width as u32) as usize + 1 }
    }

    /// An empty segment with capacity for `n` residues.
    fn with_capacity<K: Word>(n: usize, width: usize) -> Self {
        let bytes = if n == 0 { 0 } else { size_class((n - 1) * width + K::BYTES) };
        Self { bytes: Vec::with_capacity(bytes) }
    }

    /// Where `residue` stands or belongs, and whether it is there. `n` is the segment's length.
    #[inline(always)]
    fn find<K: Word>(&self, residue: K, depth: u32, width: usize, n: usize) -> (usize, bool) {
        if n == 0 {
            return (0, false);
        }
        let at = |i: usize| K::load(&self.bytes, i * width, width);
        let mut i = ((u64::from(residue.fraction(depth)) * n as u64) >> 32) as usize;
        if at(i) < residue {
            i += 1;
            while i < n && at(i) < residue {
                i += 1;
            }
        } else {
            while i > 0 && at(i - 1) >= residue {
                i -= 1;
            }
        }
        (i, i < n && at(i) == residue)
    }

    /// Puts `residue` at place `i` of `n`. Returns the bytes by which the allocation grew.
    #[inline]
    fn insert<K: Word>(&mut self, i: usize, residue: K, width: usize, n: usize) -> usize {
        let old_len = self.bytes.len();
        let new_len = if n == 0 { K::BYTES } else { old_len + width };
        let old_capacity = self.bytes.capacity();
        if new_len > old_capacity {
            self.bytes.reserve_exact(size_class(new_len) - old_len);
        }
        self.bytes.resize(new_len, 0);
        if i < n {
            self.bytes.copy_within(i * width..old_len, (i + 1) * width);
        }
        residue.store(&mut self.bytes, i * width, width);
        self.bytes.capacity() - old_capacity
    }

    /// Appends the largest residue so far, into capacity that is there.
    fn push<K: Word>(&mut self, residue: K, width: usize) {
        let n = self.len::<K>(width);
        self.insert(n, residue, width, n);
    }
}

/// An exact set of keys in RAM.
#[derive(Debug, Clone)]
pub(super) struct HotSet<K> {
    pages: Vec<Box<[Segment]>>,
    /// `2^depth + split` segments are in use; the first `split` and the last `split` of them are one bit deeper.
    depth: u32,
    split: usize,
    n_keys: usize,
    bytes: usize,
    secret: MixSecret,
    word: std::marker::PhantomData<K>,
}

/// Bytes of a stored residue: the bits that name the segment are not stored, in whole bytes.
#[inline(always)]
fn width_at<K: Word>(depth: u32) -> usize {
    K::BYTES - depth as usize / 8
}

fn page_bytes() -> usize {
    PAGE_SEGMENTS * size_of::<Segment>()
}

impl<K: Word> HotSet<K> {
    pub(super) fn new(secret: MixSecret) -> Self {
        Self { pages: Vec::new(), depth: 0, split: 0, n_keys: 0, bytes: 0, secret, word: std::marker::PhantomData }
    }

    pub(super) fn len(&self) -> usize {
        self.n_keys
    }

    /// Bytes of all allocations.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.pages.capacity() * size_of::<Box<[Segment]>>()
    }

    /// At most how many bytes [`Self::bytes`] grows by when `n` keys are inserted: every key may push one segment into
    /// its next size class (a quarter larger), and needs its own place, also when its class is used at the worst.
    pub(super) fn growth_bound(&self, n: usize) -> usize {
        const NEXT_CLASS: usize = 512;
        (n * NEXT_CLASS).min(self.bytes / 4) + n * (K::BYTES * 2) + page_bytes()
    }

    /// The segment of a mixed key, and its depth.
    #[inline(always)]
    fn locate(&self, mixed: K) -> (usize, u32) {
        let segment = mixed.segment(self.depth);
        if segment < self.split { (mixed.segment(self.depth + 1), self.depth + 1) } else { (segment, self.depth) }
    }

    #[inline(always)]
    fn segment(&self, i: usize) -> &Segment {
        &self.pages[i / PAGE_SEGMENTS][i % PAGE_SEGMENTS]
    }

    #[inline(always)]
    fn segment_mut(&mut self, i: usize) -> &mut Segment {
        &mut self.pages[i / PAGE_SEGMENTS][i % PAGE_SEGMENTS]
    }

    /// Mixes a batch and fetches what [`Self::insert_mixed`] and [`Self::has_mixed`] will read.
    #[inline]
    fn prepare(&self, keys: &[K], mixed: &mut [K; LANES]) {
        for (key, mixed) in keys.iter().zip(mixed.iter_mut()) {
            *mixed = key.mix(self.secret);
            let (i, _) = self.locate(*mixed);
            prefetch(std::ptr::from_ref(self.segment(i)).cast());
        }
        for mixed in &mixed[..keys.len()] {
            let (i, depth) = self.locate(*mixed);
            let width = width_at::<K>(depth);
            let segment = self.segment(i);
            let fraction = u64::from(mixed.residue(depth).fraction(depth));
            let place = ((fraction * segment.bytes.len() as u64) >> 32) as usize;
            let start = segment.bytes.as_ptr();
            prefetch(start.wrapping_add(place.saturating_sub(4 * width)));
            prefetch(start.wrapping_add(place + 4 * width));
        }
    }

    #[inline(always)]
    fn has_mixed(&self, mixed: K) -> bool {
        let (i, depth) = self.locate(mixed);
        let width = width_at::<K>(depth);
        let segment = self.segment(i);
        segment.find(mixed.residue(depth), depth, width, segment.len::<K>(width)).1
    }

    #[inline(always)]
    fn insert_mixed(&mut self, mixed: K) -> bool {
        let (i, depth) = self.locate(mixed);
        let width = width_at::<K>(depth);
        let residue = mixed.residue(depth);
        let segment = self.segment_mut(i);
        let n = segment.len::<K>(width);
        let (place, found) = segment.find(residue, depth, width, n);
        if found {
            return false;
        }
        self.bytes += segment.insert(place, residue, width, n);
        self.n_keys += 1;
        if self.n_keys > KEYS_PER_SEGMENT * ((1 << self.depth) + self.split) {
            self.split_next();
        }
        true
    }

    /// Splits the segment whose turn it is. The bit that decides is the lowest of the residue, so both halves stay sorted.
    #[cold]
    fn split_next(&mut self) {
        let (low, high) = (self.split, (1 << self.depth) + self.split);
        if high / PAGE_SEGMENTS >= self.pages.len() {
            self.add_page();
        }
        let whole = std::mem::take(self.segment_mut(low));
        let (old_width, width) = (width_at::<K>(self.depth), width_at::<K>(self.depth + 1));
        let n = whole.len::<K>(old_width);
        let residue = |i: usize| K::load(&whole.bytes, i * old_width, old_width);
        let n_odd = (0..n).filter(|i| residue(*i).is_odd()).count();
        let mut even = Segment::with_capacity::<K>(n - n_odd, width);
        let mut odd = Segment::with_capacity::<K>(n_odd, width);
        for i in 0..n {
            let residue = residue(i);
            if residue.is_odd() { &mut odd } else { &mut even }.push(residue.half(), width);
        }
        self.bytes += even.bytes.capacity() + odd.bytes.capacity();
        self.bytes -= whole.bytes.capacity();
        *self.segment_mut(low) = even;
        *self.segment_mut(high) = odd;
        self.split += 1;
        if self.split == 1 << self.depth {
            self.depth += 1;
            self.split = 0;
        }
    }

    fn add_page(&mut self) {
        self.pages.push(vec![Segment::default(); PAGE_SEGMENTS].into_boxed_slice());
        self.bytes += page_bytes();
    }

    /// Inserts the keys whose bit is set in `among`, in order; the bits that come back are of keys that were not there.
    pub(super) fn insert(&mut self, keys: &[K], among: Lanes) -> Lanes {
        if self.pages.is_empty() {
            self.add_page();
        }
        let mut mixed = [K::default(); LANES];
        self.prepare(keys, &mut mixed);
        let mut fresh = 0;
        for (lane, mixed) in mixed[..keys.len()].iter().enumerate() {
            if among >> lane & 1 == 1 && self.insert_mixed(*mixed) {
                fresh |= 1 << lane;
            }
        }
        fresh
    }

    /// Of the keys whose bit is set in `among`, those that are in the set.
    pub(super) fn probe(&self, keys: &[K], among: Lanes) -> Lanes {
        if self.n_keys == 0 {
            return 0;
        }
        let mut mixed = [K::default(); LANES];
        self.prepare(keys, &mut mixed);
        let mut present = 0;
        for (lane, mixed) in mixed[..keys.len()].iter().enumerate() {
            if among >> lane & 1 == 1 && self.has_mixed(*mixed) {
                present |= 1 << lane;
            }
        }
        present
    }

    /// Inserts keys without asking which were there.
    pub(super) fn extend(&mut self, keys: &[K]) {
        for batch in keys.chunks(LANES) {
            self.insert(batch, first_lanes(batch.len()));
        }
    }

    /// All keys, in no order that means anything.
    pub(super) fn keys(&self) -> Vec<K> {
        let mut keys = Vec::with_capacity(self.n_keys);
        keys.extend(self.iter());
        keys
    }

    /// The same, one after another.
    pub(super) fn iter(&self) -> impl Iterator<Item = K> {
        let n_segments = if self.pages.is_empty() { 0 } else { (1 << self.depth) + self.split };
        (0..n_segments).flat_map(move |i| self.mixed(i)).map(move |mixed| mixed.unmix(self.secret))
    }

    /// The mixed keys of segment `i`.
    fn mixed(&self, i: usize) -> impl Iterator<Item = K> {
        let depth = if i < self.split || i >= 1 << self.depth { self.depth + 1 } else { self.depth };
        let width = width_at::<K>(depth);
        let segment = self.segment(i);
        (0..segment.len::<K>(width)).map(move |at| K::join(i, K::load(&segment.bytes, at * width, width), depth))
    }

    /// All keys, mixed and with their bits reversed, ascending. The low bits of a mixed key name its segment, so this is the
    /// one order in which segments can be read one by one: nothing is sorted but the keys of one segment.
    pub(super) fn in_order(&self) -> impl Iterator<Item = K> {
        let (depth, split) = (self.depth, self.split);
        let n_prefixes = if self.pages.is_empty() { 0 } else { 1_usize << depth };
        let segments = (0..n_prefixes).flat_map(move |prefix| {
            let low = if depth == 0 { 0 } else { prefix.reverse_bits() >> (usize::BITS - depth) };
            std::iter::once(low).chain((low < split).then_some(low + (1 << depth)))
        });
        segments.flat_map(move |i| {
            let mut words: Vec<K> = self.mixed(i).map(K::reverse).collect();
            words.sort_unstable();
            words
        })
    }

    /// One set of all keys of `first` and `more`: a copy of the largest, to which the keys of the others are added.
    pub(super) fn merged(first: &Self, more: &[&Self]) -> Self {
        let largest = more.iter().fold(first, |largest, set| if set.len() > largest.len() { *set } else { largest });
        let mut merged = largest.clone();
        let mut batch = Vec::with_capacity(LANES);
        let others = std::iter::once(first).chain(more.iter().copied()).filter(|set| !std::ptr::eq(*set, largest));
        for key in others.flat_map(Self::iter) {
            batch.push(key);
            if batch.len() == LANES {
                merged.extend(&batch);
                batch.clear();
            }
        }
        merged.extend(&batch);
        merged
    }
}

#[cfg(test)]
impl<K: Word> HotSet<K> {
    /// The bytes of all allocations, counted one by one.
    pub(super) fn measured_bytes(&self) -> usize {
        let segments = self.pages.iter().flat_map(|page| page.iter()).map(|segment| segment.bytes.capacity());
        segments.sum::<usize>() + self.pages.len() * page_bytes() + self.pages.capacity() * size_of::<Box<[Segment]>>()
    }
}
