//! Which files are the rows in? Those of the Delta tables, once everything is sealed and merged; the other engines read the same.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use arrow::array::{AsArray, RecordBatch};
use futures::TryStreamExt;
use tidewater_client::Client;

use super::contest::Contest;
use crate::workloads::Bench;

/// The tables, with the order and the key that DuckDB's own get; ours have the same.
pub const TABLES: [(&str, &str, &str); 2] =
    [("detections", "geographical_location_oid, timestamp_detected", "detection_oid"), ("locations", "oid", "oid")];

/// All rows become files of the Delta tables, and these are merged until there is nothing left to merge.
pub async fn settle(client: &Client) -> Result<()> {
    for (table, ..) in TABLES {
        call(client, "seal", table).await?;
        let mut before = Vec::new();
        loop {
            let now = live_files(client, table).await?;
            if now == before {
                break;
            }
            before = now;
            call(client, "compact", table).await?;
        }
    }
    Ok(())
}

async fn call(client: &Client, procedure: &str, table: &str) -> Result<()> {
    client.sql(&format!("CALL {procedure}('{table}')")).await?.try_collect::<Vec<_>>().await?;
    Ok(())
}

/// Paths of the files that a table's rows are in, below the data folder.
async fn live_files(client: &Client, table: &str) -> Result<Vec<String>> {
    let sql = format!(
        "SELECT s.path, s.kind FROM system.segments s JOIN system.tables t ON s.table_id = t.id \
         WHERE t.name = '{table}' ORDER BY s.path"
    );
    let batches: Vec<RecordBatch> = client.sql(&sql).await?.try_collect().await?;
    let mut files = Vec::new();
    for batch in &batches {
        let (paths, kinds) = (batch.column(0).as_string::<i32>(), batch.column(1).as_string::<i32>());
        for (path, kind) in paths.iter().zip(kinds) {
            ensure!(kind == Some("sealed"), "rows of {table} are not in its Delta table: a segment is {kind:?}");
            files.push(path.context("a file without a path")?.to_owned());
        }
    }
    Ok(files)
}

/// What the other engines read.
#[derive(Default)]
pub struct Live {
    files: Vec<(&'static str, Vec<String>)>,
    /// How often the files were others.
    pub n_layouts: usize,
    pub n_files: usize,
    pub n_bytes: u64,
}

impl Live {
    /// Shows the others the files that the tables have now, if they do not read these already. The files are linked into a folder of their
    /// own: what the server removes later stays, and a folder's list can be kept.
    pub async fn open(&mut self, bench: &Bench, contest: &mut Contest<'_>) -> Result<()> {
        let mut now = Vec::new();
        for (table, ..) in TABLES {
            now.push((table, live_files(contest.client, table).await?));
        }
        if now == self.files {
            return Ok(());
        }
        self.n_layouts += 1;
        (self.n_files, self.n_bytes) = (0, 0);
        for (table, files) in &now {
            let folder = bench.folder.canonicalize()?.join(format!("files-{}", self.n_layouts)).join(table);
            let links = link(&bench.data(), files, &folder)?;
            contest.open(table, &folder, &links).await?;
            self.n_files += links.len();
            for link in &links {
                self.n_bytes += link.metadata()?.len();
            }
        }
        self.files = now;
        Ok(())
    }
}

fn link(data: &Path, files: &[String], folder: &Path) -> Result<Vec<PathBuf>> {
    std::fs::create_dir_all(folder)?;
    let mut links = Vec::new();
    for file in files {
        let file = data.join(file);
        let link = folder.join(file.file_name().context("a path without a name")?);
        std::fs::hard_link(&file, &link).with_context(|| format!("cannot link {}", file.display()))?;
        links.push(link);
    }
    Ok(links)
}
