//! Which types are there? XdbcTypeInfo for ODBC and JDBC, and the figures of a column's type.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow_flight::sql::metadata::{XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder};
use arrow_flight::sql::{Nullable, Searchable, XdbcDataType as Xdbc, XdbcDatetimeSubcode as Subcode};
use tidewater_storage::catalog::sql_type;
use tidewater_storage::{Error, Result};

/// What ODBC reports for text and bytes without a declared length.
const OPEN_LENGTH: i32 = 65_535;

/// Digits of a DECIMAL.
const MAX_PRECISION: i32 = 38;

/// Fractional digits of times: microseconds.
const TIME_SCALE: i32 = 6;

/// The schema of the answer; the crate's is the reference's.
pub(super) fn schema() -> SchemaRef {
    XdbcTypeInfoDataBuilder::new().schema()
}

/// The rows, sorted by code and name; only those of one code if it is asked for.
pub(in crate::flight_sql) fn rows(data_type: Option<i32>) -> Result<RecordBatch> {
    static INFO: LazyLock<Result<XdbcTypeInfoData, String>> = LazyLock::new(|| {
        let mut builder = XdbcTypeInfoDataBuilder::new();
        all_types().into_iter().for_each(|info| builder.append(info));
        builder.build().map_err(|error| error.to_string())
    });
    let failed = |error: String| Error::internal(format!("the table of types cannot be built: {error}"));
    let info = INFO.as_ref().map_err(|error| failed(error.clone()))?;
    info.record_batch(data_type).map_err(|error| failed(error.to_string()))
}

fn all_types() -> Vec<XdbcTypeInfo> {
    let base = |name: &str, code: Xdbc, size: i32| XdbcTypeInfo {
        type_name: name.to_owned(),
        data_type: code,
        column_size: Some(size),
        nullable: Nullable::NullabilityNullable,
        searchable: Searchable::Basic,
        local_type_name: Some(name.to_owned()),
        sql_data_type: code,
        ..XdbcTypeInfo::default()
    };
    let number = |name: &str, code: Xdbc, size: i32, radix: i32, unsigned: bool| XdbcTypeInfo {
        unsigned_attribute: Some(unsigned),
        auto_increment: Some(false),
        num_prec_radix: Some(radix),
        ..base(name, code, size)
    };
    let literal = |prefix: &str, info: XdbcTypeInfo| XdbcTypeInfo {
        literal_prefix: Some(prefix.to_owned()),
        literal_suffix: Some("'".to_owned()),
        ..info
    };
    let time = |name: &str, code: Xdbc, size: i32, subcode: Subcode, prefix: &str| XdbcTypeInfo {
        sql_data_type: Xdbc::XdbcDatetime,
        datetime_subcode: Some(subcode),
        ..literal(prefix, base(name, code, size))
    };
    let micros =
        |info: XdbcTypeInfo| XdbcTypeInfo { minimum_scale: Some(TIME_SCALE), maximum_scale: Some(TIME_SCALE), ..info };
    vec![
        base("BOOLEAN", Xdbc::XdbcBit, 1),
        number("TINYINT", Xdbc::XdbcTinyint, 3, 10, false),
        number("UTINYINT", Xdbc::XdbcTinyint, 3, 10, true),
        number("SMALLINT", Xdbc::XdbcSmallint, 5, 10, false),
        number("USMALLINT", Xdbc::XdbcSmallint, 5, 10, true),
        number("INTEGER", Xdbc::XdbcInteger, 10, 10, false),
        number("UINTEGER", Xdbc::XdbcInteger, 10, 10, true),
        number("BIGINT", Xdbc::XdbcBigint, 19, 10, false),
        number("UBIGINT", Xdbc::XdbcBigint, 20, 10, true),
        number("REAL", Xdbc::XdbcReal, 24, 2, false),
        number("DOUBLE", Xdbc::XdbcDouble, 53, 2, false),
        XdbcTypeInfo {
            create_params: Some(vec!["precision".to_owned(), "scale".to_owned()]),
            minimum_scale: Some(0),
            maximum_scale: Some(MAX_PRECISION),
            ..number("DECIMAL", Xdbc::XdbcDecimal, MAX_PRECISION, 10, false)
        },
        XdbcTypeInfo {
            create_params: Some(vec!["length".to_owned()]),
            case_sensitive: true,
            searchable: Searchable::Full,
            ..literal("'", base("VARCHAR", Xdbc::XdbcVarchar, OPEN_LENGTH))
        },
        literal("X'", base("VARBINARY", Xdbc::XdbcVarbinary, OPEN_LENGTH)),
        // ODBC's SQL_CODE_DATE is 1, which this enumeration calls a year.
        time("DATE", Xdbc::XdbcDate, 10, Subcode::XdbcSubcodeYear, "DATE '"),
        micros(time("TIME", Xdbc::XdbcTime, 15, Subcode::XdbcSubcodeTime, "TIME '")),
        micros(time("TIMESTAMP", Xdbc::XdbcTimestamp, 29, Subcode::XdbcSubcodeTimestamp, "TIMESTAMP '")),
        micros(time(
            "TIMESTAMPTZ",
            Xdbc::XdbcTimestamp,
            29,
            Subcode::XdbcSubcodeTimestampWithTimezone,
            "TIMESTAMPTZ '",
        )),
    ]
}

/// The schema of a statement's result with what JDBC and ODBC read of each column's type. The same goes into FlightInfo, GetSchema, prepare
/// and DoGet: clients compare them.
pub(in crate::flight_sql) fn announced(result: &Schema) -> SchemaRef {
    let field = |field: &Arc<Field>| {
        let metadata = type_entries(field.data_type()).into_iter().map(|(key, value)| (metadata_key(key), value));
        Field::clone(field).with_metadata(metadata.collect())
    };
    Arc::new(Schema::new(result.fields().iter().map(field).collect::<Vec<_>>()))
}

/// What the metadata of a field says of its type.
pub(super) fn type_entries(data_type: &DataType) -> Vec<(&'static str, String)> {
    let mut entries = vec![("TYPE_NAME", base_type_name(data_type))];
    entries.extend(column_size(data_type).map(|size| ("PRECISION", size.to_string())));
    entries.extend(scale(data_type).map(|scale| ("SCALE", scale.to_string())));
    entries
}

/// Of an entry in the metadata of a field.
pub(super) fn metadata_key(name: &str) -> String {
    format!("ARROW:FLIGHT:SQL:{name}")
}

/// The type's name as it stands in the rows above: without parameters.
fn base_type_name(data_type: &DataType) -> String {
    match decimal(data_type) {
        Some(_) => "DECIMAL".to_owned(),
        None => sql_type(data_type),
    }
}

/// Precision and scale.
fn decimal(data_type: &DataType) -> Option<(u8, i8)> {
    match data_type {
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => Some((*precision, *scale)),
        _ => None,
    }
}

/// Digits or characters that a column of the type shows; `None` where the type says nothing.
fn column_size(data_type: &DataType) -> Option<i32> {
    // A catalog may have millions of columns.
    static SIZES: LazyLock<HashMap<String, Option<i32>>> =
        LazyLock::new(|| all_types().into_iter().map(|info| (info.type_name, info.column_size)).collect());
    match decimal(data_type) {
        Some((precision, _)) => Some(i32::from(precision)),
        None => SIZES.get(&sql_type(data_type)).copied().flatten(),
    }
}

/// Digits after the point.
fn scale(data_type: &DataType) -> Option<i32> {
    match data_type {
        DataType::Time32(unit) | DataType::Time64(unit) | DataType::Timestamp(unit, _) => Some(match unit {
            TimeUnit::Second => 0,
            TimeUnit::Millisecond => 3,
            TimeUnit::Microsecond => TIME_SCALE,
            TimeUnit::Nanosecond => 9,
        }),
        whole if whole.is_integer() => Some(0),
        other => decimal(other).map(|(_, scale)| i32::from(scale)),
    }
}
