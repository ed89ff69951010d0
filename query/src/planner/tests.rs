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
        let error = planner.run::<()>(|| panic!("out of {}", "luck")).await.expect_err("a panic");
        assert_eq!(error.code(), Code::Internal);
        assert!(error.message().contains("out of luck"));
        assert_eq!(planner.run(|| Ok(7)).await.expect("the next one"), 7);
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
    assert_eq!(runtime().block_on(planner.run(|| Ok(deep(20_000)))).expect("no overflow"), 20_000);
}

#[test]
fn what_overruns_is_abandoned_and_replaced_until_too_many_run() {
    let planner = Planner::new(1, Duration::from_millis(10));
    let mut release = Vec::new();
    runtime().block_on(async {
        for _ in 0..=MAX_ABANDONED_PLANNERS {
            let (go, wait) = sync_channel::<()>(1);
            release.push(go);
            let stuck = planner.run(move || Ok(wait.recv().is_ok())).await;
            assert_eq!(stuck.expect_err("too slow").code(), Code::PlanningDeadline);
        }
        // All replacements are used up: the one planner is busy, and waiting for it has the same deadline.
        let started = sync_channel::<()>(1);
        let next = planner.run(move || Ok(started.0.send(()).is_ok())).await;
        assert_eq!(next.expect_err("no planner").code(), Code::PlanningDeadline);
    });
    drop(release);
}
