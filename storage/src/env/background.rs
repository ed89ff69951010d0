//! Where does work run that yields to everything else? On a thread of its own, below those that acknowledge and those that answer.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::error::{Error, Result};

/// Below queries, which are below ingest. A thread cannot go up again without a right of its own, so it ends with its work.
const BACKGROUND_NICE: i32 = 10;

/// Runs `work` on a thread named `name` (15 characters are seen); where the system grants none, among the runtime's own. An error if it
/// panics.
pub(crate) async fn in_background<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    let (done, outcome) = oneshot::channel();
    let work = Arc::new(Mutex::new(Some(work)));
    let of_thread = Arc::clone(&work);
    let thread = move || {
        // Without the right to do so it stays where it is.
        if let Err(error) = rustix::process::setpriority_process(None, BACKGROUND_NICE) {
            tracing::debug!(%error, "a background thread keeps its priority");
        }
        let work = of_thread.lock().take();
        if let Some(work) = work {
            // Whoever asked may have gone.
            let _ = done.send(work());
        }
    };
    if let Err(error) = std::thread::Builder::new().name(name.to_owned()).spawn(thread) {
        tracing::warn!(%error, name, "there is no thread for work in the background");
        let work = work.lock().take();
        if let Some(work) = work {
            return tokio::task::spawn_blocking(work).await.map_err(|e| failed(name, &e.to_string()));
        }
    }
    outcome.await.map_err(|_| failed(name, "it panicked"))
}

fn failed(name: &str, why: &str) -> Error {
    Error::internal(format!("work in the background failed ({name}): {why}"))
}
