//! How does a body come in? As fast or as slowly as its client likes, as long as it goes on: in memory while there is some, else in a file.

use std::io::{Cursor, Read};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use bytes::Bytes;
use http_body_util::BodyExt;
use tidewater_storage::Result;
use tidewater_storage::limits::MAX_BATCH_BYTES;
use tidewater_storage::memory::Collecting;
use tokio_util::sync::CancellationToken;

use super::coding::too_large;
use super::spool::{SpoolFile, SpoolReader};
use crate::auth::Limiter;
use crate::call::shutting_down;
use crate::http::{HttpState, Problem};
use crate::ingest::decoding::aside;

/// The largest body, as it is sent and as it is when decompressed.
pub(super) const MAX_BODY_BYTES: u64 = 64 << 30;

/// How long a client may send nothing.
const MAX_SILENCE: Duration = Duration::from_secs(30);

/// The same while the process shuts down: what is on its way still comes.
const MAX_SILENCE_DRAINING: Duration = Duration::from_secs(2);

/// How long the next bytes wait for the limits of their caller.
const MAX_PACED_WAIT: Duration = Duration::from_secs(300);

/// A file is written in pieces of this size.
const WRITE_BYTES: usize = 1 << 20;

/// A whole body.
#[derive(Debug)]
pub(super) enum Received {
    /// At most [`MAX_BATCH_BYTES`]; the memory is held until this is dropped.
    Memory(Bytes, #[expect(dead_code, reason = "its drop gives the memory back")] Collecting),
    File(Arc<SpoolFile>),
}

impl Received {
    pub fn bytes(&self) -> u64 {
        match self {
            Received::Memory(bytes, _) => bytes.len() as u64,
            Received::File(file) => file.bytes(),
        }
    }

    /// Reads it from its beginning.
    pub fn reader(&self) -> Box<dyn Read + Send> {
        match self {
            Received::Memory(bytes, _) => Box::new(Cursor::new(bytes.clone())),
            Received::File(file) => Box::<SpoolReader>::new(file.reader()),
        }
    }
}

/// Reads a body to its end. `declared` is its Content-Length.
pub(super) async fn receive(
    state: &HttpState,
    limiter: &Limiter,
    mut body: Body,
    declared: Option<u64>,
) -> Result<Received, Problem> {
    if declared.is_some_and(|declared| declared > MAX_BODY_BYTES) {
        return Err(too_large(MAX_BODY_BYTES).into());
    }
    let mut kept = Kept::Memory(Vec::new(), state.app.storage.memory().collecting());
    let mut total: u64 = 0;
    loop {
        let Some(bytes) = next(state, &mut body).await? else { break };
        // Not before: the end, which nobody knows of a body without a length, waits for nothing.
        paced(&state.app.draining, limiter).await?;
        limiter.came(bytes.len() as u64);
        total += bytes.len() as u64;
        if total > MAX_BODY_BYTES {
            return Err(too_large(MAX_BODY_BYTES).into());
        }
        kept = kept.add(state, bytes).await?;
    }
    Ok(kept.end().await?)
}

/// Waits until the caller's limits let more bytes in. While nobody reads its body a client of HTTP/1 that has gone is not noticed, so this has
/// an end: `RATE_LIMITED`.
pub(super) async fn paced(draining: &CancellationToken, limiter: &Limiter) -> Result<()> {
    tokio::select! {
        biased;
        paced = limiter.bytes_within(MAX_PACED_WAIT) => paced,
        () = draining.cancelled() => Err(shutting_down()),
    }
}

/// The next bytes of a client that may be silent for a while.
async fn next(state: &HttpState, body: &mut Body) -> Result<Option<Bytes>, Problem> {
    let stopping = async {
        state.app.draining.cancelled().await;
        tokio::time::sleep(MAX_SILENCE_DRAINING).await;
    };
    let frame = async {
        loop {
            match body.frame().await.transpose()? {
                None => return Ok(None),
                Some(frame) => match frame.into_data() {
                    Ok(bytes) if bytes.is_empty() => {}
                    Ok(bytes) => return Ok::<_, axum::Error>(Some(bytes)),
                    // Trailers say nothing that is asked for.
                    Err(_) => {}
                },
            }
        }
    };
    tokio::select! {
        biased;
        frame = frame => frame.map_err(|reason| {
            tracing::debug!(%reason, "a request body broke off");
            Problem::new(StatusCode::BAD_REQUEST, "the request body broke off before its end, so nothing was stored")
                .hint("send it again")
        }),
        () = stopping => Err(shutting_down().into()),
        () = tokio::time::sleep(MAX_SILENCE) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("nothing of the body came for {} s, so nothing was stored", MAX_SILENCE.as_secs()),
        )
        .hint("send it again; a slow body is taken as long as it goes on")),
    }
}

/// What has come so far.
enum Kept {
    Memory(Vec<u8>, Collecting),
    /// With what is not written yet.
    File(SpoolFile, Vec<u8>),
}

impl Kept {
    async fn add(self, state: &HttpState, bytes: Bytes) -> Result<Self> {
        match self {
            Kept::Memory(mut kept, mut held) => {
                // Who sends slowly holds it for long, so half of it is left to statements.
                let is_scarce = state.app.storage.memory().is_collecting_scarce();
                let fits = kept.len() + bytes.len() <= MAX_BATCH_BYTES && !is_scarce;
                if fits && held.try_grow(bytes.len() as u64) {
                    kept.extend_from_slice(&bytes);
                    return Ok(Kept::Memory(kept, held));
                }
                // Nobody waits for memory that others hold: there is a disk.
                let spool = Arc::clone(&state.spool);
                let work = move || {
                    let mut file = spool.file()?;
                    file.append(&kept)?;
                    file.append(&bytes)?;
                    drop(held);
                    Ok(Kept::File(file, Vec::new()))
                };
                aside(work).await
            }
            Kept::File(file, mut waiting) => {
                waiting.extend_from_slice(&bytes);
                if waiting.len() < WRITE_BYTES {
                    return Ok(Kept::File(file, waiting));
                }
                let file = written(file, waiting).await?;
                Ok(Kept::File(file, Vec::new()))
            }
        }
    }

    async fn end(self) -> Result<Received> {
        match self {
            Kept::Memory(kept, held) => Ok(Received::Memory(kept.into(), held)),
            Kept::File(file, waiting) => Ok(Received::File(Arc::new(written(file, waiting).await?))),
        }
    }
}

async fn written(mut file: SpoolFile, bytes: Vec<u8>) -> Result<SpoolFile> {
    aside(move || file.append(&bytes).map(|()| file)).await
}
