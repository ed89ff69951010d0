//! Which calls does the service answer? Thin handlers: authenticate, read the request, call storage, convert.

use std::sync::Arc;

use futures::FutureExt;
use tidewater_proto::ingest::v1::ingest_server::Ingest;
use tidewater_proto::ingest::v1::{
    GetTableSchemaRequest, GetTableSchemaResponse, InitProducerRequest, InitProducerResponse, WriteRequest,
    WriteResponse, WriteStreamRequest, WriteStreamResponse,
};
use tidewater_query::Role;
use tidewater_storage::Result;
use tidewater_storage::ids::ProducerId;
use tidewater_storage::limits::{MAX_BATCH_BYTES, PRODUCER_TTL_S};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::request::{Target, find_table};
use super::{answer, payload, stream};
use crate::App;
use crate::auth::Limiter;
use crate::call::{Call, shutting_down};
use crate::grpc::MessagePlace;
use crate::status::to_status;

/// `tidewater.ingest.v1.Ingest`.
pub struct IngestService {
    app: Arc<App>,
}

impl IngestService {
    pub fn new(app: Arc<App>) -> Self {
        Self { app }
    }

    async fn write_one(&self, request: Request<WriteRequest>) -> Result<WriteResponse> {
        let call = Call::of_writer(&self.app, request.metadata()).await?;
        let message = MessagePlace::of(request.extensions()).take();
        let request = request.into_inner();
        // What cannot be stored waits for nothing, and is not counted.
        let target = Target::of_write(&self.app, &request, &call.principal)?;
        let format = request.payload.as_ref().and_then(|payload| payload.format.as_ref());
        let n_bytes = format.map_or(0, payload::size_of) as u64;
        if message.is_empty() || self.has_places() {
            call.bounded(self.in_time(&call.limiter, n_bytes)).await?;
        } else {
            call.limiter.call_now(n_bytes)?;
        }
        let (batch_id, sequence) = (0, request.sequence);
        let stored = call.bounded(async {
            let payload = request.payload.unwrap_or_default();
            let rows = payload::decode(&target, payload, message, self.app.storage.memory()).await?;
            let prepared = rows.prepare(&target, sequence).await?;
            target.table.submit(prepared).await?.outcome().await
        });
        let result = answer::stored(batch_id, sequence, stored.await?);
        Ok(WriteResponse { result: Some(result) })
    }

    /// Whether so much is free for messages that one may keep its place while it waits for a limit: others need places too, also those
    /// who call with other tokens of its user.
    fn has_places(&self) -> bool {
        // Whoever needs a turn is told that little is.
        let turn = self.app.storage.memory().turn_to_read(MAX_BATCH_BYTES as u64);
        matches!(turn.now_or_never(), Some(Ok(None)))
    }

    /// Waits until the caller's limits have so many bytes for a call. `RATE_LIMITED`.
    async fn in_time(&self, limiter: &Limiter, n_bytes: u64) -> Result<()> {
        tokio::select! {
            biased;
            taken = limiter.call(n_bytes) => taken,
            () = self.app.draining.cancelled() => Err(shutting_down()),
        }
    }

    async fn begin_epoch(&self, request: Request<InitProducerRequest>) -> Result<InitProducerResponse> {
        let call = Call::of_writer(&self.app, request.metadata()).await?;
        let InitProducerRequest { table, producer_id, reset } = request.into_inner();
        let table = find_table(&self.app, table.as_ref(), &call.principal, Role::Writer, "write to")?;
        let id = ProducerId::new(producer_id)?;
        let info = call.bounded(table.init_producer(id, reset, &call.principal.name)).await?;
        Ok(InitProducerResponse {
            epoch: info.epoch,
            last_sequence: info.last_sequence,
            known: info.known,
            state_ttl: Some(prost_types::Duration { seconds: PRODUCER_TTL_S as i64, nanos: 0 }),
        })
    }

    async fn table_schema(&self, request: Request<GetTableSchemaRequest>) -> Result<GetTableSchemaResponse> {
        let call = Call::of(&self.app, request.metadata()).await?;
        let table = request.get_ref().table.as_ref();
        let table = find_table(&self.app, table, &call.principal, Role::Reader, "read")?;
        Ok(GetTableSchemaResponse { schema: Some(answer::table_schema(&table.def())?) })
    }
}

#[tonic::async_trait]
impl Ingest for IngestService {
    async fn write(&self, request: Request<WriteRequest>) -> Result<Response<WriteResponse>, Status> {
        self.write_one(request).await.map(Response::new).map_err(|error| to_status(&error))
    }

    type WriteStreamStream = ReceiverStream<Result<WriteStreamResponse, Status>>;

    async fn write_stream(
        &self,
        request: Request<Streaming<WriteStreamRequest>>,
    ) -> Result<Response<Self::WriteStreamStream>, Status> {
        let call = Call::of_writer(&self.app, request.metadata()).await.map_err(|error| to_status(&error))?;
        let place = MessagePlace::of(request.extensions());
        Ok(Response::new(stream::start(Arc::clone(&self.app), call, (request.into_inner(), place))))
    }

    async fn init_producer(
        &self,
        request: Request<InitProducerRequest>,
    ) -> Result<Response<InitProducerResponse>, Status> {
        self.begin_epoch(request).await.map(Response::new).map_err(|error| to_status(&error))
    }

    async fn get_table_schema(
        &self,
        request: Request<GetTableSchemaRequest>,
    ) -> Result<Response<GetTableSchemaResponse>, Status> {
        self.table_schema(request).await.map(Response::new).map_err(|error| to_status(&error))
    }
}
