//! Do functions keep what they promise? Buckets and frames against a brute-force oracle, known answers, zones, integers at their ends, guards.

mod buckets;
mod exact;
mod frames;
mod guards;
mod spans;
mod sql;
mod subqueries;
mod zones;

use arrow::array::RecordBatch;
use arrow::util::display::array_value_to_string;
use datafusion::error::Result;
use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};

fn context(time_zone: &str) -> SessionContext {
    let mut config = SessionConfig::new();
    config.options_mut().execution.time_zone = Some(time_zone.to_owned());
    let mut state = SessionStateBuilder::new()
        .with_default_features()
        .with_expr_planners(super::expr_planners())
        .with_config(config)
        .build();
    super::register(&mut state).expect("functions register");
    SessionContext::new_with_state(state)
}

async fn run(context: &SessionContext, sql: &str) -> Result<Vec<RecordBatch>> {
    context.sql(sql).await?.collect().await
}

/// The first value of the answer as text.
async fn value(context: &SessionContext, sql: &str) -> Result<String> {
    let batches = run(context, sql).await?;
    let batch = batches.iter().find(|batch| batch.num_rows() > 0);
    Ok(batch.map_or_else(String::new, |batch| array_value_to_string(batch.column(0), 0).expect("printable")))
}
