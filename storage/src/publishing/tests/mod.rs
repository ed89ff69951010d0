//! Do files get to the Delta folder whole or not at all, are keys that are there twice found, and sidecars that are written again noted?

mod bring;
mod keys;
mod sidecars;
