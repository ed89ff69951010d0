//! What do scan tests share? A table of every kind of part, its rows in a memory table, and a small random source.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, TimeUnit};
use arrow::row::{RowConverter, SortField};
use arrow::util::pretty::pretty_format_batches;
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use tidewater_storage::catalog::{ColumnDef, NewTable, TableDef, define};
use tidewater_storage::env::Env;
use tidewater_storage::realtime::{RealtimePart, build_runs};

use crate::provider::counters::ScanCounters;
use crate::provider::realtime::RealtimeRows;
use crate::provider::table::HybridTable;

/// The rows that `sql` gave in a form that compares them byte for byte, sorted unless the statement orders them.
pub(in crate::provider) fn comparable(batches: &[RecordBatch], sql: &str) -> Vec<Vec<u8>> {
    let mut rows = Vec::new();
    for batch in batches {
        let fields = batch.schema().fields().iter().map(|f| SortField::new(f.data_type().clone())).collect();
        let converter = RowConverter::new(fields).expect("types with an order");
        let converted = converter.convert_columns(batch.columns()).expect("columns of these types");
        rows.extend(converted.iter().map(|row| row.data().to_vec()));
    }
    if !sql.contains("ORDER BY") {
        rows.sort_unstable();
    }
    rows
}

/// A generator that gives the same numbers on every machine (Marsaglia's xorshift64).
pub(in crate::provider) struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len() as u64) as usize]
    }
}

/// `t(id, loc, ts, name, v, ok, day)`, sorted by `(loc, ts)`.
pub(super) fn definition() -> Arc<TableDef> {
    let column = |name: &str, data_type, nullable| ColumnDef {
        name: name.to_owned(),
        data_type,
        nullable,
        comment: None,
        max_chars: None,
    };
    let new = NewTable {
        schema_name: "public".to_owned(),
        name: "t".to_owned(),
        columns: vec![
            column("id", DataType::Int64, false),
            column("loc", DataType::Int32, true),
            column("ts", DataType::Timestamp(TimeUnit::Microsecond, None), false),
            column("name", DataType::Utf8, true),
            column("v", DataType::Float64, true),
            column("ok", DataType::Boolean, true),
            column("day", DataType::Date32, true),
        ],
        key: vec!["id".to_owned()],
        options: vec![("sort_by".to_owned(), "loc, ts".to_owned())],
        ..NewTable::default()
    };
    Arc::new(define(new, &Env::system()).expect("a valid definition").0)
}

/// Rows in the order of arrival: ids and times rise, the rest is random, with NULLs, NaN and both zeros.
fn rows(def: &TableDef, random: &mut Random, first: i64, n: usize) -> RecordBatch {
    let ids: Vec<i64> = (first..first + n as i64).collect();
    let or_null = |random: &mut Random, value: i64| (!random.chance(5)).then_some(value);
    let floats = [0.0, -0.0, f64::NAN, -f64::NAN, f64::INFINITY, 1.5, -2.25];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(ids.clone())),
        Arc::new(
            (0..n)
                .map(|_| {
                    let at = random.below(50) as i64;
                    or_null(random, at).map(|v| v as i32)
                })
                .collect::<Int32Array>(),
        ),
        Arc::new(
            ids.iter()
                .map(|id| Some(id * 1_000_000 + random.below(5_000_000) as i64))
                .collect::<TimestampMicrosecondArray>(),
        ),
        Arc::new(
            (0..n)
                .map(|_| match random.below(20) {
                    0 => None,
                    1 => Some("x".repeat(100)),
                    k => Some(format!("name {k}")),
                })
                .collect::<StringArray>(),
        ),
        Arc::new(
            (0..n)
                .map(|i| match random.below(300) {
                    0..7 => None,
                    7..14 if first % 3 == 0 => Some(floats[random.below(7) as usize]),
                    k => Some(k as f64 + i as f64 / 1e3),
                })
                .collect::<Float64Array>(),
        ),
        Arc::new((0..n).map(|_| (!random.chance(10)).then(|| random.chance(50))).collect::<BooleanArray>()),
        Arc::new(ids.iter().map(|id| Some((id / 10_000) as i32)).collect::<Date32Array>()),
    ];
    RecordBatch::try_new(Arc::clone(&def.arrow_schema), columns).expect("columns of one length")
}

/// Entry `seq` is stamped a second after the one before it.
pub(super) fn stamp_us(seq: i64) -> i64 {
    1_700_000_000_000_000 + seq * 1_000_000
}

/// Some sorted runs of several zones, then a tail of small and large batches; and all rows as they arrived.
pub(super) fn parts(def: &TableDef, seed: u64) -> (Vec<Arc<RealtimePart>>, Vec<RecordBatch>) {
    let mut random = Random::new(seed);
    let (mut parts, mut arrived) = (Vec::new(), Vec::new());
    let (mut first, mut seq) = (0, 0);
    let mut batch = |random: &mut Random, n: usize| {
        let batch = rows(def, random, first, n);
        first += n as i64;
        seq += 1;
        arrived.push(batch.clone());
        let seqs = Int64Array::from(vec![seq; n]);
        Arc::new(RealtimePart::new(batch, seqs, Arc::new([(seq, stamp_us(seq))]), false))
    };
    for _ in 0..2 + seed % 2 {
        let inputs: Vec<_> = (0..3)
            .map(|_| {
                let n = 3_000 + random.below(6_000) as usize;
                batch(&mut random, n)
            })
            .collect();
        parts.extend(build_runs(&inputs, &def.options.sort_by).expect("one schema").into_iter().map(Arc::new));
    }
    for n in [9_000, 700, 40, 1] {
        parts.push(batch(&mut random, n));
    }
    // The smallest tail batches have zones without bounds.
    let small = batch(&mut random, 25);
    let unknown = small.zones.columns.iter().map(|_| None).collect();
    let zones = tidewater_storage::realtime::ZoneMap { rows: small.zones.rows.clone(), columns: unknown };
    let (rows, seqs) = (small.rows.clone(), small.seqs.clone());
    let bare = RealtimePart::with_zones(rows, seqs, Arc::clone(&small.stamps), false, zones);
    parts.push(Arc::new(bare));
    (parts, arrived)
}

/// A session with `t` (realtime parts), `m` (the same rows in a memory table) and the counters of `t`.
pub(super) struct Fixture {
    pub context: SessionContext,
    pub counters: Arc<ScanCounters>,
    pub n_rows: usize,
}

pub(super) fn fixture(seed: u64, target_partitions: usize, with_system_columns: bool) -> Fixture {
    let def = definition();
    let (parts, arrived) = parts(&def, seed);
    let mut config = SessionConfig::new().with_target_partitions(target_partitions).with_batch_size(1024);
    config.options_mut().sql_parser.map_string_types_to_utf8view = false;
    let context = SessionContext::new_with_config(config);
    let counters = Arc::new(ScanCounters::default());
    let realtime = RealtimeRows::new(&def, &parts, with_system_columns);
    let n_rows = realtime.n_rows;
    let table = HybridTable::of_rows(Arc::clone(&def), realtime, Arc::clone(&counters));
    context.register_table("t", Arc::new(table)).expect("a new name");
    let memory = MemTable::try_new(Arc::clone(&def.arrow_schema), vec![arrived]).expect("one schema");
    context.register_table("m", Arc::new(memory)).expect("a new name");
    Fixture { context, counters, n_rows }
}

impl Fixture {
    pub async fn run(&self, sql: &str) -> Vec<RecordBatch> {
        let frame = self.context.sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        frame.collect().await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The rows as text, sorted unless the statement orders them.
    pub async fn lines(&self, sql: &str) -> Vec<String> {
        let batches = self.run(sql).await;
        let text = pretty_format_batches(&batches).expect("printable").to_string();
        let mut lines: Vec<String> =
            text.lines().filter(|line| line.starts_with('|')).skip(1).map(str::to_owned).collect();
        if !sql.contains("ORDER BY") {
            lines.sort();
        }
        lines
    }

    /// See [`comparable`].
    async fn rows(&self, sql: &str) -> Vec<Vec<u8>> {
        comparable(&self.run(sql).await, sql)
    }

    /// Asserts that a statement over `{t}` gives the same rows from the parts and from the memory table.
    pub async fn check(&self, sql: &str) {
        let ours = self.rows(&sql.replace("{t}", "t")).await;
        let theirs = self.rows(&sql.replace("{t}", "m")).await;
        assert!(ours == theirs, "{sql}: {} rows, should be {}", ours.len(), theirs.len());
    }

    /// The number of rows of the answer.
    pub async fn count(&self, sql: &str) -> usize {
        self.run(sql).await.iter().map(RecordBatch::num_rows).sum()
    }

    pub async fn explain(&self, sql: &str) -> String {
        let batches = self.run(&format!("EXPLAIN {sql}")).await;
        pretty_format_batches(&batches).expect("printable").to_string()
    }
}
