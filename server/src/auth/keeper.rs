//! Is it true what a caller presents? Passwords, tokens and sessions against the users of the catalog.

use std::sync::Arc;
use std::time::Duration;

use tidewater_query::Principal;
use tidewater_storage::{Code, Engine, Error, Result, Token, User};

use super::attempts::{Failures, Guesses, Verdict};
use super::header::{self, Presented};
use super::proved::{self, By, Claims, Sessions, Verified};
use super::secret::{hash_of, is_same};
use super::setup::Setup;
use super::{Caller, Proof, Secret, grants, passwords};

/// What a server with access control remembers of those who came.
pub struct Keeper {
    storage: Arc<Engine>,
    sessions: Sessions,
    verified: Verified,
    failures: Failures,
    guesses: Guesses,
    setup: Setup,
}

impl Keeper {
    pub(super) fn new(storage: &Arc<Engine>) -> Self {
        let env = storage.env();
        Self {
            storage: Arc::clone(storage),
            sessions: Sessions::new(Arc::clone(&env.clock)),
            verified: Verified::new(Arc::clone(&env.clock), &*env.rng),
            failures: Failures::new(Arc::clone(&env.clock)),
            guesses: Guesses::new(Arc::clone(&env.clock), &*env.rng),
            setup: Setup::new(storage, &*env.rng),
        }
    }

    pub(super) fn setup_code(&self) -> Option<Secret> {
        self.setup.code(&self.storage)
    }

    /// Makes the first user, an admin of everything. `UNAUTHENTICATED` for a code that is not the one of this start, `USER_EXISTS` once
    /// there is a user, `INVALID_PASSWORD`, `INVALID_NAME`.
    pub async fn set_up(&self, code: &Secret, name: String, password: Secret) -> Result<()> {
        self.setup.make(&self.storage, code, name, password).await
    }

    pub(super) async fn caller(&self, authorization: Option<&str>) -> Result<Caller> {
        let header = authorization.ok_or_else(|| self.nothing_presented())?;
        match header::parse(header) {
            Some(Presented::Password { user, password }) => {
                self.by_password(header, &user, password).await.map(of_user)
            }
            Some(Presented::Token { id, secret }) => self.by_token(&id, &secret),
            Some(Presented::Session(bearer)) => self.by_session(&bearer),
            Some(Presented::Bearer(bearer)) => self.by_bearer(&bearer),
            None => Err(self.unreadable()),
        }
    }

    pub(super) async fn session(&self, authorization: Option<&str>) -> Result<Secret> {
        let header = authorization.ok_or_else(|| self.nothing_presented())?;
        if let Some(Presented::Password { user, password }) = header::parse(header) {
            let user = self.by_password(header, &user, password).await?;
            return Ok(self.sessions.begin(user, &*self.storage.env().rng));
        }
        self.itself(header).await
    }

    /// What a client may present after a handshake: for a password or a certificate a new bearer, a bearer or a token itself otherwise.
    pub(super) async fn handshake(&self, authorization: Option<&str>) -> Result<Secret> {
        let header = authorization.ok_or_else(|| self.nothing_presented())?;
        match header::parse(header) {
            Some(Presented::Password { user, password }) => {
                let user = self.by_password(header, &user, password).await?;
                Ok(proved::give(&self.storage, Some(&*user), By::Password).await)
            }
            Some(Presented::Bearer(bearer)) => match self.by_bearer(&bearer)?.proof {
                // What stands for a certificate holds for this request only.
                Proof::Certificate(user) if !self.has_session(&bearer) => {
                    Ok(proved::give(&self.storage, Some(&*user), By::Certificate).await)
                }
                _ => Ok(bearer),
            },
            _ => self.itself(header).await,
        }
    }

    /// The bearer or token that a header presents, if it lets somebody in.
    async fn itself(&self, header: &str) -> Result<Secret> {
        self.caller(Some(header)).await?;
        // It holds, so it has a scheme and a value.
        Ok(Secret::new(header.trim().split_once(' ').map_or("", |(_, bearer)| bearer.trim())))
    }

    fn has_session(&self, bearer: &Secret) -> bool {
        proved::read(&self.storage, bearer).is_some_and(|claims| !claims.session.is_empty())
    }

    pub(super) fn end_session(&self, header: &str) {
        if let Some(Presented::Session(bearer)) = header::parse(header) {
            self.sessions.end(&bearer);
        }
    }

    async fn by_password(&self, header: &str, name: &str, password: Secret) -> Result<Arc<User>> {
        self.of_password(name, password, Some(header)).await?.ok_or_else(|| {
            Error::new(Code::Unauthenticated, "the name or the password is wrong")
                .hint("check both; an administrator can set another password")
        })
    }

    pub(super) async fn is_password_of(&self, name: &str, password: Secret) -> Result<bool> {
        self.of_password(name, password, None).await.map(|user| user.is_some())
    }

    /// The user of this name, if that is their password and they may log in. `header` is what it was in.
    async fn of_password(&self, name: &str, password: Secret, header: Option<&str>) -> Result<Option<Arc<User>>> {
        let user = self.storage.user(name);
        let attempt = self.guesses.attempt(name, &password, user.as_deref());
        let principal = user.as_ref().map(|user| user.name.as_str());
        let (verdict, _looking) = self.guesses.look(&attempt);
        match verdict {
            Verdict::Open => {}
            Verdict::Repeated => {
                self.failures.note(principal, "password");
                return Ok(None);
            }
            Verdict::Closed { wait, limit } => {
                self.failures.note_limited(principal, limit, wait);
                return Err(too_many_wrong(wait));
            }
        }
        // Only now: what is remembered tells a right guess from a wrong one, too.
        let remembered = header.and_then(|header| self.verified.get(header)).and_then(|user| self.as_now(&user));
        if remembered.is_some() {
            self.guesses.right(&attempt);
            return Ok(remembered);
        }
        let hash = user.as_ref().and_then(|user| user.password_hash.clone());
        let is_it = passwords::verify(password, hash).await?;
        // Looked at again: the password may have changed meanwhile.
        let now = user.as_ref().filter(|_| is_it).and_then(|user| self.as_now(user));
        match &now {
            Some(now) => {
                self.guesses.right(&attempt);
                header.into_iter().for_each(|header| self.verified.put(header, Arc::clone(now)));
            }
            None => {
                self.guesses.wrong(&attempt);
                self.failures.note(principal, "password");
            }
        }
        Ok(now)
    }

    fn by_token(&self, id: &str, secret: &Secret) -> Result<Caller> {
        let token = self.storage.token(id);
        let hash = hash_of(secret.expose());
        let outcome = match token.as_ref().filter(|token| is_same(&token.secret_hash, &hash)) {
            Some(token) => self.of_token(token),
            None => Err(Error::new(Code::Unauthenticated, "the token is not known")
                .hint("it may have been revoked: ask for another one")),
        };
        if outcome.is_err() {
            self.failures.note(token.as_ref().map(|token| token.user.as_str()), "token");
        }
        outcome
    }

    /// Whom a token lets in now.
    fn of_token(&self, token: &Arc<Token>) -> Result<Caller> {
        let refuse = |message: &str, hint: &str| Err(Error::new(Code::Unauthenticated, message).hint(hint));
        if token.expires_at_us.is_some_and(|expires_at_us| self.storage.env().clock.now_us() >= expires_at_us) {
            return refuse("the token has expired", "ask for another one");
        }
        let Some(user) = self.storage.user(&token.user).filter(|user| !user.disabled) else {
            return refuse("the token's user may not log in", "ask an administrator");
        };
        let grants = grants::scoped(grants::from_stored(&user.grants), &token.grants);
        let principal = Principal::new(user.name.clone(), grants);
        Ok(Caller { principal, proof: Proof::Token(Arc::clone(token)) })
    }

    fn by_session(&self, bearer: &Secret) -> Result<Caller> {
        let began = self.sessions.get(bearer);
        match began.as_ref().and_then(|user| self.as_now(user)) {
            Some(now) => Ok(of_user(now)),
            None => {
                self.sessions.end(bearer);
                self.failures.note(began.as_ref().map(|user| user.name.as_str()), "session");
                Err(session_ended())
            }
        }
    }

    fn by_bearer(&self, bearer: &Secret) -> Result<Caller> {
        let claims = proved::read(&self.storage, bearer);
        match claims.as_ref().and_then(|claims| self.of_claims(claims)) {
            Some(caller) => Ok(caller),
            None => Err(self.not_claimed(claims.as_ref())),
        }
    }

    /// Whom a bearer that this server signed lets in now.
    fn of_claims(&self, claims: &Claims) -> Option<Caller> {
        let user = self.storage.user(&claims.user).filter(|user| !user.disabled)?;
        if proved::stamp(claims.by(), &user)? != claims.stamp {
            return None;
        }
        let principal = Principal::new(user.name.clone(), grants::from_stored(&user.grants));
        let proof = match claims.by() {
            By::Certificate => Proof::Certificate(user),
            By::Password | By::Nothing => Proof::Password(user),
        };
        Some(Caller { principal, proof })
    }

    fn not_claimed(&self, claims: Option<&Claims>) -> Error {
        let user = claims.and_then(|claims| self.storage.user(&claims.user));
        let is_certificate = claims.is_some_and(|claims| claims.by() == By::Certificate);
        self.failures
            .note(user.as_ref().map(|user| user.name.as_str()), if is_certificate { "certificate" } else { "session" });
        if is_certificate {
            return Error::new(Code::Unauthenticated, "the client certificate names nobody who may log in")
                .hint("its common name (CN) must be the name of a user: tidewater user create");
        }
        session_ended()
    }

    pub(super) fn again(&self, proof: &Proof) -> Result<Principal> {
        let caller = match proof {
            Proof::Nothing => Err(self.nothing_presented()),
            Proof::Password(user) => self.as_now(user).map(of_user).ok_or_else(session_ended),
            Proof::Certificate(user) => {
                let now = self.storage.user(&user.name);
                let now = now.filter(|now| !now.disabled && now.created_at_us == user.created_at_us);
                now.map(of_user).ok_or_else(session_ended)
            }
            Proof::Token(token) => {
                match self.storage.token(&token.id).filter(|now| now.secret_hash == token.secret_hash) {
                    Some(now) => self.of_token(&now),
                    None => Err(Error::new(Code::Unauthenticated, "the token was revoked").hint("ask for another one")),
                }
            }
        };
        caller.map(|caller| caller.principal)
    }

    /// A user who proved their password some time ago, as they are now; `None` if that proves nothing any more.
    fn as_now(&self, then: &Arc<User>) -> Option<Arc<User>> {
        let now = self.storage.user(&then.name)?;
        // Salted, so that no two hashes are alike, also of a user who was dropped and made again.
        let is_same = now.password_hash.is_some() && now.password_hash == then.password_hash;
        (is_same && !now.disabled).then_some(now)
    }

    fn nothing_presented(&self) -> Error {
        let hint = match self.storage.has_users() {
            true => "send an Authorization header: Basic with name and password, or Bearer with a token",
            false => "there is no user yet: open the link that the server printed when it started",
        };
        Error::new(Code::Unauthenticated, "this server lets in only who proves who they are").hint(hint)
    }

    fn unreadable(&self) -> Error {
        self.failures.note(None, "unreadable");
        Error::new(Code::Unauthenticated, "the Authorization header is neither Basic nor a token of this server")
            .hint("send Basic with name and password, or Bearer with a token")
    }
}

fn of_user(user: Arc<User>) -> Caller {
    let principal = Principal::new(user.name.clone(), grants::from_stored(&user.grants));
    Caller { principal, proof: Proof::Password(user) }
}

fn too_many_wrong(wait: Duration) -> Error {
    // In words, too: few drivers show RetryInfo. Rounded up, as Retry-After is.
    let seconds = wait.as_millis().div_ceil(1000).max(1);
    Error::new(Code::TooManyWrongPasswords, "too many wrong passwords came for this user or from this address")
        .hint(format!(
            "wait {seconds} s before the next login with a password; tokens and sessions are let in meanwhile"
        ))
        .retry_after(wait)
}

fn session_ended() -> Error {
    Error::new(Code::Unauthenticated, "the session has ended").hint("log in again with name and password")
}
