//! Do files give what fresh rows gave? The same rows before and after a build, through all that a scan can be asked.

mod addresses;
mod deletes;
mod equal;
mod plans;
mod support;
mod system;
mod units;
