//! What of a key is a filter asked for? XXH3-64 of its bytes, without a secret: whoever has the key columns can tell.
//!
//! The bytes of a key are those of its columns, in the key's order: a BOOLEAN, an integer, a date or a time as the 64-bit integer of the
//! same value (a date counts days, a time microseconds), a DECIMAL as the unscaled 128-bit integer at the column's scale, both
//! little-endian; text and binary byte for byte. In keys of several columns text and binary stand after their length (32 bits), so that no
//! two keys share their bytes. How wide a column's integers are makes no difference.

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, Decimal128Array};
use arrow::buffer::{Buffer, OffsetBuffer};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Int8Type, Int16Type, Int32Type, Int64Type, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Result};

/// The hash of each key. `columns` are the key's, in the order of the PRIMARY KEY, in the table's types, of the same length, without NULL:
/// of rows, or of values that a query asks for. An internal error for others.
pub fn key_hashes(columns: &[ArrayRef]) -> Result<Vec<u64>> {
    let n_rows = columns.first().map_or(0, |column| column.len());
    if columns.iter().any(|column| column.len() != n_rows || column.null_count() > 0) {
        return Err(Error::internal("the columns of keys differ in length, or have NULLs"));
    }
    let cells: Vec<Cells> = columns.iter().map(Cells::new).collect::<Result<_>>()?;
    match <[Cells; 1]>::try_from(cells) {
        Ok([single]) => Ok(single.hashes()),
        Err(several) => Ok(composite_hashes(&several, n_rows)),
    }
}

/// The values of one key column, as bytes.
enum Cells {
    Words(Vec<u64>),
    Wide(Decimal128Array),
    /// Value `i` is between offsets `i` and `i + 1`.
    Variable {
        offsets: OffsetBuffer<i32>,
        values: Buffer,
    },
}

impl Cells {
    fn new(column: &ArrayRef) -> Result<Self> {
        Ok(match column.data_type() {
            DataType::Boolean => Cells::Words(column.as_boolean().values().iter().map(u64::from).collect()),
            DataType::Int8 => words::<Int8Type>(column, |v| i64::from(v).cast_unsigned()),
            DataType::Int16 => words::<Int16Type>(column, |v| i64::from(v).cast_unsigned()),
            DataType::Int32 => words::<Int32Type>(column, |v| i64::from(v).cast_unsigned()),
            DataType::Int64 => words::<Int64Type>(column, i64::cast_unsigned),
            DataType::UInt8 => words::<UInt8Type>(column, u64::from),
            DataType::UInt16 => words::<UInt16Type>(column, u64::from),
            DataType::UInt32 => words::<UInt32Type>(column, u64::from),
            DataType::UInt64 => words::<UInt64Type>(column, |v| v),
            DataType::Date32 => words::<Date32Type>(column, |v| i64::from(v).cast_unsigned()),
            DataType::Time64(TimeUnit::Microsecond) => words::<Time64MicrosecondType>(column, i64::cast_unsigned),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                words::<TimestampMicrosecondType>(column, i64::cast_unsigned)
            }
            DataType::Decimal128(..) => Cells::Wide(column.as_primitive::<Decimal128Type>().clone()),
            DataType::Utf8 => {
                let column = column.as_string::<i32>();
                Cells::Variable { offsets: column.offsets().clone(), values: column.values().clone() }
            }
            DataType::Binary => {
                let column = column.as_binary::<i32>();
                Cells::Variable { offsets: column.offsets().clone(), values: column.values().clone() }
            }
            other => return Err(Error::internal(format!("{other} is no type of keys"))),
        })
    }

    /// Of keys that have no other column.
    fn hashes(self) -> Vec<u64> {
        match self {
            Cells::Words(words) => words.into_iter().map(|word| xxh3_64(&word.to_le_bytes())).collect(),
            Cells::Wide(values) => values.values().iter().map(|value| xxh3_64(&value.to_le_bytes())).collect(),
            Cells::Variable { offsets, values } => {
                offsets.windows(2).map(|ends| xxh3_64(&values[ends[0] as usize..ends[1] as usize])).collect()
            }
        }
    }

    fn write(&self, row: usize, out: &mut Vec<u8>) {
        match self {
            Cells::Words(words) => out.extend_from_slice(&words[row].to_le_bytes()),
            Cells::Wide(values) => out.extend_from_slice(&values.value(row).to_le_bytes()),
            Cells::Variable { offsets, values } => {
                let value = &values[offsets[row] as usize..offsets[row + 1] as usize];
                out.extend_from_slice(&(value.len() as u32).to_le_bytes());
                out.extend_from_slice(value);
            }
        }
    }
}

fn words<T: ArrowPrimitiveType>(column: &ArrayRef, word: impl Fn(T::Native) -> u64) -> Cells {
    Cells::Words(column.as_primitive::<T>().values().iter().map(|value| word(*value)).collect())
}

fn composite_hashes(cells: &[Cells], n_rows: usize) -> Vec<u64> {
    let mut bytes = Vec::new();
    let hash_row = |row| {
        bytes.clear();
        cells.iter().for_each(|cells| cells.write(row, &mut bytes));
        xxh3_64(&bytes)
    };
    (0..n_rows).map(hash_row).collect()
}
