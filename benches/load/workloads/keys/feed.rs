//! How does one table get its keys? One producer, batches under way, and each answer held against what the keys say.

use std::time::Duration;

use anyhow::{Result, ensure};
use tidewater_client::{BatchResult, Client, Producer, ProducerOptions, RetryPolicy};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::stream::{Counts, Keys};

/// A connection is tried again so soon that a start is not measured by the client's patience.
const RETRY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(100));
/// When a server that has ended is silent for so long, all of its answers are here.
const SILENCE: Duration = Duration::from_millis(200);

/// When it was answered, how it must be, how it was.
type Answer = (Instant, Counts, tidewater_client::Result<BatchResult>);

pub struct Feed {
    pub keys: Keys,
    /// Of batches that were answered.
    pub acked: Counts,
    /// Batches that were stored already when the server got them.
    pub n_repeated: u64,
    /// The first answer since this was last taken.
    pub first_ack: Option<Instant>,
    producer: Producer,
    acks: JoinSet<Answer>,
}

impl Feed {
    /// Makes the table, which is built after so many rows.
    pub async fn new(client: &Client, keys: Keys) -> Result<Self> {
        client.execute_update(&keys.create()).await?;
        let retry = RetryPolicy { min_delay: RETRY.0, max_delay: RETRY.1, ..RetryPolicy::default() };
        let options = ProducerOptions { retry, ..ProducerOptions::default() };
        let producer = client.producer_with(keys.table(), "load", options).await?;
        Ok(Self { keys, acked: Counts::default(), n_repeated: 0, first_ack: None, producer, acks: JoinSet::new() })
    }

    /// Hands the next batch over; `false` when there is none.
    pub async fn send(&mut self) -> Result<bool> {
        let Some((batch, expected)) = self.keys.batch()? else { return Ok(false) };
        let ack = self.producer.send(batch).await?;
        self.acks.spawn(async move {
            let outcome = ack.await;
            (Instant::now(), expected, outcome)
        });
        while let Some(done) = self.acks.try_join_next() {
            self.take(done?)?;
        }
        Ok(true)
    }

    /// Batches without an answer.
    pub fn n_waiting(&self) -> usize {
        self.acks.len()
    }

    /// Until all is answered.
    pub async fn drain(&mut self) -> Result<()> {
        while let Some(done) = self.acks.join_next().await {
            self.take(done?)?;
        }
        Ok(())
    }

    /// Until a server that has ended cannot have answered more.
    pub async fn fall_silent(&mut self) -> Result<()> {
        while let Ok(Some(done)) = timeout(SILENCE, self.acks.join_next()).await {
            self.take(done?)?;
        }
        Ok(())
    }

    fn take(&mut self, (at, expected, outcome): Answer) -> Result<()> {
        let result = outcome?;
        let told = Counts { accepted: result.accepted, duplicates: result.duplicates };
        // What a batch was answered at first is known of the last few only; that it was stored is known of all.
        let is_untold = result.repeated && result.received == 0;
        let (table, sequence) = (self.keys.table(), result.sequence);
        ensure!(
            is_untold || told == expected,
            "batch {sequence} of {table} was answered {told:?}, it has {expected:?}"
        );
        ensure!(result.rejected == 0, "{} rows of batch {sequence} of {table} were refused", result.rejected);
        self.acked.add(expected);
        self.n_repeated += u64::from(result.repeated);
        self.first_ack.get_or_insert(at);
        Ok(())
    }
}
