//! Is it the password? argon2id, on threads that may block, a few at a time: each takes 19 MiB and some ten milliseconds.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use argon2::{Argon2, PasswordHash, PasswordHasher, PasswordVerifier};
use tidewater_storage::env::Rng;
use tidewater_storage::{Code, Error, Result};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::Secret;

const MIN_PASSWORD_CHARS: usize = 8;
const MAX_PASSWORD_BYTES: usize = 1024;
const SALT_BYTES: usize = 16;

/// Who wants a password looked at while so many wait is told to come back.
const MAX_WAITING: usize = 256;

/// The hash of no password, with the cost of every other: a user who does not exist takes as long as a wrong password.
pub(super) const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IG5vYm9keSBubw$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Half of the cores: logging in must not keep queries from running.
static AT_ONCE: LazyLock<Semaphore> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Semaphore::new(cores.div_ceil(2))
});

static WAITING: AtomicUsize = AtomicUsize::new(0);

/// `INVALID_PASSWORD` for one that nobody should have.
pub(crate) fn check(password: &Secret) -> Result<()> {
    let text = password.expose();
    if text.chars().count() < MIN_PASSWORD_CHARS {
        return Err(Error::new(Code::InvalidPassword, "the password is too short")
            .hint(format!("choose one of at least {MIN_PASSWORD_CHARS} characters")));
    }
    if text.len() > MAX_PASSWORD_BYTES || text.chars().any(char::is_control) {
        return Err(Error::new(Code::InvalidPassword, "the password is too long, or has control characters")
            .hint(format!("choose one of at most {MAX_PASSWORD_BYTES} bytes on one line")));
    }
    Ok(())
}

/// What is stored of a password that [`check`] lets pass. `TOO_MANY_LOGINS`.
pub(crate) async fn hash(password: Secret, rng: &dyn Rng) -> Result<String> {
    let mut salt = [0; SALT_BYTES];
    rng.fill(&mut salt);
    let hashed = at_once(move || {
        let hash: Result<PasswordHash, _> =
            Argon2::default().hash_password_with_salt(password.expose().as_bytes(), &salt);
        hash.map(|hash| hash.to_string())
    });
    hashed.await?.map_err(|reason| Error::internal(format!("a password could not be hashed: {reason}")))
}

/// Whether `password` is that of `hash`. Takes as long without a hash, when the answer is no. `TOO_MANY_LOGINS`.
pub(crate) async fn verify(password: Secret, hash: Option<String>) -> Result<bool> {
    if password.expose().len() > MAX_PASSWORD_BYTES {
        return Ok(false);
    }
    let is_somebody = hash.is_some();
    let hash = hash.unwrap_or_else(|| NOBODY.to_owned());
    let is_it = at_once(move || Argon2::default().verify_password(password.expose().as_bytes(), hash.as_str()).is_ok());
    Ok(is_it.await? && is_somebody)
}

async fn at_once<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let permit = permit().await?;
    let done = tokio::task::spawn_blocking(move || {
        // Held to the end of the work, also when nobody waits for it any more.
        let _permit = permit;
        work()
    });
    done.await.map_err(|reason| Error::internal(format!("looking at a password ended early: {reason}")))
}

async fn permit() -> Result<SemaphorePermit<'static>> {
    struct Place;
    impl Drop for Place {
        fn drop(&mut self) {
            WAITING.fetch_sub(1, Ordering::Relaxed);
        }
    }
    let before = WAITING.fetch_add(1, Ordering::Relaxed);
    let _place = Place;
    if before >= MAX_WAITING {
        return Err(Error::new(Code::TooManyLogins, "too many callers log in with a password at once")
            .hint("try again in a moment, or use a token: looking at one costs nothing")
            .retry_after(Duration::from_secs(1)));
    }
    AT_ONCE.acquire().await.map_err(|_| Error::internal("nobody looks at passwords any more"))
}
