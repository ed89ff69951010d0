//! What may a table hold after a crash? Everything acknowledged, each batch under way wholly or not at all, nothing else.
//!
//! A row names its source, the batch that brought it, so that a restart shows of each batch by itself whether it is there. Where a row is,
//! in memory, in a built file or in a sealed one, makes no difference here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
use parking_lot::Mutex;
use tidewater_client::BatchResult;
use tidewater_storage::limits::BATCH_RESULTS;

use crate::seen::Seen;

pub type Source = i64;
/// A key and its source. Of a table with a primary key the source is 0: a key is there once, whoever brought it.
pub type Row = (i64, Source);
pub type Shared = Arc<Mutex<TableModel>>;

/// Keys that no other batch has, and keys that neighbours of other producers send as well.
const OWN_KEYS: i64 = 5;
const SHARED_KEYS: i64 = 4;
/// More than a test sends to one table.
const MAX_BATCHES: i64 = 1_000_000;

/// What makes a batch repeatable.
#[derive(Debug)]
enum By {
    Producer { id: String, sequence: u64 },
    IdempotencyKey,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Sent, or about to be; no answer.
    UnderWay,
    Stored,
    /// A restart showed that it was not stored.
    Absent,
    /// It was stored, and its rows went with a TRUNCATE.
    Truncated,
    /// It was stored, and its rows are past the retention of the table.
    Expired,
}

#[derive(Debug)]
struct Batch {
    by: By,
    /// Its own keys first.
    keys: Vec<i64>,
    /// Rows without a key, which are to be rejected.
    n_bad: usize,
    fate: Fate,
    /// A TRUNCATE was under way at the same time: the rows may be gone though the batch was stored.
    beside_truncate: bool,
    accepted: Option<u64>,
    /// Event time of its rows, if they have one.
    at_us: Option<i64>,
}

impl Batch {
    fn n_rows(&self) -> u64 {
        (self.keys.len() + self.n_bad) as u64
    }

    fn is_committed(&self) -> bool {
        matches!(self.fate, Fate::Stored | Fate::Truncated | Fate::Expired)
    }

    fn own_keys(&self) -> &[i64] {
        &self.keys[..OWN_KEYS as usize]
    }

    /// Its rows are there for sure, unless somebody takes them away from now on.
    fn is_there(&self, deleted: &BTreeSet<i64>) -> bool {
        self.fate == Fate::Stored && !self.beside_truncate && !self.is_deleted(deleted)
    }

    /// All rows that only this batch can have brought are deleted.
    fn is_deleted(&self, deleted: &BTreeSet<i64>) -> bool {
        self.own_keys().iter().all(|key| deleted.contains(key))
    }
}

/// A producer as its clients know it.
#[derive(Debug, Default)]
struct Position {
    epoch: u64,
    /// An InitProducer has no answer.
    epoch_under_way: bool,
    /// The last sequence that is known to be stored.
    last: u64,
    /// The source of each sequence that was ever sent.
    sent: Vec<Source>,
}

/// A batch to send, and whether it must be answered as a repeat.
pub struct ToSend {
    pub source: Source,
    pub rows: RecordBatch,
    pub is_repeat: bool,
}

/// What a restart showed of statements that had no answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settled {
    pub truncated: bool,
    pub deleted: bool,
}

/// What is known of the rows of a table at one moment.
#[derive(Debug)]
pub struct Known {
    /// Of batches that were acknowledged, deleted ones among them; without those that came beside a TRUNCATE.
    pub stored: Vec<Row>,
    /// Of all batches that were ever sent, the same.
    pub sent: Vec<Row>,
    /// Keys whose rows were deleted.
    pub deleted: BTreeSet<i64>,
    /// Keys that a DELETE without an answer names.
    pub deleting: BTreeSet<i64>,
    /// A TRUNCATE has no answer, and how many were ever begun.
    pub is_truncating: bool,
    pub n_truncates: usize,
}

/// All that was ever done to one table.
#[derive(Debug)]
pub struct TableModel {
    pub name: &'static str,
    pub has_key: bool,
    /// Shared keys come again after so many batches of a producer.
    period: u64,
    /// Sources count from here, for each table from elsewhere: rows of an older table of the same name would be noticed.
    first_source: Source,
    batches: BTreeMap<Source, Batch>,
    producers: BTreeMap<String, Position>,
    idempotent: Vec<Source>,
    /// What was surely stored before the TRUNCATE that has no answer.
    truncating: Option<BTreeSet<Source>>,
    n_truncates: usize,
    was_truncated: bool,
    /// Keys of rows that were deleted: they stay remembered, so no row has one of them before the next TRUNCATE.
    deleted: BTreeSet<i64>,
    /// Keys that a DELETE without an answer names: all of their rows are there, or none.
    deleting: BTreeSet<i64>,
    /// Keys that the DELETE under way names.
    n_named: usize,
    n_deletes: usize,
    /// Event time of rows that are sent now, if rows expire: those of any other have expired.
    now_us: Option<i64>,
}

impl TableModel {
    /// A table (id BIGINT NOT NULL, src BIGINT), with `id` as its primary key or without one; one whose rows expire has a time column `at`
    /// as well.
    pub fn new(name: &'static str, has_key: bool, period: u64) -> Shared {
        static TABLES: AtomicI64 = AtomicI64::new(0);
        let first_source = (TABLES.fetch_add(1, Ordering::Relaxed) + 1) * MAX_BATCHES;
        Arc::new(Mutex::new(Self {
            name,
            has_key,
            period,
            first_source,
            batches: BTreeMap::new(),
            producers: BTreeMap::new(),
            idempotent: Vec::new(),
            truncating: None,
            n_truncates: 0,
            was_truncated: false,
            deleted: BTreeSet::new(),
            deleting: BTreeSet::new(),
            n_named: 0,
            n_deletes: 0,
            now_us: None,
        }))
    }

    /// A server begins whose writers send rows of this event time. Rows of all servers before are past the retention.
    pub fn begin_age(&mut self, now_us: i64) {
        self.now_us = Some(now_us);
    }

    /// Rows are past a retention by and by, wherever they still are.
    pub fn expires(&self) -> bool {
        self.now_us.is_some()
    }

    /// Epoch and last sequence of a producer, as far as its clients know.
    pub fn position(&mut self, id: &str) -> (u64, u64) {
        let position = self.producers.entry(id.to_owned()).or_default();
        (position.epoch, position.last)
    }

    /// Everything that was sent has an answer.
    pub fn is_answered(&self) -> bool {
        self.batches.values().all(Batch::is_committed)
    }

    /// Batches that are known to be stored, now or before a TRUNCATE.
    pub fn n_committed(&self) -> usize {
        self.batches.values().filter(|batch| batch.is_committed()).count()
    }

    /// Some batch with this number or a later one was sent before.
    pub fn was_sent(&self, id: &str, sequence: u64) -> bool {
        self.producers.get(id).is_some_and(|position| sequence <= position.sent.len() as u64)
    }

    /// The batch with this number: the same one each time.
    pub fn numbered(&mut self, id: &str, sequence: u64) -> ToSend {
        let sent = self.producers.entry(id.to_owned()).or_default().sent.get(sequence as usize - 1).copied();
        let source = sent.unwrap_or_else(|| {
            let source = self.add(By::Producer { id: id.to_owned(), sequence }, sequence);
            self.producers.entry(id.to_owned()).or_default().sent.push(source);
            source
        });
        self.batch_of(source)
    }

    /// The number of writes with an idempotency key so far.
    pub fn n_idempotent(&self) -> usize {
        self.idempotent.len()
    }

    /// The n-th write (from 0) with an idempotency key, and the key: the same ones each time.
    pub fn idempotent(&mut self, n: usize) -> (String, ToSend) {
        let key = format!("key {n}");
        let source = self.idempotent.get(n).copied().unwrap_or_else(|| {
            let source = self.add(By::IdempotencyKey, n as u64);
            self.idempotent.push(source);
            source
        });
        (key, self.batch_of(source))
    }

    /// Rows that a table must refuse: they belong to no batch, so their appearance would be noticed.
    pub fn nobodys_rows(&self) -> RecordBatch {
        rows_of(&[i64::MAX], 0, 0, self.now_us)
    }

    fn add(&mut self, by: By, number: u64) -> Source {
        let source = self.first_source + self.batches.len() as Source;
        let shared = (number % self.period) as i64 * (SHARED_KEYS / 2);
        let own = (0..OWN_KEYS).map(|at| source * 100 + at);
        let keys = own.chain((1..=SHARED_KEYS).map(|at| -(shared + at))).collect();
        let n_bad = usize::from(source % 3 == 0);
        let (fate, at_us) = (Fate::UnderWay, self.now_us);
        let batch = Batch { by, keys, n_bad, fate, beside_truncate: false, accepted: None, at_us };
        self.batches.insert(source, batch);
        source
    }

    fn batch_of(&mut self, source: Source) -> ToSend {
        let truncating = self.truncating.is_some();
        let batch = self.batches.get_mut(&source).expect("a batch");
        let is_repeat = batch.is_committed();
        if !is_repeat {
            batch.fate = Fate::UnderWay;
            batch.beside_truncate |= truncating;
        }
        ToSend { source, rows: rows_of(&batch.keys, batch.n_bad, source, batch.at_us), is_repeat }
    }

    /// The answer to a batch. `is_repeat`: whether it must say so; `None` if the client may have sent it twice by itself.
    pub fn acknowledged(&mut self, source: Source, is_repeat: Option<bool>, result: &BatchResult) {
        let name = self.name;
        let batch = self.batches.get_mut(&source).expect("a batch");
        let what = format!("{name}: {:?} is answered {result:?}", batch.by);
        assert!(is_repeat.is_none_or(|expected| result.repeated == expected), "{what}, repeat: {is_repeat:?}");
        let counted = result.accepted + result.duplicates + result.rejected;
        // Of an older batch the server remembers only that it was there.
        let is_old = match &batch.by {
            By::Producer { id, sequence } => {
                self.producers.get(id).is_some_and(|of| of.sent.len() as u64 >= sequence + BATCH_RESULTS as u64)
            }
            _ => false,
        };
        if !(result.repeated && is_old && counted == 0) {
            assert_eq!(counted, result.received, "{what}");
            assert_eq!(result.received, batch.n_rows(), "{what}");
            assert_eq!(result.rejected, batch.n_bad as u64, "{what}");
            assert!(self.has_key || result.duplicates == 0, "{what}");
            assert!(batch.accepted.is_none_or(|before| before == result.accepted), "{what}, before: {batch:?}");
            batch.accepted = Some(result.accepted);
        }
        if batch.fate == Fate::UnderWay {
            batch.fate = Fate::Stored;
        }
        if let By::Producer { id, sequence } = &batch.by {
            assert_eq!(result.sequence, *sequence, "{what}");
            let position = self.producers.get_mut(id).expect("a producer");
            position.last = position.last.max(*sequence);
        }
    }

    pub fn begin_epoch(&mut self, id: &str) {
        self.producers.entry(id.to_owned()).or_default().epoch_under_way = true;
    }

    /// A producer that comes back learns where it stopped. A client that asked several times by itself may have begun several epochs.
    pub fn epoch_begun(&mut self, id: &str, (epoch, last, known): (u64, u64, bool), asked_once: bool) {
        let name = self.name;
        let position = self.producers.get_mut(id).expect("a producer");
        let expected = (position.epoch + 1, position.last, position.epoch > 0);
        let as_expected = match asked_once {
            true => (epoch, last, known) == expected,
            false => epoch >= expected.0 && last == expected.1,
        };
        assert!(as_expected, "{name}: {id} learns epoch {epoch}, last {last}, known {known}, expected {expected:?}");
        (position.epoch, position.epoch_under_way) = (epoch, false);
    }

    /// Rows are there for sure: whether a TRUNCATE took them can be told.
    pub fn has_rows(&self) -> bool {
        self.batches.values().any(|batch| batch.is_there(&self.deleted))
    }

    pub fn begin_truncate(&mut self) {
        self.n_truncates += 1;
        let stored = self.batches.iter().filter(|(_, batch)| batch.fate == Fate::Stored);
        self.truncating = Some(stored.map(|(source, _)| *source).collect());
        for batch in self.batches.values_mut().filter(|batch| batch.fate == Fate::UnderWay) {
            batch.beside_truncate = true;
        }
    }

    /// The TRUNCATE happened.
    pub fn truncated(&mut self) {
        self.was_truncated = true;
        self.deleted.clear();
        for source in self.truncating.take().expect("a TRUNCATE is under way") {
            self.batches.get_mut(&source).expect("a batch").fate = Fate::Truncated;
        }
    }

    /// Begins a DELETE of rows that are surely there: of a batch that was stored first or last, in turn. Returns their keys; none if there
    /// is no such batch. Of a table without a primary key only those that no other batch has.
    pub fn begin_delete(&mut self) -> Vec<i64> {
        let mut there = self.batches.values().filter(|batch| batch.is_there(&self.deleted));
        let batch = if self.n_deletes.is_multiple_of(2) { there.next() } else { there.next_back() };
        let keys = batch.map_or(Vec::new(), |batch| match self.has_key {
            true => batch.keys.clone(),
            false => batch.own_keys().to_vec(),
        });
        self.deleting = keys.iter().copied().filter(|key| !self.deleted.contains(key)).collect();
        self.n_named = keys.len();
        keys
    }

    /// The DELETE happened, and said how many rows went.
    pub fn deleted(&mut self, n_rows: u64) {
        // Rows past the retention go too, so that no longer one shows them again: those that are there still.
        let most = if self.expires() { self.n_named } else { self.deleting.len() };
        let may_be = self.deleting.len() as u64..=most as u64;
        assert!(may_be.contains(&n_rows), "{}: {n_rows} rows of {:?} went", self.name, self.deleting);
        self.deleted.append(&mut self.deleting);
        self.n_deletes += 1;
    }

    /// What a reader may see that begins or ends now.
    pub fn known(&self) -> Known {
        let mut known = Known {
            stored: Vec::new(),
            sent: Vec::new(),
            deleted: self.deleted.clone(),
            deleting: self.deleting.clone(),
            is_truncating: self.truncating.is_some(),
            n_truncates: self.n_truncates,
        };
        let is_gone = |batch: &Batch| matches!(batch.fate, Fate::Truncated | Fate::Expired);
        for (source, batch) in self.batches.iter().filter(|(_, batch)| !is_gone(batch)) {
            let source = if self.has_key { 0 } else { *source };
            let rows = batch.keys.iter().map(|key| (*key, source));
            if batch.fate == Fate::Stored && !batch.beside_truncate {
                known.stored.extend(rows.clone());
            }
            known.sent.extend(rows);
        }
        known
    }

    /// After a restart: tests what is there and learns what became of what was under way.
    pub fn settle(&mut self, seen: &Seen) -> Settled {
        let mut found: BTreeMap<Source, Vec<i64>> = BTreeMap::new();
        for (key, source) in &seen.rows {
            found.entry(*source).or_default().push(*key);
        }
        self.settle_producers(seen);
        let truncated = self.settle_truncate(&found);
        let deleted = self.settle_delete(seen);
        self.settle_expired();
        self.settle_batches(&mut found);
        assert!(found.is_empty(), "{}: rows of nobody: {found:?}", self.name);
        self.check_keys(seen);
        self.check_ledger(seen);
        Settled { truncated, deleted }
    }

    fn settle_producers(&mut self, seen: &Seen) {
        let name = self.name;
        for id in seen.producers.keys() {
            assert!(self.producers.contains_key(id), "{name}: nobody is producer {id}");
        }
        for (id, position) in &mut self.producers {
            let (epoch, last) = seen.producers.get(id).copied().unwrap_or_default();
            let next_epoch = position.epoch + u64::from(position.epoch_under_way);
            assert!((position.epoch..=next_epoch).contains(&epoch), "{name}: {id} has epoch {epoch}: {position:?}");
            let sent = position.sent.len() as u64;
            assert!((position.last..=sent).contains(&last), "{name}: {id} stands at {last}: {position:?}");
            (position.epoch, position.epoch_under_way, position.last) = (epoch, false, last);
        }
    }

    /// It happened if something that was surely stored before it is not there.
    fn settle_truncate(&mut self, found: &BTreeMap<Source, Vec<i64>>) -> bool {
        let Some(before) = &self.truncating else { return false };
        let is_gone = |source: &Source| {
            let batch = &self.batches[source];
            !batch.beside_truncate && !batch.is_deleted(&self.deleted) && !found.contains_key(source)
        };
        let happened = before.iter().any(is_gone);
        if happened {
            self.truncated();
        }
        self.truncating = None;
        happened
    }

    /// It happened if the rows that it names are gone. Half of it is there never.
    fn settle_delete(&mut self, seen: &Seen) -> bool {
        let deleting = std::mem::take(&mut self.deleting);
        let n_left = seen.rows.iter().filter(|(key, _)| deleting.contains(key)).count();
        let is_whole = n_left == 0 || n_left == deleting.len();
        assert!(is_whole, "{}: a DELETE left {n_left} of the rows {deleting:?}", self.name);
        let happened = n_left == 0 && !deleting.is_empty();
        if happened {
            self.deleted.extend(deleting);
            self.n_deletes += 1;
        }
        happened
    }

    /// What came before this server has expired: no row of it is seen again, and its keys stay taken. What was not stored is sent with
    /// another event time.
    fn settle_expired(&mut self) {
        let Some(now_us) = self.now_us else { return };
        for batch in self.batches.values_mut().filter(|batch| batch.at_us != Some(now_us)) {
            let By::Producer { id, sequence } = &batch.by else { panic!("nobody can tell what became of {batch:?}") };
            if *sequence > self.producers[id].last {
                batch.at_us = Some(now_us);
                continue;
            }
            batch.fate = Fate::Expired;
            if self.has_key {
                self.deleted.extend(&batch.keys);
            }
        }
    }

    fn settle_batches(&mut self, found: &mut BTreeMap<Source, Vec<i64>>) {
        for (source, batch) in &mut self.batches {
            let mut keys = found.remove(source).unwrap_or_default();
            keys.sort_unstable();
            let what = format!("{}: source {source}, {batch:?}, has rows {keys:?}", self.name);
            let committed = match &batch.by {
                By::Producer { id, sequence } => *sequence <= self.producers[id].last,
                By::IdempotencyKey => batch.is_committed() || !keys.is_empty(),
            };
            assert!(committed || !batch.is_committed(), "{what}, and its producer does not know of it");
            batch.fate = match (committed, keys.is_empty()) {
                (false, true) => Fate::Absent,
                (false, false) => panic!("{what}, and its producer does not know of it"),
                (true, true) if batch.fate == Fate::Truncated || batch.beside_truncate => Fate::Truncated,
                (true, true) if batch.fate == Fate::Expired => Fate::Expired,
                (true, true) if !batch.is_deleted(&self.deleted) => panic!("{what}, and was committed"),
                (true, _) => {
                    assert!(batch.fate != Fate::Truncated, "{what}, and was truncated");
                    assert!(batch.fate != Fate::Expired, "{what}, and had expired");
                    check_rows(batch, &keys, self.has_key, &self.deleted, &what);
                    Fate::Stored
                }
            };
            batch.beside_truncate = false;
        }
    }

    /// With a primary key: each key once, and every key of a batch that is there, unless its row was deleted.
    fn check_keys(&self, seen: &Seen) {
        if !self.has_key {
            return;
        }
        let found: BTreeSet<i64> = seen.rows.iter().map(|(key, _)| *key).collect();
        assert_eq!(found.len(), seen.rows.len(), "{}: a key is there twice", self.name);
        let stored = self.batches.values().filter(|batch| batch.fate == Fate::Stored);
        let brought: BTreeSet<i64> = stored.flat_map(|batch| batch.keys.iter().copied()).collect();
        let expected: BTreeSet<i64> = brought.difference(&self.deleted).copied().collect();
        assert_eq!(found, expected, "{}: keys", self.name);
    }

    /// The ledger stands in the same write as the rows: it counts each committed batch once.
    fn check_ledger(&self, seen: &Seen) {
        let (name, ledger) = (self.name, seen.ledger);
        let known = ledger.accepted + ledger.duplicate + ledger.rejected;
        assert_eq!(ledger.received, known + ledger.repeated, "{name}: {ledger:?}");
        let committed = || self.batches.values().filter(|batch| batch.is_committed());
        assert_eq!(known, committed().map(|batch| batch.n_rows() as i64).sum::<i64>(), "{name}: {ledger:?}");
        assert_eq!(ledger.rejected, committed().map(|batch| batch.n_bad as i64).sum::<i64>(), "{name}: {ledger:?}");
        assert_eq!(ledger.rejected, seen.rejected, "{name}: rows in system.rejected");
        if !self.was_truncated && !self.expires() {
            let n_rows = seen.rows.len() + self.deleted.len();
            assert_eq!(ledger.accepted, n_rows as i64, "{name}: {ledger:?}, {} deleted", self.deleted.len());
        }
    }
}

/// The rows of a batch that is there: its own keys all, the shared ones as far as it was the first to bring them; none that was deleted.
fn check_rows(batch: &mut Batch, found: &[i64], has_key: bool, deleted: &BTreeSet<i64>, what: &str) {
    let mut left: Vec<i64> = batch.keys.iter().copied().filter(|key| !deleted.contains(key)).collect();
    let n_deleted = (batch.keys.len() - left.len()) as u64;
    left.sort_unstable();
    if has_key {
        let mut own = batch.own_keys().iter().filter(|key| !deleted.contains(key));
        assert!(found.iter().all(|key| left.binary_search(key).is_ok()), "{what}, and should have some of {left:?}");
        assert!(own.all(|key| found.binary_search(key).is_ok()), "{what}");
    } else {
        assert_eq!(found, left, "{what}");
    }
    // Of a deleted row with a shared key nobody can tell any more who had brought it.
    let n_found = found.len() as u64;
    let may_be = n_found..=n_found + n_deleted;
    assert!(batch.accepted.is_none_or(|accepted| may_be.contains(&accepted)), "{what}");
    if n_deleted == 0 {
        batch.accepted = Some(n_found);
    }
}

fn rows_of(keys: &[i64], n_bad: usize, source: Source, at_us: Option<i64>) -> RecordBatch {
    let keys = keys.iter().copied().map(Some).chain(std::iter::repeat_n(None, n_bad));
    let keys: Int64Array = keys.collect();
    let n_rows = keys.len();
    let sources = Int64Array::from_value(source, n_rows);
    let mut columns: Vec<(&str, ArrayRef)> = vec![("id", Arc::new(keys)), ("src", Arc::new(sources))];
    if let Some(at_us) = at_us {
        columns.push(("at", Arc::new(TimestampMicrosecondArray::from_value(at_us, n_rows))));
    }
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    RecordBatch::try_from_iter_with_nullable(columns).expect("columns of one length")
}
