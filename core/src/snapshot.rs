//! What pods are configured with: one snapshot per tenant and role, and the secrets apart from both.
//!
//! Maps are ordered and every field is part of the content hash, so that the same CRs always give the same
//! version. A snapshot never holds a secret; secrets travel as [`SigningSecrets`], in memory only.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::event::{Actor, Provider};
use crate::id::{AgentId, InboxId, TenantKey};
use crate::kind::Kind;
use crate::secret::{Secret, SecretDigest};
use crate::selector::Labels;

/// The content hash of a snapshot, as 64 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Version(String);

impl Version {
    /// The version of a content: SHA-256 of its canonical JSON.
    ///
    /// # Panics
    /// Never: snapshot types have string keys only, so their JSON cannot fail.
    #[must_use]
    pub fn of(content: &impl Serialize) -> Self {
        let json = serde_json::to_vec(content).expect("snapshot types serialize: their map keys are strings");
        Self(hex::encode(Sha256::digest(&json)))
    }

    /// The first 12 digits, for people.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What ingest knows of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IngestSnapshot {
    /// The tenant.
    pub tenant: TenantKey,
    /// Its sources by name.
    pub sources: BTreeMap<String, Source>,
    /// What may be kept of it.
    pub storage: Storage,
}

/// A source of events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// Who sends.
    pub provider: Provider,
}

/// Bounds on what is kept of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// Bytes of events that may wait unacknowledged; beyond them the tenant's webhooks are answered 503.
    pub quota_bytes: u64,
    /// How long handled events are kept.
    pub retention: Duration,
}

impl Default for Storage {
    fn default() -> Self {
        Self { quota_bytes: 1 << 30, retention: Duration::from_hours(7 * 24) }
    }
}

/// The signing secrets of one tenant's sources, by source name: the current one first, then the former one
/// while a rotation lasts. A resource of its own, never part of a snapshot.
pub type SigningSecrets = BTreeMap<String, Vec<Secret>>;

/// What gateway knows of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewaySnapshot {
    /// The tenant.
    pub tenant: TenantKey,
    /// Its agents by name.
    pub agents: BTreeMap<String, Agent>,
    /// Its aliases, in the order of the Tenant's list.
    pub aliases: Vec<Alias>,
    /// The heartbeat that sessions must keep.
    pub heartbeat: Heartbeat,
}

/// How often an agent must send Ping, and how many it may miss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Heartbeat {
    /// The longest time between two Pings.
    pub interval: Duration,
    /// After this many missed Pings the agent is offline.
    pub misses: u32,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self { interval: Duration::from_secs(30), misses: 3 }
    }
}

/// An agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Agent {
    /// Its id.
    pub id: AgentId,
    /// Its name for people.
    pub display_name: String,
    /// What it does, in a word or two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Who answers for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Its labels.
    pub labels: Labels,
    /// Names by which it can be mentioned, besides its own; without `@`.
    pub aliases: Vec<String>,
    /// What it wants to hear without being mentioned.
    pub subscriptions: Vec<Subscription>,
    /// The most events that one of its sessions may hold unacknowledged.
    pub max_in_flight: u32,
    /// Digest of its client secret; none while it has no credentials.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "digest_hex")]
    pub credential: Option<SecretDigest>,
    /// Shared inboxes that it draws from besides its own.
    pub shared_inboxes: Vec<InboxId>,
}

/// Events that an agent wants to hear. An empty list means "any".
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Subscription {
    /// Kinds of event.
    pub kinds: Vec<Kind>,
    /// Names of sources.
    pub sources: Vec<String>,
    /// Project keys.
    pub projects: Vec<String>,
    /// Labels, of which the event must have one.
    pub labels: Vec<String>,
    /// Whether events that programs caused are wanted.
    pub bots: Bots,
}

/// Whether events that programs caused are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bots {
    /// They are wanted like any other.
    #[default]
    Include,
    /// They are not.
    Exclude,
    /// Only they are.
    Only,
}

impl Bots {
    /// Whether an event of this actor is wanted.
    #[must_use]
    pub fn admits(self, actor: Option<&Actor>) -> bool {
        let bot = actor.is_some_and(|actor| actor.is_bot);
        match self {
            Self::Include => true,
            Self::Exclude => !bot,
            Self::Only => bot,
        }
    }
}

/// A name that stands for several agents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alias {
    /// The name, without `@`.
    pub name: String,
    /// Ids of the Slack user group, the ClickUp group and the GitHub team that mean the same.
    pub handles: BTreeMap<Provider, String>,
    /// Names of the agents, sorted.
    pub members: Vec<String>,
    /// Whether each member gets an event, or any one.
    pub delivery: Delivery,
}

/// Who of an alias's members gets an event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Delivery {
    /// Each member gets it.
    #[default]
    All,
    /// One member gets it, whoever is free first: the alias has one shared inbox.
    Any,
}

mod digest_hex {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    use crate::secret::SecretDigest;

    #[expect(clippy::ref_option, reason = "serde's signature for `with`")]
    pub(super) fn serialize<S: Serializer>(digest: &Option<SecretDigest>, s: S) -> Result<S::Ok, S::Error> {
        digest.map(SecretDigest::to_hex).serialize(s)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<SecretDigest>, D::Error> {
        let text = Option::<String>::deserialize(d)?;
        text.map(|text| SecretDigest::from_hex(&text).ok_or_else(|| D::Error::custom("not 64 hex digits")))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_the_hash_of_the_content() {
        let storage = Storage::default();
        assert_eq!(Version::of(&storage), Version::of(&storage.clone()));
        assert_ne!(Version::of(&storage), Version::of(&Storage { quota_bytes: 1, ..storage }));
        assert_eq!(Version::of(&storage).short().len(), 12);
    }

    #[test]
    fn bots_are_told_from_people() {
        let bot = Actor { id: "1".into(), display: None, is_bot: true };
        assert!(Bots::Include.admits(Some(&bot)));
        assert!(!Bots::Exclude.admits(Some(&bot)));
        assert!(Bots::Only.admits(Some(&bot)));
        assert!(!Bots::Only.admits(None));
    }
}
