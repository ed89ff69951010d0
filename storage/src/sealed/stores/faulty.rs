//! What does an object store do on a bad day? A store for tests that fails, loses replies, waits or is away, as a script says.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// A kind of operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Op {
    Put,
    /// The beginning of an upload in parts.
    Upload,
    /// One of its parts.
    Part,
    /// Its end: the object is there then.
    Complete,
    /// Its other end: its parts go.
    Abort,
    /// Reads and `head`.
    Get,
    /// One object of a `delete_stream`.
    Delete,
    List,
    /// By its target.
    Copy,
    /// By its target.
    Rename,
}

/// What happens to one operation.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// It never reaches the store: an error.
    Before,
    /// It is done, and its reply is lost: an error.
    After,
    /// An error at once; it is done when [`FaultyStore::arrive`] is called.
    Late,
    /// It waits, and is done when it is released.
    Hold(Arc<Hold>),
}

/// An operation that waits.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    reached: Notify,
    go: Notify,
}

impl Hold {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Returns when the operation waits.
    pub(crate) async fn reached(&self) {
        self.reached.notified().await;
    }

    pub(crate) fn release(&self) {
        self.go.notify_one();
    }
}

/// Any store, with faults. Clones share their script.
#[derive(Debug, Clone)]
pub(crate) struct FaultyStore {
    inner: Arc<dyn ObjectStore>,
    day: Arc<Mutex<Day>>,
}

#[derive(Default)]
struct Day {
    is_away: bool,
    script: Vec<(Op, String, Fault)>,
    calls: HashMap<Op, u64>,
    late: Vec<BoxFuture<'static, ()>>,
}

impl std::fmt::Debug for Day {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { is_away, script, calls, late } = self;
        let late = late.len();
        write!(f, "Day {{ is_away: {is_away}, script: {script:?}, calls: {calls:?}, late: {late} }}")
    }
}

impl std::fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FaultyStore({})", self.inner)
    }
}

impl FaultyStore {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner, day: Arc::default() }
    }

    /// The next operation of this kind whose path has `part` in it (`""`: any) meets this fault. Several are met in the order they came in.
    pub(crate) fn script(&self, op: Op, part: &str, fault: Fault) {
        self.day.lock().script.push((op, part.to_owned(), fault));
    }

    /// While it is away every operation fails before it reaches the store; the script waits.
    pub(crate) fn set_away(&self, is_away: bool) {
        self.day.lock().is_away = is_away;
    }

    /// How often this was asked for, whatever became of it.
    pub(crate) fn calls(&self, op: Op) -> u64 {
        self.day.lock().calls.get(&op).copied().unwrap_or_default()
    }

    /// Faults that no operation has met yet.
    pub(crate) fn n_scripted(&self) -> usize {
        self.day.lock().script.len()
    }

    /// Does what came too late, in order. Its outcome is nobody's.
    pub(crate) async fn arrive(&self) {
        let late = std::mem::take(&mut self.day.lock().late);
        for work in late {
            work.await;
        }
    }

    /// Counts an operation and says what happens to it.
    fn enter(&self, op: Op, path: &Path) -> Result<Option<Fault>> {
        let mut day = self.day.lock();
        *day.calls.entry(op).or_default() += 1;
        if day.is_away {
            return Err(failed(op, path, "the store is away"));
        }
        let found = day.script.iter().position(|(of, part, _)| *of == op && path.as_ref().contains(part.as_str()));
        Ok(found.map(|i| day.script.remove(i).2))
    }

    async fn run<T: Send + 'static>(
        &self,
        op: Op,
        path: &Path,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        match self.enter(op, path)? {
            None => work.await,
            Some(Fault::Before) => Err(failed(op, path, "it did not reach the store")),
            Some(Fault::After) => {
                work.await?;
                Err(failed(op, path, "its reply is lost"))
            }
            Some(Fault::Late) => {
                self.day.lock().late.push(work.map(|_| ()).boxed());
                Err(failed(op, path, "it is late"))
            }
            Some(Fault::Hold(hold)) => {
                hold.reached.notify_one();
                hold.go.notified().await;
                work.await
            }
        }
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let (inner, path) = (Arc::clone(&self.inner), location.clone());
        self.run(Op::Put, location, async move { inner.put_opts(&path, payload, options).await }).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let (inner, path) = (Arc::clone(&self.inner), location.clone());
        let begun = async move { inner.put_multipart_opts(&path, options).await };
        let upload = self.run(Op::Upload, location, begun).await?;
        Ok(Box::new(FaultyUpload { store: self.clone(), location: location.clone(), inner: Some(upload) }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let (inner, path) = (Arc::clone(&self.inner), location.clone());
        self.run(Op::Get, location, async move { inner.get_opts(&path, options).await }).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let (inner, path, ranges) = (Arc::clone(&self.inner), location.clone(), ranges.to_vec());
        self.run(Op::Get, location, async move { inner.get_ranges(&path, &ranges).await }).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let delete = move |location: Result<Path>| {
            let store = store.clone();
            async move {
                let location = location?;
                let (inner, path) = (Arc::clone(&store.inner), location.clone());
                store.run(Op::Delete, &location, async move { inner.delete(&path).await }).await?;
                Ok(location)
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listing(prefix, self.inner.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listing(prefix, self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let (inner, path) = (Arc::clone(&self.inner), prefix.cloned());
        let listed = async move { inner.list_with_delimiter(path.as_ref()).await };
        self.run(Op::List, &prefix.cloned().unwrap_or_default(), listed).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let (inner, from, target) = (Arc::clone(&self.inner), from.clone(), to.clone());
        self.run(Op::Copy, to, async move { inner.copy_opts(&from, &target, options).await }).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let (inner, from, target) = (Arc::clone(&self.inner), from.clone(), to.clone());
        self.run(Op::Rename, to, async move { inner.rename_opts(&from, &target, options).await }).await
    }
}

impl FaultyStore {
    fn listing(
        &self,
        prefix: Option<&Path>,
        found: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.cloned().unwrap_or_default());
        let begun = async move { store.run(Op::List, &prefix, async move { Ok(found) }).await };
        futures::stream::once(begun).try_flatten().boxed()
    }
}

#[derive(Debug)]
struct FaultyUpload {
    store: FaultyStore,
    location: Path,
    /// `None`: completed, whatever became of it.
    inner: Option<Box<dyn MultipartUpload>>,
}

#[async_trait]
impl MultipartUpload for FaultyUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (store, location) = (self.store.clone(), self.location.clone());
        let is_away = store.day.lock().is_away;
        match &mut self.inner {
            Some(inner) if !is_away => {
                let part = inner.put_part(data);
                async move { store.run(Op::Part, &location, part).await }.boxed()
            }
            _ => {
                let error = failed(Op::Part, &location, "the store is away, or the upload has ended");
                async move { Err(error) }.boxed()
            }
        }
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let mut inner = self.inner.take().ok_or_else(|| ended(Op::Complete, &self.location))?;
        self.store.run(Op::Complete, &self.location, async move { inner.complete().await }).await
    }

    async fn abort(&mut self) -> Result<()> {
        let mut inner = self.inner.take().ok_or_else(|| ended(Op::Abort, &self.location))?;
        self.store.run(Op::Abort, &self.location, async move { inner.abort().await }).await
    }
}

fn ended(op: Op, path: &Path) -> Error {
    failed(op, path, "the upload has ended")
}

fn failed(op: Op, path: &Path, why: &str) -> Error {
    Error::Generic { store: "FaultyStore", source: format!("{op:?} {path}: {why}").into() }
}
