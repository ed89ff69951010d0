//! ALTER TABLE: one entry with the new definition. Rows keep the shape that they came with; readers see the new one.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::catalog::{TableChange, TableDef};
use crate::error::{Code, Error, Result};
use crate::table::commit;
use crate::table::gate::Write;
use crate::table::worker::group::{Answer, Publish};
use crate::table::worker::task::{Prepared, Worker};

impl Worker {
    /// Changes the definition. The caller holds the catalog, so that names stay unique.
    pub(crate) fn on_alter(
        &mut self,
        change: &TableChange,
        answer: oneshot::Sender<Result<Arc<TableDef>>>,
    ) -> Prepared {
        let narrows = change.narrows(&self.state.def);
        let changed = self.shared.gate.check_space(Write::Small).and_then(|()| {
            let has_rows = self.decided_rows > 0 || !self.state.seal.published.is_empty();
            if has_rows && narrows {
                return Err(Error::new(
                    Code::UnsupportedStatement,
                    format!("table {} has rows: the type of a column cannot be changed", self.state.def.name),
                )
                .hint("add a column of the new type, or create another table and INSERT INTO … SELECT"));
            }
            self.state.def.with_change(change)
        });
        let def = match changed {
            Ok(def) => Arc::new(def),
            Err(refused) => return Prepared::answer(Answer::Altered(answer, Err(refused))),
        };
        self.state.def = Arc::clone(&def);
        if narrows {
            self.state.narrowed = def.schema_id;
        }
        let place = self.next_place();
        self.state.unsynced = false;
        Prepared {
            seq: place.seq,
            commit: Some(commit::alter(place, &def)),
            publish: Publish::Altered(Arc::clone(&def)),
            stamp_us: place.at.wall_us,
            answers: vec![Answer::Altered(answer, Ok(def))],
        }
    }
}
