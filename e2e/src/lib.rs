//! The built system from outside: real processes over real folders, and faults.
//!
//! Nothing here uses a crate of the product. What is known of it is what its users know: `nexus dev`, webhooks,
//! the agent protocol and the command line.
//!
//! - [`durability`]: kills, losses of power, a full disk; nothing accepted may be lost.
//! - [`faults`]: the same of roles as processes around a Redis, and of that Redis.
//! - [`cluster`]: a Kubernetes API server for tests of what runs on one.
//! - [`apidoor`]: a door before it, at which whoever calls can be killed.
//! - [`control`]: operators, pods and that API server, of which one part after the other fails.
//! - [`times`]: how long stops and changes take there.
//! - [`node`]: what is installed on a node with pods, and how long a stop takes there.
//! - [`powerloss`]: the recorder and the model behind the losses of power.

pub mod agents;
pub mod apidoor;
pub mod cluster;
pub mod control;
pub mod crowd;
pub mod doors;
pub mod durability;
pub mod faults;
pub mod feed;
pub mod fleet;
pub mod grpc;
pub mod ledger;
pub mod link;
pub mod load;
pub mod memory;
pub mod mount;
pub mod node;
pub mod operated;
pub mod powerloss;
pub mod program;
pub mod proof;
pub mod redis;
pub mod sessions;
pub mod setup;
pub mod site;
pub mod switch;
pub mod times;
pub mod webhook;
