//! What stands in a compressed body? gzip and zstd, read as far as somebody asks for it and never past a bound.

use std::io::{self, Read};

use tidewater_storage::{Code, Error};

use super::options::unsupported;
use crate::http::Problem;

/// The most that a window of zstd may have: 8 MiB, as RFC 9659 demands of the content coding.
const MAX_ZSTD_WINDOW_LOG: u32 = 23;

/// A Content-Encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Identity,
    Gzip,
    Zstd,
}

impl Coding {
    pub fn of(header: Option<&str>) -> Result<Self, Problem> {
        match header.unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Coding::Identity),
            "gzip" | "x-gzip" => Ok(Coding::Gzip),
            "zstd" => Ok(Coding::Zstd),
            other => {
                Err(unsupported(format!("the Content-Encoding '{}' cannot be read", super::options::shown(other)))
                    .hint("send gzip, zstd or the body as it is"))
            }
        }
    }

    /// The body as it was before it was compressed, of which no more than `max_bytes` are read: `BATCH_TOO_LARGE` beyond.
    pub fn decoded(self, body: Box<dyn Read + Send>, max_bytes: u64) -> io::Result<Box<dyn Read + Send>> {
        let plain: Box<dyn Read + Send> = match self {
            Coding::Identity => body,
            Coding::Gzip => Box::new(flate2::read::MultiGzDecoder::new(body)),
            Coding::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::new(body)?;
                decoder.window_log_max(MAX_ZSTD_WINDOW_LOG)?;
                Box::new(decoder)
            }
        };
        Ok(Box::new(Bounded { plain, left: max_bytes, max_bytes }))
    }
}

struct Bounded {
    plain: Box<dyn Read + Send>,
    left: u64,
    max_bytes: u64,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && !buffer.is_empty() {
            // One byte more tells the end from too much.
            return match self.plain.read(&mut [0])? {
                0 => Ok(0),
                _ => Err(io::Error::other(too_large(self.max_bytes))),
            };
        }
        let n = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = self.plain.read(&mut buffer[..n])?;
        self.left -= read as u64;
        Ok(read)
    }
}

/// More than a body may have.
pub(super) fn too_large(max_bytes: u64) -> Error {
    Error::new(Code::BatchTooLarge, format!("the body has more than {max_bytes} bytes"))
        .hint("send the rows in several requests")
        .with("limit_bytes", max_bytes)
}

/// What a body that cannot be read is as an error of ours.
pub(super) fn unreadable(error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(own) => own,
        Err(error) => Error::new(Code::MalformedPayload, format!("the body cannot be read to its end: {error}"))
            .hint("send it whole, in the format and Content-Encoding that the headers say"),
    }
}

/// The same for readers that say where it happened.
pub(super) fn unreadable_text(error: &anyhow::Error) -> Error {
    let inner = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>());
    if let Some(own) = inner.and_then(io::Error::get_ref).and_then(|inner| inner.downcast_ref::<Error>()) {
        return Error::new(own.code(), own.message()).hint(own.hint_text().unwrap_or_default());
    }
    Error::new(Code::MalformedPayload, format!("the rows cannot be read: {error:#}"))
}
