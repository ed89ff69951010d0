//! Why does a record not pass? The skip list names each with one of four reasons; rules give them when the list is written.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::outcome::{Kind, Outcome};

/// The only reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Reason {
    #[serde(rename = "refused by design")]
    Refused,
    #[serde(rename = "type changed by our settings")]
    Type,
    #[serde(rename = "order not determined by the query")]
    Order,
    /// Its note has the issue.
    #[serde(rename = "engine bug")]
    EngineBug,
}

impl Reason {
    const ALL: [(&'static str, Self); 4] = [
        ("refused by design", Self::Refused),
        ("type changed by our settings", Self::Type),
        ("order not determined by the query", Self::Order),
        ("engine bug", Self::EngineBug),
    ];

    fn text(self) -> &'static str {
        Self::ALL.iter().find(|(_, reason)| *reason == self).map_or("", |(text, _)| text)
    }

    fn named(text: &str) -> Result<Self> {
        let found = Self::ALL.iter().find(|(known, _)| *known == text).map(|(_, reason)| *reason);
        found.ok_or_else(|| anyhow!("'{text}' is none of the four reasons"))
    }
}

/// A line of the skip list.
pub(crate) struct Skipped {
    pub(crate) file: String,
    pub(crate) place: String,
    pub(crate) reason: Reason,
    pub(crate) note: String,
}

/// The skip list by file and place.
#[derive(Default)]
pub(crate) struct Skips {
    known: HashMap<(String, String), Reason>,
}

impl Skips {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = read(path)?;
        let mut known = HashMap::new();
        for (i, line) in text.lines().enumerate() {
            let of = || format!("{}, line {}", path.display(), i + 1);
            let [file, place, reason, note] = <[&str; 4]>::try_from(line.split('\t').collect::<Vec<_>>())
                .map_err(|_| anyhow!("{}: not 4 columns", of()))?;
            let reason = Reason::named(reason).with_context(of)?;
            check_note(reason, note).with_context(of)?;
            known.insert((file.to_string(), place.to_string()), reason);
        }
        Ok(Self { known })
    }

    pub(crate) fn get(&self, file: &str, place: &str) -> Option<Reason> {
        self.known.get(&(file.to_string(), place.to_string())).copied()
    }
}

fn check_note(reason: Reason, note: &str) -> Result<()> {
    anyhow::ensure!(!note.is_empty(), "a skip needs a note");
    anyhow::ensure!(reason != Reason::EngineBug || note.contains("https://"), "a bug of the engine needs its issue");
    Ok(())
}

/// Writes the list in the order in which the records ran; a record that runs several times has one line.
pub(crate) fn write(path: &Path, skipped: &[Skipped]) -> Result<()> {
    let mut text = String::new();
    let mut last = None;
    for one in skipped {
        let place = (&one.file, &one.place);
        if last != Some(place) {
            writeln!(text, "{}\t{}\t{}\t{}", one.file, one.place, one.reason.text(), one.note)?;
        }
        last = Some(place);
    }
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Rules in order: the first that fits a failed record gives its reason.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rules {
    rule: Vec<Rule>,
}

/// All that it names must fit.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    reason: Reason,
    note: String,
    /// What the file's path begins with.
    #[serde(default)]
    file: String,
    #[serde(default)]
    place: Vec<String>,
    #[serde(default)]
    kind: Vec<Kind>,
    /// Patterns of the statement, and of the server's error or what differs.
    #[serde(default)]
    sql: Pattern,
    #[serde(default)]
    message: Pattern,
    /// Only behind a setting that was refused.
    #[serde(default)]
    setting: bool,
}

/// Fits anything if it is not there.
#[derive(Default, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Pattern(Option<Regex>);

impl TryFrom<String> for Pattern {
    type Error = regex::Error;

    fn try_from(text: String) -> Result<Self, regex::Error> {
        Regex::new(&text).map(|pattern| Self(Some(pattern)))
    }
}

impl Pattern {
    pub(crate) fn fits(&self, text: &str) -> bool {
        self.0.as_ref().is_none_or(|pattern| pattern.is_match(text))
    }

    /// There is no text that it leaves out.
    pub(crate) fn fits_all(&self) -> bool {
        self.fits("")
    }
}

impl Rules {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let rules: Self = toml::from_str(&read(path)?).with_context(|| format!("in {}", path.display()))?;
        for rule in &rules.rule {
            check_note(rule.reason, &rule.note).with_context(|| format!("in {}", path.display()))?;
        }
        Ok(rules)
    }

    pub(crate) fn reason(&self, outcome: &Outcome) -> Option<(Reason, String)> {
        let failed = outcome.failure.as_ref()?;
        let fits = |rule: &&Rule| {
            outcome.file.starts_with(&rule.file)
                && (rule.place.is_empty() || rule.place.contains(&outcome.place))
                && (rule.kind.is_empty() || rule.kind.contains(&failed.kind))
                && rule.sql.fits(&failed.sql)
                && rule.message.fits(&failed.message)
                && (!rule.setting || failed.setting)
        };
        self.rule.iter().find(fits).map(|rule| (rule.reason, rule.note.clone()))
    }
}

pub(crate) fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
