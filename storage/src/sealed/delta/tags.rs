//! What does `add.tags` say of our own files that Delta has no field for? Shard, checksums, range of the log, schema, sidecar, NULLs.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::str::FromStr;

use crate::error::{Code, Error, Result};
use crate::ids::{CommitSeq, SHARD_ZERO, SchemaId};
use crate::sealed::SegmentFile;
use crate::sealed::file::{Sidecar, Tail};

const SHARD: &str = "tidewater.shard";
const CHECKSUM: &str = "tidewater.checksum";
const MIN_SEQ: &str = "tidewater.min_seq";
const MAX_SEQ: &str = "tidewater.max_seq";
/// When the one entry came that all rows of the file came with, which has no `_commit_seq` then: microseconds since 1970.
const ENTRY: &str = "tidewater.entry_us";
const HOUR: &str = "tidewater.hour";
const SCHEMA: &str = "tidewater.schema";
const SIDECAR: &str = "tidewater.sidecar";
const TAIL: &str = "tidewater.tail";
/// NULLs by column, with commas between. Statistics have none of structs and of columns behind the first 32, and this says how many
/// columns the file has.
const NULLS: &str = "tidewater.nulls";

/// What the tags of a file say.
pub(super) struct Tags {
    pub(super) checksum: u64,
    pub(super) min_seq: CommitSeq,
    pub(super) max_seq: CommitSeq,
    pub(super) entry: Option<(CommitSeq, i64)>,
    pub(super) hour: Option<i64>,
    pub(super) schema: SchemaId,
    pub(super) sidecar: Option<Sidecar>,
    pub(super) tail: Option<Tail>,
    /// One for each column of the file, `_commit_seq` not among them.
    pub(super) nulls: Vec<u64>,
}

/// The tags of `file`.
pub(super) fn tags_of(file: &SegmentFile) -> HashMap<String, Option<String>> {
    let nulls: Vec<String> = file.columns.iter().map(|bounds| bounds.nulls.to_string()).collect();
    let sidecar = file.sidecar.as_ref().map(|s| format!("{}:{}:{:016x}", s.name, s.bytes, s.checksum));
    let tags = [
        (SHARD, Some(SHARD_ZERO.0.to_string())),
        (CHECKSUM, Some(format!("{:016x}", file.checksum))),
        (MIN_SEQ, Some(file.min_seq.to_string())),
        (MAX_SEQ, Some(file.max_seq.to_string())),
        (ENTRY, file.entry.map(|(_, stamp_us)| stamp_us.to_string())),
        (HOUR, file.hour.map(|hour| hour.to_string())),
        (SCHEMA, Some(file.schema.0.to_string())),
        (SIDECAR, sidecar),
        (TAIL, file.tail.map(|tail| format!("{}:{:016x}", tail.bytes, tail.checksum))),
        (NULLS, Some(nulls.join(","))),
    ];
    tags.into_iter().filter(|(_, value)| value.is_some()).map(|(name, value)| (name.to_owned(), value)).collect()
}

impl Tags {
    /// Reads what [`tags_of`] wrote. `DELTA_DAMAGED`: `file` has none of ours, or they cannot be read.
    pub(super) fn read(file: &str, tags: &BTreeMap<String, String>) -> Result<Self> {
        let reader = Reader { file, tags };
        let min_seq = CommitSeq(reader.number(MIN_SEQ, reader.text(MIN_SEQ)?)?);
        let entry_us = tags.get(ENTRY).map(|stamp_us| reader.number(ENTRY, stamp_us)).transpose()?;
        Ok(Self {
            checksum: reader.checksum(CHECKSUM, reader.text(CHECKSUM)?)?,
            min_seq,
            entry: entry_us.map(|stamp_us| (min_seq, stamp_us)),
            max_seq: CommitSeq(reader.number(MAX_SEQ, reader.text(MAX_SEQ)?)?),
            hour: tags.get(HOUR).map(|hour| reader.number(HOUR, hour)).transpose()?,
            schema: SchemaId(reader.number(SCHEMA, reader.text(SCHEMA)?)?),
            sidecar: tags.get(SIDECAR).map(|sidecar| reader.sidecar(sidecar)).transpose()?,
            tail: tags.get(TAIL).map(|tail| reader.tail(tail)).transpose()?,
            nulls: reader.text(NULLS)?.split(',').map(|nulls| reader.number(NULLS, nulls)).collect::<Result<_>>()?,
        })
    }
}

struct Reader<'t> {
    file: &'t str,
    tags: &'t BTreeMap<String, String>,
}

impl<'t> Reader<'t> {
    fn text(&self, tag: &str) -> Result<&'t str> {
        let value = self.tags.get(tag).ok_or_else(|| {
            Error::new(Code::DeltaDamaged, format!("the file {} in the Delta log has no tag '{tag}'", self.file))
                .hint("only files that Tidewater wrote can be used")
        })?;
        Ok(value)
    }

    fn number<T: FromStr<Err: Display>>(&self, tag: &str, value: &str) -> Result<T> {
        value.parse().map_err(|e| self.damaged(tag, value, &e))
    }

    fn checksum(&self, tag: &str, value: &str) -> Result<u64> {
        u64::from_str_radix(value, 16).map_err(|e| self.damaged(tag, value, &e))
    }

    /// `name:bytes:checksum`.
    fn sidecar(&self, value: &str) -> Result<Sidecar> {
        let mut parts = value.rsplitn(3, ':');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(checksum), Some(bytes), Some(name)) => Ok(Sidecar {
                name: name.to_owned(),
                bytes: self.number(SIDECAR, bytes)?,
                checksum: self.checksum(SIDECAR, checksum)?,
            }),
            _ => Err(self.damaged(SIDECAR, value, &"it has no three parts")),
        }
    }

    /// `bytes:checksum`.
    fn tail(&self, value: &str) -> Result<Tail> {
        let (bytes, checksum) =
            value.split_once(':').ok_or_else(|| self.damaged(TAIL, value, &"it has no two parts"))?;
        Ok(Tail { bytes: self.number(TAIL, bytes)?, checksum: self.checksum(TAIL, checksum)? })
    }

    fn damaged(&self, tag: &str, value: &str, why: &dyn Display) -> Error {
        let shown: String = value.chars().take(60).collect();
        Error::new(
            Code::DeltaDamaged,
            format!("the file {} in the Delta log has the tag '{tag}' = '{shown}': {why}", self.file),
        )
    }
}
