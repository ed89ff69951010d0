//! Which headers were found true a moment ago? Basic comes with every request, and hashing each would cost more than most requests.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tidewater_storage::User;
use tidewater_storage::env::{Clock, Rng};

/// After this a password is looked at again. A user who changed is noticed at once.
const TTL: Duration = Duration::from_secs(300);

const MAX_ENTRIES: usize = 10_000;

struct Entry {
    user: Arc<User>,
    /// By the clock's uptime.
    until: Duration,
}

/// Headers by a hash under a key that only this process knows.
pub(in crate::auth) struct Verified {
    key: [u8; 32],
    entries: Mutex<HashMap<[u8; 32], Entry>>,
    clock: Arc<dyn Clock>,
}

impl Verified {
    pub fn new(clock: Arc<dyn Clock>, rng: &dyn Rng) -> Self {
        let mut key = [0; 32];
        rng.fill(&mut key);
        Self { key, entries: Mutex::default(), clock }
    }

    /// The user, as they were when the header was found true.
    pub fn get(&self, header: &str) -> Option<Arc<User>> {
        let now = self.clock.uptime();
        self.entries
            .lock()
            .get(&self.hash(header))
            .filter(|entry| entry.until > now)
            .map(|entry| Arc::clone(&entry.user))
    }

    pub fn put(&self, header: &str, user: Arc<User>) {
        let now = self.clock.uptime();
        let mut entries = self.entries.lock();
        if entries.len() >= MAX_ENTRIES {
            entries.retain(|_, entry| entry.until > now);
        }
        if entries.len() >= MAX_ENTRIES {
            // All of them log in again once, which is rare and does no harm.
            entries.clear();
        }
        entries.insert(self.hash(header), Entry { user, until: now + TTL });
    }

    fn hash(&self, header: &str) -> [u8; 32] {
        Sha256::new().chain_update(self.key).chain_update(header.as_bytes()).finalize().into()
    }
}
