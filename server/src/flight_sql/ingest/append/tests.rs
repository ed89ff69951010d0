//! Does an append that writes what it has keep the turn at its limits from others?

use arrow::array::{ArrayRef, Int64Array};
use arrow_flight::FlightDescriptor;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::sql::{CommandStatementIngest, TableDefinitionOptions, TableExistsOption, TableNotExistOption};
use futures::stream::{self, StreamExt, TryStreamExt};
use tidewater_query::Principal;
use tidewater_storage::TokenLimits;
use tidewater_storage::env::{FailAction, ManualClock};
use tidewater_storage::memory::Share;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;

use super::*;
use crate::auth::{Caller, Limits, Proof};
use crate::grpc::MessagePlace;
use crate::ingest::tests::app;

/// No wait is longer.
const PATIENCE: Duration = Duration::from_secs(60);

const FILE_WRITTEN: &str = "stage.file_written";

/// A schema, and rows of 2 MiB.
async fn messages() -> Vec<FlightData> {
    let zeros: ArrayRef = Arc::new(Int64Array::from(vec![0; 1 << 18]));
    let rows = RecordBatch::try_from_iter([("a", zeros)]).unwrap();
    FlightDataEncoderBuilder::new()
        .with_max_flight_data_size(1 << 30)
        .with_flight_descriptor(Some(FlightDescriptor::new_cmd("x")))
        .build(stream::iter([Ok(rows)]))
        .try_collect()
        .await
        .unwrap()
}

fn target() -> Target {
    let command = CommandStatementIngest {
        table_definition_options: Some(TableDefinitionOptions {
            if_not_exist: TableNotExistOption::Create.into(),
            if_exists: TableExistsOption::Fail.into(),
        }),
        table: "t".to_owned(),
        ..CommandStatementIngest::default()
    };
    Target::new(command, &MetadataMap::new()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_writes_rows_keeps_the_turn_from_nobody() {
    let clock = Arc::new(ManualClock::at(0));
    let most = TokenLimits { bytes_per_s: Some(1 << 20), ..TokenLimits::default() };
    let (_ending, app) = app(Limits::new(most, Arc::<ManualClock>::clone(&clock))).await;
    let limiter = app.limits.of(&Caller { principal: Principal::admin("anna"), proof: Proof::Nothing });
    let (reached, seen) = tokio::sync::oneshot::channel();
    let silence = stream::once(async move {
        let _ = reached.send(());
        std::future::pending().await
    });
    let sent = stream::iter(messages().await.into_iter().map(Ok::<_, Status>)).chain(silence).boxed();
    let sent = (sent, MessagePlace::default());
    let (_, incoming) = Incoming::open(sent, app.storage.memory(), &CancellationToken::new()).await.unwrap();
    let incoming = incoming.limited_by(Arc::clone(&limiter));
    let options = StageOptions { principal: "anna".to_owned(), ..StageOptions::default() };
    let append = Append { storage: Arc::clone(&app.storage), target: target(), options };
    let fail = Arc::clone(&app.storage.env().fail);
    fail.arm(FILE_WRITTEN, FailAction::Hold(1));
    let append = tokio::spawn(async move { append.take(incoming).await.map(drop) });
    // The rows are here, and more of them wait for the limit: whoever is first there has the turn.
    tokio::time::timeout(PATIENCE, seen).await.unwrap().unwrap();
    let memory = app.storage.memory();
    let others = memory.charge(Share::Realtime, memory.share(Share::Realtime));
    let is_writing = async {
        while fail.visits(FILE_WRITTEN) == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, is_writing).await.expect("its rows are in the way of others");
    clock.advance(Duration::from_secs(2));
    let call = tokio::time::timeout(PATIENCE, limiter.call(1)).await;
    call.expect("in time").expect("while the rows are written");
    assert!(!append.is_finished());
    fail.release(FILE_WRITTEN);
    append.abort();
    drop(others);
}
