//! Under which name is a file loaded? The table's and that of its content: a changed file is another producer.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::DEFAULT_CHUNK_ROWS;

/// What a producer's name may have.
const MAX_PRODUCER_CHARS: usize = 128;

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

/// The name of a file's producer: `table:hash`, and the rows of a chunk where they are not the usual ones, because a chunk's
/// number says which rows it has only together with them. A long or unusual table name is shortened, never the hash.
pub fn producer_id(table: &str, content: &str, chunk_rows: u32) -> String {
    let rows = if chunk_rows == DEFAULT_CHUNK_ROWS { String::new() } else { format!("/{chunk_rows}") };
    let space = MAX_PRODUCER_CHARS.saturating_sub(content.len() + rows.len() + 1);
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let table: String = table.chars().map(allowed).take(space).collect();
    format!("{table}:{content}{rows}")
}
