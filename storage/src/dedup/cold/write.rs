//! How is a run written? Word by word, ascending: pages as they fill, a filter after each section, the directory last.
//!
//! What it takes in memory is one section's filter in the making, and eight bytes for each page.

use std::path::Path;

use super::blocks::PageBuilder;
use super::directory::{FilterPlace, Part, encode};
use super::header::{Header, salt};
use super::kind::{Kind, Order};
use super::pages::{PAGE_BYTES, PageWriter};
use crate::dedup::layer::Span;
use crate::dedup::open::KeyRange;
use crate::dedup::word::MixSecret;
use crate::error::Result;
use crate::fuse::Shape;

/// Keys of a section, which have one filter: it is made in two megabytes, whatever the size of the run. Larger filters would take three
/// parts of a hundred less. Tests have many sections of few keys.
pub(super) const SECTION_KEYS: usize = if cfg!(test) { 4096 } else { 1 << 16 };

/// What a section's words and the making of its filter take, for a run of `n_keys`: at most 34 bytes a key.
pub(super) fn scratch_bytes(n_keys: u64) -> u64 {
    34 * n_keys.min(SECTION_KEYS as u64)
}

/// A filter has about 1.19 bytes a key. One that is larger than the pages that it guards is not made: such keys lie so close together
/// that the keys of a batch meet few pages.
pub(super) const FILTER_BYTES_PER_100_KEYS: usize = 119;

/// A run that is being written.
#[derive(Debug)]
pub(super) struct RunWriter {
    pages: PageWriter,
    span: Span,
    salt: u64,
    secret: MixSecret,
}

impl RunWriter {
    pub(super) fn create(path: &Path, span: Span, secret: MixSecret) -> Result<Self> {
        let salt = salt(span.from, span.through, secret);
        Ok(Self { pages: PageWriter::create(path, salt)?, span, salt, secret })
    }

    /// Writes all of `words`, which ascend and are distinct, as one part.
    pub(super) fn write_part<W: Kind>(
        &mut self,
        order: Order,
        range: KeyRange,
        words: impl Iterator<Item = Result<W>>,
    ) -> Result<Part<W>> {
        let mut writer = PartWriter {
            secret: self.secret,
            part: Part::new(order, range),
            page: PageBuilder::new(),
            first_page: self.pages.n_pages(),
            page_firsts: Vec::new(),
            filter_words: Vec::new(),
            n_keys: 0,
            pages: &mut self.pages,
        };
        for word in words {
            writer.push(word?)?;
        }
        writer.end_section()?;
        writer.part.shrink();
        Ok(writer.part)
    }

    /// Makes the file whole, and syncs it.
    pub(super) fn finish<W: Kind>(mut self, parts: &[Part<W>]) -> Result<()> {
        let directory = encode(parts);
        let directory_page = self.pages.put_bytes(&directory)?;
        let header = Header {
            kind: W::NUMBER,
            salt: self.salt,
            from: self.span.from,
            through: self.span.through,
            n_keys: parts.iter().map(|part| part.n_keys).sum(),
            n_pages: self.pages.n_pages(),
            directory_page,
            directory_bytes: directory.len() as u64,
        };
        self.pages.finish(&header.encode())
    }
}

struct PartWriter<'w, W> {
    pages: &'w mut PageWriter,
    secret: MixSecret,
    part: Part<W>,
    page: PageBuilder<W>,
    /// Of the section that is being written.
    first_page: u32,
    page_firsts: Vec<W>,
    filter_words: Vec<u64>,
    n_keys: usize,
}

impl<W: Kind> PartWriter<'_, W> {
    fn push(&mut self, word: W) -> Result<()> {
        if self.n_keys == SECTION_KEYS {
            self.end_section()?;
        }
        if !self.page.push(word) {
            self.end_page()?;
            // An empty page has place for any word.
            self.page.push(word);
        }
        let filter_word = W::filter_word(word, self.secret);
        if self.filter_words.last() != Some(&filter_word) {
            self.filter_words.push(filter_word);
        }
        self.n_keys += 1;
        self.part.n_keys += 1;
        Ok(())
    }

    fn end_page(&mut self) -> Result<()> {
        let Some(first) = self.page.first() else { return Ok(()) };
        self.page_firsts.push(first);
        self.pages.put(self.page.finish())?;
        self.page.clear();
        Ok(())
    }

    fn end_section(&mut self) -> Result<()> {
        self.end_page()?;
        let pays = self.filter_words.len() * FILTER_BYTES_PER_100_KEYS / 100 < self.page_firsts.len() * PAGE_BYTES;
        let mut filter = None;
        if pays && let Some((shape, bytes)) = Shape::build(&self.filter_words) {
            filter = Some(FilterPlace { first_page: self.pages.put_bytes(&bytes)?, shape });
        }
        self.part.add_section(self.first_page, &self.page_firsts, filter);
        self.first_page = self.pages.n_pages();
        self.page_firsts.clear();
        self.filter_words.clear();
        self.n_keys = 0;
        Ok(())
    }
}
