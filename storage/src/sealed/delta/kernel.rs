//! How is the Delta kernel asked? Through an engine over the table's folder, on a thread that may block, with our errors.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::json::LineDelimitedWriter;
use bytes::Bytes;
use delta_kernel::engine::arrow_data::ArrowEngineData;
use delta_kernel::{Engine, Error as KernelError, FilteredEngineData, Snapshot, SnapshotRef};
use url::Url;

use super::lines::{Line, parse_lines};
use crate::error::{Code, Error, Result};
use crate::sealed::store_error;

/// The kernel for one table. Its calls block and need a multi-threaded runtime around them.
pub(super) struct Kernel {
    engine: Arc<dyn Engine>,
    root: Url,
    location: Url,
}

impl Kernel {
    /// `root` is the table's folder as `engine` names it, `location` as readers do.
    pub(super) fn new(engine: Arc<dyn Engine>, root: Url, location: Url) -> Self {
        Self { engine, root, location }
    }

    pub(super) fn engine(&self) -> &dyn Engine {
        self.engine.as_ref()
    }

    pub(super) fn root(&self) -> &Url {
        &self.root
    }

    /// Runs `work` where it may block.
    pub(super) async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce(&Kernel) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let location = self.location.clone();
        let task = tokio::task::spawn_blocking(move || work(&self));
        // It panics on some damaged files.
        match task.await {
            Ok(outcome) => outcome,
            Err(e) => Err(Error::ended_early(format!("work on the Delta table at {location}"), &e)),
        }
    }

    /// The table as of `version`, or as of its newest.
    pub(super) fn snapshot(&self, version: Option<u64>) -> Result<SnapshotRef> {
        let mut builder = Snapshot::builder_for(&self.root);
        if let Some(version) = version {
            builder = builder.at_version(version);
        }
        builder.build(self.engine()).map_err(|e| match version {
            Some(version) => self.error(&format!("version {version} cannot be read"), e),
            None => self.error("the log cannot be read", e),
        })
    }

    /// The bytes of a file that `url` names under [`Self::root`].
    pub(super) fn bytes(&self, url: &Url, what: &str) -> Result<Bytes> {
        let found = self.engine().storage_handler().read_files(vec![(url.clone(), None)]);
        match found.map_err(|e| self.error(what, e))?.next() {
            Some(bytes) => bytes.map_err(|e| self.error(what, e)),
            None => Err(self.damaged(&format!("{what}: it is not there"))),
        }
    }

    /// `what` is a sentence: something cannot be done.
    pub(super) fn error(&self, what: &str, e: KernelError) -> Error {
        let e = match e {
            KernelError::Backtraced { source, .. } => *source,
            e => e,
        };
        let what = format!("the Delta table at {}: {what}", self.location);
        match e {
            KernelError::ObjectStore(e) => store_error(&what, e),
            KernelError::Unsupported(why) => Error::new(Code::UnsupportedRequest, format!("{what}: {why}")),
            e if is_of_store(&e) => {
                let source = e.to_string().into();
                store_error(&what, object_store::Error::Generic { store: "Delta kernel", source })
            }
            e => Error::new(Code::DeltaDamaged, format!("{what}: {e}")).source(e),
        }
    }

    pub(super) fn damaged(&self, why: &str) -> Error {
        Error::new(Code::DeltaDamaged, format!("the Delta table at {}: {why}", self.location))
    }
}

/// Whether something is wrong with the store, and perhaps nothing with the table.
fn is_of_store(e: &KernelError) -> bool {
    if matches!(e, KernelError::IOError(_) | KernelError::JoinFailure(_)) {
        return true;
    }
    let mut cause = std::error::Error::source(e);
    while let Some(e) = cause {
        if e.is::<object_store::Error>() || e.is::<std::io::Error>() {
            return true;
        }
        cause = e.source();
    }
    false
}

pub(super) fn is_not_found(e: &KernelError) -> bool {
    match e {
        KernelError::Backtraced { source, .. } => is_not_found(source),
        KernelError::FileNotFound(_) | KernelError::ObjectStore(object_store::Error::NotFound { .. }) => true,
        _ => false,
    }
}

/// The actions that `data` has, as a commit would have them.
pub(super) fn lines_of_data(data: FilteredEngineData) -> Result<Vec<Line>, KernelError> {
    let data = ArrowEngineData::try_from_engine_data(data.apply_selection_vector()?)?;
    lines_of(data.record_batch()).map_err(KernelError::generic)
}

/// The actions of rows of a checkpoint, as a commit would have them: one way to read both.
pub(super) fn lines_of(batch: &RecordBatch) -> Result<Vec<Line>, String> {
    let mut writer = LineDelimitedWriter::new(Vec::new());
    writer.write(batch).and_then(|()| writer.finish()).map_err(|e| e.to_string())?;
    parse_lines(&writer.into_inner())
}
