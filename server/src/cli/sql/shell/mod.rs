//! How does a person work with a server by hand? A line is read, run and answered, until they have enough.

mod command;
mod editor;
mod input;
mod names;
mod report;
mod session;

#[cfg(test)]
mod tests;

use std::io::IsTerminal;
use std::sync::Arc;

use parking_lot::RwLock;
use reedline::Signal;
use tidewater_client::Client;

use self::editor::ServerPrompt;
use self::session::{Next, Session};
use crate::cli::args::{OutputFormat, Remote};
use crate::cli::terminal::say;

/// Somebody sits there, and the terminal can do more than print.
pub(super) fn is_possible() -> bool {
    let is_plain = std::env::var_os("TERM").is_none_or(|terminal| terminal.is_empty() || terminal == "dumb");
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal() && !is_plain
}

pub(super) async fn run(client: Client, server: &Remote, format: Option<OutputFormat>) -> anyhow::Result<()> {
    let names: SharedNames = Arc::default();
    let mut session = Session::start(client, Arc::clone(&names), format).await?;
    let mut editor = editor::editor(names);
    let prompt = ServerPrompt(format!("tidewater {server}"));
    say(&format!("tidewater {}; \\? lists what can be done here, Ctrl-D ends", crate::version::VERSION));
    loop {
        // The editor waits for keys, which is no business of the threads that serve connections.
        let signal = tokio::task::block_in_place(|| editor.read_line(&prompt))?;
        let line = match signal {
            Signal::Success(line) => line,
            Signal::CtrlD => return Ok(()),
            // What was typed so far is dropped.
            _ => continue,
        };
        // A shell that is killed has still remembered.
        let _ = editor.sync_history();
        if session.line(&line).await == Next::End {
            return Ok(());
        }
    }
}

/// Names that the editor reads and the session refreshes.
type SharedNames = Arc<RwLock<names::Names>>;
