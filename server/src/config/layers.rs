//! Where does a value come from? Four layers, the higher one wins; a name that no setting has is an error.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use tidewater_query::SettingRow;
use tidewater_storage::Error;

use super::file;
use super::problems::{Problems, invalid};
use super::settings::{SETTINGS, Setting};

/// Environment variables of settings begin so; `__` stands between section and key.
pub(crate) const ENV_PREFIX: &str = "TIDEWATER__";

/// The file that is read when it exists and no other is named.
const USUAL_FILE: &str = "tidewater.toml";

/// The file to read.
#[derive(Debug, Clone, Default)]
pub enum FileSource {
    /// `tidewater.toml` in the working folder, if there is one.
    #[default]
    Usual,
    /// This one; it must exist.
    Named(PathBuf),
    /// None.
    None,
}

/// What a configuration is made from. Handed in, so that tests need neither files nor a changed environment.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Name of a setting and its value, from the command line.
    pub flags: Vec<(String, String)>,
    /// All environment variables; others than ours are ignored.
    pub env: Vec<(String, String)>,
    pub file: FileSource,
}

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Nowhere: it is the setting's default.
    Default,
    /// The file's line and column, from 1.
    File(PathBuf, usize, usize),
    /// The variable.
    Env(String),
    Flag,
}

impl Place {
    fn kind(&self) -> &'static str {
        match self {
            Place::Default => "default",
            Place::File(..) => "file",
            Place::Env(_) => "env",
            Place::Flag => "flag",
        }
    }
}

/// For messages.
impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Default => out.write_str("the default"),
            Place::File(path, line, column) => write!(out, "{}:{line}:{column}", path.display()),
            Place::Env(variable) => out.write_str(variable),
            Place::Flag => out.write_str("a flag"),
        }
    }
}

/// A value for every setting.
#[derive(Debug)]
pub(super) struct Resolved {
    values: BTreeMap<&'static str, (String, Place)>,
    pub(super) file: Option<PathBuf>,
}

impl Resolved {
    pub(super) fn text(&self, name: &str) -> &str {
        self.values.get(name).map_or("", |(text, _)| text)
    }

    /// ` (from …)` for messages; nothing for a default.
    pub(super) fn from(&self, name: &str) -> String {
        match self.values.get(name).map(|(_, place)| place) {
            None | Some(Place::Default) => String::new(),
            Some(place) => format!(" (from {place})"),
        }
    }

    pub(super) fn rows(&self) -> Vec<SettingRow> {
        let row = |setting: &Setting| {
            let (value, place) = self.values.get(setting.name)?;
            Some(SettingRow {
                name: setting.name.to_owned(),
                value: value.clone(),
                origin: place.kind().to_owned(),
                default: setting.default.to_owned(),
                reloadable: false,
            })
        };
        SETTINGS.iter().filter_map(row).collect()
    }

    /// Where each value was written, by setting: `file tidewater.toml:3:8`, `env TIDEWATER__AUTH`, `flag`, `default`.
    pub(super) fn places(&self) -> BTreeMap<&'static str, String> {
        let text = |place: &Place| match place {
            Place::Default | Place::Flag => place.kind().to_owned(),
            Place::File(..) | Place::Env(_) => format!("{} {place}", place.kind()),
        };
        self.values.iter().map(|(name, (_, place))| (*name, text(place))).collect()
    }

    fn set(&mut self, name: &str, value: String, place: Place) -> Option<Error> {
        let Some(setting) = find(name) else {
            let written = match &place {
                Place::Flag => "the command line".to_owned(),
                place => place.to_string(),
            };
            return Some(unknown(name, &written));
        };
        self.values.insert(setting.name, (value, place));
        None
    }
}

/// All layers. What cannot be used goes to `problems`; the layer below it counts then.
pub(super) fn resolve(sources: Sources, problems: &mut Problems) -> Resolved {
    let defaults = SETTINGS.iter().map(|s| (s.name, (s.default.to_owned(), Place::Default)));
    let mut resolved = Resolved { values: defaults.collect(), file: None };
    if let Some(path) = file_path(&sources.file) {
        for written in file::read(&path, problems) {
            let place = Place::File(path.clone(), written.line, written.column);
            // The reader lets only settings through.
            resolved.set(&written.name, written.value, place).into_iter().for_each(|error| problems.push(error));
        }
        resolved.file = Some(path);
    }
    for (variable, value) in sources.env {
        if let Some(rest) = variable.strip_prefix(ENV_PREFIX) {
            let name = rest.to_ascii_lowercase().replace("__", ".");
            let unknown = resolved.set(&name, value, Place::Env(variable));
            unknown.into_iter().for_each(|error| problems.push(error));
        }
    }
    for (name, value) in sources.flags {
        resolved.set(&name, value, Place::Flag).into_iter().for_each(|error| problems.push(error));
    }
    resolved
}

fn file_path(source: &FileSource) -> Option<PathBuf> {
    match source {
        FileSource::Named(path) => Some(path.clone()),
        FileSource::Usual => Some(PathBuf::from(USUAL_FILE)).filter(|path| path.exists()),
        FileSource::None => None,
    }
}

pub(super) fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// An error that names the nearest setting: the likeliest mistake is a letter.
pub(super) fn unknown(name: &str, place: &str) -> Error {
    // Enough alike to be a slip of the pen rather than something else.
    const ALIKE: f64 = 0.75;
    // `data` for `server.data` is a forgotten section.
    let without_section = |setting: &&str| setting.rsplit('.').next() == Some(name.rsplit('.').next().unwrap_or(name));
    let likeness = |setting: &str| strsim::jaro_winkler(setting, name);
    let names = || SETTINGS.iter().map(|setting| setting.name);
    let nearest = names()
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
        .filter(|setting| likeness(setting) >= ALIKE)
        .or_else(|| names().find(without_section));
    let hint = match nearest {
        Some(setting) => format!("did you mean '{setting}'?"),
        None => format!("the settings are {}", names().collect::<Vec<_>>().join(", ")),
    };
    invalid(format!("'{name}' in {place} is not a setting")).hint(hint)
}
