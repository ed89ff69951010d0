//! Which users and tokens are there, and what may they do? Nothing of passwords and secrets, their hashes neither.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use tidewater_storage::{Engine, StoredGrant};

use super::rows::{opt_time, text};
use crate::session::{Grant, Principal};

/// All of them: only admins read this table.
pub(super) fn users(storage: &Engine) -> Vec<ArrayRef> {
    let rows = storage.users();
    vec![
        text(rows.iter().map(|row| &row.name)),
        text(rows.iter().map(|row| grants(&row.grants))),
        Arc::new(rows.iter().map(|row| Some(row.disabled)).collect::<BooleanArray>()),
        opt_time(rows.iter().map(|row| Some(row.created_at_us))),
        opt_time(rows.iter().map(|row| Some(row.changed_at_us))),
    ]
}

/// Those of the caller; an admin sees everybody's. Who comes with a token for less than its user may sees none.
pub(super) fn tokens(storage: &Engine, caller: &Principal) -> Vec<ArrayRef> {
    let user = storage.user(&caller.name);
    let all = user.iter().flat_map(|user| &user.grants).filter_map(|stored| Grant::try_from(stored).ok());
    let is_whole = caller.still_has(&Principal::new(caller.name.clone(), all.collect::<Vec<_>>()));
    let mut rows = storage.tokens();
    rows.retain(|row| caller.is_admin() || (is_whole && row.user == caller.name));
    vec![
        text(rows.iter().map(|row| &row.id)),
        text(rows.iter().map(|row| &row.user)),
        text(rows.iter().map(|row| &row.label)),
        text(rows.iter().map(|row| grants(&row.grants))),
        opt_time(rows.iter().map(|row| Some(row.created_at_us))),
        opt_time(rows.iter().map(|row| row.expires_at_us)),
    ]
}

/// `writer:public.detections, reader:*`; empty for a token that may do what its user may.
fn grants(stored: &[StoredGrant]) -> String {
    let text = |stored: &StoredGrant| match Grant::try_from(stored) {
        Ok(grant) => grant.to_string(),
        // It gives nothing to anybody.
        Err(_) => format!("unknown:{}", stored.tables),
    };
    stored.iter().map(text).collect::<Vec<_>>().join(", ")
}
