//! When did the entries come that a file has rows of? Pairs of sequence and stamp, as text in the file's footer.
//!
//! ```text
//! Z85( version u8 | zstd( n | n differences of sequences | n differences of stamps ) )
//! ```
//! Numbers are variable-length integers as in Protocol Buffers, differences zigzag. Neighbours differ by little, so that an entry takes
//! about three characters.

use std::io::Read;

use prost::encoding::{decode_varint, encode_varint};

use crate::error::{Code, Error, Result};

/// The key of a file's footer under which the text stands.
pub const STAMPS: &str = "tidewater.stamps";

const VERSION: u8 = 1;

const ZSTD_LEVEL: i32 = 3;

/// What a text may decompress to: more than the entries of the largest file need.
const MAX_RAW_BYTES: u64 = 512 << 20;

/// An entry takes at least a byte for each number.
const MIN_PAIR_BYTES: usize = 2;

/// The text of pairs (commit_seq, stamp in microseconds since 1970); sequences ascend, none is twice.
pub fn encode(stamps: &[(i64, i64)]) -> Result<String> {
    let mut raw = Vec::with_capacity(8 + 4 * stamps.len());
    encode_varint(stamps.len() as u64, &mut raw);
    write_differences(stamps.iter().map(|(seq, _)| *seq), &mut raw);
    write_differences(stamps.iter().map(|(_, stamp)| *stamp), &mut raw);
    let packed = zstd::bulk::compress(&raw, ZSTD_LEVEL)
        .map_err(|e| Error::internal(format!("stamps cannot be compressed: {e}")).source(e))?;
    let mut bytes = Vec::with_capacity(1 + packed.len());
    bytes.push(VERSION);
    bytes.extend(packed);
    Ok(z85::encode(bytes))
}

/// Reads what [`encode`] wrote. `LOG_UNKNOWN_VERSION` for a newer form, `FILE_DAMAGED` for anything else.
pub fn decode(text: &str) -> Result<Vec<(i64, i64)>> {
    let bytes = z85::decode(text).map_err(|e| damaged(&e.to_string()))?;
    let packed = match bytes.split_first() {
        Some((&VERSION, packed)) => packed,
        Some((version, _)) => {
            return Err(Error::new(
                Code::LogUnknownVersion,
                format!("the stamps of a file have version {version}, this program reads {VERSION}"),
            ));
        }
        None => return Err(damaged("they are empty")),
    };
    let mut raw = Vec::new();
    let unpacked = zstd::stream::read::Decoder::new(packed).map_err(|e| damaged(&e.to_string()))?;
    unpacked.take(MAX_RAW_BYTES).read_to_end(&mut raw).map_err(|e| damaged(&e.to_string()))?;

    let mut rest = raw.as_slice();
    let n = decode_varint(&mut rest).map_err(|e| damaged(&e.to_string()))?;
    let n = usize::try_from(n).ok().filter(|n| n.checked_mul(MIN_PAIR_BYTES).is_some_and(|least| least <= rest.len()));
    let n = n.ok_or_else(|| damaged("there are fewer than they say"))?;
    let seqs = read_differences(n, &mut rest)?;
    let stamps = read_differences(n, &mut rest)?;
    if !rest.is_empty() {
        return Err(damaged("there are more than they say"));
    }
    if !seqs.is_sorted_by(|a, b| a < b) {
        return Err(damaged("the sequences do not ascend"));
    }
    Ok(seqs.into_iter().zip(stamps).collect())
}

fn write_differences(values: impl Iterator<Item = i64>, out: &mut Vec<u8>) {
    let mut last = 0_i64;
    for value in values {
        let difference = value.wrapping_sub(last);
        // Zigzag: small numbers of both signs become small ones.
        encode_varint(((difference << 1) ^ (difference >> 63)).cast_unsigned(), out);
        last = value;
    }
}

fn read_differences(n: usize, bytes: &mut &[u8]) -> Result<Vec<i64>> {
    let mut values = Vec::with_capacity(n);
    let mut last = 0_i64;
    for _ in 0..n {
        let coded = decode_varint(bytes).map_err(|e| damaged(&e.to_string()))?;
        let difference = (coded >> 1).cast_signed() ^ -(coded & 1).cast_signed();
        last = last.wrapping_add(difference);
        values.push(last);
    }
    Ok(values)
}

fn damaged(how: &str) -> Error {
    Error::new(Code::FileDamaged, format!("the stamps of a file are damaged: {how}"))
}
