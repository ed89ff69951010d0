//! Who may ask? Users and tokens, listed and changed from the command line.

use std::io::{BufRead, IsTerminal};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array};
use tidewater_client::{Client, Grant as SaidGrant, Token, TokenLimits, TokenOptions, User, UserChange};
use tidewater_query::{Grant, Role};

use super::Usage;
use super::args::{NewPasswordArgs, OutputFormat, Remote, TokenArgs, TokenCommand, UserArgs, UserCommand};
use super::sql::Printer;
use super::terminal::{print, say};

pub(super) async fn users(server: &Remote, args: UserArgs) -> anyhow::Result<()> {
    let client = super::connect(server).await?;
    match args.command {
        UserCommand::List { format } => print_users(&client.users().await?, format)?,
        UserCommand::Create { name, grants, password, no_password } => {
            let password = if no_password { None } else { Some(new_password(&password, &name)?) };
            client.create_user(&name, password, said(&grants)).await?;
            say(&format!("user '{name}' was made"));
            if grants.is_empty() {
                say(&format!(
                    "without grants it may not do anything yet: tidewater user alter {name} --grant ROLE:TABLES"
                ));
            }
        }
        UserCommand::Alter { name, password, new, current_password_file, grants, no_grants, disable, enable } => {
            let is_password = password || new.new_password_file.is_some();
            let change = UserChange {
                password: is_password.then(|| new_password(&new, &name)).transpose()?,
                current_password: current_password_file.as_deref().map(first_line).transpose()?,
                grants: (no_grants || !grants.is_empty()).then(|| said(&grants)),
                disabled: (disable || enable).then_some(disable),
            };
            if change.password.is_none() && change.grants.is_none() && change.disabled.is_none() {
                let message = "nothing is to be changed: say --password, --grant, --no-grants, --disable or --enable";
                return Err(Usage(message.to_owned()).into());
            }
            alter(&client, &name, change).await?;
            say(&format!("user '{name}' was changed"));
        }
        UserCommand::Drop { name } => {
            let n_tokens = client.drop_user(&name).await?;
            say(&format!("user '{name}' was dropped, tokens revoked: {n_tokens}"));
        }
    }
    Ok(())
}

pub(super) async fn tokens(server: &Remote, args: TokenArgs) -> anyhow::Result<()> {
    let client = super::connect(server).await?;
    match args.command {
        TokenCommand::List { user, format } => print_tokens(&client.tokens(user.as_deref()).await?, format)?,
        TokenCommand::Create {
            user,
            label,
            grants,
            expires_in,
            requests_per_second,
            bytes_per_second,
            concurrent_queries,
        } => {
            let limits = TokenLimits {
                requests_per_second: requests_per_second.unwrap_or_default(),
                bytes_per_second: bytes_per_second.unwrap_or_default(),
                concurrent_queries: concurrent_queries.unwrap_or_default(),
            };
            let options = TokenOptions { user, label, grants: said(&grants), expires_in, limits };
            let made = client.create_token(options).await?;
            say(&format!("token '{}' of user '{}'; it is not shown again:", made.token.id, made.token.user));
            print(&format!("{}\n", made.secret))?;
        }
        TokenCommand::Revoke { id } => {
            // Whoever pastes the whole token means it all the more.
            let id = id.strip_prefix("tw_").and_then(|rest| rest.split('_').next()).unwrap_or(&id);
            client.revoke_token(id).await?;
            say(&format!("token '{id}' was revoked"));
        }
    }
    Ok(())
}

/// Changes a user. Whoever is no admin is asked for the password as it is now.
async fn alter(client: &Client, name: &str, change: UserChange) -> anyhow::Result<()> {
    let is_own_password = change.password.is_some() && change.grants.is_none() && change.disabled.is_none();
    match client.alter_user(name, change.clone()).await {
        Err(error) if is_own_password && change.current_password.is_none() && error.reason() == "INVALID_REQUEST" => {
            let current = ask(&format!("Current password of {name}: "))?;
            client.alter_user(name, UserChange { current_password: Some(current), ..change }).await?;
        }
        outcome => {
            outcome?;
        }
    }
    Ok(())
}

/// From the file, or asked for twice.
fn new_password(args: &NewPasswordArgs, name: &str) -> anyhow::Result<String> {
    if let Some(file) = &args.new_password_file {
        return first_line(file);
    }
    let password = ask(&format!("New password of {name}: "))?;
    if ask("Once more: ")? != password {
        bail!("the two passwords differ");
    }
    Ok(password)
}

fn ask(prompt: &str) -> anyhow::Result<String> {
    if !std::io::stderr().is_terminal() {
        let message =
            "there is no terminal to ask for a password: name a file with --new-password-file, - for standard input";
        return Err(Usage(message.to_owned()).into());
    }
    rpassword::prompt_password(prompt).context("the password cannot be read from the terminal")
}

/// The first line of a file; `-` is standard input.
fn first_line(file: &Path) -> anyhow::Result<String> {
    let mut line = String::new();
    let read = match file == Path::new("-") {
        true => std::io::stdin().lock().read_line(&mut line),
        false => std::fs::File::open(file).and_then(|file| std::io::BufReader::new(file).read_line(&mut line)),
    };
    read.with_context(|| format!("no password can be read from {}", file.display()))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn said(grants: &[Grant]) -> Vec<SaidGrant> {
    let said = |grant: &Grant| {
        let role = match grant.role {
            Role::Reader => tidewater_client::Role::Reader,
            Role::Writer => tidewater_client::Role::Writer,
            Role::Admin => tidewater_client::Role::Admin,
        };
        SaidGrant { role: role.into(), tables: grant.tables.to_string() }
    };
    grants.iter().map(said).collect()
}

/// Grants as they are written on the command line.
fn written(grants: &[SaidGrant]) -> String {
    let one = |grant: &SaidGrant| {
        let role = match grant.role() {
            tidewater_client::Role::Reader => "reader",
            tidewater_client::Role::Writer => "writer",
            tidewater_client::Role::Admin => "admin",
            tidewater_client::Role::Unspecified => "unknown",
        };
        format!("{role}:{}", grant.tables)
    };
    grants.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn print_users(users: &[User], format: Option<OutputFormat>) -> anyhow::Result<()> {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("name", texts(users, |user| user.name.clone())),
        ("grants", texts(users, |user| written(&user.grants))),
        ("has_password", Arc::new(BooleanArray::from_iter(users.iter().map(|user| Some(user.has_password))))),
        ("disabled", Arc::new(BooleanArray::from_iter(users.iter().map(|user| Some(user.disabled))))),
        ("created_at", times(users, |user| user.created_at)),
        ("changed_at", times(users, |user| user.changed_at)),
    ];
    print_rows(columns, format)
}

fn print_tokens(tokens: &[Token], format: Option<OutputFormat>) -> anyhow::Result<()> {
    let limit = |of: fn(&TokenLimits) -> u64| -> ArrayRef {
        let limits = tokens.iter().map(|token| token.limits.as_ref().map(of).filter(|limit| *limit > 0));
        Arc::new(UInt64Array::from_iter(limits))
    };
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", texts(tokens, |token| token.id.clone())),
        ("user", texts(tokens, |token| token.user.clone())),
        ("label", texts(tokens, |token| token.label.clone())),
        ("grants", texts(tokens, |token| written(&token.grants))),
        ("created_at", times(tokens, |token| token.created_at)),
        ("expires_at", times(tokens, |token| token.expires_at)),
        ("requests_per_second", limit(|limits| u64::from(limits.requests_per_second))),
        ("bytes_per_second", limit(|limits| limits.bytes_per_second)),
        ("concurrent_queries", limit(|limits| u64::from(limits.concurrent_queries))),
    ];
    print_rows(columns, format)
}

fn print_rows(columns: Vec<(&str, ArrayRef)>, format: Option<OutputFormat>) -> anyhow::Result<()> {
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))?;
    let mut printer = Printer::new(format);
    printer.begin(&batch.schema())?;
    printer.batch(batch)?;
    printer.end()
}

fn texts<T>(rows: &[T], of: impl Fn(&T) -> String) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(rows.iter().map(of)))
}

fn times<T>(rows: &[T], of: impl Fn(&T) -> Option<prost_types::Timestamp>) -> ArrayRef {
    let us = |row: &T| of(row).map(|time| time.seconds * 1_000_000 + i64::from(time.nanos) / 1_000);
    Arc::new(TimestampMicrosecondArray::from_iter(rows.iter().map(us)).with_timezone("UTC"))
}
