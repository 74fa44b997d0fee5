//! Identifiers. Every id is a newtype, so that a tenant's name can never stand where an agent's is meant.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Namespace of the version 5 UUIDs of agents and inboxes; fixed for ever, or agents would lose their inboxes.
const NEXUS_NAMESPACE: Uuid = Uuid::from_u128(0x6f1d_4a0e_6a52_5c0d_9a53_1f6e_7c1b_2d90);

/// A text that is no id of the kind that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no {expected}")]
pub struct ParseIdError {
    given: String,
    expected: &'static str,
}

impl ParseIdError {
    /// An error that says what was given and what was expected.
    #[must_use]
    pub fn new(given: &str, expected: &'static str) -> Self {
        Self { given: given.to_owned(), expected }
    }
}

/// A tenant: the namespace and the name of its Tenant object. Written `namespace/name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(into = "String", try_from = "String")]
#[schemars(with = "String")]
pub struct TenantKey {
    namespace: String,
    name: String,
}

impl TenantKey {
    /// A key from its two Kubernetes names; neither may be empty or contain `/`.
    ///
    /// # Errors
    /// When either part is empty or contains a slash.
    pub fn new(namespace: &str, name: &str) -> Result<Self, ParseIdError> {
        let bad = |part: &str| part.is_empty() || part.contains('/') || part.len() > 253;
        if bad(namespace) || bad(name) {
            return Err(ParseIdError::new(&format!("{namespace}/{name}"), "tenant (namespace/name)"));
        }
        Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
    }

    /// The Kubernetes namespace of the tenant.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The name of the Tenant object.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for TenantKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl From<TenantKey> for String {
    fn from(key: TenantKey) -> Self {
        key.to_string()
    }
}

impl TryFrom<String> for TenantKey {
    type Error = ParseIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl FromStr for TenantKey {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some((namespace, name)) => Self::new(namespace, name),
            None => Err(ParseIdError::new(text, "tenant (namespace/name)")),
        }
    }
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $expected:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// The id as a UUID.
            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }

            /// The id's sixteen bytes, in network order.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// The id from its sixteen bytes, in network order.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text)
                    .map(Self)
                    .map_err(|_| ParseIdError::new(text, $expected))
            }
        }
    };
}

uuid_id! {
    /// An accepted event: a version 7 UUID given at the edge, so that ids sort by time of receipt.
    EventId, "event id (a UUID)"
}
uuid_id! {
    /// An agent: the version 5 UUID of `namespace/tenant/name`, so that it survives re-creation.
    AgentId, "agent id (a UUID)"
}
uuid_id! {
    /// An inbox: one per agent, and one per alias with `delivery: any`.
    InboxId, "inbox id (a UUID)"
}
uuid_id! {
    /// One life of a gateway: a random id, fresh at each start.
    GatewayId, "gateway id (a UUID)"
}
uuid_id! {
    /// One connection of an agent.
    SessionId, "session id (a UUID)"
}

impl AgentId {
    /// The id of the agent that `name` names in `tenant`.
    #[must_use]
    pub fn of(tenant: &TenantKey, name: &str) -> Self {
        Self(Uuid::new_v5(&NEXUS_NAMESPACE, format!("{tenant}/{name}").as_bytes()))
    }

    /// The agent's own inbox. It has the agent's id.
    #[must_use]
    pub const fn inbox(self) -> InboxId {
        InboxId(self.0)
    }
}

impl InboxId {
    /// The shared inbox of an alias with `delivery: any`; case does not matter in alias names.
    #[must_use]
    pub fn of_alias(tenant: &TenantKey, alias: &str) -> Self {
        // `@` can stand in no object name, so an alias never collides with an agent.
        let name = alias.trim_start_matches('@').to_ascii_lowercase();
        Self(Uuid::new_v5(&NEXUS_NAMESPACE, format!("{tenant}/@{name}").as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_id_depends_on_namespace_tenant_and_name_only() {
        let tenant: TenantKey = "acme/acme".parse().unwrap();
        let other: TenantKey = "acme/other".parse().unwrap();
        assert_eq!(AgentId::of(&tenant, "coder"), AgentId::of(&tenant.clone(), "coder"));
        assert_ne!(AgentId::of(&tenant, "coder"), AgentId::of(&other, "coder"));
        assert_eq!(AgentId::of(&tenant, "coder").to_string(), "d4efac18-62e0-5f32-b29a-edf0e6e8d657");
    }

    #[test]
    fn an_alias_inbox_ignores_case_and_the_at_sign() {
        let tenant: TenantKey = "acme/acme".parse().unwrap();
        assert_eq!(InboxId::of_alias(&tenant, "@AI_Squad"), InboxId::of_alias(&tenant, "ai_squad"));
        assert_ne!(InboxId::of_alias(&tenant, "@coder"), AgentId::of(&tenant, "coder").inbox());
    }

    #[test]
    fn a_tenant_key_needs_both_parts() {
        assert!("acme".parse::<TenantKey>().is_err());
        assert!("acme/".parse::<TenantKey>().is_err());
        assert!("a/b/c".parse::<TenantKey>().is_err());
    }
}
