//! What does the shell do with a line? It obeys a command, or runs statements and says how each went.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::FutureExt;
use tidewater_client::{Client, Error};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use super::SharedNames;
use super::command::{self, Command};
use super::input::changes_names;
use super::names::Names;
use super::report;
use crate::cli::args::OutputFormat;
use crate::cli::sql::output::Printer;
use crate::cli::sql::run::{self, Done};
use crate::cli::sql::split::split_statements;
use crate::cli::table::{literal, split_name};
use crate::cli::terminal::{print, say};

/// How often a statement is cancelled that the server does not know yet.
const ASK_AGAIN: Duration = Duration::from_millis(100);

const TABLES: &str = "SELECT schema, name, realtime_rows + built_rows + sealed_rows AS rows, key_columns, time_column, \
                      last_write_at, health FROM system.tables ORDER BY schema, name";

const ALL_NAMES: &str = "SELECT table_schema AS schema, table_name AS name, \
                         CASE table_type WHEN 'VIEW' THEN 'view' ELSE 'table' END AS kind FROM information_schema.tables \
                         WHERE table_schema NOT IN ('system', 'information_schema') ORDER BY table_schema, table_name";

/// Whether another line is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Line,
    End,
}

pub(super) struct Session {
    client: Client,
    names: SharedNames,
    interrupts: Signal,
    /// Ctrl-C came since the line was typed: nothing more of it is begun, even if the statement that ran came to its end.
    is_stopped: bool,
    /// What SET changed.
    settings: HashMap<String, String>,
    format: OutputFormat,
    is_expanded: bool,
    is_timed: bool,
    /// Where the next answer goes instead of the screen.
    output: Option<PathBuf>,
    /// The last statement, for `\watch`.
    last: Option<String>,
}

impl Session {
    pub(super) async fn start(
        client: Client,
        names: SharedNames,
        format: Option<OutputFormat>,
    ) -> anyhow::Result<Self> {
        let interrupts = signal(SignalKind::interrupt())?;
        let mut session = Self {
            client,
            names,
            interrupts,
            is_stopped: false,
            settings: HashMap::new(),
            format: format.unwrap_or(OutputFormat::Table),
            is_expanded: false,
            is_timed: true,
            output: None,
            last: None,
        };
        session.refresh().await;
        Ok(session)
    }

    /// Obeys or runs what was typed.
    pub(super) async fn line(&mut self, line: &str) -> Next {
        // A Ctrl-C that came while nothing ran was meant for nothing; between two statements it is meant for what follows.
        while self.interrupts.recv().now_or_never().flatten().is_some() {}
        self.is_stopped = false;
        match command::parse(line) {
            Some(Ok(Command::Quit)) => return Next::End,
            Some(Ok(command)) => self.obey(command).await,
            Some(Err(reason)) => say(&format!("error: {reason}")),
            None => {
                self.statements(line).await;
            }
        }
        Next::Line
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Quit => {}
            Command::Help => show(&command::help()),
            Command::Describe(Some(name)) => self.describe(&name).await,
            Command::Describe(None) => self.list(ALL_NAMES).await,
            Command::Tables => self.list(TABLES).await,
            Command::Views => self.list("SHOW VIEWS").await,
            Command::Schemas => self.list("SHOW SCHEMAS").await,
            Command::Timing(to) => {
                self.is_timed = to.unwrap_or(!self.is_timed);
                say(&format!("timing is {}", on_or_off(self.is_timed)));
            }
            Command::Expanded(to) => {
                self.is_expanded = to.unwrap_or(!self.is_expanded);
                say(&format!("one line a column is {}", on_or_off(self.is_expanded)));
            }
            Command::Format(to) => {
                if let Some(format) = to {
                    (self.format, self.is_expanded) = (format, false);
                }
                say(&format!("the form is {:?}", self.shown()).to_lowercase());
            }
            Command::Output(path) => {
                say(&format!("the next answer goes into {}", path.display()));
                self.output = Some(path);
            }
            Command::Include(path) => self.include(&path).await,
            Command::Watch(interval) => self.watch(interval).await,
        }
    }

    /// The form on the screen.
    fn shown(&self) -> OutputFormat {
        if self.is_expanded { OutputFormat::Expanded } else { self.format }
    }

    /// Runs statements until one fails; whether none did.
    async fn statements(&mut self, text: &str) -> bool {
        for statement in split_statements(text) {
            self.last = Some(statement.to_owned());
            if !self.statement(statement).await {
                return false;
            }
        }
        true
    }

    async fn include(&mut self, path: &Path) {
        match std::fs::read_to_string(path) {
            Ok(text) => {
                self.statements(&text).await;
            }
            Err(reason) => say(&format!("error: {} cannot be read: {reason}", path.display())),
        }
    }

    /// Runs one statement, prints its answer and what it took; whether it went well.
    async fn statement(&mut self, statement: &str) -> bool {
        let started = Instant::now();
        let printer = match &self.output {
            Some(path) => Printer::to_file(path, None),
            None => Ok(Printer::new(Some(self.shown())).without_count()),
        };
        let outcome = match printer {
            Ok(printer) => self.run(statement, printer).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(done) => {
                self.say_done(&done, started.elapsed());
                if !done.is_update {
                    self.output = None;
                }
                self.settings.extend(done.summary.settings);
            }
            Err(error) => {
                say_error(statement, &error);
                self.output = None;
                return false;
            }
        }
        if changes_names(statement) {
            self.refresh().await;
        }
        !self.is_stopped
    }

    async fn run(&mut self, statement: &str, mut printer: Printer) -> anyhow::Result<Done> {
        let query_id = uuid::Uuid::new_v4().to_string();
        let mut request = run::request(statement, &self.settings);
        request.query_id.clone_from(&query_id);
        let work = run::execute(&self.client, request, &mut printer);
        let interrupts = (&mut self.interrupts, &mut self.is_stopped);
        let done = until_interrupted(&self.client, &query_id, interrupts, work).await?;
        if !done.is_update {
            printer.finish()?;
        }
        Ok(done)
    }

    fn say_done(&self, done: &Done, took: Duration) {
        for notice in &done.summary.notices {
            say(&format!("notice: {notice}"));
        }
        if !self.is_timed {
            return;
        }
        say(&match done.is_update {
            true => report::of_update(took, &done.summary),
            false => report::of_rows(done.n_rows, took, &done.summary),
        });
    }

    /// A question of the shell's own, whose time is of no interest.
    async fn quietly(&mut self, statement: &str) -> bool {
        let is_timed = std::mem::replace(&mut self.is_timed, false);
        let went_well = self.statement(statement).await;
        self.is_timed = is_timed;
        went_well
    }

    async fn list(&mut self, statement: &str) {
        self.quietly(statement).await;
    }

    /// Columns, and of a table its figures.
    async fn describe(&mut self, name: &str) {
        let (schema, table) = match split_name(name) {
            Ok(parts) => parts,
            Err(error) => return say(&format!("error: {error:#}")),
        };
        if !self.quietly(&format!("DESCRIBE {name}")).await {
            return;
        }
        let figures = format!(
            "SELECT location, key_columns, time_column, sort_by, options, realtime_rows, built_rows, sealed_rows, \
             sealed_files, watermark, last_write_at, last_seal_at, health, health_reason FROM system.tables \
             WHERE schema = {} AND name = {}",
            literal(&schema),
            literal(&table)
        );
        let is_expanded = std::mem::replace(&mut self.is_expanded, true);
        self.quietly(&figures).await;
        self.is_expanded = is_expanded;
    }

    /// Runs the last statement again and again until Ctrl-C, or until it fails.
    async fn watch(&mut self, interval: Duration) {
        let Some(statement) = self.last.clone() else {
            return say("error: there is no statement to repeat yet");
        };
        while self.statement(&statement).await {
            say(&format!("every {interval:?}; Ctrl-C ends it"));
            tokio::select! {
                () = tokio::time::sleep(interval) => {}
                _ = self.interrupts.recv() => return,
            }
        }
    }

    /// Learns the names that there are now. Ctrl-C does without them.
    async fn refresh(&mut self) {
        tokio::select! {
            names = Names::fetch(&self.client) => *self.names.write() = names,
            _ = self.interrupts.recv() => self.is_stopped = true,
        }
    }
}

/// Waits for a statement. Ctrl-C cancels it, a second one does not wait for that: the connection is cut, which cancels it, too.
async fn until_interrupted(
    client: &Client,
    query_id: &str,
    (interrupts, is_stopped): (&mut Signal, &mut bool),
    work: impl Future<Output = anyhow::Result<Done>>,
) -> anyhow::Result<Done> {
    let mut work = std::pin::pin!(work);
    tokio::select! {
        outcome = &mut work => return outcome,
        _ = interrupts.recv() => {}
    }
    *is_stopped = true;
    say("cancelling; Ctrl-C once more does not wait for it");
    let mut cancelling = std::pin::pin!(cancel(client, query_id));
    let mut is_told = false;
    loop {
        tokio::select! {
            // It answers with an error of its own, or with what it came to after all.
            outcome = &mut work => return outcome,
            // Not even the server need answer for that.
            _ = interrupts.recv() => anyhow::bail!("cancelled; what the server had begun is not known here"),
            () = &mut cancelling, if !is_told => is_told = true,
        }
    }
}

/// Tells the server to stop a query. One that it does not know may be on its way there still.
async fn cancel(client: &Client, query_id: &str) {
    loop {
        match client.cancel(query_id).await {
            Ok(_) => return,
            Err(error) if error.reason() == "QUERY_NOT_FOUND" => tokio::time::sleep(ASK_AGAIN).await,
            Err(error) => return say(&format!("it cannot be cancelled: {error}")),
        }
    }
}

fn say_error(statement: &str, error: &anyhow::Error) {
    say(&format!("error: {error:#}"));
    let message = error.downcast_ref::<Error>().map(Error::message);
    if let Some(place) = message.and_then(|message| report::place(statement, message)) {
        say(&place);
    }
}

/// Nobody is left to tell if even this cannot be printed.
fn show(text: &str) {
    let _ = print(text);
}

fn on_or_off(is_on: bool) -> &'static str {
    if is_on { "on" } else { "off" }
}
