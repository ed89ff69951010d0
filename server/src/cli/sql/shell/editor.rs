//! How is a line typed? The editor of the terminal: history in a file, completion, colours, lines that go on.

use std::borrow::Cow;
use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;
use reedline::{
    Color, ColumnarMenu, Completer, CompletionResult, DefaultHinter, Emacs, FileBackedHistory, Highlighter, History,
    HistoryItem, HistoryItemId, HistorySessionId, KeyCode, KeyModifiers, MenuBuilder, Prompt, PromptEditMode,
    PromptHistorySearch, PromptHistorySearchStatus, Reedline, ReedlineEvent, ReedlineMenu, SearchQuery, Span,
    StyledText, Suggestion, ValidationResult, Validator, default_emacs_keybindings,
};

use super::input::{self, Kind};
use super::names::Names;
use crate::cli::terminal::say;

const HISTORY_LINES: usize = 10_000;
const MENU: &str = "names";

/// An editor that completes what is in `names`.
pub(super) fn editor(names: Arc<RwLock<Names>>) -> Reedline {
    let mut keys = default_emacs_keybindings();
    let complete = ReedlineEvent::UntilFound(vec![ReedlineEvent::Menu(MENU.to_owned()), ReedlineEvent::MenuNext]);
    keys.add_binding(KeyModifiers::NONE, KeyCode::Tab, complete);
    let menu = ReedlineMenu::EngineCompleter(Box::new(ColumnarMenu::default().with_name(MENU)));
    let editor = Reedline::create()
        .with_validator(Box::new(Whole))
        .with_completer(Box::new(NameCompleter(names)))
        .with_partial_completions(true)
        .with_quick_completions(true)
        .with_menu(menu)
        .with_edit_mode(Box::new(Emacs::new(keys)))
        .with_highlighter(Box::new(Colours))
        .with_hinter(Box::new(DefaultHinter::default()))
        .with_ansi_colors(std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()))
        .use_bracketed_paste(true);
    match history() {
        Ok(history) => editor.with_history(Box::new(history)),
        Err(reason) => {
            say(&format!("warning: statements of this shell are not remembered: {reason:#}"));
            editor
        }
    }
}

struct Whole;

impl Validator for Whole {
    fn validate(&self, text: &str) -> ValidationResult {
        if input::is_whole(text) { ValidationResult::Complete } else { ValidationResult::Incomplete }
    }
}

struct NameCompleter(Arc<RwLock<Names>>);

impl Completer for NameCompleter {
    fn complete(&mut self, line: &str, pos: usize) -> CompletionResult {
        let (start, found) = self.0.read().candidates(line, pos);
        let span = Span::new(start, pos.max(start));
        let suggestion = |value: String| Suggestion {
            append_whitespace: !value.ends_with('.'),
            value,
            span,
            ..Suggestion::default()
        };
        CompletionResult::fresh(found.into_iter().map(suggestion).collect::<Vec<_>>())
    }
}

struct Colours;

impl Highlighter for Colours {
    fn highlight(&self, line: &str, _cursor: usize) -> StyledText {
        let mut text = StyledText::new();
        for (kind, word) in input::words(line) {
            let style = match kind {
                Kind::Plain => Color::Default.normal(),
                Kind::Keyword | Kind::Command => Color::Blue.bold(),
                Kind::Quoted => Color::Green.normal(),
                Kind::Comment => Color::DarkGray.normal(),
            };
            text.push((style, word.to_owned()));
        }
        text
    }
}

/// Where the shell is, before each line.
pub(super) struct ServerPrompt(pub(super) String);

impl Prompt for ServerPrompt {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.0)
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_indicator(&self, _mode: PromptEditMode) -> Cow<'_, str> {
        Cow::Borrowed("> ")
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        Cow::Borrowed("... ")
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        let found = match search.status {
            PromptHistorySearchStatus::Passing => "",
            PromptHistorySearchStatus::Failing => "nothing found, ",
        };
        Cow::Owned(format!("({found}search: {}) ", search.term))
    }
}

/// The file of the history, which nobody else may read: statements hold data.
fn history() -> anyhow::Result<WithoutSecrets> {
    let file = history_file(|name| std::env::var_os(name).map(PathBuf::from))
        .ok_or_else(|| anyhow::anyhow!("neither XDG_STATE_HOME nor HOME names a folder"))?;
    make_private(&file)?;
    Ok(WithoutSecrets(FileBackedHistory::with_file(HISTORY_LINES, file)?))
}

/// `$XDG_STATE_HOME/tidewater/history`, by default in `~/.local/state`. A folder that is not named from the root on does not count.
pub(super) fn history_file(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let named = |name: &str| variable(name).filter(|path| path.is_absolute());
    let state = named("XDG_STATE_HOME").or_else(|| named("HOME").map(|folder| folder.join(".local/state")))?;
    Some(state.join("tidewater/history"))
}

pub(super) fn make_private(file: &Path) -> std::io::Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let made = OpenOptions::new().create(true).append(true).mode(0o600).open(file)?;
    made.set_permissions(Permissions::from_mode(0o600))
}

/// A history that forgets at once what holds a secret.
pub(super) struct WithoutSecrets(pub(super) FileBackedHistory);

impl History for WithoutSecrets {
    fn save(&mut self, item: HistoryItem) -> reedline::Result<HistoryItem> {
        if input::is_secret(&item.command_line) {
            return Ok(item);
        }
        self.0.save(item)
    }

    fn load(&self, id: HistoryItemId) -> reedline::Result<HistoryItem> {
        self.0.load(id)
    }

    fn count(&self, query: SearchQuery) -> reedline::Result<i64> {
        self.0.count(query)
    }

    fn search(&self, query: SearchQuery) -> reedline::Result<Vec<HistoryItem>> {
        self.0.search(query)
    }

    fn update(&mut self, id: HistoryItemId, updater: &dyn Fn(HistoryItem) -> HistoryItem) -> reedline::Result<()> {
        self.0.update(id, updater)
    }

    fn clear(&mut self) -> reedline::Result<()> {
        self.0.clear()
    }

    fn delete(&mut self, id: HistoryItemId) -> reedline::Result<()> {
        self.0.delete(id)
    }

    fn sync(&mut self) -> std::io::Result<()> {
        self.0.sync()
    }

    fn session(&self) -> Option<HistorySessionId> {
        self.0.session()
    }
}
