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
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            timezone: "UTC".into(),
            statement_timeout: DEFAULT_STATEMENT_TIMEOUT,
            max_rows: 0,
            schema: "public".into(),
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
        Self { principal, interface, settings: Arc::default(), keeps_settings, caller_now: None }
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

    /// `NO_SESSION` if SET would change nothing.
    pub(crate) fn check_keeps_settings(&self) -> Result<()> {
        if self.keeps_settings {
            return Ok(());
        }
        let hint = match self.interface {
            Interface::FlightSql => "name the schema before the table, and give time_bucket and date_trunc their zone",
            _ => "send `settings` along with each request",
        };
        Err(Error::new(Code::NoSession, "SET changes a session, and statements that come this way have none in common")
            .hint(hint))
    }

    /// The settings as they are now.
    pub(crate) fn current(&self) -> SessionSettings {
        self.settings.lock().clone()
    }
}
