//! Is every row accounted for? What was ever accepted is there, or left the table in a way that was counted.

use super::verify::Check;
use crate::error::Result;
use crate::sealed::FileRef;
use crate::table::{Books, Table, TableRequest};

const NAME: &str = "rows";

/// accepted = realtime + built + sealed + deleted + truncated + expired, all of one moment. What is there comes from the snapshot, what was
/// accepted from the ledger, what left from the table's own counters; each is durable by itself.
pub(super) async fn check_accounts(table: &Table) -> Result<Check> {
    let Books { counts, snapshot } = table.ask(|answer| TableRequest::Count { answer }).await?;
    let realtime: u64 = snapshot.parts().iter().map(|part| part.n_rows() as u64).sum();
    let live = |is_published| {
        let files = snapshot.files().iter().filter(move |file| file.place.is_published == is_published);
        files.map(FileRef::live_rows).sum::<u64>()
    };
    let (built, sealed) = (live(false), live(true));
    let there = realtime + built + sealed;
    let accepted = counts.accepted;
    let Some(gone) = counts.gone else {
        let detail = format!(
            "{accepted} rows were accepted and {there} are there; what left was not counted from the beginning: the table was attached, or an \
             older version of this program made it"
        );
        return Ok(Check { name: NAME, is_ok: None, detail });
    };
    let all = there + gone.deleted + gone.truncated + gone.expired;
    let relation = if all == accepted { "=" } else { "is not" };
    let detail = format!(
        "{accepted} accepted {relation} {realtime} realtime + {built} built + {sealed} sealed + {} deleted + {} truncated + {} expired",
        gone.deleted, gone.truncated, gone.expired
    );
    Ok(Check { name: NAME, is_ok: Some(all == accepted), detail })
}
