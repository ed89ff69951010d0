//! Who tries in vain? What is told of it, how fast passwords may be guessed, and where attempts come from.
//!
//! * `failures`: counted always, told now and then.
//! * `guesses`: wrong passwords against rates, for a user, for an address, and for a user at an address.
//! * `place`: the address of a request's client, as far as it tells one client from another.

mod failures;
mod guesses;
mod place;

pub(super) use failures::Failures;
pub(super) use guesses::{Guesses, Verdict};
pub(crate) use place::{note as note_place, of_client as place_of_client};

#[cfg(test)]
mod tests;
