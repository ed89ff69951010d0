//! What does a line that begins with a backslash mean? Commands of the shell; everything else is SQL.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use crate::cli::args::OutputFormat;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Command {
    /// All tables and views, or the columns and figures of one.
    Describe(Option<String>),
    Tables,
    Views,
    Schemas,
    /// On, off, or the other way.
    Timing(Option<bool>),
    Expanded(Option<bool>),
    /// `None`: which form is it?
    Format(Option<OutputFormat>),
    /// The next answer goes there.
    Output(PathBuf),
    Include(PathBuf),
    Watch(Duration),
    Help,
    Quit,
}

/// What `\?` shows, and all names that there are.
pub(super) const HELP: &[(&str, &str, &str)] = &[
    ("\\d", "[TABLE]", "tables and views, or one with its columns"),
    ("\\dt", "", "tables"),
    ("\\dv", "", "views"),
    ("\\dn", "", "schemas"),
    ("\\timing", "[on|off]", "a line behind each statement: rows, time, what was read"),
    ("\\x", "[on|off]", "one line a column, for wide rows"),
    ("\\format", "[FORM]", "form of the rows: table, expanded, csv, json, ndjson, markdown"),
    ("\\o", "FILE", "write the next answer into a file, in the form that its name says"),
    ("\\i", "FILE", "run the statements of a file"),
    ("\\watch", "[SECONDS]", "run the last statement again and again; Ctrl-C ends it"),
    ("\\?", "", "this list"),
    ("\\q", "", "end; so does Ctrl-D"),
];

/// How often a statement is repeated if nobody says.
const WATCH: Duration = Duration::from_secs(2);

/// More is meant to be never.
const MAX_WATCH_S: f64 = 86_400.0;

/// Less like a name than this is no slip of the finger.
const ALIKE: f64 = 0.6;

/// A command, if the line is one; or what is wrong with it.
pub(super) fn parse(line: &str) -> Option<Result<Command, String>> {
    let line = line.trim();
    match line.trim_end_matches(';').trim_end() {
        "exit" | "quit" => return Some(Ok(Command::Quit)),
        "help" => return Some(Ok(Command::Help)),
        _ => {}
    }
    if !line.starts_with('\\') {
        return None;
    }
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    Some(command(name.trim_end_matches(';'), rest.trim().trim_end_matches(';').trim_end()))
}

fn command(name: &str, rest: &str) -> Result<Command, String> {
    match name {
        "\\d" => Ok(Command::Describe(Some(rest.to_owned()).filter(|table| !table.is_empty()))),
        "\\timing" => Ok(Command::Timing(switch(name, rest)?)),
        "\\x" => Ok(Command::Expanded(switch(name, rest)?)),
        "\\format" if rest.is_empty() => Ok(Command::Format(None)),
        "\\format" => Ok(Command::Format(Some(format(rest)?))),
        "\\o" => Ok(Command::Output(file(name, rest)?)),
        "\\i" => Ok(Command::Include(file(name, rest)?)),
        "\\watch" => Ok(Command::Watch(interval(rest)?)),
        "\\dt" => alone(name, rest, Command::Tables),
        "\\dv" => alone(name, rest, Command::Views),
        "\\dn" => alone(name, rest, Command::Schemas),
        "\\?" => alone(name, rest, Command::Help),
        "\\q" => alone(name, rest, Command::Quit),
        _ => Err(unknown(name)),
    }
}

fn alone(name: &str, rest: &str, command: Command) -> Result<Command, String> {
    if rest.is_empty() { Ok(command) } else { Err(format!("{name} stands alone, without '{rest}'")) }
}

fn switch(name: &str, rest: &str) -> Result<Option<bool>, String> {
    match rest {
        "" => Ok(None),
        "on" => Ok(Some(true)),
        "off" => Ok(Some(false)),
        other => Err(format!("{name} is on or off, not '{other}'")),
    }
}

fn format(rest: &str) -> Result<OutputFormat, String> {
    let known = OutputFormat::from_str(rest, true).ok();
    known.filter(|format| !matches!(format, OutputFormat::Arrow | OutputFormat::Parquet)).ok_or_else(|| {
        format!("'{rest}' is no form for a terminal; there are table, expanded, csv, json, ndjson and markdown")
    })
}

fn file(name: &str, rest: &str) -> Result<PathBuf, String> {
    let path = rest.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')).unwrap_or(rest);
    if path.is_empty() { Err(format!("{name} needs the name of a file")) } else { Ok(PathBuf::from(path)) }
}

fn interval(rest: &str) -> Result<Duration, String> {
    if rest.is_empty() {
        return Ok(WATCH);
    }
    let seconds = rest.parse::<f64>().ok().filter(|seconds| (0.1..=MAX_WATCH_S).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| format!("'{rest}' is no number of seconds from 0.1 on"))
}

fn unknown(name: &str) -> String {
    let alike = |known: &str| strsim::jaro_winkler(&known[1..], name.trim_start_matches('\\'));
    let nearest = HELP.iter().map(|(known, _, _)| *known).max_by(|a, b| alike(a).total_cmp(&alike(b)));
    match nearest.filter(|nearest| alike(nearest) >= ALIKE) {
        Some(nearest) => format!("there is no command {name}; did you mean {nearest}? \\? lists them"),
        None => format!("there is no command {name}; \\? lists them"),
    }
}

/// All commands, one a line.
pub(super) fn help() -> String {
    let lines = HELP.iter().map(|(name, words, meaning)| format!("  {:22} {meaning}\n", format!("{name} {words}")));
    let mut text: String = lines.collect();
    text.push_str("\nStatements end with a semicolon. Ctrl-C stops the one that runs.\n");
    text
}
