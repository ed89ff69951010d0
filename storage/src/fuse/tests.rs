//! Does a filter that is asked here answer as the crate that made it does?

use xorf::{BinaryFuse8, Filter};

use super::Shape;

#[test]
fn every_answer_is_the_makers_own() {
    for n in [1, 2, 3, 4, 5, 6, 7, 10, 33, 100, 1_000, 4_096, 10_000] {
        let words: Vec<u64> = (0..n).map(random).collect();
        let made = BinaryFuse8::try_from(words.as_slice()).expect("a filter");
        let (shape, bytes) = Shape::build(&words).expect("a filter");
        assert_eq!((shape.n_bytes as usize, &bytes), (bytes.len(), &made.fingerprints));
        assert!(words.iter().all(|word| shape.places(*word).admits(&bytes)));
        for i in 0..3_000 {
            let word = random(n + i);
            assert_eq!(shape.places(word).admits(&bytes), made.contains(&word), "{n} words, {word:#x}");
        }
    }
}

#[test]
fn few_are_admitted_wrongly_and_a_key_takes_little() {
    let words: Vec<u64> = (0..40_000).map(random).collect();
    let (shape, bytes) = Shape::build(&words).expect("a filter");
    let n_wrong = (40_000..140_000).filter(|i| shape.places(random(*i)).admits(&bytes)).count();
    assert!(n_wrong < 600, "{n_wrong} of 100,000");
    assert!(bytes.len() < 50_000, "{} bytes", bytes.len());
}

#[test]
fn a_shape_whose_places_lie_outside_is_not_sound() {
    let (shape, _) = Shape::build(&[1, 2, 3]).expect("a filter");
    assert!(shape.is_sound());
    let unsound = [
        Shape { segment_length: 0, ..shape },
        Shape { segment_length: 3, ..shape },
        Shape { segment_count_length: 0, ..shape },
        Shape { segment_count_length: u32::MAX, ..shape },
        Shape { n_bytes: shape.n_bytes / 2, ..shape },
    ];
    assert!(unsound.iter().all(|shape| !shape.is_sound()), "{shape:?}");
}

/// Numbers without order, the same in every run (SplitMix64, Steele and others, 2014).
fn random(i: u64) -> u64 {
    let mut z = i.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
