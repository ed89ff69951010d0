//! How are settled rows scanned? The files of one snapshot: pruned by what is known of them, read without their deleted rows.

mod columns;
mod files;
mod filters;
mod footer;
mod opening;
mod reader;
mod scan;
mod source;
mod stamps;
mod statistics;

#[cfg(test)]
mod tests;

pub(super) use files::SealedFiles;
pub(super) use scan::Asked;
pub(super) use source::rows_to_pass;
