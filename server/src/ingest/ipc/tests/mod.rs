//! Does the decoder give back what was written, and survive what was not?

mod declared;
pub(crate) mod fixtures;
mod forged;
mod limits;
mod round_trip;
