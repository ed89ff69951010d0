//! How does a value look that a client can only read as text? Bytes in hex, nested values as JSON.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, MapArray, StringArray, StructArray};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::json::writer::{EncoderOptions, make_encoder};
use tidewater_storage::{Code, Error, Result};

use super::{Profile, cast, wire_array};

/// Text of many values, in one buffer.
#[derive(Default)]
struct Texts {
    bytes: Vec<u8>,
    ends: Vec<i32>,
}

impl Texts {
    fn with_capacity(n_rows: usize) -> Self {
        let mut ends = Vec::with_capacity(n_rows + 1);
        ends.push(0);
        Self { bytes: Vec::new(), ends }
    }

    /// What was written so far is the end of a value.
    fn end(&mut self) -> Result<()> {
        let end = i32::try_from(self.bytes.len()).map_err(|_| {
            Error::new(Code::ResultTooLarge, "a column as text takes more than 2 GiB").hint("select less per row")
        })?;
        self.ends.push(end);
        Ok(())
    }

    fn finish(self, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.ends));
        Ok(Arc::new(StringArray::try_new(offsets, Buffer::from_vec(self.bytes), nulls)?))
    }
}

/// Bytes of any layout as hex digits.
pub(super) fn hex(array: &ArrayRef) -> Result<ArrayRef> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let array = cast(array, &DataType::Binary)?;
    let values = array.as_binary::<i32>();
    let mut texts = Texts::with_capacity(values.len());
    for value in values {
        for byte in value.unwrap_or_default() {
            texts.bytes.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        texts.end()?;
    }
    texts.finish(values.nulls().cloned())
}

/// Lists, structs and maps as JSON.
pub(super) fn json(array: &ArrayRef) -> Result<ArrayRef> {
    let portable = wire_array(array, &Profile::Portable.data_type(array.data_type()))?;
    let array = with_text_keys(&portable)?;
    let field: FieldRef = Arc::new(Field::new("value", array.data_type().clone(), true));
    let options = EncoderOptions::default().with_explicit_nulls(true);
    let mut encoder = make_encoder(&field, &array, &options)?;
    let mut texts = Texts::with_capacity(array.len());
    for row in 0..array.len() {
        if !encoder.is_null(row) {
            encoder.encode(row, &mut texts.bytes);
        }
        texts.end()?;
    }
    texts.finish(array.nulls().cloned())
}

/// The keys of a JSON object are text. Maps inside of other values have such keys already, or cannot be sent.
fn with_text_keys(array: &ArrayRef) -> Result<ArrayRef> {
    let Some(map) = array.as_map_opt() else { return Ok(Arc::clone(array)) };
    if map.keys().data_type() == &DataType::Utf8 {
        return Ok(Arc::clone(array));
    }
    let DataType::Map(entries, sorted) = array.data_type() else {
        return Err(Error::internal("a map has another type"));
    };
    let DataType::Struct(fields) = entries.data_type() else {
        return Err(Error::internal("a map's entries are no struct"));
    };
    let [key, value] = fields.as_ref() else { return Err(Error::internal("a map's entries are no pairs")) };
    let keys = cast(map.keys(), &DataType::Utf8)?;
    let fields = vec![Arc::new(Field::new(key.name(), DataType::Utf8, false)), Arc::clone(value)].into();
    let columns = vec![keys, Arc::clone(map.values())];
    let inner = StructArray::try_new(fields, columns, map.entries().nulls().cloned())?;
    let entries = Arc::new(Field::new(entries.name(), inner.data_type().clone(), false));
    Ok(Arc::new(MapArray::try_new(entries, map.offsets().clone(), inner, map.nulls().cloned(), *sorted)?))
}
