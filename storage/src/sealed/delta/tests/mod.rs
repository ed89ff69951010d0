//! Does the log hold what was committed, and do others read it as we mean it?

mod commits;
mod deletes;
mod faults;
mod fixture;
mod keeping;
mod readers;
mod stats;

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::DataType;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use url::Url;
use uuid::Uuid;

use super::{Add, Change, DeltaTable, Put};
use crate::catalog::TableDef;
use crate::catalog::tests::{defined, instant};
use crate::ids::{CommitSeq, LogId, SchemaId};
use crate::sealed::file::Sidecar;
use crate::sealed::{ColumnBounds, SegmentFile};

const FOLDER: &str = "tables/events-1";

fn memory() -> Arc<dyn ObjectStore> {
    Arc::new(InMemory::new())
}

fn delta_in(store: &Arc<dyn ObjectStore>) -> DeltaTable {
    let url = Url::parse("s3://bucket/tables/events-1").expect("a URL");
    DeltaTable::new(Arc::clone(store), Path::from(FOLDER), &url).expect("a table")
}

/// A table with a key, text and time.
fn events() -> TableDef {
    defined(&[("id!", DataType::Int64), ("name", DataType::Utf8), ("at!", instant())], &["id"], &[])
}

fn bounds(min: ArrayRef, max: ArrayRef, nulls: u64) -> ColumnBounds {
    ColumnBounds { min: Some(min), max: Some(max), nulls }
}

fn int(value: i64) -> ArrayRef {
    Arc::new(Int64Array::from(vec![value]))
}

fn text(value: &str) -> ArrayRef {
    Arc::new(StringArray::from(vec![value]))
}

fn moment(us: i64) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(vec![us]).with_timezone("UTC"))
}

/// A file of [`events`] with 100 rows, from entry `first` on.
fn file(name: &str, first: u64) -> SegmentFile {
    let id = i64::try_from(first).expect("small");
    SegmentFile {
        name: name.to_owned(),
        bytes: 4096,
        rows: 100,
        checksum: 0x0123_4567_89ab_cdef,
        schema: SchemaId(1),
        min_seq: CommitSeq(first),
        max_seq: CommitSeq(first + 9),
        entry: None,
        hour: Some(472_222),
        columns: vec![
            bounds(int(id), int(id + 99), 0),
            bounds(text("apple"), text("pear"), 3),
            bounds(moment(1_700_000_000_000_001), moment(1_700_000_000_999_999), 0),
        ],
        created_at_us: 1_700_000_001_234_000,
        sidecar: Some(Sidecar { name: format!("{name}.keys"), bytes: 130, checksum: 77 }),
        tail: None,
    }
}

/// A commit that says nothing yet.
fn change<'a>(def: &'a TableDef, operation: &'static str) -> Change<'a> {
    Change {
        operation,
        def,
        first: None,
        metadata: None,
        protocol: None,
        adds: Vec::new(),
        removes: Vec::new(),
        txn: None,
        commit_id: Uuid::from_u128(7),
        log: LogId(Uuid::from_u128(9)),
        from: CommitSeq(0),
        through: CommitSeq(0),
        timestamp_ms: 1_700_000_000_000,
    }
}

fn create(def: &TableDef) -> Change<'_> {
    Change { first: Some(def), ..change(def, "CREATE TABLE") }
}

fn added(file: &SegmentFile) -> Add<'_> {
    Add { file, vector: None, data_change: true }
}

/// Commits what must be free.
async fn commit(delta: &DeltaTable, version: u64, change: &Change<'_>) {
    let bytes = change.to_bytes().expect("a commit");
    assert_eq!(delta.put(version, bytes).await.expect("put"), Put::Written, "version {version}");
}
