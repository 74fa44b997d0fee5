//! The objects of a folder, by kind.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nexus_compile::{ObjectConditions, SecretData, TenantObjects};
use nexus_core::id::TenantKey;
use nexus_core::secret::Secret;
use nexus_crds::nexuspolicy::{Mirror, Workloads};
use nexus_crds::{AgentProfile, Mapping, NexusPolicy, NexusPolicySpec, Tenant};

/// A policy and the file that defines it.
#[derive(Debug, Clone, PartialEq)]
pub struct FilePolicy {
    /// The file, seen from the folder; of several that define it, one that orders its stop.
    pub file: PathBuf,
    /// The policy.
    pub policy: NexusPolicy,
}

impl FilePolicy {
    /// Adds a stop that another definition of the policy orders. Where the two differ the one policy does what
    /// stops more: whoever either means is stopped.
    pub(super) fn also_stop(&mut self, file: &Path, order: &NexusPolicySpec) {
        let spec = &mut self.policy.spec;
        if spec.stop != Some(true) {
            file.clone_into(&mut self.file);
            spec.stop = Some(true);
            // It was said of an older stop.
            spec.release = None;
            if order.reason.is_some() {
                spec.reason.clone_from(&order.reason);
            }
        }
        if spec.targets != order.targets {
            spec.targets = None;
        }
        if spec.workloads != order.workloads {
            spec.workloads = Workloads::ScaleToZero;
        }
        if spec.mirror != order.mirror {
            spec.mirror = Mirror::Pause;
        }
    }
}

/// The objects of a folder, each kind ordered by namespace and name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Objects {
    /// Tenants.
    pub tenants: Vec<Tenant>,
    /// AgentProfiles.
    pub profiles: Vec<AgentProfile>,
    /// Mappings.
    pub mappings: Vec<Mapping>,
    /// NexusPolicies.
    pub policies: Vec<FilePolicy>,
    /// Secrets by namespace.
    pub secrets: BTreeMap<String, SecretData>,
}

impl Objects {
    /// The objects of each tenant, with the Secrets of its own namespace only, and the conditions of those whose
    /// tenant is not there.
    #[must_use]
    pub fn by_tenant(&self) -> (Vec<TenantObjects>, Vec<ObjectConditions>) {
        let secrets = |namespace: &str| self.secrets.get(namespace).cloned().unwrap_or_default();
        let (tenants, profiles) = (self.tenants.clone(), self.profiles.clone());
        nexus_compile::group(tenants, profiles, self.mappings.clone(), secrets)
    }

    /// The current signing secret of a tenant's source.
    #[must_use]
    pub fn signing_secret(&self, tenant: &TenantKey, source: &str) -> Option<&Secret> {
        let is_it = |one: &&Tenant| nexus_compile::tenant_key(one).is_ok_and(|key| key == *tenant);
        let sources = &self.tenants.iter().find(is_it)?.spec.sources;
        let reference = &sources.iter().find(|one| one.name == source)?.secret_ref;
        let data = self.secrets.get(tenant.namespace())?.get(&reference.name)?;
        data.get(&reference.key).filter(|secret| !secret.expose().is_empty())
    }
}
