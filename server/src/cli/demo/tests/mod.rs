//! Does the oracle know what the stream sends, and is a demo shown as it is?

mod oracle;
mod stream;
mod view;

use super::stream::{Row, Stream};

/// A moment, in µs: what a clock says does not matter.
const BEGIN_US: i64 = 1_700_000_000_000_000;

/// The rows of calls, each of so many rows and so many microseconds after the one before it, with the time of the call.
fn calls(seed: u64, calls: impl IntoIterator<Item = (usize, i64)>) -> Vec<(i64, Vec<Row>)> {
    let mut stream = Stream::new(seed).expect("a stream");
    let mut now_us = BEGIN_US;
    let call = |(n, after_us): (usize, i64)| {
        now_us += after_us;
        (now_us, stream.rows(n, now_us))
    };
    calls.into_iter().map(call).collect()
}
