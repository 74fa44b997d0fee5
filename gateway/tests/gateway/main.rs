//! The gateway from outside: a real server on a port of its own, a real bus, agents that speak WebSocket or gRPC.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a failed expectation is how a test reports"
)]

mod admission;
mod client;
mod delivery;
mod ending;
mod fleet;
mod grpc;
mod oauth;
#[path = "../../../store/tests/contract/server.rs"]
#[expect(dead_code, reason = "the bus' own tests need more than is needed here")]
mod server;
mod support;
