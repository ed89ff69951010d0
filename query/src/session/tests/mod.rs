//! Do sessions and the rights of callers do what they say?

mod access;
mod settings;
