//! How do many sets become one ascending stream? Sources of words, and what merges and sorts them in bounded memory.

use std::sync::Arc;

use super::blocks::PageCursor;
use super::directory::Part;
use super::kind::{Kind, Order};
use super::pages::{PAGE_BYTES, Page, damaged};
use super::run::RunFile;
use crate::dedup::layer::ClosedLayer;
use crate::dedup::open::KeyRange;
use crate::dedup::word::MixSecret;
use crate::error::{Error, Result};

/// Words, ascending, or why there are no more.
pub(super) type Words<'s, W> = Box<dyn Iterator<Item = Result<W>> + 's>;

/// Words that are sorted at once when an order has to change, and what they take.
const SORT_WORDS: usize = if cfg!(test) { 1024 } else { 1 << 20 };
pub(super) const SORT_BYTES: u64 = (SORT_WORDS * size_of::<u64>()) as u64;

/// A set of keys in one order: a layer in memory, or a part of a run on disk.
#[derive(Debug)]
pub(super) enum Source {
    Layer(Arc<ClosedLayer>),
    Part { run: Arc<RunFile>, number: usize },
}

impl Source {
    fn part<W: Kind>(&self) -> Option<(&RunFile, &Part<W>)> {
        match self {
            Source::Layer(_) => None,
            Source::Part { run, number } => W::parts_of(&run.parts).get(*number).map(|part| (&**run, part)),
        }
    }

    pub(super) fn order<W: Kind>(&self) -> Order {
        match self {
            Source::Layer(layer) => W::order_of(layer),
            Source::Part { .. } => self.part::<W>().map_or(Order::Mixed, |(_, part)| part.order.clone()),
        }
    }

    pub(super) fn n_keys<W: Kind>(&self) -> u64 {
        match self {
            Source::Layer(layer) => layer.len() as u64,
            Source::Part { .. } => self.part::<W>().map_or(0, |(_, part)| part.n_keys),
        }
    }

    pub(super) fn range<W: Kind>(&self) -> KeyRange {
        match self {
            Source::Layer(layer) => layer.range(),
            Source::Part { .. } => self.part::<W>().map_or(KeyRange::EMPTY, |(_, part)| part.range),
        }
    }

    /// Its words in its own order.
    pub(super) fn words<W: Kind>(&self) -> Words<'_, W> {
        match self {
            Source::Layer(layer) => Box::new(W::words_of(layer).map(Ok)),
            Source::Part { .. } => match self.part::<W>() {
                Some((run, part)) => Box::new(RunWords::new(run, part)),
                None => Box::new(std::iter::empty()),
            },
        }
    }
}

/// The words of a part of a run, page after page.
struct RunWords<'r, W> {
    run: &'r RunFile,
    pages: Box<dyn Iterator<Item = u32> + 'r>,
    cursor: Option<PageCursor<W>>,
    page: Box<Page>,
}

impl<'r, W: Kind> RunWords<'r, W> {
    fn new(run: &'r RunFile, part: &'r Part<W>) -> Self {
        Self { run, pages: Box::new(part.pages()), cursor: None, page: Box::new([0; PAGE_BYTES]) }
    }

    fn advance(&mut self) -> Result<Option<W>> {
        let malformed = |_| damaged(self.run.pages.path(), "has a page that makes no sense");
        loop {
            if let Some(cursor) = &mut self.cursor
                && let Some(word) = cursor.advance().map_err(malformed)?
            {
                return Ok(Some(word));
            }
            let Some(number) = self.pages.next() else { return Ok(None) };
            let payload = self.run.pages.read(number, &mut self.page)?;
            self.cursor = Some(PageCursor::new(payload).map_err(malformed)?);
        }
    }
}

impl<W: Kind> Iterator for RunWords<'_, W> {
    type Item = Result<W>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}

/// Merges ascending streams; what several have comes once.
pub(super) struct Merge<'s, W> {
    streams: Vec<Words<'s, W>>,
    heads: Vec<Option<W>>,
    last: Option<W>,
}

impl<'s, W: Kind> Merge<'s, W> {
    pub(super) fn new(mut streams: Vec<Words<'s, W>>) -> Result<Self> {
        let heads = streams.iter_mut().map(|stream| stream.next().transpose()).collect::<Result<_>>()?;
        Ok(Self { streams, heads, last: None })
    }

    fn advance(&mut self) -> Result<Option<W>> {
        loop {
            let heads = self.heads.iter().enumerate().filter_map(|(i, head)| head.map(|word| (word, i)));
            let Some((word, i)) = heads.min() else { return Ok(None) };
            self.heads[i] = self.streams[i].next().transpose()?;
            match self.last {
                Some(last) if last == word => {}
                Some(last) if last > word => return Err(Error::internal("keys of a layer or a run do not ascend")),
                _ => {
                    self.last = Some(word);
                    return Ok(Some(word));
                }
            }
        }
    }
}

impl<W: Kind> Iterator for Merge<'_, W> {
    type Item = Result<W>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}

/// The words of permuted sources in mixed order. Mixed words are spread evenly: each pass over the sources takes those that begin with the
/// pass's number, and sorts them.
pub(super) struct Remixed<'s, W> {
    sources: Vec<&'s Source>,
    secret: MixSecret,
    /// The leading bits that a pass is for, and the next pass; `None` after the last.
    n_bits: u32,
    pass: Option<u128>,
    words: std::vec::IntoIter<W>,
}

impl<'s, W: Kind> Remixed<'s, W> {
    pub(super) fn new(sources: Vec<&'s Source>, secret: MixSecret) -> Self {
        let n_keys: u64 = sources.iter().map(|source| source.n_keys::<W>()).sum();
        let n_bits = n_keys.div_ceil(SORT_WORDS as u64).max(1).next_power_of_two().trailing_zeros();
        Self { sources, secret, n_bits, pass: Some(0), words: Vec::new().into_iter() }
    }

    fn advance(&mut self) -> Result<Option<W>> {
        loop {
            if let Some(word) = self.words.next() {
                return Ok(Some(word));
            }
            let Some(pass) = self.pass else { return Ok(None) };
            self.words = self.words_of(pass)?.into_iter();
            self.pass = Some(pass + 1).filter(|next| *next < 1 << self.n_bits);
        }
    }

    fn words_of(&self, pass: u128) -> Result<Vec<W>> {
        let mut words = Vec::new();
        let low_bits = 8 * W::BYTES as u32 - self.n_bits;
        for source in &self.sources {
            let order = source.order::<W>();
            for word in source.words::<W>() {
                let mixed = W::word_of(W::key_of(word?, &order, self.secret), &Order::Mixed, self.secret);
                if mixed.wide().checked_shr(low_bits).unwrap_or(0) == pass {
                    words.push(mixed);
                }
            }
        }
        words.sort_unstable();
        Ok(words)
    }
}

impl<W: Kind> Iterator for Remixed<'_, W> {
    type Item = Result<W>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}
