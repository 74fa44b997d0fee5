//! Webhooks in: verify, normalize, append durably, answer.
//!
//! It refuses to look at a body that nobody vouches for, to answer 200 before the event is durable, to lose an
//! event because a field looks unlike the documents, and to answer 401 or 410, which make ClickUp suspend the
//! hook. It knows no CR, no agent and no route.
//!
//! The flow, in five lines:
//! 1. [`router`] finds the source of `POST /hooks/{namespace}/{tenant}/{source}` in its [`config`];
//! 2. [`verify`] reads the signature's claim from the headers; then the body is read against deadline, bound
//!    and [`budget`], and the claim is checked over its raw bytes: a [`delivery::Verified`];
//! 3. [`normalize`] makes it a `StandardEvent` with its delivery key and its change key;
//! 4. the [`Intake`] keeps it: the bus, which drops it if its delivery key is known, or the spool before a bus that is
//!    another machine;
//! 5. only then the sender hears 200.

pub mod budget;
pub mod config;
pub mod delivery;
mod http;
mod intake;
pub mod normalize;
pub mod verify;

pub use crate::config::{IngestConfig, IngestSettings, TenantSources};
pub use crate::http::{Accepted, Described, Ingest, Problem, refusals, router};
pub use crate::intake::Intake;
