//! What did callers prove before? What they may present instead of a password.
//!
//! * `verified`: headers that were found true a moment ago, in memory.
//! * `sessions`: bearers of the console, in memory, which end when their user logs out.
//! * `bearers`: what a Flight handshake gives. Signed, so that they outlive the process; nothing of them is kept.

mod bearers;
mod sessions;
mod verified;

pub use bearers::Login;
pub(super) use bearers::{By, Claims, give, of_certificate, read, stamp};
#[cfg(test)]
pub(super) use sessions::MAX_SESSIONS;
pub(super) use sessions::Sessions;
pub(super) use verified::Verified;

/// A session of a client: what is set in it holds for all calls that name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub [u8; 16]);
