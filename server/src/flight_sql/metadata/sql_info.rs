//! What can this server do? SqlInfo, complete and in the order that clients rely on.
//!
//! A missing id is a NullPointerException in older JDBC drivers, a value in the wrong child of the union undefined
//! behaviour in ODBC, and Grafana reads rows 17 to 21 by position: the order is that of the ids but for 9, 10, 11, 100
//! and 101, which come last.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt32Array, UnionArray};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UnionFields};
use arrow_flight::sql::metadata::SqlInfoDataBuilder;
use tidewater_storage::{Code, Error, Result};

use super::super::prepared::HANDLE_TTL;

/// Bytes of a statement, from DESIGN's limits.
const MAX_STATEMENT_BYTES: i64 = 256 << 10;

/// Ids that one request may name. There are less than 150, and clients that ask for all that the specification knows,
/// with gaps, name a few hundred.
const MAX_IDS: usize = 10_000;

/// One value, by the child of the union that carries it.
enum Value {
    Text(&'static str),
    Bool(bool),
    Long(i64),
    Int(i32),
    List(&'static [&'static str]),
    EmptyMap,
}

use Value::{Bool, EmptyMap, Int, List, Long, Text};

/// Identifiers fold to lower case (SqlSupportedCaseSensitivity).
const CASE_LOWER: i64 = 3;

/// Words of the language, those of SQL-92 among them: editors complete them.
#[rustfmt::skip]
const KEYWORDS: &[&str] = &[
    "ADD", "ALL", "ALTER", "ANALYZE", "AND", "ANTI", "AS", "ASC", "ASOF", "BETWEEN", "BIGINT", "BOOLEAN", "BY",
    "CALL", "CASE", "CAST", "COLUMN", "CREATE", "CROSS", "CUBE", "CURRENT_CATALOG", "CURRENT_DATE", "CURRENT_SCHEMA",
    "CURRENT_TIME", "CURRENT_TIMESTAMP", "CURRENT_USER", "DATE", "DECIMAL", "DEFAULT", "DELETE", "DESC", "DESCRIBE",
    "DISTINCT", "DOUBLE", "DROP", "ELSE", "END", "ESCAPE", "EXCEPT", "EXCLUDE", "EXISTS", "EXPLAIN", "EXTRACT",
    "FALSE", "FILTER", "FIRST", "FOLLOWING", "FROM", "FULL", "GROUP", "GROUPING", "HAVING", "IF", "ILIKE", "IN",
    "INNER", "INSERT", "INTEGER", "INTERSECT", "INTERVAL", "INTO", "IS", "JOIN", "KEY", "LAST", "LATERAL", "LEFT",
    "LIKE", "LIMIT", "NATURAL", "NOT", "NULL", "NULLS", "OFFSET", "ON", "OR", "ORDER", "OUTER", "OVER", "PARTITION",
    "PRECEDING", "PRIMARY", "QUALIFY", "RANGE", "REAL", "RECURSIVE", "RENAME", "REPLACE", "RESET", "RIGHT", "ROLLUP",
    "ROWS", "SCHEMA", "SCHEMAS", "SELECT", "SEMI", "SET", "SETS", "SHOW", "SMALLINT", "TABLE", "TABLES", "THEN",
    "TIME", "TIMESTAMP", "TIMESTAMPTZ", "TINYINT", "TO", "TRIM", "TRUE", "TRUNCATE", "TRY_CAST", "UNBOUNDED",
    "UNDROP", "UNION", "UNKNOWN", "UNNEST", "USING", "VALUES", "VARBINARY", "VARCHAR", "VIEW", "WHEN", "WHERE",
    "WINDOW", "WITH", "WITHIN",
];

const NUMERIC_FUNCTIONS: &[&str] = &[
    "abs", "acos", "asin", "atan", "atan2", "cbrt", "ceil", "cos", "degrees", "exp", "floor", "ln", "log", "log10",
    "log2", "pi", "power", "radians", "random", "round", "signum", "sin", "sqrt", "tan", "trunc",
];

const STRING_FUNCTIONS: &[&str] = &[
    "ascii",
    "bit_length",
    "btrim",
    "character_length",
    "chr",
    "concat",
    "concat_ws",
    "ends_with",
    "initcap",
    "left",
    "length",
    "lower",
    "lpad",
    "ltrim",
    "md5",
    "octet_length",
    "repeat",
    "replace",
    "reverse",
    "right",
    "rpad",
    "rtrim",
    "split_part",
    "starts_with",
    "strpos",
    "substr",
    "translate",
    "upper",
];

const SYSTEM_FUNCTIONS: &[&str] = &["coalesce", "nullif", "nvl", "version"];

const DATETIME_FUNCTIONS: &[&str] = &[
    "current_date",
    "current_time",
    "date_bin",
    "date_part",
    "date_trunc",
    "from_unixtime",
    "make_date",
    "now",
    "time_bucket",
    "to_char",
    "to_date",
    "to_timestamp",
    "to_unixtime",
];

/// All values in the order in which they are sent.
fn values() -> Vec<(u32, Value)> {
    let timeout_ms = i32::try_from(HANDLE_TTL.as_millis()).unwrap_or(i32::MAX);
    let mut out = vec![
        (0, Text("Tidewater")),
        (1, Text(crate::VERSION)),
        // The version of the Arrow format, not of a library.
        (2, Text("1.3")),
        (3, Bool(false)),
        (4, Bool(true)),
        (5, Bool(false)),
        (6, Text("")),
        (7, Text("")),
        (8, Int(0)),
    ];
    out.extend(syntax());
    out.extend(capabilities());
    out.extend([(9, Bool(true)), (10, Bool(true)), (11, Bool(false)), (100, Int(timeout_ms)), (101, Int(0))]);
    out
}

/// 500 to 540: the language.
fn syntax() -> Vec<(u32, Value)> {
    vec![
        (500, Bool(false)),
        (501, Bool(false)),
        (502, Bool(true)),
        (503, Long(CASE_LOWER)),
        (504, Text("\"")),
        (505, Long(0)),
        (506, Bool(true)),
        // NULLs sort as if they were the largest value.
        (507, Long(0)),
        (508, List(KEYWORDS)),
        (509, List(NUMERIC_FUNCTIONS)),
        (510, List(STRING_FUNCTIONS)),
        (511, List(SYSTEM_FUNCTIONS)),
        (512, List(DATETIME_FUNCTIONS)),
        (513, Text("\\")),
        (514, Text("")),
        (515, Bool(true)),
        (516, Bool(true)),
        (517, EmptyMap),
        (518, Bool(true)),
        (519, Bool(false)),
        (520, Bool(true)),
        (521, Bool(true)),
        (522, Int(0b11)),
        (523, Bool(true)),
        (524, Bool(true)),
        // Minimum and core grammar; SQL-92 entry level.
        (525, Int(0b11)),
        (526, Int(0b1)),
        (527, Bool(false)),
        // Clients read it as a mask of the ordinals: limited and full outer joins.
        (528, Int(0b110)),
        (529, Text("schema")),
        (530, Text("")),
        (531, Text("catalog")),
        (532, Bool(true)),
        (533, Int(0)),
        (534, Int(0)),
        (535, Int(0)),
        (536, Bool(false)),
        (537, Bool(false)),
        // In comparisons, EXISTS and IN, and with ANY and ALL.
        (538, Int(0b1111)),
        (539, Bool(true)),
        (540, Int(0b11)),
    ]
}

/// 541 to 576: limits (0 is none, or unknown), transactions, cursors.
fn capabilities() -> Vec<(u32, Value)> {
    let limit = |id: u32| (id, Long(if id == 557 { MAX_STATEMENT_BYTES } else { 0 }));
    let mut out: Vec<(u32, Value)> = (541..=555).map(limit).collect();
    out.push((556, Bool(false)));
    out.extend((557..=561).map(limit));
    out.extend([
        (562, Long(0)),
        (563, Bool(false)),
        (564, Int(1)),
        (565, Bool(false)),
        (566, Bool(false)),
        // Forward-only, read-only.
        (567, Int(2)),
        (568, Int(0)),
        (569, Int(2)),
        (570, Int(0)),
        (571, Int(0)),
        (572, Bool(true)),
        (573, Bool(false)),
        (574, Bool(false)),
        (575, Bool(false)),
        (576, Bool(false)),
    ]);
    out
}

/// The reference schema. The builder's differs: two of its union's children may be NULL.
pub(super) fn schema() -> SchemaRef {
    let fields = SqlInfoDataBuilder::schema().fields().iter().map(|field| match field.data_type() {
        DataType::Union(children, mode) => {
            Arc::new(Field::new(field.name(), DataType::Union(never_null(children), *mode), false))
        }
        _ => Arc::clone(field),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn never_null(children: &UnionFields) -> UnionFields {
    children.iter().map(|(id, child)| (id, Arc::new(child.as_ref().clone().with_nullable(false)))).collect()
}

/// The values of `ids` in the order in which they are sent; all if there are none. Unknown ids are left out.
pub(in crate::flight_sql) fn rows(ids: &[u32]) -> Result<RecordBatch> {
    static ALL: LazyLock<Result<RecordBatch, String>> = LazyLock::new(|| all().map_err(|error| error.to_string()));
    let all = ALL.as_ref().map_err(|error| Error::internal(format!("SqlInfo cannot be built: {error}")))?;
    if ids.is_empty() {
        return Ok(all.clone());
    }
    if ids.len() > MAX_IDS {
        return Err(Error::new(Code::InvalidRequest, format!("{} ids of SqlInfo; {MAX_IDS} are taken", ids.len()))
            .hint("name each id once, or none for all"));
    }
    let places = (0..).zip(values()).filter(|(_, (id, _))| ids.contains(id)).map(|(place, _)| place);
    Ok(take_record_batch(all, &UInt32Array::from_iter_values(places))?)
}

fn all() -> Result<RecordBatch> {
    let mut builder = SqlInfoDataBuilder::new();
    for (id, value) in values() {
        match value {
            Text(value) => builder.append(id, value),
            Bool(value) => builder.append(id, value),
            Long(value) => builder.append(id, value),
            Int(value) => builder.append(id, value),
            List(values) => builder.append(id, values),
            EmptyMap => builder.append(id, BTreeMap::<i32, Vec<i32>>::new()),
        }
    }
    let internal = |error: arrow_flight::error::FlightError| Error::internal(error.to_string());
    let sorted = builder.build().map_err(internal)?.record_batch(None).map_err(internal)?;
    // The builder sorts by id.
    let mut by_id: Vec<u32> = values().iter().map(|(id, _)| *id).collect();
    by_id.sort_unstable();
    let places = values()
        .into_iter()
        .filter_map(|(id, _)| by_id.binary_search(&id).ok())
        .filter_map(|at| u32::try_from(at).ok());
    let ordered = take_record_batch(&sorted, &UInt32Array::from_iter_values(places))?;
    let (children, ids, offsets, values) = ordered.column(1).as_union().clone().into_parts();
    let union: ArrayRef = Arc::new(UnionArray::try_new(never_null(&children), ids, offsets, values)?);
    Ok(RecordBatch::try_new(schema(), vec![Arc::clone(ordered.column(0)), union])?)
}
