//! Ingest from outside: deliveries as the providers send them, signed, through the router, into a real bus.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is how a test reports")]

mod bots;
mod github;
mod golden;
mod own;
mod refusals;
mod shapes;
mod socket;
mod support;
mod twins;
