//! Is a job that failed tried again later each time, and at once when it went well?

use std::time::Duration;

use super::back_off::BackOff;

#[test]
fn who_fails_waits_twice_as_long_each_time_up_to_a_minute() {
    let mut job = BackOff::default();
    let mut uptime = Duration::from_secs(100);
    assert!(job.may_begin(uptime) && job.until().is_none());
    for waits in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
        let (wait, moment) = (Duration::from_secs(waits), Duration::from_micros(1));
        job.note_failed(uptime);
        assert_eq!(job.until(), Some(uptime + wait));
        assert!(!job.may_begin(uptime) && !job.may_begin(uptime + wait - moment));
        uptime += wait;
        assert!(job.may_begin(uptime) && job.until().is_none(), "nothing is waited for once it may begin");
    }
    (0..100).for_each(|_| job.note_failed(uptime));
    assert_eq!(job.until(), Some(uptime + Duration::from_secs(60)));
    job.note_done();
    assert!(job.may_begin(uptime));
    job.note_failed(uptime);
    assert_eq!(job.until(), Some(uptime + Duration::from_secs(1)));
}
