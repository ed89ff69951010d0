//! How does an answer become an Arrow IPC stream?

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use tidewater_storage::Result;

/// Encodes batches of one schema. Without its end the stream is incomplete, and readers that look for it can tell.
pub struct ArrowEncoder {
    writer: StreamWriter<Vec<u8>>,
}

impl ArrowEncoder {
    /// The schema is encoded at once; [`Self::take`] returns it.
    pub fn new(schema: &SchemaRef) -> Result<Self> {
        Ok(Self { writer: StreamWriter::try_new(Vec::new(), schema)? })
    }

    pub fn batch(&mut self, batch: &RecordBatch) -> Result<Bytes> {
        self.writer.write(batch)?;
        Ok(self.take())
    }

    pub fn end(&mut self) -> Result<Bytes> {
        self.writer.finish()?;
        Ok(self.take())
    }

    /// What was encoded since the last call.
    pub fn take(&mut self) -> Bytes {
        std::mem::take(self.writer.get_mut()).into()
    }
}
