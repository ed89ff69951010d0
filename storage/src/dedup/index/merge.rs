//! How do layers in memory become one, while the worker goes on? A job over immutable layers, and what it made.

use std::sync::Arc;

use crate::dedup::layer::ClosedLayer;
use crate::memory::{Charge, MemoryLedger, Share};

/// Layers of one class that become one. Made by [`super::KeyIndex::pick_merge`], run on any thread.
#[derive(Debug)]
pub struct MergeJob {
    inputs: Vec<Arc<ClosedLayer>>,
    ledger: Arc<MemoryLedger>,
    /// What the merged layer may take, held from before it is made.
    charge: Charge,
    alive: Arc<()>,
}

/// A layer that is ready to take the place of others: see [`super::KeyIndex::apply_merge`].
#[derive(Debug)]
pub struct Merged {
    pub(super) inputs: Vec<Arc<ClosedLayer>>,
    pub(super) layer: Arc<ClosedLayer>,
    /// While it lives no other merge is picked.
    _alive: Arc<()>,
}

impl MergeJob {
    pub(super) fn new(inputs: Vec<Arc<ClosedLayer>>, ledger: &Arc<MemoryLedger>, alive: Arc<()>) -> Self {
        let bytes = inputs.iter().map(|layer| layer.bytes() as u64).sum();
        let charge = ledger.charge(Share::Keys, bytes);
        Self { inputs, ledger: Arc::clone(ledger), charge, alive }
    }

    /// Keys that are merged: some hundred nanoseconds each at most.
    pub fn n_keys(&self) -> u64 {
        self.inputs.iter().map(|layer| layer.len() as u64).sum()
    }

    /// Blocks while it computes. Reads and writes no file.
    pub fn run(self) -> Merged {
        let [first, more @ ..] = self.inputs.as_slice() else { unreachable!("a merge has layers") };
        let merged = ClosedLayer::merged(first, more);
        let span = more.iter().fold(first.span(), |span, layer| span.union(layer.span()));
        // The layer's own charge takes over.
        drop(self.charge);
        let layer = merged.held(span, &self.ledger);
        Merged { inputs: self.inputs, layer, _alive: self.alive }
    }
}
