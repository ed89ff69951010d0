//! What if nobody chose the moment? Lives of a server under all kinds of work, each ended where a seeded die falls.
//!
//! `TIDEWATER_CRASH_SEED` and `TIDEWATER_CRASH_ROUNDS` repeat a run or make it longer; a failure says both.

use crate::Doing;
use crate::points;
use crate::world::{Death, Work, World};

pub const SEED: u64 = 1;
const ROUNDS: u64 = 12;

/// SplitMix64.
pub struct Dice(pub u64);

impl Dice {
    /// A number from 1 to `n`.
    pub fn roll(&mut self, n: u64) -> u64 {
        self.number() % n + 1
    }

    /// Any number; of different states it is different.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    pub fn choose<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len() as u64) as usize - 1]
    }
}

/// A number from the environment.
pub fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random() {
    let seed = setting("TIDEWATER_CRASH_SEED", SEED);
    let rounds = setting("TIDEWATER_CRASH_ROUNDS", ROUNDS);
    let repeat = format!("TIDEWATER_CRASH_SEED={seed} TIDEWATER_CRASH_ROUNDS={rounds}");
    let points: Vec<_> = points::of_writes().collect();
    let mut dice = Dice(seed);
    let mut doing = Doing::new(format!("{repeat}, the first start"));
    let mut world = World::create().await;
    for round in 1..=rounds {
        // One life in three ends from outside, one start in three is struck first.
        let death = match dice.roll(3) {
            1 => Death::After(dice.roll(60)),
            _ => Death::At(dice.choose(&points), dice.roll(40) as u32),
        };
        let replay = (dice.roll(3) == 1).then(|| dice.roll(50));
        doing.now(format!("{repeat}, round {round}: a start killed at entry {replay:?}, then {death:?}"));
        if let Some(entry) = replay {
            world.die_in_replay(entry);
        }
        world.live_and_die(Work::All, death).await;
    }
    doing.now(format!("{repeat}, the end"));
    world.finish().await;
}
