//! Where in a run can a key be? Its parts, their sections and the first word of every page: in memory as in the file.
//!
//! ```text
//! n_parts u32, then for each part
//!   order u8 (1 permuted, 2 mixed) · holes u64 · smallest key u64 · largest key u64 · n_keys u64 · n_sections u32 · sections
//!   section   first page u32 · n_pages u32 · filter's first page u32 · seed u64 · segment length u32
//!             segment count length u32 · filter's bytes u32 (0: there is none) · first word of each page (8 or 16 bytes)
//! ```
//! All numbers are little-endian.

use super::kind::{Kind, Order};
use crate::dedup::open::KeyRange;
use crate::dedup::permutation::Permutation;
use crate::dedup::word::Word;
use crate::fuse::Shape;
use crate::ids::array;

const ORDER_PERMUTED: u8 = 1;
const ORDER_MIXED: u8 = 2;

/// All parts of a run.
#[derive(Debug)]
pub(in crate::dedup) enum Parts {
    Integers(Vec<Part<u64>>),
    Hashes(Vec<Part<u128>>),
}

/// The keys of a run that stand in one order.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::dedup) struct Part<W> {
    pub(super) order: Order,
    /// Parts of time-ordered keys are mostly ruled out by it. Full for hashes.
    pub(super) range: KeyRange,
    pub(super) n_keys: u64,
    sections: Vec<Section>,
    /// The first word of each section, and of each page of all sections; ascending.
    section_firsts: Vec<W>,
    page_firsts: Vec<W>,
}

/// Some neighbouring pages, and the filter of their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) first_page: u32,
    pub(super) n_pages: u32,
    /// Where its pages begin among those of the part.
    offset: usize,
    pub(super) filter: Option<FilterPlace>,
}

/// A filter in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FilterPlace {
    pub(super) first_page: u32,
    pub(super) shape: Shape,
}

impl<W: Word> Part<W> {
    pub(super) fn new(order: Order, range: KeyRange) -> Self {
        Self { order, range, n_keys: 0, sections: Vec::new(), section_firsts: Vec::new(), page_firsts: Vec::new() }
    }

    /// Appends a section with the pages whose first words these are.
    pub(super) fn add_section(&mut self, first_page: u32, page_firsts: &[W], filter: Option<FilterPlace>) {
        let Some(first) = page_firsts.first() else { return };
        let offset = self.page_firsts.len();
        self.sections.push(Section { first_page, n_pages: page_firsts.len() as u32, offset, filter });
        self.section_firsts.push(*first);
        self.page_firsts.extend_from_slice(page_firsts);
    }

    /// No spare capacity: nothing is added any more.
    pub(super) fn shrink(&mut self) {
        self.sections.shrink_to_fit();
        self.section_firsts.shrink_to_fit();
        self.page_firsts.shrink_to_fit();
    }

    pub(super) fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// The number of the section that can hold `word`; `None`: none can.
    #[inline]
    pub(super) fn section_of(&self, word: W) -> Option<usize> {
        self.section_firsts.partition_point(|first| *first <= word).checked_sub(1)
    }

    /// The page of a section that can hold `word`, which is not below the section's first.
    #[inline]
    pub(super) fn page_of(&self, section: &Section, word: W) -> u32 {
        let firsts = &self.page_firsts[section.offset..section.offset + section.n_pages as usize];
        let place = firsts.partition_point(|first| *first <= word).saturating_sub(1);
        section.first_page + place as u32
    }

    /// All pages with keys, in order.
    pub(super) fn pages(&self) -> impl Iterator<Item = u32> {
        self.sections.iter().flat_map(|section| section.first_page..section.first_page + section.n_pages)
    }

    /// Bytes of all filters of its sections.
    pub(super) fn filter_bytes(&self) -> u64 {
        self.sections.iter().filter_map(|section| section.filter).map(|filter| u64::from(filter.shape.n_bytes)).sum()
    }

    /// Bytes of all allocations.
    pub(super) fn bytes(&self) -> usize {
        self.sections.capacity() * size_of::<Section>()
            + (self.section_firsts.capacity() + self.page_firsts.capacity()) * size_of::<W>()
    }
}

pub(super) fn encode<W: Kind>(parts: &[Part<W>]) -> Vec<u8> {
    let mut out = (parts.len() as u32).to_le_bytes().to_vec();
    for part in parts {
        let (order, holes) = match &part.order {
            Order::Permuted(permutation) => (ORDER_PERMUTED, permutation.holes()),
            Order::Mixed => (ORDER_MIXED, 0),
        };
        out.push(order);
        for number in [holes, part.range.min, part.range.max, part.n_keys] {
            out.extend(number.to_le_bytes());
        }
        out.extend((part.sections.len() as u32).to_le_bytes());
        for section in &part.sections {
            out.extend(section.first_page.to_le_bytes());
            out.extend(section.n_pages.to_le_bytes());
            let shape = section.filter.map(|filter| filter.shape);
            out.extend(section.filter.map_or(0, |filter| filter.first_page).to_le_bytes());
            out.extend(shape.map_or(0, |shape| shape.seed).to_le_bytes());
            out.extend(shape.map_or(0, |shape| shape.segment_length).to_le_bytes());
            out.extend(shape.map_or(0, |shape| shape.segment_count_length).to_le_bytes());
            out.extend(shape.map_or(0, |shape| shape.n_bytes).to_le_bytes());
            for first in &part.page_firsts[section.offset..section.offset + section.n_pages as usize] {
                out.extend_from_slice(&first.wide().to_le_bytes()[..W::BYTES]);
            }
        }
    }
    out
}

/// Reads what [`encode`] wrote. `None`: it is something else. Counts are believed only as far as there are bytes.
pub(super) fn decode<W: Kind>(bytes: &[u8]) -> Option<Vec<Part<W>>> {
    let mut input = Input(bytes);
    let n_parts = input.half()?;
    let mut parts = Vec::new();
    for _ in 0..n_parts {
        parts.push(decode_part(&mut input)?);
    }
    parts.shrink_to_fit();
    input.0.is_empty().then_some(parts)
}

fn decode_part<W: Kind>(input: &mut Input<'_>) -> Option<Part<W>> {
    let order = input.take(1)?[0];
    let (holes, min, max, n_keys) = (input.word()?, input.word()?, input.word()?, input.word()?);
    let order = match order {
        ORDER_PERMUTED => Order::Permuted(Permutation::new(holes)),
        ORDER_MIXED => Order::Mixed,
        _ => return None,
    };
    let mut part = Part::new(order, KeyRange { min, max });
    part.n_keys = n_keys;
    let mut firsts = Vec::new();
    for _ in 0..input.half()? {
        let (first_page, n_pages, filter_page) = (input.half()?, input.half()?, input.half()?);
        let shape = Shape {
            seed: input.word()?,
            segment_length: input.half()?,
            segment_count_length: input.half()?,
            n_bytes: input.half()?,
        };
        let has_filter = shape.n_bytes > 0;
        if n_pages == 0 || first_page.checked_add(n_pages).is_none() || has_filter && !shape.is_sound() {
            return None;
        }
        firsts.clear();
        for _ in 0..n_pages {
            firsts.push(W::narrow(u128::from_le_bytes(array(input.take(W::BYTES)?))));
        }
        let filter = has_filter.then_some(FilterPlace { first_page: filter_page, shape });
        part.add_section(first_page, &firsts, filter);
    }
    part.shrink();
    part.page_firsts.is_sorted().then_some(part)
}

/// Bytes that are still to be read.
struct Input<'b>(&'b [u8]);

impl<'b> Input<'b> {
    fn take(&mut self, n: usize) -> Option<&'b [u8]> {
        let (taken, left) = self.0.split_at_checked(n)?;
        self.0 = left;
        Some(taken)
    }

    fn word(&mut self) -> Option<u64> {
        self.take(size_of::<u64>()).map(|bytes| u64::from_le_bytes(array(bytes)))
    }

    fn half(&mut self) -> Option<u32> {
        self.take(size_of::<u32>()).map(|bytes| u32::from_le_bytes(array(bytes)))
    }
}
