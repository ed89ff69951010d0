//! How are files read, whoever brings them? Text is cut into records by its bytes alone, then read one by one; what a Parquet file claims is
//! checked before it is believed.

pub(crate) mod csv;
pub(crate) mod parquet;
pub(crate) mod records;

mod thrift;
