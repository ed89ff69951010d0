//! What does a configuration file say, and where? Every value with its line and column; every mistake with its own.

use std::collections::BTreeSet;
use std::path::Path;

use tidewater_storage::Error;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::layers::{find, unknown};
use super::problems::{Problems, invalid};
use super::settings::SETTINGS;

/// One slip makes the parser stumble over what follows it, so that the first places say all.
const MAX_SYNTAX_ERRORS: usize = 5;

/// A setting as the file has it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) name: String,
    pub(super) value: String,
    /// Of the value, from 1; columns count characters.
    pub(super) line: usize,
    pub(super) column: usize,
}

/// All values of settings in a file.
pub(super) fn read(path: &Path, problems: &mut Problems) -> Vec<Written> {
    match std::fs::read_to_string(path) {
        Ok(text) => read_text(path, &text, problems),
        Err(reason) => {
            let message = format!("the configuration file {} cannot be read: {reason}", path.display());
            problems.push(invalid(message));
            Vec::new()
        }
    }
}

fn read_text(path: &Path, text: &str, problems: &mut Problems) -> Vec<Written> {
    let mut reading = Reading { path, text, found: Vec::new(), wrong: Vec::new() };
    let (document, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        reading.table("", document.get_ref());
    }
    let mut lines = BTreeSet::new();
    for error in &errors {
        let at = error.span().map_or(0, |span| span.start);
        if lines.len() < MAX_SYNTAX_ERRORS && lines.insert(position(text, at).0) {
            let message = format!("{} is not TOML: {}", reading.place(at), error.message());
            let hint = "texts stand in quotes: data = \"./folder\"; sections in brackets: [server]";
            reading.wrong.push((at, invalid(message).hint(hint)));
        }
    }
    // By the file's lines, not by the alphabet.
    reading.wrong.sort_by_key(|(at, _)| *at);
    reading.wrong.into_iter().for_each(|(_, error)| problems.push(error));
    reading.found
}

struct Reading<'a> {
    path: &'a Path,
    text: &'a str,
    found: Vec<Written>,
    /// With the place in the text.
    wrong: Vec<(usize, Error)>,
}

impl Reading<'_> {
    fn table(&mut self, section: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let name = match section {
                "" => key.get_ref().to_string(),
                section => format!("{section}.{}", key.get_ref()),
            };
            self.entry(&name, key.span().start, value);
        }
    }

    fn entry(&mut self, name: &str, key_at: usize, value: &Spanned<DeValue<'_>>) {
        let is_setting = find(name).is_some();
        match value.get_ref() {
            DeValue::Table(table) if !is_setting && (is_section(name) || !table.is_empty()) => self.table(name, table),
            // An empty section is a section all the same: a wrong name must not pass.
            _ if !is_setting => {
                let unknown = unknown(name, &self.place(key_at));
                self.wrong.push((key_at, unknown));
            }
            value_there => match text_of(value_there) {
                Some(text) => {
                    let (line, column) = position(self.text, value.span().start);
                    self.found.push(Written { name: name.to_owned(), value: text, line, column });
                }
                None => {
                    let at = value.span().start;
                    let (kind, place) = (value_there.type_str(), self.place(at));
                    let message = format!("{name} in {place} has a value of the wrong kind ({kind})");
                    self.wrong.push((at, invalid(message).hint("write a text or a number")));
                }
            },
        }
    }

    fn place(&self, at: usize) -> String {
        let (line, column) = position(self.text, at);
        format!("{}:{line}:{column}", self.path.display())
    }
}

fn is_section(name: &str) -> bool {
    let is_in = |setting: &str| setting.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
    SETTINGS.iter().any(|setting| is_in(setting.name))
}

/// A value as a flag or a variable would have it.
fn text_of(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(i64::from_str_radix(number.as_str(), number.radix()).ok()?.to_string()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// Line and column of a byte of the text, both from 1.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line_begin = before.rfind('\n').map_or(0, |end| end + 1);
    (before.matches('\n').count() + 1, before[line_begin..].chars().count() + 1)
}
