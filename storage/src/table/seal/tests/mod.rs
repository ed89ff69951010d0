//! Are records read as they were written, by this version and by the next, are moments never too early, and is damage not forgotten?

mod fixtures;
mod quarantine;
mod times;
