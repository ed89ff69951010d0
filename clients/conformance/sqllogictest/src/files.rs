//! Which files and which of their records count? Those that neither read nor write files of a disk, and no plans or settings.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, anyhow};
use sqllogictest::{Location, Record, parse_file};
use sqllogictest_flightsql::column::ArrowColumnType;

pub(crate) type Parsed = Record<ArrowColumnType>;

/// A file with what it includes.
pub(crate) struct File {
    /// Its path below the folder of the files.
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    pub(crate) records: Vec<Parsed>,
}

/// Every n-th file.
#[derive(Clone, Copy)]
pub(crate) struct Part {
    at: usize,
    of: usize,
}

impl FromStr for Part {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (at, of) = text.split_once('/').ok_or_else(|| anyhow!("'{text}' is not 0/2"))?;
        let part = Self { at: at.parse()?, of: of.parse()? };
        anyhow::ensure!(part.at < part.of, "there is no part {text}");
        Ok(part)
    }
}

/// What a record asks for, by its first word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Is run, and counts.
    Counted,
    /// SET and RESET: run, because the records behind them depend on it, but not counted.
    Setting,
    /// EXPLAIN and COPY: not run.
    Other,
}

pub(crate) fn ask(sql: &str) -> Ask {
    match first_words(sql)[0].as_str() {
        "SET" | "RESET" => Ask::Setting,
        "EXPLAIN" | "COPY" => Ask::Other,
        _ => Ask::Counted,
    }
}

/// The first three words in capitals, behind comments.
fn first_words(sql: &str) -> [String; 3] {
    let lines = sql.lines().map(|line| line.split("--").next().unwrap_or_default());
    let mut words =
        lines.flat_map(|line| line.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty()));
    [(); 3].map(|()| words.next().unwrap_or_default().to_ascii_uppercase())
}

fn needs_files(sql: &str) -> bool {
    let words = first_words(sql);
    let words = words.each_ref().map(String::as_str);
    matches!(words, ["COPY", ..] | ["CREATE", "EXTERNAL", _] | ["CREATE", "UNBOUNDED", "EXTERNAL"])
}

/// The text of a statement or query, and where it stands.
pub(crate) fn text(record: &Parsed) -> Option<(&str, &Location)> {
    match record {
        Record::Statement { sql, loc, .. } | Record::Query { sql, loc, .. } => Some((sql, loc)),
        _ => None,
    }
}

/// The files that count of `part`, in order of their names. Those of `spark/` need functions that are a crate of its own.
pub(crate) fn counted_files(folder: &Path, only: &[String], part: Part) -> Result<Vec<File>> {
    let mut paths = Vec::new();
    find(folder, &mut paths)?;
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        let name = path.strip_prefix(folder)?.to_string_lossy().into_owned();
        if name.starts_with("spark/") || !(only.is_empty() || only.iter().any(|prefix| name.starts_with(prefix))) {
            continue;
        }
        let records: Vec<Parsed> = parse_file(&path).map_err(|e| anyhow!("{name}: {e}"))?;
        if !records.iter().filter_map(text).any(|(sql, _)| needs_files(sql)) {
            files.push(File { name, folder: folder.to_owned(), records });
        }
    }
    let taken = files.into_iter().enumerate().filter(|(i, _)| i % part.of == part.at).map(|(_, file)| file);
    Ok(taken.collect())
}

fn find(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, paths)?;
        } else if path.extension().is_some_and(|extension| extension == "slt") {
            paths.push(path);
        }
    }
    Ok(())
}

impl File {
    /// Where a record stands: its line, behind the path of the included file if it stands in one.
    pub(crate) fn place(&self, at: &Location) -> String {
        let path = Path::new(at.file());
        let path = path.strip_prefix(&self.folder).unwrap_or(path).to_string_lossy();
        if path == self.name { at.line().to_string() } else { format!("{path}:{}", at.line()) }
    }
}
