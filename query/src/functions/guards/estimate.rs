//! How large will a result be? Upper bounds a row, from the lengths and values of the arguments.

use arrow::array::{Array, ArrayRef, AsArray, GenericListArray, Int64Array, OffsetSizeTrait};
use arrow::compute::{cast, kernels::length::length};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{ScalarValue, exec_err};
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;

use super::guarded::fixed_bytes;

/// Bytes of text or of list values, and elements of lists, all levels counted.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Size {
    pub bytes: u64,
    pub elements: u64,
}

type OfRow<'a> = Box<dyn Fn(usize) -> Result<Size> + 'a>;
/// Looks at the arguments of a call once, then tells the size of each row's result.
pub(super) type Estimator = for<'a> fn(&'a [ColumnarValue]) -> Result<OfRow<'a>>;

/// An argument as one number a row, or one for all.
struct Numbers {
    values: Int64Array,
    is_constant: bool,
}

impl Numbers {
    /// NULL counts as 0: the result is NULL, or the argument is not looked at.
    fn get(&self, row: usize) -> i64 {
        let at = if self.is_constant { 0 } else { row };
        if self.values.is_valid(at) { self.values.value(at) } else { 0 }
    }

    fn count(&self, row: usize) -> u64 {
        u64::try_from(self.get(row)).unwrap_or(0)
    }
}

fn numbers(arg: &ColumnarValue, of: impl Fn(&ArrayRef) -> Result<ArrayRef>) -> Result<Numbers> {
    let (array, is_constant) = match arg {
        ColumnarValue::Array(array) => (array.clone(), false),
        ColumnarValue::Scalar(scalar) => (scalar.to_array()?, true),
    };
    let given = of(&array)?;
    let mut values = cast(&given, &DataType::Int64)?.as_primitive::<Int64Type>().clone();
    if values.null_count() > given.null_count() {
        // What does not fit is too much, not nothing.
        values = (0..values.len())
            .map(|at| given.is_valid(at).then(|| if values.is_valid(at) { values.value(at) } else { i64::MAX }))
            .collect();
    }
    Ok(Numbers { values, is_constant })
}

fn nothing() -> Numbers {
    Numbers { values: Int64Array::from(vec![0]), is_constant: true }
}

/// Values of an integer argument; 0 if it is missing or no number.
fn value(args: &[ColumnarValue], at: usize) -> Result<Numbers> {
    match args.get(at) {
        Some(arg) if arg.data_type().is_numeric() => numbers(arg, |array| Ok(array.clone())),
        _ => Ok(nothing()),
    }
}

/// Bytes of a text argument, elements of a list's top level.
fn len(args: &[ColumnarValue], at: usize) -> Result<Numbers> {
    match args.get(at) {
        Some(arg) if has_length(&arg.data_type()) => numbers(arg, |array| Ok(length(array.as_ref())?)),
        _ => Ok(nothing()),
    }
}

fn has_length(data_type: &DataType) -> bool {
    data_type.is_string()
        || data_type.is_binary()
        || matches!(data_type, DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..))
}

fn is_null(arg: Option<&ColumnarValue>, row: usize) -> bool {
    match arg {
        None => true,
        Some(ColumnarValue::Array(array)) => array.is_null(row),
        Some(ColumnarValue::Scalar(scalar)) => scalar.is_null(),
    }
}

/// Bytes and elements of one value of any type.
fn weight(arg: Option<&ColumnarValue>, row: usize) -> Result<Size> {
    let array = match arg {
        None => return Ok(Size { bytes: 1, elements: 1 }),
        Some(ColumnarValue::Array(array)) => array.slice(row, 1),
        Some(ColumnarValue::Scalar(scalar)) => scalar.to_array()?,
    };
    Ok(Size { bytes: bytes_of(&array), elements: elements_of(&array) })
}

pub(super) fn bytes_of(array: &ArrayRef) -> u64 {
    match array.data_type() {
        data_type if data_type.is_string() || data_type.is_binary() => {
            // Views share their buffers: only the length of the text itself is copied into a result.
            let text = length(array.as_ref()).ok().and_then(|n| cast(&n, &DataType::Int64).ok());
            let n = text.map_or(0, |n| n.as_primitive::<Int64Type>().iter().flatten().sum::<i64>());
            u64::try_from(n).unwrap_or(0) + 16
        }
        // A slice of lists has the items of all of them.
        DataType::List(_) => bytes_of(&items(array.as_list::<i32>())) + 4 * (array.len() as u64 + 1),
        DataType::LargeList(_) => bytes_of(&items(array.as_list::<i64>())) + 8 * (array.len() as u64 + 1),
        DataType::FixedSizeList(..) => bytes_of(array.as_fixed_size_list().values()),
        DataType::Struct(_) => array.as_struct().columns().iter().map(bytes_of).sum(),
        _ => match array.to_data().get_slice_memory_size() {
            Ok(bytes) => bytes as u64,
            Err(_) => array.get_array_memory_size() as u64,
        },
    }
}

/// The items of the lists, and of no others.
fn items<Offset: OffsetSizeTrait>(lists: &GenericListArray<Offset>) -> ArrayRef {
    let offsets = lists.value_offsets();
    let (first, last) = (offsets[0].as_usize(), offsets[lists.len()].as_usize());
    lists.values().slice(first, last - first)
}

/// Items of lists, those within items too.
fn items_within(array: &ArrayRef) -> u64 {
    let items = match array.data_type() {
        DataType::List(_) => items(array.as_list::<i32>()),
        DataType::LargeList(_) => items(array.as_list::<i64>()),
        DataType::FixedSizeList(..) => array.as_fixed_size_list().values().clone(),
        _ => return 0,
    };
    items.len() as u64 + items_within(&items)
}

/// All arguments for so many rows: what a function that only joins them makes at most.
pub(super) fn all(args: &[ColumnarValue], n_rows: usize) -> Result<Size> {
    let mut all = Size::default();
    for arg in args {
        let (array, times) = match arg {
            ColumnarValue::Array(array) => (array.clone(), 1),
            ColumnarValue::Scalar(scalar) => (scalar.to_array()?, n_rows as u64),
        };
        let elements = items_within(&array).saturating_add(array.len() as u64);
        all.bytes = all.bytes.saturating_add(bytes_of(&array).saturating_mul(times));
        all.elements = all.elements.saturating_add(elements.saturating_mul(times));
    }
    Ok(all)
}

pub(super) fn elements_of(array: &ArrayRef) -> u64 {
    match array.data_type() {
        DataType::List(_) => array.as_list::<i32>().iter().flatten().map(|item| elements_of(&item).max(1)).sum(),
        DataType::LargeList(_) => array.as_list::<i64>().iter().flatten().map(|item| elements_of(&item).max(1)).sum(),
        DataType::FixedSizeList(..) => {
            array.as_fixed_size_list().iter().flatten().map(|item| elements_of(&item).max(1)).sum()
        }
        _ => array.len() as u64,
    }
}

fn text(bytes: u64) -> Result<Size> {
    Ok(Size { bytes, elements: 0 })
}

pub(super) fn repeat(args: &[ColumnarValue]) -> Result<OfRow<'_>> {
    let (len, n) = (len(args, 0)?, value(args, 1)?);
    Ok(Box::new(move |row| text(len.count(row).saturating_mul(n.count(row)))))
}

pub(super) fn pad(args: &[ColumnarValue]) -> Result<OfRow<'_>> {
    let (own, n, fill) = (len(args, 0)?, value(args, 1)?, args.len() > 2);
    // Lengths count characters, of at most four bytes; the default fill is a space.
    let bytes = if fill { 4 } else { 1 };
    Ok(Box::new(move |row| text(n.count(row).saturating_mul(bytes).saturating_add(own.count(row)))))
}

pub(super) fn replace(args: &[ColumnarValue]) -> Result<OfRow<'_>> {
    let (own, from, to) = (len(args, 0)?, len(args, 1)?, len(args, 2)?);
    Ok(Box::new(move |row| {
        let (own, from, to) = (own.count(row), from.count(row), to.count(row));
        let bound = (own / from.max(1) + 1).saturating_mul(to).saturating_add(own);
        if bound <= super::MAX_ROW_BYTES {
            return text(bound);
        }
        // The bound is far from the truth when the text is long and the pattern rare: count.
        let n = match (string(args, 0, row)?, string(args, 1, row)?) {
            (Some(text), Some(from)) => text.matches(from.as_str()).count() as u64,
            _ => 0,
        };
        text(n.saturating_mul(to).saturating_add(own))
    }))
}

fn string(args: &[ColumnarValue], at: usize, row: usize) -> Result<Option<String>> {
    let scalar = match args.get(at) {
        None => return Ok(None),
        Some(ColumnarValue::Scalar(scalar)) => scalar.clone(),
        Some(ColumnarValue::Array(array)) => ScalarValue::try_from_array(array, row)?,
    };
    Ok(scalar.try_as_str().flatten().map(str::to_owned))
}

pub(super) fn regexp_replace(args: &[ColumnarValue]) -> Result<OfRow<'_>> {
    let (own, to) = (len(args, 0)?, len(args, 2)?);
    Ok(Box::new(move |row| {
        // At most one match a byte and one behind; a reference (two bytes) copies what was matched, which does not overlap.
        let (own, to) = (own.count(row), to.count(row));
        text((own + 1).saturating_mul(to).saturating_add(own.saturating_mul(1 + to / 2)))
    }))
}

pub(super) fn concat(args: &[ColumnarValue]) -> Result<OfRow<'_>> {
    let lens = (0..args.len()).map(|at| len(args, at)).collect::<Result<Vec<_>>>()?;
    Ok(Box::new(move |row| text(lens.iter().map(|len| len.count(row)).fold(0, u64::saturating_add))))
}

pub(super) fn concat_ws(args: &[ColumnarValue]) -> Result<OfRow<'_>> {
    let (separator, all) = (len(args, 0)?, concat(args)?);
    let n = args.len() as u64;
    Ok(Box::new(move |row| text(separator.count(row).saturating_mul(n).saturating_add(all(row)?.bytes))))
}

pub(super) fn array_repeat(args: &[ColumnarValue]) -> Result<OfRow<'_>> {
    let n = value(args, 1)?;
    Ok(Box::new(move |row| times(n.count(row), weight(args.first(), row)?)))
}

pub(super) fn array_resize(args: &[ColumnarValue]) -> Result<OfRow<'_>> {
    let (own, n, width) = (len(args, 0)?, value(args, 1)?, item_bytes(args, 0));
    Ok(Box::new(move |row| {
        // The engine would take it for a bug of its own.
        if n.get(row) < 0 && !is_null(args.first(), row) {
            return exec_err!("array_resize: a list cannot have {} items", n.get(row));
        }
        let added = n.count(row).saturating_sub(own.count(row));
        let one = weight(args.get(2), row)?;
        times(added, Size { bytes: one.bytes.max(width), ..one })
    }))
}

/// Bytes that an item of a list has whatever its value, if its type says so.
fn item_bytes(args: &[ColumnarValue], at: usize) -> u64 {
    match args.get(at).map(ColumnarValue::data_type) {
        Some(DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _)) => {
            fixed_bytes(item.data_type())
        }
        _ => 0,
    }
}

/// Everything that a row is given.
pub(super) fn sum(args: &[ColumnarValue]) -> Result<OfRow<'_>> {
    Ok(Box::new(move |row| {
        let mut sum = Size::default();
        for arg in args {
            let one = weight(Some(arg), row)?;
            sum.bytes = sum.bytes.saturating_add(one.bytes);
            sum.elements = sum.elements.saturating_add(one.elements);
        }
        Ok(sum)
    }))
}

/// Constants, which become a column.
pub(super) fn constants(args: &[ColumnarValue]) -> Result<OfRow<'_>> {
    let mut bytes: u64 = 0;
    for arg in args {
        if let ColumnarValue::Scalar(scalar) = arg {
            bytes = bytes.saturating_add(bytes_of(&scalar.to_array()?));
        }
    }
    Ok(Box::new(move |_| text(bytes)))
}

/// All lists of a row become as long as the longest.
pub(super) fn arrays_zip(args: &[ColumnarValue]) -> Result<OfRow<'_>> {
    let lens = (0..args.len()).map(|at| len(args, at)).collect::<Result<Vec<_>>>()?;
    let width = (0..args.len()).map(|at| item_bytes(args, at)).fold(0, u64::saturating_add);
    let given = sum(args)?;
    Ok(Box::new(move |row| {
        let longest = lens.iter().map(|len| len.count(row)).max().unwrap_or(0);
        let padded = times(longest, Size { bytes: width, elements: args.len() as u64 })?;
        Ok(Size { bytes: padded.bytes.saturating_add(given(row)?.bytes), elements: padded.elements })
    }))
}

/// A part for each delimiter, or for each character without one.
pub(super) fn string_to_array(args: &[ColumnarValue]) -> Result<OfRow<'_>> {
    let own = len(args, 0)?;
    Ok(Box::new(move |row| {
        let parts = match (string(args, 0, row)?, string(args, 1, row)?) {
            (Some(text), Some(delimiter)) if !delimiter.is_empty() => text.matches(delimiter.as_str()).count() as u64,
            _ => own.count(row),
        };
        let elements = parts.saturating_add(1);
        Ok(Size { bytes: own.count(row).saturating_add(elements.saturating_mul(4)), elements })
    }))
}

fn times(n: u64, one: Size) -> Result<Size> {
    Ok(Size { bytes: n.saturating_mul(one.bytes), elements: n.saturating_mul(one.elements.max(1)) })
}

pub(super) fn array_to_string(args: &[ColumnarValue]) -> Result<OfRow<'_>> {
    let (delimiter, null) = (len(args, 1)?, len(args, 2)?);
    Ok(Box::new(move |row| {
        let list = weight(args.first(), row)?;
        // A number has at most 32 digits here.
        let each = delimiter.count(row).saturating_add(null.count(row)).saturating_add(32);
        text(list.elements.saturating_mul(each).saturating_add(list.bytes))
    }))
}

pub(super) fn array_replace(args: &[ColumnarValue]) -> Result<OfRow<'_>> {
    let own = len(args, 0)?;
    Ok(Box::new(move |row| times(own.count(row), weight(args.get(2), row)?)))
}

/// A format's longest items, such as the full name of a weekday or nine digits, come from two bytes.
pub(super) fn to_char(args: &[ColumnarValue]) -> Result<OfRow<'_>> {
    let format = len(args, 1)?;
    Ok(Box::new(move |row| text(format.count(row).saturating_mul(32))))
}

pub(super) fn range(args: &[ColumnarValue]) -> Result<OfRow<'_>> {
    series(args, false)
}

pub(super) fn generate_series(args: &[ColumnarValue]) -> Result<OfRow<'_>> {
    series(args, true)
}

fn series(args: &[ColumnarValue], with_end: bool) -> Result<OfRow<'_>> {
    let at = move |at: usize, row: usize| -> Result<Option<ScalarValue>> {
        Ok(match args.get(at) {
            None => None,
            Some(ColumnarValue::Scalar(scalar)) => Some(scalar.clone()),
            Some(ColumnarValue::Array(array)) => Some(ScalarValue::try_from_array(array, row)?),
        })
    };
    Ok(Box::new(move |row| {
        let (first, second, step) = (at(0, row)?, at(1, row)?, at(2, row)?);
        // With one argument, a series runs from 0 to it.
        let (start, stop) = match (first, second) {
            (Some(stop), None) => (ScalarValue::Int64(Some(0)), stop),
            (Some(start), Some(stop)) => (start, stop),
            _ => return exec_err!("a series needs an end"),
        };
        let elements = super::series::n_values(&start, &stop, step.as_ref(), with_end);
        Ok(Size { bytes: elements.saturating_mul(8), elements })
    }))
}
