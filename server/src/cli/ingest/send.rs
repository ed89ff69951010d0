//! How are rows sent that may be unreadable? As JSON, one call after the other, each repeated until it is answered.
//!
//! The client library's producer sends Arrow only. One call at a time is enough here: the next chunk is read and encoded
//! meanwhile.

use std::future::Future;
use std::time::Duration;

use tidewater_client::{BatchResult, Client, Error, RetryPolicy, TableName, Transport};
use tidewater_proto::ingest::v1 as pb;
use tidewater_proto::ingest::v1::ingest_client::IngestClient;
use tonic::Status;

use super::waits::Waits;

/// Stores chunks of JSON in order, each exactly once.
pub(super) struct JsonProducer {
    ingest: IngestClient<Transport>,
    /// What all requests have in common.
    request: pb::WriteRequest,
    stored: u64,
    waits: Waits,
}

impl JsonProducer {
    /// Takes over the producer `id` of a table: older loads of the same file are fenced.
    pub(super) async fn start(
        client: &Client,
        table: TableName,
        id: &str,
        on_row_error: pb::OnRowError,
        waits: Waits,
    ) -> Result<Self, Error> {
        let ingest = client.ingest_service();
        let table = pb::TableRef::from(table);
        let init = pb::InitProducerRequest { table: Some(table.clone()), producer_id: id.to_owned(), reset: false };
        let begin = || {
            let (mut ingest, init) = (ingest.clone(), init.clone());
            async move { Ok(ingest.init_producer(init).await?.into_inner()) }
        };
        let info = until_answered(begin, &waits).await?;
        let producer = pb::Producer {
            id: id.to_owned(),
            epoch: info.epoch,
            mode: pb::SequenceMode::Monotonic.into(),
            last_acked: Some(info.last_sequence),
        };
        // Unknown names must not be ignored: they are how `text` says that a row cannot be read.
        let options = pb::BatchOptions {
            on_row_error: on_row_error.into(),
            schema_policy: pb::SchemaPolicy::Strict.into(),
            ..Default::default()
        };
        let request = pb::WriteRequest {
            table: Some(table),
            producer: Some(producer),
            options: Some(options),
            ..Default::default()
        };
        Ok(Self { ingest, request, stored: info.last_sequence, waits })
    }

    /// The highest sequence that is stored; 0 if there is none.
    pub(super) fn last_sequence(&self) -> u64 {
        self.stored
    }

    /// Stores one object a line under a sequence above the last.
    pub(super) async fn write(&mut self, sequence: u64, lines: Vec<u8>) -> Result<BatchResult, Error> {
        let payload = pb::Payload { format: Some(pb::payload::Format::JsonRows(lines.into())) };
        let request = pb::WriteRequest { sequence, payload: Some(payload), ..self.request.clone() };
        let result = stored(&self.ingest, &request, &self.waits).await?;
        self.stored = self.stored.max(sequence);
        if let Some(producer) = &mut self.request.producer {
            producer.last_acked = Some(self.stored);
        }
        Ok(result)
    }
}

/// Sends one batch, with its number or key, until it is answered.
pub(super) async fn stored(
    ingest: &IngestClient<Transport>,
    request: &pb::WriteRequest,
    waits: &Waits,
) -> Result<BatchResult, Error> {
    let write = || {
        let (mut ingest, request) = (ingest.clone(), request.clone());
        async move {
            let answer = ingest.write(request).await?.into_inner().result;
            BatchResult::try_from(answer.ok_or_else(|| Status::data_loss("a write was answered without a result"))?)
        }
    };
    until_answered(write, waits).await
}

/// Calls again as patiently as the client library does. A batch is known by its number, so a second try stores nothing twice.
async fn until_answered<T, F>(call: impl Fn() -> F, waits: &Waits) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let policy = RetryPolicy::default();
    let (mut delay, mut waited) = (policy.min_delay, Duration::ZERO);
    loop {
        match call().await {
            Err(error) if error.is_retryable() && policy.give_up_after.is_none_or(|limit| waited < limit) => {
                let wait = delay.max(error.retry_after().unwrap_or_default());
                waits.note(&error, wait);
                tokio::time::sleep(wait).await;
                waited += wait;
                delay = (2 * delay).min(policy.max_delay);
            }
            answer => {
                waits.end();
                return answer;
            }
        }
    }
}
