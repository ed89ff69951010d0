//! How does a batch become text or bytes? JSON, CSV and Arrow streams, for HTTP and the command line.

mod arrow_stream;
mod csv;
mod json;

pub use arrow_stream::ArrowEncoder;
pub use csv::CsvEncoder;
pub use json::{JsonEncoder, write_objects};
