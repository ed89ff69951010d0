//! Which rows of a file are deleted, as other engines see it? Deletion vectors: their files, and the descriptors that name them.
//!
//! Source: the Delta protocol, section "Deletion Vectors". Always the form in a file of its own: every reader has it.

use bytes::Bytes;
use delta_kernel::actions::deletion_vector::DeletionVectorDescriptor as KernelDescriptor;
use delta_kernel::actions::deletion_vector_writer::{
    DeletionVector as KernelDeletionVector, StreamingDeletionVectorWriter,
};
use deltalake::kernel::{DeletionVectorDescriptor, StorageType};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use roaring::{RoaringBitmap, RoaringTreemap};
use uuid::Uuid;

use super::kernel::Kernel;
use super::log::DeltaTable;
use crate::error::{Code, Error, Result};
use crate::sealed::store_error;

/// Within the table's folder. Other engines' VACUUM spares names that begin like this; some would delete vectors that are in use elsewhere.
const FOLDER: &str = "_dv";

/// Of [`DeletionVector::to_disk`].
const DISK_VERSION: u8 = 1;

/// A set of deleted rows of one file, by where it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletionVector {
    /// Rows in it.
    pub cardinality: u64,
    descriptor: DeletionVectorDescriptor,
}

impl DeletionVector {
    /// Its file within the table's folder; `None`: it has none of its own there (another engine's).
    pub fn file_name(&self) -> Option<String> {
        if self.descriptor.storage_type != StorageType::UuidRelativePath {
            return None;
        }
        // What stands before the 20 characters of the id is a folder.
        let id = self.descriptor.path_or_inline_dv.strip_prefix(FOLDER).filter(|id| id.len() == 20)?;
        let id = Uuid::from_slice(&z85::decode(id).ok()?).ok()?;
        Some(file_name(id))
    }

    /// The file that a vector made with this id has.
    pub fn name_of(id: Uuid) -> String {
        file_name(id)
    }

    /// A version byte and the descriptor as JSON.
    pub fn to_disk(&self) -> Vec<u8> {
        let descriptor = serde_json::json!(self.descriptor);
        let mut out = vec![DISK_VERSION];
        out.extend(descriptor.to_string().into_bytes());
        out
    }

    /// Reads what [`DeletionVector::to_disk`] wrote. `LOG_UNKNOWN_VERSION` for a newer form, `LOG_DAMAGED` for anything else.
    pub fn from_disk(bytes: &[u8]) -> Result<Self> {
        let damaged = |why: String| {
            Error::new(Code::LogDamaged, format!("the record of a deletion vector is damaged: {why}"))
                .hint("restore the data folder from a backup")
        };
        match bytes {
            [DISK_VERSION, text @ ..] => {
                let descriptor = serde_json::from_slice(text).map_err(|e| damaged(e.to_string()))?;
                Self::of(descriptor).ok_or_else(|| damaged("it has a negative number of rows".into()))
            }
            [version, ..] => Err(Error::new(
                Code::LogUnknownVersion,
                format!("the record of a deletion vector has version {version}, this program reads {DISK_VERSION}"),
            )),
            [] => Err(damaged("it is empty".into())),
        }
    }

    /// `None`: it counts fewer than no rows.
    pub(super) fn of(descriptor: DeletionVectorDescriptor) -> Option<Self> {
        let cardinality = u64::try_from(descriptor.cardinality).ok()?;
        Some(Self { cardinality, descriptor })
    }

    pub(super) fn descriptor(&self) -> DeletionVectorDescriptor {
        self.descriptor.clone()
    }

    /// The rows of `file`, checked against their number. Blocking.
    pub(super) fn read(&self, kernel: &Kernel, file: &str) -> Result<RoaringBitmap> {
        let doing = format!("the deletion vector of {file} cannot be read");
        let descriptor = KernelDescriptor::try_from(self.descriptor());
        let descriptor = descriptor.map_err(|e| kernel.error(&doing, e))?;
        let rows = descriptor.read(kernel.engine().storage_handler(), kernel.root());
        let rows = rows.map_err(|e| kernel.error(&doing, e))?;
        let damaged = |why: String| Error::new(Code::DeltaDamaged, format!("the deletion vector of {file}: {why}"));
        if rows.len() != self.cardinality {
            return Err(damaged(format!("it has {} rows, the log says {}", rows.len(), self.cardinality)));
        }
        let mut parts = rows.bitmaps();
        match (parts.next(), parts.next()) {
            (None, _) => Ok(RoaringBitmap::new()),
            (Some((0, rows)), None) => Ok(rows.clone()),
            _ => Err(damaged("it has rows from number 4,294,967,296 on".into())),
        }
    }
}

fn file_name(id: Uuid) -> String {
    format!("{FOLDER}/deletion_vector_{id}.bin")
}

impl DeltaTable {
    /// Writes a deletion vector of `rows` under a name made from `id`, which is used once: the same rows again are fine, others are an
    /// error. As durable as the store is when this returns.
    pub async fn write_deletion_vector(&self, id: Uuid, rows: &RoaringBitmap) -> Result<DeletionVector> {
        let name = file_name(id);
        let what = format!("{name} of the Delta table at {} cannot be written", self.location());
        let (bytes, descriptor) = encode(id, rows).map_err(|e| Error::internal(format!("{what}: {e}")).source(e))?;
        let path = Path::from(name);
        let mode = PutOptions::from(PutMode::Create);
        match self.store().put_opts(&path, PutPayload::from(bytes.clone()), mode).await {
            Ok(_) => {}
            // An earlier attempt, whose answer was lost.
            Err(object_store::Error::AlreadyExists { .. }) => {
                let found = self.store().get(&path).await.map_err(|e| store_error(&what, e))?;
                let found = found.bytes().await.map_err(|e| store_error(&what, e))?;
                if found != bytes {
                    return Err(Error::internal(format!("{what}: another one has its name")));
                }
            }
            Err(e) => return Err(store_error(&what, e)),
        }
        Ok(DeletionVector { cardinality: rows.len(), descriptor })
    }
}

/// The file's bytes and its descriptor.
fn encode(id: Uuid, rows: &RoaringBitmap) -> Result<(Bytes, DeletionVectorDescriptor), delta_kernel::Error> {
    let mut bytes = Vec::new();
    let mut writer = StreamingDeletionVectorWriter::new(&mut bytes);
    let written = writer.write_deletion_vector(Rows(RoaringTreemap::from_bitmaps([(0, rows.clone())])))?;
    writer.finalize()?;
    let descriptor = DeletionVectorDescriptor {
        storage_type: StorageType::UuidRelativePath,
        path_or_inline_dv: format!("{FOLDER}{}", z85::encode(id.as_bytes())),
        offset: Some(written.offset),
        size_in_bytes: written.size_in_bytes,
        cardinality: written.cardinality,
    };
    Ok((bytes.into(), descriptor))
}

/// Rows as the kernel's writer takes them, without a copy by row.
struct Rows(RoaringTreemap);

impl KernelDeletionVector for Rows {
    type IndexIterator = roaring::treemap::IntoIter;

    fn into_iter(self) -> Self::IndexIterator {
        self.0.into_iter()
    }

    fn cardinality(&self) -> u64 {
        self.0.len()
    }

    fn serialize(self) -> Result<Bytes, delta_kernel::Error> {
        let mut bytes = Vec::with_capacity(self.0.serialized_size());
        self.0.serialize_into(&mut bytes).map_err(delta_kernel::Error::generic)?;
        Ok(bytes.into())
    }
}
