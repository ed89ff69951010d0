//! How far have the producers come? When each was last active, with its largest event time: the watermark of a table.

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;

use crate::ids::{CommitSeq, ProducerId};

/// When each producer was last active, and its largest event time: the watermark stands on it.
#[derive(Default)]
pub(crate) struct Activity(Mutex<HashMap<ProducerId, Active>>);

/// What is known of one producer.
#[derive(Default)]
struct Active {
    /// The stamp of its last visible entry, and its largest event time up to there.
    seen: (i64, Option<i64>),
    /// The same of its entries that are not visible yet, oldest first.
    coming: VecDeque<(CommitSeq, i64, Option<i64>)>,
}

impl Active {
    fn see(&mut self, visible: CommitSeq) {
        while let Some(&(seq, stamp_us, max_event_us)) = self.coming.front()
            && seq <= visible
        {
            self.seen = (stamp_us, max_event_us);
            self.coming.pop_front();
        }
    }

    fn last_stamp_us(&self) -> i64 {
        self.coming.back().map_or(self.seen.0, |(_, stamp_us, _)| *stamp_us)
    }
}

/// A producer that was silent for this long does not hold the watermark back.
const ACTIVE_US: i64 = 60_000_000;

impl Activity {
    /// The table is opened from its log, which may not have what was on its way.
    pub(crate) fn clear(&self) {
        self.0.lock().clear();
    }

    /// A batch of a producer stands in entry `seq`, whose stamp is `stamp_us`; what is up to `visible` is seen by queries.
    pub(crate) fn note(
        &self,
        id: &ProducerId,
        (seq, visible): (CommitSeq, CommitSeq),
        stamp_us: i64,
        max_event_us: Option<i64>,
    ) {
        let mut active = self.0.lock();
        let producer = active.entry(id.clone()).or_default();
        match producer.coming.back_mut() {
            Some(last) if last.0 == seq => *last = (seq, stamp_us, max_event_us),
            _ => producer.coming.push_back((seq, stamp_us, max_event_us)),
        }
        producer.see(visible);
    }

    /// The smallest, over active producers, of the largest event time in entries up to `visible`; never above `now_us`.
    pub(crate) fn watermark(&self, now_us: i64, visible: CommitSeq) -> Option<i64> {
        let mut active = self.0.lock();
        active.retain(|_, producer| now_us.saturating_sub(producer.last_stamp_us()) <= ACTIVE_US);
        active.values_mut().for_each(|producer| producer.see(visible));
        active.values().filter_map(|producer| producer.seen.1).min().map(|event| event.min(now_us))
    }
}

#[cfg(test)]
mod tests;
