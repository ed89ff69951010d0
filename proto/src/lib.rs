//! What do we say on the wire? Messages and services generated from `tidewater/*/v1/*.proto`.
//!
//! The .proto files are the documentation of the protocol; this crate adds nothing to them. Fields of type `bytes` are
//! [`bytes::Bytes`], so that a payload is not copied on its way. `google.rpc.Status` is [`tonic_types::pb::Status`].

#![allow(clippy::doc_markdown, reason = "generated from comments that were not written for rustdoc")]

/// Saying who may ask.
pub mod admin {
    /// `tidewater.admin.v1`
    pub mod v1 {
        tonic::include_proto!("tidewater.admin.v1");
    }
}

/// Handing over rows.
pub mod ingest {
    /// `tidewater.ingest.v1`
    pub mod v1 {
        tonic::include_proto!("tidewater.ingest.v1");
    }
}

/// Asking questions.
pub mod query {
    /// `tidewater.query.v1`
    pub mod v1 {
        tonic::include_proto!("tidewater.query.v1");
    }
}

/// All of the above and what it imports, as an encoded `google.protobuf.FileDescriptorSet`, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
