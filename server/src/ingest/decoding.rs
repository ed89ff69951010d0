//! May a payload be decoded now, and where? By what it declares: little at once; more when the process has memory for it,
//! and beside the threads that serve connections.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tidewater_storage::memory::{Decoding, MemoryLedger};
use tidewater_storage::{Code, Error, Result};

use super::ipc::Declared;

/// Work on this many bytes is done at once, on the thread that asks; more is done on a thread that may be busy. Payloads
/// that take less memory than that wait for none: there are no more of them at once than threads.
pub(crate) const INLINE_BYTES: u64 = 64 << 10;

/// How long a payload waits for memory. Those before it are being decoded, so that this much is an overload.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(30);

/// Decodes a payload: `work` takes what is declared. `place` is asked for if it is much; the rows are counted by it until
/// storage counts them.
pub(crate) async fn run<T: Send + 'static>(
    declared: Declared,
    place: impl Future<Output = Result<Decoding>>,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<(T, Option<Decoding>)> {
    let held = match declared.bytes() < INLINE_BYTES {
        true => None,
        false => Some(tokio::time::timeout(MAX_WAIT, place).await.map_err(|_| overloaded())??),
    };
    with(declared, held, work).await
}

/// The same with what is held for it already.
pub(crate) async fn with<T: Send + 'static>(
    declared: Declared,
    held: Option<Decoding>,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<(T, Option<Decoding>)> {
    if declared.work() < INLINE_BYTES {
        return Ok((work()?, held));
    }
    // What is held goes with the work: it is there until the work ends, whether or not the caller waits.
    aside(move || work().map(|done| (done, held))).await
}

/// For a stream, whose client can wait: returns when rows leave some memory, also to a payload that itself takes little, with what is held
/// for it: thousands of them at once are much, too. `MEMORY_PRESSURE` after `at_most`.
pub(crate) async fn space(declared: Declared, memory: &Arc<MemoryLedger>, at_most: Duration) -> Result<Decoding> {
    let held = async {
        match declared.bytes() < INLINE_BYTES {
            true => memory.decoding_few_with_space(declared.bytes()).await,
            false => memory.decoding_with_space(declared.bytes()).await,
        }
    };
    tokio::time::timeout(at_most, held).await.unwrap_or_else(|_| Err(overloaded()))
}

/// Runs `work` on a thread that may be busy.
pub(crate) async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::internal(format!("a payload could not be decoded: {error}")))?
}

fn overloaded() -> Error {
    Error::new(Code::MemoryPressure, "more rows come in than the server has memory to decode")
        .hint("send slower, or raise memory.limit")
        .retry_after(Duration::from_secs(1))
}
