//! Who may commit to a Delta table from now on? Whose commit stands there last: it names a log that is new, so that whoever committed
//! before finds it at the next attempt, and stops.

use std::time::Duration;

use crate::error::{Code, Error, Result};
use crate::ids::CommitSeq;
use crate::publishing::{Draft, attempt};
use crate::sealed::DeltaTable;
use crate::table::{Settled, Shared};

/// A store that does not say what became of the commit is asked so often.
const ATTEMPTS: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// Commits under the log id of `shared`, behind `from`, that entries through `through` are in the table; its name and schema, if they are to
/// be others. `None`: somebody else committed since `from` was read, and nothing was changed. An error: nobody knows.
///
/// The commit is not on record before it is sent. It brings no file and takes none away: if it is there and its sender is not, the next one
/// who takes the table over commits behind it.
pub(crate) async fn take_over(
    shared: &Shared,
    delta: &DeltaTable,
    from: Settled,
    through: CommitSeq,
) -> Result<Option<Settled>> {
    let draft = Draft {
        operation: "ATTACH",
        from: Some(from),
        through,
        def: &shared.def,
        adds: &[],
        removes: Vec::new(),
        data_change: false,
    };
    let intent = draft.intent(shared)?;
    let mut wait = FIRST_WAIT;
    for n in 1..=ATTEMPTS {
        match attempt(shared, delta, &intent).await {
            Ok(None) => return Ok(Some(intent.after)),
            Ok(Some(_)) => return Ok(None),
            Err(e) if n == ATTEMPTS || e.code() == Code::DeltaDamaged => return Err(e),
            Err(e) => {
                tracing::warn!(table_id = %shared.def.id, version = intent.after.version, reason = %e, "a commit is sent again");
                tokio::time::sleep(wait).await;
                wait *= 2;
            }
        }
    }
    Err(Error::internal("a commit was sent often enough, and nobody said so"))
}
