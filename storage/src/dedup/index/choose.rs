//! Which neighbours are merged next? Sizes in, places out: nothing is touched.
//!
//! Size tiers: what is newer is merged into what is older as soon as it is half as large. Sizes then more than double from the newest
//! to the oldest, so there are few, and every key is rewritten once for each doubling: n log n in all.

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
