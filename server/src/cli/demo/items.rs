//! Which items are seen? A thousand things of the street, by short names or with descriptions of 5,000 bytes.

use std::fmt::Write;

use clap::ValueEnum;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// How long the names are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Shape {
    /// Names as people give them, of about 14 bytes
    #[default]
    Thin,
    /// Names of 5,000 bytes
    Fat,
}

pub const N_ITEMS: usize = LOOKS.len() * THINGS.len();

/// Of a fat name.
pub const FAT_BYTES: usize = 5_000;

const LOOKS: [&str; 25] = [
    "beige",
    "black",
    "blue",
    "broken",
    "brown",
    "checked",
    "dark",
    "folded",
    "golden",
    "green",
    "grey",
    "large",
    "light",
    "old",
    "orange",
    "pink",
    "purple",
    "red",
    "silver",
    "small",
    "striped",
    "turquoise",
    "wet",
    "white",
    "yellow",
];

const THINGS: [&str; 40] = [
    "backpack",
    "bench",
    "bicycle",
    "box",
    "briefcase",
    "bus",
    "cap",
    "car",
    "cart",
    "coat",
    "cone",
    "crate",
    "dog",
    "guitar",
    "handbag",
    "hat",
    "helmet",
    "hoodie",
    "jacket",
    "ladder",
    "laptop",
    "motorcycle",
    "pallet",
    "parcel",
    "phone",
    "pram",
    "scarf",
    "scooter",
    "shirt",
    "shoes",
    "skateboard",
    "suitcase",
    "taxi",
    "toolbox",
    "tractor",
    "trolley",
    "truck",
    "umbrella",
    "van",
    "wheelchair",
];

/// The names of all items. They are sorted, so that the order of numbers is that of names.
#[derive(Debug)]
pub struct Items {
    names: Vec<String>,
}

impl Items {
    pub fn new(shape: Shape) -> Self {
        let short: Vec<String> =
            LOOKS.iter().flat_map(|look| THINGS.iter().map(move |thing| format!("{look} {thing}"))).collect();
        let mut names = match shape {
            Shape::Thin => short,
            Shape::Fat => (0..N_ITEMS).map(|item| described(item, &short)).collect(),
        };
        names.sort();
        Self { names }
    }

    /// The name of an item, which is below [`N_ITEMS`].
    pub fn name(&self, item: u16) -> &str {
        &self.names[usize::from(item)]
    }
}

/// A name that begins as the short one and goes on with words as descriptions have them, so that compression finds what it would find
/// in life.
fn described(item: usize, short: &[String]) -> String {
    let mut rng = SmallRng::seed_from_u64(item as u64);
    let mut name = format!("{}, seen with", short[item]);
    while name.len() < FAT_BYTES {
        let _ = write!(name, " {} {},", rng.random_range(2..100), short[rng.random_range(0..short.len())]);
    }
    // All of it is ASCII.
    name.truncate(FAT_BYTES);
    name
}
