//! What if many small plans of functions are one large one? A projection computes all its columns before anything can stop it, so a call
//! that makes much looks at the process first.

use std::any::Any;

use datafusion::common::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions};
use datafusion::error::{DataFusionError, Result};
use tidewater_storage::{Code, Error};

use crate::error::to_datafusion;
use crate::memory::resident_bytes;

/// The memory limit of the process, as functions are shown it: in the configuration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProcessLimit {
    bytes: u64,
}

impl ProcessLimit {
    pub(crate) fn new(bytes: u64) -> Self {
        Self { bytes }
    }

    /// `QUERY_MEMORY` when the process holds more than its limit.
    pub(super) fn check(config: &ConfigOptions) -> Result<()> {
        match config.extensions.get::<Self>() {
            Some(limit) if resident_bytes() > limit.bytes => {
                let what = "the query would make a large value while the process holds more memory than its limit";
                let error = Error::new(Code::QueryMemory, what);
                Err(to_datafusion(error.hint("select fewer large values at once, or raise memory_limit")))
            }
            _ => Ok(()),
        }
    }
}

impl ConfigExtension for ProcessLimit {
    const PREFIX: &'static str = "tidewater_process";
}

impl ExtensionOptions for ProcessLimit {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(*self)
    }

    fn set(&mut self, key: &str, _value: &str) -> Result<()> {
        Err(DataFusionError::Configuration(format!("{key} cannot be set")))
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        Vec::new()
    }
}
