//! From custom resources to what pods are configured with: one tenant in, its snapshots and findings out.
//!
//! It refuses to talk to anything, to read a clock and to keep state: the same objects always give the same
//! versions, whichever process compiles them. A part that is wrong never takes its neighbours down: it keeps
//! the value that `previous` holds under its name, or is left out, and a condition says so.
//!
//! The flow, in five lines:
//! 1. the caller groups its objects by tenant into [`TenantObjects`]; [`group`] names those without one;
//! 2. *dereference*: Secrets that sources and agents refer to are looked up in the tenant's namespace;
//! 3. *validate*: [`bounds`] of the schema first, then what only meaning can tell (names, kinds, selectors);
//! 4. *build*: what passed, or its last good value, becomes the snapshots; this stage cannot fail;
//! 5. every finding becomes part of a [`Condition`] of the object that must be mended.

mod alias;
pub mod bounds;
mod conditions;
mod mapping;
mod names;
mod policy;
mod profile;
pub mod selector;
mod suggest;
mod tenant;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::ResourceExt;
use nexus_core::id::TenantKey;
use nexus_core::secret::Secret;
use nexus_core::snapshot::{Agent, GatewaySnapshot, IngestSnapshot, SigningSecrets, Source};
use nexus_crds::{AgentProfile, Mapping, Tenant};

pub use conditions::{Condition, ConditionType, ObjectConditions, ObjectKind, Reason, Status};
pub use policy::{policy, policy_spec};
pub use profile::{CLIENT_ID, CLIENT_SECRET, MIN_CLIENT_SECRET, credential_secret};
pub use selector::{SelectorError, selector};
pub use suggest::nearest;

use conditions::{Consequence, Findings};

/// The data of Secrets: by the Secret's name, then by key.
pub type SecretData = BTreeMap<String, BTreeMap<String, Secret>>;

/// All objects of one tenant.
#[derive(Debug, Clone)]
pub struct TenantObjects {
    /// The tenant.
    pub tenant: Arc<Tenant>,
    /// The profiles of its namespace that name it; their order does not matter.
    pub profiles: Vec<Arc<AgentProfile>>,
    /// The mappings of its namespace that name it; their order does not matter.
    pub mappings: Vec<Arc<Mapping>>,
    /// Secrets of its namespace, at least those that it refers to.
    pub secrets: SecretData,
    /// Secrets that may be there but cannot be read, and why: what was known of them stays in force.
    pub unreadable: BTreeMap<String, String>,
}

impl TenantObjects {
    /// A tenant alone.
    #[must_use]
    pub fn of(tenant: Arc<Tenant>) -> Self {
        Self {
            tenant,
            profiles: Vec::new(),
            mappings: Vec::new(),
            secrets: SecretData::new(),
            unreadable: BTreeMap::new(),
        }
    }

    /// The names of the Secrets that are referred to, whether they are there or not.
    #[must_use]
    pub fn secret_names(&self) -> BTreeSet<String> {
        let signing = self.signing_names();
        let agents = self.profiles.iter().map(|profile| credential_secret(&profile.name_any()));
        signing.into_iter().chain(agents).collect()
    }

    /// The names of those that sources are signed with.
    #[must_use]
    pub fn signing_names(&self) -> BTreeSet<String> {
        let sources = self.tenant.spec.sources.iter();
        let references =
            sources.flat_map(|source| std::iter::once(&source.secret_ref).chain(&source.previous_secret_ref));
        references.map(|reference| reference.name.clone()).collect()
    }
}

/// What the tenant was compiled to before: the source of last good values. Empty at the first time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Previous<'a> {
    /// What ingest was given.
    pub ingest: Option<&'a IngestSnapshot>,
    /// What gateway was given.
    pub gateway: Option<&'a GatewaySnapshot>,
    /// Its sources' secrets.
    pub signing: Option<&'a SigningSecrets>,
}

/// What a tenant compiles to.
#[derive(Debug, Clone, PartialEq)]
pub struct Compiled {
    /// For ingest.
    pub ingest: IngestSnapshot,
    /// For gateway.
    pub gateway: GatewaySnapshot,
    /// For ingest, in memory only. Every source of the snapshot has an entry; an empty one refuses all.
    pub signing: SigningSecrets,
    /// Conditions of the Tenant, then of its profiles and of its mappings, each by name.
    pub conditions: Vec<ObjectConditions>,
}

impl Compiled {
    /// This value as the `previous` of the next compilation.
    #[must_use]
    pub fn as_previous(&self) -> Previous<'_> {
        Previous { ingest: Some(&self.ingest), gateway: Some(&self.gateway), signing: Some(&self.signing) }
    }
}

/// A Tenant object without a usable namespace and name: no API server ever gives one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a Tenant needs `metadata.namespace` and `metadata.name`")]
pub struct UnnamedTenant;

/// The key of a Tenant object.
///
/// # Errors
/// When its namespace or name is missing or unusable.
pub fn tenant_key(tenant: &Tenant) -> Result<TenantKey, UnnamedTenant> {
    let namespace = tenant.namespace().ok_or(UnnamedTenant)?;
    TenantKey::new(&namespace, &tenant.name_any()).map_err(|_| UnnamedTenant)
}

/// Compiles one tenant.
///
/// # Errors
/// When the Tenant has no name: then there is nobody to compile for.
pub fn compile(objects: &TenantObjects, previous: Previous<'_>) -> Result<Compiled, UnnamedTenant> {
    let key = tenant_key(&objects.tenant)?;
    let spec = &objects.tenant.spec;
    let mut findings = Findings::default();
    let violations = tenant::validate(spec, &mut findings);

    let sources = tenant::sources(spec, &violations, previous.ingest, &mut findings);
    let references = tenant::Signing {
        tenant: &key,
        sources: &sources,
        violations: &violations,
        secrets: tenant::Secrets::of(objects),
        previous: previous.signing,
    };
    let signing = tenant::signing(&references, spec, &mut findings);
    let storage = tenant::storage(spec, &violations, previous.ingest, &mut findings);
    let heartbeat = tenant::heartbeat(spec, &violations, previous.gateway, &mut findings);

    let (mut agents, mut profiles) = agents(objects, &key, &sources, previous.gateway);
    let last_good = previous.gateway.map_or(&[][..], |gateway| &gateway.aliases);
    let aliases = alias::aliases(spec, &violations, last_good, &agents, &mut findings);
    names::settle(&mut agents, &aliases, &mut profiles, &mut findings);
    let aliases: Vec<_> = aliases.into_iter().map(|placed| placed.alias).collect();
    alias::share(&key, &aliases, &mut agents);

    let mut conditions = vec![findings.conditions(ObjectKind::Tenant, &*objects.tenant)];
    conditions.extend(
        profiles
            .into_values()
            .map(|(profile, findings)| findings.conditions(ObjectKind::AgentProfile, profile)),
    );
    conditions.extend(mapping::conditions(&key, &objects.mappings, &sources));
    Ok(Compiled {
        ingest: IngestSnapshot { tenant: key.clone(), sources, storage },
        gateway: GatewaySnapshot { tenant: key, agents, aliases, heartbeat },
        signing,
        conditions,
    })
}

/// The agents that the profiles give, and each profile with what was found about it.
fn agents<'a>(
    objects: &'a TenantObjects,
    tenant: &TenantKey,
    sources: &BTreeMap<String, Source>,
    previous: Option<&GatewaySnapshot>,
) -> (BTreeMap<String, Agent>, names::Profiles<'a>) {
    let mut agents = BTreeMap::new();
    let mut profiles = BTreeMap::new();
    for profile in &objects.profiles {
        let name = profile.name_any();
        let mut findings = Findings::default();
        let last_good = previous.and_then(|previous| previous.agents.get(&name));
        let input = profile::Input { tenant, profile, sources, secrets: tenant::Secrets::of(objects) };
        agents.extend(profile::agent(&input, last_good, &mut findings).map(|agent| (name.clone(), agent)));
        profiles.insert(name, (&**profile, findings));
    }
    (agents, profiles)
}

/// Groups objects by tenant; of profiles and mappings that name no tenant among them the conditions are given.
#[must_use]
pub fn group(
    tenants: Vec<Tenant>,
    profiles: Vec<AgentProfile>,
    mappings: Vec<Mapping>,
    secrets: impl Fn(&str) -> SecretData,
) -> (Vec<TenantObjects>, Vec<ObjectConditions>) {
    let mut groups = BTreeMap::new();
    for tenant in tenants {
        if let Ok(key) = tenant_key(&tenant) {
            let secrets = secrets(key.namespace());
            groups.insert(key, TenantObjects { secrets, ..TenantObjects::of(Arc::new(tenant)) });
        }
    }
    let known: BTreeSet<TenantKey> = groups.keys().cloned().collect();
    let mut conditions = Vec::new();
    for profile in profiles {
        let key = belongs_to(&profile, &profile.spec.tenant);
        match key.and_then(|key| groups.get_mut(&key)) {
            Some(group) => group.profiles.push(Arc::new(profile)),
            None => conditions.extend(orphans([&profile], [], &known)),
        }
    }
    for mapping in mappings {
        let key = belongs_to(&mapping, &mapping.spec.tenant);
        match key.and_then(|key| groups.get_mut(&key)) {
            Some(group) => group.mappings.push(Arc::new(mapping)),
            None => conditions.extend(orphans([], [&mapping], &known)),
        }
    }
    conditions.sort_by(|a, b| (a.kind, &a.namespace, &a.name).cmp(&(b.kind, &b.namespace, &b.name)));
    (groups.into_values().collect(), conditions)
}

/// The conditions of objects whose Tenant is not among those that are known.
pub fn orphans<'a>(
    profiles: impl IntoIterator<Item = &'a AgentProfile>,
    mappings: impl IntoIterator<Item = &'a Mapping>,
    known: &BTreeSet<TenantKey>,
) -> Vec<ObjectConditions> {
    let profiles = profiles.into_iter().map(|profile| profile::orphan(profile, known));
    let mappings = mappings.into_iter().map(|mapping| mapping::orphan(mapping, known));
    profiles.chain(mappings).collect()
}

/// The key of the Tenant that an object names, in its own namespace; none if that can be no name.
#[must_use]
pub fn belongs_to(object: &impl kube::Resource, tenant: &str) -> Option<TenantKey> {
    TenantKey::new(&object.namespace().unwrap_or_default(), tenant).ok()
}

/// What is found of an object whose Tenant is not there.
fn tenant_missing(
    object: &impl kube::Resource,
    tenant: &str,
    part: &str,
    known: &BTreeSet<TenantKey>,
) -> Findings {
    let namespace = object.namespace().unwrap_or_default();
    let near = known.iter().filter(|key| key.namespace() == namespace).map(TenantKey::name);
    let what = format!("there is no Tenant `{tenant}` in namespace `{namespace}`");
    let remedy = suggest::remedy(tenant, near, "create it, or name one that is there");
    let mut findings = Findings::default();
    findings.refuse(Reason::TenantNotFound, "spec.tenant", &what, &remedy);
    findings.consequence(Consequence::LeftOut, part);
    findings.unresolved(Reason::TenantNotFound, "spec.tenant", &what, &remedy);
    findings
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
