//! What does a client of Flight SQL set for its later calls, and how is it known again? Sessions: settings under an id that calls carry.
//!
//! ```text
//! client     who of a user's clients calls: a cookie, or the bearer of its handshake; and what it is told to send from now on
//! registry   the sessions that are open, and those that ended
//! stored     what of them is in the data folder
//! options    SetSessionOptions, GetSessionOptions: names and values
//! headers    what a single call asks for: a schema, types
//! messages   the messages of the three actions
//! ```

mod client;
pub(crate) mod headers;
mod messages;
mod options;
mod registry;
mod stored;

#[cfg(test)]
mod tests;

pub(crate) use client::Client;
pub(crate) use options::{closed, get, set};
pub use registry::Sessions;
pub(crate) use stored::forget;
