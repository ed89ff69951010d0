//! Does a client that is slowed down know it, for as long as it is?

use futures::FutureExt;
use tidewater_query::Principal;
use tidewater_storage::TokenLimits;
use tidewater_storage::env::ManualClock;

use super::*;
use crate::auth::{Caller, Limits, Proof};

const HOUR: Duration = Duration::from_secs(3_600);

/// Of a caller who may send so many bytes in each second of the clock.
fn limiter(bytes_per_s: u64) -> (Arc<Limiter>, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(0));
    let most = TokenLimits { bytes_per_s: Some(bytes_per_s), ..TokenLimits::default() };
    let limits = Limits::new(most, Arc::<ManualClock>::clone(&clock));
    (limits.of(&Caller { principal: Principal::admin("anna"), proof: Proof::Nothing }), clock)
}

#[tokio::test]
async fn a_client_that_waits_for_long_is_told_so_again_and_again() {
    let (limiter, _clock) = limiter(1 << 10);
    // One second's worth may come at once.
    limiter.came((HOUR.as_secs() + 1) << 10);
    let (answers, mut told) = mpsc::channel(1);
    let mut next = Instant::now();
    let mut paced = pin!(pace((&limiter, &answers), Duration::from_millis(10), &mut next));
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
}

/// It may be at the head of its caller's queue.
#[tokio::test]
async fn a_client_that_reads_no_answers_keeps_nobody() {
    let (limiter, clock) = limiter(1 << 20);
    limiter.came((1 << 20) + 1_000);
    let (answers, mut told) = mpsc::channel(1);
    answers.try_send(Ok(WriteStreamResponse { msg: None })).expect("a place");
    let mut next = Instant::now();
    let mut paced = pin!(pace((&limiter, &answers), HOUR, &mut next));
    assert!(paced.as_mut().now_or_never().is_none());
    clock.advance(Duration::from_millis(1));
    tokio::time::timeout(Duration::from_secs(60), paced).await.expect("nothing is missing");
    assert!(matches!(told.try_recv(), Ok(Ok(WriteStreamResponse { msg: None }))));
    assert!(told.try_recv().is_err(), "what had no place is dropped");
}

#[tokio::test]
async fn a_client_that_waits_for_others_is_told_so() {
    let (limiter, clock) = limiter(1 << 20);
    limiter.came((1 << 20) + 1_000);
    let mut first = pin!(limiter.bytes_in_time());
    assert!(first.as_mut().now_or_never().is_none());
    clock.advance(Duration::from_millis(1));
    let (answers, mut told) = mpsc::channel(1);
    let mut next = Instant::now();
    let mut paced = pin!(pace((&limiter, &answers), HOUR, &mut next));
    assert!(paced.as_mut().now_or_never().is_none(), "nothing is missing, but another is first");
    match told.try_recv() {
        Ok(Ok(WriteStreamResponse { msg: Some(Answer::Throttle(throttle)) })) => {
            assert!(throttle.reason.contains("are first"), "{}", throttle.reason);
            assert_eq!(throttle.delay, delay(SHORTEST));
        }
        other => panic!("{other:?}"),
    }
    first.await;
    paced.await;
}

#[tokio::test]
async fn a_client_whose_every_batch_waits_is_not_told_each_time() {
    let (limiter, clock) = limiter(1 << 20);
    let (answers, mut told) = mpsc::channel(4);
    let (began, mut next) = (Instant::now(), Instant::now());
    for _ in 0..2 {
        // A second's worth was left.
        limiter.came((1 << 20) + 1_000);
        {
            let mut paced = pin!(pace((&limiter, &answers), SAY_AGAIN, &mut next));
            assert!(paced.as_mut().now_or_never().is_none());
            clock.advance(Duration::from_secs(2));
            paced.await;
        }
        assert!(next >= began + THROTTLE_EVERY);
        // However slow this machine is.
        next += HOUR;
    }
    assert!(told.try_recv().is_ok(), "the first time at once");
    assert!(told.try_recv().is_err(), "the second time came soon");
}

#[tokio::test]
async fn a_client_that_waits_often_is_not_told_each_time() {
    let (limiter, _clock) = limiter(1 << 20);
    // A millisecond is missing, again and again: the clock of the limits stands still.
    limiter.came((1 << 20) + 1_000);
    let (answers, mut told) = mpsc::channel(1);
    let (every, began) = (Duration::from_millis(20), Instant::now());
    let mut next = Instant::now();
    let mut paced = pin!(pace((&limiter, &answers), every, &mut next));
    for _ in 0..4 {
        tokio::select! {
            () = &mut paced => panic!("it is not over"),
            answer = tokio::time::timeout(Duration::from_secs(60), told.recv()) => drop(answer.expect("told within a minute")),
        }
    }
    assert!(began.elapsed() >= 3 * every, "{:?}", began.elapsed());
}
