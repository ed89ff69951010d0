//! What is a file before anything else of it is believed? The first page of a run.
//!
//! ```text
//! magic "TWKR" · version u16 · key kind u8 · 0 u8 · salt u64 · first entry u64 · last entry u64 · n_keys u64
//! n_pages u32 · directory's first page u32 · directory's bytes u64
//! ```
//! All numbers are little-endian. The salt ties the pages to the table's secret and to the range of the log.

use xxhash_rust::xxh3::xxh3_64;

use super::pages::{PAGE_BYTES, PageFile, damaged};
use crate::dedup::word::MixSecret;
use crate::error::{Code, Error, Result};
use crate::ids::array;

const MAGIC: [u8; 4] = *b"TWKR";
pub(super) const VERSION: u16 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: u8,
    pub(super) salt: u64,
    /// The entries of the log whose keys are in the file, both included.
    pub(super) from: u64,
    pub(super) through: u64,
    pub(super) n_keys: u64,
    pub(super) n_pages: u32,
    pub(super) directory_page: u32,
    pub(super) directory_bytes: u64,
}

/// What the pages of a table's run of these entries are salted with.
pub(super) fn salt(from: u64, through: u64, secret: MixSecret) -> u64 {
    let mut bytes = Vec::with_capacity(4 * size_of::<u64>());
    [from, through, secret[0], secret[1]].iter().for_each(|number| bytes.extend(number.to_le_bytes()));
    xxh3_64(&bytes)
}

impl Header {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend(VERSION.to_le_bytes());
        out.extend([self.kind, 0]);
        [self.salt, self.from, self.through, self.n_keys].iter().for_each(|number| out.extend(number.to_le_bytes()));
        out.extend(self.n_pages.to_le_bytes());
        out.extend(self.directory_page.to_le_bytes());
        out.extend(self.directory_bytes.to_le_bytes());
        out
    }

    /// The header of a file whose pages have no salt yet. Its figures fit the file's length.
    pub(super) fn read(file: &PageFile) -> Result<Self> {
        let mut page = [0; PAGE_BYTES];
        file.read_unproven(0, &mut page)?;
        if page[..4] != MAGIC {
            return Err(damaged(file.path(), "is not a key run, or was never finished"));
        }
        let version = u16::from_le_bytes([page[4], page[5]]);
        if version != VERSION {
            let message = format!("the key run {} has version {version}", file.path().display());
            return Err(Error::new(Code::LogUnknownVersion, message)
                .hint(format!("this server reads version {VERSION}; use the release that wrote the file")));
        }
        let bytes = file.proven(0, &page)?;
        let word = |at: usize| u64::from_le_bytes(array(&bytes[at..]));
        let half = |at: usize| u32::from_le_bytes(array(&bytes[at..]));
        let header = Self {
            kind: bytes[6],
            salt: word(8),
            from: word(16),
            through: word(24),
            n_keys: word(32),
            n_pages: half(40),
            directory_page: half(44),
            directory_bytes: word(48),
        };
        let n_pages = file.n_pages()?;
        if header.n_pages != n_pages {
            return Err(damaged(file.path(), &format!("has {n_pages} pages, not {}", header.n_pages)));
        }
        Ok(header)
    }
}
