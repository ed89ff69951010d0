//! How does a user's program talk to Tidewater? Queries, and writes that are stored exactly once.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use arrow::array::{ArrayRef, Int64Array, RecordBatch};
//! use futures::TryStreamExt;
//! use tidewater_client::{Client, Result};
//!
//! # async fn example() -> Result<()> {
//! let client = Client::connect("127.0.0.1:8815").await?;
//! client.execute_update("CREATE TABLE readings (id BIGINT NOT NULL, PRIMARY KEY (id))").await?;
//!
//! // A producer numbers its batches: whatever happens on the way, each acknowledged batch is stored once.
//! let mut producer = client.producer("readings", "sensor-7").await?;
//! # let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
//! # let batch = RecordBatch::try_from_iter([("id", ids)]).unwrap();
//! let ack = producer.send(batch).await?; // under way
//! let result = ack.await?; // durable, deduplicated, visible
//! assert_eq!(result.received, result.accepted + result.duplicates + result.rejected);
//! producer.close().await?;
//!
//! let batches: Vec<_> = client.sql("SELECT count(*) FROM readings").await?.try_collect().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Writing
//!
//! | need | call |
//! |---|---|
//! | a stream of batches, each stored once, also over restarts of client and server | [`Client::producer`] |
//! | one batch, repeatable | [`Client::write`] with [`Identity::Producer`] or [`Identity::IdempotencyKey`] |
//! | one batch, at least once | [`Client::write`] with [`Identity::None`] |
//!
//! A [`Producer`] keeps batches until they are answered, connects again when the connection breaks and sends what has no
//! answer under the same numbers; the server answers `repeated` for what it had. It stops at the first error that waiting
//! does not cure, and [`Error::reason`] says which: `PRODUCER_FENCED` (a newer client has the same id), `PRODUCER_STATE_LOST`
//! (the server lost what it had acknowledged), `SCHEMA_MISMATCH` and others.
//!
//! # Reading
//!
//! [`Client::sql`] speaks Arrow Flight SQL. [`Client::query`] has what Flight SQL lacks: parameters, settings for one
//! statement, row caps, waiting for a commit token, and a summary that says what was read.

mod admin;
mod client;
mod error;
mod ipc;
mod producer;
mod query;
mod sql;
mod table;
mod write;

pub use admin::{NewToken, TokenOptions, UserChange};
pub use client::{Authorization, Client, ClientCertificate, ClientOptions, Credentials, Transport};
pub use error::{Error, Result, RowError, reason};
pub use ipc::Compression;
pub use producer::{Ack, OnWait, Producer, ProducerOptions, RetryPolicy};
pub use query::QueryStream;
pub use sql::SqlStream;
pub use table::{TableInfo, TableName};
pub use tidewater_proto::admin::v1::{Grant, Role, Token, TokenLimits, User};
pub use tidewater_proto::ingest::v1::{Durability, OnRowError, SchemaPolicy, SequenceMode};
pub use tidewater_proto::query::v1::{
    CancelState, Format, OverflowMode, Progress, QueryInfo, QueryRequest, QueryState, Summary, TableFreshness, Value,
    Values, query_request, value,
};
pub use write::{BatchResult, CommitToken, Identity, WriteOptions};
