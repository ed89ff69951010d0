//! How does a record reach the server, and what does its answer look like in a file?

use arrow_flight::error::FlightError;
use async_trait::async_trait;
use sqllogictest::{AsyncDB, DBOutput};
use sqllogictest_flightsql::column::{ArrowColumnType, convert_schema_to_types};
use sqllogictest_flightsql::error::FlightSqlLogicTestError;
use sqllogictest_flightsql::runner::FlightSqlDB;
use tonic::Status;

use crate::cells;

pub(crate) type Failure = FlightSqlLogicTestError;

/// Where the server is, and who asks.
pub(crate) struct Address {
    pub(crate) url: String,
    pub(crate) user: String,
    pub(crate) password: String,
}

/// One connection: a session of the server.
pub(crate) struct Database {
    flight: FlightSqlDB,
}

impl Database {
    pub(crate) async fn connect(address: &Address) -> Result<Self, Failure> {
        let flight =
            FlightSqlDB::new_from_endpoint("Tidewater", address.url.clone(), &address.user, &address.password).await?;
        Ok(Self { flight })
    }
}

#[async_trait]
impl AsyncDB for Database {
    type Error = Failure;
    type ColumnType = ArrowColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<ArrowColumnType>, Failure> {
        let (schema, batches) = self.flight.execute(sql).await?;
        let types = convert_schema_to_types(&schema.fields);
        if types.is_empty() {
            return Ok(DBOutput::StatementComplete(0));
        }
        let rows = cells::rows(&batches)?;
        Ok(DBOutput::Rows { types, rows })
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        "Tidewater"
    }

    async fn sleep(duration: std::time::Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// The status that the server refused with; `None` if what failed is not the server.
pub(crate) fn status(failure: &Failure) -> Option<&Status> {
    match failure {
        FlightSqlLogicTestError::FlightSql(FlightError::Tonic(status)) => Some(status),
        _ => None,
    }
}
