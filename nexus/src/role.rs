//! What a role stands on, whichever process it runs in: `nexus dev`, which has all of them, or one of its own.
//!
//! It refuses to know which roles its process has: that is a [`cut::Cut`] of what the folder compiles to.
//!
//! The flow, in five lines:
//! 1. [`process::Process`] begins: telemetry, readiness, signals;
//! 2. [`control::Control`] reads a folder, compiles it, keeps its cut and publishes, and [`reload`] does so again; or
//!    [`subscribed::Subscribed`] takes from an operator what is compiled already: both put it into [`configured::Configured`];
//! 3. [`switch::Switch`] hears of stops before anything is compiled, of the folder or by [`policies`] of an API server, and
//!    [`hearsay::Hearsay`] of those of other gateways;
//! 4. [`gateway::GatewayRole`] and [`ingest::IngestRole`] bind and run under [`supervise`];
//! 5. a signal drains: the roles end, then the bus is closed, then the last traces leave.

pub mod alone;
#[cfg(test)]
pub mod broken;
pub mod configured;
pub mod control;
pub mod credentials;
pub mod cut;
pub mod data;
pub mod gateway;
pub mod gauges;
pub mod hearsay;
pub mod ingest;
pub mod keys;
pub mod last_good;
pub mod operate;
pub mod operator;
pub mod policies;
pub mod ports;
pub mod process;
pub mod reload;
pub mod shown;
pub mod source;
pub mod spool;
pub mod standing;
pub mod subscribed;
pub mod supervise;
pub mod switch;
pub mod upkeep;
