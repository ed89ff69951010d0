//! How are users and tokens said on the wire?

use tidewater_proto::admin::v1 as pb;
use tidewater_query::{Grant, Role};
use tidewater_storage::{Code, Error, Result, StoredGrant, Token, TokenLimits, User};

use crate::auth::grants::from_stored;

pub(super) fn user(user: &User) -> pb::User {
    pb::User {
        name: user.name.clone(),
        has_password: user.password_hash.is_some(),
        grants: grants(&user.grants),
        disabled: user.disabled,
        created_at: Some(timestamp(user.created_at_us)),
        changed_at: Some(timestamp(user.changed_at_us)),
    }
}

pub(super) fn token(token: &Token) -> pb::Token {
    let TokenLimits { requests_per_s, bytes_per_s, concurrent_queries } = token.limits;
    pb::Token {
        id: token.id.clone(),
        user: token.user.clone(),
        label: token.label.clone(),
        grants: grants(&token.grants),
        created_at: Some(timestamp(token.created_at_us)),
        expires_at: token.expires_at_us.map(timestamp),
        limits: Some(pb::TokenLimits {
            requests_per_second: requests_per_s.unwrap_or_default(),
            bytes_per_second: bytes_per_s.unwrap_or_default(),
            concurrent_queries: concurrent_queries.unwrap_or_default(),
        }),
    }
}

fn grants(stored: &[StoredGrant]) -> Vec<pb::Grant> {
    let said = |grant: Grant| {
        let role = match grant.role {
            Role::Reader => pb::Role::Reader,
            Role::Writer => pb::Role::Writer,
            Role::Admin => pb::Role::Admin,
        };
        pb::Grant { role: role.into(), tables: grant.tables.to_string() }
    };
    from_stored(stored).into_iter().map(said).collect()
}

/// `INVALID_PARAMETER` for what is no pattern, `INVALID_REQUEST` for a grant without a role.
pub(super) fn read_grants(said: &[pb::Grant]) -> Result<Vec<Grant>> {
    let read = |grant: &pb::Grant| {
        let role = match pb::Role::try_from(grant.role) {
            Ok(pb::Role::Reader) => Role::Reader,
            Ok(pb::Role::Writer) => Role::Writer,
            Ok(pb::Role::Admin) => Role::Admin,
            Ok(pb::Role::Unspecified) | Err(_) => {
                return Err(Error::new(Code::InvalidRequest, format!("the grant has role {}", grant.role))
                    .hint("the roles are READER, WRITER and ADMIN"));
            }
        };
        Ok(Grant::new(role, grant.tables.parse()?))
    };
    said.iter().map(read).collect()
}

pub(super) fn read_limits(said: Option<pb::TokenLimits>) -> TokenLimits {
    let said = said.unwrap_or_default();
    TokenLimits {
        requests_per_s: Some(said.requests_per_second).filter(|limit| *limit > 0),
        bytes_per_s: Some(said.bytes_per_second).filter(|limit| *limit > 0),
        concurrent_queries: Some(said.concurrent_queries).filter(|limit| *limit > 0),
    }
}

fn timestamp(us: i64) -> prost_types::Timestamp {
    let nanos = i32::try_from(us.rem_euclid(1_000_000) * 1_000).unwrap_or_default();
    prost_types::Timestamp { seconds: us.div_euclid(1_000_000), nanos }
}
