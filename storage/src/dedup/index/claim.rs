//! Was a key here before, and if not, whose is it now? What may fail is asked first; the claim itself cannot.

use arrow::buffer::BooleanBuffer;

use super::rows::{Rows, for_each_batch, lanes_of};
use super::state::{KeyIndex, Open};
use crate::dedup::canonical::Keys;
use crate::dedup::cold::{ColdRun, Kind};
use crate::dedup::layer::ClosedLayer;
use crate::dedup::word::Lanes;
use crate::error::Result;

/// What a claim decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// A set bit is a row whose key was here before, or earlier in the same batch. `None`: no row lost.
    pub losers: Option<BooleanBuffer>,
    pub n_losers: usize,
}

/// What was found of a batch's keys before they are claimed: see [`KeyIndex::look_up`].
#[derive(Debug)]
pub struct Known {
    pub(super) generation: u64,
    pub(super) settled: Settled,
}

#[derive(Debug)]
pub(super) enum Settled {
    /// Nothing is on disk: the claim looks at the layers in memory by itself, in one walk over the keys.
    InMemory,
    /// The rows whose keys are in a run. The claim looks at the layers in memory by itself.
    InRuns(Option<BooleanBuffer>),
    /// The rows whose keys are in a closed layer or a run.
    Found(Option<BooleanBuffer>),
}

impl KeyIndex {
    /// Asks the disk for a batch's keys, so that [`KeyIndex::claim_known`] need not: it is valid until a layer or a run comes or goes.
    /// Claims in between do no harm. Reads nothing while all keys are in memory.
    ///
    /// # Errors
    /// `LOG_DAMAGED` with the file's name when a page does not match its checksum, `FOLDER_UNUSABLE` when it cannot be read. Nothing
    /// is changed then.
    pub fn look_up(&self, keys: &Keys) -> Result<Known> {
        let settled = match self.runs.as_slice() {
            [] => Settled::InMemory,
            _ => Settled::Found(Parts { open: None, ..self.parts_after(None) }.probe(keys)?.finish()),
        };
        Ok(Known { generation: self.generation, settled })
    }

    /// Decides, in row order, which rows' keys are new, and remembers those. Rows that `skip` names are neither looked at
    /// nor counted. Cannot fail; to be called after [`KeyIndex::has_capacity`].
    ///
    /// # Panics
    /// When keys are on disk: those are claimed with [`KeyIndex::claim_known`].
    pub fn claim(&mut self, keys: &Keys, skip: Option<&BooleanBuffer>) -> Claimed {
        assert!(self.runs.is_empty(), "keys are on disk: look them up before they are claimed");
        self.decide(keys, skip, &Settled::InMemory)
    }

    /// The same, also with keys on disk. `known` is what [`KeyIndex::look_up`] found for these keys.
    ///
    /// # Panics
    /// When a layer or a run came or went since the look-up: the answer could be wrong.
    pub fn claim_known(&mut self, keys: &Keys, skip: Option<&BooleanBuffer>, known: &Known) -> Claimed {
        assert_eq!(known.generation, self.generation, "the key index changed between look-up and claim");
        self.decide(keys, skip, &known.settled)
    }

    fn decide(&mut self, keys: &Keys, skip: Option<&BooleanBuffer>, settled: &Settled) -> Claimed {
        let mut lost = Rows::new(keys.len());
        let all = self.closed.as_slice();
        // What is found already, and the layers that are still to be asked.
        let (found, closed) = match settled {
            Settled::InMemory => (None, all),
            Settled::InRuns(found) => (found.as_ref(), all),
            Settled::Found(found) => (found.as_ref(), &all[..0]),
        };
        match (&mut self.open, keys) {
            (Open::Integers(open), Keys::Integers(keys)) => for_each_batch(keys, skip, |start, batch, asked| {
                let left = asked & !lanes_of(found, start, batch.len());
                let unknown = closed.iter().fold(left, |left, layer| left & !layer.probe_integers(batch, left));
                lost.add(start, asked & !open.insert(batch, unknown));
            }),
            (Open::Hashes(open), Keys::Hashes(keys)) => for_each_batch(keys, skip, |start, batch, asked| {
                let left = asked & !lanes_of(found, start, batch.len());
                let unknown = closed.iter().fold(left, |left, layer| left & !layer.probe_hashes(batch, left));
                lost.add(start, asked & !open.insert(batch, unknown));
            }),
            _ => unreachable!("a table's keys are all of one kind"),
        }
        self.settle();
        Claimed { n_losers: lost.n_set(), losers: lost.finish() }
    }

    /// Remembers keys that were accepted before, for replay: nothing is decided and no budget is asked. Rows that `lost`
    /// names are left out: their keys are here already.
    pub fn insert(&mut self, keys: &Keys, lost: Option<&BooleanBuffer>) {
        match (&mut self.open, keys) {
            (Open::Integers(open), Keys::Integers(keys)) => for_each_batch(keys, lost, |_, batch, asked| {
                open.insert(batch, asked);
            }),
            (Open::Hashes(open), Keys::Hashes(keys)) => for_each_batch(keys, lost, |_, batch, asked| {
                open.insert(batch, asked);
            }),
            _ => unreachable!("a table's keys are all of one kind"),
        }
        self.settle();
    }

    /// Which keys are in some layer or run; `None`: none of them. Changes nothing.
    ///
    /// # Errors
    /// As [`KeyIndex::look_up`].
    pub fn probe(&self, keys: &Keys) -> Result<Option<BooleanBuffer>> {
        Ok(self.parts_after(None).probe(keys)?.finish())
    }

    /// Which keys may have come after entry `since`, the end of a [`super::KeySnapshot`]: those in the open layer and in all layers and
    /// runs that reach further. A layer that was merged since holds older keys too, which the snapshot knows as well.
    ///
    /// # Errors
    /// As [`KeyIndex::look_up`].
    pub fn probe_new(&self, keys: &Keys, since: u64) -> Result<Option<BooleanBuffer>> {
        Ok(self.parts_after(Some(since)).probe(keys)?.finish())
    }

    /// The open layer, and what is closed and reaches past `since`; all of it without.
    fn parts_after(&self, since: Option<u64>) -> Parts<'_> {
        let reaches = |through: u64| since.is_none_or(|since| through > since);
        Parts {
            runs: self.runs.iter().map(|run| &**run).filter(|run| reaches(run.through())).collect(),
            closed: self.closed.iter().map(|layer| &**layer).filter(|layer| reaches(layer.through())).collect(),
            open: Some(&self.open),
        }
    }
}

/// The parts of an index that one question is for.
pub(super) struct Parts<'i> {
    /// The newest last.
    pub(super) runs: Vec<&'i ColdRun>,
    pub(super) closed: Vec<&'i ClosedLayer>,
    pub(super) open: Option<&'i Open>,
}

impl Parts<'_> {
    /// The rows whose keys are in any part: memory first, then the runs for what is left, the newest first.
    pub(super) fn probe(&self, keys: &Keys) -> Result<Rows> {
        match keys {
            Keys::Integers(keys) => self.probe_kind(keys, |batch, asked| {
                let left = self.closed.iter().fold(asked, |left, layer| left & !layer.probe_integers(batch, left));
                left & !self.open.map_or(0, |open| open.probe_integers(batch, left))
            }),
            Keys::Hashes(keys) => self.probe_kind(keys, |batch, asked| {
                let left = self.closed.iter().fold(asked, |left, layer| left & !layer.probe_hashes(batch, left));
                left & !self.open.map_or(0, |open| open.probe_hashes(batch, left))
            }),
        }
    }

    /// `unknown` says which of the lanes that it is asked for are not in memory.
    fn probe_kind<K: Kind>(&self, keys: &[K], unknown: impl Fn(&[K], Lanes) -> Lanes) -> Result<Rows> {
        let mut present = Rows::new(keys.len());
        let mut rows = Vec::new();
        for_each_batch(keys, None, |start, batch, asked| {
            let left = unknown(batch, asked);
            present.add(start, asked & !left);
            if !self.runs.is_empty() {
                rows.extend((0..batch.len()).filter(|lane| left >> lane & 1 == 1).map(|lane| (start + lane) as u32));
            }
        });
        for run in self.runs.iter().rev() {
            run.probe(keys, &mut rows, |row| present.set(row as usize))?;
        }
        Ok(present)
    }
}
