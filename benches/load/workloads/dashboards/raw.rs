//! What does DataFusion take for the same files by itself? In this process, over Parquet files in a folder, as well as it can.

use std::path::Path;

use anyhow::{Context, Result};
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use super::answers::Ran;

pub struct Raw {
    context: SessionContext,
    /// Of its own, with as many threads as the server's. Taken only by the end.
    runtime: Option<Runtime>,
}

impl Raw {
    /// DataFusion's own choices but for filters, which are asked while Parquet is decoded. It keeps footers, statistics and the list of
    /// files; the order of rows it reads from the files themselves: hours and late rows are sorted in different ways, so none is declared.
    pub fn new(threads: usize) -> Result<Self> {
        let mut config = SessionConfig::new().with_target_partitions(threads);
        let parquet = &mut config.options_mut().execution.parquet;
        parquet.pushdown_filters = true;
        parquet.reorder_filters = true;
        let runtime = Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
        Ok(Self { context: SessionContext::new_with_config(config), runtime: Some(runtime) })
    }

    /// The table is what is in this folder from now on.
    pub async fn open(&self, table: &str, folder: &Path) -> Result<()> {
        self.context.deregister_table(table)?;
        let folder = format!("{}/", folder.display());
        self.context.register_parquet(table, folder, ParquetReadOptions::default()).await?;
        Ok(())
    }

    /// Nothing else may run in this process meanwhile: all of its CPU time counts.
    pub async fn run(&self, statements: &[String]) -> Result<Ran> {
        let runtime = self.runtime.as_ref().context("the runtime has ended")?;
        let (context, statements) = (self.context.clone(), statements.to_vec());
        let task = runtime.spawn(async move {
            let (mut latencies_ms, mut answers) = (Vec::new(), Vec::new());
            for sql in &statements {
                let at = Instant::now();
                let batches = context.sql(sql).await?.collect().await.with_context(|| sql.clone())?;
                latencies_ms.push(at.elapsed().as_secs_f64() * 1e3);
                answers.push(batches);
            }
            anyhow::Ok((latencies_ms, answers))
        });
        let before_ms = own_cpu_ms();
        let (latencies_ms, answers) = task.await??;
        let cpu_ms = own_cpu_ms() - before_ms;
        Ran::of(latencies_ms, cpu_ms, &answers)
    }
}

impl Drop for Raw {
    /// A runtime that waits for its threads must not end within another.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// CPU time of this process, all threads.
fn own_cpu_ms() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}
