//! Which users, tokens and sessions are there? Records that are kept as definitions of tables are; what roles, hashes and settings mean is the
//! server's matter.

mod accounts;
mod disk;
mod names;
mod records;

#[cfg(test)]
mod tests;

pub use accounts::{AccountChange, Accounts};
pub(crate) use accounts::{AccountKind, AccountRecord};
pub use records::{SigningKey, StoredGrant, StoredSession, Token, TokenLimits, User};
