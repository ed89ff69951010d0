//! Which values does a client bind? Parameters of the protocol as one row of columns.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Float64Array, Int64Array, NullArray, RecordBatch, RecordBatchOptions,
    StringArray, UInt64Array,
};
use arrow::datatypes::{Field, Schema};
use tidewater_proto::query::v1::query_request::Params;
use tidewater_proto::query::v1::value::Kind;
use tidewater_proto::query::v1::{Value, Values};
use tidewater_query::Parameters;
use tidewater_storage::{Code, Error, Result};

use crate::ingest::ipc::{Limits, declared_stream, decode_stream};

/// Values that one request may bind: a statement has no more words.
pub(crate) const MAX_PARAMETERS: usize = 20_000;

/// Values as Arrow, decompressed: what may be sent as it is.
const MAX_ARROW_BYTES: u64 = super::MAX_DECODING_BYTES as u64;

/// One row is wanted. A dictionary may have more values, and the error says how many rows there were.
const MAX_ARROW_ROWS: u64 = 1_000;

/// The values of a request; columns are named `1`, `2`, ….
pub(super) fn parameters(params: Params) -> Result<Parameters> {
    match params {
        Params::Positional(Values { values }) => by_position(values),
        Params::ArrowParams(bytes) => {
            let limits = Limits { decoded_bytes: MAX_ARROW_BYTES, rows: MAX_ARROW_ROWS, ..Limits::default() };
            declared_stream(&bytes, &limits)?;
            let (_, mut batches) = decode_stream(&bytes, limits)?;
            match (batches.len(), batches.pop()) {
                (1, Some(batch)) if batch.num_rows() == 1 => Ok(Parameters(batch)),
                (_, last) => {
                    let rows = batches.iter().chain(&last).map(RecordBatch::num_rows).sum::<usize>();
                    Err(Error::new(Code::InvalidParameter, format!("{rows} rows of parameters"))
                        .hint("send one row, one column a parameter"))
                }
            }
        }
    }
}

/// Each value becomes an array and a field, which are hundreds of times what it is on the wire: they are counted first.
fn by_position(values: Vec<Value>) -> Result<Parameters> {
    if values.len() > MAX_PARAMETERS {
        return Err(too_many_parameters(values.len()));
    }
    let columns: Vec<ArrayRef> = values.into_iter().map(column).collect();
    let names = columns.iter().enumerate();
    let fields: Vec<_> =
        names.map(|(i, column)| Field::new((i + 1).to_string(), column.data_type().clone(), true)).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    Ok(Parameters(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?))
}

/// The error of a request that binds `n` values.
pub(crate) fn too_many_parameters(n: usize) -> Error {
    Error::new(Code::InvalidParameter, format!("{n} parameters; a statement takes at most {MAX_PARAMETERS}"))
        .hint("send rows with the ingest service, or bind fewer values in more statements")
        .with("limit", MAX_PARAMETERS)
}

fn column(value: Value) -> ArrayRef {
    match value.kind {
        None => Arc::new(NullArray::new(1)),
        Some(Kind::BoolValue(value)) => Arc::new(BooleanArray::from(vec![value])),
        Some(Kind::Int64Value(value)) => Arc::new(Int64Array::from(vec![value])),
        Some(Kind::Uint64Value(value)) => Arc::new(UInt64Array::from(vec![value])),
        Some(Kind::DoubleValue(value)) => Arc::new(Float64Array::from(vec![value])),
        Some(Kind::StringValue(value)) => Arc::new(StringArray::from(vec![value])),
        Some(Kind::BytesValue(value)) => Arc::new(BinaryArray::from(vec![value.as_ref()])),
    }
}
