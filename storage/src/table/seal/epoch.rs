//! Which keys are forgotten together? Those of one eighth of the `dedup_window`, by the uptime of the log.

use std::collections::BTreeMap;

use super::records::LayerFile;
use crate::env::Moment;
use crate::ids::CommitSeq;

/// Key layers end with an epoch and are never merged with those of another, so a key is remembered at most so much of the window longer.
pub(crate) const EPOCHS_A_WINDOW: i64 = 8;

/// A stretch of the log whose keys are forgotten together. By uptime: a wall clock that is set moves no epoch, and no keys come while the
/// server does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct KeyEpoch {
    /// Ascends.
    pub(crate) number: u32,
    /// Uptime of the log then, microseconds.
    pub(crate) began_us: u64,
}

impl KeyEpoch {
    /// The epoch of keys that come at `uptime_us`: the next one when an eighth of the window has passed. With an endless window there is
    /// no other.
    pub(crate) fn at(self, uptime_us: u64, window_us: Option<i64>) -> Self {
        let Some(window_us) = window_us else { return self };
        let length_us = (window_us / EPOCHS_A_WINDOW).unsigned_abs().max(1);
        match uptime_us.checked_sub(self.began_us) {
            Some(age_us) if age_us >= length_us => Self { number: self.number + 1, began_us: uptime_us },
            _ => self,
        }
    }

    /// The newest that layers are of.
    pub(crate) fn of<'l>(layers: impl Iterator<Item = &'l LayerFile>) -> Self {
        layers
            .max_by_key(|layer| layer.epoch)
            .map_or_else(Self::default, |layer| Self { number: layer.epoch, began_us: layer.epoch_began_us })
    }
}

/// When the last key came of the oldest epoch among these layers.
pub(crate) fn oldest_keys(layers: &[LayerFile]) -> Option<Moment> {
    let oldest = layers.iter().map(|layer| layer.epoch).min()?;
    layers.iter().filter(|layer| layer.epoch == oldest).map(moment).reduce(later)
}

/// The last entry whose keys are older than the window by both clocks, with all of their epoch. `kept_from` is the first epoch that still
/// gets keys, or has some that are in no file. `None`: there is no such entry.
pub(crate) fn forgettable(layers: &[LayerFile], kept_from: u32, window_us: i64, now: Moment) -> Option<CommitSeq> {
    let window_s = window_us.unsigned_abs().div_ceil(1_000_000);
    let mut epochs: BTreeMap<u32, (Moment, u64)> = BTreeMap::new();
    for layer in layers {
        let (at, through) = epochs.entry(layer.epoch).or_insert((moment(layer), layer.through));
        (*at, *through) = (later(*at, moment(layer)), (*through).max(layer.through));
    }
    epochs
        .into_iter()
        .take_while(|(epoch, (at, _))| *epoch < kept_from && at.is_older_than(window_s, now))
        .last()
        .map(|(_, (_, through))| CommitSeq(through))
}

fn moment(layer: &LayerFile) -> Moment {
    Moment { wall_us: layer.stamp_us, uptime_us: layer.uptime_us }
}

/// Old enough only when both are.
fn later(a: Moment, b: Moment) -> Moment {
    Moment { wall_us: a.wall_us.max(b.wall_us), uptime_us: a.uptime_us.max(b.uptime_us) }
}
