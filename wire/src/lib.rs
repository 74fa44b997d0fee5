//! The two protocols: frames of agents, their JSON and their protobuf; and [`config`], by which the operator configures pods.
//!
//! The protobuf files under `wire/proto` define both protocols; the code under `gen/` is made from them by
//! `UPDATE_GENERATED=1 cargo test -p nexus-wire` and a test fails when it is stale. The crate refuses to make
//! a socket or to hold a session of an agent: it turns bytes into frames and frames into bytes, and of the config
//! stream it has both ends, over connections that others make.
//!
//! The flow of frames, in five lines:
//! 1. a message arrives, at most [`frame::MAX_CLIENT_FRAME`] bytes;
//! 2. [`frame::parse`] or, over gRPC, [`protobuf::parse`] makes it an [`agent::v1::client_frame::Frame`] or says
//!    what is wrong with it;
//! 3. the session answers with [`agent::v1::server_frame::Frame`]s;
//! 4. [`frame::to_json`] or [`protobuf::to_bytes`] writes them;
//! 5. [`frame::deliver_json`] writes the one hot frame around an event that is JSON already, [`protobuf::deliver`]
//!    reads that JSON once.

pub mod asyncapi;
pub mod config;
pub mod frame;
pub mod protobuf;

#[expect(
    missing_docs,
    clippy::all,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated; documented in the protobuf files"
)]
mod generated {
    pub mod agent {
        pub mod v1 {
            include!("gen/nexus.agent.v1.rs");
            include!("gen/nexus.agent.v1.serde.rs");
        }
    }
    pub(crate) mod config {
        pub mod v1 {
            include!("gen/nexus.config.v1.rs");
        }
    }
    pub mod event {
        pub mod v1 {
            include!("gen/nexus.event.v1.rs");
            include!("gen/nexus.event.v1.serde.rs");
        }
    }
}

pub use generated::{agent, event};

/// The protobuf files of agents as an encoded `FileDescriptorSet`, comments included; what gRPC reflection shows.
pub const DESCRIPTORS: &[u8] = include_bytes!("gen/descriptors.bin");

/// The protobuf files of agents themselves, by the path under which they import each other.
pub const PROTOS: [(&str, &str); 2] = [
    ("nexus/agent/v1/agent.proto", include_str!("../proto/nexus/agent/v1/agent.proto")),
    ("nexus/event/v1/event.proto", include_str!("../proto/nexus/event/v1/event.proto")),
];
