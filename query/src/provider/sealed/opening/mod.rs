//! How does a file come to be read, once a plan runs? Its sidecar says which row groups may hold what is asked for; deleted rows are left out.
//!
//! ```text
//! filters ─┬► lookup: keys ──► sidecars: row groups ──► selection: rows of some row groups ──► DataFusion's reader
//!          │                                                   ▲                                         ▲
//!          │                            deleted rows ──────────┘                                         │
//!          ├► proven: what is left of them for the rows of a file ───────────────────────────────────────┤
//!          └► worth: whether rows are asked about what is found while the scan runs ─────────────────────┘
//!                                                                     opener: in this order, for each file as its turn comes
//! ```

mod lookup;
mod opener;
pub(super) mod proven;
pub(super) mod selection;
mod sidecars;
pub(super) mod worth;

pub(super) use lookup::Keys;
pub(super) use opener::{Opening, OpeningSource};
