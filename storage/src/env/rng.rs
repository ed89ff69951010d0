//! Where does randomness come from? Identities and hash keys; tests hand in a fixed source.

use uuid::Uuid;

pub trait Rng: Send + Sync {
    fn fill(&self, out: &mut [u8]);

    /// A random (version 4) UUID.
    fn uuid(&self) -> Uuid {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }
}

/// The operating system's source.
pub struct SystemRng;

impl Rng for SystemRng {
    #[expect(
        clippy::expect_used,
        reason = "without randomness identities would collide; Linux does not fail here after boot"
    )]
    fn fill(&self, out: &mut [u8]) {
        getrandom::fill(out).expect("the operating system gives randomness");
    }
}
