//! Where does one IPC message end and the next begin? The framing of an Arrow IPC stream.

use arrow::ipc;
use tidewater_storage::Result;

use super::{MAX_METADATA_BYTES, malformed};

const CONTINUATION: [u8; 4] = [0xff; 4];
const FILE_MAGIC: &[u8] = b"ARROW1";

/// One message: its verified flatbuffer and its body, which is as long as it says.
pub(super) struct Message<'a> {
    pub header: ipc::Message<'a>,
    pub body: &'a [u8],
}

/// Verifies the flatbuffer of a message. `metadata` may have any alignment.
pub(super) fn header(metadata: &[u8]) -> Result<ipc::Message<'_>> {
    if metadata.len() > MAX_METADATA_BYTES {
        return Err(malformed(format!(
            "a message's metadata has {} bytes, more than {MAX_METADATA_BYTES}",
            metadata.len()
        )));
    }
    let message = ipc::root_as_message(metadata)
        .map_err(|error| malformed(format!("the metadata is not a valid flatbuffer ({error})")))?;
    if !matches!(message.version(), ipc::MetadataVersion::V4 | ipc::MetadataVersion::V5) {
        return Err(malformed(format!("metadata version {:?}; V4 and V5 are taken", message.version())));
    }
    Ok(message)
}

/// The message at the start of `rest`, which then begins behind it. `None` at the end of the stream: at its mark, or
/// where the bytes end between two messages.
pub(super) fn next<'a>(rest: &mut &'a [u8]) -> Result<Option<Message<'a>>> {
    if rest.is_empty() {
        return Ok(None);
    }
    if rest.starts_with(FILE_MAGIC) {
        return Err(malformed("these bytes are an Arrow file").hint("send the stream format of Arrow IPC"));
    }
    let mut length = take(rest, 4, "a message's length")?;
    if length == CONTINUATION {
        length = take(rest, 4, "a message's length")?;
    }
    let length = length.iter().rev().fold(0_usize, |n, byte| n << 8 | usize::from(*byte));
    if length == 0 {
        if !rest.is_empty() {
            return Err(malformed(format!("{} bytes follow the end of the stream", rest.len())));
        }
        return Ok(None);
    }
    let header = header(take(rest, length, "a message's metadata")?)?;
    let body_length = usize::try_from(header.bodyLength())
        .map_err(|_| malformed(format!("a body of {} bytes", header.bodyLength())))?;
    let body = take(rest, body_length, "a message's body")?;
    Ok(Some(Message { header, body }))
}

/// The first `n` bytes of `rest`, which then begins behind them.
fn take<'a>(rest: &mut &'a [u8], n: usize, what: &str) -> Result<&'a [u8]> {
    let Some((taken, behind)) = rest.split_at_checked(n) else {
        return Err(malformed(format!("{what} needs {n} bytes, {} are left", rest.len())));
    };
    *rest = behind;
    Ok(taken)
}
