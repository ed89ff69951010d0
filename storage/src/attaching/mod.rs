//! How does a Delta table become a table of this folder? One that an other folder made, or whose own log lost entries.
//!
//! ```text
//! its log ──► ours (is it ours, what does it hold?) ──► keys (read from its files) ──► take over (one commit) ──► records
//! ```
//! Until the records are written nothing of it is visible, and what was written is deleted by its recorded names. Tables that were not
//! attached are all in one store: `store` asks at a start whether that is still the one that the settings name.

mod keys;
mod origin;
mod ours;
mod store;
mod take_over;

#[cfg(test)]
mod tests;

pub(crate) use keys::{RebuiltKeys, rebuild};
pub(crate) use origin::{Origin, parts_of};
pub(crate) use ours::Ours;
pub(crate) use store::check_place;
pub(crate) use take_over::take_over;
