//! Who is it? Users with passwords and tokens, looked up in the catalog; with `auth = "off"` every caller is admin.
//!
//! ```text
//! header (what is presented) ──► keeper (is it true?) ──► Caller (who, with which rights, by what proof)
//!                                  ├── passwords   argon2id, on threads of its own
//!                                  ├── proved      what needs no password again: headers, sessions, bearers
//!                                  └── attempts    in vain: told now and then, and passwords looked at no faster than a rate
//! limits                           how much a caller may ask for
//! grants                           what is stored as what the query engine understands
//! setup                            the first user of a folder
//! ```

mod attempts;
pub(crate) mod grants;
mod header;
mod keeper;
mod limits;
pub(crate) mod passwords;
mod proved;
mod secret;
mod setup;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use tidewater_query::Principal;
use tidewater_storage::{Engine, Result, Token, User};

pub(crate) use attempts::{note_place, place_of_client};
pub(crate) use header::TOKEN_PREFIX;
pub use keeper::Keeper;
pub use limits::{Limiter, Limits, RunningQuery};
pub use proved::{Login, SessionId};
pub use secret::Secret;
pub(crate) use secret::{hash_of, random_secret};
pub(crate) use setup::check_name;

/// The name of every caller of a server without access control. No user may have it.
pub const ANONYMOUS: &str = "anonymous";

/// How callers prove who they are.
pub enum Auth {
    /// Not at all: every caller is admin, and the server listens on loopback only.
    Off,
    /// With a password or a token.
    On(Box<Keeper>),
}

/// By what a caller was recognised.
#[derive(Debug, Clone)]
pub enum Proof {
    /// Nobody is asked.
    Nothing,
    /// The user's own password, now or when their session began; the user as they were then.
    Password(Arc<User>),
    /// A client certificate that names the user.
    Certificate(Arc<User>),
    Token(Arc<Token>),
}

/// Who sends a request.
#[derive(Debug, Clone)]
pub struct Caller {
    /// With the rights that user and token have at this moment.
    pub principal: Principal,
    pub proof: Proof,
}

impl Auth {
    /// Access control by the users and tokens of `storage`.
    pub fn on(storage: &Arc<Engine>) -> Self {
        Auth::On(Box::new(Keeper::new(storage)))
    }

    pub fn is_on(&self) -> bool {
        matches!(self, Auth::On(_))
    }

    /// Who sends a request with this `Authorization` header. `UNAUTHENTICATED` without one, or with one that proves nothing; which part of
    /// it is wrong is never told.
    pub async fn authenticate(&self, authorization: Option<&str>) -> Result<Principal> {
        self.caller(authorization).await.map(|caller| caller.principal)
    }

    /// The same, with the proof.
    pub async fn caller(&self, authorization: Option<&str>) -> Result<Caller> {
        match self {
            Auth::Off => Ok(Caller { principal: Principal::admin(ANONYMOUS), proof: Proof::Nothing }),
            Auth::On(keeper) => keeper.caller(authorization).await,
        }
    }

    /// Who a caller of some time ago is now, with the rights of now: for what goes on for long. `UNAUTHENTICATED` once the proof proves
    /// nothing any more.
    pub fn again(&self, proof: &Proof) -> Result<Principal> {
        match self {
            Auth::Off => Ok(Principal::admin(ANONYMOUS)),
            Auth::On(keeper) => keeper.again(proof),
        }
    }

    /// What a client may present as its bearer from now on: for a password the token of a new session, a token itself otherwise.
    pub async fn session(&self, authorization: Option<&str>) -> Result<Secret> {
        match self {
            Auth::Off => Ok(Secret::new(ANONYMOUS)),
            Auth::On(keeper) => keeper.session(authorization).await,
        }
    }

    /// What a client of Flight may present as its bearer from now on: for a password or a certificate a new one, which outlives this process
    /// and has a session of its own; a bearer or a token itself otherwise. Without access control every client gets one.
    pub async fn handshake(&self, storage: &Arc<Engine>, authorization: Option<&str>) -> Result<Secret> {
        match self {
            Auth::Off => Ok(match (Login::of(storage, authorization), authorization) {
                // Not one of a user, from a time when they were asked.
                (Some(login), Some(header)) if login.user() == ANONYMOUS => {
                    Secret::new(header.trim().split_once(' ').map_or("", |(_, own)| own.trim()))
                }
                _ => proved::give(storage, None, proved::By::Nothing).await,
            }),
            Auth::On(keeper) => keeper.handshake(authorization).await,
        }
    }

    /// An `Authorization` header for a request over a connection whose client certificate was verified and has this common name. `None`
    /// without access control.
    pub fn of_certificate(&self, storage: &Engine, name: &str) -> Option<Secret> {
        let bearer = self.is_on().then(|| proved::of_certificate(storage, name))?;
        Some(Secret::new(format!("Bearer {}", bearer.expose())))
    }

    /// The session of this bearer has ended. Without effect on whatever else a caller presents.
    pub fn end_session(&self, authorization: Option<&str>) {
        if let (Auth::On(keeper), Some(header)) = (self, authorization) {
            keeper.end_session(header);
        }
    }

    /// Whether this is the password of a user. A wrong one counts as a login that failed. `TOO_MANY_LOGINS`, `TOO_MANY_WRONG_PASSWORDS`.
    pub(crate) async fn is_password_of(&self, name: &str, password: Secret) -> Result<bool> {
        match self {
            Auth::Off => Ok(false),
            Auth::On(keeper) => keeper.is_password_of(name, password).await,
        }
    }

    /// The code with which the first user can be made; `None` once there is one, and without access control.
    pub fn setup_code(&self) -> Option<Secret> {
        match self {
            Auth::Off => None,
            Auth::On(keeper) => keeper.setup_code(),
        }
    }
}

impl Caller {
    /// The token that was presented.
    pub fn token(&self) -> Option<&Arc<Token>> {
        match &self.proof {
            Proof::Token(token) => Some(token),
            Proof::Nothing | Proof::Password(_) | Proof::Certificate(_) => None,
        }
    }
}
