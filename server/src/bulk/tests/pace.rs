//! Does a body wait for the limits of its caller, and no longer than the process goes on?

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tidewater_query::Principal;
use tidewater_storage::env::ManualClock;
use tidewater_storage::{Code, TokenLimits};
use tokio_util::sync::CancellationToken;

use crate::auth::{Caller, Limits, Proof};
use crate::bulk::body::paced;

#[tokio::test]
async fn a_body_that_waits_for_its_limit_ends_when_the_process_does() {
    let draining = CancellationToken::new();
    let most = TokenLimits { bytes_per_s: Some(1 << 20), ..TokenLimits::default() };
    let limits = Limits::new(most, Arc::new(ManualClock::at(0)));
    let limiter = limits.of(&Caller { principal: Principal::admin("anna"), proof: Proof::Nothing });
    paced(&draining, &limiter).await.expect("a second's worth is left");
    limiter.came(100 << 20);
    let mut waiting = pin!(paced(&draining, &limiter));
    assert!(waiting.as_mut().now_or_never().is_none());
    draining.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("long before its time comes");
    assert_eq!(ended.expect_err("it ends").code(), Code::ShuttingDown);
}
