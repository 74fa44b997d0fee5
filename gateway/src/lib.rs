//! The gateway: agents come here for tokens and sessions, and events find their inboxes here.
//!
//! It refuses to know a CR, a provider's key or a person: it is told snapshots, a stop gate and a bus, keeps no
//! state of its own, and asks the gate before it admits anybody or sends anything.
//!
//! The flow, in five lines:
//! 1. an agent trades its client secret for an access token ([`token`]) that is verified without asking anybody;
//! 2. it connects with the token; the upgrade is handed to a session, which its one owner runs;
//! 3. meanwhile the route loop puts events into inboxes by the tenant's snapshot ([`config`]);
//! 4. the session pulls against the agent's credit, delivers, and commits what the agent acknowledges;
//! 5. a stop, a drain, an expiry or silence ends it; what it held returns to the inbox at once.
//!
//! Tasks: `http` (the server), `sessions` (owns every session), `routing` (owns a task per tenant), `fleet` (beats), `heirs` (what dead
//! gateways leave, and what comes back of this one's).

mod backoff;
pub mod config;
mod fleet;
mod gateway;
mod http;
mod leases;
mod outage;
pub mod presence;
mod routing;
mod session;
mod sessions;
mod shared;
pub mod token;
#[cfg(test)]
mod world;

pub use config::{GatewayConfig, Snapshots};
pub use fleet::Fleet;
pub use gateway::{Bound, Gateway, GatewayDeps, GatewaySettings, MAX_SESSIONS};
pub use http::{Granted, Metadata, OAuthError};
pub use leases::Leases;
pub use presence::Presence;
pub use token::TokenKeys;

/// An error as a log line shows it: with all that caused it.
fn chain<'e>(error: &'e (dyn std::error::Error + 'static)) -> &'e (dyn std::error::Error + 'static) {
    error
}
