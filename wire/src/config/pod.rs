//! How pods stand, as they report it: plain values, the same on both ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use nexus_core::id::AgentId;

use super::{Digest, ResourceName, Role};

/// How the pods that are connected stand, by pod name.
pub type Pods = BTreeMap<String, Arc<Pod>>;

/// How a pod stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// What it runs.
    pub role: Role,
    /// What is in force in it.
    pub held: BTreeMap<ResourceName, Digest>,
    /// What it did not take; of each the former value is in force, if there was one.
    pub refused: BTreeMap<ResourceName, Refused>,
    /// How it stands to stops; none until it told, and of a role that obeys none.
    pub stops: Option<Stops>,
    /// The agents that have a session at it, or had one.
    pub presence: BTreeMap<AgentId, Presence>,
}

impl Pod {
    /// A pod that has told nothing yet.
    #[must_use]
    pub fn new(role: Role) -> Self {
        let (held, refused, presence) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { role, held, refused, stops: None, presence }
    }
}

/// A resource that a pod did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The version that it refuses.
    pub digest: Digest,
    /// Why, for people. It holds no part of a secret.
    pub reason: String,
}

/// How a pod stands to stops.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stops {
    /// Whether it has ever known; until then it stops everybody.
    pub known: bool,
    /// The policies as it saw them last.
    pub seen: Vec<SeenPolicy>,
    /// The stops that it holds.
    pub held: Vec<HeldStop>,
}

/// A policy as a pod saw it last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenPolicy {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Its generation.
    pub generation: u64,
}

/// A stop that a pod holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldStop {
    /// The name of its policy.
    pub policy: String,
    /// The uid of its policy.
    pub uid: String,
    /// The engagement's name, by which it is released.
    pub engagement: String,
    /// How many connections of agents it closed at this pod.
    pub sockets_severed: u64,
    /// When the last byte was written to an agent that it stops.
    pub last_byte: Option<Timestamp>,
    /// What an admin must look at, for people.
    pub alarm: Option<String>,
    /// When it was put in force at this pod, by its clock.
    pub engaged: Option<Timestamp>,
}

/// Whether an agent has a session at a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presence {
    /// Whether it has one.
    pub online: bool,
    /// When that changed.
    pub since: Timestamp,
}

/// What a pod tells of itself besides what it holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// How it stands to stops; none of a role that obeys none.
    pub stops: Option<Stops>,
    /// The agents that have a session at it, or had one.
    pub presence: BTreeMap<AgentId, Presence>,
}
