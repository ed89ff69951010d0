//! Which queries ran lately? The last 1,000, and beside them the last of those that nobody typed.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::engine::QueryInfo;
use crate::limits::{RECENT_POLLS, RECENT_QUERIES};
use crate::session::{Interface, Principal};

/// What the console's own statements begin with.
pub const CONSOLE_MARK: &str = "/* console */";

/// With who asked. Shared, so that looking at them copies nothing while the lock is held.
pub(super) type Ended = (Principal, Arc<QueryInfo>);

/// Queries that have ended, the oldest first.
#[derive(Default)]
pub(super) struct Recent {
    queries: VecDeque<Ended>,
    /// Those of the console and of the server itself: they come every few seconds, and would push out all others.
    polls: VecDeque<Ended>,
}

impl Recent {
    pub(super) fn push(&mut self, owner: Principal, query: QueryInfo) {
        let is_poll = query.interface == Interface::Internal || query.sql.starts_with(CONSOLE_MARK);
        let (ring, most) = match is_poll {
            true => (&mut self.polls, RECENT_POLLS),
            false => (&mut self.queries, RECENT_QUERIES),
        };
        if ring.len() == most {
            ring.pop_front();
        }
        ring.push_back((owner, Arc::new(query)));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Ended> {
        self.queries.iter().chain(&self.polls)
    }
}

#[cfg(test)]
mod tests;
