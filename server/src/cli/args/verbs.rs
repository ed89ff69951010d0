//! What can be written behind the verbs that look at a server or a machine?

use std::path::PathBuf;

use clap::{Args, CommandFactory, Subcommand, ValueEnum};

use super::{Cli, OutputFormat, SettingArgs};

/// `segment` and `producer`.
#[derive(Debug, Args)]
pub struct OfTableArgs {
    #[command(subcommand)]
    pub command: OfTableCommand,
}

#[derive(Debug, Subcommand)]
pub enum OfTableCommand {
    /// Of one table, or of all
    List {
        /// TABLE or SCHEMA.TABLE [default: all tables]
        table: Option<String>,
        #[arg(long, value_enum)]
        format: Option<OutputFormat>,
    },
}

#[derive(Debug, Args)]
pub struct QueryArgs {
    #[command(subcommand)]
    pub command: QueryCommand,
}

#[derive(Debug, Subcommand)]
pub enum QueryCommand {
    /// Queries that run or wait
    List {
        /// Those that ended lately, too
        #[arg(long)]
        all: bool,
        #[arg(long, value_enum)]
        format: Option<OutputFormat>,
    },
    /// Stop a query; can be repeated
    Cancel {
        /// As in 'query list'
        id: String,
    },
}

#[derive(Debug, Args)]
pub struct EventsArgs {
    /// How many at most, the last ones
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: u32,
    #[arg(long, value_enum)]
    pub format: Option<OutputFormat>,
}

#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// TABLE or SCHEMA.TABLE [default: all tables]
    #[arg(value_name = "TABLE")]
    pub tables: Vec<String>,
    #[arg(long, value_enum)]
    pub format: Option<OutputFormat>,
}

#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Folder of all data [default: as 'serve' would have it here]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    #[command(flatten)]
    pub settings: SettingArgs,
    /// Form of the findings [default: one line each]
    #[arg(long, value_enum)]
    pub format: Option<OutputFormat>,
}

#[derive(Debug, Args)]
pub struct CompletionsArgs {
    #[arg(value_enum)]
    pub shell: Shell,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl CompletionsArgs {
    /// What the shell is to read.
    pub fn script(&self) -> String {
        let shell = match self.shell {
            Shell::Bash => clap_complete::Shell::Bash,
            Shell::Zsh => clap_complete::Shell::Zsh,
            Shell::Fish => clap_complete::Shell::Fish,
        };
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "tidewater", &mut script);
        String::from_utf8_lossy(&script).into_owned()
    }
}
