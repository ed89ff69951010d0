//! Which options has a session, and which values do they take? The actions SetSessionOptions, GetSessionOptions and CloseSession.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tidewater_query::{QueryEngine, Session};
use tidewater_storage::{Code, Error, Result};

use super::Client;
use super::messages::{
    CloseSessionResult, Closed, EmptyRequest, GetSessionOptionsResult, OptionError, OptionValue, Refusal,
    SessionOptionValue, SetSessionOptionsRequest, SetSessionOptionsResult,
};
use crate::App;
use crate::flight_sql::CATALOG;

/// The one that is no setting of SQL: there is one catalog.
const CATALOG_OPTION: &str = "catalog";

/// Longer values are none.
const MAX_VALUE_BYTES: usize = 1024;

/// All options with their longest values need a part of this. Without a bound the names of a message would take many times its size.
const MAX_BODY_BYTES: usize = 64 << 10;

/// What kind of value an option takes.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    /// At least 0; as text, too.
    Number,
}

/// Options that SQL sets as well, by the name that it has for them.
const SETTINGS: [(&str, &str, Kind); 5] = [
    ("schema", "schema", Kind::Text),
    ("timezone", "timezone", Kind::Text),
    ("statement_timeout_ms", "statement_timeout", Kind::Number),
    ("max_rows", "max_rows", Kind::Number),
    ("types", "types", Kind::Text),
];

/// SetSessionOptions: each option is set as a whole or not at all, whatever becomes of the others. `INVALID_REQUEST` for a message that
/// cannot be read; `NO_SESSION`, `MEMORY_PRESSURE`, `DISK_FULL`.
pub(crate) async fn set(app: &App, client: &Client, session: &Session, body: &[u8]) -> Result<Bytes> {
    let request: SetSessionOptionsRequest = read(body)?;
    if request.session_options.is_empty() {
        return Ok(SetSessionOptionsResult::default().encode_to_vec().into());
    }
    client.check_known_again()?;
    let (mut errors, mut changed) = (HashMap::new(), Vec::new());
    // What cannot be kept is not set.
    let own = session.with_own_settings();
    for (name, value) in request.session_options {
        match set_one(&app.query, &own, &name, value.option_value) {
            Ok(set) => changed.extend(set),
            Err(refusal) => {
                errors.insert(name, OptionError { value: refusal.into() });
            }
        }
    }
    if !changed.is_empty() {
        client.keep(app, session, changed).await?;
    }
    Ok(SetSessionOptionsResult { errors }.encode_to_vec().into())
}

/// Sets an option, or unsets it without a value; returns the setting of SQL that it is, and its value if there is one.
fn set_one(
    query: &QueryEngine,
    session: &Session,
    name: &str,
    value: Option<OptionValue>,
) -> std::result::Result<Option<(&'static str, Option<String>)>, Refusal> {
    let value = value.filter(|value| !matches!(value, OptionValue::Text(text) if text.is_empty()));
    if name == CATALOG_OPTION {
        return match value {
            None => Ok(None),
            Some(OptionValue::Text(catalog)) if catalog == CATALOG => Ok(None),
            Some(_) => Err(Refusal::InvalidValue),
        };
    }
    let Some((_, setting, kind)) = SETTINGS.into_iter().find(|(option, ..)| *option == name) else {
        return Err(Refusal::InvalidName);
    };
    let text = match (kind, value) {
        (_, None) => None,
        (Kind::Text, Some(OptionValue::Text(text))) if text.len() <= MAX_VALUE_BYTES => Some(text),
        (Kind::Number, Some(OptionValue::Int64(number))) if number >= 0 => Some(number.to_string()),
        (Kind::Number, Some(OptionValue::Text(text))) => {
            let number = text.trim().parse::<u64>().map_err(|_| Refusal::InvalidValue)?;
            Some(number.to_string())
        }
        _ => return Err(Refusal::InvalidValue),
    };
    query.set(session, setting, text.as_deref()).map_err(|_| Refusal::InvalidValue)?;
    Ok(Some((setting, text)))
}

/// GetSessionOptions: what holds now, set or by default. `INVALID_REQUEST` for a message that cannot be read.
pub(crate) fn get(session: &Session, body: &[u8]) -> Result<Bytes> {
    let EmptyRequest {} = read(body)?;
    let settings = session.settings.lock().clone();
    let text = |text: &str| OptionValue::Text(text.to_owned());
    let options = [
        (CATALOG_OPTION, text(CATALOG)),
        ("schema", text(&settings.schema)),
        ("timezone", text(&settings.timezone)),
        ("statement_timeout_ms", OptionValue::Int64(milliseconds(settings.statement_timeout))),
        ("max_rows", OptionValue::Int64(i64::try_from(settings.max_rows).unwrap_or(i64::MAX))),
        ("types", text(session.types().as_str())),
    ];
    let session_options = options
        .into_iter()
        .map(|(name, value)| (name.to_owned(), SessionOptionValue { option_value: Some(value) }))
        .collect();
    Ok(GetSessionOptionsResult { session_options }.encode_to_vec().into())
}

/// CloseSession: closed, whether there was one or not. `INVALID_REQUEST` for a message that cannot be read, `DISK_FULL`.
pub(crate) async fn closed(app: &App, client: &Client, body: &[u8]) -> Result<Bytes> {
    let EmptyRequest {} = read(body)?;
    client.close(app).await?;
    Ok(CloseSessionResult { status: Closed::Closed.into() }.encode_to_vec().into())
}

fn read<M: Message + Default>(body: &[u8]) -> Result<M> {
    if body.len() > MAX_BODY_BYTES {
        let message = format!("the action's body has {} bytes; at most {MAX_BODY_BYTES} are read", body.len());
        return Err(Error::new(Code::InvalidRequest, message).hint("send fewer options at once"));
    }
    M::decode(body)
        .map_err(|error| Error::new(Code::InvalidRequest, format!("the action's body cannot be read: {error}")))
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
