//! What becomes of a table whose Delta table has more of its log than the log has? The folder is an older copy: the table takes no more
//! rows, until somebody goes on with what the Delta table has. One that another folder has taken over takes no more rows either.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Engine;
use crate::error::{Code, Result};
use crate::publishing::{check_log_end, delta_table};
use crate::table::Table;

/// Stores that are elsewhere are asked so soon after the start, and again if they do not answer, less and less often.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Asks the Delta tables that were not asked when their tables were opened, until each has answered. Ingest does not wait for them.
pub(super) async fn check_logs(engine: Weak<Engine>) {
    let mut wait = FIRST_WAIT;
    loop {
        // Not at once: the engine that this holds weakly is still being made.
        tokio::time::sleep(wait).await;
        let Some(engine) = engine.upgrade() else { return };
        let (asks, tables) = (engine.asks_logs.load(Ordering::Acquire), engine.tables());
        drop(engine);
        if asks && check_all(&tables).await {
            return;
        }
        wait = (2 * wait).min(LONGEST_WAIT);
    }
}

/// Whether each has answered, or is closed.
async fn check_all(tables: &[Table]) -> bool {
    let mut all = true;
    for table in tables.iter().filter(|table| !table.shared.is_closing()) {
        all &= match check(table).await {
            Ok(()) => true,
            // It is closed now, and said why.
            Err(e) if e.code() == Code::LogBehind => true,
            Err(e) if e.code() == Code::DeltaConflict => {
                // It is closed if it is another folder's; what others wrote there is named by whoever commits next.
                tracing::warn!(table_id = %table.shared.def.id, reason = %e, "nothing is sealed here any more");
                true
            }
            Err(e) => {
                tracing::warn!(table_id = %table.shared.def.id, reason = %e, "nobody knows yet whether the data folder is the newest copy");
                false
            }
        };
    }
    all
}

async fn check(table: &Table) -> Result<()> {
    check_log_end(&table.shared, &delta_table(&table.shared)?).await
}

impl Engine {
    /// Asks all Delta tables that were not asked yet. For tests.
    #[cfg(test)]
    pub(super) async fn check_logs_now(&self) -> bool {
        check_all(&self.tables()).await
    }

    /// Opens each table whose log is behind its Delta table anew, with what that has: under a log id of its own, with keys read from its
    /// files. What the log has beside it is gone, idempotency keys as well. Returns a line for each, and for each that another data folder has
    /// taken over, which is left as it is. A table whose store does not answer stays as it is; one that cannot be begun anew takes no
    /// requests, and the others are not kept from it.
    pub async fn accept_losses(self: &Arc<Self>) -> Vec<String> {
        let mut lines = Vec::new();
        for table in self.tables() {
            match check(&table).await {
                Ok(()) => {}
                Err(e) if e.code() == Code::LogBehind => {
                    let line = self.begin_anew(&table).await.unwrap_or_else(|e| {
                        let def = table.def();
                        let why = "its log is behind its Delta table, and it could not be begun anew";
                        tracing::error!(table_id = %def.id, table = def.name, reason = %e, "{why}");
                        format!("table {}.{}: {why}: {e}", def.schema_name, def.name)
                    });
                    lines.push(line);
                }
                // Its log has lost nothing: it is another folder's table now, and stays that.
                Err(e) if e.code() == Code::DeltaConflict => {
                    let def = table.def();
                    lines.push(format!("table {}.{} is not begun anew: {e}", def.schema_name, def.name));
                }
                Err(e) => {
                    tracing::warn!(table_id = %table.shared.def.id, reason = %e, "nobody knows yet whether the data folder is the newest copy");
                }
            }
        }
        self.asks_logs.store(true, Ordering::Release);
        lines
    }

    /// The table was closed.
    async fn begin_anew(self: &Arc<Self>, table: &Table) -> Result<String> {
        let before = table.snapshot().n_rows();
        table.closed().await;
        super::seal::quiet(&table.shared).await;
        let table = self.reattach(table.clone()).await?;
        let (def, stats) = (table.def(), table.stats());
        Ok(format!(
            "table {}.{}: its log was behind its Delta table and is begun anew with version {}: {} rows (the log had {before}), {} keys",
            def.schema_name,
            def.name,
            stats.delta_version.unwrap_or(0),
            stats.sealed_rows,
            stats.dedup_keys
        ))
    }
}
