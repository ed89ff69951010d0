//! How do the table's types stand in Parquet? As types that Delta has: other engines read the same values.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, Int64Array, ListArray, PrimitiveArray, RecordBatch, StructArray,
};
use arrow::datatypes::{
    DataType, Decimal128Type, Field, FieldRef, Fields, Int16Type, Int32Type, Int64Type, Schema, SchemaRef,
    Time64MicrosecondType, TimeUnit, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};

use crate::catalog::{TableDef, sql_type};
use crate::error::{Code, Error, Result};

/// The hidden column behind a table's own: the log entry that a row came with.
pub(crate) const COMMIT_SEQ: &str = "_commit_seq";

/// Digits of the largest UInt64.
const UINT64_DIGITS: u8 = 20;

/// What Parquet's format calls the values of a list.
const ELEMENT: &str = "element";

/// The type that stands in Parquet for a canonical storage type. Delta has no unsigned integers (the next wider signed type stands for
/// them) and no time of day (microseconds as BIGINT).
pub(crate) fn stored_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 => DataType::Int64,
        DataType::UInt64 => DataType::Decimal128(UINT64_DIGITS, 0),
        DataType::Time64(TimeUnit::Microsecond) => DataType::Int64,
        DataType::List(item) => DataType::List(stored_element(item)),
        DataType::Struct(fields) => DataType::Struct(stored_fields(fields)),
        other => other.clone(),
    }
}

fn stored_element(item: &Field) -> FieldRef {
    Arc::new(Field::new(ELEMENT, stored_type(item.data_type()), item.is_nullable()))
}

fn stored_fields(fields: &Fields) -> Fields {
    fields.iter().map(|field| stored_field(field)).collect()
}

fn stored_field(field: &Field) -> FieldRef {
    Arc::new(Field::new(field.name(), stored_type(field.data_type()), field.is_nullable()))
}

/// The columns of a file of this table: the table's own in order, then [`COMMIT_SEQ`] if it has system columns.
pub(crate) fn stored_schema(def: &TableDef) -> SchemaRef {
    let mut fields: Vec<FieldRef> = def.arrow_schema.fields().iter().map(|field| stored_field(field)).collect();
    if def.options.system_columns {
        fields.push(Arc::new(Field::new(COMMIT_SEQ, DataType::Int64, false)));
    }
    Arc::new(Schema::new(fields))
}

/// Rows of the table as rows of a file; `schema` is the table's [`stored_schema`], `seqs` has the entry of each row.
pub(crate) fn to_stored_rows(rows: &RecordBatch, seqs: Int64Array, schema: &SchemaRef) -> Result<RecordBatch> {
    let mut columns = rows.columns().iter().map(to_stored).collect::<Result<Vec<_>>>()?;
    if schema.fields().len() > columns.len() {
        columns.push(Arc::new(seqs));
    }
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

/// The same values in the [`stored_type`] of their type.
pub(crate) fn to_stored(column: &ArrayRef) -> Result<ArrayRef> {
    Ok(match column.data_type() {
        DataType::UInt8 => widened::<UInt8Type, Int16Type>(column, i16::from),
        DataType::UInt16 => widened::<UInt16Type, Int32Type>(column, i32::from),
        DataType::UInt32 => widened::<UInt32Type, Int64Type>(column, i64::from),
        DataType::UInt64 => {
            let values = column.as_primitive::<UInt64Type>().unary::<_, Decimal128Type>(i128::from);
            Arc::new(values.with_precision_and_scale(UINT64_DIGITS, 0)?)
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            Arc::new(column.as_primitive::<Time64MicrosecondType>().reinterpret_cast::<Int64Type>())
        }
        DataType::List(item) => {
            let list = column.as_list::<i32>();
            let values = to_stored(list.values())?;
            Arc::new(ListArray::try_new(stored_element(item), list.offsets().clone(), values, list.nulls().cloned())?)
        }
        DataType::Struct(fields) => {
            let rows = column.as_struct();
            let columns = rows.columns().iter().map(to_stored).collect::<Result<Vec<_>>>()?;
            Arc::new(StructArray::try_new(stored_fields(fields), columns, rows.nulls().cloned())?)
        }
        _ => Arc::clone(column),
    })
}

/// The values of a file's column in the table's type, which must be one whose [`stored_type`] the column has (the name of a list's values
/// may be another). `FILE_DAMAGED` if it is not, or if a value is none of the table's type.
pub(crate) fn from_stored(column: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    if column.data_type() == data_type {
        return Ok(Arc::clone(column));
    }
    Ok(match (column.data_type(), data_type) {
        (DataType::Int16, DataType::UInt8) => narrowed::<Int16Type, UInt8Type>(column)?,
        (DataType::Int32, DataType::UInt16) => narrowed::<Int32Type, UInt16Type>(column)?,
        (DataType::Int64, DataType::UInt32) => narrowed::<Int64Type, UInt32Type>(column)?,
        (DataType::Decimal128(UINT64_DIGITS, 0), DataType::UInt64) => narrowed::<Decimal128Type, UInt64Type>(column)?,
        (DataType::Int64, DataType::Time64(TimeUnit::Microsecond)) => {
            Arc::new(column.as_primitive::<Int64Type>().reinterpret_cast::<Time64MicrosecondType>())
        }
        (DataType::List(_), DataType::List(item)) => {
            let list = column.as_list::<i32>();
            let values = from_stored(list.values(), item.data_type())?;
            Arc::new(ListArray::try_new(Arc::clone(item), list.offsets().clone(), values, list.nulls().cloned())?)
        }
        (DataType::Struct(stored), DataType::Struct(fields)) if has_names(stored, fields) => {
            let rows = column.as_struct();
            let columns = rows.columns().iter().zip(fields);
            let columns = columns.map(|(column, field)| from_stored(column, field.data_type()));
            let columns = columns.collect::<Result<Vec<_>>>()?;
            Arc::new(StructArray::try_new(fields.clone(), columns, rows.nulls().cloned())?)
        }
        (found, wanted) => {
            return Err(Error::new(
                Code::FileDamaged,
                format!("a column of a file is {}, where {} of the table belongs", sql_type(found), sql_type(wanted)),
            ));
        }
    })
}

fn has_names(stored: &Fields, fields: &Fields) -> bool {
    stored.len() == fields.len() && stored.iter().zip(fields).all(|(stored, field)| stored.name() == field.name())
}

fn widened<T, W>(column: &ArrayRef, cast: impl Fn(T::Native) -> W::Native) -> ArrayRef
where
    T: ArrowPrimitiveType,
    W: ArrowPrimitiveType,
{
    let values: PrimitiveArray<W> = column.as_primitive::<T>().unary(cast);
    Arc::new(values)
}

fn narrowed<W, T>(column: &ArrayRef) -> Result<ArrayRef>
where
    W: ArrowPrimitiveType,
    T: ArrowPrimitiveType,
    T::Native: TryFrom<W::Native>,
{
    let values: PrimitiveArray<T> = column.as_primitive::<W>().try_unary(|value| {
        T::Native::try_from(value).map_err(|_| {
            Error::new(Code::FileDamaged, format!("a file holds {value:?}, which is no {}", sql_type(&T::DATA_TYPE)))
        })
    })?;
    Ok(Arc::new(values))
}
