//! Does a sidecar say of a key that it may be where it is, and nothing when it is damaged?

mod form;
mod hash;
