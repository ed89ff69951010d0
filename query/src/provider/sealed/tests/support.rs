//! What do these tests share? A table of every type in a real engine, sessions over its snapshots, rows as bytes.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array,
    Int16Array, Int32Array, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder, StructArray,
    Time64MicrosecondArray, TimestampMicrosecondArray, UInt8Array, UInt8Builder, UInt16Array, UInt32Array, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit};
use arrow::util::pretty::pretty_format_batches;
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use tempfile::TempDir;
use tidewater_storage::catalog::{ColumnDef, NewTable};
use tidewater_storage::{Engine, EngineOptions, RowsRequest, Table, TableSnapshot};

use crate::provider::HybridTable;
use crate::provider::counters::ScanCounters;
use crate::provider::tests::support::{Random, comparable};

const HOUR_US: i64 = 3_600_000_000;

pub fn open(folder: &Arc<TempDir>) -> Arc<Engine> {
    let options = EngineOptions { seals_by_itself: false, ..EngineOptions::temporary(Arc::clone(folder), 2 << 30) };
    Engine::open(options).expect("the folder opens").0
}

/// An engine over a new folder, and a table `t` in it.
pub struct Fixture {
    pub engine: Arc<Engine>,
    pub table: Table,
    pub folder: Arc<TempDir>,
}

impl Fixture {
    pub async fn new(table: NewTable) -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        let engine = open(&folder);
        let (table, _) = engine.create_table(table).await.expect("a valid definition");
        Self { engine, table, folder }
    }

    pub async fn write(&self, batch: RecordBatch) {
        let n_rows = batch.num_rows() as u64;
        let outcome = self.table.write(RowsRequest::new("me", vec![batch.into()])).await.expect("stored");
        assert_eq!(outcome.accepted, n_rows, "{:?}", outcome.row_errors);
    }

    pub async fn build(&self) -> TableSnapshot {
        self.table.build().await.expect("built");
        let snapshot = self.table.snapshot();
        assert!(snapshot.parts().iter().all(|part| part.n_rows() == 0), "all rows are in files");
        snapshot
    }
}

fn column(name: &str, data_type: DataType, nullable: bool) -> ColumnDef {
    ColumnDef { name: name.to_owned(), data_type, nullable, comment: None, max_chars: None }
}

fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn list(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

fn struct_fields() -> Fields {
    vec![
        Field::new("a", DataType::Int64, true),
        Field::new("b", DataType::UInt64, true),
        Field::new("c", list(DataType::Utf8), true),
    ]
    .into()
}

/// Names and types of `t`: one column of every type that a table can have.
fn columns() -> Vec<(&'static str, DataType)> {
    vec![
        ("id", DataType::Int64),
        ("ts", DataType::Timestamp(TimeUnit::Microsecond, None)),
        ("i8", DataType::Int8),
        ("i16", DataType::Int16),
        ("i32", DataType::Int32),
        ("u8", DataType::UInt8),
        ("u16", DataType::UInt16),
        ("u32", DataType::UInt32),
        ("u64", DataType::UInt64),
        ("f32", DataType::Float32),
        ("f64", DataType::Float64),
        ("price", DataType::Decimal128(20, 4)),
        ("name", DataType::Utf8),
        ("raw", DataType::Binary),
        ("day", DataType::Date32),
        ("clock", DataType::Time64(TimeUnit::Microsecond)),
        ("seen", instant()),
        ("ok", DataType::Boolean),
        ("tags", list(DataType::Utf8)),
        ("bytes", list(DataType::UInt8)),
        ("nested", DataType::Struct(struct_fields())),
    ]
}

/// `t(id PRIMARY KEY, ts, …)`, sorted by `(i32, ts)`.
pub fn every_type() -> NewTable {
    NewTable {
        schema_name: "public".to_owned(),
        name: "t".to_owned(),
        columns: columns().into_iter().map(|(name, of)| column(name, of, !matches!(name, "id" | "ts"))).collect(),
        key: vec!["id".to_owned()],
        options: vec![("time_column".to_owned(), "ts".to_owned()), ("sort_by".to_owned(), "i32, ts".to_owned())],
        ..NewTable::default()
    }
}

/// `t(id, ts, v DOUBLE)`, for many rows.
pub fn narrow() -> NewTable {
    NewTable {
        schema_name: "public".to_owned(),
        name: "t".to_owned(),
        columns: vec![
            column("id", DataType::Int64, false),
            column("ts", DataType::Timestamp(TimeUnit::Microsecond, None), false),
            column("v", DataType::Float64, true),
        ],
        options: vec![("sort_by".to_owned(), "ts".to_owned())],
        ..NewTable::default()
    }
}

/// [`narrow`] with the PRIMARY KEY `id`.
pub fn keyed() -> NewTable {
    NewTable { key: vec!["id".to_owned()], ..narrow() }
}

/// Rows of [`narrow`], a millisecond apart, in hour `hour`: one for each of `ids`, with the id's half as `v`.
pub fn narrow_rows_of(ids: impl Iterator<Item = i64>, hour: i64) -> RecordBatch {
    let ids: Vec<i64> = ids.collect();
    let times = (0..).take(ids.len()).map(|at: i64| hour * HOUR_US + at * 1_000);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(ids.clone())),
        Arc::new(TimestampMicrosecondArray::from_iter_values(times)),
        Arc::new(ids.iter().map(|id| Some(*id as f64 / 2.0)).collect::<Float64Array>()),
    ];
    RecordBatch::try_new(Arc::new(narrow_schema()), columns).expect("columns of one length")
}

fn narrow_schema() -> Schema {
    Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("ts", DataType::Timestamp(TimeUnit::Microsecond, None), false),
        Field::new("v", DataType::Float64, true),
    ])
}

/// Rows `first..first + n` of [`narrow`], a millisecond apart, in hour `hour`.
pub fn narrow_rows(first: i64, n: i64, hour: i64, value: impl Fn(i64) -> Option<f64>) -> RecordBatch {
    let ids = first..first + n;
    let times = ids.clone().map(|id| hour * HOUR_US + (id - first) * 1_000);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(ids.clone())),
        Arc::new(TimestampMicrosecondArray::from_iter_values(times)),
        Arc::new(ids.map(value).collect::<Float64Array>()),
    ];
    RecordBatch::try_new(Arc::new(narrow_schema()), columns).expect("columns of one length")
}

/// A value or, one time in ten, NULL.
fn or_null<T>(random: &mut Random, value: impl FnOnce(&mut Random) -> T) -> Option<T> {
    if random.chance(10) { None } else { Some(value(random)) }
}

/// Rows `first..first + n` of [`every_type`], with the ends of each type among them.
pub fn rows(random: &mut Random, first: i64, n: i64) -> RecordBatch {
    let n_rows = n as usize;
    macro_rules! numbers {
        ($array:ty, $of:ty) => {{
            let ends = [<$of>::MIN, <$of>::MAX, 0, 1];
            let values = (0..n_rows).map(|_| {
                or_null(random, |random| match random.below(8) {
                    k @ 0..4 => ends[k as usize],
                    _ => random.below(100) as $of,
                })
            });
            Arc::new(values.collect::<Vec<_>>().into_iter().collect::<$array>()) as ArrayRef
        }};
    }
    macro_rules! column_of {
        ($array:ty, $value:expr) => {{
            let values = (0..n_rows).map(|_| or_null(random, $value)).collect::<Vec<_>>();
            Arc::new(values.into_iter().collect::<$array>()) as ArrayRef
        }};
    }
    let floats = [0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1.5, -2.25];
    let float = |random: &mut Random| match random.below(40) {
        k @ 0..7 => floats[k as usize],
        k => k as f64 / 3.0,
    };
    let time = |random: &mut Random| random.below(86_400_000_000) as i64;
    let times = (first..first + n).map(|id| id * 60_000_000 + random.below(1_000_000) as i64).collect::<Vec<_>>();
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(first..first + n)),
        Arc::new(TimestampMicrosecondArray::from(times)),
        numbers!(Int8Array, i8),
        numbers!(Int16Array, i16),
        numbers!(Int32Array, i32),
        numbers!(UInt8Array, u8),
        numbers!(UInt16Array, u16),
        numbers!(UInt32Array, u32),
        numbers!(UInt64Array, u64),
        column_of!(Float32Array, |random: &mut Random| float(random) as f32),
        column_of!(Float64Array, |random: &mut Random| float(random)),
        Arc::new(
            (0..n_rows)
                .map(|_| or_null(random, |random| i128::from(random.below(1_000_000)) - 500_000))
                .collect::<Decimal128Array>()
                .with_precision_and_scale(20, 4)
                .expect("it fits"),
        ),
        column_of!(StringArray, |random: &mut Random| match random.below(10) {
            0 => String::new(),
            1 => "ü".repeat(100),
            k => format!("name {k}"),
        }),
        binaries(random, n_rows),
        column_of!(Date32Array, |random: &mut Random| random.below(20_000) as i32 - 10_000),
        column_of!(Time64MicrosecondArray, time),
        Arc::new(
            (0..n_rows)
                .map(|_| or_null(random, |random| time(random) * 1_000))
                .collect::<TimestampMicrosecondArray>()
                .with_timezone("UTC"),
        ),
        column_of!(BooleanArray, |random: &mut Random| random.chance(50)),
        tags(random, n_rows),
        bytes(random, n_rows),
        nested(random, n_rows),
    ];
    let fields: Vec<Field> =
        columns().into_iter().map(|(name, of)| Field::new(name, of, !matches!(name, "id" | "ts"))).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("columns of one length")
}

fn binaries(random: &mut Random, n: usize) -> ArrayRef {
    let values: Vec<Option<Vec<u8>>> = (0..n)
        .map(|_| or_null(random, |random| random.next().to_be_bytes()[..random.below(9) as usize].to_vec()))
        .collect();
    Arc::new(values.iter().map(|value| value.as_deref()).collect::<BinaryArray>())
}

fn tags(random: &mut Random, n: usize) -> ArrayRef {
    let mut lists = ListBuilder::new(StringBuilder::new());
    for _ in 0..n {
        let is_list = !random.chance(10);
        for _ in 0..if is_list { random.below(4) } else { 0 } {
            let tag = or_null(random, |random| format!("tag {}", random.below(5)));
            lists.values().append_option(tag);
        }
        lists.append(is_list);
    }
    Arc::new(lists.finish())
}

fn bytes(random: &mut Random, n: usize) -> ArrayRef {
    let mut lists = ListBuilder::new(UInt8Builder::new());
    for _ in 0..n {
        let is_list = !random.chance(10);
        for _ in 0..if is_list { random.below(4) } else { 0 } {
            let byte = or_null(random, |random| random.below(256) as u8);
            lists.values().append_option(byte);
        }
        lists.append(is_list);
    }
    Arc::new(lists.finish())
}

fn nested(random: &mut Random, n: usize) -> ArrayRef {
    let valid = (0..n).map(|_| !random.chance(10)).collect::<Vec<_>>();
    let a = (0..n).map(|_| or_null(random, |random| random.below(9) as i64)).collect::<Int64Array>();
    let b = (0..n).map(|_| or_null(random, |random| u64::MAX - random.below(9))).collect::<UInt64Array>();
    let arrays: Vec<ArrayRef> = vec![Arc::new(a), Arc::new(b), tags(random, n)];
    Arc::new(StructArray::new(struct_fields(), arrays, Some(valid.into())))
}

/// A session that sees snapshots under names of its own.
pub struct Session(pub SessionContext);

impl Session {
    pub fn new(target_partitions: usize) -> Self {
        Self(SessionContext::new_with_config(Self::config(target_partitions)))
    }

    /// With so much memory for all that runs in it.
    pub fn within(target_partitions: usize, bytes: usize) -> Self {
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(GreedyMemoryPool::new(bytes)));
        let runtime = runtime.build_arc().expect("a runtime");
        Self(SessionContext::new_with_config_rt(Self::config(target_partitions), runtime))
    }

    fn config(target_partitions: usize) -> SessionConfig {
        let mut config = SessionConfig::new().with_target_partitions(target_partitions).with_batch_size(1024);
        config.options_mut().sql_parser.map_string_types_to_utf8view = false;
        config
    }

    pub fn show(&self, name: &str, snapshot: &TableSnapshot, with_system_columns: bool) -> Arc<ScanCounters> {
        let counters = Arc::new(ScanCounters::default());
        let table = HybridTable::new(snapshot.clone(), with_system_columns, Arc::clone(&counters));
        self.0.register_table(name, Arc::new(table)).expect("a new name");
        counters
    }

    pub fn show_addresses(&self, name: &str, snapshot: &TableSnapshot) {
        let table = HybridTable::locating(snapshot.clone(), Arc::default(), false);
        self.0.register_table(name, Arc::new(table)).expect("a new name");
    }

    pub async fn run(&self, sql: &str) -> Vec<RecordBatch> {
        let frame = self.0.sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        frame.collect().await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// See [`comparable`].
    pub async fn rows(&self, sql: &str) -> Vec<Vec<u8>> {
        comparable(&self.run(sql).await, sql)
    }

    /// Asserts that a statement over `{t}` gives the same rows from two tables.
    pub async fn same(&self, sql: &str, one: &str, other: &str) {
        let ours = self.rows(&sql.replace("{t}", one)).await;
        let theirs = self.rows(&sql.replace("{t}", other)).await;
        assert!(ours == theirs, "{sql}: {} rows from {one}, {} from {other}", ours.len(), theirs.len());
    }

    pub async fn text(&self, sql: &str) -> String {
        pretty_format_batches(&self.run(sql).await).expect("printable").to_string()
    }

    pub async fn explain(&self, sql: &str) -> String {
        self.text(&format!("EXPLAIN {sql}")).await
    }

    /// The only value of the answer.
    pub async fn number(&self, sql: &str) -> i64 {
        let batches = self.run(sql).await;
        let batch = batches.iter().find(|batch| batch.num_rows() > 0).unwrap_or_else(|| panic!("{sql}: no row"));
        let numbers = arrow::compute::cast(batch.column(0), &DataType::Int64).expect("a number");
        arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(&numbers).value(0)
    }
}
