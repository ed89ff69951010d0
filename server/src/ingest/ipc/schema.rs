//! Which columns does a message declare? The schema, read against the list of types that we take.
//!
//! Fields come out nullable and without metadata: whether a NULL may be stored is the table's decision, row by row, and
//! what clients note in metadata (extension names, pandas' indexes) changes neither types nor values.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{
    DECIMAL32_MAX_PRECISION, DECIMAL64_MAX_PRECISION, DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType,
    Field, Fields, Schema, SchemaRef, TimeUnit, UnionFields, UnionMode,
};
use arrow::ipc;
use tidewater_storage::Result;
use tidewater_storage::limits::{MAX_COLUMNS, MAX_NAME_BYTES};

use super::{MAX_NESTING, malformed, unsupported};

/// How an array of a type is laid out in a message: what to take, in which order.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Layout {
    /// No buffers.
    Null,
    /// Validity, values of a fixed width (or bits).
    Fixed,
    /// Validity, offsets, bytes.
    Bytes,
    /// Validity, views, any number of data buffers.
    View,
    /// Validity, offsets; then the child.
    List(Box<Shape>),
    /// Validity; then the child, which has this many values a row.
    FixedList(Box<Shape>, usize),
    /// Validity; then the children.
    Struct(Vec<Shape>),
    /// Validity, indexes; the values are in the dictionary of this id.
    Dictionary(i64),
    /// Numbers of types, offsets if it is dense; then the children.
    Union(Vec<Shape>),
}

/// A type and its layout.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shape {
    pub data_type: DataType,
    pub layout: Layout,
}

/// A schema that was checked.
#[derive(Debug)]
pub(super) struct Checked {
    pub schema: SchemaRef,
    pub columns: Vec<Shape>,
    /// The values of each dictionary.
    pub dictionaries: HashMap<i64, Shape>,
}

/// Reads a schema. `MALFORMED_PAYLOAD` for what contradicts itself and for types that are not taken; `unions` are taken as columns if so.
pub(super) fn read(schema: ipc::Schema<'_>, unions: bool) -> Result<Checked> {
    if schema.endianness() != ipc::Endianness::Little {
        return Err(unsupported("its byte order is big-endian"));
    }
    let mut reader = Reader { n_fields: 0, dictionaries: HashMap::new(), unions };
    let (fields, columns) = match schema.fields() {
        Some(fields) => reader.fields(fields.len(), |i| fields.get(i), 0)?,
        None => Default::default(),
    };
    Ok(Checked { schema: Arc::new(Schema::new(fields)), columns, dictionaries: reader.dictionaries })
}

struct Reader {
    n_fields: usize,
    dictionaries: HashMap<i64, Shape>,
    unions: bool,
}

impl Reader {
    fn fields<'a>(
        &mut self,
        n: usize,
        get: impl Fn(usize) -> ipc::Field<'a>,
        depth: usize,
    ) -> Result<(Fields, Vec<Shape>)> {
        self.n_fields += n;
        if self.n_fields > MAX_COLUMNS {
            return Err(malformed(format!("the schema has more than {MAX_COLUMNS} fields")));
        }
        let mut names = HashSet::with_capacity(n);
        let mut fields = Vec::with_capacity(n);
        let mut shapes = Vec::with_capacity(n);
        for i in 0..n {
            let field = get(i);
            let name = field.name().unwrap_or_default();
            if name.len() > MAX_NAME_BYTES {
                return Err(malformed(format!("a field's name has {} bytes, more than {MAX_NAME_BYTES}", name.len())));
            }
            if !names.insert(name.to_lowercase()) {
                return Err(malformed(format!("two fields are named '{name}' (names differ by more than case)")));
            }
            let shape = self.field(field, depth)?;
            fields.push(Field::new(name, shape.data_type.clone(), true));
            shapes.push(shape);
        }
        Ok((fields.into(), shapes))
    }

    fn field(&mut self, field: ipc::Field<'_>, depth: usize) -> Result<Shape> {
        if depth >= MAX_NESTING {
            return Err(malformed(format!("types are nested more than {MAX_NESTING} deep")));
        }
        let shape = self.shape(field, depth).map_err(|error| in_field(field, error))?;
        match field.dictionary() {
            Some(encoding) => self.dictionary(encoding, shape).map_err(|error| in_field(field, error)),
            None => Ok(shape),
        }
    }

    /// A field whose values stand in a dictionary. Only flat values: a list of dictionaries is taken, a dictionary of
    /// lists is not.
    fn dictionary(&mut self, encoding: ipc::DictionaryEncoding<'_>, values: Shape) -> Result<Shape> {
        if !matches!(values.layout, Layout::Fixed | Layout::Bytes | Layout::View) {
            return Err(unsupported(format!("a dictionary of {}", values.data_type)));
        }
        let index = match encoding.indexType() {
            Some(int) => integer(int)?,
            None => DataType::Int32,
        };
        match self.dictionaries.get(&encoding.id()) {
            Some(known) if *known != values => {
                return Err(malformed(format!("dictionary {} has two types", encoding.id())));
            }
            Some(_) => {}
            None => {
                self.dictionaries.insert(encoding.id(), values.clone());
            }
        }
        Ok(Shape {
            data_type: DataType::Dictionary(Box::new(index), Box::new(values.data_type)),
            layout: Layout::Dictionary(encoding.id()),
        })
    }

    fn shape(&mut self, field: ipc::Field<'_>, depth: usize) -> Result<Shape> {
        let fixed = |data_type| Ok(Shape { data_type, layout: Layout::Fixed });
        let bytes = |data_type| Ok(Shape { data_type, layout: Layout::Bytes });
        let view = |data_type| Ok(Shape { data_type, layout: Layout::View });
        match field.type_type() {
            ipc::Type::Null => Ok(Shape { data_type: DataType::Null, layout: Layout::Null }),
            ipc::Type::Bool => fixed(DataType::Boolean),
            ipc::Type::Int => fixed(integer(declared(field.type_as_int())?)?),
            ipc::Type::FloatingPoint => fixed(float(declared(field.type_as_floating_point())?)?),
            ipc::Type::Decimal => fixed(decimal(declared(field.type_as_decimal())?)?),
            ipc::Type::Date => fixed(date(declared(field.type_as_date())?)?),
            ipc::Type::Time => fixed(time(declared(field.type_as_time())?)?),
            ipc::Type::Timestamp => fixed(timestamp(declared(field.type_as_timestamp())?)?),
            ipc::Type::FixedSizeBinary => {
                let width = declared(field.type_as_fixed_size_binary())?.byteWidth();
                if !(1..=1 << 20).contains(&width) {
                    return Err(malformed(format!("values of {width} bytes")));
                }
                fixed(DataType::FixedSizeBinary(width))
            }
            ipc::Type::Utf8 => bytes(DataType::Utf8),
            ipc::Type::LargeUtf8 => bytes(DataType::LargeUtf8),
            ipc::Type::Binary => bytes(DataType::Binary),
            ipc::Type::LargeBinary => bytes(DataType::LargeBinary),
            ipc::Type::Utf8View => view(DataType::Utf8View),
            ipc::Type::BinaryView => view(DataType::BinaryView),
            ipc::Type::List => {
                let (item, shape) = self.only_child(field, depth)?;
                Ok(Shape { data_type: DataType::List(item), layout: Layout::List(Box::new(shape)) })
            }
            ipc::Type::LargeList => {
                let (item, shape) = self.only_child(field, depth)?;
                Ok(Shape { data_type: DataType::LargeList(item), layout: Layout::List(Box::new(shape)) })
            }
            ipc::Type::FixedSizeList => {
                let size = declared(field.type_as_fixed_size_list())?.listSize();
                let n = match usize::try_from(size) {
                    Ok(n) if (1..=1 << 20).contains(&n) => n,
                    _ => return Err(malformed(format!("lists of {size} values"))),
                };
                let (item, shape) = self.only_child(field, depth)?;
                Ok(Shape {
                    data_type: DataType::FixedSizeList(item, size),
                    layout: Layout::FixedList(Box::new(shape), n),
                })
            }
            ipc::Type::Struct_ => {
                let children = field.children().filter(|children| !children.is_empty());
                let children = children.ok_or_else(|| unsupported("a struct without fields"))?;
                let (fields, shapes) = self.fields(children.len(), |i| children.get(i), depth + 1)?;
                Ok(Shape { data_type: DataType::Struct(fields), layout: Layout::Struct(shapes) })
            }
            ipc::Type::Union if self.unions && depth == 0 => self.union(field),
            other => Err(unsupported(format!("type {}", other.variant_name().unwrap_or("unknown")))),
        }
    }

    fn union(&mut self, field: ipc::Field<'_>) -> Result<Shape> {
        let union = declared(field.type_as_union())?;
        let children = field.children().ok_or_else(|| malformed("a union without types"))?;
        let (fields, shapes) = self.fields(children.len(), |i| children.get(i), 1)?;
        let mode = match union.mode() {
            ipc::UnionMode::Dense => UnionMode::Dense,
            ipc::UnionMode::Sparse => UnionMode::Sparse,
            other => return Err(malformed(format!("unions of mode {}", other.0))),
        };
        let numbers: Vec<i32> = match union.typeIds() {
            Some(numbers) => numbers.iter().collect(),
            None => (0..).take(children.len()).collect(),
        };
        let numbers = numbers.into_iter().map(i8::try_from).collect::<std::result::Result<Vec<_>, _>>();
        let numbers = numbers.map_err(|_| malformed("the number of a union's type is none"))?;
        let fields = UnionFields::try_new(numbers, fields.iter().cloned()).map_err(malformed)?;
        Ok(Shape { data_type: DataType::Union(fields, mode), layout: Layout::Union(shapes) })
    }

    fn only_child(&mut self, field: ipc::Field<'_>, depth: usize) -> Result<(Arc<Field>, Shape)> {
        let child = match field.children() {
            Some(children) if children.len() == 1 => children.get(0),
            _ => return Err(malformed("a list has one child field")),
        };
        let (fields, mut shapes) = self.fields(1, |_| child, depth + 1)?;
        match (fields.first(), shapes.pop()) {
            (Some(item), Some(shape)) => Ok((Arc::clone(item), shape)),
            _ => Err(malformed("a list has one child field")),
        }
    }
}

/// Says in which field it went wrong; the innermost field is said first.
fn in_field(field: ipc::Field<'_>, error: tidewater_storage::Error) -> tidewater_storage::Error {
    let name: String = field.name().unwrap_or_default().chars().take(80).collect();
    let mut out = tidewater_storage::Error::new(error.code(), format!("{} (field '{name}')", error.message()));
    if let Some(hint) = error.hint_text() {
        out = out.hint(hint);
    }
    out
}

/// The table of a type that the field announces.
fn declared<T>(table: Option<T>) -> Result<T> {
    table.ok_or_else(|| malformed("a field's type has no description"))
}

fn integer(int: ipc::Int<'_>) -> Result<DataType> {
    Ok(match (int.bitWidth(), int.is_signed()) {
        (8, true) => DataType::Int8,
        (16, true) => DataType::Int16,
        (32, true) => DataType::Int32,
        (64, true) => DataType::Int64,
        (8, false) => DataType::UInt8,
        (16, false) => DataType::UInt16,
        (32, false) => DataType::UInt32,
        (64, false) => DataType::UInt64,
        (bits, _) => return Err(malformed(format!("integers of {bits} bits"))),
    })
}

fn float(float: ipc::FloatingPoint<'_>) -> Result<DataType> {
    Ok(match float.precision() {
        ipc::Precision::HALF => DataType::Float16,
        ipc::Precision::SINGLE => DataType::Float32,
        ipc::Precision::DOUBLE => DataType::Float64,
        other => return Err(malformed(format!("floating point of precision {}", other.0))),
    })
}

fn decimal(decimal: ipc::Decimal<'_>) -> Result<DataType> {
    let (precision, scale, bits) = (decimal.precision(), decimal.scale(), decimal.bitWidth());
    let wrong = || malformed(format!("a decimal of {bits} bits with precision {precision} and scale {scale}"));
    let p = u8::try_from(precision).map_err(|_| wrong())?;
    let s = i8::try_from(scale).map_err(|_| wrong())?;
    let (data_type, max) = match bits {
        32 => (DataType::Decimal32(p, s), DECIMAL32_MAX_PRECISION),
        64 => (DataType::Decimal64(p, s), DECIMAL64_MAX_PRECISION),
        128 => (DataType::Decimal128(p, s), DECIMAL128_MAX_PRECISION),
        256 => (DataType::Decimal256(p, s), DECIMAL256_MAX_PRECISION),
        _ => return Err(wrong()),
    };
    if p == 0 || p > max || scale > precision || scale < -i32::from(max) {
        return Err(wrong());
    }
    Ok(data_type)
}

fn date(date: ipc::Date<'_>) -> Result<DataType> {
    Ok(match date.unit() {
        ipc::DateUnit::DAY => DataType::Date32,
        ipc::DateUnit::MILLISECOND => DataType::Date64,
        other => return Err(malformed(format!("dates in unit {}", other.0))),
    })
}

fn time(time: ipc::Time<'_>) -> Result<DataType> {
    Ok(match (time.bitWidth(), unit(time.unit())?) {
        (32, unit @ (TimeUnit::Second | TimeUnit::Millisecond)) => DataType::Time32(unit),
        (64, unit @ (TimeUnit::Microsecond | TimeUnit::Nanosecond)) => DataType::Time64(unit),
        (bits, unit) => return Err(malformed(format!("times of {bits} bits in {unit:?}"))),
    })
}

fn timestamp(timestamp: ipc::Timestamp<'_>) -> Result<DataType> {
    let zone = timestamp.timezone().filter(|zone| !zone.is_empty());
    if zone.is_some_and(|zone| zone.len() > 64) {
        return Err(malformed("the name of a time zone has more than 64 bytes"));
    }
    Ok(DataType::Timestamp(unit(timestamp.unit())?, zone.map(Into::into)))
}

fn unit(unit: ipc::TimeUnit) -> Result<TimeUnit> {
    Ok(match unit {
        ipc::TimeUnit::SECOND => TimeUnit::Second,
        ipc::TimeUnit::MILLISECOND => TimeUnit::Millisecond,
        ipc::TimeUnit::MICROSECOND => TimeUnit::Microsecond,
        ipc::TimeUnit::NANOSECOND => TimeUnit::Nanosecond,
        other => return Err(malformed(format!("time unit {}", other.0))),
    })
}
