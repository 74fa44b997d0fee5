//! What ingest is told: which sources there are, their secrets, and its own bounds.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use nexus_core::event::Provider;
use nexus_core::id::TenantKey;
use nexus_core::secret::Secret;
use nexus_core::snapshot::{IngestSnapshot, SigningSecrets};

/// Every tenant's sources. Replaced as a whole when anything in it changes.
#[derive(Debug, Clone, Default)]
pub struct IngestConfig {
    /// By tenant.
    pub tenants: BTreeMap<TenantKey, TenantSources>,
}

impl IngestConfig {
    /// A source, if the tenant has one of this name.
    #[must_use]
    pub fn source(&self, tenant: &TenantKey, name: &str) -> Option<SourceConfig<'_>> {
        let sources = self.tenants.get(tenant)?;
        let source = sources.snapshot.sources.get(name)?;
        Some(SourceConfig {
            provider: source.provider,
            secrets: sources.secrets.get(name).map_or(&[], Vec::as_slice),
            quota_bytes: sources.snapshot.storage.quota_bytes,
        })
    }
}

/// One tenant's sources and their secrets.
#[derive(Clone)]
pub struct TenantSources {
    /// What the operator compiled.
    pub snapshot: Arc<IngestSnapshot>,
    /// The secrets by source name; while a rotation lasts two of them.
    pub secrets: SigningSecrets,
}

impl fmt::Debug for TenantSources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantSources")
            .field("sources", &self.snapshot.sources)
            .field("with_secret", &self.secrets.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// What is needed to take a delivery of one source.
#[derive(Debug, Clone, Copy)]
pub struct SourceConfig<'c> {
    /// Who sends.
    pub provider: Provider,
    /// The secrets, none while they are still on their way.
    pub secrets: &'c [Secret],
    /// Bytes that may wait unacknowledged for the tenant.
    pub quota_bytes: u64,
}

/// Ingest's own bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IngestSettings {
    /// How long a sender may take for a body; later it is answered 408.
    pub body_deadline: Duration,
    /// The longest body in bytes; more is answered 413. GitHub sends up to 25 MiB.
    pub max_body: usize,
    /// Bytes of all bodies in flight; while they are used up, further ones are answered 503.
    pub budget: usize,
}

impl Default for IngestSettings {
    fn default() -> Self {
        Self { body_deadline: Duration::from_secs(10), max_body: 25 << 20, budget: 256 << 20 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_shows_no_secret() {
        let tenant: TenantKey = "acme/acme".parse().unwrap();
        let sources = TenantSources {
            snapshot: Arc::new(IngestSnapshot {
                tenant: tenant.clone(),
                sources: BTreeMap::new(),
                storage: nexus_core::snapshot::Storage::default(),
            }),
            secrets: BTreeMap::from([("github".to_owned(), vec![Secret::new("hunter2")])]),
        };
        let config = IngestConfig { tenants: BTreeMap::from([(tenant, sources)]) };
        let shown = format!("{config:?}");
        assert!(shown.contains("github") && !shown.contains("hunter2"), "{shown}");
    }
}
