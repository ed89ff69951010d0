//! TRUNCATE: one entry; rows and keys before it go, producers' positions stay.

use tokio::sync::oneshot;

use crate::error::Result;
use crate::ids::CommitToken;
use crate::table::commit;
use crate::table::gate::Write;
use crate::table::worker::group::{Answer, Publish};
use crate::table::worker::task::{Prepared, Worker};

impl Worker {
    pub(crate) fn on_truncate(&mut self, answer: oneshot::Sender<Result<(u64, CommitToken)>>) -> Prepared {
        if let Err(full) = self.shared.gate.check_space(Write::Freeing) {
            return Prepared::answer(Answer::Truncated(answer, Err(full)));
        }
        let place = self.next_place();
        self.reclaim.decide(place.seq);
        if let Some(keys) = &mut self.state.keys {
            keys.clear();
        }
        let rows = std::mem::take(&mut self.decided_rows);
        Prepared {
            seq: place.seq,
            commit: Some(commit::truncate(place)),
            publish: Publish::Truncate,
            stamp_us: place.at.wall_us,
            answers: vec![Answer::Truncated(answer, Ok((rows, self.token(place.seq))))],
        }
    }
}
