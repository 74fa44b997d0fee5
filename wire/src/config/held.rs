//! What a pod holds: each resource checked before it is taken, refused by name otherwise. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use nexus_core::id::TenantKey;
use nexus_core::snapshot::{GatewaySnapshot, IngestSnapshot, SigningSecrets};
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::pod::Refused;
use super::resource::{Digest, ResourceName, ResourceType, Role};
use super::{MAX_ENTRIES, MAX_RESOURCE_BYTES, bounded, secrets, v1};

/// The resources that a pod has taken, and those that it refuses. Cheap to clone.
#[derive(Clone)]
pub struct Held {
    role: Role,
    taken: BTreeMap<ResourceName, Taken>,
    refused: BTreeMap<ResourceName, Refused>,
    /// Refused over a former stream: this one's first complete Update tells whether it is published still.
    stale: BTreeSet<ResourceName>,
    complete: bool,
}

/// A resource that was taken.
#[derive(Clone)]
pub struct Taken {
    digest: Digest,
    content: Bytes,
    value: Value,
}

/// What a content says.
#[derive(Clone)]
pub(super) enum Value {
    Ingest(Arc<IngestSnapshot>),
    Gateway(Arc<GatewaySnapshot>),
    Signing(Arc<SigningSecrets>),
}

impl Held {
    /// A pod that holds nothing.
    #[must_use]
    pub fn new(role: Role) -> Self {
        let (taken, refused) = (BTreeMap::new(), BTreeMap::new());
        Self { role, taken, refused, stale: BTreeSet::new(), complete: false }
    }

    /// What the pod runs.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// Whether it had all that there is once: a complete Update has come.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.complete
    }

    /// What ingest knows, by tenant.
    pub fn ingest(&self) -> impl Iterator<Item = (&TenantKey, &Arc<IngestSnapshot>)> {
        self.taken.iter().filter_map(|(name, taken)| match &taken.value {
            Value::Ingest(snapshot) => Some((&name.tenant, snapshot)),
            _ => None,
        })
    }

    /// What gateway knows, by tenant.
    pub fn gateway(&self) -> impl Iterator<Item = (&TenantKey, &Arc<GatewaySnapshot>)> {
        self.taken.iter().filter_map(|(name, taken)| match &taken.value {
            Value::Gateway(snapshot) => Some((&name.tenant, snapshot)),
            _ => None,
        })
    }

    /// The signing secrets, by tenant.
    pub fn signing(&self) -> impl Iterator<Item = (&TenantKey, &Arc<SigningSecrets>)> {
        self.taken.iter().filter_map(|(name, taken)| match &taken.value {
            Value::Signing(secrets) => Some((&name.tenant, secrets)),
            _ => None,
        })
    }

    /// What is held, by name.
    pub fn taken(&self) -> impl Iterator<Item = (&ResourceName, &Taken)> {
        self.taken.iter()
    }

    /// The versions that are held.
    pub fn versions(&self) -> impl Iterator<Item = (&ResourceName, Digest)> {
        self.taken.iter().map(|(name, taken)| (name, taken.digest))
    }

    /// What is refused.
    pub fn refused(&self) -> impl Iterator<Item = (&ResourceName, &Refused)> {
        self.refused.iter()
    }

    /// A stream begins: what was refused before is told once more, or is no more.
    pub(super) fn begin(&mut self) {
        self.stale = self.refused.keys().cloned().collect();
    }

    /// Takes an Update in and says what it refuses of it. What it refuses keeps its former value.
    pub fn take(&mut self, update: v1::Update) -> v1::Answer {
        let mut answer = v1::Answer { nonce: update.nonce, refused: Vec::new() };
        for resource in update.resources {
            let Some(name) = ResourceName::of_proto(resource.name.clone()) else {
                // One of a later version. It cannot be kept by its name; the operator hears that it is not taken.
                answer.refused.push(unknown(resource));
                continue;
            };
            match self.check(&name, &resource) {
                Ok(taken) => {
                    self.refused.remove(&name);
                    self.taken.insert(name, taken);
                }
                Err(reason) => answer.refused.push(self.refuse(name, &resource.sha256, reason)),
            }
        }
        for name in update.removed.into_iter().filter_map(|name| ResourceName::of_proto(Some(name))) {
            self.taken.remove(&name);
            self.refused.remove(&name);
        }
        if update.complete {
            self.complete = true;
            for name in std::mem::take(&mut self.stale) {
                self.refused.remove(&name);
            }
        }
        answer
    }

    /// Takes in what a file gives, as it was checked when the file was written, and is checked again.
    pub(super) fn restore(
        &mut self,
        name: ResourceName,
        digest: &[u8],
        content: Bytes,
    ) -> Result<(), String> {
        let resource = v1::Resource { name: None, sha256: digest.to_vec(), content };
        let taken = self.check(&name, &resource)?;
        self.taken.insert(name, taken);
        Ok(())
    }

    fn check(&self, name: &ResourceName, resource: &v1::Resource) -> Result<Taken, String> {
        let content = &resource.content;
        if !self.role.types().contains(&name.kind) {
            return Err(format!("{} has no use for it", self.role.name()));
        }
        if content.len() > MAX_RESOURCE_BYTES {
            return Err(format!("it has {} bytes; at most {MAX_RESOURCE_BYTES} are taken", content.len()));
        }
        if self.taken.len() >= MAX_ENTRIES && !self.taken.contains_key(name) {
            return Err(format!("{MAX_ENTRIES} resources are held already"));
        }
        let digest = Digest::of(content);
        if resource.sha256 != digest.as_bytes() {
            return Err("its content is not that of its version".to_owned());
        }
        if let Some(taken) = self.taken.get(name).filter(|taken| taken.digest == digest) {
            return Ok(taken.clone());
        }
        // Whitespace around it would not outlive a file.
        if !(content.starts_with(b"{") && content.ends_with(b"}")) {
            return Err("it is no JSON object".to_owned());
        }
        let value = read(name, content)?;
        // Copied: else a small resource would hold the whole message that it came in.
        let content = match name.kind {
            ResourceType::SigningSecrets => Bytes::from_owner(Zeroizing::new(content.to_vec())),
            ResourceType::Ingest | ResourceType::Gateway => Bytes::copy_from_slice(content),
        };
        Ok(Taken { digest, content, value })
    }

    fn refuse(&mut self, name: ResourceName, sha256: &[u8], reason: String) -> v1::Refusal {
        let reason = bounded(reason);
        self.stale.remove(&name);
        let refusal =
            v1::Refusal { name: Some(name.proto()), sha256: sha256.to_vec(), reason: reason.clone() };
        let room = self.refused.len() < MAX_ENTRIES || self.refused.contains_key(&name);
        if let Some(digest) = Digest::from_slice(sha256).filter(|_| room) {
            self.refused.insert(name, Refused { digest, reason });
        }
        refusal
    }
}

impl Taken {
    /// Its version.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    pub(super) const fn content(&self) -> &Bytes {
        &self.content
    }
}

fn read(name: &ResourceName, content: &[u8]) -> Result<Value, String> {
    let (tenant, value) = match name.kind {
        ResourceType::Ingest => {
            let snapshot: IngestSnapshot = parse(content)?;
            (Some(snapshot.tenant.clone()), Value::Ingest(Arc::new(snapshot)))
        }
        ResourceType::Gateway => {
            let snapshot: GatewaySnapshot = parse(content)?;
            (Some(snapshot.tenant.clone()), Value::Gateway(Arc::new(snapshot)))
        }
        ResourceType::SigningSecrets => {
            // What is wrong with it is not quoted.
            let secrets =
                secrets::parse(content).ok_or("it is no object of lists of Base64 texts, by source")?;
            (None, Value::Signing(Arc::new(secrets)))
        }
    };
    if tenant.is_some_and(|tenant| tenant != name.tenant) {
        return Err("its content is of another tenant".to_owned());
    }
    Ok(value)
}

fn parse<T: DeserializeOwned>(content: &[u8]) -> Result<T, String> {
    serde_json::from_slice(content).map_err(|error| format!("it cannot be read: {error}"))
}

fn unknown(resource: v1::Resource) -> v1::Refusal {
    let reason = "this version does not know what it is".to_owned();
    v1::Refusal { name: resource.name, sha256: resource.sha256, reason }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held")
            .field("role", &self.role)
            .field("taken", &self.taken.keys().collect::<Vec<_>>())
            .field("refused", &self.refused)
            .field("complete", &self.complete)
            .finish()
    }
}

impl fmt::Debug for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Taken").field("bytes", &self.content.len()).finish_non_exhaustive()
    }
}
