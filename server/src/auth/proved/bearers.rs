//! Which bearers did this server give? Signed claims: whoever has the key of the folder can tell, after a restart as well.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use prost::Message;
use ring::hmac;
use tidewater_storage::{Engine, SigningKey, User};

use super::SessionId;
use crate::auth::header::{self, BEARER_PREFIX, Presented};
use crate::auth::secret::hash_of;
use crate::auth::{ANONYMOUS, Secret};

/// How long a bearer of a handshake holds.
const LIFE: Duration = Duration::from_secs(24 * 3600);

/// How long one holds that stands for a certificate. It never leaves the process, and a request is read as a whole before its handler looks
/// at it: on a slow line that takes minutes.
const CERTIFICATE_LIFE: Duration = Duration::from_secs(3600);

/// A fresh one is given when less than this part of its life is left.
const RENEW_BELOW_PERCENT: i64 = 20;

/// What was proved for a bearer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(in crate::auth) enum By {
    /// Nobody is asked.
    Nothing = 0,
    Password = 1,
    Certificate = 2,
}

/// What a bearer says. Times are microseconds since 1970.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::auth) struct Claims {
    #[prost(string, tag = "1")]
    pub user: String,
    #[prost(enumeration = "By", tag = "2")]
    pub by: i32,
    /// The bearer ends when its user's [`stamp`] is another one.
    #[prost(bytes = "vec", tag = "3")]
    pub stamp: Vec<u8>,
    /// Empty: none.
    #[prost(bytes = "vec", tag = "4")]
    pub session: Vec<u8>,
    /// Something was set in that session: without it statements would mean something else.
    #[prost(bool, tag = "5")]
    pub has_settings: bool,
    #[prost(int64, tag = "6")]
    pub issued_at_us: i64,
    #[prost(int64, tag = "7")]
    pub expires_at_us: i64,
}

/// What must stay as it is for a bearer to hold: a password's hash, which is salted, or a user, who may be dropped and made again.
pub(in crate::auth) fn stamp(by: By, user: &User) -> Option<Vec<u8>> {
    match by {
        By::Nothing => None,
        By::Password => user.password_hash.as_deref().map(|hash| hash_of(hash).to_vec()),
        By::Certificate => Some(hash_of(&user.created_at_us.to_string()).to_vec()),
    }
}

/// A bearer with a session of its own, for what was proved just now.
pub(in crate::auth) async fn give(storage: &Arc<Engine>, user: Option<&User>, by: By) -> Secret {
    static TOLD: AtomicBool = AtomicBool::new(false);
    if let Err(error) = storage.keep_signing_key().await
        && !TOLD.swap(true, Ordering::Relaxed)
    {
        // Once: the disk is full, and the log may be on it.
        tracing::warn!(%error, "the key of bearers cannot be kept: those that are given now end with this process");
    }
    let mut session = [0; 16];
    storage.env().rng.fill(&mut session);
    let claims = claims(storage, user, by, LIFE);
    sign(&storage.signing_key(), &Claims { session: session.to_vec(), ..claims })
}

/// What stands for a certificate that was verified, in the request that comes over its connection. Whether the user is there, and may log in,
/// is looked at when it is read.
pub(in crate::auth) fn of_certificate(storage: &Engine, name: &str) -> Secret {
    let user = storage.user(name);
    let claims = claims(storage, user.as_deref(), By::Certificate, CERTIFICATE_LIFE);
    sign(&storage.signing_key(), &Claims { user: name.to_owned(), ..claims })
}

fn claims(storage: &Engine, user: Option<&User>, by: By, life: Duration) -> Claims {
    let now_us = storage.env().clock.now_us();
    Claims {
        user: user.map_or(ANONYMOUS, |user| user.name.as_str()).to_owned(),
        by: by.into(),
        stamp: user.and_then(|user| stamp(by, user)).unwrap_or_default(),
        session: Vec::new(),
        has_settings: false,
        issued_at_us: now_us,
        expires_at_us: now_us.saturating_add(micros(life)),
    }
}

/// The claims of a bearer that this server gave and that has not expired.
pub(in crate::auth) fn read(storage: &Engine, bearer: &Secret) -> Option<Claims> {
    signed(storage, bearer).filter(|claims| claims.expires_at_us > storage.env().clock.now_us())
}

/// The claims of a bearer that this server gave at any time.
fn signed(storage: &Engine, bearer: &Secret) -> Option<Claims> {
    let (signed, tag) = bearer.expose().rsplit_once('.')?;
    let tag = BASE64_URL_SAFE_NO_PAD.decode(tag).ok()?;
    hmac::verify(&hmac_key(&storage.signing_key()), signed.as_bytes(), &tag).ok()?;
    let body = BASE64_URL_SAFE_NO_PAD.decode(signed.strip_prefix(BEARER_PREFIX)?).ok()?;
    Claims::decode(body.as_slice()).ok()
}

fn sign(key: &SigningKey, claims: &Claims) -> Secret {
    let signed = format!("{BEARER_PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(claims.encode_to_vec()));
    let tag = hmac::sign(&hmac_key(key), signed.as_bytes());
    Secret::new(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(tag.as_ref())))
}

fn hmac_key(key: &SigningKey) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, &key.0)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// A client that presents the bearer of a handshake. Whether the bearer lets it in is another question.
#[derive(Debug, Clone)]
pub struct Login {
    claims: Claims,
    session: SessionId,
}

impl Login {
    /// `None` for any other header, and for bearers without a session. One that has expired still names its session: where nobody is asked who
    /// they are it goes on to be presented, and what was set must not be forgotten in silence.
    pub fn of(storage: &Engine, authorization: Option<&str>) -> Option<Self> {
        let Some(Presented::Bearer(bearer)) = header::parse(authorization?) else { return None };
        let claims = signed(storage, &bearer)?;
        let session = SessionId(<[u8; 16]>::try_from(claims.session.as_slice()).ok()?);
        Some(Self { claims, session })
    }

    pub fn user(&self) -> &str {
        &self.claims.user
    }

    /// What this client sets holds for the calls with its bearer.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// When the bearer was given, microseconds since 1970: its session had not ended then.
    pub fn issued_at_us(&self) -> i64 {
        self.claims.issued_at_us
    }

    /// Something was set in that session.
    pub fn has_settings(&self) -> bool {
        self.claims.has_settings
    }

    /// The bearer that also says whether something is set in its session; it ends when this one does.
    pub fn saying(&self, storage: &Engine, has_settings: bool) -> Secret {
        sign(&storage.signing_key(), &Claims { has_settings, ..self.claims.clone() })
    }

    /// The next bearer, when this one soon ends. Certificates end by themselves, and bearers for them are not renewed.
    pub fn renewed(&self, storage: &Engine) -> Option<Secret> {
        let now_us = storage.env().clock.now_us();
        let left_us = self.claims.expires_at_us.saturating_sub(now_us);
        if self.claims.by() == By::Certificate || left_us >= micros(LIFE) / 100 * RENEW_BELOW_PERCENT {
            return None;
        }
        let (issued_at_us, expires_at_us) = (now_us, now_us.saturating_add(micros(LIFE)));
        Some(sign(&storage.signing_key(), &Claims { issued_at_us, expires_at_us, ..self.claims.clone() }))
    }
}
