//! How is a key cut into a segment's number and a residue? The two widths of keys in the hot table, and their bit work.

/// Keys are looked up in batches of this many: enough to hide a cache miss, few enough to stay in the first-level cache.
pub(super) const LANES: usize = 128;

/// One bit for each key of a batch of at most [`LANES`].
pub(super) type Lanes = u128;

/// A batch of `n` keys, all of them set.
pub(super) fn first_lanes(n: usize) -> Lanes {
    debug_assert!(n <= LANES);
    if n >= LANES { Lanes::MAX } else { (1 << n) - 1 }
}

/// Two secret numbers that make the mix of integers differ from table to table, so that nobody who does not know them
/// can choose ids that meet in one segment.
pub(super) type MixSecret = [u64; 2];

/// A key of the hot table.
pub(super) trait Word: Copy + Ord + Default + std::fmt::Debug + Send + Sync + 'static {
    const BYTES: usize;

    /// A bijection that spreads keys evenly over all bits.
    fn mix(self, secret: MixSecret) -> Self;
    /// The inverse of [`Word::mix`].
    fn unmix(self, secret: MixSecret) -> Self;
    /// The `depth` lowest bits, which choose the segment.
    fn segment(self, depth: u32) -> usize;
    /// What remains when the segment is known.
    fn residue(self, depth: u32) -> Self;
    /// The inverse of [`Word::segment`] and [`Word::residue`].
    fn join(segment: usize, residue: Self, depth: u32) -> Self;
    /// The 32 highest bits of a residue: where in its segment it stands, as a fraction.
    fn fraction(self, depth: u32) -> u32;
    /// The lowest bit.
    fn is_odd(self) -> bool;
    fn half(self) -> Self;
    /// The bits in the opposite order.
    fn reverse(self) -> Self;
    /// The number in 128 bits.
    fn wide(self) -> u128;
    /// The inverse of [`Word::wide`]; bits that do not fit are lost.
    fn narrow(wide: u128) -> Self;
    /// Reads `width` bytes at `at`; [`Word::BYTES`] bytes must be there.
    fn load(bytes: &[u8], at: usize, width: usize) -> Self;
    /// Writes `width` bytes at `at` and leaves what follows as it is; [`Word::BYTES`] bytes must be there.
    fn store(self, bytes: &mut [u8], at: usize, width: usize);
}

macro_rules! bits {
    ($word:ty) => {
        const BYTES: usize = size_of::<$word>();

        #[inline(always)]
        fn segment(self, depth: u32) -> usize {
            self as usize & ((1_usize << depth) - 1)
        }

        #[inline(always)]
        fn residue(self, depth: u32) -> Self {
            self >> depth
        }

        #[inline(always)]
        fn join(segment: usize, residue: Self, depth: u32) -> Self {
            (residue << depth) | segment as $word
        }

        #[inline(always)]
        fn fraction(self, depth: u32) -> u32 {
            ((self << depth) >> (<$word>::BITS - 32)) as u32
        }

        #[inline(always)]
        fn is_odd(self) -> bool {
            self & 1 == 1
        }

        #[inline(always)]
        fn half(self) -> Self {
            self >> 1
        }

        #[inline(always)]
        fn reverse(self) -> Self {
            self.reverse_bits()
        }

        #[inline(always)]
        fn load(bytes: &[u8], at: usize, width: usize) -> Self {
            let mut raw = [0; size_of::<$word>()];
            raw.copy_from_slice(&bytes[at..at + size_of::<$word>()]);
            <$word>::from_le_bytes(raw) & (<$word>::MAX >> (<$word>::BITS - 8 * width as u32))
        }

        #[inline(always)]
        fn store(self, bytes: &mut [u8], at: usize, width: usize) {
            let place = &mut bytes[at..at + size_of::<$word>()];
            let mut raw = [0; size_of::<$word>()];
            raw.copy_from_slice(place);
            let mask = <$word>::MAX >> (<$word>::BITS - 8 * width as u32);
            let merged = (<$word>::from_le_bytes(raw) & !mask) | (self & mask);
            place.copy_from_slice(&merged.to_le_bytes());
        }
    };
}

/// Multipliers of the `moremur` finaliser by Pelle Evensen (2019), and their inverses modulo 2^64.
const M1: u64 = 0x3C79_AC49_2BA7_B653;
const M2: u64 = 0x1C69_B3F7_4AC4_AE35;
const M1_INVERSE: u64 = inverse(M1);
const M2_INVERSE: u64 = inverse(M2);

/// The inverse of an odd number modulo 2^64, by Newton's iteration: each step doubles the right bits.
const fn inverse(odd: u64) -> u64 {
    let mut x = odd;
    let mut step = 0;
    while step < 6 {
        x = x.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(x)));
        step += 1;
    }
    x
}

impl Word for u64 {
    bits!(u64);

    #[inline(always)]
    fn wide(self) -> u128 {
        u128::from(self)
    }

    #[inline(always)]
    fn narrow(wide: u128) -> Self {
        wide as u64
    }

    #[inline(always)]
    fn mix(self, secret: MixSecret) -> Self {
        let mut x = self ^ secret[0];
        x ^= x >> 27;
        x = x.wrapping_mul(M1).wrapping_add(secret[1]);
        x ^= x >> 33;
        x = x.wrapping_mul(M2);
        x ^ (x >> 27)
    }

    #[inline(always)]
    fn unmix(self, secret: MixSecret) -> Self {
        let mut x = self ^ (self >> 27) ^ (self >> 54);
        x = x.wrapping_mul(M2_INVERSE);
        x ^= x >> 33;
        x = x.wrapping_sub(secret[1]).wrapping_mul(M1_INVERSE);
        x ^= (x >> 27) ^ (x >> 54);
        x ^ secret[0]
    }
}

/// Hashes are mixed and keyed already.
impl Word for u128 {
    bits!(u128);

    #[inline(always)]
    fn wide(self) -> u128 {
        self
    }

    #[inline(always)]
    fn narrow(wide: u128) -> Self {
        wide
    }

    #[inline(always)]
    fn mix(self, _secret: MixSecret) -> Self {
        self
    }

    #[inline(always)]
    fn unmix(self, _secret: MixSecret) -> Self {
        self
    }
}

/// Asks the processor to fetch the cache line at `address`. Any address is fine: nothing is read.
#[inline(always)]
pub(super) fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch never faults and has no effect that a program can see.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
