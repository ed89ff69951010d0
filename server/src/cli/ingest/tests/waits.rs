//! Is somebody who waits told why, and not over and over?

use std::time::Duration;

use tidewater_client::Error;
use tokio::time::Instant;
use tonic::Status;

use crate::cli::ingest::load::name_way_on;
use crate::cli::ingest::waits::Waited;

#[test]
fn a_wait_is_told_once_a_minute_with_its_reason() {
    let error = Error::from(Status::resource_exhausted("the disk is full"));
    let (begin, second) = (Instant::now(), Duration::from_secs(1));
    let mut waited = Waited::default();
    assert_eq!(waited.line(&error, second / 10, begin), None, "a pause");
    let line = waited.line(&error, second, begin + second).expect("told");
    assert!(line.starts_with("waiting, ") && line.ends_with("the disk is full"), "{line}");
    assert_eq!(waited.line(&error, second, begin + 30 * second), None, "it was told");
    assert!(waited.line(&error, second, begin + 61 * second).is_some(), "it still waits");
}

#[test]
fn who_waited_in_vain_is_told_how_to_go_on() {
    let said = |status: Status| {
        let error = anyhow::Error::from(Error::from(status)).context("5 rows");
        format!("{:#}", name_way_on(error))
    };
    let away = said(Status::unavailable("tcp connect error"));
    assert!(away.contains("the same command goes on") && away.ends_with("tcp connect error"), "{away}");
    assert!(said(Status::invalid_argument("no such column")).starts_with("5 rows: "));
}
