//! Has this machine what a server needs? Memory and file handles.

use indicatif::HumanBytes;
use rustix::process::{Resource, getrlimit};
use tidewater_storage::env::{Clock, SystemClock};

use super::report::Finding;
use crate::config::machine_memory_bytes;

/// File handles that a server raises its limit to: connections of both ports and the log's files.
const WANTED_FILES: u64 = 65_536;

/// With less a server has trouble under its usual load.
const LEAST_FILES: u64 = 4_096;

/// A limit above this part of the machine leaves too little for everything else.
const MOST_OF_MACHINE: f64 = 0.9;

/// The time of this machine, in microseconds since 1970.
pub(super) fn now_us() -> i64 {
    SystemClock::new().now_us()
}

pub(super) fn memory(limit_bytes: u64) -> Option<Finding> {
    Some(memory_of(limit_bytes, machine_memory_bytes()?))
}

pub(super) fn memory_of(limit_bytes: u64, machine_bytes: u64) -> Finding {
    const CHECK: &str = "memory";
    let detail = format!("memory.limit is {} of {}", HumanBytes(limit_bytes), HumanBytes(machine_bytes));
    if limit_bytes > machine_bytes {
        Finding::fail(CHECK, detail, "set memory.limit to 60% or less: the system would end the server")
    } else if limit_bytes as f64 > machine_bytes as f64 * MOST_OF_MACHINE {
        Finding::warn(CHECK, detail, "set memory.limit to 80% or less: the file cache needs some, too")
    } else {
        Finding::ok(CHECK, detail)
    }
}

/// A server raises the limit as far as it may.
pub(super) fn open_files() -> Finding {
    open_files_of(getrlimit(Resource::Nofile).maximum)
}

pub(super) fn open_files_of(most: Option<u64>) -> Finding {
    const CHECK: &str = "open files";
    let action = format!("raise the hard limit to {WANTED_FILES}: LimitNOFILE= of the systemd unit, or ulimit -Hn");
    match most {
        None => Finding::ok(CHECK, "no limit"),
        Some(most) if most >= WANTED_FILES => Finding::ok(CHECK, format!("at most {most}")),
        Some(most) if most >= LEAST_FILES => Finding::warn(CHECK, format!("at most {most}"), action),
        Some(most) => Finding::fail(CHECK, format!("at most {most}"), action),
    }
}
