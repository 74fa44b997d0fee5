//! Resources: what one tenant compiles to for one role, as canonical JSON, versioned by its hash.

use std::fmt;

use bytes::Bytes;
use nexus_core::id::TenantKey;
use nexus_core::snapshot::SigningSecrets;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{MAX_RESOURCE_BYTES, secrets, v1};

/// What a resource is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResourceType {
    /// What ingest knows of a tenant: an `IngestSnapshot`.
    Ingest,
    /// What gateway knows of a tenant: a `GatewaySnapshot`.
    Gateway,
    /// The signing secrets of a tenant's sources. Never in the last good file, never shown.
    SigningSecrets,
}

impl ResourceType {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ingest, Self::Gateway, Self::SigningSecrets];

    /// The word for logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Gateway => "gateway",
            Self::SigningSecrets => "signing_secrets",
        }
    }

    fn of_proto(kind: i32) -> Option<Self> {
        match v1::ResourceType::try_from(kind).ok()? {
            v1::ResourceType::Unspecified => None,
            v1::ResourceType::Ingest => Some(Self::Ingest),
            v1::ResourceType::Gateway => Some(Self::Gateway),
            v1::ResourceType::SigningSecrets => Some(Self::SigningSecrets),
        }
    }

    const fn proto(self) -> v1::ResourceType {
        match self {
            Self::Ingest => v1::ResourceType::Ingest,
            Self::Gateway => v1::ResourceType::Gateway,
            Self::SigningSecrets => v1::ResourceType::SigningSecrets,
        }
    }
}

/// What a pod runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It takes webhooks.
    Ingest,
    /// It serves agents.
    Gateway,
}

impl Role {
    /// What the role is sent, and nothing else.
    #[must_use]
    pub const fn types(self) -> &'static [ResourceType] {
        match self {
            Self::Ingest => &[ResourceType::Ingest, ResourceType::SigningSecrets],
            Self::Gateway => &[ResourceType::Gateway],
        }
    }

    /// The word for logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Gateway => "gateway",
        }
    }

    /// The role that a message names.
    #[must_use]
    pub const fn of_proto(role: v1::Role) -> Option<Self> {
        match role {
            v1::Role::Unspecified => None,
            v1::Role::Ingest => Some(Self::Ingest),
            v1::Role::Gateway => Some(Self::Gateway),
        }
    }

    /// The role as a message names it.
    #[must_use]
    pub const fn proto(self) -> v1::Role {
        match self {
            Self::Ingest => v1::Role::Ingest,
            Self::Gateway => v1::Role::Gateway,
        }
    }
}

/// A resource by its name: there is one of each type a tenant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceName {
    /// What it is.
    pub kind: ResourceType,
    /// Whose it is.
    pub tenant: TenantKey,
}

impl ResourceName {
    pub(super) fn of_proto(name: Option<v1::ResourceName>) -> Option<Self> {
        let v1::ResourceName { r#type, tenant } = name?;
        Some(Self { kind: ResourceType::of_proto(r#type)?, tenant: tenant.parse().ok()? })
    }

    pub(super) fn proto(&self) -> v1::ResourceName {
        v1::ResourceName { r#type: self.kind.proto().into(), tenant: self.tenant.to_string() }
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.kind.name(), self.tenant)
    }
}

/// The version of a resource: SHA-256 of its content.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The version of a content.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        Self(Sha256::digest(content).into())
    }

    /// The version of these 32 bytes.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Its 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Enough to tell versions apart.
        f.write_str(&hex::encode(&self.0[..6]))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self}…)")
    }
}

/// A resource in one version.
#[derive(Clone, PartialEq, Eq)]
pub struct Resource {
    name: ResourceName,
    digest: Digest,
    content: Bytes,
}

/// A resource that has more than [`MAX_RESOURCE_BYTES`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the configuration for {name} takes {bytes} bytes; a pod takes at most {MAX_RESOURCE_BYTES}")]
pub struct TooLarge {
    /// The resource.
    pub name: ResourceName,
    /// How many it has.
    pub bytes: usize,
}

impl Resource {
    /// The resource of this name with a snapshot for content.
    ///
    /// # Errors
    /// When it has too many bytes.
    ///
    /// # Panics
    /// Never: snapshot types have string keys only, so their JSON cannot fail.
    pub fn of(name: ResourceName, content: &impl Serialize) -> Result<Self, TooLarge> {
        let json = serde_json::to_vec(content).expect("snapshot types serialize: their map keys are strings");
        Self::new(name, json.into())
    }

    /// The signing secrets of a tenant's sources as a resource. Its bytes are wiped when nobody holds them any more.
    ///
    /// # Errors
    /// When it has too many bytes.
    pub fn signing(tenant: TenantKey, signing: &SigningSecrets) -> Result<Self, TooLarge> {
        let name = ResourceName { kind: ResourceType::SigningSecrets, tenant };
        Self::new(name, Bytes::from_owner(secrets::to_json(signing)))
    }

    fn new(name: ResourceName, content: Bytes) -> Result<Self, TooLarge> {
        if content.len() > MAX_RESOURCE_BYTES {
            return Err(TooLarge { name, bytes: content.len() });
        }
        Ok(Self { name, digest: Digest::of(&content), content })
    }

    /// What and whose it is.
    #[must_use]
    pub fn name(&self) -> &ResourceName {
        &self.name
    }

    /// Its version.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Its content, JSON.
    #[must_use]
    pub fn content(&self) -> &Bytes {
        &self.content
    }

    pub(super) fn proto(&self) -> v1::Resource {
        v1::Resource {
            name: Some(self.name.proto()),
            sha256: self.digest.as_bytes().to_vec(),
            content: self.content.clone(),
        }
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resource")
            .field("name", &self.name)
            .field("bytes", &self.content.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for v1::Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resource")
            .field("name", &self.name)
            .field("bytes", &self.content.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use nexus_core::secret::Secret;

    use super::*;

    fn name(kind: ResourceType) -> ResourceName {
        ResourceName { kind, tenant: "acme/acme".parse().unwrap() }
    }

    #[test]
    fn its_version_is_the_hash_of_its_content_and_debug_shows_neither() {
        let resource = Resource::of(name(ResourceType::Ingest), &"content").unwrap();
        assert_eq!(resource.digest(), Digest::of(br#""content""#));
        assert_eq!(resource.digest().to_string().len(), 12);
        let secrets = [("github".to_owned(), vec![Secret::new("hunter2")])].into();
        let secret = Resource::signing("acme/acme".parse().unwrap(), &secrets).unwrap();
        for shown in [format!("{resource:?}"), format!("{:?}", secret.proto()), format!("{secret:?}")] {
            assert!(!shown.contains("content") && !shown.contains("aHVudGVyMg"), "{shown}");
            assert!(!shown.contains(&resource.digest().to_string()), "{shown}");
        }
    }

    #[test]
    fn a_resource_has_a_largest_size() {
        let text = |bytes: usize| "x".repeat(bytes - 2);
        assert!(Resource::of(name(ResourceType::Gateway), &text(MAX_RESOURCE_BYTES)).is_ok());
        let error = Resource::of(name(ResourceType::Gateway), &text(MAX_RESOURCE_BYTES + 1)).unwrap_err();
        assert_eq!(error.bytes, MAX_RESOURCE_BYTES + 1);
        assert!(error.to_string().contains("gateway of acme/acme"), "{error}");
    }

    #[test]
    fn names_go_over_the_wire_and_no_other_name_is_one() {
        for kind in ResourceType::ALL {
            assert_eq!(ResourceName::of_proto(Some(name(kind).proto())), Some(name(kind)));
        }
        assert_eq!(ResourceName::of_proto(None), None);
        for (kind, tenant) in [(0, "a/a"), (77, "a/a"), (1, "a")] {
            let other = v1::ResourceName { r#type: kind, tenant: tenant.into() };
            assert_eq!(ResourceName::of_proto(Some(other)), None);
        }
    }
}
