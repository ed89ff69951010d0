//! Do rows stay what they are while files are merged, and do they go when, and only when, they should?

mod compacts;
mod crashes;
mod meanwhile;
mod model;
mod retention;
mod sidecars;
mod window;

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};

use crate::catalog::NewTable;
use crate::engine::tests::support::{batch, definition, request};
use crate::table::Table;

fn all(n: i64) -> Vec<i64> {
    (0..n).collect()
}

/// Rows by where they are: realtime, built, published.
fn spread(table: &Table) -> (u64, u64, u64) {
    let stats = table.stats();
    (stats.realtime_rows, stats.built_rows, stats.sealed_rows)
}

async fn write(table: &Table, keys: &[i64]) -> u64 {
    table.write(request(batch(keys))).await.expect("stored").accepted
}

/// Published files of so many rows each, with the keys from 0 on.
async fn seal_pieces(table: &Table, n_files: i64, n_rows: i64) {
    for file in 0..n_files {
        write(table, &(file * n_rows..(file + 1) * n_rows).collect::<Vec<_>>()).await;
        table.seal().await.expect("sealed");
    }
}

/// Names of the files that are visible, sorted.
fn names(table: &Table) -> Vec<String> {
    let mut names: Vec<String> = table.snapshot().files().iter().map(|file| file.file.name.clone()).collect();
    names.sort_unstable();
    names
}

/// Names of the files that the newest version of the Delta table has, sorted.
async fn delta_names(table: &Table) -> Vec<String> {
    let delta = crate::publishing::delta_table(&table.shared).expect("a table");
    let mut names: Vec<String> =
        delta.load().await.expect("it loads").files.into_iter().map(|file| file.name).collect();
    names.sort_unstable();
    names
}

/// Names in a folder that end so, sorted.
fn files_in(folder: &std::path::Path, end: &str) -> Vec<String> {
    crate::env::wait_for_soon();
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(end)).collect();
    names.sort_unstable();
    names
}

fn delta_folder(table: &Table) -> std::path::PathBuf {
    table.shared.gate.folder.join(table.shared.folders.published().to_string())
}

/// Where the file of this name is.
fn path_of(table: &Table, name: &str) -> std::path::PathBuf {
    delta_folder(table).join(name)
}

fn with_options(options: &[(&str, &str)]) -> NewTable {
    let mut new = definition("t");
    new.options.extend(options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    new
}

/// Rows whose other columns follow from the key, but for the event time.
fn at(rows: &[(i64, i64)]) -> RecordBatch {
    let (keys, times): (Vec<i64>, Vec<i64>) = rows.iter().copied().unzip();
    let usual = batch(&keys);
    let times = arrow::array::TimestampMicrosecondArray::from(times).with_timezone("UTC");
    let columns = vec![usual.column(0).clone(), usual.column(1).clone(), std::sync::Arc::new(times) as _];
    RecordBatch::try_new(usual.schema(), columns).expect("of one length")
}

/// Key, event time and entry of each row of the published file at this place of the snapshot, in the file's order, deleted ones left out.
fn rows_of(table: &Table, place: usize) -> Vec<(i64, i64, i64)> {
    let snapshot = table.snapshot();
    let file = &snapshot.files()[place];
    let path = path_of(table, &file.file.name);
    let (mut rows, mut row) = (Vec::new(), 0);
    for read in crate::sealed::read_file(&path, &snapshot.def().arrow_schema).expect("the file opens") {
        let (batch, seqs): (RecordBatch, Option<Int64Array>) = read.expect("readable");
        let keys = batch.column(0).as_primitive::<Int64Type>();
        let times = batch.column(2).as_primitive::<TimestampMicrosecondType>();
        for at in 0..batch.num_rows() {
            if !file.deleted.as_ref().is_some_and(|deleted| deleted.contains(row)) {
                rows.push((keys.value(at), times.value(at), seqs.as_ref().map_or(0, |seqs| seqs.value(at))));
            }
            row += 1;
        }
    }
    rows
}

/// The same of all files, sorted by key.
fn all_rows(table: &Table) -> Vec<(i64, i64, i64)> {
    let mut rows: Vec<_> = (0..table.snapshot().files().len()).flat_map(|place| rows_of(table, place)).collect();
    rows.sort_unstable();
    rows
}
