//! What does the system say about itself? Tables of the schema `system`, made when they are read.

mod accounts;
mod columns;
mod prometheus;
mod rows;
mod table;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use tidewater_storage::{Engine, Result};

use crate::engine::{QueryInfo, SystemSources};
use crate::session::Principal;

pub use columns::{TABLE_NAMES, is_admin_table};

/// Running queries and those that ended lately; the query engine keeps the list.
pub trait QueryListing: Send + Sync {
    /// What the principal may see, newest first.
    fn visible_to(&self, principal: &Principal) -> Vec<QueryInfo>;
}

/// Where system tables take their rows from.
#[derive(Clone)]
pub struct SystemState {
    pub storage: Arc<Engine>,
    pub sources: SystemSources,
    pub queries: Arc<dyn QueryListing>,
}

impl fmt::Debug for SystemState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemState").finish_non_exhaustive()
    }
}

/// A system table as `principal` sees it; `None` if there is none of that name, `PERMISSION_DENIED` for one that only admins read.
pub(crate) fn table(
    name: &str,
    state: &Arc<SystemState>,
    principal: &Principal,
) -> Result<Option<Arc<dyn TableProvider>>> {
    if is_admin_table(name) {
        principal.check_admin(&format!("read system.{name}"))?;
    }
    Ok(table::table(name, state, principal))
}

/// The system tables that the principal may read, sorted.
pub(crate) fn tables_of(principal: &Principal) -> impl Iterator<Item = &'static str> {
    let is_admin = principal.is_admin();
    TABLE_NAMES.into_iter().filter(move |name| is_admin || !is_admin_table(name))
}
