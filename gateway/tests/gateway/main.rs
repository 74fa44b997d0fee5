//! The gateway from outside: a real server on a port of its own, a real bus, a WebSocket client.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a failed expectation is how a test reports"
)]

mod admission;
mod delivery;
mod ending;
mod oauth;
mod support;
