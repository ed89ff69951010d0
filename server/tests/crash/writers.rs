//! How are rows sent, settled and deleted until the server dies? Streams, single writes by producer and by idempotency key, a stream with
//! TRUNCATEs, and single statements.
//!
//! Each writer begins where the last server left it: it sends the last stored batch again, then what has no answer, then new ones.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use tidewater_client::{
    Ack, BatchResult, Client, ClientOptions, Error, Identity, Producer, ProducerOptions, Result, RetryPolicy,
    SequenceMode, WriteOptions, reason,
};
use tokio::sync::watch;
use tonic::transport::{Channel, Endpoint};

use crate::model::{Shared, Source, ToSend};
use crate::process::Server;
use crate::seen::batches;

/// Batches of one stream that wait for their answers.
const UNDER_WAY: usize = 4;

/// A client, and what all writers of a test share.
#[derive(Clone)]
pub struct Caller {
    pub client: Client,
    retry: RetryPolicy,
    signals: Signals,
}

/// What a test hears of its writers, and tells them.
#[derive(Clone)]
pub struct Signals {
    n_acknowledged: Arc<watch::Sender<u64>>,
    finishing: Arc<AtomicBool>,
}

impl Signals {
    pub fn new() -> Self {
        Self { n_acknowledged: Arc::new(watch::Sender::new(0)), finishing: Arc::default() }
    }

    /// No new batches: writers end when everything that they ever sent is answered.
    pub fn finish(&self) {
        self.finishing.store(true, Ordering::SeqCst);
    }

    /// Returns when `n` more answers than now have come.
    pub async fn acknowledged(&self, n: u64) {
        let mut count = self.n_acknowledged.subscribe();
        let target = *count.borrow() + n;
        count.wait_for(|count| *count >= target).await.expect("the sender is here");
    }
}

/// What a procedure came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Came {
    pub delta_version: Option<i64>,
    /// The last entry that is settled.
    pub through: i64,
    pub rows: i64,
}

impl Caller {
    /// Sees each failure: nothing is tried a second time.
    pub async fn connect(address: &str, signals: &Signals) -> Self {
        Self::try_connect(address, signals).await.expect("connects")
    }

    /// The same; `None`: the server died.
    pub async fn try_connect(address: &str, signals: &Signals) -> Option<Self> {
        let retry = RetryPolicy { give_up_after: Some(Duration::ZERO), ..RetryPolicy::default() };
        Self::connect_with(address, retry, signals).await
    }

    /// Rides out what it can, as users' programs do.
    pub async fn connect_patiently(address: &str, signals: &Signals) -> Self {
        let retry = RetryPolicy {
            min_delay: Duration::from_millis(1),
            max_delay: Duration::from_millis(20),
            give_up_after: Some(Duration::from_secs(60)),
        };
        Self::connect_with(address, retry, signals).await.expect("connects")
    }

    async fn connect_with(address: &str, retry: RetryPolicy, signals: &Signals) -> Option<Self> {
        let options = ClientOptions { retry, ..ClientOptions::default() };
        let client = survived(Client::connect_with(address, options).await)?;
        Some(Self { client, retry, signals: signals.clone() })
    }

    /// Nothing new is wanted.
    pub fn is_finishing(&self) -> bool {
        self.signals.finishing.load(Ordering::SeqCst)
    }

    pub fn note_acknowledged(&self) {
        self.signals.n_acknowledged.send_modify(|count| *count += 1);
    }

    fn sends_once(&self) -> bool {
        self.retry.give_up_after == Some(Duration::ZERO)
    }

    pub async fn write(&self, table: &str, batch: &ToSend, identity: Identity) -> Result<BatchResult> {
        self.client.write(table, &batch.rows, identity, &WriteOptions::default()).await
    }

    /// Tells the model what came of a batch; false if the server died.
    pub fn answered(&self, table: &Shared, source: Source, is_repeat: bool, answer: Result<BatchResult>) -> bool {
        if let Some(result) = survived(answer) {
            table.lock().acknowledged(source, self.sends_once().then_some(is_repeat), &result);
            self.note_acknowledged();
            return true;
        }
        false
    }

    /// A batch of an older epoch is refused; false if the server died.
    pub async fn is_fenced(&self, table: &Shared, id: &str) -> bool {
        let (name, (epoch, last), rows) = {
            let mut table = table.lock();
            (table.name, table.position(id), table.nobodys_rows())
        };
        let identity = numbered(id, epoch - 1, last + 1);
        let answer = self.client.write(name, &rows, identity, &WriteOptions::default()).await;
        match answer {
            Err(error) if error.reason() == "PRODUCER_FENCED" => true,
            answer => {
                let stored = survived(answer);
                assert!(stored.is_none(), "{name}: {id} wrote with an epoch older than {epoch}: {stored:?}");
                false
            }
        }
    }

    /// Runs a procedure over a table; `None`: the server died.
    pub async fn call(&self, procedure: &str, table: &str) -> Option<Came> {
        let answer = batches(&self.client, &format!("CALL {procedure}('{table}')")).await?;
        assert!(matches!(answer.as_slice(), [row] if row.num_rows() == 1), "{procedure} answers {answer:?}");
        let number = |name: &str| {
            let column = answer[0].column_by_name(name).unwrap_or_else(|| panic!("{procedure} has no {name}"));
            let column = column.as_primitive::<Int64Type>();
            column.is_valid(0).then(|| column.value(0))
        };
        let known = |name: &str| number(name).unwrap_or_else(|| panic!("{procedure} does not say {name}"));
        self.note_acknowledged();
        Some(Came { delta_version: number("delta_version"), through: known("through"), rows: known("rows") })
    }

    /// Looks at everything that a table holds: nothing of it is wrong.
    pub async fn verify(&self, table: &str) {
        let checks = batches(&self.client, &format!("CALL verify('{table}')")).await.expect("the server lives");
        assert!(checks.iter().any(|checks| checks.num_rows() > 0), "{table}: nothing was checked");
        for checks in &checks {
            let is_ok = checks.column_by_name("ok").expect("what came of each check").as_boolean();
            assert!(is_ok.iter().all(|is_ok| is_ok != Some(false)), "{table}: {checks:?}");
        }
    }

    /// Deletes rows that are surely there, if there are any; false if the server died.
    pub async fn delete(&self, table: &Shared) -> bool {
        let (name, keys) = {
            let mut table = table.lock();
            (table.name, table.begin_delete())
        };
        let keys: Vec<String> = keys.iter().map(i64::to_string).collect();
        if keys.is_empty() {
            return true;
        }
        let statement = format!("DELETE FROM {name} WHERE id IN ({})", keys.join(", "));
        let Some(n_rows) = survived(self.client.execute_update(&statement).await) else { return false };
        table.lock().deleted(n_rows);
        self.note_acknowledged();
        true
    }

    /// Empties the table if rows are surely there; false if the server died.
    pub async fn truncate(&self, table: &Shared) -> bool {
        let name = {
            let mut table = table.lock();
            if !table.has_rows() {
                return true;
            }
            table.begin_truncate();
            table.name
        };
        if survived(self.client.execute_update(&format!("TRUNCATE TABLE {name}")).await).is_none() {
            return false;
        }
        table.lock().truncated();
        self.note_acknowledged();
        true
    }

    /// Begins a new epoch, on a stream of its own.
    async fn producer(&self, table: &Shared, id: &str) -> Option<Producer> {
        let (name, (_, last)) = {
            let mut table = table.lock();
            table.begin_epoch(id);
            (table.name, table.position(id))
        };
        let options = ProducerOptions { retry: self.retry, last_acked: Some(last), ..ProducerOptions::default() };
        let producer = survived(self.client.producer_with(name, id, options).await)?;
        let learned = (producer.epoch(), producer.last_sequence(), producer.was_known());
        table.lock().epoch_begun(id, learned, self.sends_once());
        self.is_fenced(table, id).await.then_some(producer)
    }
}

/// For calls that the client does not offer.
pub fn channel(server: &Server) -> Channel {
    Endpoint::from_shared(format!("http://{}", server.grpc)).expect("an address").connect_lazy()
}

/// `None` if the answer did not come because the server died. Any other error is the server's own, and must not be.
#[track_caller]
pub fn survived<T>(answer: Result<T>) -> Option<T> {
    answer.map_err(|error| assert!(is_death(&error), "an answer that nobody expected: {error:?}")).ok()
}

/// The answer did not come because the server died.
pub fn is_death(error: &Error) -> bool {
    let of_transport = matches!(error.reason(), "" | reason::TRANSPORT) && error.is_retryable();
    of_transport || error.reason() == reason::PRODUCER_STOPPED
}

pub fn numbered(id: &str, epoch: u64, sequence: u64) -> Identity {
    Identity::Producer { id: id.to_owned(), epoch, sequence, mode: SequenceMode::Contiguous }
}

/// One stream of one producer.
struct Feed<'a> {
    caller: &'a Caller,
    table: &'a Shared,
    id: &'a str,
    producer: Producer,
    sequence: u64,
    waiting: VecDeque<(Source, bool, Ack)>,
}

impl<'a> Feed<'a> {
    async fn open(caller: &'a Caller, table: &'a Shared, id: &'a str) -> Option<Self> {
        let producer = caller.producer(table, id).await?;
        let sequence = producer.last_sequence().max(1);
        Some(Self { caller, table, id, producer, sequence, waiting: VecDeque::new() })
    }

    /// Nothing is left to be sent again, and nothing new is wanted.
    fn is_done(&self) -> bool {
        self.caller.is_finishing() && !self.table.lock().was_sent(self.id, self.sequence)
    }

    async fn send(&mut self) -> bool {
        let ToSend { source, rows, is_repeat } = self.table.lock().numbered(self.id, self.sequence);
        let Some(ack) = survived(self.producer.send_at(self.sequence, rows).await) else { return false };
        self.waiting.push_back((source, is_repeat, ack));
        self.sequence += 1;
        true
    }

    /// Waits until at most `n` batches have no answer.
    async fn wait(&mut self, n: usize) -> bool {
        while self.waiting.len() > n
            && let Some((source, is_repeat, ack)) = self.waiting.pop_front()
        {
            if !self.caller.answered(self.table, source, is_repeat, ack.await) {
                return false;
            }
        }
        true
    }

    /// Answers that came before the server died.
    async fn end(mut self, survived: bool) -> bool {
        let survived = self.wait(0).await && survived;
        if survived {
            self.producer.close().await.expect("everything is answered");
        }
        survived
    }
}

/// A stream of batches, a few under way at a time. False: the server died.
pub async fn stream(caller: &Caller, table: &Shared, id: &str) -> bool {
    let Some(mut feed) = Feed::open(caller, table, id).await else { return false };
    while !feed.is_done() {
        if !(feed.send().await && feed.wait(UNDER_WAY - 1).await) {
            return feed.end(false).await;
        }
    }
    feed.end(true).await
}

/// A stream that empties its table again and again, with two batches surely before each TRUNCATE and two beside it.
pub async fn truncating_stream(caller: &Caller, table: &Shared, id: &str) -> bool {
    let Some(mut feed) = Feed::open(caller, table, id).await else { return false };
    while !feed.is_done() {
        let ready = feed.send().await && feed.send().await && feed.wait(0).await;
        let begun = ready && feed.send().await && feed.send().await;
        if !(begun && caller.truncate(table).await && feed.wait(0).await) {
            return feed.end(false).await;
        }
    }
    feed.end(true).await
}

/// Single writes by a producer, from some batches back: further than the server remembers what it answered.
pub async fn single_writes(caller: &Caller, table: &Shared, id: &str) -> bool {
    let Some(producer) = caller.producer(table, id).await else { return false };
    let (epoch, mut sequence) = (producer.epoch(), producer.last_sequence().saturating_sub(6).max(1));
    let name = table.lock().name;
    while !caller.is_finishing() || table.lock().was_sent(id, sequence) {
        let batch = table.lock().numbered(id, sequence);
        let answer = caller.write(name, &batch, numbered(id, epoch, sequence)).await;
        if !caller.answered(table, batch.source, batch.is_repeat, answer) {
            return false;
        }
        sequence += 1;
    }
    true
}

/// Single writes by idempotency key.
pub async fn idempotent_writes(caller: &Caller, table: &Shared) -> bool {
    let name = table.lock().name;
    let mut n = table.lock().n_idempotent().saturating_sub(2);
    while !caller.is_finishing() || n < table.lock().n_idempotent() {
        let (key, batch) = table.lock().idempotent(n);
        let answer = caller.write(name, &batch, Identity::IdempotencyKey(key)).await;
        if !caller.answered(table, batch.source, batch.is_repeat, answer) {
            return false;
        }
        n += 1;
    }
    true
}
