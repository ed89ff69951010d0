//! How do users, tokens and sessions change? A closed list of changes, each checked against all that is there, and made as one.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::names::{check_token, check_user};
use super::{SigningKey, StoredSession, Token, User};
use crate::error::{Code, Error, Result};
use crate::limits::{MAX_SESSIONS, MAX_TOKENS, MAX_USERS};

/// All users, tokens and sessions of a folder, by name and by id.
#[derive(Debug, Default)]
pub struct Accounts {
    users: BTreeMap<String, Arc<User>>,
    tokens: BTreeMap<String, Arc<Token>>,
    sessions: BTreeMap<[u8; 16], Arc<StoredSession>>,
}

/// One change. It is durable, and seen, as a whole or not at all.
#[derive(Debug, Clone)]
pub enum AccountChange {
    /// A new user, or other words about one who is there.
    PutUser(User),
    /// The user goes, with all their tokens and sessions.
    DropUser(String),
    PutToken(Token),
    RevokeToken(String),
    /// In the place of the one before: what was signed with that is of no use any more.
    PutSigningKey(SigningKey),
    /// A new session, or what one that is there has come to.
    PutSession(StoredSession),
    /// These go; those that are not there are fine.
    EndSessions(Vec<[u8; 16]>),
}

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AccountKind {
    User,
    Token,
    /// There is one at most; it has no name.
    SigningKey,
    Session,
}

/// A record that is written, or goes.
#[derive(Debug)]
pub(crate) struct AccountRecord {
    pub(crate) kind: AccountKind,
    /// Name or id.
    pub(crate) name: String,
    /// `None`: it goes.
    pub(crate) value: Option<Vec<u8>>,
}

impl Accounts {
    /// Sorted by name.
    pub fn users(&self) -> impl Iterator<Item = &Arc<User>> {
        self.users.values()
    }

    pub fn user(&self, name: &str) -> Option<&Arc<User>> {
        self.users.get(name)
    }

    /// Sorted by id.
    pub fn tokens(&self) -> impl Iterator<Item = &Arc<Token>> {
        self.tokens.values()
    }

    pub fn token(&self, id: &str) -> Option<&Arc<Token>> {
        self.tokens.get(id)
    }

    /// In no particular order.
    pub fn sessions(&self) -> impl Iterator<Item = &Arc<StoredSession>> {
        self.sessions.values()
    }

    pub fn session(&self, id: [u8; 16]) -> Option<&Arc<StoredSession>> {
        self.sessions.get(&id)
    }

    /// The records of a change that may be made now. `USER_NOT_FOUND`, `TOKEN_NOT_FOUND`, `TOO_MANY_ACCOUNTS`, and what names refuse.
    pub(crate) fn records(&self, change: &AccountChange) -> Result<Vec<AccountRecord>> {
        let put = |kind, name: &str, value| vec![AccountRecord { kind, name: name.to_owned(), value: Some(value) }];
        let gone = |kind, name: &str| AccountRecord { kind, name: name.to_owned(), value: None };
        match change {
            AccountChange::PutUser(user) => {
                check_user(user)?;
                check_count("users", self.users.len(), self.users.contains_key(&user.name), MAX_USERS)?;
                Ok(put(AccountKind::User, &user.name, user.to_disk()))
            }
            AccountChange::DropUser(name) => {
                self.check_there(name)?;
                let tokens = self.tokens.values().filter(|token| token.user == *name);
                let mut records = vec![gone(AccountKind::User, name)];
                records.extend(tokens.map(|token| gone(AccountKind::Token, &token.id)));
                let sessions = self.sessions.values().filter(|session| session.user == *name);
                records.extend(sessions.map(|session| gone(AccountKind::Session, &name_of(session.id))));
                Ok(records)
            }
            AccountChange::PutToken(token) => {
                check_token(token)?;
                self.check_there(&token.user)?;
                check_count("tokens", self.tokens.len(), self.tokens.contains_key(&token.id), MAX_TOKENS)?;
                Ok(put(AccountKind::Token, &token.id, token.to_disk()))
            }
            AccountChange::RevokeToken(id) => match self.tokens.contains_key(id) {
                true => Ok(vec![gone(AccountKind::Token, id)]),
                false => Err(token_not_found(id)),
            },
            AccountChange::PutSigningKey(key) => Ok(put(AccountKind::SigningKey, "", key.to_disk())),
            AccountChange::PutSession(session) => {
                let is_there = self.sessions.contains_key(&session.id);
                check_count("sessions", self.sessions.len(), is_there, MAX_SESSIONS)?;
                Ok(put(AccountKind::Session, &name_of(session.id), session.to_disk()))
            }
            AccountChange::EndSessions(ids) => {
                let there = ids.iter().filter(|id| self.sessions.contains_key(*id));
                Ok(there.map(|id| gone(AccountKind::Session, &name_of(*id))).collect())
            }
        }
    }

    /// Makes a change that is durable.
    pub(crate) fn apply(&mut self, change: AccountChange) {
        match change {
            AccountChange::PutUser(user) => {
                self.users.insert(user.name.clone(), Arc::new(user));
            }
            AccountChange::DropUser(name) => {
                self.users.remove(&name);
                self.tokens.retain(|_, token| token.user != name);
                self.sessions.retain(|_, session| session.user != name);
            }
            AccountChange::PutToken(token) => {
                self.tokens.insert(token.id.clone(), Arc::new(token));
            }
            AccountChange::RevokeToken(id) => {
                self.tokens.remove(&id);
            }
            // The engine has it.
            AccountChange::PutSigningKey(_) => {}
            AccountChange::PutSession(session) => {
                self.sessions.insert(session.id, Arc::new(session));
            }
            AccountChange::EndSessions(ids) => {
                for id in ids {
                    self.sessions.remove(&id);
                }
            }
        }
    }

    fn check_there(&self, name: &str) -> Result<()> {
        if self.users.contains_key(name) {
            return Ok(());
        }
        let shown: String = name.chars().filter(|c| !c.is_control()).take(40).collect();
        Err(Error::new(Code::UserNotFound, format!("user '{shown}' not found"))
            .hint("'tidewater user list' names them"))
    }
}

impl AccountChange {
    /// It leaves less on the disk.
    pub(crate) fn is_removal(&self) -> bool {
        matches!(self, AccountChange::DropUser(_) | AccountChange::RevokeToken(_) | AccountChange::EndSessions(_))
    }
}

/// What stands for a session's id in its key.
fn name_of(id: [u8; 16]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn check_count(what: &str, n: usize, is_there: bool, limit: usize) -> Result<()> {
    if is_there || n < limit {
        return Ok(());
    }
    Err(Error::new(Code::TooManyAccounts, format!("there are {limit} {what} already"))
        .hint("drop those that are not needed"))
}

fn token_not_found(id: &str) -> Error {
    let shown: String = id.chars().filter(|c| !c.is_control()).take(20).collect();
    Error::new(Code::TokenNotFound, format!("token '{shown}' not found"))
        .hint("'tidewater token list' names them by id")
}
