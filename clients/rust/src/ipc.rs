//! How do record batches travel? Arrow IPC, in both directions.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::ipc::CompressionType;
use arrow::ipc::convert::try_schema_from_ipc_buffer;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use bytes::Bytes;

use crate::error::{Error, Result};

/// Compression of the rows on their way to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// The right choice on a local network.
    #[default]
    None,
    Lz4,
    Zstd,
}

/// One batch as a complete IPC stream.
pub(crate) fn encode(batch: &RecordBatch, compression: Compression) -> Result<Bytes> {
    let unfit = |error| Error::invalid(format!("the rows cannot be encoded as Arrow IPC: {error}"));
    let codec = match compression {
        Compression::None => None,
        Compression::Lz4 => Some(CompressionType::LZ4_FRAME),
        Compression::Zstd => Some(CompressionType::ZSTD),
    };
    let options = IpcWriteOptions::default().try_with_compression(codec).map_err(unfit)?;
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &batch.schema(), options).map_err(unfit)?;
    writer.write(batch).and_then(|()| writer.finish()).map_err(unfit)?;
    Ok(writer.into_inner().map_err(unfit)?.into())
}

/// Ends a stream of messages.
const END_OF_STREAM: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// Reads encapsulated messages under one schema.
pub(crate) struct Messages {
    schema: Bytes,
}

impl Messages {
    /// From the schema message that the stream begins with.
    pub fn new(schema: Bytes) -> Self {
        Self { schema }
    }

    /// The batches in one whole message.
    ///
    /// Each message is read as a stream of its own: the decoder holds a message without a body (a batch of NULLs) back until it
    /// sees what follows, and takes half a message for one whose rest will come.
    pub fn read(&self, message: Bytes) -> Result<Vec<RecordBatch>> {
        let mut decoder = StreamDecoder::new();
        let mut batches = Vec::new();
        for part in [self.schema.clone(), message, Bytes::from_static(&END_OF_STREAM)] {
            let mut buffer = Buffer::from(part);
            while !buffer.is_empty() {
                batches.extend(decoder.decode(&mut buffer)?);
            }
        }
        decoder.finish()?;
        Ok(batches)
    }
}

/// Reads one encapsulated schema message.
pub(crate) fn decode_schema(message: &[u8]) -> Result<SchemaRef> {
    let schema = try_schema_from_ipc_buffer(message)
        .map_err(|e| Error::protocol(format!("the server sent no Arrow schema where one belongs: {e}")))?;
    Ok(Arc::new(schema))
}

#[cfg(test)]
mod tests;
