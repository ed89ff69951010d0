//! Which types do tables have, and what are they called in Arrow, SQL and Delta?

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, TimeUnit};

use super::names::{check_name, normalized};
use crate::error::{Code, Error, Result};
use crate::limits::MAX_COLUMNS;

/// Lists and structs nest at most this deep: every walk over a type or a value is recursive.
pub(crate) const MAX_TYPE_DEPTH: usize = 16;

/// Digits of a DECIMAL: what Decimal128, Delta and Parquet readers hold.
const MAX_PRECISION: u8 = 38;

/// The zone in which every instant is stored.
const UTC: &str = "UTC";

/// The storage type that holds every value of `data_type`, which may be any Arrow type of a client or a file.
///
/// Large, view, dictionary and run-end variants become their plain type, times become µs, instants UTC; names and
/// nullability of list elements are unified. An `INVALID_DEFINITION` error says which types have no counterpart.
pub fn canonical_type(data_type: &DataType) -> Result<DataType> {
    canonical(data_type, 0)
}

fn canonical(data_type: &DataType, depth: usize) -> Result<DataType> {
    use DataType as T;
    if depth > MAX_TYPE_DEPTH {
        return Err(invalid(format!("a type nests lists and structs deeper than {MAX_TYPE_DEPTH} levels")));
    }
    Ok(match data_type {
        T::Boolean | T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64 => {
            data_type.clone()
        }
        T::Float16 | T::Float32 => T::Float32,
        T::Float64 => T::Float64,
        T::Decimal32(p, s) | T::Decimal64(p, s) | T::Decimal128(p, s) | T::Decimal256(p, s) => decimal(*p, *s)?,
        T::Utf8 | T::LargeUtf8 | T::Utf8View => T::Utf8,
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => T::Binary,
        // Date64 is a date in milliseconds: the Arrow format allows whole days only.
        T::Date32 | T::Date64 => T::Date32,
        T::Time32(_) | T::Time64(_) => T::Time64(TimeUnit::Microsecond),
        T::Timestamp(_, None) => T::Timestamp(TimeUnit::Microsecond, None),
        T::Timestamp(_, Some(_)) => T::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
        T::Dictionary(_, values) => canonical(values, depth + 1)?,
        T::RunEndEncoded(_, values) => canonical(values.data_type(), depth + 1)?,
        T::List(item) | T::LargeList(item) | T::ListView(item) | T::LargeListView(item) | T::FixedSizeList(item, _) => {
            T::List(Arc::new(Field::new_list_field(canonical(item.data_type(), depth + 1)?, true)))
        }
        T::Struct(fields) => canonical_struct(fields, depth)?,
        T::Null => {
            return Err(invalid("a column has no type: all its values are NULL".into())
                .hint("create the table with a type for each column, then add the rows"));
        }
        T::Duration(_) | T::Interval(_) | T::Map(..) | T::Union(..) => {
            return Err(invalid(format!("the type {data_type} is not supported")).hint(
                "use a BIGINT of microseconds for a duration, a list of structs for a map, one column for each variant of a union",
            ));
        }
    })
}

fn canonical_struct(fields: &Fields, depth: usize) -> Result<DataType> {
    let mut seen = HashSet::new();
    let mut out = Vec::with_capacity(fields.len());
    if fields.is_empty() {
        return Err(invalid("a struct has no fields".into()));
    }
    if fields.len() > MAX_COLUMNS {
        return Err(invalid(format!("a struct has {} fields, the limit is {MAX_COLUMNS}", fields.len())));
    }
    for field in fields {
        check_name("struct field", field.name())?;
        if !seen.insert(normalized(field.name())) {
            return Err(invalid(format!(
                "a struct has two fields '{}' (names are compared without regard to case)",
                field.name()
            )));
        }
        let data_type =
            canonical(field.data_type(), depth + 1).map_err(|error| named("field", field.name(), &error))?;
        out.push(Field::new(field.name(), data_type, true));
    }
    Ok(DataType::Struct(out.into()))
}

/// A DECIMAL whose scale is between 0 and its precision, as Delta and SQL have it; Arrow allows more.
fn decimal(precision: u8, scale: i8) -> Result<DataType> {
    let wide = match scale {
        s if s < 0 => u16::from(precision) + u16::from(s.unsigned_abs()),
        s => u16::from(precision).max(u16::from(s.unsigned_abs())),
    };
    match u8::try_from(wide) {
        Ok(wide) if (1..=MAX_PRECISION).contains(&wide) => Ok(DataType::Decimal128(wide, scale.max(0))),
        _ => Err(invalid(format!("DECIMAL({precision},{scale}) needs {wide} digits, the limit is {MAX_PRECISION}"))),
    }
}

/// The same error about the `what` that is called `name`.
pub(super) fn named(what: &str, name: &str, error: &Error) -> Error {
    let named = Error::new(error.code(), format!("{what} '{name}': {}", error.message()));
    match error.hint_text() {
        Some(hint) => named.hint(hint),
        None => named,
    }
}

fn invalid(message: String) -> Error {
    Error::new(Code::InvalidDefinition, message)
}

/// The type as SQL writes it: the only place where types get their names. CREATE TABLE makes the same column from the text of
/// every type that a table can have; the others (in data and in answers of queries) have a name for people.
pub fn sql_type(data_type: &DataType) -> String {
    use DataType as T;
    match data_type {
        T::Boolean => "BOOLEAN".into(),
        T::Int8 => "TINYINT".into(),
        T::Int16 => "SMALLINT".into(),
        T::Int32 => "INTEGER".into(),
        T::Int64 => "BIGINT".into(),
        T::UInt8 => "UTINYINT".into(),
        T::UInt16 => "USMALLINT".into(),
        T::UInt32 => "UINTEGER".into(),
        T::UInt64 => "UBIGINT".into(),
        T::Float16 | T::Float32 => "REAL".into(),
        T::Float64 => "DOUBLE".into(),
        T::Decimal32(p, s) | T::Decimal64(p, s) | T::Decimal128(p, s) | T::Decimal256(p, s) => {
            format!("DECIMAL({p},{s})")
        }
        T::Utf8 | T::LargeUtf8 | T::Utf8View => "VARCHAR".into(),
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => "VARBINARY".into(),
        T::Date32 | T::Date64 => "DATE".into(),
        T::Time32(_) | T::Time64(_) => "TIME".into(),
        T::Timestamp(_, None) => "TIMESTAMP".into(),
        T::Timestamp(_, Some(_)) => "TIMESTAMPTZ".into(),
        T::Dictionary(_, values) => sql_type(values),
        T::RunEndEncoded(_, values) => sql_type(values.data_type()),
        T::List(item) | T::LargeList(item) | T::ListView(item) | T::LargeListView(item) | T::FixedSizeList(item, _) => {
            format!("{}[]", sql_type(item.data_type()))
        }
        T::Struct(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|field| format!("{} {}", quoted(field.name()), sql_type(field.data_type())))
                .collect();
            let fields = fields.join(", ");
            // The parser reads `STRUCT<a STRUCT<b BIGINT>>[]` as if the list were of the inner struct.
            let gap = if fields.ends_with('>') { " " } else { "" };
            format!("STRUCT<{fields}{gap}>")
        }
        T::Null => "NULL".into(),
        T::Interval(_) | T::Duration(_) => "INTERVAL".into(),
        T::Map(..) => "MAP".into(),
        T::Union(..) => "UNION".into(),
    }
}

/// The type that the published Delta table has. Delta has no unsigned integers (the next wider signed type stands for
/// them) and no time of day (microseconds as long).
pub fn delta_type(data_type: &DataType) -> String {
    use DataType as T;
    match data_type {
        T::Boolean => "boolean".into(),
        T::Int8 => "byte".into(),
        T::Int16 | T::UInt8 => "short".into(),
        T::Int32 | T::UInt16 => "integer".into(),
        T::Int64 | T::UInt32 | T::Time64(_) => "long".into(),
        T::UInt64 => "decimal(20,0)".into(),
        T::Float32 => "float".into(),
        T::Float64 => "double".into(),
        T::Decimal128(p, s) => format!("decimal({p},{s})"),
        T::Utf8 => "string".into(),
        T::Binary => "binary".into(),
        T::Date32 => "date".into(),
        T::Timestamp(_, None) => "timestamp_ntz".into(),
        T::Timestamp(_, Some(_)) => "timestamp".into(),
        T::List(item) => format!("array<{}>", delta_type(item.data_type())),
        T::Struct(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|field| format!("{}:{}", field.name(), delta_type(field.data_type()))).collect();
            format!("struct<{}>", fields.join(","))
        }
        other => other.to_string(),
    }
}

/// An identifier as SQL writes it: plain when it folds to itself and cannot be a keyword's look-alike, else quoted.
pub(super) fn quoted(name: &str) -> String {
    let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && !KEYWORDS.contains(&name);
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// Words that a SQL parser does not take as a column's name without quotes.
const KEYWORDS: &[&str] = &[
    "all",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "between",
    "both",
    "by",
    "case",
    "cast",
    "check",
    "collate",
    "column",
    "constraint",
    "create",
    "cross",
    "current_date",
    "current_time",
    "current_timestamp",
    "default",
    "delete",
    "desc",
    "distinct",
    "drop",
    "else",
    "end",
    "except",
    "exists",
    "false",
    "fetch",
    "for",
    "foreign",
    "from",
    "full",
    "grant",
    "group",
    "having",
    "in",
    "index",
    "inner",
    "insert",
    "intersect",
    "interval",
    "into",
    "is",
    "join",
    "lateral",
    "left",
    "like",
    "limit",
    "natural",
    "not",
    "null",
    "offset",
    "on",
    "or",
    "order",
    "outer",
    "over",
    "partition",
    "primary",
    "qualify",
    "references",
    "right",
    "select",
    "set",
    "some",
    "table",
    "then",
    "to",
    "trailing",
    "true",
    "union",
    "unique",
    "unnest",
    "update",
    "user",
    "using",
    "values",
    "view",
    "when",
    "where",
    "window",
    "with",
];
