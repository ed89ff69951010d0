//! Is it the same content? A hash of a batch's values: equal for whoever sends the same rows again, also after an update of the server.
//!
//! Nothing is copied (but lists and structs that are NULL), and nothing depends on how Arrow lays bytes out: validity, lengths and values
//! go in one by one, what stands under a NULL does not. All numbers are little-endian.

use std::ops::Range;

use arrow::array::{
    AnyDictionaryArray, Array, ArrayData, ArrayRef, AsArray, BooleanArray, GenericByteArray, GenericListArray,
    GenericListViewArray, OffsetSizeTrait, RecordBatch,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter;
use arrow::datatypes::{ArrowNativeType, ByteArrayType, DataType, IntervalUnit, TimeUnit};
use xxhash_rust::xxh3::Xxh3;

use crate::error::Result;

/// The version of the hash. It stands beside every hash on disk: hashes of two versions say nothing about each other.
pub(crate) const CONTENT_HASH_VERSION: u32 = 1;

/// A hash in the making.
#[derive(Default)]
pub(crate) struct ContentHash(Xxh3);

impl ContentHash {
    /// The rows of a batch, with the names and types of its columns.
    pub(crate) fn add_batch(&mut self, rows: &RecordBatch) -> Result<()> {
        self.add_number(rows.num_rows() as u64);
        self.add_number(rows.num_columns() as u64);
        for (field, column) in rows.schema_ref().fields().iter().zip(rows.columns()) {
            self.add_text(field.name().as_bytes());
            self.add_type(field.data_type());
            self.add_values(column.as_ref())?;
        }
        Ok(())
    }

    pub(crate) fn add_number(&mut self, number: u64) {
        self.0.update(&number.to_le_bytes());
    }

    pub(crate) fn add_text(&mut self, text: &[u8]) {
        self.add_number(text.len() as u64);
        self.0.update(text);
    }

    pub(crate) fn finish(&self) -> u64 {
        self.0.digest()
    }

    fn add_type(&mut self, data_type: &DataType) {
        use DataType as T;
        let (tag, a, b) = tag_of(data_type);
        self.0.update(&[tag]);
        self.0.update(&a.to_le_bytes());
        self.0.update(&b.to_le_bytes());
        match data_type {
            T::Timestamp(_, Some(zone)) => self.add_text(zone.as_bytes()),
            T::List(item) | T::LargeList(item) | T::ListView(item) | T::LargeListView(item) => {
                self.add_type(item.data_type());
            }
            T::FixedSizeList(item, _) | T::Map(item, _) | T::RunEndEncoded(_, item) => self.add_type(item.data_type()),
            T::Dictionary(_, values) => self.add_type(values),
            T::Struct(fields) => {
                for field in fields {
                    self.add_text(field.name().as_bytes());
                    self.add_type(field.data_type());
                }
            }
            T::Union(fields, _) => fields.iter().for_each(|(_, field)| self.add_type(field.data_type())),
            _ => {}
        }
    }

    fn add_values(&mut self, array: &dyn Array) -> Result<()> {
        use DataType as T;
        self.add_number(array.len() as u64);
        if let T::Dictionary(_, _) = array.data_type() {
            return self.add_dictionary(array.as_any_dictionary());
        }
        let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
        self.add_number(nulls.map_or(0, |nulls| nulls.null_count() as u64));
        if let Some(nulls) = nulls {
            self.add_bits(nulls.inner());
        }
        match (array.data_type(), nulls) {
            (T::Null, _) => {}
            (T::Boolean, None) => self.add_bits(array.as_boolean().values()),
            (T::Boolean, Some(nulls)) => self.add_bits(&(array.as_boolean().values() & nulls.inner())),
            (T::Utf8, _) => self.add_texts(array.as_string::<i32>()),
            (T::LargeUtf8, _) => self.add_texts(array.as_string::<i64>()),
            (T::Binary, _) => self.add_texts(array.as_binary::<i32>()),
            (T::LargeBinary, _) => self.add_texts(array.as_binary::<i64>()),
            (T::Utf8View, _) => {
                array.as_string_view().iter().flatten().for_each(|text| self.add_text(text.as_bytes()));
            }
            (T::BinaryView, _) => array.as_binary_view().iter().flatten().for_each(|bytes| self.add_text(bytes)),
            (T::FixedSizeBinary(width), _) => self.add_fixed(array, width.as_usize()),
            (
                T::List(_)
                | T::LargeList(_)
                | T::ListView(_)
                | T::LargeListView(_)
                | T::FixedSizeList(..)
                | T::Struct(_),
                nulls,
            ) => {
                let valid = match nulls {
                    None => array.slice(0, array.len()),
                    Some(nulls) => filter(array, &BooleanArray::new(nulls.inner().clone(), None))?,
                };
                self.add_nested(&valid)?;
            }
            // No format in which rows come takes these: their bytes as they are.
            (T::Map(..) | T::Union(..) | T::RunEndEncoded(..), _) => self.add_data(&array.to_data()),
            (fixed, _) => self.add_fixed(array, fixed.primitive_width().unwrap_or(0)),
        }
        Ok(())
    }

    fn add_bits(&mut self, bits: &BooleanBuffer) {
        for chunk in bits.bit_chunks().iter_padded() {
            self.add_number(chunk);
        }
    }

    /// Values of `width` bytes.
    fn add_fixed(&mut self, array: &dyn Array, width: usize) {
        let data = array.to_data();
        let Some(values) = data.buffers().first() else { return };
        let values = &values[data.offset() * width..(data.offset() + data.len()) * width];
        for_each_valid(array, |range| self.0.update(&values[range.start * width..range.end * width]));
    }

    /// Lengths, then bytes, for each stretch without a NULL.
    fn add_texts<T: ByteArrayType>(&mut self, array: &GenericByteArray<T>) {
        let (offsets, bytes) = (array.value_offsets(), array.value_data());
        for_each_valid(array, |range| {
            for i in range.clone() {
                self.add_number((offsets[i + 1].as_usize() - offsets[i].as_usize()) as u64);
            }
            self.0.update(&bytes[offsets[range.start].as_usize()..offsets[range.end].as_usize()]);
        });
    }

    /// Lists or structs without a NULL.
    fn add_nested(&mut self, array: &ArrayRef) -> Result<()> {
        match array.data_type() {
            DataType::List(_) => self.add_lists(array.as_list::<i32>()),
            DataType::LargeList(_) => self.add_lists(array.as_list::<i64>()),
            DataType::ListView(_) => self.add_views(array.as_list_view::<i32>()),
            DataType::LargeListView(_) => self.add_views(array.as_list_view::<i64>()),
            DataType::FixedSizeList(_, n) => {
                let items = array.as_fixed_size_list().values().slice(0, n.as_usize() * array.len());
                self.add_values(items.as_ref())
            }
            _ => array.as_struct().columns().iter().try_for_each(|column| self.add_values(column.as_ref())),
        }
    }

    fn add_lists<O: OffsetSizeTrait>(&mut self, lists: &GenericListArray<O>) -> Result<()> {
        let offsets = lists.value_offsets();
        for pair in offsets.windows(2) {
            self.add_number((pair[1].as_usize() - pair[0].as_usize()) as u64);
        }
        let (first, end) = (offsets[0].as_usize(), offsets[lists.len()].as_usize());
        self.add_values(lists.values().slice(first, end - first).as_ref())
    }

    fn add_views<O: OffsetSizeTrait>(&mut self, lists: &GenericListViewArray<O>) -> Result<()> {
        (0..lists.len()).try_for_each(|row| self.add_values(lists.value(row).as_ref()))
    }

    /// Each row by a hash of its value: which other values a dictionary has, and in which order, is not content.
    fn add_dictionary(&mut self, dictionary: &dyn AnyDictionaryArray) -> Result<()> {
        const NULL: u64 = 0;
        let values = dictionary.values();
        let mut hashes = Vec::with_capacity(values.len());
        for i in 0..values.len() {
            let mut hash = Self::default();
            hash.add_values(values.slice(i, 1).as_ref())?;
            hashes.push(if values.is_null(i) { NULL } else { hash.finish() });
        }
        let keys = dictionary.keys();
        // Asking for the keys panics without values; then all of them are NULL.
        let places = if hashes.is_empty() { Vec::new() } else { dictionary.normalized_keys() };
        for row in 0..keys.len() {
            let place = places.get(row).filter(|_| keys.is_valid(row));
            self.add_number(place.and_then(|place| hashes.get(*place)).copied().unwrap_or(NULL));
        }
        Ok(())
    }

    fn add_data(&mut self, data: &ArrayData) {
        self.add_number(data.len() as u64);
        self.add_number(data.offset() as u64);
        data.buffers().iter().for_each(|buffer| self.add_text(buffer));
        data.child_data().iter().for_each(|child| self.add_data(child));
    }
}

/// Calls `each` for every stretch of rows without a NULL.
fn for_each_valid(array: &dyn Array, mut each: impl FnMut(Range<usize>)) {
    match array.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => each(0..array.len()),
        Some(nulls) => nulls.valid_slices().for_each(|(start, end)| each(start..end)),
    }
}

/// What tells types apart. The numbers are part of hashes on disk: they never change.
fn tag_of(data_type: &DataType) -> (u8, i32, i32) {
    use DataType as T;
    let unit = |unit: &TimeUnit| match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 1,
        TimeUnit::Microsecond => 2,
        TimeUnit::Nanosecond => 3,
    };
    match data_type {
        T::Null => (0, 0, 0),
        T::Boolean => (1, 0, 0),
        T::Int8 => (2, 0, 0),
        T::Int16 => (3, 0, 0),
        T::Int32 => (4, 0, 0),
        T::Int64 => (5, 0, 0),
        T::UInt8 => (6, 0, 0),
        T::UInt16 => (7, 0, 0),
        T::UInt32 => (8, 0, 0),
        T::UInt64 => (9, 0, 0),
        T::Float16 => (10, 0, 0),
        T::Float32 => (11, 0, 0),
        T::Float64 => (12, 0, 0),
        T::Timestamp(of, zone) => (13, unit(of), i32::from(zone.is_some())),
        T::Date32 => (14, 0, 0),
        T::Date64 => (15, 0, 0),
        T::Time32(of) => (16, unit(of), 0),
        T::Time64(of) => (17, unit(of), 0),
        T::Duration(of) => (18, unit(of), 0),
        T::Interval(IntervalUnit::YearMonth) => (19, 0, 0),
        T::Interval(IntervalUnit::DayTime) => (19, 1, 0),
        T::Interval(IntervalUnit::MonthDayNano) => (19, 2, 0),
        T::Binary => (20, 0, 0),
        T::FixedSizeBinary(width) => (21, *width, 0),
        T::LargeBinary => (22, 0, 0),
        T::BinaryView => (23, 0, 0),
        T::Utf8 => (24, 0, 0),
        T::LargeUtf8 => (25, 0, 0),
        T::Utf8View => (26, 0, 0),
        T::List(_) => (27, 0, 0),
        T::ListView(_) => (28, 0, 0),
        T::FixedSizeList(_, n) => (29, *n, 0),
        T::LargeList(_) => (30, 0, 0),
        T::LargeListView(_) => (31, 0, 0),
        T::Struct(fields) => (32, fields.len() as i32, 0),
        T::Union(fields, _) => (33, fields.len() as i32, 0),
        T::Dictionary(_, _) => (34, 0, 0),
        T::Decimal32(precision, scale) => (35, i32::from(*precision), i32::from(*scale)),
        T::Decimal64(precision, scale) => (36, i32::from(*precision), i32::from(*scale)),
        T::Decimal128(precision, scale) => (37, i32::from(*precision), i32::from(*scale)),
        T::Decimal256(precision, scale) => (38, i32::from(*precision), i32::from(*scale)),
        T::Map(_, _) => (39, 0, 0),
        T::RunEndEncoded(_, _) => (40, 0, 0),
    }
}
