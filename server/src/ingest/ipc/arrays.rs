//! How do nodes and buffers become arrays? One walk over the shape of a record batch, with Arrow's full validation.

use std::collections::HashMap;

use arrow::array::{Array, ArrayData, ArrayRef, UnionArray, make_array};
use arrow::buffer::{Buffer, ScalarBuffer};
use arrow::datatypes::{DataType, UnionFields, UnionMode};
use arrow::ipc;
use tidewater_storage::Result;

use super::body::Body;
use super::schema::{Layout, Shape};
use super::{Budget, malformed};

/// What a NULL of a column without a type is counted as: the widest value that it may become.
const NULL_BYTES: u64 = 16;

/// The size of one view.
const VIEW_BYTES: usize = 16;

/// Data buffers of one view column.
const MAX_VIEW_BUFFERS: i64 = 100_000;

/// The nodes and buffers of one record batch, from first to last.
pub(super) struct Walk<'a> {
    nodes: std::vec::IntoIter<ipc::FieldNode>,
    buffers: std::vec::IntoIter<ipc::Buffer>,
    view_counts: std::vec::IntoIter<i64>,
    body: Body<'a>,
    dictionaries: &'a HashMap<i64, ArrayRef>,
    budget: &'a mut Budget,
}

impl<'a> Walk<'a> {
    pub fn new(
        batch: ipc::RecordBatch<'_>,
        body: &'a [u8],
        dictionaries: &'a HashMap<i64, ArrayRef>,
        budget: &'a mut Budget,
    ) -> Result<Self> {
        Ok(Self {
            nodes: batch.nodes().into_iter().flatten().copied().collect::<Vec<_>>().into_iter(),
            buffers: batch.buffers().into_iter().flatten().copied().collect::<Vec<_>>().into_iter(),
            view_counts: batch.variadicBufferCounts().into_iter().flatten().collect::<Vec<_>>().into_iter(),
            body: Body::new(body, batch.compression())?,
            dictionaries,
            budget,
        })
    }

    /// The next column, of `rows` rows.
    pub fn column(&mut self, shape: &Shape, rows: usize) -> Result<ArrayRef> {
        let data = self.array(shape)?;
        if data.len() != rows {
            return Err(malformed(format!("a column has {} values, the batch {rows} rows", data.len())));
        }
        Ok(make_array(data))
    }

    /// Everything was taken.
    pub fn end(mut self) -> Result<()> {
        match (self.nodes.len(), self.buffers.len(), self.view_counts.next()) {
            (0, 0, None) => Ok(()),
            _ => Err(malformed("a record batch has more nodes or buffers than its schema")),
        }
    }

    fn array(&mut self, shape: &Shape) -> Result<ArrayData> {
        let (len, nulls) = self.node()?;
        match &shape.layout {
            Layout::Null => {
                self.budget.pay((len as u64).saturating_mul(NULL_BYTES))?;
                Ok(ArrayData::new_null(&DataType::Null, len))
            }
            Layout::Fixed => {
                let validity = self.validity(len, nulls)?;
                let width = shape.data_type.primitive_width().unwrap_or(1);
                let buffers = vec![self.values(width)?];
                build(shape, len, nulls, validity, buffers, Vec::new())
            }
            Layout::Bytes => {
                let validity = self.validity(len, nulls)?;
                let buffers = vec![self.values(offset_bytes(&shape.data_type))?, self.buffer()?];
                build(shape, len, nulls, validity, buffers, Vec::new())
            }
            Layout::View => {
                let validity = self.validity(len, nulls)?;
                let count = self.view_counts.next().ok_or_else(|| malformed("a count of view buffers is missing"))?;
                if !(0..=MAX_VIEW_BUFFERS).contains(&count) {
                    return Err(malformed(format!("a view column with {count} buffers")));
                }
                let views = self.values(VIEW_BYTES)?;
                // Before they are validated: each view's bytes are looked at, however many views refer to them.
                self.budget.view(viewed_bytes(&views, len))?;
                let mut buffers = vec![views];
                for _ in 0..count {
                    buffers.push(self.buffer()?);
                }
                build(shape, len, nulls, validity, buffers, Vec::new())
            }
            Layout::List(item) => {
                let validity = self.validity(len, nulls)?;
                let offsets = vec![self.values(offset_bytes(&shape.data_type))?];
                let values = self.array(item)?;
                build(shape, len, nulls, validity, offsets, vec![values])
            }
            Layout::FixedList(item, n) => {
                let validity = self.validity(len, nulls)?;
                let values = self.array(item)?;
                if len.checked_mul(*n) != Some(values.len()) {
                    return Err(malformed(format!("{len} lists of {n} values hold {} values", values.len())));
                }
                build(shape, len, nulls, validity, Vec::new(), vec![values])
            }
            Layout::Struct(fields) => {
                let validity = self.validity(len, nulls)?;
                let mut children = Vec::with_capacity(fields.len());
                for field in fields {
                    let child = self.array(field)?;
                    if child.len() != len {
                        return Err(malformed(format!("{len} structs with a field of {} values", child.len())));
                    }
                    children.push(child);
                }
                build(shape, len, nulls, validity, Vec::new(), children)
            }
            Layout::Dictionary(id) => {
                let validity = self.validity(len, nulls)?;
                let width = match &shape.data_type {
                    DataType::Dictionary(index, _) => index.primitive_width().unwrap_or(1),
                    _ => 1,
                };
                let indexes = vec![self.values(width)?];
                // A writer may leave out a dictionary that no row refers to.
                let values = match (self.dictionaries.get(id), &shape.data_type) {
                    (Some(values), _) => values.to_data(),
                    (None, DataType::Dictionary(_, values)) => ArrayData::new_empty(values),
                    (None, _) => return Err(malformed(format!("dictionary {id} is missing"))),
                };
                build(shape, len, nulls, validity, indexes, vec![values])
            }
            Layout::Union(children) => self.union(shape, children, len),
        }
    }

    /// It has no validity: NULLs are values of its children.
    fn union(&mut self, shape: &Shape, children: &[Shape], len: usize) -> Result<ArrayData> {
        let DataType::Union(fields, mode) = &shape.data_type else { return Err(malformed("a union of no types")) };
        let types = self.values(1)?;
        let offsets = match mode {
            UnionMode::Dense => Some(self.values(size_of::<i32>())?),
            UnionMode::Sparse => None,
        };
        let is_short = |buffer: &Buffer, width: usize| buffer.len() / width < len;
        if is_short(&types, 1) || offsets.as_ref().is_some_and(|offsets| is_short(offsets, size_of::<i32>())) {
            return Err(malformed(format!("a union of {len} values with fewer types or offsets")));
        }
        let children = children.iter().map(|child| self.array(child).map(make_array)).collect::<Result<Vec<_>>>()?;
        let types = ScalarBuffer::<i8>::new(types, 0, len);
        let offsets = offsets.map(|offsets| ScalarBuffer::<i32>::new(offsets, 0, len));
        let union = UnionArray::try_new(fields.clone(), types, offsets, children).map_err(malformed)?;
        check_each_once(&union, fields)?;
        Ok(union.into_data())
    }

    /// Length and number of NULLs of the next array.
    fn node(&mut self) -> Result<(usize, usize)> {
        let node = self.nodes.next().ok_or_else(|| malformed("a record batch has fewer nodes than its schema"))?;
        match (usize::try_from(node.length()), usize::try_from(node.null_count())) {
            // Offsets are 32 bits wide; more values than that cannot be paid for anyway.
            (Ok(len), Ok(nulls)) if nulls <= len && len <= i32::MAX as usize => Ok((len, nulls)),
            _ => Err(malformed(format!("an array of {} values with {} NULLs", node.length(), node.null_count()))),
        }
    }

    fn buffer(&mut self) -> Result<Buffer> {
        let at = self.buffers.next().ok_or_else(|| malformed("a record batch has fewer buffers than its schema"))?;
        self.body.buffer(at, self.budget)
    }

    /// A buffer of values of `width` bytes. A rest that is no whole value is cut off: Arrow's validation panics at it.
    fn values(&mut self, width: usize) -> Result<Buffer> {
        let buffer = self.buffer()?;
        let whole = buffer.len() / width * width;
        Ok(if whole == buffer.len() { buffer } else { buffer.slice_with_length(0, whole) })
    }

    /// The validity of `len` values; the buffer is always there, and used only if there are NULLs.
    fn validity(&mut self, len: usize, nulls: usize) -> Result<Option<Buffer>> {
        let buffer = self.buffer()?;
        if nulls == 0 {
            return Ok(None);
        }
        if buffer.len() < len.div_ceil(8) {
            return Err(malformed(format!("the validity of {len} values has {} bytes", buffer.len())));
        }
        Ok(Some(buffer))
    }
}

/// Rows of a dense union may share one value, and take far more than was sent once each has its own. Values of a few bytes do no harm, and
/// writers may have one NULL for all rows.
fn check_each_once(union: &UnionArray, fields: &UnionFields) -> Result<()> {
    let Some(offsets) = union.offsets() else { return Ok(()) };
    let mut seen: HashMap<i8, Vec<u8>> = HashMap::new();
    for (number, field) in fields.iter() {
        let data_type = field.data_type();
        let is_small = data_type.is_null() || *data_type == DataType::Boolean || data_type.primitive_width().is_some();
        if !is_small {
            seen.insert(number, vec![0; union.child(number).len().div_ceil(8)]);
        }
    }
    for (number, offset) in union.type_ids().iter().zip(offsets.iter()) {
        // Every offset is that of a value.
        let at = usize::try_from(*offset).unwrap_or(0);
        let Some(byte) = seen.get_mut(number).and_then(|seen| seen.get_mut(at / 8)) else { continue };
        if *byte & (1 << (at % 8)) != 0 {
            return Err(malformed("several rows of a union share one value"));
        }
        *byte |= 1 << (at % 8);
    }
    Ok(())
}

/// Bytes that the first `len` views refer to. The low 32 bits of a view are its length.
fn viewed_bytes(views: &[u8], len: usize) -> u64 {
    let lengths = views.chunks_exact(VIEW_BYTES).take(len).filter_map(|view| view.first_chunk::<4>());
    lengths.map(|length| u64::from(u32::from_le_bytes(*length))).fold(0, u64::saturating_add)
}

/// The width of a type's offsets.
fn offset_bytes(data_type: &DataType) -> usize {
    match data_type {
        DataType::LargeUtf8 | DataType::LargeBinary | DataType::LargeList(_) => 8,
        _ => 4,
    }
}

/// Builds and validates: sizes, offsets, UTF-8, dictionary indexes, number of NULLs.
fn build(
    shape: &Shape,
    len: usize,
    nulls: usize,
    validity: Option<Buffer>,
    buffers: Vec<Buffer>,
    children: Vec<ArrayData>,
) -> Result<ArrayData> {
    ArrayData::builder(shape.data_type.clone())
        .len(len)
        .null_count(nulls)
        .null_bit_buffer(validity)
        .buffers(buffers)
        .child_data(children)
        .align_buffers(true)
        .build()
        .map_err(malformed)
}
