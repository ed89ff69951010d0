//! Which thread runs first when there are more than processors? Those that somebody waits for, then those in the background.

use std::io;

/// Below queries, which are below ingest. A thread cannot go up again without a right of its own, so it ends with its work.
const BACKGROUND_NICE: i32 = 10;

/// The shortest slice that the kernel takes.
const LATENCY_SLICE_NS: u64 = 100_000;

/// The calling thread works for nobody who waits: it takes what others leave.
pub(super) fn yield_to_others() {
    // Without the right to do so it stays where it is.
    if let Err(error) = rustix::process::setpriority_process(None, BACKGROUND_NICE) {
        tracing::debug!(%error, "a background thread keeps its priority");
    }
}

/// The calling thread answers somebody who waits: when it wakes it runs at once, also where others compute. It gets no larger part of the
/// processors for that, only shorter slices of it (Linux 6.12 and later, `sched(7)`; earlier kernels ignore the wish).
pub fn prefer_latency() {
    let size = size_of::<libc::sched_attr>();
    let attributes = libc::sched_attr {
        size: size as u32,
        sched_policy: libc::SCHED_OTHER as u32,
        sched_flags: 0,
        sched_nice: 0,
        sched_priority: 0,
        sched_runtime: LATENCY_SLICE_NS,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the kernel reads `size` bytes from the address, which are there; 0 is the calling thread.
    let outcome = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if outcome != 0 {
        tracing::debug!(error = %io::Error::last_os_error(), "a thread keeps the usual slice");
    }
}
