//! Where does work run that yields to everything else? On a thread of its own, below those that acknowledge and those that answer.

use tokio::sync::oneshot;

use crate::error::{Error, Result};

/// Below queries, which are below ingest. A thread cannot go up again without a right of its own, so it ends with its work.
const BACKGROUND_NICE: i32 = 10;

/// Runs `work` on a thread named `name` (15 characters are seen). An error if it panics, or if the system grants no thread.
pub(crate) async fn in_background<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    let (done, outcome) = oneshot::channel();
    let thread = move || {
        // Without the right to do so it stays where it is.
        if let Err(error) = rustix::process::setpriority_process(None, BACKGROUND_NICE) {
            tracing::debug!(%error, "a background thread keeps its priority");
        }
        // Whoever asked may have gone.
        let _ = done.send(work());
    };
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(thread)
        .map_err(|e| Error::internal(format!("a background thread cannot start: {e}")))?;
    outcome.await.map_err(|_| Error::internal(format!("work in the background failed ({name})")))
}
