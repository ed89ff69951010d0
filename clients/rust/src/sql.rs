//! How is SQL asked over Arrow Flight? A plan, then the rows of its tickets.

use std::pin::Pin;
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{CommandStatementQuery, CommandStatementUpdate, DoPutUpdateResult, ProstMessageExt};
use arrow_flight::{FlightData, FlightDescriptor, FlightEndpoint, Ticket};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, TryStreamExt};
use prost::Message;

use crate::client::Transport;
use crate::error::{Error, Result};

/// The rows of one statement. Dropping it cancels the query.
pub struct SqlStream {
    schema: SchemaRef,
    batches: BoxStream<'static, Result<RecordBatch>>,
}

impl SqlStream {
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }
}

impl Stream for SqlStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.batches.poll_next_unpin(cx)
    }
}

pub(crate) async fn query(mut flight: FlightServiceClient<Transport>, sql: &str) -> Result<SqlStream> {
    let command = CommandStatementQuery { query: sql.to_owned(), transaction_id: None };
    let info = flight.get_flight_info(descriptor(&command)).await?.into_inner();
    let endpoints = info.endpoint.clone();
    let schema = SchemaRef::new(info.try_decode_schema()?);
    let batches = stream::iter(endpoints)
        .then(move |endpoint| fetch(flight.clone(), endpoint))
        .try_flatten()
        // The server sends empty batches while a query is still at work, so that nobody takes the connection for dead.
        .try_filter(|batch| std::future::ready(batch.num_rows() > 0));
    Ok(SqlStream { schema, batches: batches.boxed() })
}

async fn fetch(
    mut flight: FlightServiceClient<Transport>,
    endpoint: FlightEndpoint,
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    let ticket: Ticket =
        endpoint.ticket.ok_or_else(|| Error::protocol("the server sent an endpoint without a ticket"))?;
    let data = flight.do_get(ticket).await?.into_inner();
    let batches = FlightRecordBatchStream::new_from_flight_data(data.map_err(Into::into));
    Ok(batches.map_err(Error::from).boxed())
}

pub(crate) async fn update(mut flight: FlightServiceClient<Transport>, sql: &str) -> Result<u64> {
    let command = CommandStatementUpdate { query: sql.to_owned(), transaction_id: None };
    let data = FlightData { flight_descriptor: Some(descriptor(&command)), ..Default::default() };
    let mut results = flight.do_put(stream::iter([data])).await?.into_inner();
    let Some(result) = results.message().await? else {
        return Err(Error::protocol("the server did not answer an update"));
    };
    let result = DoPutUpdateResult::decode(result.app_metadata)
        .map_err(|error| Error::protocol(format!("the answer to an update cannot be read: {error}")))?;
    // The call may still fail after its result: only its end makes it whole.
    while results.message().await?.is_some() {}
    Ok(u64::try_from(result.record_count).unwrap_or_default())
}

fn descriptor(command: &impl ProstMessageExt) -> FlightDescriptor {
    FlightDescriptor::new_cmd(command.as_any().encode_to_vec())
}
