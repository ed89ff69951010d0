//! Are the right files merged, and are rows divided as they should?

mod late;
mod picker;
