//! Which values can a stretch of rows hold? Minimum, maximum and NULLs of every column, a zone at a time.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowNativeTypeOp, ArrowNumericType, AsArray, BinaryArray, BooleanArray, Float32Array,
    Float64Array, PrimitiveArray, RecordBatch, StringArray, UInt64Array, downcast_primitive,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute;
use arrow::datatypes::{DataType, Float32Type, Float64Type};

use crate::limits::ZONE_ROWS;

/// A text or binary bound that is longer is not kept: it would cost more memory than it saves reading.
const MAX_BOUND_BYTES: usize = 64;

/// Minimum, maximum and NULLs of each column for each zone of [`crate::limits::ZONE_ROWS`] rows.
#[derive(Debug, Default)]
pub struct ZoneMap {
    /// Rows of each zone.
    pub rows: Vec<Range<usize>>,
    /// By column; `None` for types without an order (lists, structs), and in tail batches that are too small for zones to
    /// pay. Each array has one value a zone.
    pub columns: Vec<Option<ZoneColumn>>,
}

/// The bounds of one column. Every value of a zone lies within `[min, max]` where these are not NULL; a NULL bound says nothing. Bounds are
/// values that occur, but of texts and bytes: there they may be of rows that lost deduplication.
#[derive(Debug)]
pub struct ZoneColumn {
    /// NULL where the zone has only NULLs, holds a NaN, or a text bound would be too long to keep.
    pub min: ArrayRef,
    /// NULL where `min` is, for the same reasons (a long text is judged for each bound by itself).
    pub max: ArrayRef,
    pub nulls: UInt64Array,
}

impl ZoneMap {
    /// The zones of `rows`, with bounds of every column that has an order.
    pub fn of(rows: &RecordBatch) -> Self {
        let zones = zone_rows(rows.num_rows());
        let columns = rows.columns().iter().map(|column| ZoneColumn::of(column, &zones)).collect();
        Self { rows: zones, columns }
    }

    /// The zones of `rows` without bounds: nothing can be skipped.
    pub fn unknown(rows: &RecordBatch) -> Self {
        Self { rows: zone_rows(rows.num_rows()), columns: rows.columns().iter().map(|_| None).collect() }
    }

    /// The zones of `rows`, which are what `kept` leaves of the batch that this is the map of. Of texts and bytes, where bounds take long to
    /// find, the bounds stay: no value is outside, though those at the bounds may be gone.
    #[must_use]
    pub fn narrowed(&self, kept: &BooleanBuffer, rows: &RecordBatch) -> Self {
        let left: Vec<usize> =
            self.rows.iter().map(|zone| kept.slice(zone.start, zone.len()).count_set_bits()).collect();
        let mut zones = Vec::with_capacity(left.len());
        let mut start = 0;
        for n_rows in left.iter().filter(|n_rows| **n_rows > 0) {
            zones.push(start..start + n_rows);
            start += n_rows;
        }
        let is_left: BooleanArray = left.iter().map(|n_rows| Some(*n_rows > 0)).collect();
        let columns = self.columns.iter().zip(rows.columns()).map(|(bounds, column)| match column.data_type() {
            DataType::Utf8 | DataType::Binary => bounds.as_ref()?.narrowed(&is_left, column, &zones),
            _ => ZoneColumn::of(column, &zones),
        });
        Self { columns: columns.collect(), rows: zones }
    }

    /// Heap bytes of the bounds.
    pub fn bytes(&self) -> usize {
        let bounds = |c: &ZoneColumn| c.min.get_array_memory_size() + c.max.get_array_memory_size();
        let zones = self.rows.len();
        self.columns.iter().flatten().map(|c| bounds(c) + zones * size_of::<u64>()).sum::<usize>()
            + zones * size_of::<Range<usize>>()
    }
}

fn zone_rows(n_rows: usize) -> Vec<Range<usize>> {
    (0..n_rows).step_by(ZONE_ROWS).map(|start| start..(start + ZONE_ROWS).min(n_rows)).collect()
}

impl ZoneColumn {
    fn of(column: &ArrayRef, zones: &[Range<usize>]) -> Option<Self> {
        let slices: Vec<ArrayRef> = zones.iter().map(|zone| column.slice(zone.start, zone.len())).collect();
        let (min, max) = bounds(column.data_type(), &slices)?;
        let nulls = slices.iter().map(|slice| slice.null_count() as u64).collect();
        Some(Self { min, max, nulls })
    }

    /// These bounds for those of the zones that are left.
    fn narrowed(&self, is_left: &BooleanArray, column: &ArrayRef, zones: &[Range<usize>]) -> Option<Self> {
        let nulls = zones.iter().map(|zone| column.slice(zone.start, zone.len()).null_count() as u64).collect();
        Some(Self {
            min: compute::filter(&self.min, is_left).ok()?,
            max: compute::filter(&self.max, is_left).ok()?,
            nulls,
        })
    }
}

/// One minimum and one maximum for each slice.
fn bounds(data_type: &DataType, slices: &[ArrayRef]) -> Option<(ArrayRef, ArrayRef)> {
    macro_rules! primitive_bounds {
        ($t:ty) => {
            Some(primitive::<$t>(data_type, slices))
        };
    }
    match data_type {
        DataType::Float32 => {
            let (min, max) = slices.iter().map(|s| float32(s.as_primitive())).unzip::<_, _, Vec<_>, Vec<_>>();
            Some((Arc::new(Float32Array::from(min)), Arc::new(Float32Array::from(max))))
        }
        DataType::Float64 => {
            let (min, max) = slices.iter().map(|s| float64(s.as_primitive())).unzip::<_, _, Vec<_>, Vec<_>>();
            Some((Arc::new(Float64Array::from(min)), Arc::new(Float64Array::from(max))))
        }
        DataType::Boolean => {
            let min: BooleanArray = slices.iter().map(|s| compute::min_boolean(s.as_boolean())).collect();
            let max: BooleanArray = slices.iter().map(|s| compute::max_boolean(s.as_boolean())).collect();
            Some((Arc::new(min), Arc::new(max)))
        }
        DataType::Utf8 => {
            let short = |text: Option<&str>| text.filter(|t| t.len() <= MAX_BOUND_BYTES).map(str::to_owned);
            let min: StringArray = slices.iter().map(|s| short(compute::min_string(s.as_string::<i32>()))).collect();
            let max: StringArray = slices.iter().map(|s| short(compute::max_string(s.as_string::<i32>()))).collect();
            Some((Arc::new(min), Arc::new(max)))
        }
        DataType::Binary => {
            let short = |bytes: Option<&[u8]>| bytes.filter(|b| b.len() <= MAX_BOUND_BYTES).map(<[u8]>::to_vec);
            let min: BinaryArray = slices.iter().map(|s| short(compute::min_binary(s.as_binary::<i32>()))).collect();
            let max: BinaryArray = slices.iter().map(|s| short(compute::max_binary(s.as_binary::<i32>()))).collect();
            Some((Arc::new(min), Arc::new(max)))
        }
        other => downcast_primitive! {
            other => (primitive_bounds),
            _ => None,
        },
    }
}

fn primitive<T: ArrowNumericType>(data_type: &DataType, slices: &[ArrayRef]) -> (ArrayRef, ArrayRef)
where
    T::Native: ArrowNativeTypeOp,
{
    let min: PrimitiveArray<T> = slices.iter().map(|s| compute::min(s.as_primitive::<T>())).collect();
    let max: PrimitiveArray<T> = slices.iter().map(|s| compute::max(s.as_primitive::<T>())).collect();
    (Arc::new(min.with_data_type(data_type.clone())), Arc::new(max.with_data_type(data_type.clone())))
}

/// Bounds of floats. A NaN makes both unknown, since engines disagree on its place. Zeros are widened to both signs, so that
/// a comparison by total order and one by value prune alike.
macro_rules! float_bounds {
    ($name:ident, $arrow:ty, $native:ty) => {
        fn $name(values: &PrimitiveArray<$arrow>) -> (Option<$native>, Option<$native>) {
            if values.iter().flatten().any(<$native>::is_nan) {
                return (None, None);
            }
            let min = compute::min(values).map(|v| if v == 0.0 { -0.0 } else { v });
            let max = compute::max(values).map(|v| if v == 0.0 { 0.0 } else { v });
            (min, max)
        }
    };
}
float_bounds!(float32, Float32Type, f32);
float_bounds!(float64, Float64Type, f64);
