//! Do files give what fresh rows gave? The same rows before and after a build, through all that a scan can be asked.

mod addresses;
mod damaged;
mod deletes;
mod equal;
mod lookups;
mod plans;
mod proven;
mod support;
mod system;
mod units;
mod worth;
