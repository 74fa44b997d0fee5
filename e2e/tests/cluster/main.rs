//! What a real Kubernetes API server makes of Nexus's custom resources.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed step is the test's report")]

mod accepted;
mod bounds;
mod explained;
mod objects;
mod rules;
mod schema;
