//! How many of the connections may one client have? All but a part, so that the others, and whoever looks after the server, still come in.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

/// The connections that each client has.
pub(super) struct Shares {
    max: usize,
    held: Mutex<HashMap<IpAddr, usize>>,
}

/// A connection that counts as one of its client, until it is dropped.
pub(super) struct Share {
    shares: Arc<Shares>,
    client: IpAddr,
}

impl Shares {
    /// Of `max_connections` a client has three quarters at most, and one at least.
    pub fn of(max_connections: usize) -> Arc<Self> {
        let max = (max_connections / 4 * 3).max(1);
        Arc::new(Self { max, held: Mutex::default() })
    }

    /// `None` if the client has as many as it may.
    pub fn take(self: &Arc<Self>, client: IpAddr) -> Option<Share> {
        let mut held = self.held.lock();
        let n = held.entry(client).or_default();
        if *n >= self.max {
            return None;
        }
        *n += 1;
        Some(Share { shares: Arc::clone(self), client })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.shares.held.lock();
        if let Some(n) = held.get_mut(&self.client) {
            *n -= 1;
            if *n == 0 {
                held.remove(&self.client);
            }
        }
    }
}
