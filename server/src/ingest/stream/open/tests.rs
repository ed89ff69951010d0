//! Is what may be sent again told from what is not of the protocol?

use super::*;

#[test]
fn a_stream_that_found_no_place_may_come_again() {
    let check = |status: Status, code: Code, is_later: bool| {
        let error = broken(&status);
        assert_eq!((error.code(), error.retry_delay().is_some()), (code, is_later), "{status}: {error}");
    };
    check(Status::resource_exhausted("no place"), Code::MemoryPressure, true);
    check(Status::deadline_exceeded("nothing came"), Code::QueryDeadline, false);
    check(Status::out_of_range("too large"), Code::InvalidRequest, false);
    check(Status::aborted("gone"), Code::InvalidRequest, false);
}
