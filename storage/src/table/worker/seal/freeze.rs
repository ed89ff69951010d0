//! A prefix of the log is closed: its rows and keys stay as they are until they are built.

use tokio::sync::oneshot;

use crate::env::Moment;
use crate::error::Result;
use crate::ids::CommitSeq;
use crate::table::seal::{Frozen, FrozenMark, OpenLayer};
use crate::table::worker::state::TableState;
use crate::table::worker::task::Worker;

impl TableState {
    /// Keys that come from `at` on may be of another epoch than those before: these have a layer of their own then.
    pub(crate) fn begin_epoch(&mut self, at: Moment) {
        let epoch = self.seal.key_epoch.at(at.uptime_us, self.def.options.dedup_window_us);
        if epoch != self.seal.key_epoch {
            self.close_keys(at);
            self.seal.key_epoch = epoch;
        }
    }

    /// Closes the open key layer: it holds the keys of all entries that are decided and not in another layer. Its file is written with the
    /// next build.
    pub(crate) fn close_keys(&mut self, at: Moment) {
        let Some(keys) = &mut self.keys else { return };
        let (through, seal) = (self.last_seq, &mut self.seal);
        let epoch = seal.key_epoch;
        let closed = keys.close_layer(through.0, epoch.number);
        seal.layers.extend(closed.into_iter().map(|layer| OpenLayer { through, at, layer, epoch }));
    }
}

/// A prefix that is decided and not visible yet.
pub(crate) struct Freezing {
    through: CommitSeq,
    answer: oneshot::Sender<Result<Option<Frozen>>>,
}

impl Worker {
    /// Closes everything that is decided. Answered when it is visible; with `None` if nothing is open.
    pub(crate) fn on_freeze(&mut self, answer: oneshot::Sender<Result<Option<Frozen>>>) {
        let through = self.state.last_seq;
        if through < self.state.seal.base.seq {
            drop(answer.send(Ok(None)));
            return;
        }
        let at = self.now();
        self.state.close_keys(at);
        self.freezing = Some(Freezing { through, answer });
        self.freeze_if_visible();
    }

    /// The prefix is taken as soon as the last of its entries is visible, and before any later one is.
    pub(crate) fn freeze_if_visible(&mut self) {
        let version = self.shared.version.load_full();
        let Some(Freezing { through, answer }) = self.freezing.take_if(|freezing| version.upper >= freezing.through)
        else {
            return;
        };
        // Its rows are being built.
        self.drop_run_job();
        let realtime = version.realtime.frozen();
        let parts = realtime.parts().to_vec();
        self.show(version.with_realtime(realtime));
        let id = self.shared.next_frozen_id();
        self.state.seal.frozen = Some(FrozenMark { id });
        let frozen = Frozen {
            id,
            from: self.state.seal.base.seq,
            through,
            at: self.now(),
            parts,
            // A stream, or another epoch of keys, may have closed another one since.
            layers: self.state.seal.layers.iter().filter(|layer| layer.through <= through).cloned().collect(),
            def: self.state.def.clone(),
            arrivals: self.state.seal.arrivals.clone(),
        };
        // Who asked may have gone: the next one takes these parts, and what came since, together.
        drop(answer.send(Ok(Some(frozen))));
    }

    /// What was closed is gone, or was never visible.
    pub(crate) fn forget_frozen(&mut self) {
        self.state.seal.frozen = None;
        self.state.seal.layers.clear();
        if let Some(Freezing { answer, .. }) = self.freezing.take() {
            drop(answer.send(Ok(None)));
        }
    }
}
