//! What if many small plans of functions are one large one? A projection computes all its columns before anything can stop it, so a call
//! that makes much looks at the process first.

use datafusion::common::config::ConfigOptions;
use datafusion::error::Result;
use tidewater_storage::{Code, Error};

use crate::carried::carried;
use crate::error::to_datafusion;
use crate::memory::resident_bytes;

/// The memory limit of the process, as functions are shown it: in the configuration.
#[derive(Debug, Clone)]
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

carried!(ProcessLimit, "tidewater_process");
