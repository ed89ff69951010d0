//! What can be written behind the verbs that say who may ask?

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use tidewater_query::Grant;

use super::OutputFormat;

#[derive(Debug, Args)]
pub struct UserArgs {
    #[command(subcommand)]
    pub command: UserCommand,
}

/// Where a new password comes from; never the command line, which everybody on the machine can read.
#[derive(Debug, Args)]
pub struct NewPasswordArgs {
    /// File whose first line is the new password; - is standard input [default: asked for on the terminal]
    #[arg(long, value_name = "FILE")]
    pub new_password_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// All users
    List {
        #[arg(long, value_enum)]
        format: Option<OutputFormat>,
    },
    /// Make a user; the password is asked for
    Create {
        name: String,
        /// reader, writer or admin on tables, such as writer:public.detections, reader:sales.* or admin:*; may be repeated
        #[arg(long = "grant", value_name = "ROLE:TABLES", value_parser = grant)]
        grants: Vec<Grant>,
        #[command(flatten)]
        password: NewPasswordArgs,
        /// Without a password: only tokens let this user in
        #[arg(long, conflicts_with = "new_password_file")]
        no_password: bool,
    },
    /// Change a user: what is not named stays
    Alter {
        name: String,
        /// Ask for another password, twice; of others only an admin may set it
        #[arg(long)]
        password: bool,
        #[command(flatten)]
        new: NewPasswordArgs,
        /// For who is no admin: file with the password as it is now [default: asked for]
        #[arg(long, value_name = "FILE")]
        current_password_file: Option<PathBuf>,
        /// All grants from now on; may be repeated
        #[arg(long = "grant", value_name = "ROLE:TABLES", value_parser = grant)]
        grants: Vec<Grant>,
        /// Take back all grants
        #[arg(long, conflicts_with = "grants")]
        no_grants: bool,
        /// Let the user in no more, neither with password nor with tokens
        #[arg(long)]
        disable: bool,
        /// Let the user in again
        #[arg(long, conflicts_with = "disable")]
        enable: bool,
    },
    /// Drop a user and revoke all their tokens
    Drop { name: String },
}

#[derive(Debug, Args)]
pub struct TokenArgs {
    #[command(subcommand)]
    pub command: TokenCommand,
}

#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Your tokens; for an admin those of all
    List {
        /// Tokens of this user
        #[arg(long = "for", value_name = "USER")]
        user: Option<String>,
        #[arg(long, value_enum)]
        format: Option<OutputFormat>,
    },
    /// Make a token and print it, this once
    Create {
        /// The user that it stands for [default: you]
        #[arg(long = "for", value_name = "USER")]
        user: Option<String>,
        /// What it is for
        #[arg(long, default_value = "", hide_default_value = true)]
        label: String,
        /// What it may do at most, such as writer:public.detections; may be repeated [default: all that the user may]
        #[arg(long = "grant", value_name = "ROLE:TABLES", value_parser = grant)]
        grants: Vec<Grant>,
        /// After which time it lets nobody in, such as 90d or 12h [default: never]
        #[arg(long = "expires-in", value_name = "TIME", value_parser = time_span)]
        expires_in: Option<Duration>,
        /// Requests and batches a second [default: the server's limit]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        requests_per_second: Option<u32>,
        /// Bytes of rows a second, as sent [default: the server's limit]
        #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
        bytes_per_second: Option<u64>,
        /// Statements at once [default: the server's limit]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        concurrent_queries: Option<u32>,
    },
    /// Let nobody in with a token any more
    Revoke {
        /// As in 'token list'; also the middle of the token itself, tw_ID_…
        id: String,
    },
}

fn time_span(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write it as 90d, 12h or '1h 30m'"))
}

fn grant(text: &str) -> Result<Grant, String> {
    text.parse::<Grant>().map_err(|error| match error.hint_text() {
        Some(hint) => format!("{}; {hint}", error.message()),
        None => error.message().to_owned(),
    })
}
