//! Does every acknowledged row survive `kill -9`, once, wherever it strikes? The real binary, killed at each fail point and at random.
//!
//! | question | file |
//! |---|---|
//! | each kind of change at each point, one at a time | `changes` |
//! | concurrent producers and tables at each point, in replay, from outside; producers that outlive servers | `streams` |
//! | all of it at once, at moments that a seed chooses | `random` |
//! | rows that are being sorted | `runs` |
//! | what a start does by itself | `starts` |
//!
//! The tests stand on `model` (what may be there), `seen` (what is there), `points` (where the server is killed), `writers` and `world`
//! (who works until it is), `front` (an address that stays).

#[allow(dead_code, reason = "other tests need the rest")]
#[path = "../process/mod.rs"]
mod process;

mod model;
mod points;
mod seen;

mod front;
mod world;
mod writers;

mod changes;
mod random;
mod runs;
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
