//! How is text read, whoever brings it? Cut into records by its bytes alone, then read one by one. What a Parquet file claims is checked by
//! `tidewater_storage::untrusted` before it is believed.

pub(crate) mod csv;
pub(crate) mod elements;
pub(crate) mod records;
