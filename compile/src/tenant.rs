//! A Tenant's own parts: sources with their signing secrets, storage and heartbeat.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use nexus_core::event::Provider;
use nexus_core::id::TenantKey;
use nexus_core::secret::Secret;
use nexus_core::snapshot::{GatewaySnapshot, Heartbeat, IngestSnapshot, SigningSecrets, Source, Storage};
use nexus_crds::TenantSpec;
use nexus_crds::tenant::{self as crd, SecretKeyRef};

use crate::bounds::{self, Violation};
use crate::conditions::{ConditionType, Consequence, Findings, Reason};
use crate::{SecretData, TenantObjects, suggest};

/// Measures the spec against its schema; what is out of bounds is told of here, once.
pub(crate) fn validate(spec: &TenantSpec, findings: &mut Findings) -> Vec<Violation> {
    let violations = bounds::tenant(spec);
    for violation in &violations {
        findings.refuse(Reason::OutOfBounds, &violation.path, &violation.what, &violation.remedy);
    }
    violations
}

/// The sources by name: those that are valid, and the last good value of those that are not.
pub(crate) fn sources(
    spec: &TenantSpec,
    violations: &[Violation],
    previous: Option<&IngestSnapshot>,
    findings: &mut Findings,
) -> BTreeMap<String, Source> {
    let mut sources = BTreeMap::new();
    let mut first = BTreeMap::new();
    for (at, source) in spec.sources.iter().enumerate() {
        let path = format!("spec.sources[{at}]");
        if let Some(other) = first.get(&source.name) {
            findings.refuse(
                Reason::DuplicateSource,
                &format!("{path}.name"),
                &format!("`{}` is the name of `spec.sources[{other}]` too", source.name),
                "give each its own name",
            );
            findings.consequence(Consequence::LeftOut, &path);
            continue;
        }
        first.insert(&source.name, at);
        if !bounds::touches_entry(violations, "spec.sources", at) {
            let provider = provider(source.provider);
            sources.insert(source.name.clone(), Source { provider });
            continue;
        }
        let last_good = previous.and_then(|previous| previous.sources.get(&source.name));
        findings.consequence(Consequence::of_part(last_good.is_some()), &path);
        sources.extend(last_good.map(|last_good| (source.name.clone(), last_good.clone())));
    }
    sources
}

fn provider(provider: crd::Provider) -> Provider {
    match provider {
        crd::Provider::ClickUp => Provider::ClickUp,
        crd::Provider::Slack => Provider::Slack,
        crd::Provider::GitHub => Provider::GitHub,
    }
}

/// Where secrets are looked up.
#[derive(Clone, Copy)]
pub(crate) struct Secrets<'a> {
    there: &'a SecretData,
    /// Those that cannot be read, and why.
    unreadable: &'a BTreeMap<String, String>,
}

impl<'a> Secrets<'a> {
    pub(crate) fn of(objects: &'a TenantObjects) -> Self {
        Self { there: &objects.secrets, unreadable: &objects.unreadable }
    }

    /// The data of a Secret that is there.
    pub(crate) fn get(self, name: &str) -> Option<&'a BTreeMap<String, Secret>> {
        self.there.get(name)
    }

    /// Whether nobody can tell what is in a Secret.
    pub(crate) fn is_unreadable(self, name: &str) -> bool {
        self.unreadable.contains_key(name)
    }

    /// Tells of a Secret that cannot be read. True if it is one.
    pub(crate) fn tell_unreadable(self, name: &str, path: &str, findings: &mut Findings) -> bool {
        let Some(why) = self.unreadable.get(name) else { return false };
        let what = format!("Secret `{name}` cannot be read ({why})");
        let remedy = "let the operator read it, by a Role that names it (`nexus rbac` prints it)";
        findings.unresolved(Reason::SecretUnreadable, path, &what, remedy);
        true
    }
}

/// What signing secrets are looked up with.
pub(crate) struct Signing<'a> {
    pub(crate) tenant: &'a TenantKey,
    pub(crate) sources: &'a BTreeMap<String, Source>,
    pub(crate) violations: &'a [Violation],
    pub(crate) secrets: Secrets<'a>,
    pub(crate) previous: Option<&'a SigningSecrets>,
}

/// The signing secrets of each source: the current one, then the former one while a rotation lasts. A source
/// that keeps its last good value keeps its last good secrets too.
pub(crate) fn signing(input: &Signing<'_>, spec: &TenantSpec, findings: &mut Findings) -> SigningSecrets {
    let mut signing = SigningSecrets::new();
    let mut seen = BTreeSet::new();
    for (at, source) in spec.sources.iter().enumerate() {
        // The second of two sources with one name has no say in the first one's secrets.
        if !seen.insert(&source.name) || !input.sources.contains_key(&source.name) {
            continue;
        }
        let last_good = || input.previous.and_then(|previous| previous.get(&source.name)).cloned();
        if bounds::touches_entry(input.violations, "spec.sources", at) {
            signing.insert(source.name.clone(), last_good().unwrap_or_default());
            continue;
        }
        let current = (Some(&source.secret_ref), "secretRef");
        let former = (source.previous_secret_ref.as_ref(), "previousSecretRef");
        let mut unreadable = false;
        let list = [current, former].into_iter().filter_map(|(reference, field)| {
            let (reference, path) = (reference?, format!("spec.sources[{at}].{field}"));
            unreadable |= input.secrets.is_unreadable(&reference.name);
            resolve(input.tenant, input.secrets, reference, &path, findings).cloned()
        });
        let list: Vec<_> = list.collect();
        let kept = if unreadable { last_good() } else { None };
        signing.insert(source.name.clone(), kept.unwrap_or(list));
    }
    signing
}

/// The secret that a reference names, never an empty one. Messages name the Secret and the key, never content.
pub(crate) fn resolve<'a>(
    tenant: &TenantKey,
    secrets: Secrets<'a>,
    reference: &SecretKeyRef,
    path: &str,
    findings: &mut Findings,
) -> Option<&'a Secret> {
    let SecretKeyRef { name, key } = reference;
    let namespace = tenant.namespace();
    if secrets.tell_unreadable(name, path, findings) {
        return None;
    }
    let Some(data) = secrets.get(name) else {
        let what = format!("there is no Secret `{name}` in namespace `{namespace}`");
        let otherwise = format!("create it with the key `{key}`");
        let remedy = suggest::remedy(name, secrets.there.keys().map(String::as_str), &otherwise);
        findings.unresolved(Reason::SecretNotFound, path, &what, &remedy);
        return None;
    };
    let Some(secret) = data.get(key) else {
        let what = format!("Secret `{name}` has no key `{key}`");
        let remedy = suggest::remedy(key, data.keys().map(String::as_str), "add it");
        findings.unresolved(Reason::SecretKeyNotFound, path, &what, &remedy);
        return None;
    };
    if secret.expose().is_empty() {
        let what = format!("key `{key}` of Secret `{name}` is empty");
        findings.unresolved(Reason::SecretEmpty, path, &what, "put the secret there");
        return None;
    }
    if secret.expose().ends_with(b"\n") {
        let what =
            format!("key `{key}` of Secret `{name}` ends with a line break, which counts as part of it");
        findings.note(
            ConditionType::ResolvedRefs,
            Reason::SecretEndsWithNewline,
            path,
            &what,
            "write it without one, as with `printf %s` in place of `echo`, if that is not meant",
        );
    }
    Some(secret)
}

/// What may be kept of the tenant; a number out of bounds leaves the last good one in force, else the default.
pub(crate) fn storage(
    spec: &TenantSpec,
    violations: &[Violation],
    previous: Option<&IngestSnapshot>,
    findings: &mut Findings,
) -> Storage {
    let last_good = previous.map(|previous| previous.storage);
    let default = Storage::default();
    let fallback = last_good.unwrap_or(default);
    let bytes = spec.quota.as_ref().and_then(|quota| quota.bytes);
    let seconds = spec.retention.as_ref().and_then(|retention| retention.events_seconds);
    let mut bad = |path: &str| {
        let bad = bounds::touches(violations, path);
        if bad {
            findings.consequence(Consequence::of_number(last_good.is_some()), path);
        }
        bad
    };
    Storage {
        quota_bytes: if bad("spec.quota.bytes") {
            fallback.quota_bytes
        } else {
            bytes.unwrap_or(default.quota_bytes)
        },
        retention: if bad("spec.retention.eventsSeconds") {
            fallback.retention
        } else {
            seconds.map_or(default.retention, |seconds| Duration::from_secs(seconds.into()))
        },
    }
}

/// The heartbeat that agents must keep, by the same rule.
pub(crate) fn heartbeat(
    spec: &TenantSpec,
    violations: &[Violation],
    previous: Option<&GatewaySnapshot>,
    findings: &mut Findings,
) -> Heartbeat {
    let last_good = previous.map(|previous| previous.heartbeat);
    let default = Heartbeat::default();
    let fallback = last_good.unwrap_or(default);
    let limits = spec.limits.clone().unwrap_or_default();
    let mut bad = |path: &str| {
        let bad = bounds::touches(violations, path);
        if bad {
            findings.consequence(Consequence::of_number(last_good.is_some()), path);
        }
        bad
    };
    Heartbeat {
        interval: if bad("spec.limits.heartbeatSeconds") {
            fallback.interval
        } else {
            limits.heartbeat_seconds.map_or(default.interval, |seconds| Duration::from_secs(seconds.into()))
        },
        misses: if bad("spec.limits.heartbeatMisses") {
            fallback.misses
        } else {
            limits.heartbeat_misses.unwrap_or(default.misses)
        },
    }
}
