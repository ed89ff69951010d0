//! How much memory does a slice show? Its own. Whoever counts a batch by its buffers must not count a whole part with every zone of it.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayData, ArrayRef, AsArray, BooleanArray, Capacities, MutableArrayData, RecordBatch, RecordBatchOptions,
    StructArray, make_array,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use bytes::Bytes;

/// Up to so many times its rows a buffer may be large before it is cut.
const MAX_SPARE: usize = 2;

/// The same rows in buffers of about their size. Sorts, joins and exchanges of DataFusion count a buffer by its capacity, which for a
/// slice is that of what it was cut from: 16 zones of a run would count as 16 runs. Columns of fixed width are not copied; the run is
/// held by the statement's snapshot as long as its batches are.
pub(super) fn trimmed(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    with_columns(batch, trimmed_column)
}

/// The same rows in memory of their own, which holds nothing else.
pub(crate) fn detached(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    with_columns(batch, |column| copied(&column.to_data()))
}

fn with_columns(
    batch: &RecordBatch,
    change: impl Fn(&ArrayRef) -> Result<ArrayRef, ArrowError>,
) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().map(change).collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(batch.schema(), columns, &options)
}

fn trimmed_column(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let nulls = column.nulls().map(|nulls| NullBuffer::new(trimmed_bits(nulls.inner())));
    let data = column.to_data();
    let is_small = match column.data_type() {
        DataType::Boolean => {
            return Ok(Arc::new(BooleanArray::new(trimmed_bits(column.as_boolean().values()), nulls)));
        }
        fixed if fixed.is_primitive() => {
            let buffers = data.buffers().iter().map(trimmed_buffer).collect();
            return Ok(make_array(data.into_builder().buffers(buffers).nulls(nulls).build()?));
        }
        DataType::Struct(fields) => {
            let columns = column.as_struct().columns().iter().map(trimmed_column).collect::<Result<_, _>>()?;
            return Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), columns, nulls, column.len())?));
        }
        // Offsets count from the start of what a slice was cut from, so that its values are all there or are copied.
        DataType::Utf8 | DataType::Binary => {
            column.get_buffer_memory_size() <= MAX_SPARE * data.get_slice_memory_size()?
        }
        DataType::List(_) => column.as_list::<i32>().values().len() <= MAX_SPARE * n_values(&data),
        _ => true,
    };
    if is_small { Ok(Arc::clone(column)) } else { copied(&data) }
}

/// Bytes of text or elements of lists that the rows of an array have.
fn n_values(data: &ArrayData) -> usize {
    let offsets = data.buffers().first().map(|buffer| buffer.typed_data::<i32>()).unwrap_or_default();
    let own = offsets.get(data.offset()..=data.offset() + data.len());
    let n = own.and_then(|own| Some(own.last()? - own.first()?)).unwrap_or(0);
    usize::try_from(n).unwrap_or(0)
}

fn trimmed_bits(bits: &BooleanBuffer) -> BooleanBuffer {
    let (first, end) = (bits.offset() / 8, (bits.offset() + bits.len()).div_ceil(8));
    let bytes = bits.inner().slice_with_length(first, end - first);
    BooleanBuffer::new(trimmed_buffer(&bytes), bits.offset() % 8, bits.len())
}

/// A part of a buffer that counts as itself.
struct Part(Buffer);

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

fn trimmed_buffer(buffer: &Buffer) -> Buffer {
    if buffer.capacity() <= MAX_SPARE * buffer.len() {
        return buffer.clone();
    }
    Buffer::from(Bytes::from_owner(Part(buffer.clone())))
}

fn copied(data: &ArrayData) -> Result<ArrayRef, ArrowError> {
    let capacity = match data.data_type() {
        // Text is sized exactly: growing could leave half of it unused.
        DataType::Utf8 | DataType::Binary => Capacities::Binary(data.len(), Some(n_values(data))),
        _ => Capacities::Array(data.len()),
    };
    let mut copy = MutableArrayData::with_capacities(vec![data], false, capacity);
    copy.try_extend(0, 0, data.len())?;
    Ok(make_array(copy.freeze()))
}
