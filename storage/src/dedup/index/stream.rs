//! Which keys of a stream came by another way meanwhile? Rows that are committed as a whole have an index of their own until then.

use super::snapshot::KeySnapshot;
use super::state::{KeyIndex, Open};
use crate::dedup::layer::ClosedLayer;
use crate::dedup::word::{LANES, Lanes, first_lanes};

impl KeyIndex {
    /// The keys of an index of which nothing was ever closed, as layers that no index holds and nobody is charged for: none if it is empty,
    /// two if it changed its class on the way.
    pub fn into_layers(self) -> Vec<ClosedLayer> {
        debug_assert!(self.closed.is_empty() && self.runs.is_empty(), "what is closed would be lost");
        let mut layers = match self.open {
            Open::Integers(open) => {
                let parts = open.close();
                vec![ClosedLayer::dense(parts.dense, parts.range), ClosedLayer::integers(parts.hot, parts.range)]
            }
            Open::Hashes(open) => vec![ClosedLayer::hashes(open)],
        };
        layers.retain(|layer| !layer.is_empty());
        layers
    }
}

impl KeySnapshot {
    /// At most how many of its keys came after entry `since`: those of all layers and runs that reach further.
    pub fn n_since(&self, since: u64) -> u64 {
        let layers = self.closed.iter().filter(|layer| layer.through() > since).map(|layer| layer.len() as u64);
        let runs = self.runs.iter().filter(|run| run.through() > since).map(|run| run.n_keys());
        layers.sum::<u64>() + runs.sum::<u64>()
    }

    /// Whether a key that came after entry `since` is in one of `layers`, none of whose keys came before. It takes some hundred nanoseconds
    /// for each key of [`KeySnapshot::n_since`], and reads no file: that keys went to disk since then is answered as if one was there.
    pub fn meets_since(&self, since: u64, layers: &[&ClosedLayer]) -> bool {
        if self.runs.iter().any(|run| run.through() > since) {
            return true;
        }
        self.closed.iter().filter(|layer| layer.through() > since).any(|layer| {
            has_any(layer.raw_integers(), layers, ClosedLayer::probe_integers)
                || has_any(layer.raw_hashes(), layers, ClosedLayer::probe_hashes)
        })
    }
}

/// Whether one of `keys` is in one of `layers`.
fn has_any<K>(
    mut keys: impl Iterator<Item = K>,
    layers: &[&ClosedLayer],
    probe: fn(&ClosedLayer, &[K], Lanes) -> Lanes,
) -> bool {
    let mut batch = Vec::with_capacity(LANES);
    loop {
        batch.clear();
        batch.extend(keys.by_ref().take(LANES));
        if batch.is_empty() {
            return false;
        }
        if layers.iter().any(|layer| probe(layer, &batch, first_lanes(batch.len())) != 0) {
            return true;
        }
    }
}
