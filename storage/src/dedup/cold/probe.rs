//! Which of a batch's keys are in a part of a run? Filters first, then each page that may hold some, once.

use super::blocks::contains;
use super::directory::{FilterPlace, Part};
use super::kind::Kind;
use super::pages::{PAGE_BYTES, PAYLOAD_BYTES, Page, damaged};
use super::run::RunFile;
use crate::dedup::word::{LANES, prefetch};
use crate::error::Result;
use crate::fuse::Places;

/// A key that may be in a section.
#[derive(Debug, Clone, Copy)]
struct Candidate<W> {
    row: u32,
    word: W,
    section: usize,
}

/// A candidate that the filter has not seen yet.
#[derive(Debug, Clone, Copy)]
struct Unfiltered<W> {
    candidate: Candidate<W>,
    filter: FilterPlace,
    places: Places,
}

/// A byte of a filter that stands in the file.
#[derive(Debug, Clone, Copy)]
struct FilterByte {
    page: u32,
    at: u32,
    /// Whose.
    unfiltered: usize,
}

impl RunFile {
    /// The rows, of `rows`, whose keys are in the part. `filters` are those of its sections, if they are in memory.
    pub(super) fn probe<K: Kind>(
        &self,
        part: &Part<K>,
        filters: Option<&[Box<[u8]>]>,
        keys: &[K],
        rows: &[u32],
    ) -> Result<Vec<u32>> {
        let mut admitted = Vec::new();
        let mut unfiltered = Vec::new();
        for batch in rows.chunks(LANES) {
            self.filter_batch(part, filters, keys, batch, &mut admitted, &mut unfiltered);
        }
        self.filter_on_disk(&unfiltered, &mut admitted)?;
        self.read_pages(part, &admitted)
    }

    /// Sorts a batch's rows: those that a filter in memory denies are gone, those that it admits and those without a filter are in
    /// `admitted`, those whose filter is on disk in `unfiltered`.
    fn filter_batch<K: Kind>(
        &self,
        part: &Part<K>,
        filters: Option<&[Box<[u8]>]>,
        keys: &[K],
        rows: &[u32],
        admitted: &mut Vec<Candidate<K>>,
        unfiltered: &mut Vec<Unfiltered<K>>,
    ) {
        let n_before = unfiltered.len();
        for row in rows {
            let key = keys[*row as usize];
            if !K::is_in(key, part.range) {
                continue;
            }
            let word = K::word_of(key, &part.order, self.secret);
            let Some(section) = part.section_of(word) else { continue };
            let candidate = Candidate { row: *row, word, section };
            let Some(filter) = part.sections()[section].filter else {
                admitted.push(candidate);
                continue;
            };
            let places = filter.shape.places(K::filter_word(word, self.secret));
            if let Some(filters) = filters {
                let start = filters[section].as_ptr();
                places.at.iter().for_each(|at| prefetch(start.wrapping_add(*at as usize)));
            }
            unfiltered.push(Unfiltered { candidate, filter, places });
        }
        let Some(filters) = filters else { return };
        let of_batch = unfiltered.drain(n_before..).filter(|one| one.places.admits(&filters[one.candidate.section]));
        admitted.extend(of_batch.map(|one| one.candidate));
    }

    /// Reads the filters' pages that `unfiltered` needs, each once.
    fn filter_on_disk<K: Kind>(&self, unfiltered: &[Unfiltered<K>], admitted: &mut Vec<Candidate<K>>) -> Result<()> {
        let byte = |unfiltered: usize, first_page: u32, at: u32| FilterByte {
            page: first_page.saturating_add(at / PAYLOAD_BYTES as u32),
            at: at % PAYLOAD_BYTES as u32,
            unfiltered,
        };
        let bytes_of = |(i, one): (usize, &Unfiltered<K>)| one.places.at.map(|at| byte(i, one.filter.first_page, at));
        let mut bytes: Vec<FilterByte> = unfiltered.iter().enumerate().flat_map(bytes_of).collect();
        bytes.sort_unstable_by_key(|byte| byte.page);
        let mut left: Vec<u8> = unfiltered.iter().map(|one| one.places.fingerprint).collect();
        let mut page: Box<Page> = Box::new([0; PAGE_BYTES]);
        for bytes in bytes.chunk_by(|a, b| a.page == b.page) {
            let payload = self.pages.read(bytes[0].page, &mut page)?;
            bytes.iter().for_each(|byte| left[byte.unfiltered] ^= payload[byte.at as usize]);
        }
        admitted.extend(unfiltered.iter().zip(left).filter(|(_, left)| *left == 0).map(|(one, _)| one.candidate));
        Ok(())
    }

    /// Reads the pages that can hold the candidates, each once, and returns the rows that are in them.
    fn read_pages<K: Kind>(&self, part: &Part<K>, candidates: &[Candidate<K>]) -> Result<Vec<u32>> {
        let page_of = |one: &Candidate<K>| part.page_of(&part.sections()[one.section], one.word);
        let mut asked: Vec<(u32, Candidate<K>)> = candidates.iter().map(|one| (page_of(one), *one)).collect();
        asked.sort_unstable_by_key(|(page, _)| *page);
        let mut hits = Vec::new();
        let mut page: Box<Page> = Box::new([0; PAGE_BYTES]);
        for asked in asked.chunk_by(|(a, _), (b, _)| a == b) {
            let payload = self.pages.read(asked[0].0, &mut page)?;
            for (_, one) in asked {
                let is_there = contains(payload, one.word);
                if is_there.map_err(|_| damaged(self.pages.path(), "has a page that makes no sense"))? {
                    hits.push(one.row);
                }
            }
        }
        Ok(hits)
    }
}
