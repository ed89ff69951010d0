//! How do ascending numbers lie in a page? In blocks of gaps, each gap as wide as the widest of its block.
//!
//! ```text
//! page    n_blocks u16 · blocks
//! block   first number (8 or 16 bytes) · n_gaps u16 · bits of a gap u8 · gaps, packed from the lowest bit up to whole bytes
//! ```
//! A gap is the distance to the number before, less one: neighbours take no bits at all. Keys that are spread evenly take about
//! two bits more than their mean distance needs.

use super::pages::PAYLOAD_BYTES;
use crate::dedup::word::Word;
use crate::ids::array;

const COUNT_BYTES: usize = size_of::<u16>();

/// A block has at most this many gaps, of this many bits together: a wide one makes few others wide, and a search unpacks few. Gaps of no
/// bits need no unpacking: only their count bounds them.
const BLOCK_GAPS: usize = 256;
const BLOCK_BITS: usize = 4096;

const fn head_bytes<W: Word>() -> usize {
    W::BYTES + size_of::<u16>() + 1
}

/// Fills pages, one after another.
#[derive(Debug)]
pub(super) struct PageBuilder<W> {
    /// The page so far, without the open block.
    bytes: Vec<u8>,
    n_blocks: u16,
    open: Option<OpenBlock>,
    gaps: Vec<u128>,
    first: Option<W>,
}

#[derive(Debug, Clone, Copy)]
struct OpenBlock {
    first: u128,
    last: u128,
    width: u32,
}

impl<W: Word> PageBuilder<W> {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; COUNT_BYTES], n_blocks: 0, open: None, gaps: Vec::new(), first: None }
    }

    /// The page's first number; `None`: it is empty.
    pub(super) fn first(&self) -> Option<W> {
        self.first
    }

    /// Adds a number, larger than all before. `false`: it was not added, the page is full.
    pub(super) fn push(&mut self, word: W) -> bool {
        let wide = word.wide();
        if let Some(block) = &mut self.open {
            let gap = wide - block.last - 1;
            let width = block.width.max(u128::BITS - gap.leading_zeros());
            let n_bits = (self.gaps.len() + 1) * width as usize;
            // Wider gaps for all of a block cost more than a new block.
            let widening = self.gaps.len() * (width - block.width) as usize;
            let most_gaps = if width == 0 { usize::from(u16::MAX) } else { BLOCK_GAPS };
            let fits_block = self.gaps.len() < most_gaps && n_bits <= BLOCK_BITS;
            if fits_block && widening <= 8 * head_bytes::<W>() {
                if self.bytes.len() + head_bytes::<W>() + n_bits.div_ceil(8) > PAYLOAD_BYTES {
                    return false;
                }
                *block = OpenBlock { last: wide, width, ..*block };
                self.gaps.push(gap);
                return true;
            }
        }
        self.close_block();
        if self.bytes.len() + head_bytes::<W>() > PAYLOAD_BYTES {
            return false;
        }
        self.open = Some(OpenBlock { first: wide, last: wide, width: 0 });
        self.first = self.first.or(Some(word));
        true
    }

    fn close_block(&mut self) {
        let Some(block) = self.open.take() else { return };
        self.bytes.extend_from_slice(&block.first.to_le_bytes()[..W::BYTES]);
        self.bytes.extend_from_slice(&(self.gaps.len() as u16).to_le_bytes());
        self.bytes.push(block.width as u8);
        pack(&self.gaps, block.width, &mut self.bytes);
        self.gaps.clear();
        self.n_blocks += 1;
    }

    /// The page's payload.
    pub(super) fn finish(&mut self) -> &[u8] {
        self.close_block();
        self.bytes[..COUNT_BYTES].copy_from_slice(&self.n_blocks.to_le_bytes());
        &self.bytes
    }

    /// Begins the next page.
    pub(super) fn clear(&mut self) {
        self.bytes.truncate(COUNT_BYTES);
        self.n_blocks = 0;
        self.first = None;
    }
}

fn pack(gaps: &[u128], width: u32, out: &mut Vec<u8>) {
    // Fewer than eight bits are left over between two halves of a gap.
    let (mut bits, mut n_bits) = (0_u128, 0);
    for gap in gaps {
        for (half, half_width) in [(*gap as u64, width.min(64)), ((gap >> 64) as u64, width.saturating_sub(64))] {
            bits |= u128::from(half) << n_bits;
            n_bits += half_width;
            while n_bits >= 8 {
                out.push(bits as u8);
                bits >>= 8;
                n_bits -= 8;
            }
        }
    }
    if n_bits > 0 {
        out.push(bits as u8);
    }
}

/// A page that matches its checksum and makes no sense.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// A block as it stands in a page.
#[derive(Debug, Clone, Copy)]
struct Block {
    first: u128,
    n_gaps: usize,
    width: u32,
    /// Where its gaps begin and end.
    start: usize,
    end: usize,
}

impl Block {
    fn read<W: Word>(page: &[u8], at: usize) -> Result<Self, Malformed> {
        let start = at + head_bytes::<W>();
        let head = page.get(at..start).ok_or(Malformed)?;
        let (first, rest) = head.split_at(W::BYTES);
        let n_gaps = usize::from(u16::from_le_bytes([rest[0], rest[1]]));
        let width = u32::from(rest[2]);
        let end = start + (n_gaps * width as usize).div_ceil(8);
        if width as usize > 8 * W::BYTES || end > page.len() {
            return Err(Malformed);
        }
        Ok(Self { first: u128::from_le_bytes(array(first)), n_gaps, width, start, end })
    }

    fn gap(&self, page: &[u8], i: usize) -> u128 {
        load(&page[self.start..self.end], i * self.width as usize, self.width)
    }

    /// Whether `number`, which is not below the first, is in it.
    fn contains(&self, page: &[u8], number: u128) -> bool {
        let distance = number - self.first;
        if self.width == 0 {
            return distance <= self.n_gaps as u128;
        }
        let mut at = 0_u128;
        for i in 0..self.n_gaps {
            if at >= distance {
                break;
            }
            at = at.saturating_add(self.gap(page, i)).saturating_add(1);
        }
        at == distance
    }
}

/// Reads `width` bits from bit `bit` on.
#[inline]
fn load(bytes: &[u8], bit: usize, width: u32) -> u128 {
    if width == 0 {
        return 0;
    }
    let (at, shift) = (bit / 8, (bit % 8) as u32);
    let low = u128::from_le_bytes(array(&bytes[at..])) >> shift;
    let n_read = u128::BITS - shift;
    let all = if width > n_read { low | u128::from(bytes[at + size_of::<u128>()]) << n_read } else { low };
    all & (u128::MAX >> (u128::BITS - width))
}

fn n_blocks(page: &[u8]) -> Result<u16, Malformed> {
    page.get(..COUNT_BYTES).map(|count| u16::from_le_bytes(array(count))).ok_or(Malformed)
}

/// Whether `word` is in the page. Only the one block that can hold it is unpacked.
pub(super) fn contains<W: Word>(page: &[u8], word: W) -> Result<bool, Malformed> {
    let number = word.wide();
    let mut at = COUNT_BYTES;
    let mut last: Option<Block> = None;
    for _ in 0..n_blocks(page)? {
        let block = Block::read::<W>(page, at)?;
        if block.first > number {
            break;
        }
        at = block.end;
        last = Some(block);
    }
    Ok(last.is_some_and(|block| block.contains(page, number)))
}

/// Reads a page's numbers in order, without unpacking more than one at a time: a page may hold millions.
#[derive(Debug)]
pub(super) struct PageCursor<W> {
    page: Vec<u8>,
    n_blocks_left: u16,
    /// Where the next block begins.
    next: usize,
    /// The block that is being read, how many of its gaps were, and the number that they lead to.
    block: Option<Block>,
    n_read: usize,
    number: u128,
    word: std::marker::PhantomData<W>,
}

impl<W: Word> PageCursor<W> {
    pub(super) fn new(page: &[u8]) -> Result<Self, Malformed> {
        Ok(Self {
            page: page.to_vec(),
            n_blocks_left: n_blocks(page)?,
            next: COUNT_BYTES,
            block: None,
            n_read: 0,
            number: 0,
            word: std::marker::PhantomData,
        })
    }

    /// The next number; `None` at the end.
    pub(super) fn advance(&mut self) -> Result<Option<W>, Malformed> {
        match self.block {
            Some(block) if self.n_read < block.n_gaps => {
                let gap = block.gap(&self.page, self.n_read);
                self.number = gap.checked_add(1).and_then(|step| self.number.checked_add(step)).ok_or(Malformed)?;
                self.n_read += 1;
            }
            _ if self.n_blocks_left == 0 => return Ok(None),
            _ => {
                let block = Block::read::<W>(&self.page, self.next)?;
                self.n_blocks_left -= 1;
                self.next = block.end;
                self.number = block.first;
                self.n_read = 0;
                self.block = Some(block);
            }
        }
        let word = W::narrow(self.number);
        if word.wide() == self.number { Ok(Some(word)) } else { Err(Malformed) }
    }
}
