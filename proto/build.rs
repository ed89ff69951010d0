//! How do the .proto files become Rust? protox compiles them, so that no `protoc` is needed.

use std::error::Error;
use std::path::PathBuf;

const FILES: [&str; 3] =
    ["tidewater/admin/v1/admin.proto", "tidewater/ingest/v1/ingest.proto", "tidewater/query/v1/query.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=tidewater");
    println!("cargo::rerun-if-changed=google");
    let mut files = protox::compile(FILES, ["."])?;
    tonic_prost_build::configure()
        .bytes(".")
        .extern_path(".google.rpc.Status", "::tonic_types::pb::Status")
        .compile_fds(files.clone())?;
    // Reflection serves the descriptors; the comments are in the generated code.
    for file in &mut files.file {
        file.source_code_info = None;
    }
    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("descriptors.bin");
    std::fs::write(out, prost::Message::encode_to_vec(&files))?;
    Ok(())
}
