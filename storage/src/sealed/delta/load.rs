//! What is the table as its log has it? Files, deleted rows, who committed what, definition: for attach, verify, and a start without our
//! own index.

use std::collections::{BTreeMap, HashSet};

use futures::StreamExt;
use object_store::ObjectStore;
use object_store::path::Path;
use roaring::RoaringBitmap;
use serde::Deserialize;

use super::deletes::DeletionVector;
use super::kernel::{Kernel, lines_of_data};
use super::lines::{AddLine, Line, MetadataLine, Protocol, decoded};
use super::log::DeltaTable;
use super::schema::{DEFINITION, EXCLUSIVE_WRITER, Features, unknown_features};
use super::stats::StatsReader;
use super::tags::Tags;
use crate::catalog::TableDef;
use crate::error::{Code, Error, Result};
use crate::ids::SchemaId;
use crate::sealed::SegmentFile;

/// One version of a Delta table.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub version: u64,
    /// Of the `metaData` action; of a table of ours, its id.
    pub id: String,
    pub name: Option<String>,
    /// As Delta has it, JSON.
    pub schema: String,
    pub configuration: BTreeMap<String, String>,
    /// Of a table of ours: its definition, as [`TableDef::from_disk`] takes it.
    pub definition: Option<String>,
    pub protocol: Protocol,
    /// appId and version, in no order.
    pub txns: Vec<(String, i64)>,
    /// In no order.
    pub files: Vec<LoadedFile>,
    /// Names of files and deletion vectors that left the table, as far back as the log tells (seven days): readers of older versions may
    /// still need them. Sorted.
    pub removed: Vec<String>,
}

/// A file of a version.
#[derive(Debug, Clone)]
pub struct LoadedFile {
    /// Within the table's folder.
    pub name: String,
    pub bytes: u64,
    /// Milliseconds since 1970.
    pub created_at_ms: i64,
    /// In the file, deleted ones included. `None`: the log does not say (another engine's file).
    pub rows: Option<u64>,
    /// `add.stats`, JSON.
    pub stats: Option<String>,
    pub tags: BTreeMap<String, String>,
    pub vector: Option<DeletionVector>,
    /// The rows of `vector`.
    pub deleted: Option<RoaringBitmap>,
}

/// What of statistics stands beside the bounds.
#[derive(Deserialize)]
struct Counts {
    #[serde(rename = "numRecords")]
    n_records: Option<u64>,
}

impl Loaded {
    /// The files as our own index has them, in the order of [`Self::files`]. `DELTA_DAMAGED`: one is not ours, or its tags or statistics
    /// cannot be read.
    ///
    /// `def` is the table at this version or later. Bounds come from statistics: of the first columns only, texts cut, none of BOOLEAN and
    /// VARBINARY; they hold all values but are wider than those of the build. `created_at_us` is in whole milliseconds.
    pub fn segments(&self, def: &TableDef) -> Result<Vec<SegmentFile>> {
        let mut reader = StatsReader::new(def)?;
        self.files.iter().map(|file| file.segment(def, &mut reader)).collect()
    }
}

impl Loaded {
    /// A table that no other engine writes.
    pub fn is_exclusive(&self) -> bool {
        self.protocol.writer_features.iter().flatten().any(|feature| feature == EXCLUSIVE_WRITER)
    }

    /// Of the features that we use, those that its readers must have.
    pub fn features(&self) -> Features {
        self.protocol.features()
    }

    /// Features that a writer must have and this program has not.
    pub fn unknown_features(&self) -> Vec<&str> {
        unknown_features(&self.protocol)
    }

    /// What it says of the table itself that is not so. `def` is the table now; `schema` is the schema that was committed last.
    pub fn problems(&self, def: &TableDef, schema: SchemaId) -> Vec<String> {
        let mut problems = Vec::new();
        if self.id != def.id.to_string() || self.configuration.get("tidewater.table") != Some(&self.id) {
            problems.push(format!("it is of the table {}", self.id));
        }
        if !self.is_exclusive() {
            problems.push("other writers are not kept out by its protocol".to_owned());
        }
        let committed = self.definition.as_ref().map(|text| TableDef::from_disk(text.as_bytes()));
        match committed {
            Some(Ok(committed)) if committed.schema_id == schema => {
                let said = serde_json::from_str::<serde_json::Value>(&self.schema).ok();
                let is_whole = said.as_ref() == Some(&super::schema::schema(&committed));
                if !is_whole || self.name.as_deref() != Some(committed.name.as_str()) {
                    problems.push("its schema or name is not that of its definition".to_owned());
                }
            }
            Some(Ok(other)) => {
                problems.push(format!("it has schema {}, the records say {}", other.schema_id.0, schema.0))
            }
            Some(Err(e)) => problems.push(e.to_string()),
            None => problems.push("it does not say what the table is".to_owned()),
        }
        let n_deleted = |file: &LoadedFile| file.deleted.as_ref().map_or(0, RoaringBitmap::len);
        let torn = |file: &&LoadedFile| file.vector.as_ref().map_or(0, |vector| vector.cardinality) != n_deleted(file);
        problems
            .extend(self.files.iter().filter(torn).map(|file| format!("deleted rows of {} are not whole", file.name)));
        problems
    }
}

impl LoadedFile {
    fn segment(&self, def: &TableDef, reader: &mut StatsReader) -> Result<SegmentFile> {
        let tags = Tags::read(&self.name, &self.tags)?;
        let damaged =
            |why: String| Error::new(Code::DeltaDamaged, format!("the file {} in the Delta log: {why}", self.name));
        if tags.nulls.len() > def.columns.len() {
            return Err(damaged(format!("it has {} columns, the table has {}", tags.nulls.len(), def.columns.len())));
        }
        let (Some(rows), Some(stats)) = (self.rows, &self.stats) else {
            return Err(damaged("its statistics do not say how many rows it has".into()));
        };
        let columns = reader
            .read(stats, &tags.nulls)
            .map_err(|e| damaged(format!("its statistics cannot be read: {}", e.message())))?;
        Ok(SegmentFile {
            name: self.name.clone(),
            bytes: self.bytes,
            rows,
            checksum: tags.checksum,
            schema: tags.schema,
            min_seq: tags.min_seq,
            max_seq: tags.max_seq,
            entry: tags.entry,
            hour: tags.hour,
            columns,
            created_at_us: self.created_at_ms.saturating_mul(1000),
            sidecar: tags.sidecar,
            tail: tags.tail,
        })
    }
}

impl DeltaTable {
    /// The newest version. `TABLE_NOT_FOUND`: there is no log; `DELTA_DAMAGED`: it cannot be read.
    pub async fn load(&self) -> Result<Loaded> {
        self.load_version(None).await
    }

    /// As of `version`, which must still be in the log.
    pub async fn load_at(&self, version: u64) -> Result<Loaded> {
        self.load_version(Some(version)).await
    }

    async fn load_version(&self, version: Option<u64>) -> Result<Loaded> {
        // The kernel takes their word, and somebody else may have written them.
        let loaded = match self.check_checkpoints(version).await {
            Ok(()) => self.kernel().run(move |kernel| load(kernel, version)).await,
            Err(e) => Err(e),
        };
        if loaded.is_err() && self.has_no_log().await {
            return Err(Error::new(Code::TableNotFound, format!("there is no Delta table at {}", self.location())));
        }
        loaded
    }

    async fn has_no_log(&self) -> bool {
        let first = self.store().list(Some(&Path::from("_delta_log"))).next().await;
        matches!(first, None | Some(Err(object_store::Error::NotFound { .. })))
    }
}

/// Replays the log as for a checkpoint, which is whatever counts at that version.
fn load(kernel: &Kernel, version: Option<u64>) -> Result<Loaded> {
    let failed = |e| kernel.error("the log cannot be replayed", e);
    let snapshot = kernel.snapshot(version)?;
    let version = snapshot.version();
    let writer = snapshot.create_checkpoint_writer(kernel.engine()).map_err(failed)?;
    let (mut protocol, mut metadata): (Option<Protocol>, Option<MetadataLine>) = (None, None);
    let (mut txns, mut files, mut removed) = (Vec::new(), Vec::new(), Vec::new());
    for batch in writer.checkpoint_data(kernel.engine()).map_err(failed)? {
        for line in batch.and_then(lines_of_data).map_err(failed)? {
            let Line { protocol: said, meta_data, txn, add, remove, .. } = line;
            protocol = protocol.or(said);
            metadata = metadata.or(meta_data);
            txns.extend(txn.map(|txn| (txn.app_id, txn.version)));
            if let Some(add) = add {
                files.push(loaded_file(kernel, add)?);
            }
            if let Some(remove) = remove {
                removed.push(decoded(&remove.path));
                let vector = remove.deletion_vector.and_then(DeletionVector::of);
                removed.extend(vector.as_ref().and_then(DeletionVector::file_name));
            }
        }
    }
    let (Some(protocol), Some(metadata)) = (protocol, metadata) else {
        return Err(kernel.damaged(&format!("version {version} has no protocol or no metadata")));
    };
    // A file that got another deletion vector was removed, and is there.
    let vectors = files.iter().filter_map(|file| file.vector.as_ref().and_then(DeletionVector::file_name));
    let live: HashSet<String> = files.iter().map(|file| file.name.clone()).chain(vectors).collect();
    removed.retain(|name| !live.contains(name));
    removed.sort_unstable();
    removed.dedup();
    let configuration = metadata.configuration.unwrap_or_default();
    Ok(Loaded {
        version,
        id: metadata.id,
        name: metadata.name,
        schema: metadata.schema_string,
        definition: configuration.get(DEFINITION).cloned(),
        configuration,
        protocol,
        txns,
        files,
        removed,
    })
}

fn loaded_file(kernel: &Kernel, add: AddLine) -> Result<LoadedFile> {
    let name = decoded(&add.path);
    let damaged = |why: &str| kernel.damaged(&format!("the file {name}: {why}"));
    let bytes = u64::try_from(add.size).map_err(|_| damaged("its size is negative"))?;
    let rows = match &add.stats {
        Some(stats) => {
            let counts: Counts =
                serde_json::from_str(stats).map_err(|e| damaged(&format!("its statistics are no JSON: {e}")))?;
            counts.n_records
        }
        None => None,
    };
    let vector = match add.deletion_vector {
        Some(vector) => Some(DeletionVector::of(vector).ok_or_else(|| damaged("it has fewer than no deleted rows"))?),
        None => None,
    };
    let deleted = vector.as_ref().map(|vector| vector.read(kernel, &name)).transpose()?;
    if let (Some(rows), Some(last)) = (rows, deleted.as_ref().and_then(RoaringBitmap::max))
        && u64::from(last) >= rows
    {
        return Err(damaged(&format!("it has {rows} rows, and row {last} is deleted")));
    }
    let tags = add.tags.unwrap_or_default().into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    Ok(LoadedFile { name, bytes, created_at_ms: add.modification_time, rows, stats: add.stats, tags, vector, deleted })
}
