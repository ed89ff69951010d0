//! Under which name is a file loaded? The table's and that of its rows' numbers: a changed file is another producer.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::records;
use crate::cli::args::InputFormat;

/// What a producer's name may have.
const MAX_PRODUCER_CHARS: usize = 128;

/// The version of how rows of Parquet and Arrow are numbered: as they stand in the file.
const ROW_RULE: u32 = 1;

/// The SHA-256 of a file, in hexadecimal.
pub(super) fn content_hash(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
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
/// number whatever chunk it is in. A long or unusual table name is shortened, never the rest.
pub(super) fn producer_id(table: &str, content: &str, format: InputFormat) -> String {
    let form = match format {
        InputFormat::Parquet => format!("parquet.{ROW_RULE}"),
        InputFormat::Arrow => format!("arrow.{ROW_RULE}"),
        InputFormat::Csv => format!("csv.{}", records::RULE),
        InputFormat::Ndjson => format!("ndjson.{}", records::RULE),
    };
    let space = MAX_PRODUCER_CHARS.saturating_sub(content.len() + form.len() + 2);
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let table: String = table.chars().map(allowed).take(space).collect();
    format!("{table}:{content}:{form}")
}
