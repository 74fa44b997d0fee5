//! The pure core of Nexus: what an event is, whom it concerns, and whether anybody may run.
//!
//! It refuses to do I/O, to read a clock, to draw randomness and to know a Kubernetes type: everything
//! arrives as an argument, so that every answer can be replayed.
//!
//! The flow, in five lines:
//! 1. a normalizer fills a [`event::StandardEvent`], its [`mention`]s and its [`change::ChangeKey`];
//! 2. `compile` turns CRs into an [`snapshot::IngestSnapshot`] and a [`snapshot::GatewaySnapshot`] per tenant;
//! 3. [`route::route`] asks the gateway snapshot whom an event concerns and records why;
//! 4. [`stop::Latch`] merges what is known of the NexusPolicies;
//! 5. [`stop::Latch::decide`] says, for one agent and now, run or stopped.

pub mod backoff;
pub mod change;
pub mod clock;
pub mod event;
pub mod id;
pub mod kind;
pub mod mention;
pub mod route;
pub mod schema;
pub mod secret;
pub mod selector;
pub mod snapshot;
pub mod stop;
pub mod trace;
