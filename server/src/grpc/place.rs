//! Who holds the place of a message? Its body while it comes, then the handler that has it in hand, until it is decoded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::Extensions;
use parking_lot::Mutex;
use tidewater_storage::memory::Arriving;

/// What is held for messages of one call. Given back when dropped.
pub(crate) type Places = Vec<Arriving>;

/// Where a body leaves the places of what has come. It is among the extensions of its request.
#[derive(Debug, Clone, Default)]
pub(crate) struct MessagePlace(Arc<Kept>);

#[derive(Debug, Default)]
struct Kept {
    places: Mutex<Places>,
    waits: AtomicBool,
    has_waited: AtomicBool,
    is_held_back: AtomicBool,
}

impl MessagePlace {
    /// Of a request; a new one, which never holds anything, where nobody counts messages.
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_default()
    }

    /// For the message that was read last. Who reads a stream takes it at once: it goes when the next message is asked for.
    pub fn take(&self) -> Places {
        self.0.has_waited.store(false, Ordering::Relaxed);
        std::mem::take(&mut *self.0.places.lock())
    }

    /// The next message waits for a place: its client is not to blame that it does not come.
    pub fn waits(&self) -> bool {
        self.0.waits.load(Ordering::Relaxed)
    }

    /// It does, or did.
    pub fn has_waited(&self) -> bool {
        self.0.has_waited.load(Ordering::Relaxed)
    }

    /// From now on the next message of a stream does not begin, and holds nothing; or it may again. Who reads the stream meanwhile waits,
    /// and is told of its end only. They ask again afterwards: nobody wakes them.
    pub fn hold_back(&self, is_held_back: bool) {
        self.0.is_held_back.store(is_held_back, Ordering::Relaxed);
    }

    pub(super) fn is_held_back(&self) -> bool {
        self.0.is_held_back.load(Ordering::Relaxed)
    }

    pub(super) fn put(&self, place: Option<Arriving>) {
        self.0.places.lock().extend(place);
    }

    /// Nobody took what is here, and nobody will.
    pub(super) fn clear(&self) {
        self.0.places.lock().clear();
    }

    pub(super) fn is_held(&self) -> bool {
        !self.0.places.lock().is_empty()
    }

    pub(super) fn note_waiting(&self, waits: bool) {
        self.0.waits.store(waits, Ordering::Relaxed);
        self.0.has_waited.fetch_or(waits, Ordering::Relaxed);
    }
}
