//! Do files get to the Delta folder whole or not at all, and are keys that are there twice found?

mod bring;
mod keys;
