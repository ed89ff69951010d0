//! What may be done with tokens, and by whom? Users look after their own; an admin of the server after all.

use std::sync::Arc;

use tidewater_proto::admin::v1::{
    CreateTokenRequest, CreateTokenResponse, ListTokensRequest, ListTokensResponse, RevokeTokenRequest,
    RevokeTokenResponse,
};
use tidewater_storage::{AccountChange, Code, Error, Result, Token};

use super::convert;
use super::users::{LastAdmin, not_found};
use crate::App;
use crate::auth::grants::{check_scope, from_stored, to_stored};
use crate::auth::{Proof, TOKEN_PREFIX, hash_of, random_secret};
use crate::call::Call;

/// Random bytes of a token's id: it is looked up by it, and written down.
const ID_BYTES: usize = 6;

/// Tokens that a user who is no admin has at most, so that nobody uses up those of everybody. Each has limits of its own.
const MAX_OWN_TOKENS: usize = 1_000;

/// A token that is to last longer is meant not to expire.
const MAX_LIFE_S: i64 = 100 * 366 * 86_400;

pub(super) async fn create(app: &App, call: &Call, request: CreateTokenRequest) -> Result<CreateTokenResponse> {
    let CreateTokenRequest { user, label, grants, expires_in, limits } = request;
    let limits = convert::read_limits(limits);
    let user = if user.is_empty() { call.principal.name.clone() } else { user };
    if !call.principal.is_admin() {
        if user != call.principal.name {
            call.principal.check_admin("create tokens for others")?;
        }
        check_password(call, "create tokens")?;
        app.limits.check_own(&limits)?;
    }
    let scope = convert::read_grants(&grants)?;
    let env = app.storage.env();
    let now_us = env.clock.now_us();
    let expires_at_us =
        expires_in.map(|life| life_us(life).map(|life_us| now_us.saturating_add(life_us))).transpose()?;
    let (id, secret) = (random_id(app), random_secret(&*env.rng));
    let token = Token {
        id: id.clone(),
        user: user.clone(),
        secret_hash: hash_of(secret.expose()),
        label,
        grants: to_stored(&scope),
        created_at_us: now_us,
        expires_at_us,
        limits,
    };
    let (new, most) = (token.clone(), if call.principal.is_admin() { usize::MAX } else { MAX_OWN_TOKENS });
    let made = app.storage.change_accounts(move |accounts| {
        let owner = accounts.user(&new.user).ok_or_else(|| not_found(&new.user))?;
        if most < usize::MAX && accounts.tokens().filter(|token| token.user == new.user).count() >= most {
            return Err(Error::new(Code::TooManyAccounts, format!("'{}' has {most} tokens already", new.user))
                .hint("revoke those that are not needed"));
        }
        check_scope(&owner.name, &from_stored(&owner.grants), &scope)?;
        match accounts.token(&new.id) {
            Some(_) => Err(Error::internal("a token's id was drawn twice")),
            None => Ok(AccountChange::PutToken(new)),
        }
    });
    made.await?;
    tracing::info!(principal = call.principal.name, kind = "token.create", user, token = id, "a token was made");
    let secret = format!("{TOKEN_PREFIX}{id}_{}", secret.expose());
    Ok(CreateTokenResponse { token: Some(convert::token(&token)), secret })
}

pub(super) async fn revoke(app: &App, call: &Call, request: RevokeTokenRequest) -> Result<RevokeTokenResponse> {
    let id = request.id;
    if !call.principal.is_admin() {
        // Of others' tokens nobody learns that they are there.
        let is_own = app.storage.token(&id).is_some_and(|token| token.user == call.principal.name);
        if !is_own {
            return Err(Error::new(Code::TokenNotFound, "you have no token with this id")
                .hint("'tidewater token list' names them by id"));
        }
        let is_itself = matches!(&call.proof, Proof::Token(token) if token.id == id);
        if !is_itself {
            check_password(call, "revoke other tokens")?;
        }
    }
    let (revoked, rule) = (id.clone(), LastAdmin::of(app));
    let gone = app.storage.change_accounts(move |accounts| rule.keep(accounts, AccountChange::RevokeToken(revoked)));
    gone.await?;
    tracing::info!(principal = call.principal.name, kind = "token.revoke", token = id, "a token was revoked");
    Ok(RevokeTokenResponse {})
}

pub(super) fn list(app: &App, call: &Call, request: &ListTokensRequest) -> Result<ListTokensResponse> {
    let is_admin = call.principal.is_admin();
    let of = match request.user.as_str() {
        "" if is_admin => None,
        "" => Some(call.principal.name.as_str()),
        user => Some(user),
    };
    if !is_admin && of != Some(call.principal.name.as_str()) {
        call.principal.check_admin("list the tokens of others")?;
    }
    // A token for less than its user may is often in other hands than the rest: it sees itself.
    let only = match &call.proof {
        Proof::Token(own) if !is_admin && !own.grants.is_empty() => Some(own.id.as_str()),
        _ => None,
    };
    let is_asked_for =
        |token: &&Arc<Token>| of.is_none_or(|user| token.user == user) && only.is_none_or(|id| token.id == id);
    let tokens = app.storage.tokens();
    Ok(ListTokensResponse { tokens: tokens.iter().filter(is_asked_for).map(|token| convert::token(token)).collect() })
}

/// A token that somebody found must not make others that outlive it.
fn check_password(call: &Call, what: &str) -> Result<()> {
    match &call.proof {
        Proof::Password(_) | Proof::Certificate(_) | Proof::Nothing => Ok(()),
        Proof::Token(token) => {
            Err(Error::new(Code::PermissionDenied, format!("the token '{}' may not {what}", token.id))
                .hint("log in with name and password"))
        }
    }
}

fn random_id(app: &App) -> String {
    let mut bytes = [0; ID_BYTES];
    app.storage.env().rng.fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// In microseconds. `INVALID_REQUEST` for one that is over before it begins, or as good as endless.
fn life_us(life: prost_types::Duration) -> Result<i64> {
    let us = i128::from(life.seconds) * 1_000_000 + i128::from(life.nanos) / 1_000;
    let is_one = us > 0 && us <= i128::from(MAX_LIFE_S) * 1_000_000;
    i64::try_from(us).ok().filter(|_| is_one).ok_or_else(|| {
        Error::new(Code::InvalidRequest, format!("a token cannot last {} s", life.seconds))
            .hint("say a time from now on, of at most 100 years; leave it out for a token that does not expire")
    })
}
