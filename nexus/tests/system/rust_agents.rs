//! The example agents in Rust, as the files are.

#![expect(clippy::print_stdout, reason = "an example speaks to people")]

#[path = "../../../examples/agents/rust/access.rs"]
#[expect(dead_code, reason = "here the test says where to connect")]
pub mod access;
#[path = "../../../examples/agents/rust/grpc.rs"]
pub mod grpc;
#[path = "../../../examples/agents/rust/websocket.rs"]
pub mod websocket;
