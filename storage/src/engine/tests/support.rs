//! What do the engine's tests share? A folder that can be opened again, small tables, their keys.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit};
use object_store::memory::InMemory;
use roaring::RoaringBitmap;
use rustix::fs::{CWD, Mode, mkfifoat};
use tempfile::TempDir;

use crate::catalog::{ColumnDef, NewTable};
use crate::engine::{Engine, EngineOptions};
use crate::env::ManualClock;
use crate::ids::ProducerId;
use crate::sealed::FileRef;
use crate::sealed::faulty::FaultyStore;
use crate::table::{ProducerBatch, RowsRequest, SequenceMode, Table, TableSnapshot};

pub(super) struct Fixture {
    folder: TempDir,
    change: Box<dyn Fn(&mut EngineOptions)>,
    engine: Option<Arc<Engine>>,
}

impl Fixture {
    pub(super) fn open() -> Self {
        Self::open_with(|_| {})
    }

    /// `change` is applied at every start.
    pub(super) fn open_with(change: impl Fn(&mut EngineOptions) + 'static) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut fixture = Self { folder, change: Box::new(change), engine: None };
        fixture.reopen().expect("a new folder opens");
        fixture
    }

    /// An engine whose clock moves when the test says so.
    pub(super) fn open_at(wall_us: i64) -> (Self, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::at(wall_us));
        let handle = Arc::clone(&clock);
        (Self::open_with(move |options| options.env.clock = Arc::<ManualClock>::clone(&handle)), clock)
    }

    /// The same, whose Delta tables are in a store that is not on the local disk.
    pub(super) fn open_elsewhere(wall_us: i64) -> (Self, Arc<ManualClock>, FaultyStore) {
        let clock = Arc::new(ManualClock::at(wall_us));
        let store = FaultyStore::new(Arc::new(InMemory::new()));
        let handles = (Arc::clone(&clock), store.clone());
        let fixture = Self::open_with(move |options| {
            options.env.clock = Arc::<ManualClock>::clone(&handles.0);
            options.elsewhere = Some(Arc::new(handles.1.clone()));
        });
        (fixture, clock, store)
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn engine(&self) -> &Arc<Engine> {
        self.engine.as_ref().expect("the engine is open")
    }

    pub(super) fn table(&self, name: &str) -> Table {
        self.engine().table("public", name).expect("the table is there")
    }

    pub(super) async fn create(&self, name: &str) -> Table {
        self.engine().create_table(definition(name)).await.expect("created").0
    }

    pub(super) async fn close(&mut self) {
        if let Some(engine) = self.engine.take() {
            engine.shutdown().await.expect("a clean end");
            wait_for_last(engine).await;
            // Files that were let go, as after a while.
            crate::env::wait_for_soon();
        }
    }

    pub(super) fn reopen(&mut self) -> crate::Result<()> {
        let mut options = EngineOptions {
            min_free_bytes: 0,
            // What a test does not ask for does not happen.
            seals_by_itself: false,
            ..EngineOptions::new(self.folder.path(), 2 << 30)
        };
        // The real one ends the process, and with it all tests, without a word.
        options.env.fatal = Arc::new(|reason| panic!("the log cannot be written: {reason}"));
        (self.change)(&mut options);
        self.engine = Some(Engine::open(options)?.0);
        Ok(())
    }

    pub(super) async fn restart(&mut self) {
        self.close().await;
        self.reopen().expect("the folder opens again");
    }
}

/// A folder that goes while something is written to it looks like a broken disk, and a RocksDB that is closed while the process ends brings
/// it down.
impl Drop for Fixture {
    fn drop(&mut self) {
        let Some(engine) = self.engine.take().filter(|_| !std::thread::panicking()) else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if runtime.runtime_flavor() == tokio::runtime::RuntimeFlavor::MultiThread {
            // What a test has stopped for good is not waited for.
            const LONGEST: std::time::Duration = std::time::Duration::from_secs(10);
            let end = async { tokio::time::timeout(LONGEST, engine.shutdown()).await };
            drop(tokio::task::block_in_place(|| runtime.block_on(end)));
        }
    }
}

/// Puts a pipe in the place of a file: whoever reads it waits until somebody writes into it. What was there stands beside it, as the path
/// that is returned.
pub(super) fn replace_by_pipe(path: &Path) -> PathBuf {
    let beside = path.with_extension("whole");
    std::fs::rename(path, &beside).expect("renamed");
    mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR).expect("made");
    beside
}

/// Opens a pipe as soon as somebody reads from it.
pub(super) async fn opened_for(reader: &Path) -> File {
    loop {
        if let Ok(pipe) = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(reader) {
            return pipe;
        }
        tokio::task::yield_now().await;
    }
}

/// Lets other tasks run until `done`.
pub(super) async fn until(done: impl Fn() -> bool) {
    while !done() {
        tokio::task::yield_now().await;
    }
}

/// Starts `change`, and goes away before it is done.
pub(super) async fn abandon<T>(change: impl Future<Output = T>) {
    let mut change = std::pin::pin!(change);
    std::future::poll_fn(|context| {
        let _ = change.as_mut().poll(context);
        std::task::Poll::Ready(())
    })
    .await;
}

/// Tasks that ended may still be dropping their handles: the folder is free when the last is gone.
async fn wait_for_last(engine: Arc<Engine>) {
    let open = Arc::downgrade(&engine.parts.store.open);
    drop(engine);
    for _ in 0..1_000_000 {
        if open.strong_count() == 0 {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("a handle to a table is still held: drop it before the restart");
}

/// `id BIGINT PRIMARY KEY, name VARCHAR, at TIMESTAMPTZ NOT NULL`.
pub(super) fn definition(name: &str) -> NewTable {
    let column = |name: &str, data_type, nullable| ColumnDef {
        name: name.to_owned(),
        data_type,
        nullable,
        comment: None,
        max_chars: None,
    };
    NewTable {
        schema_name: "public".to_owned(),
        name: name.to_owned(),
        columns: vec![
            column("id", DataType::Int64, false),
            column("name", DataType::Utf8, true),
            column("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
        ],
        key: vec!["id".to_owned()],
        ..NewTable::default()
    }
}

/// Rows with these keys; the other columns follow from the key.
pub(super) fn batch(keys: &[i64]) -> RecordBatch {
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("name", DataType::Utf8, true),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
    ]);
    let names = StringArray::from_iter(keys.iter().map(|k| (k % 7 != 0).then(|| format!("name {}", k % 1_000))));
    let at = TimestampMicrosecondArray::from_iter_values(keys.iter().map(|k| k.wrapping_mul(977) & 0xff_ffff))
        .with_timezone("UTC");
    RecordBatch::try_new(
        Arc::new(schema),
        vec![Arc::new(Int64Array::from(keys.to_vec())), Arc::new(names), Arc::new(at)],
    )
    .expect("columns of one length")
}

pub(super) fn request(rows: RecordBatch) -> RowsRequest {
    RowsRequest::new("me", vec![rows.into()])
}

pub(super) fn producer(id: &str, sequence: u64, rows: RecordBatch) -> RowsRequest {
    let id = ProducerId::new(id).expect("a valid id");
    let batch = ProducerBatch { id, epoch: 0, sequence, mode: SequenceMode::Contiguous, last_acked: None };
    RowsRequest { producer: Some(batch), ..request(rows) }
}

/// The keys that a query would see, sorted; checks that every row's other columns belong to it.
pub(super) fn keys_of(table: &Table) -> Vec<i64> {
    let snapshot = table.snapshot();
    let mut keys = Vec::new();
    let mut add = |rows: &RecordBatch| {
        let own: Vec<i64> = rows.column(0).as_primitive::<Int64Type>().values().to_vec();
        let columns: Vec<_> = (0..3).map(|column| rows.column(column)).collect();
        assert_eq!(columns, batch(&own).columns().iter().collect::<Vec<_>>());
        keys.extend(own);
    };
    snapshot.parts().iter().for_each(|part| add(&part.rows));
    for at in 0..snapshot.files().len() {
        rows_of_file(table, at).iter().for_each(|(_, rows)| add(rows));
    }
    assert_eq!(snapshot.n_rows(), keys.len() as u64);
    keys.sort_unstable();
    keys
}

/// Where a file is on the local disk: a published one where the table's Delta folder is.
pub(super) fn path_of(table: &Table, file: &FileRef) -> PathBuf {
    let published = table.shared.folders.tables().local.as_ref().filter(|_| file.place.is_published);
    let root = published.map_or(table.shared.gate.folder.as_path(), |local| local.root());
    root.join(file.place.path.to_string())
}

/// The live rows of a file of the table's present snapshot, with the number of the first row of each batch among all rows of the file;
/// deleted rows are left out.
fn rows_of_file(table: &Table, at: usize) -> Vec<(u32, RecordBatch)> {
    let snapshot = table.snapshot();
    let file = &snapshot.files()[at];
    let path = path_of(table, file);
    let mut start = 0;
    let mut out = Vec::new();
    for read in crate::sealed::read_file(&path, &snapshot.def().arrow_schema).expect("the file opens") {
        let (rows, _) = read.expect("readable");
        let n_rows = rows.num_rows() as u32;
        let alive: BooleanArray = (start..start + n_rows)
            .map(|row| Some(!file.deleted.as_ref().is_some_and(|deleted| deleted.contains(row))))
            .collect();
        out.push((start, filter_record_batch(&rows, &alive).expect("of one length")));
        start += n_rows;
    }
    assert_eq!(u64::from(start), file.file.rows);
    out
}

/// What DELETE does: builds, finds the rows in files, names them. Returns how many went.
pub(super) async fn delete_keys(table: &Table, keys: &[i64]) -> crate::Result<u64> {
    table.build().await?;
    let snapshot = table.snapshot();
    let rows = places_of(table, &snapshot, keys);
    Ok(table.delete(&snapshot, rows).await?.0)
}

/// Where these keys are in the snapshot's files, deleted or not.
pub(super) fn places_of(table: &Table, snapshot: &TableSnapshot, keys: &[i64]) -> Vec<(usize, RoaringBitmap)> {
    let wanted: std::collections::HashSet<i64> = keys.iter().copied().collect();
    let mut places = Vec::new();
    for (at, file) in snapshot.files().iter().enumerate() {
        let path = path_of(table, file);
        let mut rows = RoaringBitmap::new();
        let mut start = 0;
        for read in crate::sealed::read_file(&path, &snapshot.def().arrow_schema).expect("the file opens") {
            let (batch, _) = read.expect("readable");
            let own = batch.column(0).as_primitive::<Int64Type>().values();
            rows.extend((0..).zip(own).filter(|(_, key)| wanted.contains(key)).map(|(row, _): (u32, _)| start + row));
            start += batch.num_rows() as u32;
        }
        if !rows.is_empty() {
            places.push((at, rows));
        }
    }
    places
}
