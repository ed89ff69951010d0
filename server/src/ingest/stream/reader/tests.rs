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
    // One second's worth may come at once.
    limiter.came((HOUR.as_secs() + 1) << 10);
    let (answers, mut told) = mpsc::channel(1);
    let mut paced = pin!(pace(&limiter, &answers, Duration::from_millis(10)));
    for _ in 0..3 {
        let answer = tokio::select! {
            () = &mut paced => panic!("the hour is not over"),
            answer = tokio::time::timeout(Duration::from_secs(60), told.recv()) => answer.expect("told within a minute"),
        };
        let throttle = match answer {
            Some(Ok(WriteStreamResponse { msg: Some(Answer::Throttle(throttle)) })) => throttle,
            other => panic!("{other:?}"),
        };
        let told = throttle.delay.map(|delay| delay.seconds);
        assert_eq!(told, Some(HOUR.as_secs() as i64), "all that is left");
        assert!(throttle.reason.contains("1024 bytes"), "{}", throttle.reason);
    }
    clock.advance(HOUR + Duration::from_millis(1));
    paced.await;
}

#[tokio::test]
async fn a_client_that_waits_often_is_not_told_each_time() {
    let clock = Arc::new(ManualClock::at(0));
    let most = TokenLimits { bytes_per_s: Some(1 << 20), ..TokenLimits::default() };
    let limits = Limits::new(most, Arc::<ManualClock>::clone(&clock));
    let limiter = limits.of(&Caller { principal: Principal::admin("anna"), proof: Proof::Nothing });
    // A millisecond is missing, again and again: the clock of the limits stands still.
    limiter.came((1 << 20) + 1_000);
    let (answers, mut told) = mpsc::channel(1);
    let (every, began) = (Duration::from_millis(20), Instant::now());
    let mut paced = pin!(pace(&limiter, &answers, every));
    for _ in 0..4 {
        tokio::select! {
            () = &mut paced => panic!("it is not over"),
            answer = tokio::time::timeout(Duration::from_secs(60), told.recv()) => drop(answer.expect("told within a minute")),
        }
    }
    assert!(began.elapsed() >= 3 * every, "{:?}", began.elapsed());
}
