//! Who calls, and until when? What every gRPC call brings along in its metadata.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tidewater_query::{Interface, Principal, Role, Session};
use tidewater_storage::catalog::TableDef;
use tidewater_storage::{Code, Error, Result};
use tokio::time::Instant;
use tonic::metadata::MetadataMap;

use crate::App;
use crate::auth::{Caller, Limiter, Proof};

/// Where the C++ clients of Arrow Flight put what a handshake gave them.
pub(crate) const FLIGHT_TOKEN: &str = "auth-token-bin";

/// How long a client should wait for a server that shuts down.
pub const RESTART_DELAY: Duration = Duration::from_secs(1);

/// Who calls, until when.
#[derive(Debug, Clone)]
pub struct Call {
    pub principal: Principal,
    pub proof: Proof,
    /// How much the caller may ask for. This call is counted.
    pub limiter: Arc<Limiter>,
    /// From `grpc-timeout`. The transport enforces it only until the response headers, so streams look at it too.
    pub deadline: Option<Instant>,
}

impl Call {
    /// Reads what a call's metadata says. New calls are refused while the process shuts down; `UNAUTHENTICATED`, `RATE_LIMITED`.
    pub async fn of(app: &App, metadata: &MetadataMap) -> Result<Self> {
        if app.draining.is_cancelled() {
            return Err(shutting_down());
        }
        let text = |name| metadata.get(name).and_then(|value| value.to_str().ok());
        let timeout = text("grpc-timeout").and_then(parse_timeout);
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        let caller = app.auth.caller(authorization(metadata).as_deref()).await?;
        Self::by(app, caller, deadline)
    }

    /// A call of somebody who was recognised. `RATE_LIMITED`.
    pub fn by(app: &App, caller: Caller, deadline: Option<Instant>) -> Result<Self> {
        let limiter = app.limits.of(&caller);
        limiter.request()?;
        Ok(Self { principal: caller.principal, proof: caller.proof, limiter, deadline })
    }

    /// A session of the caller, whose statements end when what they may is taken back.
    pub fn session(&self, app: &Arc<App>, interface: Interface) -> Session {
        let session = app.query.session(self.principal.clone(), interface);
        if !app.auth.is_on() {
            return session;
        }
        // Statements that run must not keep the process's parts.
        let (app, proof) = (Arc::downgrade(app), self.proof.clone());
        session.with_caller_now(move || app.upgrade().ok_or_else(shutting_down)?.auth.again(&proof))
    }

    /// Whether the caller may still do that to a table: what they send may come for hours, and rights be taken back at any time.
    pub fn check_again(&self, app: &App, needed: Role, def: &TableDef, what: &str) -> Result<()> {
        app.auth.again(&self.proof)?.check(needed, &def.schema_name, &def.name, what)
    }

    /// A call that writes: readers may not.
    pub async fn of_writer(app: &App, metadata: &MetadataMap) -> Result<Self> {
        let call = Self::of(app, metadata).await?;
        check_writer(&call.principal)?;
        Ok(call)
    }

    /// Waits for `work` until this call's deadline; dropping `work` stops it.
    pub async fn bounded<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        bounded(self.deadline, work).await
    }
}

/// Whether somebody may write to any table.
pub(crate) fn may_write(principal: &Principal) -> bool {
    principal.grants.iter().any(|grant| grant.role >= Role::Writer)
}

/// `PERMISSION_DENIED` for who may not. To which tables they may is looked at with the table.
pub(crate) fn check_writer(principal: &Principal) -> Result<()> {
    if may_write(principal) {
        return Ok(());
    }
    Err(Error::new(Code::PermissionDenied, format!("'{}' may read, not write", principal.name))
        .hint("ask an administrator for the role 'writer'"))
}

/// What a call presents, as an `Authorization` header has it.
pub(crate) fn authorization(metadata: &MetadataMap) -> Option<String> {
    if let Some(header) = metadata.get("authorization") {
        // What is no text proves nothing, and is not nothing.
        return Some(header.to_str().unwrap_or_default().to_owned());
    }
    let token = metadata.get_bin(FLIGHT_TOKEN)?.to_bytes().ok()?;
    Some(format!("Bearer {}", String::from_utf8_lossy(&token)))
}

/// Waits for `work` until `deadline`.
pub async fn bounded<T>(deadline: Option<Instant>, work: impl Future<Output = Result<T>>) -> Result<T> {
    match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline, work).await.unwrap_or_else(|_| Err(deadline_passed())),
        None => work.await,
    }
}

/// The error of a call whose `grpc-timeout` ran out.
pub fn deadline_passed() -> Error {
    Error::new(Code::QueryDeadline, "the deadline that the client set for this call passed")
        .hint("give the call more time")
}

/// The error of calls while the process shuts down.
pub fn shutting_down() -> Error {
    Error::new(Code::ShuttingDown, "the server is shutting down")
        .hint("call again when it is back; a batch under the same producer and sequence is stored once")
        .retry_after(RESTART_DELAY)
}

/// The value of a `grpc-timeout` header: at most eight digits and a unit.
pub fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}
