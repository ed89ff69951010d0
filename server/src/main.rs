//! What happens first? Allocator and TLS provider are chosen, then the command line decides.

use std::process::ExitCode;

use clap::Parser;
use tidewater_server::cli::{self, Cli};

/// Returns memory to the system better than the usual allocator under our load: large, short-lived column buffers.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // Two providers may be compiled in; rustls asks that one be named before its first use. It fails only if named twice.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().thread_name("tidewater-net").enable_all().build() {
        Ok(runtime) => runtime,
        Err(reason) => return cli::fail(&format!("the runtime cannot be started: {reason}")),
    };
    let code = runtime.block_on(cli::run(cli));
    // Threads that still wait for standard input must not hold up the end.
    runtime.shutdown_background();
    code
}
