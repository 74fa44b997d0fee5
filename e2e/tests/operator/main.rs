//! The operator as a process at a real API server.

#![expect(clippy::unwrap_used, reason = "a failed step is the test's report")]

mod crash;
mod pods;
mod rig;
