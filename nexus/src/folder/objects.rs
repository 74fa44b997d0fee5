//! The objects of a folder, by kind.

use std::collections::BTreeMap;
use std::path::PathBuf;

use nexus_compile::{ObjectConditions, SecretData, TenantObjects};
use nexus_core::id::TenantKey;
use nexus_core::secret::Secret;
use nexus_crds::{AgentProfile, NexusPolicy, Tenant};

/// A policy and the file that defines it.
#[derive(Debug, Clone, PartialEq)]
pub struct FilePolicy {
    /// The file, seen from the folder.
    pub file: PathBuf,
    /// The policy.
    pub policy: NexusPolicy,
}

/// The objects of a folder, each kind ordered by namespace and name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Objects {
    /// Tenants.
    pub tenants: Vec<Tenant>,
    /// AgentProfiles.
    pub profiles: Vec<AgentProfile>,
    /// NexusPolicies.
    pub policies: Vec<FilePolicy>,
    /// Secrets by namespace.
    pub secrets: BTreeMap<String, SecretData>,
}

impl Objects {
    /// The objects of each tenant, with the Secrets of its own namespace only, and the conditions of profiles
    /// whose tenant is not there.
    #[must_use]
    pub fn by_tenant(&self) -> (Vec<TenantObjects>, Vec<ObjectConditions>) {
        let secrets = |namespace: &str| self.secrets.get(namespace).cloned().unwrap_or_default();
        nexus_compile::group(self.tenants.clone(), self.profiles.clone(), secrets)
    }

    /// The current signing secret of a tenant's source.
    #[must_use]
    pub fn signing_secret(&self, tenant: &TenantKey, source: &str) -> Option<&Secret> {
        let is_it = |one: &&Tenant| nexus_compile::tenant_key(one).is_ok_and(|key| key == *tenant);
        let sources = &self.tenants.iter().find(is_it)?.spec.sources;
        let reference = &sources.iter().find(|one| one.name == source)?.secret_ref;
        let data = self.secrets.get(tenant.namespace())?.get(&reference.name)?;
        data.get(&reference.key)
            .filter(|secret| !secret.expose().is_empty())
    }
}
