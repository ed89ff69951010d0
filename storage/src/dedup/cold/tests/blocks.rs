//! Do ascending numbers come back from pages as they went in, and take as little as their gaps allow?

use proptest::prelude::*;

use super::super::blocks::{Malformed, PageBuilder, PageCursor, contains};
use super::super::pages::PAYLOAD_BYTES;
use crate::dedup::word::Word;

/// All pages of `words`, with the first word of each.
fn written<W: Word>(words: &[W]) -> Vec<(W, Vec<u8>)> {
    let (mut pages, mut builder) = (Vec::new(), PageBuilder::new());
    let mut end = |builder: &mut PageBuilder<W>| {
        if let Some(first) = builder.first() {
            pages.push((first, builder.finish().to_vec()));
            builder.clear();
        }
    };
    for word in words {
        if !builder.push(*word) {
            end(&mut builder);
            assert!(builder.push(*word), "an empty page takes any word");
        }
    }
    end(&mut builder);
    pages
}

fn read<W: Word>(page: &[u8]) -> Vec<W> {
    let mut cursor = PageCursor::new(page).expect("a page");
    let mut words = Vec::new();
    while let Some(word) = cursor.advance().expect("a word") {
        words.push(word);
    }
    words
}

fn check<W: Word>(words: &[W]) {
    let pages = written(words);
    let back: Vec<W> = pages.iter().flat_map(|(_, page)| read::<W>(page)).collect();
    assert_eq!(back, words);
    for (i, (first, page)) in pages.iter().enumerate() {
        assert!(page.len() <= PAYLOAD_BYTES);
        // As it stands in the file: filled with zeros.
        let mut whole = page.clone();
        whole.resize(PAYLOAD_BYTES, 0);
        assert_eq!(read::<W>(&whole), read::<W>(page));
        let end = pages.get(i + 1).map(|(next, _)| next.wide());
        let all = read::<W>(&whole);
        for word in all.iter().step_by(all.len() / 500 + 1) {
            assert_eq!(contains(&whole, *word), Ok(true));
            for near in [word.wide().saturating_sub(1), word.wide().saturating_add(1)] {
                let near = W::narrow(near);
                if near >= *first && end.is_none_or(|end| near.wide() < end) {
                    assert_eq!(contains(&whole, near), Ok(all.binary_search(&near).is_ok()), "{near:?}");
                }
            }
        }
    }
}

/// Numbers whose gaps have up to so many bits, some of them many more.
fn ascending(gaps: &[(u32, u64)], max: u128) -> Vec<u128> {
    let mut at = 0_u128;
    let mut words = Vec::new();
    for (bits, gap) in gaps {
        words.push(at);
        let gap = if *bits > 64 { u128::from(*gap) << (*bits - 64) } else { u128::from(gap >> (64 - *bits).min(63)) };
        match at.checked_add(gap + 1).filter(|next| *next <= max) {
            Some(next) => at = next,
            None => break,
        }
    }
    words.dedup();
    words
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn numbers_come_back(
        common in 0..64_u32,
        rare in 0..120_u32,
        every in 2..400_usize,
        gaps in prop::collection::vec(any::<u64>(), 0..6_000),
    ) {
        let gaps: Vec<(u32, u64)> =
            gaps.into_iter().enumerate().map(|(i, gap)| (if i % every == 0 { rare } else { common }, gap)).collect();
        let narrow: Vec<u64> = ascending(&gaps, u128::from(u64::MAX)).into_iter().map(|word| word as u64).collect();
        check(&narrow);
        check(&ascending(&gaps, u128::MAX));
    }

    #[test]
    fn pages_that_make_no_sense_are_told(bytes in prop::collection::vec(any::<u8>(), 0..600), word in any::<u64>()) {
        // No panic, and no more words than a page can hold.
        let _ = contains(&bytes, word);
        if let Ok(mut cursor) = PageCursor::<u64>::new(&bytes) {
            let n_words = std::iter::from_fn(|| cursor.advance().ok().flatten()).count();
            prop_assert!(n_words <= bytes.len() * usize::from(u16::MAX));
        }
    }
}

#[test]
fn neighbours_take_next_to_nothing_and_spread_numbers_little_more_than_their_gaps() {
    let sequence: Vec<u64> = (1_000_000..3_000_000).collect();
    assert_eq!(written(&sequence).len(), 1);
    check(&sequence);
    // Two sequences far apart, in turns.
    let turns: Vec<u64> = (0..40).flat_map(|i| (0..1_000).map(move |j| i << 40 | j)).collect();
    assert_eq!(written(&turns).len(), 1);
    check(&turns);
    let every_tenth: Vec<u64> = (0..100_000).map(|i| i * 10).collect();
    assert!(written(&every_tenth).len() <= 15, "{}", written(&every_tenth).len());
    let mut spread: Vec<u64> = (0..100_000).map(crate::dedup::tests::random).collect();
    spread.sort_unstable();
    let bytes: usize = written(&spread).iter().map(|(_, page)| page.len()).sum();
    assert!(bytes < 660_000, "{bytes} bytes for gaps of 47.4 bits on average");
    check(&spread[..5_000]);
}

#[test]
fn the_edges_of_both_kinds_come_back() {
    check::<u64>(&[]);
    check(&[0_u64]);
    check(&[u64::MAX]);
    check(&[0, u64::MAX]);
    check(&[0, 1, u64::MAX - 1, u64::MAX]);
    check(&[0_u128, u128::MAX]);
    check(&[0, 1, u128::MAX / 2, u128::MAX - 1, u128::MAX]);
    assert_eq!(contains(&[1], 5_u64), Err(Malformed));
}
