//! Where does a value come from? Four layers, the higher one wins; a name that no setting has is an error.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::{FileFormat, Source, Value, ValueKind};
use tidewater_query::SettingRow;
use tidewater_storage::Result;

use super::settings::{SETTINGS, invalid};

/// Environment variables of settings begin so; `__` stands between section and key.
const ENV_PREFIX: &str = "TIDEWATER__";

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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Default,
    File,
    Env,
    Flag,
}

impl Origin {
    fn name(self) -> &'static str {
        match self {
            Origin::Default => "default",
            Origin::File => "file",
            Origin::Env => "env",
            Origin::Flag => "flag",
        }
    }
}

/// A value for every setting.
#[derive(Debug)]
pub(super) struct Resolved {
    values: BTreeMap<&'static str, (String, Origin)>,
    pub(super) file: Option<PathBuf>,
}

impl Resolved {
    pub(super) fn text(&self, name: &str) -> &str {
        self.values.get(name).map_or("", |(text, _)| text)
    }

    /// ` (from …)` for messages; nothing for a default.
    pub(super) fn from(&self, name: &str) -> String {
        match (self.values.get(name).map(|(_, origin)| *origin), &self.file) {
            (Some(Origin::File), Some(file)) => format!(" (from {})", file.display()),
            (Some(Origin::Env), _) => format!(" (from {})", env_name(name)),
            (Some(Origin::Flag), _) => " (from a flag)".to_owned(),
            _ => String::new(),
        }
    }

    pub(super) fn rows(&self) -> Vec<SettingRow> {
        let row = |setting: &super::Setting| {
            let (value, origin) = self.values.get(setting.name)?;
            Some(SettingRow {
                name: setting.name.to_owned(),
                value: value.clone(),
                origin: origin.name().to_owned(),
                default: setting.default.to_owned(),
                reloadable: false,
            })
        };
        SETTINGS.iter().filter_map(row).collect()
    }

    fn set(&mut self, name: &str, value: String, origin: Origin, place: &str) -> Result<()> {
        let Some(setting) = SETTINGS.iter().find(|setting| setting.name == name) else {
            return Err(unknown(name, place));
        };
        self.values.insert(setting.name, (value, origin));
        Ok(())
    }
}

pub(super) fn resolve(sources: Sources) -> Result<Resolved> {
    let defaults = SETTINGS.iter().map(|s| (s.name, (s.default.to_owned(), Origin::Default)));
    let mut resolved = Resolved { values: defaults.collect(), file: None };
    if let Some(path) = file_path(&sources.file) {
        for (name, value) in read_file(&path)? {
            resolved.set(&name, value, Origin::File, &path.display().to_string())?;
        }
        resolved.file = Some(path);
    }
    for (variable, value) in sources.env {
        if let Some(rest) = variable.strip_prefix(ENV_PREFIX) {
            let name = rest.to_ascii_lowercase().replace("__", ".");
            resolved.set(&name, value, Origin::Env, &variable)?;
        }
    }
    for (name, value) in sources.flags {
        resolved.set(&name, value, Origin::Flag, "the command line")?;
    }
    Ok(resolved)
}

fn env_name(setting: &str) -> String {
    format!("{ENV_PREFIX}{}", setting.to_ascii_uppercase().replace('.', "__"))
}

fn file_path(source: &FileSource) -> Option<PathBuf> {
    match source {
        FileSource::Named(path) => Some(path.clone()),
        FileSource::Usual => Some(PathBuf::from(USUAL_FILE)).filter(|path| path.exists()),
        FileSource::None => None,
    }
}

/// All values of a file by their full names.
fn read_file(path: &Path) -> Result<Vec<(String, String)>> {
    let text = std::fs::read_to_string(path)
        .map_err(|reason| invalid(format!("the configuration file {} cannot be read: {reason}", path.display())))?;
    let table = config::File::from_str(&text, FileFormat::Toml)
        .collect()
        .map_err(|reason| invalid(format!("{} is not TOML: {reason}", path.display())))?;
    let mut values = Vec::new();
    for (key, value) in table {
        flatten(key, value, path, &mut values)?;
    }
    values.sort();
    Ok(values)
}

fn flatten(name: String, value: Value, path: &Path, values: &mut Vec<(String, String)>) -> Result<()> {
    match value.kind {
        ValueKind::Table(table) => {
            // An empty section is a section all the same: a wrong name must not pass.
            if table.is_empty() && !SETTINGS.iter().any(|s| s.name.starts_with(&format!("{name}."))) {
                return Err(unknown(&name, &path.display().to_string()));
            }
            table.into_iter().try_for_each(|(key, value)| flatten(format!("{name}.{key}"), value, path, values))
        }
        ValueKind::Array(_) | ValueKind::Nil => {
            let known = SETTINGS.iter().any(|setting| setting.name == name);
            let message = format!("{name} in {} has a value of the wrong kind", path.display());
            Err(if known {
                invalid(message).hint("write a text or a number")
            } else {
                unknown(&name, &path.display().to_string())
            })
        }
        kind => {
            values.push((name, kind.to_string()));
            Ok(())
        }
    }
}

/// An error that names the nearest setting: the likeliest mistake is a letter.
fn unknown(name: &str, place: &str) -> tidewater_storage::Error {
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
