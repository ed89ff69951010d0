//! What do valid streams look like? Batches of all types, written by Arrow.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::*;
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};

pub const CODECS: [Option<CompressionType>; 3] = [None, Some(CompressionType::LZ4_FRAME), Some(CompressionType::ZSTD)];

fn ints(n: usize) -> Int64Array {
    (0..n as i64).map(|i| (i % 5 != 3).then_some(i % 100)).collect()
}

fn texts(n: usize) -> StringArray {
    (0..n).map(|i| (i % 7 != 2).then(|| format!("text number {} that repeats", i % 13))).collect()
}

fn wide_bytes(n: usize) -> BinaryArray {
    (0..n).map(|i| (i % 3 != 1).then_some([i as u8; 16])).collect()
}

/// A column of each type that is taken, with and without NULLs.
pub fn columns(n: usize) -> Vec<(&'static str, ArrayRef)> {
    let ints: ArrayRef = Arc::new(ints(n));
    let texts: ArrayRef = Arc::new(texts(n));
    let to = |array: &ArrayRef, data_type: DataType| cast(array, &data_type).unwrap();
    let item = |data_type| Arc::new(Field::new("item", data_type, true));
    let offsets = || OffsetBuffer::from_lengths((0..n).map(|i| usize::from(i % 2 == 0) * 2));
    let n_values = (0..n).map(|i| usize::from(i % 2 == 0) * 2).sum();
    let values = ints.slice(0, 0);
    let values = if n_values == 0 { values } else { Arc::new(self::ints(n_values)) as ArrayRef };
    let list = ListArray::new(item(DataType::Int64), offsets(), Arc::clone(&values), None);
    let fixed = FixedSizeListArray::new(item(DataType::Int64), 3, Arc::new(self::ints(n * 3)), None);
    let nested = StructArray::from(vec![
        (item(DataType::Int64), Arc::clone(&ints)),
        (Arc::new(Field::new("t", DataType::Utf8, true)), Arc::clone(&texts)),
        (Arc::new(Field::new("l", list.data_type().clone(), true)), Arc::new(list.clone()) as ArrayRef),
    ]);
    let dictionary = |key| DataType::Dictionary(Box::new(key), Box::new(DataType::Utf8));
    vec![
        ("i8", to(&ints, DataType::Int8)),
        ("i16", to(&ints, DataType::Int16)),
        ("i32", to(&ints, DataType::Int32)),
        ("i64", Arc::clone(&ints)),
        ("u8", to(&ints, DataType::UInt8)),
        ("u64", to(&ints, DataType::UInt64)),
        ("f32", to(&ints, DataType::Float32)),
        ("f64", to(&ints, DataType::Float64)),
        ("bool", to(&ints, DataType::Boolean)),
        ("dec", to(&ints, DataType::Decimal128(20, 3))),
        ("dec256", to(&ints, DataType::Decimal256(50, 3))),
        ("date", to(&to(&ints, DataType::Int32), DataType::Date32)),
        ("date64", to(&ints, DataType::Date64)),
        ("time", to(&ints, DataType::Time64(TimeUnit::Microsecond))),
        ("time32", to(&to(&ints, DataType::Int32), DataType::Time32(TimeUnit::Second))),
        ("ts", to(&ints, DataType::Timestamp(TimeUnit::Nanosecond, None))),
        ("tstz", to(&ints, DataType::Timestamp(TimeUnit::Millisecond, Some("Europe/Berlin".into())))),
        ("utf8", Arc::clone(&texts)),
        ("large", to(&texts, DataType::LargeUtf8)),
        ("view", to(&texts, DataType::Utf8View)),
        ("bin", to(&texts, DataType::Binary)),
        ("binview", to(&texts, DataType::BinaryView)),
        ("fsb", to(&(Arc::new(wide_bytes(n)) as ArrayRef), DataType::FixedSizeBinary(16))),
        ("list", Arc::new(list)),
        ("fixed", Arc::new(fixed)),
        ("struct", Arc::new(nested)),
        ("dict", to(&texts, dictionary(DataType::Int8))),
        ("dict32", to(&texts, dictionary(DataType::UInt32))),
        ("dict_view", to(&texts, DataType::Dictionary(Box::new(DataType::UInt32), Box::new(DataType::Utf8View)))),
        ("nulls", Arc::new(NullArray::new(n))),
    ]
}

pub fn batch(n: usize) -> RecordBatch {
    RecordBatch::try_from_iter(columns(n)).unwrap()
}

pub fn options(codec: Option<CompressionType>) -> IpcWriteOptions {
    IpcWriteOptions::default().try_with_compression(codec).unwrap()
}

/// A complete stream of `batches`, which have one schema.
pub fn stream(batches: &[RecordBatch], codec: Option<CompressionType>) -> Vec<u8> {
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &batches[0].schema(), options(codec)).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.into_inner().unwrap()
}

/// A dense union of numbers and texts, which parameters may be.
pub fn union(n: usize) -> ArrayRef {
    let children: Vec<ArrayRef> = vec![Arc::new(ints(n)), Arc::new(texts(n))];
    let fields = [Field::new("0", DataType::Int64, true), Field::new("1", DataType::Utf8, true)];
    let fields = UnionFields::try_new([0, 1], fields).unwrap();
    let types: Vec<i8> = (0..n).map(|i| (i % 2) as i8).collect();
    let offsets: Vec<i32> = (0..n as i32).rev().collect();
    Arc::new(UnionArray::try_new(fields, types.into(), Some(offsets.into()), children).unwrap())
}
