//! The config stream: how the operator configures pods and hears from them, both ends of it (ADR 12).
//!
//! It refuses to make a connection, to open a file and to know a Kubernetes type: who serves brings the server, who
//! subscribes says how an operator is reached, and what is compiled comes as [`Resource`]s.
//!
//! The flow, in five lines:
//! 1. the operator hands [`Resource`]s to a [`Publisher`], a tenant at a time, and says once when that was all;
//! 2. a pod's [`Subscriber`] keeps a stream to each replica; one of them configures, all hear reports;
//! 3. a stream says Hello with what the pod holds, and is sent what differs in Updates, one at a time;
//! 4. [`Held`] checks each resource, takes it or refuses it by name, and [`Stage`] puts it in force;
//! 5. the pod reports what it holds and how it stands ([`Standing`]); the operator reads it as [`Pods`].

mod door;
mod entries;
mod held;
mod identify;
pub mod last_good;
mod pod;
mod primary;
mod publisher;
mod report;
mod resource;
mod secrets;
mod serve;
mod stage;
mod stream;
mod subscriber;
mod told;

use std::time::Duration;

pub use self::door::{MAX_STREAMS, STREAM_BURST, STREAMS_PER_SECOND};
pub use self::held::{Held, Taken};
pub use self::identify::{Identify, Identity, Unidentified};
pub use self::pod::{HeldStop, Pod, Pods, Presence, Refused, SeenPolicy, Standing, Stops};
pub use self::publisher::{Publisher, Service};
pub use self::resource::{Digest, Resource, ResourceName, ResourceType, Role, TooLarge};
pub use self::stage::Stage;
pub use self::stream::StreamError;
pub use self::subscriber::{Operators, Subscriber};
/// The generated code: messages, client and server.
pub use crate::generated::config::v1;

/// The most bytes that a resource has as JSON.
pub const MAX_RESOURCE_BYTES: usize = 8 << 20;

/// The most bytes that an Update has beyond its first resource.
pub const MAX_UPDATE_BYTES: usize = 1 << 20;

/// The most bytes of any message, on both sides.
pub const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// The most entries of any list of resources or agents that a pod tells of; what is beyond is left out.
pub const MAX_ENTRIES: usize = 100_000;

/// The most policies, stops and alarms that a pod tells of; what is beyond is left out.
pub const MAX_STOPS: usize = 1_000;

/// The longest text for people in bytes; a longer one is cut.
pub const MAX_TEXT_BYTES: usize = 1024;

/// How often HTTP/2 asks whether the other end is there; both ends do.
pub const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);

/// How long the other end may take to answer that.
pub const KEEPALIVE_ANSWER: Duration = Duration::from_secs(5);

/// How long a pod may take from the call to its Hello, and whoever knows tokens to say whose one is.
const FIRST_WORD: Duration = Duration::from_secs(10);

/// The least time between two reports over a stream.
const REPORT_EVERY: Duration = Duration::from_millis(100);

/// The start of a text for people, at most [`MAX_TEXT_BYTES`].
fn bounded(mut text: String) -> String {
    let mut end = text.len().min(MAX_TEXT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

#[cfg(test)]
mod tests;
