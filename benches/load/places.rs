//! Where are the rows of a camera platform seen, and which items? Draws by the laws of busy places and common things.

use anyhow::Result;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand_distr::{Distribution, Pareto, Zipf};

use crate::rows::mix;

pub const N_LOCATIONS: u64 = 1_000;
/// Of each location. Their numbers are their own, as those of a platform are.
pub const N_CAMERAS: u64 = 10;

const LOOKS: [&str; 20] = [
    "battered",
    "checkered",
    "colourful",
    "crimson",
    "crumpled",
    "emerald",
    "flowered",
    "folded",
    "golden",
    "orange",
    "painted",
    "patterned",
    "polished",
    "purple",
    "silver",
    "spotted",
    "striped",
    "turquoise",
    "violet",
    "weathered",
];
const MATERIALS: [&str; 10] =
    ["canvas", "cardboard", "cotton", "denim", "leather", "linen", "nylon", "plastic", "rubber", "wooden"];
const THINGS: [&str; 25] = [
    "backpack",
    "bicycle",
    "blanket",
    "briefcase",
    "cabinet",
    "carrier",
    "container",
    "cushion",
    "football",
    "furniture",
    "handcart",
    "headboard",
    "hammock",
    "instrument",
    "keyboard",
    "lampshade",
    "mattress",
    "parasol",
    "pushchair",
    "raincoat",
    "rucksack",
    "scooter",
    "skateboard",
    "stepladder",
    "suitcase",
];

const N_NAMES: u64 = (LOOKS.len() * MATERIALS.len() * THINGS.len()) as u64;
/// Has no divisor in common with [`N_NAMES`]: names that follow each other in frequency look nothing alike.
const NAMES_STEP: u64 = 2_719;

/// The laws, and how steep they are: 1,000 locations by Zipf's with 1.05, ten cameras each by Pareto's with 1.1, 5,000 names by Zipf's with 1.2.
pub struct Places {
    locations: Zipf<f64>,
    cameras: Pareto<f64>,
    names: Zipf<f64>,
}

impl Places {
    pub fn new() -> Result<Self> {
        Ok(Self {
            locations: Zipf::new(N_LOCATIONS as f64, 1.05)?,
            cameras: Pareto::new(1.0, 1.1)?,
            names: Zipf::new(N_NAMES as f64, 1.2)?,
        })
    }

    /// From 0; each `salt` gives row `id` another draw.
    pub fn location(&self, id: u64, salt: u64) -> u64 {
        self.locations.sample(&mut draws(id, salt)) as u64 - 1
    }

    /// One of the cameras of a location.
    pub fn camera(&self, id: u64, salt: u64, location: u64) -> u64 {
        let number = self.cameras.sample(&mut draws(id, salt)) as u64 - 1;
        // What is beyond the tenth is spread over all of them.
        location * N_CAMERAS + number % N_CAMERAS
    }

    /// Of 20 to 30 bytes.
    pub fn name(&self, id: u64, salt: u64) -> String {
        let number = ((self.names.sample(&mut draws(id, salt)) as u64 * NAMES_STEP) % N_NAMES) as usize;
        let (look, rest) = (number % LOOKS.len(), number / LOOKS.len());
        let (material, thing) = (rest % MATERIALS.len(), rest / MATERIALS.len());
        format!("{} {} {}", LOOKS[look], MATERIALS[material], THINGS[thing])
    }
}

fn draws(id: u64, salt: u64) -> SmallRng {
    SmallRng::seed_from_u64(mix(id ^ salt << 40))
}
