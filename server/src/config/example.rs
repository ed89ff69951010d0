//! What does a configuration file look like? All settings with their defaults, commented out.

use super::settings::{SETTINGS, Setting};

/// Explanations are wrapped at this column.
const WIDTH: usize = 100;

/// A complete `tidewater.toml` that changes nothing until the `#` in front of a setting is taken away. Explanations begin with `# `, settings
/// with `#` alone.
pub fn example() -> String {
    let mut out = String::from(
        "# Tidewater. A flag wins over an environment variable (TIDEWATER__SECTION__KEY), that over this file.\n\
         # Take the # away in front of what is to change; texts stand in quotes.\n",
    );
    // Settings without a section must stand before the first section of a TOML file.
    let (top, sections): (Vec<&Setting>, Vec<&Setting>) =
        SETTINGS.iter().partition(|setting| !setting.name.contains('.'));
    let mut section = "";
    for setting in top.into_iter().chain(sections) {
        let (in_section, key) = setting.name.split_once('.').unwrap_or(("", setting.name));
        if in_section != section {
            section = in_section;
            out.push_str(&format!("\n[{section}]\n"));
        } else {
            out.push('\n');
        }
        explain(setting.doc, &mut out);
        out.push_str(&format!("#{key} = \"{}\"\n", setting.default));
    }
    out
}

fn explain(doc: &str, out: &mut String) {
    let mut line = String::from("#");
    for word in doc.split_whitespace() {
        if line.len() + 1 + word.len() > WIDTH && line.len() > 1 {
            out.push_str(&line);
            out.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    out.push_str(&line);
    out.push('\n');
}
