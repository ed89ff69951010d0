//! What happens first? Allocator and TLS provider are chosen, then the command line decides.

use clap::Parser;
use tidewater_server::cli::{self, Cli};
use tidewater_storage::env::end_process;

/// Returns memory to the system better than the usual allocator under our load: large, short-lived column buffers.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    // Two providers may be compiled in; rustls asks that one be named before its first use. It fails only if named twice.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = Cli::parse();
    let status = match tokio::runtime::Builder::new_multi_thread().thread_name("tidewater-net").enable_all().build() {
        Ok(runtime) => runtime.block_on(cli::run(cli)),
        Err(reason) => cli::fail(&format!("the runtime cannot be started: {reason}")),
    };
    // Threads that still wait for standard input, or for the disk, must not hold up the end.
    end_process(i32::from(status))
}
