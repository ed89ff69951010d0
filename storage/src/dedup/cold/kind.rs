//! In which order do a run's keys stand? A bijection from keys to ascending numbers, for both kinds of keys.

use super::directory::{Part, Parts};
use crate::dedup::layer::ClosedLayer;
use crate::dedup::open::KeyRange;
use crate::dedup::permutation::Permutation;
use crate::dedup::word::{MixSecret, Word};

/// How a key becomes the number by which it is sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::dedup) enum Order {
    /// Integers that lie together once permuted: their pages are small, and mostly need no filter.
    Permuted(Permutation),
    /// Mixed, with the bits reversed: the order in which hot tables can be read. Keys are spread evenly, whatever they are.
    Mixed,
}

/// The two kinds of keys.
pub(in crate::dedup) trait Kind: Word {
    /// As it stands in a file's header.
    const NUMBER: u8;

    fn word_of(key: Self, order: &Order, secret: MixSecret) -> Self;
    /// The inverse of [`Kind::word_of`].
    fn key_of(word: Self, order: &Order, secret: MixSecret) -> Self;
    /// What a filter is asked for. Secret, so that nobody can choose keys that it wrongly admits. Different words may have the same one
    /// if they are neighbours.
    fn filter_word(word: Self, secret: MixSecret) -> u64;
    fn is_in(key: Self, range: KeyRange) -> bool;

    fn order_of(layer: &ClosedLayer) -> Order;
    /// A layer's words in that order, ascending.
    fn words_of(layer: &ClosedLayer) -> Box<dyn Iterator<Item = Self> + '_>;
    fn parts_of(parts: &Parts) -> &[Part<Self>];
    fn into_parts(parts: Vec<Part<Self>>) -> Parts;
}

impl Kind for u64 {
    const NUMBER: u8 = 1;

    #[inline]
    fn word_of(key: Self, order: &Order, secret: MixSecret) -> Self {
        match order {
            Order::Permuted(permutation) => permutation.apply(key),
            Order::Mixed => key.mix(secret).reverse(),
        }
    }

    #[inline]
    fn key_of(word: Self, order: &Order, secret: MixSecret) -> Self {
        match order {
            Order::Permuted(permutation) => permutation.invert(word),
            Order::Mixed => word.reverse().unmix(secret),
        }
    }

    #[inline]
    fn filter_word(word: Self, secret: MixSecret) -> u64 {
        word.mix(secret)
    }

    #[inline]
    fn is_in(key: Self, range: KeyRange) -> bool {
        range.contains(key)
    }

    fn order_of(layer: &ClosedLayer) -> Order {
        layer.permutation().map_or(Order::Mixed, |permutation| Order::Permuted(permutation.clone()))
    }

    fn words_of(layer: &ClosedLayer) -> Box<dyn Iterator<Item = Self> + '_> {
        layer.integer_words()
    }

    fn parts_of(parts: &Parts) -> &[Part<Self>] {
        match parts {
            Parts::Integers(parts) => parts,
            Parts::Hashes(_) => &[],
        }
    }

    fn into_parts(parts: Vec<Part<Self>>) -> Parts {
        Parts::Integers(parts)
    }
}

/// Hashes are mixed and keyed already.
impl Kind for u128 {
    const NUMBER: u8 = 2;

    #[inline]
    fn word_of(key: Self, _order: &Order, _secret: MixSecret) -> Self {
        key.reverse()
    }

    #[inline]
    fn key_of(word: Self, _order: &Order, _secret: MixSecret) -> Self {
        word.reverse()
    }

    #[inline]
    fn filter_word(word: Self, _secret: MixSecret) -> u64 {
        (word >> 64) as u64
    }

    #[inline]
    fn is_in(_key: Self, _range: KeyRange) -> bool {
        true
    }

    fn order_of(_layer: &ClosedLayer) -> Order {
        Order::Mixed
    }

    fn words_of(layer: &ClosedLayer) -> Box<dyn Iterator<Item = Self> + '_> {
        layer.hash_words()
    }

    fn parts_of(parts: &Parts) -> &[Part<Self>] {
        match parts {
            Parts::Hashes(parts) => parts,
            Parts::Integers(_) => &[],
        }
    }

    fn into_parts(parts: Vec<Part<Self>>) -> Parts {
        Parts::Hashes(parts)
    }
}
