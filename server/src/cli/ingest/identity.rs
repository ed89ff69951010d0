//! Under which name is a file loaded? The table's and that of its rows' numbers: a changed file is another producer.

use std::fs::{File, Metadata};
use std::io::{Read, Seek};
use std::path::Path;
use std::time::SystemTime;

use anyhow::bail;
use sha2::{Digest, Sha256};

use crate::cli::args::InputFormat;
use crate::formats::records;

/// What a producer's name may have.
const MAX_PRODUCER_CHARS: usize = 128;

/// The version of how rows of Parquet and Arrow are numbered: as they stand in the file.
const ROW_RULE: u32 = 1;

/// A file is read twice, for its hash and for its rows; what is no regular file is empty at the second time, or another.
pub(super) fn check_regular(path: &Path) -> anyhow::Result<()> {
    // Not by opening it: a named pipe would wait for its writer.
    let metadata = std::fs::metadata(path)?;
    if metadata.is_dir() {
        bail!("this is a folder: name the files in it");
    }
    if !metadata.is_file() {
        bail!(
            "this is no regular file and can be read only once: pipe it in as '-' (with --format csv or ndjson), or \
             save it to a file first"
        );
    }
    Ok(())
}

/// A file as it was when it was hashed. It stays open, so that what is loaded is what was hashed, also when another file takes
/// its name meanwhile.
pub(super) struct Original {
    file: File,
    content: String,
    version: Version,
}

/// What tells that a file was written to, without reading it again.
type Version = (u64, Option<SystemTime>);

fn version(metadata: &Metadata) -> Version {
    (metadata.len(), metadata.modified().ok())
}

impl Original {
    /// Opens a file and reads it once, for its hash.
    pub(super) fn open(path: &Path) -> std::io::Result<Self> {
        let mut file = File::open(path)?;
        // Before it is hashed: what is written from here on shows.
        let version = version(&file.metadata()?);
        let content = content_hash(&mut file)?;
        Ok(Self { file, content, version })
    }

    /// The SHA-256 of the file, in hexadecimal.
    pub(super) fn content(&self) -> &str {
        &self.content
    }

    /// The file from its beginning. All readers have one place in it: only one at a time.
    pub(super) fn reader(&self) -> std::io::Result<File> {
        let mut file = self.file.try_clone()?;
        file.rewind()?;
        Ok(file)
    }

    /// Whether somebody wrote to the file since it was opened.
    pub(super) fn has_changed(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| version(&metadata) != self.version)
    }
}

fn content_hash(file: &mut File) -> std::io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            n => hash.update(&buffer[..n]),
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The name of a file's producer: `table:hash:form.version`, all that the numbers of its rows depend on. The same bytes have other rows as CSV
/// than as NDJSON, and may have others under another version of the rules. The size of chunks is not in it: a row has its
/// number whatever chunk it is in. What stands between the fields of CSV is: a quote begins a field, within which a line break ends no row.
/// A long or unusual table name is shortened, never the rest.
pub(super) fn producer_id(table: &str, content: &str, format: InputFormat, delimiter: u8) -> String {
    let form = match format {
        InputFormat::Parquet => format!("parquet.{ROW_RULE}"),
        InputFormat::Arrow => format!("arrow.{ROW_RULE}"),
        InputFormat::Csv if delimiter != b',' => format!("csv-{delimiter:02x}.{}", records::RULE),
        InputFormat::Csv => format!("csv.{}", records::RULE),
        InputFormat::Ndjson => format!("ndjson.{}", records::RULE),
    };
    let space = MAX_PRODUCER_CHARS.saturating_sub(content.len() + form.len() + 2);
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let table: String = table.chars().map(allowed).take(space).collect();
    format!("{table}:{content}:{form}")
}
