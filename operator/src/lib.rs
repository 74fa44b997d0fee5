//! The operator: custom resources in, configured pods and status out.
//!
//! It refuses to see an event, an agent's token or the bus, and keeps no state of its own: the objects are its database. Every
//! replica compiles and serves; only the holder of a Lease writes. The stop of agents does not pass through here.
//!
//! The flow, in five lines:
//! 1. [`watch`] tells what stands at the API server, [`objects`] and [`engine`] hold it by tenant and compile what changed;
//! 2. [`decide`] publishes that to pods by `nexus_wire::config`, whose tokens [`identity`] has reviewed;
//! 3. pods report what they hold; [`decide`] makes status of it, and of stops what [`scale`] is to do;
//! 4. [`write`] writes that, while [`lease`] says that this replica leads, through a [`fence`] at the socket;
//! 5. [`own`] keeps what the operator owns itself: its [`certificate`], and the key of access tokens.

mod certificate;
mod decide;
mod engine;
mod fence;
mod identity;
mod lease;
mod objects;
mod operator;
mod own;
mod policy;
mod scale;
mod server;
mod slices;
mod status;
mod store;
mod watch;
mod write;

pub use certificate::CONFIG_MAP;
pub use identity::AUDIENCE;
pub use operator::{Operator, OperatorSettings};
pub use own::TOKEN_KEYS;
pub use scale::HELD_REPLICAS;
pub use server::ServeError;
