//! What does a configuration file look like? All settings with their defaults, commented out.

use std::fmt::Write;

use super::settings::{SETTINGS, Setting};

/// A complete `tidewater.toml` that changes nothing until a line is uncommented.
pub fn example() -> String {
    let mut out = String::from(
        "# Tidewater. A flag wins over an environment variable (TIDEWATER__SECTION__KEY), that over this file.\n",
    );
    // Settings without a section must stand before the first section of a TOML file.
    let (top, sections): (Vec<&Setting>, Vec<&Setting>) =
        SETTINGS.iter().partition(|setting| !setting.name.contains('.'));
    let mut section = "";
    for setting in top.into_iter().chain(sections) {
        let (in_section, key) = setting.name.split_once('.').unwrap_or(("", setting.name));
        if in_section != section {
            section = in_section;
            let _ = write!(out, "\n[{section}]");
        }
        let _ = write!(out, "\n# {}\n# {key} = \"{}\"\n", setting.doc, setting.default);
    }
    out
}
