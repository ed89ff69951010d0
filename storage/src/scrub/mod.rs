//! Are files still what was written? A disk changes bytes without a word, so all of them are read again and again, a little at a time.
//!
//! ```text
//! picker (pure): which are due ──► one after another, at a bounded rate ──► on record if damaged, off it if whole again
//! ```
//! After a start every file on the local disk is due, the newest first: nobody knows what happened to it while the server did not run. What
//! a reader stumbles over is tested within a second. Files in a store elsewhere, which tests its own bytes, are read only if that is asked
//! for, each at a moment of its own within the interval. The sidecar of a file is tested behind it. What nobody reads here is looked for:
//! whether the Delta log has what other engines need, wherever it is. While that is away, as where a file system is not mounted, the
//! published files of its table that come up wait: they are tested when it has answered. One that cannot be reached then either is left for
//! its next turn.

mod picker;
mod round;

pub use picker::ScrubOptions;
pub(crate) use round::Scrubber;
#[cfg(test)]
pub(crate) use round::Subject;

#[cfg(test)]
mod tests;
