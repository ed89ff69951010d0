//! Are the right files merged, are rows divided as they should, and is memory?

mod late;
mod memory;
mod picker;
