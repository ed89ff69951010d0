//! How is the server set up? Flag over environment over file over default, from one closed list of settings.

mod example;
mod layers;
mod settings;
mod units;

#[cfg(test)]
mod tests;

pub use example::example;
pub use layers::{FileSource, Sources};
pub use settings::{Config, LogFormat, SETTINGS, Setting};
