//! TRUNCATE: one entry; rows and keys before it go, producers' positions stay.

use tokio::sync::oneshot;

use crate::error::Result;
use crate::ids::{CommitToken, SHARD_ZERO};
use crate::log::{Family, state_key, state_prefix};
use crate::table::commit::{self, Place};
use crate::table::gate::Write;
use crate::table::seal::{Base, NameKind};
use crate::table::worker::group::{Answer, Publish};
use crate::table::worker::task::{Prepared, Worker};
use crate::table::worker::upkeep::let_go_when_written;

impl Worker {
    pub(crate) fn on_truncate(&mut self, answer: oneshot::Sender<Result<(u64, CommitToken)>>) -> Prepared {
        if let Err(full) = self.shared.gate.check_space(Write::Freeing) {
            return Prepared::answer(Answer::Counted(answer, Err(full)));
        }
        let place = self.next_place();
        self.reclaim.decide(place.seq);
        if let Some(keys) = &mut self.state.keys {
            keys.clear();
        }
        self.keys_id = self.shared.next_frozen_id();
        let (left, has_published) = self.truncate_files(place);
        // Of the others a reader may hold some: they go with the version.
        let keys = left.iter().filter(|(_, kind)| *kind == NameKind::Built);
        let keys = keys.map(|(name, _)| self.shared.built_place(name)).collect();
        self.state.unsynced = false;
        let rows = std::mem::take(&mut self.decided_rows);
        if let Some(gone) = &mut self.state.seal.gone {
            gone.truncated = gone.truncated.saturating_add(rows);
        }
        let gone = self.state.seal.gone;
        Prepared {
            seq: place.seq,
            commit: Some(commit::truncate(place, &left, has_published, gone)),
            publish: Publish::Truncate,
            stamp_us: place.at.wall_us,
            answers: vec![Answer::Counted(answer, Ok((rows, self.token(place.seq)))), let_go_when_written(keys)],
        }
    }

    /// What is built belongs to nothing any more, what is published is hidden until the Delta table is told. Returns names that are on disk,
    /// and whether the Delta table must be told.
    fn truncate_files(&mut self, place: Place) -> (Vec<(String, NameKind)>, bool) {
        self.forget_frozen();
        let seal = &mut self.state.seal;
        // A publish may have begun to bring them to the Delta folder.
        let built = seal.ranges.drain(..).flat_map(|range| range.files);
        let segments = seal.segments.drain(..).flat_map(|segment| segment.files);
        let built = built.chain(segments).map(|file| (file.name, NameKind::Anywhere));
        let layers = seal.layer_files.drain(..).map(|layer| (layer.name, NameKind::Built));
        let left = built.chain(layers).collect();
        seal.deleted.clear();
        seal.arrivals.forget(place.seq);
        seal.unrecorded.clear();
        seal.base = Base { seq: place.seq, at: place.at };
        // Also when nothing is published yet: a commit that is on its way may publish what goes.
        let is_sent = || {
            let intent = state_prefix(state_key::INTENT, place.table, SHARD_ZERO);
            // What cannot be read is taken for one: it only costs a commit that removes nothing.
            !matches!(self.shared.store.get(Family::State, &intent), Ok(None))
        };
        let has_published = seal.settled.is_some() || self.shared.is_publishing() || is_sent();
        if has_published {
            seal.truncated = Some(place.seq);
        }
        (left, has_published)
    }
}
