//! Who of a user's clients calls? It shows a cookie, or the bearer of its handshake, and is told what to show from now on.
//!
//! A session is named by the cookie that the server gave, else by the bearer of a handshake, each of which has one of its own. A client
//! without either is given a cookie when it sets something. ADBC keeps no cookies unless it is told to, and says nothing of that: it is
//! given one when it connects, and where that does not come back nothing can be set.

use parking_lot::Mutex;
use tidewater_query::Session;
use tidewater_storage::{Code, Error, Result};
use tonic::Response;
use tonic::metadata::{AsciiMetadataValue, MetadataMap};

use super::registry::{Sessions, Shared, expired};
use super::stored::{self, Changed};
use crate::App;
use crate::auth::{Login, Secret, SessionId};
use crate::call::authorization;

/// The cookie that names a session; clients know it by this name.
const SESSION_COOKIE: &str = "arrow_flight_session_id";

/// The cookie that shows whether a client keeps cookies.
const PROBE: &str = "tidewater_cookies=1; HttpOnly; Path=/";

/// How clients introduce themselves that keep no cookies by themselves: ADBC, and the one for Rust.
const FORGETFUL: [&str; 2] = ["ADBC Flight SQL Driver", "tidewater-client/"];

/// What a call shows of its client.
pub(crate) struct Client {
    user: String,
    /// The session that the client names by cookie: `Some(None)` is one that no server gave.
    cookie: Option<Option<SessionId>>,
    login: Option<Login>,
    /// It keeps no cookies, or has not been asked whether it does.
    is_unproved: bool,
    /// Headers of the answer.
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    cookie: Option<String>,
    bearer: Option<Secret>,
}

impl Client {
    pub fn of(app: &App, user: &str, metadata: &MetadataMap) -> Self {
        let header = authorization(metadata);
        // Without access control a bearer is of no meaning but for its session.
        let login = Login::of(&app.storage, header.as_deref()).filter(|login| login.user() == user);
        let agent = metadata.get("user-agent").and_then(|agent| agent.to_str().ok()).unwrap_or_default();
        let is_forgetful = FORGETFUL.iter().any(|name| agent.starts_with(name));
        let is_unproved = is_forgetful && !metadata.contains_key("cookie") && login.is_none();
        Self { user: user.to_owned(), cookie: session_cookie(metadata), login, is_unproved, told: Mutex::default() }
    }

    /// Whether the client shows, or can be trusted to show from now on, what names its session.
    pub fn is_known_again(&self) -> bool {
        !self.is_unproved
    }

    /// `NO_SESSION` if it does not.
    pub fn check_known_again(&self) -> Result<()> {
        if self.is_known_again() { Ok(()) } else { Err(unproved()) }
    }

    /// The settings of its session; `None` if it has not begun one. `HANDLE_NOT_FOUND` for a session that has ended: to go on without what
    /// was set in it would give other answers.
    pub fn settings(&self, sessions: &Sessions) -> Result<Option<Shared>> {
        match (&self.cookie, &self.login) {
            (Some(cookie), _) => {
                let found = cookie.and_then(|id| sessions.get(id, &self.user));
                found.map(Some).ok_or_else(expired)
            }
            (None, Some(login)) => match sessions.get(login.session(), &self.user) {
                Some(settings) => Ok(Some(settings)),
                // Its first bearer, which a client may show for ever, does not say whether anything was set later.
                None if login.has_settings() => Err(expired()),
                None if sessions.may_have_ended(login.session(), &self.user, login.issued_at_us()) => Err(expired()),
                None => Ok(None),
            },
            (None, None) => Ok(None),
        }
    }

    /// From now on the settings of `session` with these changes hold for the client's calls, also after a restart. `NO_SESSION` if it would
    /// not be known again; without a change `HANDLE_NOT_FOUND`, `MEMORY_PRESSURE`, `DISK_FULL`.
    pub async fn keep(&self, app: &App, session: &Session, changed: Changed) -> Result<()> {
        self.check_known_again()?;
        let named = self.cookie.flatten().or_else(|| self.login.as_ref().map(Login::session));
        let id = named.unwrap_or_else(|| new_id(app));
        let is_new = app.kept.sessions.get(id, &self.user).is_none();
        stored::keep(app, &self.user, id, session, changed).await?;
        if is_new {
            self.tell_session(app, id);
        }
        Ok(())
    }

    /// The session ends, if there is one. The bearer stays what it is. `DISK_FULL`.
    pub async fn close(&self, app: &App) -> Result<()> {
        let named = self.cookie.flatten().into_iter().chain(self.login.as_ref().map(Login::session));
        stored::end(app, &self.user, &named.collect::<Vec<_>>()).await?;
        let mut told = self.told.lock();
        if self.cookie.is_some() {
            told.cookie = Some(format!("{SESSION_COOKIE}=; HttpOnly; Path=/; Max-Age=0"));
        }
        if let Some(login) = &self.login {
            told.bearer = login.has_settings().then(|| login.saying(&app.storage, false));
        }
        Ok(())
    }

    /// Finds out whether the client keeps cookies, if that matters.
    pub fn probe(&self) {
        if self.is_unproved {
            self.told.lock().cookie = Some(PROBE.to_owned());
        }
    }

    /// Puts into the headers of an answer what the client is to show from now on.
    pub fn tell<T>(&self, app: &App, response: &mut Response<T>) {
        let Told { cookie, bearer } = std::mem::take(&mut *self.told.lock());
        let headers = response.metadata_mut();
        if let Some(Ok(cookie)) = cookie.map(AsciiMetadataValue::try_from) {
            headers.insert("set-cookie", cookie);
        }
        let bearer = bearer.or_else(|| self.login.as_ref().and_then(|login| login.renewed(&app.storage)));
        let bearer = bearer.map(|bearer| AsciiMetadataValue::try_from(format!("Bearer {}", bearer.expose())));
        if let Some(Ok(mut bearer)) = bearer {
            bearer.set_sensitive(true);
            headers.insert("authorization", bearer);
        }
    }

    fn tell_session(&self, app: &App, id: SessionId) {
        let SessionId(bytes) = id;
        let mut told = self.told.lock();
        let id: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        told.cookie = Some(format!("{SESSION_COOKIE}={id}; HttpOnly; Path=/"));
        // A folder that was restored from a backup knows of no session: the bearer says that something was set.
        told.bearer = self.login.as_ref().map(|login| login.saying(&app.storage, true));
    }
}

fn new_id(app: &App) -> SessionId {
    let mut id = [0; 16];
    app.storage.env().rng.fill(&mut id);
    SessionId(id)
}

/// The cookie that names a session, of all cookies in all headers.
fn session_cookie(metadata: &MetadataMap) -> Option<Option<SessionId>> {
    let headers = metadata.get_all("cookie").iter().filter_map(|header| header.to_str().ok());
    let mut pairs = headers.flat_map(|header| header.split(';')).filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.trim() == SESSION_COOKIE)?;
    Some(parse_id(value.trim().trim_matches('"')))
}

fn parse_id(text: &str) -> Option<SessionId> {
    if text.len() != 32 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(text, 16).ok().map(|id| SessionId(id.to_be_bytes()))
}

fn unproved() -> Error {
    Error::new(Code::NoSession, "this client is not known again by its next call, so what it sets would be forgotten")
        .hint("log in with a name and a password, or set the option adbc.flight.sql.rpc.with_cookie_middleware=true")
}
