//! How is a secret carried through the process? In a type that prints nothing of it.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use tidewater_storage::env::Rng;

/// Bytes of the secrets that the server makes up: nobody guesses 256 bits, so a fast hash keeps them.
const SECRET_BYTES: usize = 32;

/// A password, a token or a code.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself: for who must have it, not for a log.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A new secret of 256 bits as text without signs that need quotes.
pub(crate) fn random_secret(rng: &dyn Rng) -> Secret {
    let mut bytes = [0; SECRET_BYTES];
    rng.fill(&mut bytes);
    Secret(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

/// What is kept of a secret that the server made up.
pub(crate) fn hash_of(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// Compares without telling by its time where the two differ.
pub(super) fn is_same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    let differs = a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b));
    std::hint::black_box(differs) == 0
}
