//! How do users, tokens, sessions and the signing key stand on disk? JSON with a kind and a version; unknown versions are refused by name.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{SigningKey, StoredGrant, StoredSession, Token, TokenLimits, User};
use crate::catalog::{check_header, decode, encode};
use crate::error::Result;

/// The versions that this program writes, and the newest that it reads.
const USER_VERSION: u32 = 1;
const TOKEN_VERSION: u32 = 1;
const SIGNING_KEY_VERSION: u32 = 1;
const SESSION_VERSION: u32 = 1;

const USER: &str = "user";
const TOKEN: &str = "token";
const SIGNING_KEY: &str = "signing_key";
const SESSION: &str = "session";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DiskUser {
    kind: String,
    version: u32,
    name: String,
    password_hash: Option<String>,
    grants: Vec<DiskGrant>,
    disabled: bool,
    created_at_us: i64,
    changed_at_us: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DiskToken {
    kind: String,
    version: u32,
    id: String,
    user: String,
    secret_hash: [u8; 32],
    label: String,
    grants: Vec<DiskGrant>,
    created_at_us: i64,
    expires_at_us: Option<i64>,
    limits: DiskLimits,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DiskSigningKey {
    kind: String,
    version: u32,
    key: [u8; 32],
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DiskSession {
    kind: String,
    version: u32,
    id: [u8; 16],
    user: String,
    settings: BTreeMap<String, String>,
    changed_at_us: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DiskGrant {
    role: u8,
    tables: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DiskLimits {
    requests_per_s: Option<u32>,
    bytes_per_s: Option<u64>,
    concurrent_queries: Option<u32>,
}

impl User {
    /// The record as it stands on disk.
    pub(crate) fn to_disk(&self) -> Vec<u8> {
        encode(&DiskUser {
            kind: USER.to_owned(),
            version: USER_VERSION,
            name: self.name.clone(),
            password_hash: self.password_hash.clone(),
            grants: to_disk_grants(&self.grants),
            disabled: self.disabled,
            created_at_us: self.created_at_us,
            changed_at_us: self.changed_at_us,
        })
    }

    /// Reads what [`User::to_disk`] wrote. `LOG_UNKNOWN_VERSION` for a newer form, `LOG_DAMAGED` for anything else.
    pub(crate) fn from_disk(bytes: &[u8]) -> Result<Self> {
        check_header(USER, USER_VERSION, bytes)?;
        let disk: DiskUser = decode(USER, bytes)?;
        Ok(Self {
            name: disk.name,
            password_hash: disk.password_hash,
            grants: from_disk_grants(disk.grants),
            disabled: disk.disabled,
            created_at_us: disk.created_at_us,
            changed_at_us: disk.changed_at_us,
        })
    }
}

impl Token {
    /// The record as it stands on disk.
    pub(crate) fn to_disk(&self) -> Vec<u8> {
        let TokenLimits { requests_per_s, bytes_per_s, concurrent_queries } = self.limits;
        encode(&DiskToken {
            kind: TOKEN.to_owned(),
            version: TOKEN_VERSION,
            id: self.id.clone(),
            user: self.user.clone(),
            secret_hash: self.secret_hash,
            label: self.label.clone(),
            grants: to_disk_grants(&self.grants),
            created_at_us: self.created_at_us,
            expires_at_us: self.expires_at_us,
            limits: DiskLimits { requests_per_s, bytes_per_s, concurrent_queries },
        })
    }

    /// Reads what [`Token::to_disk`] wrote; errors as for [`User::from_disk`].
    pub(crate) fn from_disk(bytes: &[u8]) -> Result<Self> {
        check_header(TOKEN, TOKEN_VERSION, bytes)?;
        let disk: DiskToken = decode(TOKEN, bytes)?;
        let DiskLimits { requests_per_s, bytes_per_s, concurrent_queries } = disk.limits;
        Ok(Self {
            id: disk.id,
            user: disk.user,
            secret_hash: disk.secret_hash,
            label: disk.label,
            grants: from_disk_grants(disk.grants),
            created_at_us: disk.created_at_us,
            expires_at_us: disk.expires_at_us,
            limits: TokenLimits { requests_per_s, bytes_per_s, concurrent_queries },
        })
    }
}

impl SigningKey {
    /// The record as it stands on disk.
    pub(crate) fn to_disk(&self) -> Vec<u8> {
        encode(&DiskSigningKey { kind: SIGNING_KEY.to_owned(), version: SIGNING_KEY_VERSION, key: self.0 })
    }

    /// Reads what [`SigningKey::to_disk`] wrote; errors as for [`User::from_disk`].
    pub(crate) fn from_disk(bytes: &[u8]) -> Result<Self> {
        check_header(SIGNING_KEY, SIGNING_KEY_VERSION, bytes)?;
        let disk: DiskSigningKey = decode(SIGNING_KEY, bytes)?;
        Ok(Self(disk.key))
    }
}

impl StoredSession {
    /// The record as it stands on disk.
    pub(crate) fn to_disk(&self) -> Vec<u8> {
        encode(&DiskSession {
            kind: SESSION.to_owned(),
            version: SESSION_VERSION,
            id: self.id,
            user: self.user.clone(),
            settings: self.settings.clone(),
            changed_at_us: self.changed_at_us,
        })
    }

    /// Reads what [`StoredSession::to_disk`] wrote; errors as for [`User::from_disk`].
    pub(crate) fn from_disk(bytes: &[u8]) -> Result<Self> {
        check_header(SESSION, SESSION_VERSION, bytes)?;
        let DiskSession { id, user, settings, changed_at_us, .. } = decode(SESSION, bytes)?;
        Ok(Self { id, user, settings, changed_at_us })
    }
}

fn to_disk_grants(grants: &[StoredGrant]) -> Vec<DiskGrant> {
    grants.iter().map(|grant| DiskGrant { role: grant.role, tables: grant.tables.clone() }).collect()
}

fn from_disk_grants(grants: Vec<DiskGrant>) -> Vec<StoredGrant> {
    grants.into_iter().map(|grant| StoredGrant { role: grant.role, tables: grant.tables }).collect()
}
