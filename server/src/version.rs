//! Which program is this? The version, the commit that it was built from, and the version of the data folders that it reads.

use std::sync::LazyLock;

pub use tidewater_storage::DISK_FORMAT;

/// Such as `0.1.0`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The first digits of the commit; `unknown` where the sources came without their history.
pub const COMMIT: &str = env!("TIDEWATER_BUILD_COMMIT");

/// `0.1.0 (commit abc1234, disk format 1)`: for `--version`, the log, and whoever reports an error.
pub fn line() -> &'static str {
    static LINE: LazyLock<String> = LazyLock::new(|| format!("{VERSION} (commit {COMMIT}, disk format {DISK_FORMAT})"));
    &LINE
}
