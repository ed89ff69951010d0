//! Which words can stand here? Names of the server's tables and columns, keywords, and the shell's own commands.

use std::collections::BTreeMap;

use arrow::array::AsArray;
use clap::ValueEnum;
use futures::TryStreamExt;
use tidewater_client::Client;

use super::command::HELP;
use super::input::{KEYWORDS, is_word};
use crate::cli::args::OutputFormat;
use crate::cli::table::{identifier, split_name};

/// More columns than this are not fetched: completion is no reason to ask for a whole catalog.
const MAX_COLUMNS: usize = 50_000;

/// So many are offered at once.
const MAX_CANDIDATES: usize = 200;

const DEFAULT_SCHEMA: &str = "public";

/// Columns by schema and table. System tables are among them.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Names {
    tables: BTreeMap<(String, String), Vec<String>>,
}

impl Names {
    /// What the server has now. Who cannot ask has no names, and types them.
    pub(super) async fn fetch(client: &Client) -> Self {
        Self::try_fetch(client).await.unwrap_or_default()
    }

    async fn try_fetch(client: &Client) -> anyhow::Result<Self> {
        let statement = format!(
            "SELECT table_schema, table_name, column_name FROM information_schema.columns \
             WHERE table_schema <> 'information_schema' ORDER BY table_schema, table_name, ordinal_position \
             LIMIT {MAX_COLUMNS}"
        );
        let mut rows = client.sql(&statement).await?;
        let mut names = Self::default();
        while let Some(batch) = rows.try_next().await? {
            let text = |column: usize| batch.columns().get(column).and_then(|column| column.as_string_opt::<i32>());
            let (Some(schemas), Some(tables), Some(columns)) = (text(0), text(1), text(2)) else { continue };
            for row in 0..batch.num_rows() {
                names.add(schemas.value(row), tables.value(row), columns.value(row));
            }
        }
        Ok(names)
    }

    pub(super) fn add(&mut self, schema: &str, table: &str, column: &str) {
        self.tables.entry((schema.to_owned(), table.to_owned())).or_default().push(column.to_owned());
    }

    /// What may stand in the place of the word before `at`, and where that word begins.
    pub(super) fn candidates(&self, text: &str, at: usize) -> (usize, Vec<String>) {
        let before = text.get(..at).unwrap_or(text);
        let start = before.rfind(|c: char| !is_part_of_name(c)).map_or(0, |at| at + width_at(before, at));
        let word = &before[start..];
        let mut found = match before.trim_start().strip_prefix('\\') {
            Some(_) => self.of_command(&before[..start], word),
            None => self.of_statement(&before[..start], word),
        };
        found.truncate(MAX_CANDIDATES);
        (start, found)
    }

    fn of_command(&self, before: &str, word: &str) -> Vec<String> {
        let begins = |candidate: &String| candidate.to_lowercase().starts_with(&word.to_lowercase());
        match before.trim() {
            "" => HELP.iter().map(|(name, ..)| (*name).to_owned()).filter(begins).collect(),
            "\\d" => self.of_name(word, false),
            "\\x" | "\\timing" => ["on", "off"].map(str::to_owned).into_iter().filter(begins).collect(),
            "\\format" => {
                let names = OutputFormat::value_variants().iter().filter_map(ValueEnum::to_possible_value);
                names.map(|value| value.get_name().to_owned()).filter(begins).collect()
            }
            _ => Vec::new(),
        }
    }

    fn of_statement(&self, before: &str, word: &str) -> Vec<String> {
        let previous = before.split_whitespace().next_back().unwrap_or_default().to_lowercase();
        let is_table =
            matches!(previous.as_str(), "from" | "join" | "into" | "table" | "describe" | "truncate" | "view");
        let mut found = self.of_name(word, !is_table);
        if !is_table && !word.is_empty() && !word.contains(['.', '"']) {
            let is_small = word.chars().any(char::is_lowercase);
            let keywords = KEYWORDS.iter().filter(|keyword| begins_with(keyword, word));
            found.extend(keywords.map(|keyword| if is_small { keyword.to_lowercase() } else { (*keyword).to_owned() }));
        }
        found
    }

    /// Names that go on as `word` begins: `t`, `schema.t`, `table.c`, `schema.table.c`.
    fn of_name(&self, word: &str, with_columns: bool) -> Vec<String> {
        let mut found = match word.rsplit_once('.') {
            None => self.unqualified(word, with_columns),
            Some((qualifier, last)) => self.qualified(qualifier, last, with_columns),
        };
        found.sort();
        found.dedup();
        found
    }

    fn unqualified(&self, word: &str, with_columns: bool) -> Vec<String> {
        let mut found = Vec::new();
        for ((schema, table), columns) in &self.tables {
            let is_usual = schema == DEFAULT_SCHEMA;
            if is_usual && begins_with(table, word) {
                found.push(written(table));
            }
            if !is_usual && begins_with(schema, word) {
                found.push(format!("{}.", written(schema)));
            }
            // Columns of system tables would drown the user's own.
            if with_columns && !word.is_empty() && schema != "system" {
                found.extend(columns.iter().filter(|column| begins_with(column, word)).map(|column| written(column)));
            }
        }
        found
    }

    fn qualified(&self, qualifier: &str, last: &str, with_columns: bool) -> Vec<String> {
        let mut found = Vec::new();
        if !qualifier.contains('.')
            && let Ok((_, schema)) = split_name(qualifier)
        {
            let tables = self.tables.keys().filter(|(own, table)| *own == schema && begins_with(table, last));
            found.extend(tables.map(|(_, table)| format!("{qualifier}.{}", written(table))));
        }
        if with_columns && let Ok(table) = split_name(qualifier) {
            let columns = self.tables.get(&table).into_iter().flatten().filter(|column| begins_with(column, last));
            found.extend(columns.map(|column| format!("{qualifier}.{}", written(column))));
        }
        found
    }
}

fn is_part_of_name(c: char) -> bool {
    is_word(c) || matches!(c, '.' | '"' | '\\' | '?')
}

fn width_at(text: &str, at: usize) -> usize {
    text[at..].chars().next().map_or(0, char::len_utf8)
}

/// Whether a name goes on as `word` begins, which may have a quote in front.
fn begins_with(name: &str, word: &str) -> bool {
    let word = word.trim_start_matches('"');
    name.get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(word))
}

/// A name as SQL takes it: in quotes where it would be folded or is a word of the language.
fn written(name: &str) -> String {
    let is_plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && !KEYWORDS.iter().any(|keyword| keyword.eq_ignore_ascii_case(name));
    if is_plain { name.to_owned() } else { identifier(name) }
}
