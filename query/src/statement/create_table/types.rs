//! Which Arrow type is a SQL type? What tables cannot hold is refused with what to use instead. `catalog::sql_type` goes the other way.

use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, Fields, TimeUnit};
use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, CharLengthUnits, CharacterLength, DataType as SqlType, ExactNumberInfo, ObjectName, StructField,
    TimezoneInfo,
};
use tidewater_storage::{Code, Error, Result};

use crate::statement::names::fold;

/// The storage type of a column declared as `sql`, and the characters that a text in it may have.
pub(in crate::statement) fn column_type(sql: &SqlType) -> Result<(DataType, Option<u32>)> {
    let n_chars = match sql {
        SqlType::Varchar(Some(length))
        | SqlType::Nvarchar(Some(length))
        | SqlType::CharacterVarying(Some(length))
        | SqlType::CharVarying(Some(length))
        | SqlType::Character(Some(length))
        | SqlType::Char(Some(length)) => match length {
            CharacterLength::IntegerLength { length, unit: None | Some(CharLengthUnits::Characters) } => *length,
            CharacterLength::IntegerLength { .. } | CharacterLength::Max => return Err(unsupported(sql)),
        },
        SqlType::String(Some(length)) => *length,
        // As in standard SQL.
        SqlType::Character(None) | SqlType::Char(None) => 1,
        other => return Ok((arrow_type(other)?, None)),
    };
    let max_chars = u32::try_from(n_chars).map_err(|_| {
        Error::new(Code::InvalidDefinition, format!("the length of {sql} is out of range"))
            .hint("write VARCHAR for text of any length")
    })?;
    Ok((DataType::Utf8, Some(max_chars)))
}

/// The storage type of what is declared as `sql`: a column without a length, an element of a list, a field of a struct.
fn arrow_type(sql: &SqlType) -> Result<DataType> {
    Ok(match sql {
        SqlType::Boolean | SqlType::Bool => DataType::Boolean,
        SqlType::TinyInt(None) => DataType::Int8,
        SqlType::SmallInt(None) | SqlType::Int2(None) | SqlType::Int16 => DataType::Int16,
        SqlType::Int(None) | SqlType::Integer(None) | SqlType::Int4(None) | SqlType::Int32 => DataType::Int32,
        SqlType::BigInt(None) | SqlType::Int8(None) | SqlType::Int64 => DataType::Int64,
        SqlType::UTinyInt | SqlType::TinyIntUnsigned(None) | SqlType::UInt8 => DataType::UInt8,
        SqlType::USmallInt | SqlType::SmallIntUnsigned(None) | SqlType::Int2Unsigned(None) | SqlType::UInt16 => {
            DataType::UInt16
        }
        SqlType::IntUnsigned(None) | SqlType::IntegerUnsigned(None) | SqlType::Int4Unsigned(None) | SqlType::UInt32 => {
            DataType::UInt32
        }
        SqlType::UBigInt | SqlType::BigIntUnsigned(None) | SqlType::Int8Unsigned(None) | SqlType::UInt64 => {
            DataType::UInt64
        }
        SqlType::Real | SqlType::Float4 | SqlType::Float32 | SqlType::Float(ExactNumberInfo::None) => DataType::Float32,
        SqlType::Double(ExactNumberInfo::None) | SqlType::DoublePrecision | SqlType::Float8 | SqlType::Float64 => {
            DataType::Float64
        }
        SqlType::Decimal(info) | SqlType::Numeric(info) | SqlType::Dec(info) => decimal(info)?,
        SqlType::Varchar(None)
        | SqlType::Nvarchar(None)
        | SqlType::CharacterVarying(None)
        | SqlType::CharVarying(None)
        | SqlType::Text
        | SqlType::String(None) => DataType::Utf8,
        SqlType::Varbinary(None)
        | SqlType::Binary(None)
        | SqlType::Blob(None)
        | SqlType::Bytea
        | SqlType::Bytes(None) => DataType::Binary,
        SqlType::Date | SqlType::Date32 => DataType::Date32,
        SqlType::Time(None | Some(6), TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            DataType::Time64(TimeUnit::Microsecond)
        }
        SqlType::Datetime(None | Some(6)) | SqlType::TimestampNtz(None | Some(6)) => timestamp(false),
        SqlType::Timestamp(None | Some(6), zone) => {
            timestamp(matches!(zone, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone))
        }
        SqlType::Array(
            ArrayElemTypeDef::AngleBracket(item)
            | ArrayElemTypeDef::SquareBracket(item, None)
            | ArrayElemTypeDef::Parenthesis(item),
        ) => DataType::List(Arc::new(Field::new("item", arrow_type(item)?, true))),
        SqlType::Struct(fields, _) => structure(fields)?,
        SqlType::Custom(name, arguments) if arguments.is_empty() => custom(name)?,
        other => return Err(unsupported(other)),
    })
}

fn timestamp(instant: bool) -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, instant.then(|| "UTC".into()))
}

fn decimal(info: &ExactNumberInfo) -> Result<DataType> {
    let invalid = |problem: String| {
        Error::new(Code::InvalidDefinition, problem)
            .hint("write DECIMAL(precision, scale) with 1 ≤ precision ≤ 38 and 0 ≤ scale ≤ precision")
    };
    let (precision, scale) = match info {
        ExactNumberInfo::None => return Err(invalid("DECIMAL needs a precision and a scale".into())),
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    let fits = u8::try_from(precision).ok().filter(|p| (1..=DECIMAL128_MAX_PRECISION).contains(p));
    match (fits, i8::try_from(scale)) {
        (Some(p), Ok(s)) if s >= 0 && i64::from(p) >= scale => Ok(DataType::Decimal128(p, s)),
        _ => Err(invalid(format!("DECIMAL({precision}, {scale}) is out of range"))),
    }
}

fn structure(fields: &[StructField]) -> Result<DataType> {
    let field = |field: &StructField| {
        let Some(name) = &field.field_name else {
            return Err(Error::new(Code::InvalidDefinition, "a STRUCT has a field without a name")
                .hint("write STRUCT<name TYPE, …>"));
        };
        Ok(Arc::new(Field::new(fold(name), arrow_type(&field.field_type)?, true)))
    };
    let fields = fields.iter().map(field).collect::<Result<Fields>>()?;
    if fields.is_empty() {
        return Err(Error::new(Code::InvalidDefinition, "a STRUCT has no fields").hint("write STRUCT<name TYPE, …>"));
    }
    Ok(DataType::Struct(fields))
}

/// Names that the parser does not know as types.
fn custom(name: &ObjectName) -> Result<DataType> {
    match name.to_string().to_ascii_lowercase().as_str() {
        "uinteger" | "uint" => Ok(DataType::UInt32),
        "timestamp_us" => Ok(timestamp(false)),
        _ => Err(Error::new(Code::InvalidDefinition, format!("there is no type {name}")).hint(TYPES)),
    }
}

const TYPES: &str = "the types are BOOLEAN, TINYINT, SMALLINT, INTEGER, BIGINT (each also UNSIGNED), REAL, DOUBLE, DECIMAL(p, s), \
                     VARCHAR, VARCHAR(n), VARBINARY, DATE, TIME, TIMESTAMP, TIMESTAMPTZ, lists (BIGINT[]) and STRUCT<name TYPE, …>";

fn unsupported(sql: &SqlType) -> Error {
    let hint = match sql {
        SqlType::Varchar(Some(_))
        | SqlType::Nvarchar(Some(_))
        | SqlType::CharacterVarying(Some(_))
        | SqlType::CharVarying(Some(_))
        | SqlType::Char(_)
        | SqlType::Character(_)
        | SqlType::String(Some(_)) => {
            "use VARCHAR: only columns have a length, as VARCHAR(n) with a number of characters, lists and structs do not"
        }
        SqlType::FixedString(_) => "use VARCHAR: text is never padded",
        SqlType::Uuid => "use VARCHAR",
        SqlType::JSON | SqlType::JSONB => "use VARCHAR, or a STRUCT with named fields",
        SqlType::Enum(_, _) | SqlType::Set(_) => "use VARCHAR",
        SqlType::Interval { .. } => "use BIGINT with a unit in its name",
        SqlType::Time(_, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone) => "use TIME or TIMESTAMPTZ",
        SqlType::Time(_, _) | SqlType::Timestamp(_, _) | SqlType::Datetime(_) => {
            "leave the precision out: times have microseconds"
        }
        SqlType::Array(ArrayElemTypeDef::SquareBracket(_, Some(_))) => "leave the size out: lists have any length",
        SqlType::HugeInt | SqlType::UHugeInt => "use DECIMAL(38, 0)",
        SqlType::Map(_, _) => "use a list of STRUCT<key …, value …>",
        _ => TYPES,
    };
    Error::new(Code::UnsupportedStatement, format!("a column of type {sql} is not supported")).hint(hint)
}
