//! May a key be in a set? Binary fuse filters (Graf and Lemire, 2022) with one byte for each of about 0.87 keys.
//!
//! They never deny a key that is there, and admit one in 256 that is not. They are made by the crate `xorf`; they are asked here, because
//! their bytes are as often in a file as in memory. How a key's three places follow from the shape is part of the form of key runs and of
//! sidecars.

use xorf::BinaryFuse8;

#[cfg(test)]
mod tests;

/// What is to be known of a filter besides its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) seed: u64,
    /// A power of two.
    pub(crate) segment_length: u32,
    /// The segments in which a key's first place can be; two more follow.
    pub(crate) segment_count_length: u32,
    pub(crate) n_bytes: u32,
}

/// Where a filter says whether it has a key, and what the bytes there must combine to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) fingerprint: u8,
    pub(crate) at: [u32; 3],
}

impl Shape {
    /// The filter of `words`, which are distinct; made in about 26 bytes a word. `None`: none was found, which has never been seen; what
    /// it would guard is read without one.
    pub(crate) fn build(words: &[u64]) -> Option<(Self, Box<[u8]>)> {
        let BinaryFuse8 { descriptor, fingerprints } = BinaryFuse8::try_from(words).ok()?;
        let shape = Self {
            seed: descriptor.seed,
            segment_length: descriptor.segment_length,
            segment_count_length: descriptor.segment_count_length,
            n_bytes: u32::try_from(fingerprints.len()).ok()?,
        };
        shape.is_sound().then_some((shape, fingerprints))
    }

    /// All places of all keys are within its bytes.
    pub(crate) fn is_sound(&self) -> bool {
        let length = self.segment_length;
        length.is_power_of_two()
            && self.segment_count_length > 0
            && self.segment_count_length.is_multiple_of(length)
            && u64::from(self.segment_count_length) + 2 * u64::from(length) <= u64::from(self.n_bytes)
    }

    #[inline]
    pub(crate) fn places(&self, word: u64) -> Places {
        let hash = finalised(word.wrapping_add(self.seed));
        let mask = self.segment_length - 1;
        let first = ((u128::from(hash) * u128::from(self.segment_count_length)) >> 64) as u32;
        let second = (first + self.segment_length) ^ ((hash >> 18) as u32 & mask);
        let third = (first + 2 * self.segment_length) ^ (hash as u32 & mask);
        Places { fingerprint: (hash ^ (hash >> 32)) as u8, at: [first, second, third] }
    }
}

impl Places {
    /// Whether the filter with these bytes may have the key.
    #[inline]
    pub(crate) fn admits(&self, filter: &[u8]) -> bool {
        self.at.iter().fold(self.fingerprint, |left, at| left ^ filter[*at as usize]) == 0
    }
}

/// The finaliser of MurmurHash3 (Appleby).
#[inline]
fn finalised(mut x: u64) -> u64 {
    x ^= x >> 33;
    x = x.wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    x ^= x >> 33;
    x = x.wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    x ^ (x >> 33)
}
