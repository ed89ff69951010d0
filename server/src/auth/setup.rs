//! How does the first user come to be? With a code that this process made up and told whoever started it.

use std::sync::Arc;

use parking_lot::Mutex;
use tidewater_query::{Grant, Role, TablePattern};
use tidewater_storage::env::Rng;
use tidewater_storage::{AccountChange, Code, Engine, Error, Result, User};

use super::secret::{hash_of, is_same, random_secret};
use super::{ANONYMOUS, Secret, grants, passwords};

/// The code, until it is used or there is a user.
pub(super) struct Setup(Mutex<Option<Secret>>);

impl Setup {
    pub fn new(storage: &Engine, rng: &dyn Rng) -> Self {
        Self(Mutex::new((!storage.has_users()).then(|| random_secret(rng))))
    }

    pub fn code(&self, storage: &Engine) -> Option<Secret> {
        self.0.lock().clone().filter(|_| !storage.has_users())
    }

    /// Makes the first user, an admin of everything. `UNAUTHENTICATED` for another code, `USER_EXISTS` once there is a user.
    pub async fn make(&self, storage: &Arc<Engine>, code: &Secret, name: String, password: Secret) -> Result<()> {
        let wanted = self.code(storage).ok_or_else(there_is_one)?;
        if !is_same(&hash_of(code.expose()), &hash_of(wanted.expose())) {
            return Err(Error::new(Code::Unauthenticated, "the code is not that of this start of the server")
                .hint("open the link that the server printed when it started last"));
        }
        passwords::check(&password)?;
        check_name(&name)?;
        let env = storage.env();
        let hash = passwords::hash(password, &*env.rng).await?;
        let now_us = env.clock.now_us();
        let user = User {
            name: name.clone(),
            password_hash: Some(hash),
            grants: grants::to_stored(&[Grant::new(Role::Admin, TablePattern::All)]),
            disabled: false,
            created_at_us: now_us,
            changed_at_us: now_us,
        };
        let first = storage.change_accounts(move |accounts| match accounts.users().next() {
            Some(_) => Err(there_is_one()),
            None => Ok(AccountChange::PutUser(user)),
        });
        first.await?;
        self.0.lock().take();
        tracing::info!(principal = name, kind = "user.create", user = name, "the first user was made");
        Ok(())
    }
}

/// `INVALID_NAME` for the name that stands for everybody.
pub(crate) fn check_name(name: &str) -> Result<()> {
    if name != ANONYMOUS {
        return Ok(());
    }
    Err(Error::new(Code::InvalidName, format!("'{ANONYMOUS}' is every caller of a server without access control"))
        .hint("choose another name"))
}

fn there_is_one() -> Error {
    Error::new(Code::UserExists, "there is a user already")
        .hint("an administrator makes further ones: tidewater user create")
}
