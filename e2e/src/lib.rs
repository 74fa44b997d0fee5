//! The built system from outside: real processes over real folders, and faults.
//!
//! Nothing here uses a crate of the product. What is known of it is what its users know: `nexus dev`, webhooks,
//! the agent protocol and the command line.
//!
//! - [`durability`]: kills, losses of power, a full disk; nothing accepted may be lost.
//! - [`powerloss`]: the recorder and the model behind the losses of power.

pub mod agents;
pub mod durability;
pub mod ledger;
pub mod load;
pub mod powerloss;
pub mod program;
pub mod site;
pub mod webhook;
