//! What may be done to users, and by whom? An admin of the server does everything; users change their own password.

use tidewater_proto::admin::v1::{
    AlterUserRequest, AlterUserResponse, CreateUserRequest, CreateUserResponse, DropUserRequest, DropUserResponse,
    ListUsersResponse,
};
use tidewater_query::Principal;
use tidewater_storage::{AccountChange, Accounts, Code, Error, Result, StoredGrant, Token, User};

use super::convert;
use crate::App;
use crate::auth::grants::{from_stored, to_stored};
use crate::auth::{Secret, check_name, passwords};
use crate::call::Call;

pub(super) async fn create(app: &App, call: &Call, request: CreateUserRequest) -> Result<CreateUserResponse> {
    call.principal.check_admin("create users")?;
    let CreateUserRequest { name, password, grants } = request;
    check_name(&name)?;
    let grants = to_stored(&convert::read_grants(&grants)?);
    let password_hash = hashed(app, password).await?;
    let now_us = app.storage.env().clock.now_us();
    let user = User { name, password_hash, grants, disabled: false, created_at_us: now_us, changed_at_us: now_us };
    let new = user.clone();
    let made = app.storage.change_accounts(move |accounts| match accounts.user(&new.name) {
        Some(_) => Err(Error::new(Code::UserExists, format!("user '{}' exists", new.name))
            .hint("choose another name, or change that user: tidewater user alter")),
        None => Ok(AccountChange::PutUser(new)),
    });
    made.await?;
    let grants = texts(&user.grants);
    tracing::info!(principal = call.principal.name, kind = "user.create", user = user.name, ?grants, "a user was made");
    Ok(CreateUserResponse { user: Some(convert::user(&user)) })
}

pub(super) async fn alter(app: &App, call: &Call, request: AlterUserRequest) -> Result<AlterUserResponse> {
    let AlterUserRequest { name, password, current_password, grants, disabled } = request;
    if !call.principal.is_admin() {
        let is_own_password = name == call.principal.name && grants.is_none() && disabled.is_none();
        if !is_own_password {
            call.principal.check_admin("change users but for their own password")?;
        }
        check_current(app, &call.principal, current_password).await?;
    }
    let grants = grants.map(|grants| convert::read_grants(&grants.grants)).transpose()?;
    let change = Changed {
        password_hash: hashed(app, password).await?,
        grants: grants.as_deref().map(to_stored),
        disabled,
        at_us: app.storage.env().clock.now_us(),
    };
    let what = change.to_string();
    let (wanted, rule) = (name.clone(), LastAdmin::of(app));
    let made = app.storage.change_accounts(move |accounts| {
        let user = accounts.user(&wanted).ok_or_else(|| not_found(&wanted))?;
        rule.keep(accounts, AccountChange::PutUser(change.of(user)))
    });
    made.await?;
    tracing::info!(principal = call.principal.name, kind = "user.alter", user = name, what, "a user was changed");
    let user = app.storage.user(&name).ok_or_else(|| not_found(&name))?;
    Ok(AlterUserResponse { user: Some(convert::user(&user)) })
}

pub(super) async fn drop(app: &App, call: &Call, request: DropUserRequest) -> Result<DropUserResponse> {
    call.principal.check_admin("drop users")?;
    let (name, rule) = (request.name, LastAdmin::of(app));
    let revoked_tokens = app.storage.tokens().iter().filter(|token| token.user == name).count();
    let dropped = name.clone();
    let gone = app.storage.change_accounts(move |accounts| rule.keep(accounts, AccountChange::DropUser(dropped)));
    gone.await?;
    tracing::info!(
        principal = call.principal.name,
        kind = "user.drop",
        user = name,
        revoked_tokens,
        "a user was dropped"
    );
    Ok(DropUserResponse { revoked_tokens: u32::try_from(revoked_tokens).unwrap_or(u32::MAX) })
}

pub(super) fn list(app: &App, call: &Call) -> Result<ListUsersResponse> {
    call.principal.check_admin("list users")?;
    Ok(ListUsersResponse { users: app.storage.users().iter().map(|user| convert::user(user)).collect() })
}

/// What is new of a user.
struct Changed {
    password_hash: Option<String>,
    grants: Option<Vec<StoredGrant>>,
    disabled: Option<bool>,
    at_us: i64,
}

impl Changed {
    fn of(self, user: &User) -> User {
        User {
            name: user.name.clone(),
            password_hash: self.password_hash.or_else(|| user.password_hash.clone()),
            grants: self.grants.unwrap_or_else(|| user.grants.clone()),
            disabled: self.disabled.unwrap_or(user.disabled),
            created_at_us: user.created_at_us,
            changed_at_us: self.at_us,
        }
    }
}

impl std::fmt::Display for Changed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts = Vec::new();
        if self.password_hash.is_some() {
            parts.push("password".to_owned());
        }
        parts.extend(self.grants.as_ref().map(|grants| format!("grants {:?}", texts(grants))));
        parts.extend(self.disabled.map(|disabled| format!("disabled {disabled}")));
        f.write_str(&parts.join(", "))
    }
}

/// Who is no admin proves once more that it is their password: a token that was found must not become one.
async fn check_current(app: &App, principal: &Principal, current: Option<String>) -> Result<()> {
    let current = current.ok_or_else(|| {
        Error::new(Code::InvalidRequest, "the request has no current_password")
            .hint("say the password that it is now; an administrator can do without")
    })?;
    match app.auth.is_password_of(&principal.name, Secret::new(current)).await? {
        true => Ok(()),
        false => Err(Error::new(Code::PermissionDenied, "the current password is another one")
            .hint("an administrator can set a password without it")),
    }
}

async fn hashed(app: &App, password: Option<String>) -> Result<Option<String>> {
    let Some(password) = password.map(Secret::new) else { return Ok(None) };
    passwords::check(&password)?;
    passwords::hash(password, &*app.storage.env().rng).await.map(Some)
}

/// Somebody who may undo a change is always left.
pub(super) struct LastAdmin {
    auth_is_on: bool,
    now_us: i64,
}

impl LastAdmin {
    pub fn of(app: &App) -> Self {
        Self { auth_is_on: app.auth.is_on(), now_us: app.storage.env().clock.now_us() }
    }

    /// `change`, unless nobody would be left who may undo it. Without access control everybody may.
    pub fn keep(&self, accounts: &Accounts, change: AccountChange) -> Result<AccountChange> {
        let is_left = |change| has_admin(accounts, change, self.now_us);
        if !self.auth_is_on || !is_left(None) || is_left(Some(&change)) {
            return Ok(change);
        }
        Err(Error::new(Code::LastAdmin, "nobody would be left who may administrate the server")
            .hint("make another user with the role admin on * first"))
    }
}

/// Whether there is an admin of the server who can log in, after `change` if there is one.
fn has_admin(accounts: &Accounts, change: Option<&AccountChange>, now_us: i64) -> bool {
    let revoked = match change {
        Some(AccountChange::RevokeToken(id)) => Some(id.as_str()),
        _ => None,
    };
    let may_log_in = |user: &User| {
        let has_token = || {
            let holds = |token: &Token| token.expires_at_us.is_none_or(|expires_at_us| expires_at_us > now_us);
            let mut tokens = accounts.tokens().filter(|token| token.user == user.name && token.grants.is_empty());
            tokens.any(|token| Some(token.id.as_str()) != revoked && holds(token))
        };
        !user.disabled && (user.password_hash.is_some() || has_token())
    };
    let is_admin = |user: &User| Principal::new(user.name.clone(), from_stored(&user.grants)).is_admin();
    accounts.users().any(|user| {
        let user = match change {
            Some(AccountChange::PutUser(new)) if new.name == user.name => new,
            Some(AccountChange::DropUser(name)) if *name == user.name => return false,
            _ => &**user,
        };
        is_admin(user) && may_log_in(user)
    })
}

pub(super) fn not_found(name: &str) -> Error {
    let shown: String = name.chars().filter(|c| !c.is_control()).take(40).collect();
    Error::new(Code::UserNotFound, format!("user '{shown}' not found")).hint("'tidewater user list' names them")
}

fn texts(grants: &[StoredGrant]) -> Vec<String> {
    from_stored(grants).iter().map(ToString::to_string).collect()
}
