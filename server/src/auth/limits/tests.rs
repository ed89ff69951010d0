//! Does each caller get as much as it may, no more, and no less for others? On a clock that moves when the test says so.

use std::pin::pin;

use futures::FutureExt;
use tidewater_query::Principal;
use tidewater_storage::env::ManualClock;
use tidewater_storage::{ErrorKind, Token, User};

use super::*;
use crate::auth::Proof;

const NONE: TokenLimits = TokenLimits { requests_per_s: None, bytes_per_s: None, concurrent_queries: None };

fn limits(defaults: TokenLimits) -> (Limits, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(0));
    (Limits::new(defaults, Arc::<ManualClock>::clone(&clock)), clock)
}

fn user(name: &str) -> Caller {
    let user = User {
        name: name.to_owned(),
        password_hash: None,
        grants: Vec::new(),
        disabled: false,
        created_at_us: 0,
        changed_at_us: 0,
    };
    Caller { principal: Principal::admin(name), proof: Proof::Password(Arc::new(user)) }
}

fn with_token(id: &str, limits: TokenLimits) -> Caller {
    let token = Token {
        id: id.to_owned(),
        user: "alice".to_owned(),
        secret_hash: [0; 32],
        label: String::new(),
        grants: Vec::new(),
        created_at_us: 0,
        expires_at_us: None,
        limits,
    };
    Caller { proof: Proof::Token(Arc::new(token)), ..user("alice") }
}

/// After how many milliseconds, rounded up, a refused caller may come again.
fn wait_ms(refused: Result<()>) -> u128 {
    let error = refused.expect_err("refused");
    assert_eq!((error.code(), error.kind()), (Code::RateLimited, ErrorKind::ResourceExhausted));
    error.retry_delay().expect("a time to wait").as_nanos().div_ceil(1_000_000)
}

/// What an upload does that need not wait.
fn bytes(limiter: &Limiter, n: u64) -> Result<()> {
    limiter.bytes_left()?;
    limiter.came(n);
    Ok(())
}

/// The same of a stream of batches.
fn batch(limiter: &Limiter, n: u64) -> Result<()> {
    limiter.batch()?;
    limiter.batch_came(n);
    Ok(())
}

fn n_taken(mut take: impl FnMut() -> Result<()>) -> usize {
    std::iter::from_fn(|| take().ok()).take(10_000).count()
}

#[test]
fn requests_come_at_their_rate_and_a_second_of_them_at_once() {
    let (limits, clock) = limits(TokenLimits { requests_per_s: Some(10), ..NONE });
    let alice = limits.of(&user("alice"));
    assert_eq!(n_taken(|| alice.request()), 10);
    assert_eq!(wait_ms(alice.request()), 100);
    clock.advance(Duration::from_millis(99));
    assert_eq!(wait_ms(alice.request()), 1);
    clock.advance(Duration::from_millis(1));
    assert_eq!(n_taken(|| alice.request()), 1);
    clock.advance(Duration::from_secs(3600));
    assert_eq!(n_taken(|| alice.request()), 10, "no more than a second's worth gathers");
    // It is the same counter for whoever asks as alice, and another one for bob.
    assert!(limits.of(&user("alice")).request().is_err());
    assert_eq!(n_taken(|| limits.of(&user("bob")).request()), 10);
}

#[test]
fn nobody_gives_themselves_more_than_everybody_has() {
    let (limits, _) = limits(TokenLimits { requests_per_s: Some(10), concurrent_queries: Some(2), ..NONE });
    for own in [
        NONE,
        TokenLimits { requests_per_s: Some(10), concurrent_queries: Some(1), ..NONE },
        // Nobody has this limit.
        TokenLimits { bytes_per_s: Some(u64::MAX), ..NONE },
    ] {
        assert!(limits.check_own(&own).is_ok(), "{own:?}");
    }
    for own in [
        TokenLimits { requests_per_s: Some(11), ..NONE },
        TokenLimits { requests_per_s: Some(1), concurrent_queries: Some(u32::MAX), ..NONE },
    ] {
        assert_eq!(limits.check_own(&own).expect_err("refused").code(), Code::PermissionDenied, "{own:?}");
    }
}

#[test]
fn a_batch_beyond_a_second_counts_for_all_that_it_is() {
    let (limits, clock) = limits(TokenLimits { bytes_per_s: Some(1 << 20), ..NONE });
    let alice = limits.of(&user("alice"));
    assert!(bytes(&alice, 1 << 19).is_ok());
    // Half a second's worth is left, and then 15.5 are owed.
    assert!(bytes(&alice, 16 << 20).is_ok());
    assert_eq!(wait_ms(bytes(&alice, 1)), 15_501);
    clock.advance(Duration::from_millis(15_500));
    assert_eq!(wait_ms(bytes(&alice, 1)), 1, "what was owed is there, and nothing more");
    clock.advance(Duration::from_millis(1));
    assert!(bytes(&alice, 1).is_ok());
    // No more than a second's worth gathers.
    clock.advance(Duration::from_secs(3600));
    assert!(bytes(&alice, 1 << 20).is_ok());
    assert_eq!(wait_ms(bytes(&alice, 1)), 1);
    // What nobody can send closes the limit for a day, not for ever.
    clock.advance(Duration::from_secs(1));
    assert!(bytes(&alice, u64::MAX).is_ok());
    assert_eq!(wait_ms(bytes(&alice, 1)), 86_399_001);
}

/// Each batch counts for all of them once it is there: else so many streams would have as many at once, again and again.
#[test]
fn all_streams_of_a_caller_have_one_rate() {
    let (limits, clock) = limits(TokenLimits { bytes_per_s: Some(1 << 20), ..NONE });
    let alice = limits.of(&user("alice"));
    assert!(alice.batch().is_ok() && alice.batch().is_ok(), "two streams wait for what comes");
    alice.came(1 << 20);
    assert_eq!(wait_ms(alice.batch()), 1, "a third does not");
    alice.came(1 << 20);
    assert_eq!(wait_ms(alice.batch()), 1_001, "for both");
    assert_eq!(wait_ms(bytes(&alice, 1)), 1_001, "a call no less");
    clock.advance(Duration::from_millis(1_001));
    assert!(alice.batch().is_ok() && bytes(&alice, 1).is_ok(), "nor more");
    // A large one waits no longer than a small one, however many of those there are.
    let (mut small, mut large) = (0, 0);
    for _ in 0..1_000 {
        clock.advance(Duration::from_millis(100));
        if alice.batch().is_ok() {
            alice.came(64 << 10);
            small += 1;
        }
        if alice.batch().is_ok() {
            alice.came(2 << 20);
            large += 1;
        }
    }
    assert!(large >= 40 && small >= large, "{large} large ones beside {small} small ones");
    let total = (small * 64 + large * 2_048) >> 10;
    assert!((98..=102).contains(&total), "{total} MiB in 100 seconds");
    assert!(bytes(&limits.of(&user("bob")), 1 << 20).is_ok(), "others do not owe it");
}

#[test]
fn a_batch_of_a_stream_is_a_request_once_it_is_here() {
    let (limits, clock) = limits(TokenLimits { requests_per_s: Some(10), bytes_per_s: Some(1 << 20), ..NONE });
    let alice = limits.of(&user("alice"));
    assert_eq!(n_taken(|| alice.batch()), 10_000, "streams whose clients send nothing use nothing up");
    assert_eq!(n_taken(|| batch(&alice, 1)), 9);
    assert_eq!(wait_ms(alice.batch()), 100);
    assert_eq!(n_taken(|| alice.request()), 1, "the last of them is for calls");
    assert_eq!((wait_ms(alice.batch()), wait_ms(alice.request())), (200, 100));
    // Those that waited for what comes are paid for.
    alice.batch_came(1);
    assert_eq!((wait_ms(alice.batch()), wait_ms(alice.request())), (300, 200));
    alice.came(3 << 20);
    clock.advance(Duration::from_millis(1_100));
    // Who asks in vain uses nothing up.
    assert_eq!(n_taken(|| batch(&alice, 1)), 0);
    assert_eq!(n_taken(|| alice.request()), 10);
}

/// One stream of small batches, which takes each request when it is there, is no end of the caller's statements.
#[test]
fn batches_leave_a_part_of_the_requests_to_calls() {
    for (per_s, of_batches) in [(1, 1), (2, 1), (10, 9), (100, 90)] {
        let (limits, clock) = limits(TokenLimits { requests_per_s: Some(per_s), ..NONE });
        let alice = limits.of(&user("alice"));
        assert_eq!(n_taken(|| batch(&alice, 1)), of_batches, "of {per_s}");
        assert_eq!(n_taken(|| alice.request()), per_s as usize - of_batches, "of {per_s}");
        clock.advance(Duration::from_secs(1));
        assert_eq!(n_taken(|| batch(&alice, 1)), of_batches, "of {per_s}");
        // While no call comes they have all that does.
        clock.advance(Duration::from_millis(500));
        assert_eq!(n_taken(|| batch(&alice, 1)), per_s as usize / 2, "of {per_s}");
    }
}

/// The clock of the limits stands still, as if calls took all that comes but one.
#[tokio::test]
async fn calls_keep_no_batch_for_ever() {
    let (limits, _clock) = limits(TokenLimits { requests_per_s: Some(10), ..NONE });
    let alice = limits.of(&user("alice"));
    assert_eq!(n_taken(|| batch(&alice, 1)), 9);
    let mut stream = pin!(alice.batch_in_time());
    assert!(stream.as_mut().now_or_never().is_none());
    tokio::time::timeout(Duration::from_secs(60), stream).await.expect("one is left");
    assert!(alice.batch().is_err() && alice.request().is_ok());
}

#[test]
fn as_many_statements_run_as_may() {
    let (limits, _) = limits(TokenLimits { concurrent_queries: Some(2), ..NONE });
    let alice = limits.of(&user("alice"));
    let running = [alice.query().expect("the first"), alice.query().expect("the second")];
    let refused = || limits.of(&user("alice")).query().map(drop);
    assert_eq!(wait_ms(refused()), 1_000);
    assert!(limits.of(&user("bob")).query().is_ok());
    drop(running);
    assert!(refused().is_ok());
}

#[test]
fn a_token_has_its_own_limits_and_the_general_ones_for_the_rest() {
    let (limits, _) = limits(TokenLimits { requests_per_s: Some(5), concurrent_queries: Some(1), ..NONE });
    let own = TokenLimits { requests_per_s: Some(2), ..NONE };
    assert_eq!(n_taken(|| limits.of(&with_token("a", own)).request()), 2);
    assert_eq!(n_taken(|| limits.of(&with_token("b", NONE)).request()), 5);
    // Not even its user's are touched.
    assert_eq!(n_taken(|| limits.of(&user("alice")).request()), 5);
    let limiter = limits.of(&with_token("a", own));
    let _running = limiter.query().expect("the first");
    assert!(limiter.query().is_err());
    // Other limits under the same name begin anew.
    let more = TokenLimits { requests_per_s: Some(3), ..NONE };
    assert_eq!(n_taken(|| limits.of(&with_token("a", more)).request()), 3);
}

#[test]
fn without_limits_nothing_is_counted() {
    let (limits, _) = limits(NONE);
    let alice = limits.of(&user("alice"));
    assert_eq!(n_taken(|| alice.request()), 10_000);
    // Everybody has the same limiter, so nobody waits for anybody.
    let _turn = alice.turns.try_lock().expect("nobody waits");
    for _ in 0..2 {
        assert!(alice.call(u64::MAX).now_or_never().expect("at once").is_ok());
    }
    assert_eq!((alice.batch_in_time().now_or_never(), alice.bytes_in_time().now_or_never()), (Some(()), Some(())));
    let running: Vec<_> = (0..100).map(|_| alice.query().expect("no limit")).collect();
    assert_eq!(running.len(), 100);
    assert!(limits.known.lock().limiters.is_empty());
}

#[test]
fn who_does_not_come_any_more_is_forgotten() {
    let of_all = TokenLimits { requests_per_s: Some(1), bytes_per_s: Some(1), concurrent_queries: Some(1) };
    let (limits, clock) = limits(of_all);
    let held = limits.of(&user("held"));
    let _running = limits.of(&user("reads")).query().expect("the first");
    let day_s = 86_400;
    limits.of(&user("owes")).came(day_s);
    for n in 0..2 * SWEEP_FROM {
        limits.of(&user(&format!("u{n}")));
    }
    clock.advance(2 * IDLE);
    for n in 0..2 * SWEEP_FROM {
        limits.of(&user(&format!("v{n}")));
    }
    let known = limits.known.lock();
    assert!(known.limiters.len() <= 2 * SWEEP_FROM + 4, "{}", known.limiters.len());
    let kept = [("held", "somebody uses it"), ("owes", "its time is not over"), ("reads", "its statement runs")];
    for (name, why) in kept {
        assert!(known.limiters.contains_key(&Key::User(name.to_owned())), "{why}");
    }
    drop(held);
}

#[tokio::test]
async fn a_stream_waits_instead() {
    let (limits, clock) = limits(TokenLimits { bytes_per_s: Some(1 << 20), ..NONE });
    let alice = limits.of(&user("alice"));
    alice.bytes_in_time().await;
    alice.came(1 << 20);
    let mut waiting = pin!(alice.bytes_in_time());
    assert!(waiting.as_mut().now_or_never().is_none());
    clock.advance(Duration::from_secs(1));
    waiting.await;
}

#[tokio::test]
async fn who_asks_first_comes_first() {
    let (limits, clock) = limits(TokenLimits { requests_per_s: Some(100), bytes_per_s: Some(1 << 20), ..NONE });
    let alice = limits.of(&user("alice"));
    // Nearly a millisecond is missing.
    alice.came((1 << 20) + 1_000);
    let mut stream = pin!(alice.batch_in_time());
    let mut call = pin!(alice.call(2 << 20));
    let mut upload = pin!(alice.bytes_in_time());
    assert!(stream.as_mut().now_or_never().is_none());
    assert!(call.as_mut().now_or_never().is_none());
    assert!(upload.as_mut().now_or_never().is_none());
    clock.advance(Duration::from_millis(1));
    assert!(alice.batch().is_ok(), "nothing is missing");
    assert!(upload.as_mut().now_or_never().is_none(), "two are before it");
    assert!(call.as_mut().now_or_never().is_none(), "one is before it");
    stream.await;
    assert!(upload.as_mut().now_or_never().is_none(), "one is before it");
    assert!(call.await.is_ok());
    assert!(upload.as_mut().now_or_never().is_none(), "what the call took is missing");
    assert!(wait_ms(alice.batch()) > 1_900);
}

#[tokio::test]
async fn a_call_that_would_wait_for_too_long_is_refused_at_once() {
    let (limits, clock) = limits(TokenLimits { bytes_per_s: Some(1 << 20), ..NONE });
    let alice = limits.of(&user("alice"));
    alice.came(12 << 20);
    // Not the 11 s that are missing: it comes back in time to wait with the others.
    assert_eq!(wait_ms(alice.call(1).now_or_never().expect("at once")), 6_001);
    clock.advance(Duration::from_secs(2));
    assert!(alice.call(1 << 20).now_or_never().is_none(), "nine seconds are not too long");
    // Who waited in vain has used nothing up, and keeps nobody.
    assert_eq!(wait_ms(alice.bytes_within(Duration::from_millis(1)).await), 9_001);
    clock.advance(Duration::from_millis(9_001));
    assert!(alice.call(1).now_or_never().expect("at once").is_ok());
}

#[tokio::test]
async fn a_call_that_may_not_wait_comes_before_nobody() {
    let (limits, clock) = limits(TokenLimits { bytes_per_s: Some(1 << 20), ..NONE });
    let alice = limits.of(&user("alice"));
    assert!(alice.call_now(1 << 20).is_ok());
    assert_eq!(wait_ms(alice.call_now(1)), 1);
    let mut stream = pin!(alice.bytes_in_time());
    assert!(stream.as_mut().now_or_never().is_none());
    clock.advance(Duration::from_secs(1));
    assert_eq!(wait_ms(alice.call_now(1)), 1, "the stream is first");
    stream.await;
    assert!(alice.call_now(12 << 20).is_ok());
    assert_eq!(wait_ms(alice.call_now(1)), 6_001);
}

#[tokio::test]
async fn nobody_waits_for_the_requests_of_others() {
    let (limits, _) = limits(TokenLimits { requests_per_s: Some(10), bytes_per_s: Some(1 << 20), ..NONE });
    let alice = limits.of(&user("alice"));
    assert_eq!(n_taken(|| alice.request()), 10);
    let mut stream = pin!(alice.batch_in_time());
    assert!(stream.as_mut().now_or_never().is_none());
    assert!(alice.bytes_in_time().now_or_never().is_some(), "an upload goes on");
    assert!(alice.call(1).now_or_never().expect("at once").is_ok(), "so does a call");
}
