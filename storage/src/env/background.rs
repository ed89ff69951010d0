//! Where does work run that yields to everything else? On a thread of its own, below those that acknowledge and those that answer.

use std::sync::{Arc, LazyLock, mpsc};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::priority::yield_to_others;
use crate::error::{Error, Result};

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
        yield_to_others();
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

/// What waits for the thread of [`soon`]: far more files than a merge or a retention lets go at once.
const MAX_SOON: usize = 4_096;

type Work = Box<dyn FnOnce() + Send>;

/// The thread of [`soon`], for all data folders of the process. `None`: the system granted none.
static SOON: LazyLock<Option<mpsc::SyncSender<Work>>> = LazyLock::new(|| {
    let (sender, works) = mpsc::sync_channel::<Work>(MAX_SOON);
    let thread = move || {
        yield_to_others();
        works.into_iter().for_each(|work| work());
    };
    match std::thread::Builder::new().name("soon".to_owned()).spawn(thread) {
        Ok(_) => Some(sender),
        Err(error) => {
            tracing::warn!(%error, "there is no thread for what is done soon");
            None
        }
    }
});

/// Hands over `work` that nobody waits for and that may wait for the disk, such as the unlinking of a large file: whoever lets something go
/// may be a thread that acknowledges rows. All of it is done by one thread; where too much waits for it, by the caller. The process may end
/// before: what must be done in the end is on record elsewhere. `work` must not panic.
pub(crate) fn soon(work: impl FnOnce() + Send + 'static) {
    let work: Work = Box::new(work);
    let left = match &*SOON {
        Some(thread) => thread.try_send(work).err(),
        None => Some(mpsc::TrySendError::Disconnected(work)),
    };
    if let Some(mpsc::TrySendError::Full(work) | mpsc::TrySendError::Disconnected(work)) = left {
        work();
    }
}

/// Returns when everything is done that was handed to [`soon`] before.
#[cfg(test)]
pub(crate) fn wait_for_soon() {
    let (done, ended) = mpsc::sync_channel(1);
    let last = Box::new(move || {
        let _ = done.send(());
    });
    // An error says that there is no thread, and nothing that it has not done.
    if SOON.as_ref().is_some_and(|thread| thread.send(last).is_ok()) {
        let _ = ended.recv();
    }
}

fn failed(name: &str, why: &str) -> Error {
    Error::internal(format!("work in the background failed ({name}): {why}"))
}
