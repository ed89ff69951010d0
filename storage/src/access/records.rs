//! What is known of a user, of a token, and of a client's session?

use std::collections::BTreeMap;
use std::fmt;

/// A role on tables. Storage keeps both and knows neither.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredGrant {
    /// The server's number of the role.
    pub role: u8,
    /// A pattern of table names, as text.
    pub tables: String,
}

/// With what the server signs what it gives to those who logged in: nobody else can make such a thing.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey(pub [u8; 32]);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Somebody who may ask.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// 1 to 128 bytes: ASCII letters, digits and `._@+-`.
    pub name: String,
    /// `None`: only tokens let this user in.
    pub password_hash: Option<String>,
    pub grants: Vec<StoredGrant>,
    /// Neither the password nor a token lets this user in.
    pub disabled: bool,
    /// Microseconds since 1970.
    pub created_at_us: i64,
    pub changed_at_us: i64,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("name", &self.name)
            .field("has_password", &self.password_hash.is_some())
            .field("grants", &self.grants)
            .field("disabled", &self.disabled)
            .finish_non_exhaustive()
    }
}

/// How much one token may ask for; `None`: no limit of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TokenLimits {
    pub requests_per_s: Option<u32>,
    /// Of payloads that come in, as they are sent.
    pub bytes_per_s: Option<u64>,
    pub concurrent_queries: Option<u32>,
}

/// A secret that lets a program in as a user.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// Short, and public: 1 to 64 ASCII letters and digits.
    pub id: String,
    pub user: String,
    /// SHA-256 of the secret, which is nowhere else.
    pub secret_hash: [u8; 32],
    /// What it is for, in the words of who made it.
    pub label: String,
    /// What it may do at most; empty: all that its user may.
    pub grants: Vec<StoredGrant>,
    /// Microseconds since 1970.
    pub created_at_us: i64,
    /// `None`: never.
    pub expires_at_us: Option<i64>,
    pub limits: TokenLimits,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("id", &self.id)
            .field("user", &self.user)
            .field("label", &self.label)
            .field("grants", &self.grants)
            .field("expires_at_us", &self.expires_at_us)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// What a client set for its later calls. It outlives the process: without it those calls would mean something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSession {
    pub id: [u8; 16],
    /// Whose session it is: a name, also where there are no users.
    pub user: String,
    /// The server's names and values of what is not as by default. Storage keeps both and knows neither.
    pub settings: BTreeMap<String, String>,
    /// Microseconds since 1970.
    pub changed_at_us: i64,
}
