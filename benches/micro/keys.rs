//! What does exact deduplication cost a key, beside a plain set?
//!
//! Prints one JSON object per class of keys. Times are CPU time of the measuring thread, in nanoseconds a row. Every answer
//! of the index is compared with the plain set's, row by row; a difference ends the program with an error.

use std::io::Write;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray, UInt64Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field, Schema, UInt64Type};
use clap::{Parser, ValueEnum};
use hashbrown::HashSet;
use serde_json::{Value, json};
use tidewater_storage::catalog::{ColumnDef, Durability, SealOptions, TableDef, TableOptions};
use tidewater_storage::dedup::{DedupStats, KeyIndex, KeySpec, Keys};
use tidewater_storage::ids::{SchemaId, TableId};
use tidewater_storage::memory::MemoryLedger;

/// Rows of a batch, as producers send them.
const BATCH_ROWS: usize = 10_000;
/// After this many new keys comes a row that repeats an earlier one.
const NEW_PER_DUPLICATE: u64 = 10;
const MEMORY_LIMIT_BYTES: u64 = 32 << 30;

const DEFAULT_INTEGERS: u64 = 20_000_000;
const DEFAULT_TEXTS: u64 = 3_000_000;

#[derive(Debug, Parser)]
#[command(about = "CPU time and memory of exact deduplication, beside a plain set")]
struct Arguments {
    #[arg(long, value_enum, default_value_t = Choice::All)]
    class: Choice,
    /// Distinct keys of each class; default 20 million integers, 3 million texts.
    #[arg(long)]
    n: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Choice {
    All,
    Random,
    Ordered,
    Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// 64 random bits.
    Random,
    /// Time-ordered ids: 41 bits of milliseconds, 10 of machine (eight run), 12 of a counter (ten a millisecond).
    Ordered,
    /// The 36 characters of a UUID.
    Text,
}

impl Class {
    fn name(self) -> &'static str {
        match self {
            Class::Random => "random",
            Class::Ordered => "ordered",
            Class::Text => "text",
        }
    }

    fn data_type(self) -> DataType {
        if self == Class::Text { DataType::Utf8 } else { DataType::UInt64 }
    }

    /// The keys number `rows`, as a column. Different numbers have different keys.
    fn column(self, rows: &[u64]) -> ArrayRef {
        match self {
            Class::Random => Arc::new(UInt64Array::from_iter_values(rows.iter().map(|i| mix(*i)))),
            Class::Ordered => Arc::new(UInt64Array::from_iter_values(rows.iter().map(|i| {
                let (counter, machine, ms) = (i % 10, i / 10 % 8, 411_165_025_343 + i / 80);
                ms << 22 | machine << 12 | counter
            }))),
            Class::Text => Arc::new(StringArray::from_iter_values(rows.iter().map(|i| {
                let (high, low) = (mix(*i), mix(!*i));
                let (a, b, c) = (high >> 32, high >> 16 & 0xFFFF, high & 0xFFFF);
                format!("{a:08x}-{b:04x}-{c:04x}-{:04x}-{:012x}", low >> 48, low & 0xFFFF_FFFF_FFFF)
            }))),
        }
    }
}

/// A bijection without visible order (SplitMix64, Steele and others, 2014).
fn mix(i: u64) -> u64 {
    let mut z = i.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The stream: `n` new keys in order, and after every tenth one an earlier key again.
fn batches(class: Class, def: &TableDef, n: u64) -> Result<Vec<RecordBatch>> {
    let mut rows = Vec::with_capacity(BATCH_ROWS + 1);
    let mut out = Vec::new();
    for i in 0..n {
        rows.push(i);
        if i % NEW_PER_DUPLICATE == NEW_PER_DUPLICATE - 1 {
            rows.push(mix(i) % (i + 1));
        }
        if rows.len() >= BATCH_ROWS || i + 1 == n {
            out.push(RecordBatch::try_new(Arc::clone(&def.arrow_schema), vec![class.column(&rows)])?);
            rows.clear();
        }
    }
    Ok(out)
}

fn table(class: Class) -> TableDef {
    let data_type = class.data_type();
    TableDef {
        id: TableId(Default::default()),
        schema_name: "main".to_owned(),
        name: class.name().to_owned(),
        folder: class.name().to_owned(),
        schema_id: SchemaId(1),
        columns: vec![ColumnDef {
            name: "id".to_owned(),
            data_type: data_type.clone(),
            nullable: false,
            comment: None,
            max_chars: None,
        }],
        key: vec![0],
        options: TableOptions {
            time_column: None,
            sort_by: Vec::new(),
            max_future_us: 0,
            max_lateness_us: None,
            durability: Durability::Fsync,
            system_columns: true,
            seal: SealOptions::default(),
            dedup_window_us: None,
            retention_us: None,
        },
        hash_key: *b"a bench's secret",
        created_at_us: 0,
        arrow_schema: Arc::new(Schema::new(vec![Field::new("id", data_type, false)])),
    }
}

/// CPU time of this thread, in nanoseconds.
fn cpu_ns() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").context("reading the thread's CPU time")?;
    Ok(text.split_whitespace().next().context("the thread's CPU time is empty")?.parse()?)
}

/// Runs `work` and returns its CPU time over `n` rows, in nanoseconds a row.
fn timed<T>(n: usize, work: impl FnOnce() -> Result<T>) -> Result<(f64, T)> {
    let start = cpu_ns()?;
    let out = work()?;
    Ok(((cpu_ns()? - start) as f64 / n as f64, out))
}

/// Resident memory of the process, in bytes.
fn resident_bytes() -> Result<i64> {
    let text = std::fs::read_to_string("/proc/self/status").context("reading the process's memory")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("the process has no VmRSS")?;
    let kib: i64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib << 10)
}

/// What one structure cost.
struct Cost {
    bytes: u64,
    resident_bytes: i64,
    claim_ns: f64,
    probe_ns: f64,
}

impl Cost {
    fn json(&self, n_distinct: u64) -> Value {
        let round = |figure: f64| (figure * 1000.0).round() / 1000.0;
        json!({
            "bytes_per_key": round(self.bytes as f64 / n_distinct as f64),
            "resident_bytes_per_key": round(self.resident_bytes as f64 / n_distinct as f64),
            "claim_ns_per_key": round(self.claim_ns),
            "probe_ns_per_key": round(self.probe_ns),
        })
    }
}

/// Claims all batches, then claims them again, which finds nothing but duplicates.
fn run_index(spec: &KeySpec, keys: &[Keys], n_rows: usize) -> Result<(Cost, DedupStats, Vec<Option<BooleanBuffer>>)> {
    let before = resident_bytes()?;
    let mut index = KeyIndex::new(spec, &MemoryLedger::new(MEMORY_LIMIT_BYTES));
    let mut claim_all = || {
        let claim = |keys: &Keys| {
            index.has_capacity(keys.len())?;
            Ok(index.claim(keys, None).losers)
        };
        keys.iter().map(claim).collect::<Result<Vec<_>>>()
    };
    let (claim_ns, losers) = timed(n_rows, &mut claim_all)?;
    let resident_bytes = resident_bytes()? - before;
    let (probe_ns, again) = timed(n_rows, &mut claim_all)?;
    for (losers, keys) in again.iter().zip(keys) {
        let n_losers = losers.as_ref().map_or(0, BooleanBuffer::count_set_bits);
        ensure!(n_losers == keys.len(), "a key that was claimed is not known any more");
    }
    let stats = index.stats();
    Ok((Cost { bytes: stats.bytes, resident_bytes, claim_ns, probe_ns }, stats, losers))
}

/// The same with a hash set of the keys themselves; text is held as text. Returns which rows were duplicates.
fn run_plain(batches: &[RecordBatch], n_rows: usize) -> Result<(Cost, Vec<Vec<bool>>)> {
    let before = resident_bytes()?;
    let (mut integers, mut texts) = (HashSet::<u64>::new(), HashSet::<Box<str>>::new());
    let mut insert_all = || {
        let insert = |batch: &RecordBatch| match batch.column(0).as_primitive_opt::<UInt64Type>() {
            Some(column) => column.values().iter().map(|key| !integers.insert(*key)).collect(),
            None => {
                let column = batch.column(0).as_string::<i32>();
                let insert = |key: &str| texts.contains(key) || !texts.insert(key.into());
                column.iter().flatten().map(insert).collect()
            }
        };
        Ok(batches.iter().map(insert).collect::<Vec<Vec<bool>>>())
    };
    let (claim_ns, losers) = timed(n_rows, &mut insert_all)?;
    let resident_bytes = resident_bytes()? - before;
    let (probe_ns, _) = timed(n_rows, &mut insert_all)?;
    let text_bytes: usize = texts.iter().map(|text| text.len()).sum();
    let bytes = (integers.allocation_size() + texts.allocation_size() + text_bytes) as u64;
    Ok((Cost { bytes, resident_bytes, claim_ns, probe_ns }, losers))
}

fn run(class: Class, n: u64) -> Result<Value> {
    let def = table(class);
    let spec = KeySpec::new(&def).context("the table has a key")?;
    let batches = batches(class, &def, n)?;
    let n_rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let (canonical_ns, keys) = timed(n_rows, || Ok(batches.iter().map(|rows| spec.keys(rows)).collect::<Vec<_>>()))?;
    let (index, stats, losers) = run_index(&spec, &keys, n_rows)?;
    let (plain, expected) = run_plain(&batches, n_rows)?;
    let mut n_duplicates = 0;
    for (batch, (losers, expected)) in losers.iter().zip(&expected).enumerate() {
        for (row, expected) in expected.iter().enumerate() {
            let lost = losers.as_ref().is_some_and(|losers| losers.value(row));
            ensure!(lost == *expected, "row {row} of batch {batch}: the index says {lost}, a plain set {expected}");
            n_duplicates += u64::from(lost);
        }
    }
    ensure!(stats.keys == n && n_rows as u64 - n_duplicates == n, "{} of {n} keys are known", stats.keys);
    Ok(json!({
        "keys": class.name(),
        "n": n_rows,
        "distinct": n,
        "duplicates": n_duplicates,
        "class": stats.class,
        "permutation_holes": stats.permutations.iter().map(|holes| format!("{holes:#018x}")).collect::<Vec<_>>(),
        "canonical_ns_per_key": (canonical_ns * 1000.0).round() / 1000.0,
        "index": index.json(n),
        "plain_set": plain.json(n),
    }))
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let classes: &[Class] = match arguments.class {
        Choice::All => &[Class::Random, Class::Ordered, Class::Text],
        Choice::Random => &[Class::Random],
        Choice::Ordered => &[Class::Ordered],
        Choice::Text => &[Class::Text],
    };
    for class in classes {
        let default = if *class == Class::Text { DEFAULT_TEXTS } else { DEFAULT_INTEGERS };
        let result = run(*class, arguments.n.unwrap_or(default).max(1))?;
        writeln!(std::io::stdout(), "{result}")?;
    }
    Ok(())
}
