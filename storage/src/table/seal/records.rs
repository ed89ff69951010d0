//! How do the facts of building and publishing stand on disk? One record each, versioned; file bytes are never needed to read them.

use prost::Message;
use roaring::RoaringBitmap;

use crate::env::Moment;
use crate::error::{Code, Error, Result};
use crate::ids::{CommitSeq, SchemaId, array};
use crate::sealed::{DeletionVector, SegmentFile};

/// Stands first in every record.
const VERSION: u8 = 1;

pub(super) fn with_version(message: &impl Message) -> Vec<u8> {
    let mut out = vec![VERSION];
    out.extend(message.encode_to_vec());
    out
}

pub(super) fn read<M: Message + Default>(bytes: &[u8], what: &str) -> Result<M> {
    match bytes.split_first() {
        Some((&VERSION, body)) => M::decode(body).map_err(|e| damaged(what, &e.to_string())),
        Some((version, _)) => Err(Error::new(
            Code::LogUnknownVersion,
            format!("the record of {what} has version {version}, this program reads {VERSION}"),
        )),
        None => Err(damaged(what, "it is empty")),
    }
}

fn damaged(what: &str, how: &str) -> Error {
    Error::new(Code::LogDamaged, format!("the record of {what} is damaged: {how}"))
}

/// Where the log begins, and when the entry before that was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Base {
    /// The first sequence that the log still holds, or will hold.
    pub(crate) seq: CommitSeq,
    /// Of the entry before it.
    pub(crate) at: Moment,
}

impl Base {
    pub(crate) const FIRST: Self = Self { seq: CommitSeq(1), at: Moment { wall_us: 0, uptime_us: 0 } };

    pub(crate) fn to_disk(self) -> Vec<u8> {
        let mut out = self.seq.0.to_be_bytes().to_vec();
        out.extend(self.at.wall_us.to_be_bytes());
        out.extend(self.at.uptime_us.to_be_bytes());
        out
    }

    /// Also the older form, which is the sequence alone.
    pub(crate) fn from_disk(bytes: &[u8]) -> Result<Self> {
        let word = |at: usize| u64::from_be_bytes(array(&bytes[at..]));
        match bytes.len() {
            8 => Ok(Self { seq: CommitSeq(word(0)), at: Moment::default() }),
            24 => {
                let at = Moment { wall_us: word(8) as i64, uptime_us: word(16) };
                Ok(Self { seq: CommitSeq(word(0)), at })
            }
            other => Err(Error::new(Code::LogDamaged, format!("{other} bytes stand where 8 or 24 belong"))),
        }
    }
}

/// A key layer in a file.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct LayerFile {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(uint64, tag = "2")]
    pub(crate) bytes: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) keys: u64,
    /// The range of the log whose keys it holds, both included.
    #[prost(uint64, tag = "4")]
    pub(crate) from: u64,
    #[prost(uint64, tag = "5")]
    pub(crate) through: u64,
    /// When the last of them came.
    #[prost(int64, tag = "6")]
    pub(crate) stamp_us: i64,
    #[prost(uint64, tag = "7")]
    pub(crate) uptime_us: u64,
    /// A sorted run behind a filter; otherwise a layer that is read into memory.
    #[prost(bool, tag = "8")]
    pub(crate) is_run: bool,
    /// Of the `dedup_window`: layers of one epoch are forgotten together.
    #[prost(uint32, tag = "9")]
    pub(crate) epoch: u32,
    /// Uptime of the log when that epoch began, microseconds.
    #[prost(uint64, tag = "10")]
    pub(crate) epoch_began_us: u64,
}

impl LayerFile {
    pub(crate) fn to_disk(&self) -> Vec<u8> {
        with_version(self)
    }

    pub(crate) fn from_disk(bytes: &[u8]) -> Result<Self> {
        read(bytes, "a key layer")
    }
}

/// A range of the log that is built and not published.
#[derive(Debug, Clone)]
pub(crate) struct BuiltRange {
    /// Both included.
    pub(crate) from: CommitSeq,
    pub(crate) through: CommitSeq,
    pub(crate) files: Vec<SegmentFile>,
}

#[derive(Clone, PartialEq, Message)]
struct DiskRange {
    #[prost(uint64, tag = "1")]
    from: u64,
    #[prost(uint64, tag = "2")]
    through: u64,
    #[prost(bytes = "vec", repeated, tag = "3")]
    files: Vec<Vec<u8>>,
}

impl BuiltRange {
    pub(crate) fn to_disk(&self) -> Vec<u8> {
        let files = self.files.iter().map(SegmentFile::to_disk).collect();
        with_version(&DiskRange { from: self.from.0, through: self.through.0, files })
    }

    pub(crate) fn from_disk(bytes: &[u8]) -> Result<Self> {
        let disk: DiskRange = read(bytes, "a built range")?;
        let files = disk.files.iter().map(|file| SegmentFile::from_disk(file, "a built file"));
        Ok(Self { from: CommitSeq(disk.from), through: CommitSeq(disk.through), files: files.collect::<Result<_>>()? })
    }
}

/// A file of the Delta table, as its log says.
#[derive(Debug, Clone)]
pub(crate) struct PublishedFile {
    pub(crate) file: SegmentFile,
    /// The version that added it.
    pub(crate) version: u64,
    /// What the log says is deleted of it.
    pub(crate) vector: Option<DeletionVector>,
    /// When it came into the table; of a file that was merged, when the last of its rows did. `None`: with the commit that is being made.
    pub(crate) since: Option<Moment>,
}

#[derive(Clone, PartialEq, Message)]
struct DiskPublished {
    #[prost(bytes = "vec", tag = "1")]
    file: Vec<u8>,
    #[prost(uint64, tag = "2")]
    version: u64,
    #[prost(bytes = "vec", optional, tag = "3")]
    vector: Option<Vec<u8>>,
    #[prost(message, optional, tag = "4")]
    since: Option<DiskMoment>,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
struct DiskMoment {
    #[prost(int64, tag = "1")]
    wall_us: i64,
    #[prost(uint64, tag = "2")]
    uptime_us: u64,
}

impl PublishedFile {
    /// Rows that the log says are deleted.
    pub(crate) fn n_deleted(&self) -> u64 {
        self.vector.as_ref().map_or(0, |vector| vector.cardinality)
    }

    pub(crate) fn to_disk(&self) -> Vec<u8> {
        let vector = self.vector.as_ref().map(DeletionVector::to_disk);
        let since = self.since.map(|Moment { wall_us, uptime_us }| DiskMoment { wall_us, uptime_us });
        with_version(&DiskPublished { file: self.file.to_disk(), version: self.version, vector, since })
    }

    pub(crate) fn from_disk(bytes: &[u8]) -> Result<Self> {
        let disk: DiskPublished = read(bytes, "a published file")?;
        let vector = disk.vector.map(|bytes| DeletionVector::from_disk(&bytes)).transpose()?;
        Ok(Self {
            file: SegmentFile::from_disk(&disk.file, "a published file")?,
            version: disk.version,
            vector,
            since: disk.since.map(|DiskMoment { wall_us, uptime_us }| Moment { wall_us, uptime_us }),
        })
    }
}

/// The last commit of the Delta table that is known for sure, and what it made of the table.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Settled {
    #[prost(uint64, tag = "1")]
    pub(crate) version: u64,
    /// The table's own `txn` there.
    #[prost(uint64, tag = "2")]
    pub(crate) through: u64,
    /// The schema that its `metaData` has.
    #[prost(uint32, tag = "3")]
    pub(crate) schema: u32,
    /// Whether its protocol declares deletion vectors.
    #[prost(bool, tag = "4")]
    pub(crate) has_vectors: bool,
    /// Of its commit, milliseconds; the next one's is not below.
    #[prost(int64, tag = "5")]
    pub(crate) timestamp_ms: i64,
    /// The newest version with a checkpoint that was read back.
    #[prost(uint64, optional, tag = "6")]
    pub(crate) checkpoint: Option<u64>,
    /// The oldest version whose commit file is still there.
    #[prost(uint64, tag = "7")]
    pub(crate) first_version: u64,
}

impl Settled {
    pub(crate) fn through(&self) -> CommitSeq {
        CommitSeq(self.through)
    }

    pub(crate) fn schema(&self) -> SchemaId {
        SchemaId(self.schema)
    }

    pub(crate) fn to_disk(self) -> Vec<u8> {
        with_version(&self)
    }

    pub(crate) fn from_disk(bytes: &[u8]) -> Result<Self> {
        read(bytes, "the last settled version")
    }
}

/// Accepted rows that left the table since it was made, by why. With those that are there they are all that were ever accepted.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Gone {
    /// By DELETE.
    #[prost(uint64, tag = "1")]
    pub(crate) deleted: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) truncated: u64,
    /// Past the retention: left out by a build, or gone with a file. This is the durable count of rows that expired (`state_key::GONE`): it
    /// grows in the very commit that takes them away. The ledger has no column for it: its rows are of the minute in which a batch came.
    #[prost(uint64, tag = "3")]
    pub(crate) expired: u64,
}

impl Gone {
    pub(crate) fn to_disk(self) -> Vec<u8> {
        with_version(&self)
    }

    pub(crate) fn from_disk(bytes: &[u8]) -> Result<Self> {
        read(bytes, "the rows that left the table")
    }
}

/// A commit that is about to be sent, or was: it is settled by what stands at its version, and by nothing else.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Intent {
    pub(crate) commit_id: uuid::Uuid,
    /// The commit file as it is sent.
    pub(crate) bytes: Vec<u8>,
    /// What is settled once the commit is found.
    pub(crate) after: Settled,
    /// Each of these is a [`PublishedFile`] then.
    pub(crate) published: Vec<Vec<u8>>,
    /// Names of files that leave the table.
    pub(crate) removed: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct DiskIntent {
    #[prost(bytes = "vec", tag = "1")]
    commit_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    bytes: Vec<u8>,
    #[prost(message, required, tag = "3")]
    after: Settled,
    #[prost(bytes = "vec", repeated, tag = "4")]
    published: Vec<Vec<u8>>,
    #[prost(string, repeated, tag = "5")]
    removed: Vec<String>,
}

impl Intent {
    pub(crate) fn to_disk(&self) -> Vec<u8> {
        with_version(&DiskIntent {
            commit_id: self.commit_id.as_bytes().to_vec(),
            bytes: self.bytes.clone(),
            after: self.after,
            published: self.published.clone(),
            removed: self.removed.clone(),
        })
    }

    pub(crate) fn from_disk(bytes: &[u8]) -> Result<Self> {
        const WHAT: &str = "a commit that was about to be sent";
        let disk: DiskIntent = read(bytes, WHAT)?;
        let commit_id = uuid::Uuid::from_slice(&disk.commit_id).map_err(|e| damaged(WHAT, &e.to_string()))?;
        Ok(Self { commit_id, bytes: disk.bytes, after: disk.after, published: disk.published, removed: disk.removed })
    }

    pub(crate) fn published_files(&self) -> Result<Vec<PublishedFile>> {
        self.published.iter().map(|file| PublishedFile::from_disk(file)).collect()
    }
}

/// What a recorded name is of. The numbers stand on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NameKind {
    /// A file under the table's `built/`.
    Built,
    /// The same; it may be in the Delta folder as well, in no version.
    Anywhere,
    /// A file that left the Delta table then: readers of older versions may still need it.
    Removed(Moment),
}

impl NameKind {
    pub(crate) fn to_disk(self) -> Vec<u8> {
        match self {
            Self::Built => vec![1],
            Self::Anywhere => vec![2],
            Self::Removed(at) => {
                let mut out = vec![3];
                out.extend(at.wall_us.to_be_bytes());
                out.extend(at.uptime_us.to_be_bytes());
                out
            }
        }
    }

    pub(crate) fn from_disk(bytes: &[u8]) -> Result<Self> {
        match bytes {
            [1] => Ok(Self::Built),
            [2] => Ok(Self::Anywhere),
            [3, at @ ..] if at.len() == 16 => {
                let word = |from: usize| u64::from_be_bytes(array(&at[from..]));
                Ok(Self::Removed(Moment { wall_us: word(0) as i64, uptime_us: word(8) }))
            }
            _ => Err(damaged("a file's name", "it is of an unknown kind")),
        }
    }
}

/// All deleted rows of a file.
pub(crate) fn deleted_to_disk(rows: &RoaringBitmap) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + rows.serialized_size());
    out.push(VERSION);
    // Writing to a Vec does not fail.
    let _ = rows.serialize_into(&mut out);
    out
}

pub(crate) fn deleted_from_disk(bytes: &[u8]) -> Result<RoaringBitmap> {
    const WHAT: &str = "deleted rows";
    match bytes.split_first() {
        Some((&VERSION, body)) => RoaringBitmap::deserialize_from(body).map_err(|e| damaged(WHAT, &e.to_string())),
        _ => Err(damaged(WHAT, "it has another version")),
    }
}
