//! What does a caller present? The `Authorization` header, in every form that clients send.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::Secret;

/// Tokens of users: `tw_<id>_<secret>`.
pub(crate) const TOKEN_PREFIX: &str = "tw_";

/// Tokens of sessions.
pub(super) const SESSION_PREFIX: &str = "tws_";

/// What a Flight handshake gives: `twb_<claims>.<signature>`.
pub(super) const BEARER_PREFIX: &str = "twb_";

/// No header of ours is longer, and nothing longer is hashed.
const MAX_HEADER_BYTES: usize = 8 << 10;

/// Go clients leave the padding out, others send it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a header holds.
#[derive(Debug)]
pub(super) enum Presented {
    Password {
        user: String,
        password: Secret,
    },
    /// The token's id, and its secret.
    Token {
        id: String,
        secret: Secret,
    },
    Session(Secret),
    /// Signed by this server, or so it says.
    Bearer(Secret),
}

/// `None` for what is neither `Basic` nor a bearer of this server.
pub(super) fn parse(header: &str) -> Option<Presented> {
    if header.len() > MAX_HEADER_BYTES {
        return None;
    }
    let (scheme, value) = header.trim().split_once(' ')?;
    let value = value.trim();
    match scheme.to_ascii_lowercase().as_str() {
        "basic" => basic(value),
        "bearer" => bearer(value),
        _ => None,
    }
}

fn basic(value: &str) -> Option<Presented> {
    // Some send the alphabet of URLs.
    let standard: String = value
        .chars()
        .map(|c| match c {
            '-' => '+',
            '_' => '/',
            other => other,
        })
        .collect();
    let text = String::from_utf8(BASE64.decode(standard).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some(Presented::Password { user: user.to_owned(), password: Secret::new(password) })
}

fn bearer(value: &str) -> Option<Presented> {
    if value.starts_with(SESSION_PREFIX) {
        return Some(Presented::Session(Secret::new(value)));
    }
    if value.starts_with(BEARER_PREFIX) {
        return Some(Presented::Bearer(Secret::new(value)));
    }
    // The secret may hold the separator, the id may not.
    let (id, secret) = value.strip_prefix(TOKEN_PREFIX)?.split_once('_')?;
    Some(Presented::Token { id: id.to_owned(), secret: Secret::new(secret) })
}
