//! Who asks, with which settings? A session is what a connection (or a single request) carries from statement to statement.

mod access;
mod settings;
#[cfg(test)]
mod tests;
mod visible;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

pub use access::{Grant, Principal, Role, TablePattern};
pub(crate) use settings::{DESCRIPTIONS, canonical_name, change, show};
use tidewater_storage::{Code, Error, Result};
pub use visible::VisibleCatalog;

use crate::limits::DEFAULT_STATEMENT_TIMEOUT;
use crate::wire_types::Profile;

/// Through which interface; the text stands in `system.queries.interface`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interface {
    FlightSql,
    Grpc,
    Http,
    Internal,
}

impl Interface {
    pub fn as_str(self) -> &'static str {
        match self {
            Interface::FlightSql => "flight_sql",
            Interface::Grpc => "grpc",
            Interface::Http => "http",
            Interface::Internal => "internal",
        }
    }
}

/// What SET changes.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionSettings {
    /// IANA name or fixed offset such as `+02:00`.
    pub timezone: String,
    /// Up to one hour; default 5 minutes.
    pub statement_timeout: Duration,
    /// More rows are an error, never a shorter answer. 0: no cap.
    pub max_rows: u64,
    pub schema: String,
    /// Of Flight SQL; everywhere else types are portable. `None`: those that fit the client.
    pub types: Option<Profile>,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            timezone: "UTC".into(),
            statement_timeout: DEFAULT_STATEMENT_TIMEOUT,
            max_rows: 0,
            schema: "public".into(),
            types: None,
        }
    }
}

#[derive(Debug, Clone)]
pub struct Session {
    pub principal: Principal,
    pub interface: Interface,
    pub settings: Arc<Mutex<SessionSettings>>,
    /// Later statements see what SET changes. Elsewhere SET is refused: it would be taken and forgotten.
    keeps_settings: bool,
    /// What one request asks for, whatever is set.
    types: Option<Profile>,
    /// What fits the client, if nobody asks for anything.
    fitting_types: Profile,
    /// `None`: nobody takes anything back.
    caller_now: Option<CallerNow>,
}

/// Who the caller is by now; an error once nothing lets them in any more.
#[derive(Clone)]
struct CallerNow(Arc<dyn Fn() -> Result<Principal> + Send + Sync>);

impl fmt::Debug for CallerNow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallerNow")
    }
}

impl Session {
    /// A session with default settings. Inside the process it lives on; a request's ends with the request.
    pub fn new(principal: Principal, interface: Interface) -> Self {
        let keeps_settings = interface == Interface::Internal;
        let fitting_types = Profile::default();
        let settings = Arc::default();
        Self { principal, interface, settings, keeps_settings, types: None, fitting_types, caller_now: None }
    }

    /// The same, whose statements end when their caller loses what they began with: `now` says who that is by then, within microseconds.
    #[must_use]
    pub fn with_caller_now(mut self, now: impl Fn() -> Result<Principal> + Send + Sync + 'static) -> Self {
        self.caller_now = Some(CallerNow(Arc::new(now)));
        self
    }

    /// The error of the look-up, or `PERMISSION_DENIED`, once the caller has not all the rights any more that they began with.
    pub(crate) fn check_caller(&self) -> Result<()> {
        match &self.caller_now {
            Some(CallerNow(now)) => now()?.check_still_has(&self.principal),
            None => Ok(()),
        }
    }

    /// The same, whose client sends along with later statements what [`crate::UpdateOutcome::settings`] says.
    #[must_use]
    pub fn with_kept_settings(mut self) -> Self {
        self.keeps_settings = true;
        self
    }

    /// The same with settings that other requests share: what SET changes they see.
    #[must_use]
    pub fn with_settings(mut self, settings: Arc<Mutex<SessionSettings>>) -> Self {
        self.settings = settings;
        self
    }

    /// The same with settings of its own, which begin as these are: nobody else sees what is changed in them.
    #[must_use]
    pub fn with_own_settings(&self) -> Self {
        let own = self.settings.lock().clone();
        self.clone().with_settings(Arc::new(Mutex::new(own)))
    }

    /// Whether whoever runs its statements makes what SET came to hold for the later ones, from [`crate::UpdateOutcome::settings`].
    pub(crate) fn is_kept_by_caller(&self) -> bool {
        self.interface != Interface::Internal
    }

    /// The same, whose results are sent in these types, whatever is set.
    #[must_use]
    pub fn with_types(mut self, types: Profile) -> Self {
        self.types = Some(types);
        self
    }

    /// The same, whose results are sent in these types unless others are set.
    #[must_use]
    pub fn with_fitting_types(mut self, types: Profile) -> Self {
        self.fitting_types = types;
        self
    }

    /// The types in which results are sent.
    pub fn types(&self) -> Profile {
        let set = || self.settings.lock().types;
        self.types.or_else(set).unwrap_or(self.fitting_types)
    }

    /// `INVALID_SETTING` for types that this interface does not send.
    pub(crate) fn check_types(&self, name: &str, value: &str) -> Result<()> {
        let is_sent = self.interface == Interface::FlightSql || self.interface == Interface::Internal;
        if is_sent || canonical_name(name)? != "types" || value.parse::<Profile>()? == Profile::Portable {
            return Ok(());
        }
        Err(Error::new(Code::InvalidSetting, format!("types cannot be '{value}' here: they are always portable"))
            .hint("only Flight SQL sends others"))
    }

    /// `NO_SESSION` if SET would change nothing.
    pub(crate) fn check_keeps_settings(&self) -> Result<()> {
        if self.keeps_settings {
            return Ok(());
        }
        let hint = match self.interface {
            Interface::FlightSql => {
                "log in with a name and a password, let the client keep cookies \
                 (ADBC: adbc.flight.sql.rpc.with_cookie_middleware=true), or send `settings` with the Query API"
            }
            _ => "send `settings` along with each request",
        };
        Err(Error::new(Code::NoSession, "SET changes a session, and statements that come this way have none in common")
            .hint(hint))
    }

    /// The settings as they are now.
    pub(crate) fn current(&self) -> SessionSettings {
        let mut settings = self.settings.lock().clone();
        settings.types.get_or_insert(self.fitting_types);
        settings
    }
}
