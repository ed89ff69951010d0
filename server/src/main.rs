//! What happens first? Allocator and TLS provider are chosen, then the command line decides.

use clap::Parser;
use tidewater_server::cli::{self, Cli};
use tidewater_storage::env::{end_process, prefer_latency};

/// Returns memory to the system better than the usual allocator under our load: large, short-lived column buffers.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    // Two providers may be compiled in; rustls asks that one be named before its first use. It fails only if named twice.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = Cli::parse();
    let mut threads = tokio::runtime::Builder::new_multi_thread();
    threads.thread_name("tidewater-net").on_thread_start(prefer_latency).enable_all();
    let runtime = match threads.build() {
        Ok(runtime) => runtime,
        Err(reason) => end_process(i32::from(cli::fail(&format!("the runtime cannot be started: {reason}")))),
    };
    let status = runtime.block_on(cli::run(cli));
    // The runtime is not dropped: that waits for threads that wait for standard input, or for the disk, perhaps for ever.
    end_process(i32::from(status))
}
