//! The shell of a pod: what every role needs around its work, and nothing of the work itself.
//!
//! It refuses to know a provider, a protocol or a store. It owns tasks, serves HTTP with deadlines, says whether
//! the pod is ready, and holds the stop lane, which must work when everything else does not.
//!
//! The flow, in five lines:
//! 1. [`telemetry::init`], then [`readiness::Readiness`] guards for all that start-up waits for;
//! 2. [`lane::StopLane::open`] reads the latch file: whoever asks its [`lane::StopGate`] is refused until
//!    something is known;
//! 3. [`tasks::Tasks`] owns every task of a role; the end of any of them ends the role;
//! 4. [`server::serve`] runs a router with header deadlines and a bound on connections;
//! 5. a `CancellationToken` drains: no new work, what is under way ends, then the process.

pub mod admin;
pub mod apart;
pub mod clock;
pub mod file;
pub mod lane;
pub mod metrics;
pub mod readiness;
pub mod server;
pub mod tasks;
pub mod telemetry;
pub mod trace;

pub use tokio_util::sync::CancellationToken as Drain;
