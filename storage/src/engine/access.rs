//! How do users, tokens and sessions come and go? One at a time, each change in one synced commit before anybody sees it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use super::{Engine, to_its_end};
use crate::access::{AccountChange, Accounts, SigningKey, StoredSession, Token, User};
use crate::error::Result;
use crate::log::{Family, Store, meta_key};
use crate::table::{Write, account};

/// The key of the folder. A folder in which nobody logged in yet has none: this process makes one up when it is asked for.
pub(super) struct OwnKey {
    key: OnceLock<SigningKey>,
    is_stored: AtomicBool,
}

impl OwnKey {
    pub(super) fn load(store: &Store) -> Result<Self> {
        let stored = store.scan(Family::Meta, &[meta_key::SIGNING_KEY])?.next().transpose()?;
        let is_stored = AtomicBool::new(stored.is_some());
        let key = match stored {
            Some((_, bytes)) => OnceLock::from(SigningKey::from_disk(&bytes)?),
            None => OnceLock::new(),
        };
        Ok(Self { key, is_stored })
    }
}

impl Engine {
    /// With what bearers are signed. Those outlive this process only after [`Self::keep_signing_key`].
    pub fn signing_key(&self) -> SigningKey {
        let made_up = || {
            let mut key = [0; 32];
            self.env().rng.fill(&mut key);
            SigningKey(key)
        };
        self.own_key.key.get_or_init(made_up).clone()
    }

    /// The key of [`Self::signing_key`] is durable when this returns. `DISK_FULL`.
    pub async fn keep_signing_key(self: &Arc<Self>) -> Result<()> {
        if self.own_key.is_stored.load(Ordering::Acquire) {
            return Ok(());
        }
        let key = self.signing_key();
        self.change_accounts(move |_| Ok(AccountChange::PutSigningKey(key))).await?;
        self.own_key.is_stored.store(true, Ordering::Release);
        Ok(())
    }

    /// All users, sorted by name.
    pub fn users(&self) -> Vec<Arc<User>> {
        self.accounts.read().users().cloned().collect()
    }

    pub fn user(&self, name: &str) -> Option<Arc<User>> {
        self.accounts.read().user(name).cloned()
    }

    /// Whether there is any user.
    pub fn has_users(&self) -> bool {
        self.accounts.read().users().next().is_some()
    }

    /// All tokens, sorted by id.
    pub fn tokens(&self) -> Vec<Arc<Token>> {
        self.accounts.read().tokens().cloned().collect()
    }

    pub fn token(&self, id: &str) -> Option<Arc<Token>> {
        self.accounts.read().token(id).cloned()
    }

    /// All sessions, in no particular order.
    pub fn sessions(&self) -> Vec<Arc<StoredSession>> {
        self.accounts.read().sessions().cloned().collect()
    }

    pub fn session(&self, id: [u8; 16]) -> Option<Arc<StoredSession>> {
        self.accounts.read().session(id).cloned()
    }

    /// Makes the change that `decide` names, having seen all users, tokens and sessions; no other change comes in between. Durable when this
    /// returns.
    ///
    /// The errors of `decide`; `USER_NOT_FOUND`, `TOKEN_NOT_FOUND`, `TOO_MANY_ACCOUNTS`, `INVALID_NAME`, `INVALID_DEFINITION`, `DISK_FULL`.
    pub async fn change_accounts(
        self: &Arc<Self>,
        decide: impl FnOnce(&Accounts) -> Result<AccountChange> + Send + 'static,
    ) -> Result<()> {
        let engine = Arc::clone(self);
        to_its_end(async move {
            let _changing = engine.changing_accounts.lock().await;
            let (change, records) = {
                let accounts = engine.accounts.read();
                let change = decide(&accounts)?;
                let records = accounts.records(&change)?;
                (change, records)
            };
            if records.is_empty() {
                return Ok(());
            }
            let write = if change.is_removal() { Write::Freeing } else { Write::Small };
            engine.parts.gate.check_space(write)?;
            engine.log.commit(account(records)).await?;
            engine.accounts.write().apply(change);
            Ok(())
        })
        .await
    }
}

/// What the folder knows of users, tokens and sessions.
pub(super) fn load_accounts(store: &Store) -> Result<Accounts> {
    let mut accounts = Accounts::default();
    for record in store.scan(Family::Meta, &[meta_key::USER])? {
        accounts.apply(AccountChange::PutUser(User::from_disk(&record?.1)?));
    }
    for record in store.scan(Family::Meta, &[meta_key::TOKEN])? {
        accounts.apply(AccountChange::PutToken(Token::from_disk(&record?.1)?));
    }
    for record in store.scan(Family::Meta, &[meta_key::SESSION])? {
        accounts.apply(AccountChange::PutSession(StoredSession::from_disk(&record?.1)?));
    }
    Ok(accounts)
}
