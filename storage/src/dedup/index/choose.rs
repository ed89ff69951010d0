//! Which neighbours are merged next, and which files are written anew? Sizes in, places out: nothing is touched.
//!
//! Size tiers: what is newer is merged into what is older as soon as it is half as large. Sizes then more than double from the newest
//! to the oldest, so there are few, and every key is rewritten once for each doubling: n log n in all.

use std::collections::BTreeMap;

/// What there is to know of a layer or a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dedup) struct Item {
    /// Only items of one epoch and class are merged. The class is that of a layer: the holes of its permutation if it is dense.
    pub(in crate::dedup) epoch: u32,
    pub(in crate::dedup) class: Option<u64>,
    pub(in crate::dedup) n_keys: u64,
    pub(in crate::dedup) bytes: u64,
}

/// The places of two or more items to merge, ascending; `None`: all is well. `items` are in the order of the log. What is merged has
/// at most `most_bytes` together. Past `most_items`, the two neighbours with the fewest keys are merged although no tier asks for it.
/// An epoch that is over comes to one item of each class: nothing is added to it any more.
pub(in crate::dedup) fn choose(items: &[Item], most_bytes: u64, most_items: usize) -> Option<Vec<usize>> {
    let newest_epoch = items.iter().map(|item| item.epoch).max()?;
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (i, item) in items.iter().enumerate() {
        let is_same = |group: &&mut Vec<usize>| {
            let first = &items[group[0]];
            (first.epoch, first.class) == (item.epoch, item.class)
        };
        match groups.iter_mut().find(is_same) {
            Some(group) => group.push(i),
            None => groups.push(vec![i]),
        }
    }
    let fits = |places: &[usize]| places.iter().map(|i| items[*i].bytes).sum::<u64>() <= most_bytes;
    let tier = groups.iter().find_map(|group| {
        let is_over = items[group[0]].epoch < newest_epoch;
        tier_of(group, |i| items[i].n_keys, is_over, fits)
    });
    if tier.is_some() || items.len() <= most_items {
        return tier;
    }
    let pairs = groups.iter().flat_map(|group| group.windows(2)).filter(|pair| fits(pair));
    pairs.min_by_key(|pair| pair.iter().map(|i| items[*i].n_keys).sum::<u64>()).map(<[usize]>::to_vec)
}

/// The longest row of neighbours, from the newest possible back, each of which is at most twice as large as all after it.
fn tier_of(
    group: &[usize],
    n_keys: impl Fn(usize) -> u64,
    is_over: bool,
    fits: impl Fn(&[usize]) -> bool,
) -> Option<Vec<usize>> {
    for end in (2..=group.len()).rev() {
        let mut start = end - 1;
        let mut total = n_keys(group[start]);
        while start > 0 && (is_over || 2 * total >= n_keys(group[start - 1])) && fits(&group[start - 1..end]) {
            start -= 1;
            total += n_keys(group[start]);
        }
        if start + 1 < end {
            return Some(group[start..end].to_vec());
        }
    }
    None
}

/// A file of a key layer, or a layer in memory: the entries whose keys it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSpan {
    /// The first and the last entry, both included.
    pub from: u64,
    pub through: u64,
    /// Files of different epochs never become one.
    pub epoch: u32,
    pub bytes: u64,
}

/// Layers in memory whose ranges of the log overlap, one with the next.
struct Group {
    from: u64,
    through: u64,
    layers: Vec<usize>,
}

/// The places of files to replace, and of the layers in memory that have the same keys; `None`: no epoch has more than `most_files`,
/// or none of its files can go. A file's keys are in layers whose ranges hold the file's; up to `built_through` these have no others.
///
/// Among several choices it is the one that costs least for each file less. A key is written again only when its layer was merged
/// since, and that made it at least half as large again: log n times in all, as with [`choose`].
pub(in crate::dedup) fn choose_rewrite(
    files: &[FileSpan],
    layers: &[FileSpan],
    built_through: u64,
    most_files: usize,
) -> Option<(Vec<usize>, Vec<usize>)> {
    let mut n_files: BTreeMap<u32, usize> = BTreeMap::new();
    files.iter().for_each(|file| *n_files.entry(file.epoch).or_default() += 1);
    let is_crowded = |epoch: u32| n_files.get(&epoch).is_some_and(|n| *n > most_files);
    if !n_files.keys().any(|epoch| is_crowded(*epoch)) {
        return None;
    }
    let choices = groups(layers).into_iter().filter_map(|group| {
        let meets = |file: &FileSpan| file.from <= group.through && file.through >= group.from;
        let met: Vec<usize> = (0..files.len()).filter(|i| meets(&files[*i])).collect();
        let first = files[*met.first()?];
        let is_whole =
            |file: &FileSpan| file.epoch == first.epoch && group.from <= file.from && file.through <= group.through;
        let n_less = met.len().checked_sub(group.layers.len()).filter(|n_less| *n_less > 0)? as u64;
        let may_go = group.through <= built_through && is_crowded(first.epoch);
        if !may_go || !met.iter().all(|i| is_whole(&files[*i])) {
            return None;
        }
        let bytes: u64 = met.iter().map(|i| files[*i].bytes).sum();
        Some((bytes / n_less, met, group.layers))
    });
    choices.min_by_key(|(cost, ..)| *cost).map(|(_, files, layers)| (files, layers))
}

/// The layers by their ranges, ascending.
fn groups(layers: &[FileSpan]) -> Vec<Group> {
    let mut order: Vec<usize> = (0..layers.len()).collect();
    order.sort_by_key(|i| layers[*i].from);
    let mut groups: Vec<Group> = Vec::new();
    for i in order {
        let layer = layers[i];
        match groups.last_mut() {
            Some(group) if layer.from <= group.through => {
                group.through = group.through.max(layer.through);
                group.layers.push(i);
            }
            _ => groups.push(Group { from: layer.from, through: layer.through, layers: vec![i] }),
        }
    }
    groups
}
