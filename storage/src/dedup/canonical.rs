//! What is a row's key? The canonical form of primary keys, made before the worker sees the rows.
//!
//! One column of integers, booleans, dates or times, or several that fit 64 bits together, is an integer that sorts as the
//! columns do. Every other key is a 128-bit hash (XXH3) under the table's own secret, of its canonical bytes: numbers in
//! their column's width, decimals as the unscaled value at the column's scale, text and binary byte for byte with no
//! normalisation. In composite keys a value of variable length stands after its length, so no two keys share their bytes.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::buffer::Buffer;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Int8Type, Int16Type, Int32Type, Int64Type, Time64MicrosecondType,
    TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use sha2::{Digest, Sha256};
use xxhash_rust::xxh3::xxh3_128_with_secret;

use super::word::MixSecret;
use crate::catalog::TableDef;
use crate::ids::array;

/// The canonical keys of a batch, in row order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keys {
    /// The keys themselves; they sort as the key's columns do.
    Integers(Vec<u64>),
    /// Keyed 128-bit hashes.
    Hashes(Vec<u128>),
}

impl Keys {
    pub fn len(&self) -> usize {
        match self {
            Keys::Integers(keys) => keys.len(),
            Keys::Hashes(keys) => keys.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What they hold in memory.
    pub fn bytes(&self) -> usize {
        match self {
            Keys::Integers(keys) => size_of_val(keys.as_slice()),
            Keys::Hashes(keys) => size_of_val(keys.as_slice()),
        }
    }
}

/// How the keys of one table are made. Immutable, shared by all connections.
#[derive(Debug, Clone)]
pub struct KeySpec {
    columns: Vec<Column>,
    form: Form,
    mix_secret: MixSecret,
}

#[derive(Debug, Clone)]
struct Column {
    index: usize,
    data_type: DataType,
}

#[derive(Debug, Clone)]
enum Form {
    Packed,
    /// The secret of XXH3: at least 136 bytes.
    Hashed(Box<[u8]>),
}

/// Bytes of the hash's secret: as many as XXH3's own default.
const SECRET_BYTES: usize = 192;

/// Expands the table's 16 secret bytes, by SHA-256 over a counter.
fn expand(hash_key: &[u8; 16], purpose: &[u8], n_bytes: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(n_bytes + 32);
    for counter in 0_u32.. {
        if out.len() >= n_bytes {
            break;
        }
        out.extend(
            Sha256::new().chain_update(hash_key).chain_update(purpose).chain_update(counter.to_le_bytes()).finalize(),
        );
    }
    out.truncate(n_bytes);
    out
}

/// Bits that a column's values need when several are packed; `None` for types that are not integers at heart.
fn packed_bits(data_type: &DataType) -> Option<u32> {
    Some(match data_type {
        DataType::Boolean => 1,
        DataType::Int8 | DataType::UInt8 => 8,
        DataType::Int16 | DataType::UInt16 => 16,
        DataType::Int32 | DataType::UInt32 | DataType::Date32 => 32,
        DataType::Int64 | DataType::UInt64 | DataType::Time64(_) | DataType::Timestamp(..) => 64,
        _ => return None,
    })
}

impl KeySpec {
    /// `None` for a table without a primary key. The catalog admits no floats, lists or structs in a key.
    pub fn new(def: &TableDef) -> Option<Self> {
        if def.key.is_empty() {
            return None;
        }
        let columns: Vec<Column> = def
            .key
            .iter()
            .map(|index| Column { index: *index, data_type: def.columns[*index].data_type.clone() })
            .collect();
        let bits: Option<u32> = columns.iter().map(|column| packed_bits(&column.data_type)).sum();
        let form = match bits {
            Some(0..=64) => Form::Packed,
            _ => Form::Hashed(expand(&def.hash_key, b"key hash", SECRET_BYTES).into()),
        };
        let mix = expand(&def.hash_key, b"integer mix", 16);
        let mix_secret = [u64::from_le_bytes(array(&mix[..8])), u64::from_le_bytes(array(&mix[8..]))];
        Some(Self { columns, form, mix_secret })
    }

    /// Whether keys are kept as the integers they are.
    pub fn is_integer(&self) -> bool {
        matches!(self.form, Form::Packed)
    }

    pub(super) fn mix_secret(&self) -> MixSecret {
        self.mix_secret
    }

    /// The keys of `rows`, which have the table's types and no NULL in a key column.
    pub fn keys(&self, rows: &RecordBatch) -> Keys {
        let column = |column: &Column| rows.column(column.index).clone();
        match &self.form {
            Form::Packed => {
                let mut keys = Vec::new();
                for (i, key_column) in self.columns.iter().enumerate() {
                    pack(&column(key_column), &key_column.data_type, i == 0, &mut keys);
                }
                Keys::Integers(keys)
            }
            Form::Hashed(secret) => {
                let cells: Vec<Cells> = self.columns.iter().map(|c| Cells::new(&column(c), &c.data_type)).collect();
                Keys::Hashes(match cells.as_slice() {
                    [single] => single.hash(rows.num_rows(), secret),
                    several => hash_composite(several, rows.num_rows(), secret),
                })
            }
        }
    }
}

/// Appends a column's bits to each key, the first column highest. Signed values are shifted so that they sort as integers
/// without sign: what was dense stays dense.
fn pack(values: &ArrayRef, data_type: &DataType, is_first: bool, keys: &mut Vec<u64>) {
    const SIGN_32: u32 = 1 << 31;
    const SIGN_64: u64 = 1 << 63;
    match data_type {
        DataType::Boolean => {
            let values = values.as_boolean().values();
            append(values.iter().map(u64::from), 1, is_first, keys);
        }
        DataType::Int8 => pack_as::<Int8Type>(values, is_first, keys, |v| u64::from(v as u8 ^ 0x80)),
        DataType::UInt8 => pack_as::<UInt8Type>(values, is_first, keys, u64::from),
        DataType::Int16 => pack_as::<Int16Type>(values, is_first, keys, |v| u64::from(v as u16 ^ 0x8000)),
        DataType::UInt16 => pack_as::<UInt16Type>(values, is_first, keys, u64::from),
        DataType::Int32 => pack_as::<Int32Type>(values, is_first, keys, |v| u64::from(v as u32 ^ SIGN_32)),
        DataType::UInt32 => pack_as::<UInt32Type>(values, is_first, keys, u64::from),
        DataType::Date32 => pack_as::<Date32Type>(values, is_first, keys, |v| u64::from(v as u32 ^ SIGN_32)),
        DataType::Int64 => pack_as::<Int64Type>(values, is_first, keys, |v| v as u64 ^ SIGN_64),
        DataType::UInt64 => pack_as::<UInt64Type>(values, is_first, keys, |v| v),
        DataType::Time64(_) => pack_as::<Time64MicrosecondType>(values, is_first, keys, |v| v as u64 ^ SIGN_64),
        DataType::Timestamp(..) => pack_as::<TimestampMicrosecondType>(values, is_first, keys, |v| v as u64 ^ SIGN_64),
        other => unreachable!("{other} has no packed form"),
    }
}

#[inline]
fn pack_as<T: ArrowPrimitiveType>(
    values: &ArrayRef,
    is_first: bool,
    keys: &mut Vec<u64>,
    bits: impl Fn(T::Native) -> u64,
) {
    let values = values.as_primitive::<T>().values();
    append(values.iter().map(|value| bits(*value)), 8 * size_of::<T::Native>() as u32, is_first, keys);
}

#[inline]
fn append(bits: impl Iterator<Item = u64>, width: u32, is_first: bool, keys: &mut Vec<u64>) {
    if is_first {
        keys.extend(bits);
    } else {
        keys.iter_mut().zip(bits).for_each(|(key, bits)| *key = *key << width | bits);
    }
}

/// The values of one key column, as bytes.
enum Cells {
    Bool(BooleanArray),
    /// Values of the same width, one after another.
    Fixed {
        values: Buffer,
        width: usize,
    },
    /// Text or binary: value `i` is between offsets `i` and `i + 1`.
    Variable {
        offsets: arrow::buffer::OffsetBuffer<i32>,
        values: Buffer,
    },
}

impl Cells {
    fn new(column: &ArrayRef, data_type: &DataType) -> Self {
        match data_type {
            DataType::Boolean => Cells::Bool(column.as_boolean().clone()),
            DataType::Utf8 => {
                let column = column.as_string::<i32>();
                Cells::Variable { offsets: column.offsets().clone(), values: column.values().clone() }
            }
            DataType::Binary => {
                let column = column.as_binary::<i32>();
                Cells::Variable { offsets: column.offsets().clone(), values: column.values().clone() }
            }
            other => {
                let Some(width) = other.primitive_width() else { unreachable!("{other} is not a type of keys") };
                let data = column.to_data();
                let values = data.buffers()[0].slice_with_length(data.offset() * width, data.len() * width);
                Cells::Fixed { values, width }
            }
        }
    }

    fn hash(&self, n_rows: usize, secret: &[u8]) -> Vec<u128> {
        match self {
            Cells::Bool(values) => {
                (0..n_rows).map(|row| xxh3_128_with_secret(&[u8::from(values.value(row))], secret)).collect()
            }
            Cells::Fixed { values, width } => {
                values.as_slice().chunks_exact(*width).map(|value| xxh3_128_with_secret(value, secret)).collect()
            }
            Cells::Variable { offsets, values } => offsets
                .windows(2)
                .map(|ends| xxh3_128_with_secret(&values[ends[0] as usize..ends[1] as usize], secret))
                .collect(),
        }
    }

    fn write(&self, row: usize, out: &mut Vec<u8>) {
        match self {
            Cells::Bool(values) => out.push(u8::from(values.value(row))),
            Cells::Fixed { values, width } => out.extend_from_slice(&values[row * width..(row + 1) * width]),
            Cells::Variable { offsets, values } => {
                let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
                out.extend_from_slice(&((end - start) as u32).to_le_bytes());
                out.extend_from_slice(&values[start..end]);
            }
        }
    }
}

fn hash_composite(cells: &[Cells], n_rows: usize, secret: &[u8]) -> Vec<u128> {
    let mut bytes = Vec::new();
    let hash_row = |row| {
        bytes.clear();
        cells.iter().for_each(|cells| cells.write(row, &mut bytes));
        xxh3_128_with_secret(&bytes, secret)
    };
    (0..n_rows).map(hash_row).collect()
}
