//! How far is a query? Said every half second, also while nothing of it comes.

use std::future::Future;
use std::time::Duration;

use tidewater_proto::query::v1 as pb;
use tidewater_query::QueryWatch;
use tidewater_storage::Result;
use tokio::time::Instant;

use crate::call::bounded;

/// Between two messages.
pub(super) const INTERVAL: Duration = Duration::from_millis(500);

/// Progress of one query, for a caller who wants to hear of it.
pub(super) struct Reports {
    query: QueryWatch,
    begun: Instant,
    due: Instant,
    /// As it was said last.
    fraction: Option<f64>,
}

impl Reports {
    pub fn new(query: QueryWatch) -> Self {
        let begun = Instant::now();
        Self { query, begun, due: begun + INTERVAL, fraction: None }
    }

    /// What is to be said now, if it is time.
    pub fn next(&mut self) -> Option<pb::Progress> {
        let now = Instant::now();
        if now < self.due {
            return None;
        }
        self.due = now + INTERVAL;
        let summary = self.query.summary();
        // Where a statement runs several plans, each brings rows to read.
        self.fraction = summary.fraction.map(|now| self.fraction.map_or(now, |before| now.max(before)));
        Some(pb::Progress {
            rows_read: summary.rows_read_realtime + summary.rows_read_sealed,
            bytes_read: summary.bytes_read,
            elapsed: prost_types::Duration::try_from(now - self.begun).ok(),
            fraction: self.fraction,
        })
    }
}

/// Waits for `work`, until the next report is due (`None`), or for `deadline`, past which it is an error.
pub(super) async fn or_report<T>(
    deadline: Option<Instant>,
    reports: Option<&Reports>,
    work: impl Future<Output = Result<T>>,
) -> Result<Option<T>> {
    bounded(deadline, async {
        match reports {
            None => work.await.map(Some),
            Some(reports) => match tokio::time::timeout_at(reports.due, work).await {
                Ok(done) => done.map(Some),
                Err(_) => Ok(None),
            },
        }
    })
    .await
}
