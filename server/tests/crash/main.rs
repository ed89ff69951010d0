//! Does every acknowledged row survive `kill -9`, once, wherever it strikes? The real binary, killed at each fail point and at random.
//!
//! | question | file |
//! |---|---|
//! | each kind of change at each point, one at a time; builds and seals | `changes` |
//! | concurrent producers and tables at each point, in replay, from outside; producers that outlive servers | `streams` |
//! | all of it at once, at moments that a seed chooses | `random` |
//! | rows that are being sorted | `runs` |
//! | rows that are built, sealed, merged, deleted and truncated, and tables that are altered, while others are written and read; files that belong to nothing; large statements | `seals` |
//! | a Delta table of another folder becomes a table | `attaches` |
//! | what goes when it is old: rows, keys and dropped tables, days later by both clocks | `ages` |
//! | keys that go to disk | `keys` |
//! | checkpoints of the Delta log, and what goes behind them | `checkpoints` |
//! | files that the disk changed | `damage` |
//! | what a start does by itself | `starts` |
//! | users and tokens | `accounts` |
//! | rejected rows that are tried again | `replays` |
//!
//! The tests stand on `model` (what may be there), `seen` (what is there), `delta` (what is on disk for other engines), `points` (where the
//! server is killed), `writers`, `readers` and `world` (who works until it is), `alone` (what a server comes to by itself), `front` (an
//! address that stays).

#[allow(dead_code, reason = "other tests need the rest")]
#[path = "../process/mod.rs"]
mod process;

mod delta;
mod model;
mod points;
mod seen;

mod alone;
mod front;
mod readers;
mod world;
mod writers;

mod accounts;
mod ages;
mod attaches;
mod changes;
mod checkpoints;
mod damage;
mod keys;
mod random;
mod replays;
mod runs;
mod seals;
mod starts;
mod streams;

/// What a test is doing, said if it fails there.
struct Doing(String);

impl Doing {
    fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }

    fn now(&mut self, what: impl Into<String>) {
        self.0 = what.into();
    }
}

impl Drop for Doing {
    #[allow(clippy::print_stderr, reason = "the panic itself does not know it")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("while: {}", self.0);
        }
    }
}
