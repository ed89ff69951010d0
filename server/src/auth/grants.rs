//! What do grants come to? What is stored as what the query engine understands, and what of a user's rights a token leaves.

use tidewater_query::Grant;
use tidewater_storage::{Code, Error, Result, StoredGrant};

pub(crate) fn to_stored(grants: &[Grant]) -> Vec<StoredGrant> {
    grants.iter().map(StoredGrant::from).collect()
}

/// A grant that this program cannot read gives nothing.
pub(crate) fn from_stored(grants: &[StoredGrant]) -> Vec<Grant> {
    grants.iter().filter_map(|stored| Grant::try_from(stored).ok()).collect()
}

/// What a token of this scope may do for a user who has `own`: both must allow it. An empty scope is all that the user may.
pub(crate) fn scoped(own: Vec<Grant>, scope: &[StoredGrant]) -> Vec<Grant> {
    if scope.is_empty() {
        return own;
    }
    let mut both: Vec<Grant> = Vec::new();
    for wanted in from_stored(scope) {
        for has in &own {
            // Two patterns that share a name lie one in the other.
            let tables = match (has.tables.covers(&wanted.tables), wanted.tables.covers(&has.tables)) {
                (true, _) => &wanted.tables,
                (false, true) => &has.tables,
                (false, false) => continue,
            };
            let grant = Grant::new(wanted.role.min(has.role), tables.clone());
            if !both.contains(&grant) {
                both.push(grant);
            }
        }
    }
    both
}

/// `PERMISSION_DENIED` if a token of `user` would be wider than what the user may, which is `own`.
pub(crate) fn check_scope(user: &str, own: &[Grant], scope: &[Grant]) -> Result<()> {
    let is_held = |wanted: &Grant| own.iter().any(|has| has.role >= wanted.role && has.tables.covers(&wanted.tables));
    match scope.iter().find(|wanted| !is_held(wanted)) {
        None => Ok(()),
        Some(wanted) => {
            let message = format!("the token would have '{wanted}', which '{user}' has not");
            Err(Error::new(Code::PermissionDenied, message).hint("a token has at most what its user may"))
        }
    }
}
