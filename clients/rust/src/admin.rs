//! Who may ask, as a program says it: users, and tokens for their programs.

use std::time::Duration;

use tidewater_proto::admin::v1 as pb;

use crate::client::Client;
use crate::error::{Error, Result};

/// A token that was made. [`std::fmt::Debug`] leaves the secret out.
#[derive(Clone)]
pub struct NewToken {
    /// What is known of it from now on.
    pub token: pb::Token,
    /// The token itself, which the server does not tell again: `tw_<id>_<secret>`.
    pub secret: String,
}

impl std::fmt::Debug for NewToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewToken").field("token", &self.token).finish_non_exhaustive()
    }
}

/// What a new token is to be like; the default is one of the caller, for everything that they may, for ever.
#[derive(Debug, Clone, Default)]
pub struct TokenOptions {
    /// Another user than the caller: an admin may say one.
    pub user: Option<String>,
    /// What it is for, in at most 128 bytes.
    pub label: String,
    /// What it may do at most; empty: all that its user may.
    pub grants: Vec<pb::Grant>,
    pub expires_in: Option<Duration>,
    pub limits: pb::TokenLimits,
}

/// What changes of a user; what is `None` stays.
#[derive(Clone, Default)]
pub struct UserChange {
    pub password: Option<String>,
    /// For who changes their own password and is no admin.
    pub current_password: Option<String>,
    /// All grants from then on.
    pub grants: Option<Vec<pb::Grant>>,
    pub disabled: Option<bool>,
}

impl Client {
    /// Makes a user; without a password only tokens let them in.
    pub async fn create_user(&self, name: &str, password: Option<String>, grants: Vec<pb::Grant>) -> Result<pb::User> {
        let request = pb::CreateUserRequest { name: name.to_owned(), password, grants };
        said(self.admin().create_user(request).await?.into_inner().user)
    }

    pub async fn alter_user(&self, name: &str, change: UserChange) -> Result<pb::User> {
        let request = pb::AlterUserRequest {
            name: name.to_owned(),
            password: change.password,
            current_password: change.current_password,
            grants: change.grants.map(|grants| pb::Grants { grants }),
            disabled: change.disabled,
        };
        said(self.admin().alter_user(request).await?.into_inner().user)
    }

    /// Drops a user and revokes all their tokens, whose number it returns.
    pub async fn drop_user(&self, name: &str) -> Result<u32> {
        let request = pb::DropUserRequest { name: name.to_owned() };
        Ok(self.admin().drop_user(request).await?.into_inner().revoked_tokens)
    }

    /// All users, by name.
    pub async fn users(&self) -> Result<Vec<pb::User>> {
        Ok(self.admin().list_users(pb::ListUsersRequest {}).await?.into_inner().users)
    }

    /// Makes a token and returns it, which happens this once.
    pub async fn create_token(&self, options: TokenOptions) -> Result<NewToken> {
        let expires_in = options.expires_in.map(prost_types::Duration::try_from).transpose();
        let request = pb::CreateTokenRequest {
            user: options.user.unwrap_or_default(),
            label: options.label,
            grants: options.grants,
            expires_in: expires_in.map_err(|_| Error::invalid("a token cannot last so long"))?,
            limits: Some(options.limits),
        };
        let response = self.admin().create_token(request).await?.into_inner();
        Ok(NewToken { token: said(response.token)?, secret: response.secret })
    }

    pub async fn revoke_token(&self, id: &str) -> Result<()> {
        self.admin().revoke_token(pb::RevokeTokenRequest { id: id.to_owned() }).await?;
        Ok(())
    }

    /// The caller's own tokens, or, for an admin, those of `user` or of all; by id.
    pub async fn tokens(&self, user: Option<&str>) -> Result<Vec<pb::Token>> {
        let request = pb::ListTokensRequest { user: user.unwrap_or_default().to_owned() };
        Ok(self.admin().list_tokens(request).await?.into_inner().tokens)
    }
}

fn said<T>(message: Option<T>) -> Result<T> {
    message.ok_or_else(|| Error::protocol("the server answered without saying of whom"))
}
