//! How is what a disk gives back known to be what was written? Files of pages, each with its own checksum.
//!
//! A page is 4 KiB: 4,088 bytes, then their XXH3-64, seeded by the file's salt and the page's number. So one read brings a page and
//! proves it, and a page of another place or of another file is found out too.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::error::{Code, Error, Result};

pub(super) const PAGE_BYTES: usize = 4096;
/// What a page holds beside its checksum.
pub(super) const PAYLOAD_BYTES: usize = PAGE_BYTES - size_of::<u64>();

pub(super) type Page = [u8; PAGE_BYTES];

/// Pages are written in blocks of this many bytes.
const WRITE_BYTES: usize = 256 << 10;

/// An error for a file that is not what was written.
pub(super) fn damaged(path: &Path, how: &str) -> Error {
    Error::new(Code::LogDamaged, format!("the key run {} {how}", path.display())).hint("restore the file from a backup")
}

/// An error for a file that cannot be read, is missing or too short.
pub(super) fn unread(path: &Path, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => return damaged(path, "is cut short").source(error),
        // It is on record: its keys are gone.
        io::ErrorKind::NotFound => return damaged(path, "is missing").source(error),
        _ => {}
    }
    Error::new(Code::FolderUnusable, format!("the key run {} cannot be read: {error}", path.display()))
        .hint("check the disk and the rights of the data folder")
        .source(error)
}

fn unwritten(path: &Path, error: io::Error) -> Error {
    let code = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Code::DiskFull,
        _ => Code::FolderUnusable,
    };
    Error::new(code, format!("the key run {} cannot be written: {error}", path.display()))
        .hint("check the disk's free space and the rights of the data folder")
        .source(error)
}

fn checksum(payload: &[u8], salt: u64, number: u32) -> [u8; 8] {
    xxh3_64_with_seed(payload, salt.wrapping_add(u64::from(number))).to_le_bytes()
}

/// A page of up to [`PAYLOAD_BYTES`], filled with zeros.
fn sealed(payload: &[u8], salt: u64, number: u32) -> Page {
    let mut page = [0; PAGE_BYTES];
    page[..payload.len()].copy_from_slice(payload);
    let sum = checksum(&page[..PAYLOAD_BYTES], salt, number);
    page[PAYLOAD_BYTES..].copy_from_slice(&sum);
    page
}

fn offset(number: u32) -> u64 {
    u64::from(number) * PAGE_BYTES as u64
}

/// A file of pages that is read. Shared by all threads: reads have no place of their own.
#[derive(Debug)]
pub(super) struct PageFile {
    file: File,
    path: PathBuf,
    salt: u64,
}

impl PageFile {
    /// The file at `path`, whose pages have no salt until [`PageFile::with_salt`].
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| unread(path, e))?;
        Ok(Self { file, path: path.to_owned(), salt: 0 })
    }

    pub(super) fn with_salt(self, salt: u64) -> Self {
        Self { salt, ..self }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The whole file, in pages; an error when the last one is cut.
    pub(super) fn n_pages(&self) -> Result<u32> {
        let n_bytes = self.file.metadata().map_err(|e| unread(&self.path, e))?.len();
        let n_pages = n_bytes / PAGE_BYTES as u64;
        match u32::try_from(n_pages) {
            Ok(n_pages) if n_bytes.is_multiple_of(PAGE_BYTES as u64) => Ok(n_pages),
            _ => Err(damaged(&self.path, &format!("has {n_bytes} bytes, which is not a number of pages"))),
        }
    }

    /// Reads page `number` into `page` without proving it: for a header that says first of which version it is.
    pub(super) fn read_unproven(&self, number: u32, page: &mut Page) -> Result<()> {
        self.file.read_exact_at(page, offset(number)).map_err(|e| unread(&self.path, e))
    }

    /// The payload of a page that was read, if it is what was written.
    pub(super) fn proven<'p>(&self, number: u32, page: &'p Page) -> Result<&'p [u8]> {
        let (payload, sum) = page.split_at(PAYLOAD_BYTES);
        if sum != checksum(payload, self.salt, number).as_slice() {
            return Err(damaged(&self.path, &format!("does not match its checksum at byte {}", offset(number))));
        }
        Ok(payload)
    }

    /// Reads page `number` into `page` and proves it.
    pub(super) fn read<'p>(&self, number: u32, page: &'p mut Page) -> Result<&'p [u8]> {
        self.read_unproven(number, page)?;
        self.proven(number, page)
    }

    /// `n_bytes` that stand in the payloads from page `first` on.
    pub(super) fn read_bytes(&self, first: u32, n_bytes: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut page = [0; PAGE_BYTES];
        let mut number = first;
        while bytes.len() < n_bytes {
            let payload = self.read(number, &mut page)?;
            bytes.extend_from_slice(&payload[..PAYLOAD_BYTES.min(n_bytes - bytes.len())]);
            number = number.checked_add(1).ok_or_else(|| damaged(&self.path, "has too many pages"))?;
        }
        bytes.shrink_to_fit();
        Ok(bytes)
    }
}

/// A file of pages that is written, from page 1 on; page 0 comes last and makes it whole.
#[derive(Debug)]
pub(super) struct PageWriter {
    out: BufWriter<File>,
    path: PathBuf,
    salt: u64,
    next: u32,
}

impl PageWriter {
    /// What stands at `path` is overwritten: a job that failed may have left it.
    pub(super) fn create(path: &Path, salt: u64) -> Result<Self> {
        let opened = OpenOptions::new().write(true).create(true).truncate(true).open(path);
        let file = opened.map_err(|e| unwritten(path, e))?;
        let mut writer =
            Self { out: BufWriter::with_capacity(WRITE_BYTES, file), path: path.to_owned(), salt, next: 0 };
        // Zeros: not a header, until there is one.
        writer.write(&[0; PAGE_BYTES])?;
        Ok(writer)
    }

    /// Pages so far, which is the number that the next one will have.
    pub(super) fn n_pages(&self) -> u32 {
        self.next
    }

    fn write(&mut self, page: &Page) -> Result<()> {
        let next = self.next.checked_add(1);
        self.next = next.ok_or_else(|| Error::new(Code::DedupBudget, "a key run has at most 16 TiB"))?;
        self.out.write_all(page).map_err(|e| unwritten(&self.path, e))
    }

    /// Appends a page of up to [`PAYLOAD_BYTES`].
    pub(super) fn put(&mut self, payload: &[u8]) -> Result<()> {
        let page = sealed(payload, self.salt, self.next);
        self.write(&page)
    }

    /// Appends as many pages as `bytes` need. Returns the first one's number.
    pub(super) fn put_bytes(&mut self, bytes: &[u8]) -> Result<u32> {
        let first = self.next;
        for payload in bytes.chunks(PAYLOAD_BYTES) {
            self.put(payload)?;
        }
        Ok(first)
    }

    /// Writes the header, whose page has no salt, and syncs the file. The caller syncs its folder.
    pub(super) fn finish(self, header: &[u8]) -> Result<()> {
        let Self { out, path, .. } = self;
        let file = out.into_inner().map_err(|e| unwritten(&path, e.into_error()))?;
        let written = file.write_all_at(&sealed(header, 0, 0), 0).and_then(|()| file.sync_all());
        written.map_err(|e| unwritten(&path, e))
    }
}
