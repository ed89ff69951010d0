//! Does a client that is slowed down know it, for as long as it is?

use std::pin::pin;

use tidewater_query::Principal;
use tidewater_storage::TokenLimits;
use tidewater_storage::env::ManualClock;

use super::*;
use crate::auth::{Caller, Limits, Proof};

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn a_client_that_waits_for_long_is_told_so_again_and_again() {
    let clock = Arc::new(ManualClock::at(0));
    let most = TokenLimits { bytes_per_s: Some(1 << 10), ..TokenLimits::default() };
    let limits = Limits::new(most, Arc::<ManualClock>::clone(&clock));
    let limiter = limits.of(&Caller { principal: Principal::admin("anna"), proof: Proof::Nothing });
    limiter.bytes(HOUR.as_secs() << 10).expect("the first is taken");
    let mut debt = Debt::new(&limiter);
    debt.add(1);
    let (answers, mut told) = mpsc::channel(1);
    let mut paced = pin!(pace(&mut debt, &answers, Duration::from_millis(10)));
    for _ in 0..3 {
        let answer = tokio::select! {
            () = &mut paced => panic!("the hour is not over"),
            answer = tokio::time::timeout(Duration::from_secs(60), told.recv()) => answer.expect("told within a minute"),
        };
        let throttle = match answer {
            Some(Ok(WriteStreamResponse { msg: Some(Answer::Throttle(throttle)) })) => throttle,
            other => panic!("{other:?}"),
        };
        assert_eq!(throttle.delay, delay(HOUR), "all that is left");
        assert!(throttle.reason.contains("1024 bytes"), "{}", throttle.reason);
    }
    clock.advance(HOUR);
    paced.await;
    assert!(limiter.bytes(1).is_err(), "what was owed is taken");
}
