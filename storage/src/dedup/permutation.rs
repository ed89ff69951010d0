//! In which order do a key's bits stand, so that keys that arrive together lie together?
//!
//! Time-ordered ids leave holes: a counter that was made for 4,096 ids a millisecond and reaches ten, a machine number of
//! ten bits where eight machines run. The holes' bits hardly ever change, and they stand *below* the time, so that a
//! bitmap over the raw integer is nearly empty. A permutation lifts the holes to the top and closes the gaps: what
//! changes is then dense. It is a bijection, so it never changes an answer, only what it costs.

/// Groups of bits that are moved together, at most: each costs three instructions a key.
const MAX_GROUPS: usize = 8;

/// A bit that differs from the majority in fewer than one key of this many is a hole.
const HOLE_RARITY: usize = 64;

/// A permutation of 64 bits, named by its holes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Permutation {
    holes: u64,
    groups: Vec<Group>,
}

/// A run of bits and by how much it is rotated to the right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Group {
    mask: u64,
    rotate: u32,
}

/// The runs of one bits of `mask`, lowest first.
fn runs(mut mask: u64) -> impl Iterator<Item = u64> {
    std::iter::from_fn(move || {
        if mask == 0 {
            return None;
        }
        let start = mask.trailing_zeros();
        let length = (mask >> start).trailing_ones();
        let run = if length == 64 { u64::MAX } else { ((1 << length) - 1) << start };
        mask &= !run;
        Some(run)
    })
}

impl Permutation {
    pub(super) fn identity() -> Self {
        Self::new(0)
    }

    /// The permutation that puts `holes` on top and keeps the order of bits within both parts.
    pub(super) fn new(holes: u64) -> Self {
        let mut groups = Vec::new();
        let mut to = 0;
        for mask in runs(!holes).chain(runs(holes)) {
            groups.push(Group { mask, rotate: mask.trailing_zeros().wrapping_sub(to) % 64 });
            to += mask.count_ones();
        }
        Self { holes, groups }
    }

    pub(super) fn holes(&self) -> u64 {
        self.holes
    }

    #[inline(always)]
    pub(super) fn apply(&self, key: u64) -> u64 {
        if self.holes == 0 {
            return key;
        }
        self.groups.iter().fold(0, |out, group| out | (key & group.mask).rotate_right(group.rotate))
    }

    #[inline(always)]
    pub(super) fn invert(&self, permuted: u64) -> u64 {
        if self.holes == 0 {
            return permuted;
        }
        self.groups.iter().fold(0, |out, group| out | (permuted.rotate_left(group.rotate) & group.mask))
    }

    /// Chooses from the keys that came first. Bits above the highest one that changes are where a counter carries to, so
    /// they stay in their place; only quiet bits below it are holes.
    pub(super) fn choose(sample: &[u64]) -> Self {
        let mut ones = [0_usize; 64];
        for key in sample {
            for (bit, count) in ones.iter_mut().enumerate() {
                *count += (key >> bit & 1) as usize;
            }
        }
        let is_quiet = |bit: &usize| ones[*bit].min(sample.len() - ones[*bit]) * HOLE_RARITY < sample.len();
        let highest_busy = (0..64).rev().find(|bit| !is_quiet(bit)).unwrap_or(0);
        let mut holes = (0..highest_busy).filter(is_quiet).fold(0_u64, |holes, bit| holes | 1 << bit);
        // Many small holes are not worth their instructions: the narrowest are filled first.
        while runs(holes).count() + runs(!holes).count() > MAX_GROUPS {
            if let Some(narrowest) = runs(holes).min_by_key(|run| run.count_ones()) {
                holes &= !narrowest;
            }
        }
        Self::new(holes)
    }
}
