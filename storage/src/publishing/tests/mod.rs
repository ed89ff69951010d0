//! Do files get to the Delta folder whole or not at all?

mod bring;
