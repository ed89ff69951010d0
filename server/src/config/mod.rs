//! How is the server set up? Flag over environment over file over default, from one closed list of settings.

mod access;
mod example;
mod file;
mod layers;
mod problems;
mod settings;
mod units;
mod values;

#[cfg(test)]
mod tests;

pub use example::example;
pub(crate) use layers::ENV_PREFIX;
pub use layers::{FileSource, Sources};
pub use settings::{SETTINGS, Setting};
pub(crate) use units::{Amount, machine_memory_bytes, parse_amount};
pub use values::{Config, LogFormat};
