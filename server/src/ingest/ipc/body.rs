//! What is in a message's body? Buffers, each inside the body, decompressed within the budget.

use std::io::Read;

use arrow::buffer::{Buffer, MutableBuffer};
use arrow::ipc;
use tidewater_storage::Result;

use super::{Budget, malformed};

/// Bytes in front of a compressed buffer: its length when decompressed, little-endian.
const PREFIX_BYTES: usize = 8;

/// The prefix of a buffer that was left as it is in a compressed body.
const NOT_COMPRESSED: i64 = -1;

/// One byte of an LZ4 block stands for at most 255 bytes; the frame has less than this around it.
const LZ4_MAX_RATIO: usize = 255;

enum Codec {
    Lz4,
    Zstd(Box<zstd::bulk::Decompressor<'static>>),
}

/// A body, and how its buffers are compressed.
pub(super) struct Body<'a> {
    bytes: &'a [u8],
    codec: Option<Codec>,
}

impl<'a> Body<'a> {
    pub fn new(bytes: &'a [u8], compression: Option<ipc::BodyCompression<'_>>) -> Result<Self> {
        let codec = match compression {
            None => None,
            Some(compression) => {
                if compression.method() != ipc::BodyCompressionMethod::BUFFER {
                    return Err(malformed(format!("compression method {}", compression.method().0)));
                }
                Some(match compression.codec() {
                    ipc::CompressionType::LZ4_FRAME => Codec::Lz4,
                    ipc::CompressionType::ZSTD => Codec::Zstd(Box::new(
                        zstd::bulk::Decompressor::new()
                            .map_err(|error| malformed(format!("zstd cannot start ({error})")))?,
                    )),
                    other => return Err(malformed(format!("compression codec {}", other.0))),
                })
            }
        };
        Ok(Self { bytes, codec })
    }

    /// One buffer, in an allocation of its own.
    pub fn buffer(&mut self, at: ipc::Buffer, budget: &mut Budget) -> Result<Buffer> {
        let (length, content) = match stored(self.bytes, self.codec.is_some(), at)? {
            Stored::Plain(raw) => return copy(raw, budget),
            Stored::Compressed { length, content } => (length, content),
        };
        budget.pay(length as u64)?;
        match &mut self.codec {
            // Nothing is stored as compressed in a body that is not.
            None => copy(content, budget),
            Some(Codec::Lz4) => lz4(content, length),
            Some(Codec::Zstd(decompressor)) => zstd(decompressor, content, length),
        }
    }
}

/// How a buffer stands in a body.
pub(super) enum Stored<'a> {
    Plain(&'a [u8]),
    /// `content` has `length` bytes when it is decompressed: that is what it says.
    Compressed {
        length: usize,
        content: &'a [u8],
    },
}

/// A buffer as it stands in `body`; of one that is compressed the length is read.
pub(super) fn stored(body: &[u8], is_compressed: bool, at: ipc::Buffer) -> Result<Stored<'_>> {
    let raw = raw(body, at)?;
    if !is_compressed || raw.is_empty() {
        return Ok(Stored::Plain(raw));
    }
    let Some((prefix, content)) = raw.split_first_chunk::<PREFIX_BYTES>() else {
        return Err(malformed(format!("a compressed buffer of {} bytes", raw.len())));
    };
    match i64::from_le_bytes(*prefix) {
        NOT_COMPRESSED => Ok(Stored::Plain(content)),
        declared => match usize::try_from(declared) {
            Ok(length) => Ok(Stored::Compressed { length, content }),
            Err(_) => Err(malformed(format!("a compressed buffer that declares {declared} bytes"))),
        },
    }
}

fn raw(body: &[u8], at: ipc::Buffer) -> Result<&[u8]> {
    let range = || {
        let start = usize::try_from(at.offset()).ok()?;
        let length = usize::try_from(at.length()).ok()?;
        body.get(start..start.checked_add(length)?)
    };
    range().ok_or_else(|| {
        malformed(format!("a buffer of {} bytes at {} in a body of {} bytes", at.length(), at.offset(), body.len()))
    })
}

fn copy(raw: &[u8], budget: &mut Budget) -> Result<Buffer> {
    budget.pay(raw.len() as u64)?;
    Ok(Buffer::from(raw))
}

/// An LZ4 frame that holds exactly `length` bytes.
fn lz4(content: &[u8], length: usize) -> Result<Buffer> {
    if length.div_ceil(LZ4_MAX_RATIO) > content.len() {
        return Err(malformed(format!("{} bytes of LZ4 that declare {length} bytes", content.len())));
    }
    let mut out = MutableBuffer::from_len_zeroed(length);
    let mut frame = lz4_flex::frame::FrameDecoder::new(content);
    frame
        .read_exact(out.as_slice_mut())
        .map_err(|error| malformed(format!("a buffer is not LZ4 of {length} bytes ({error})")))?;
    match frame.read(&mut [0]) {
        Ok(0) => Ok(out.into()),
        Ok(_) => Err(malformed(format!("a buffer holds more than the {length} bytes that it declares"))),
        Err(error) => Err(malformed(format!("a buffer is not LZ4 of {length} bytes ({error})"))),
    }
}

/// A zstd frame that holds exactly `length` bytes. One call without a window of its own: it writes where it is told,
/// and no further.
fn zstd(decompressor: &mut zstd::bulk::Decompressor<'static>, content: &[u8], length: usize) -> Result<Buffer> {
    let mut out = MutableBuffer::from_len_zeroed(length);
    let written = decompressor
        .decompress_to_buffer(content, out.as_slice_mut())
        .map_err(|error| malformed(format!("a buffer is not zstd of {length} bytes ({error})")))?;
    if written != length {
        return Err(malformed(format!("a buffer declares {length} bytes and holds {written}")));
    }
    Ok(out.into())
}
