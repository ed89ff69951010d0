//! Are plannings bounded in number and time, and do they fail alone?

use std::sync::mpsc::sync_channel;
use std::time::Duration;

use tidewater_storage::Code;

use super::Planner;
use crate::limits::MAX_ABANDONED_PLANNERS;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

#[test]
fn a_panic_fails_one_planning_only() {
    let planner = Planner::new(1, Duration::from_secs(60));
    runtime().block_on(async {
        let error = planner.run::<()>(|_| panic!("out of {}", "luck")).await.expect_err("a panic");
        assert_eq!(error.code(), Code::Internal);
        assert!(!error.to_string().contains("out of luck"), "what a panic says may be a value: {error}");
        assert_eq!(planner.run(|_| Ok(7)).await.expect("the next one"), 7);
    });
}

#[test]
fn deep_recursion_has_the_stack_for_it() {
    #[inline(never)]
    fn deep(n: usize) -> usize {
        let frame = std::hint::black_box([n; 128]);
        if n == 0 { 0 } else { 1 + deep(n - 1) + frame[7] - n }
    }
    let planner = Planner::new(1, Duration::from_secs(60));
    assert_eq!(runtime().block_on(planner.run(|_| Ok(deep(20_000)))).expect("no overflow"), 20_000);
}

#[test]
fn what_overruns_is_abandoned_and_replaced_until_too_many_run() {
    let planner = Planner::new(1, Duration::from_millis(10));
    let mut release = Vec::new();
    runtime().block_on(async {
        for _ in 0..=MAX_ABANDONED_PLANNERS {
            let (go, wait) = sync_channel::<()>(1);
            release.push(go);
            let stuck = planner.run(move |_| Ok(wait.recv().is_ok())).await;
            assert_eq!(stuck.expect_err("too slow").code(), Code::PlanningDeadline);
        }
        // All replacements are used up: the one planner is busy, which is no fault of the statement that waits for it.
        let started = sync_channel::<()>(1);
        let next = planner.run(move |_| Ok(started.0.send(()).is_ok())).await;
        let refused = next.expect_err("no planner");
        assert_eq!(refused.code(), Code::QueryQueueFull);
        assert!(refused.retry_delay().is_some());
    });
    drop(release);
}

/// A planning that looks whether somebody waits for it gives its thread back soon after the deadline, however many there were.
#[test]
fn a_planning_that_looks_at_its_waiter_blocks_nobody() {
    let planner = Planner::new(1, Duration::from_millis(250));
    runtime().block_on(async {
        for _ in 0..MAX_ABANDONED_PLANNERS + 2 {
            let endless = planner.run::<()>(|waiter| {
                while !waiter.has_gone() {
                    std::thread::yield_now();
                }
                Ok(())
            });
            assert_eq!(endless.await.expect_err("too slow").code(), Code::PlanningDeadline);
        }
        assert_eq!(planner.run(|waiter| Ok(waiter.has_gone())).await.ok(), Some(false));
    });
}
