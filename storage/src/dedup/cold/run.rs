//! What is kept of a run in memory? Where its pages begin, and the filters, unless memory is short of them.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;

use super::directory::{FilterPlace, Part, Parts, Section, decode};
use super::header::{Header, salt};
use super::kind::Kind;
use super::pages::{PageFile, damaged};
use crate::dedup::canonical::KeySpec;
use crate::dedup::layer::Span;
use crate::dedup::word::MixSecret;
use crate::error::Result;
use crate::memory::{Charge, MemoryLedger, Share};

/// All keys of one range of the log, sorted, in a file that never changes. The file may be deleted while a run of it lives.
#[derive(Debug)]
pub struct ColdRun {
    pub(super) file: Arc<RunFile>,
    /// `None`: they are read from the file, three pages for a key.
    filters: ArcSwapOption<Filters>,
    /// For the filters, from before they are read. Given back as soon as they are let go: a look-up that is under way may hold them a
    /// moment longer.
    filters_charge: Mutex<Charge>,
}

/// What a run has of its file.
#[derive(Debug)]
pub(super) struct RunFile {
    pub(super) pages: PageFile,
    pub(super) parts: Parts,
    pub(super) secret: MixSecret,
    span: Span,
    n_keys: u64,
    n_bytes: u64,
    /// What its filters take in memory; 0: no section has one.
    filter_bytes: u64,
    /// For the directory.
    charge: Charge,
}

/// The bytes of a run's filters, by part and section. A section without a filter has none.
#[derive(Debug)]
struct Filters {
    parts: Vec<Vec<Box<[u8]>>>,
}

impl ColdRun {
    /// Opens the run at `path`, with its directory in memory, charged to [`Share::Keys`], and its filters on disk:
    /// [`crate::dedup::KeyIndex::load_filters`] brings them into memory, as far as there is some. Its keys are of the table that `spec` is
    /// of; `epoch` is as in [`crate::dedup::KeyIndex::close_layer`]. Pages with keys are proven when they are asked for.
    ///
    /// # Errors
    /// `LOG_DAMAGED` and `LOG_UNKNOWN_VERSION` name the file. `FOLDER_UNUSABLE`: it cannot be read.
    pub fn open(path: &Path, spec: &KeySpec, ledger: &Arc<MemoryLedger>, epoch: u32) -> Result<Self> {
        let file = Arc::new(RunFile::open(path, spec, ledger, epoch)?);
        let filters_charge = Mutex::new(ledger.charge(Share::Keys, 0));
        Ok(Self { file, filters: ArcSwapOption::empty(), filters_charge })
    }

    /// Reads the filters into memory, if they are not there. Blocks.
    ///
    /// # Errors
    /// As [`ColdRun::open`]; the run asks its file for them then, as before.
    pub(in crate::dedup) fn load_filters(&self) -> Result<()> {
        if !self.is_mapped() {
            return Ok(());
        }
        self.filters_charge.lock().resize(self.file.filter_bytes);
        let filters = match &self.file.parts {
            Parts::Integers(parts) => self.file.read_filters(parts),
            Parts::Hashes(parts) => self.file.read_filters(parts),
        };
        let filters = filters.inspect_err(|_| self.unload_filters())?;
        self.filters.store(Some(Arc::new(filters)));
        Ok(())
    }

    /// From now on the file is asked for the filters, by everybody who holds this run.
    pub(in crate::dedup) fn unload_filters(&self) {
        self.filters.store(None);
        self.filters_charge.lock().resize(0);
    }

    pub fn path(&self) -> &Path {
        self.file.pages.path()
    }

    /// The first entry of the log whose keys it holds.
    pub fn from(&self) -> u64 {
        self.file.span.from
    }

    /// The last one.
    pub fn through(&self) -> u64 {
        self.file.span.through
    }

    pub(in crate::dedup) fn epoch(&self) -> u32 {
        self.file.span.epoch
    }

    pub(super) fn span(&self) -> Span {
        self.file.span
    }

    pub fn n_keys(&self) -> u64 {
        self.file.n_keys
    }

    /// Bytes of its file.
    pub fn disk_bytes(&self) -> u64 {
        self.file.n_bytes
    }

    /// Bytes of all allocations.
    pub fn bytes(&self) -> usize {
        self.file.directory_bytes() + self.filter_bytes()
    }

    /// Of them, what stays when the filters go.
    pub(in crate::dedup) fn directory_bytes(&self) -> usize {
        self.file.directory_bytes()
    }

    /// Of them, what goes when the filters do.
    pub(in crate::dedup) fn filter_bytes(&self) -> usize {
        if self.filters.load().is_some() { self.file.filter_bytes as usize } else { 0 }
    }

    /// What its filters take when they are in memory.
    pub(in crate::dedup) fn filter_bytes_in_memory(&self) -> u64 {
        self.file.filter_bytes
    }

    /// Whether it has filters, and they are read from the file.
    pub fn is_mapped(&self) -> bool {
        self.file.filter_bytes > 0 && self.filters.load().is_none()
    }

    /// Bytes that the ledger holds for it.
    pub(in crate::dedup) fn charged(&self) -> u64 {
        self.file.charge.bytes() + self.filters_charge.lock().bytes()
    }

    /// Calls `found` with the rows, of `rows`, whose keys are in the run, and takes those out of `rows`.
    ///
    /// # Errors
    /// As [`crate::dedup::KeyIndex::look_up`].
    pub(in crate::dedup) fn probe<K: Kind>(
        &self,
        keys: &[K],
        rows: &mut Vec<u32>,
        mut found: impl FnMut(u32),
    ) -> Result<()> {
        // One look for all parts: they may be let go meanwhile.
        let filters = self.filters.load_full();
        for (number, part) in K::parts_of(&self.file.parts).iter().enumerate() {
            if rows.is_empty() {
                break;
            }
            let filters = filters.as_ref().and_then(|filters| filters.parts.get(number));
            let mut hits = self.file.probe(part, filters.map(Vec::as_slice), keys, rows)?;
            hits.sort_unstable();
            hits.iter().for_each(|row| found(*row));
            rows.retain(|row| hits.binary_search(row).is_err());
        }
        Ok(())
    }
}

impl RunFile {
    fn open(path: &Path, spec: &KeySpec, ledger: &Arc<MemoryLedger>, epoch: u32) -> Result<Self> {
        let pages = PageFile::open(path)?;
        let header = Header::read(&pages)?;
        let kind = if spec.is_integer() { u64::NUMBER } else { u128::NUMBER };
        if header.kind != kind {
            return Err(damaged(path, "holds keys of another kind than its table"));
        }
        if header.salt != salt(header.from, header.through, spec.mix_secret()) {
            return Err(damaged(path, "is of another table"));
        }
        let pages = pages.with_salt(header.salt);
        let directory = pages.read_bytes(header.directory_page, header.directory_bytes as usize)?;
        let parts = match spec.is_integer() {
            true => decode(&directory).map(<u64 as Kind>::into_parts),
            false => decode(&directory).map(<u128 as Kind>::into_parts),
        };
        let parts = parts.ok_or_else(|| damaged(path, "has a directory that makes no sense"))?;
        let mut file = Self {
            pages,
            parts,
            secret: spec.mix_secret(),
            span: Span { from: header.from, through: header.through, epoch },
            n_keys: header.n_keys,
            n_bytes: u64::from(header.n_pages) * super::pages::PAGE_BYTES as u64,
            filter_bytes: 0,
            charge: ledger.charge(Share::Keys, 0),
        };
        file.filter_bytes = file.bytes_of_filters();
        file.charge.resize(file.directory_bytes() as u64);
        Ok(file)
    }

    fn directory_bytes(&self) -> usize {
        fn bytes<W: Kind>(parts: &Vec<Part<W>>) -> usize {
            parts.capacity() * size_of::<Part<W>>() + parts.iter().map(Part::bytes).sum::<usize>()
        }
        match &self.parts {
            Parts::Integers(parts) => bytes(parts),
            Parts::Hashes(parts) => bytes(parts),
        }
    }

    fn bytes_of_filters(&self) -> u64 {
        /// Bytes of all allocations of [`Filters`].
        fn bytes<W: Kind>(parts: &[Part<W>]) -> u64 {
            let filters: u64 = parts.iter().map(Part::filter_bytes).sum();
            let n_sections: usize = parts.iter().map(|part| part.sections().len()).sum();
            let lists = parts.len() * size_of::<Vec<Box<[u8]>>>() + n_sections * size_of::<Box<[u8]>>();
            if filters == 0 { 0 } else { filters + lists as u64 }
        }
        match &self.parts {
            Parts::Integers(parts) => bytes(parts),
            Parts::Hashes(parts) => bytes(parts),
        }
    }

    fn read_filters<W: Kind>(&self, parts: &[Part<W>]) -> Result<Filters> {
        let mut of_parts = Vec::with_capacity(parts.len());
        for part in parts {
            let mut of_sections = Vec::with_capacity(part.sections().len());
            for section in part.sections() {
                of_sections.push(self.read_filter(section)?);
            }
            of_parts.push(of_sections);
        }
        Ok(Filters { parts: of_parts })
    }

    /// Empty if the section has none.
    fn read_filter(&self, section: &Section) -> Result<Box<[u8]>> {
        let Some(FilterPlace { first_page, shape }) = section.filter else { return Ok(Box::default()) };
        Ok(self.pages.read_bytes(first_page, shape.n_bytes as usize)?.into_boxed_slice())
    }
}
