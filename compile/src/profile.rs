//! AgentProfiles: who an agent is, what it wants to hear, and the hash of its client secret.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;
use nexus_core::id::{AgentId, TenantKey};
use nexus_core::kind::Kind;
use nexus_core::secret::{Secret, SecretDigest};
use nexus_core::snapshot::{Agent, Bots, Source, Subscription};
use nexus_crds::AgentProfile;
use nexus_crds::agentprofile as crd;
use nexus_crds::tenant::SecretKeyRef;

use crate::conditions::{Consequence, Findings, ObjectConditions, ObjectKind, Reason};
use crate::{bounds, suggest, tenant, tenant_missing};

/// Key of an agent's client id in its Secret. It is there for the agent to read: the gateway knows an agent by
/// its id alone, which follows from the tenant and the name, so that no other client id ever signs in.
pub const CLIENT_ID: &str = "client-id";

/// Key of an agent's client secret in its Secret.
pub const CLIENT_SECRET: &str = "client-secret";

/// The fewest characters of a client secret: its unsalted hash is safe only if it cannot be guessed.
pub const MIN_CLIENT_SECRET: usize = 32;

/// Events that one session may hold when the profile does not say.
const DEFAULT_MAX_IN_FLIGHT: u32 = 16;

/// The longest alias of an agent, in characters; as long as a Tenant's alias.
const MAX_ALIAS: usize = 64;

/// The name of the Secret that holds an agent's credentials.
#[must_use]
pub fn credential_secret(agent: &str) -> String {
    format!("{agent}-nexus-agent")
}

/// A profile and what it may refer to.
pub(crate) struct Input<'a> {
    pub(crate) tenant: &'a TenantKey,
    pub(crate) profile: &'a AgentProfile,
    pub(crate) sources: &'a BTreeMap<String, Source>,
    pub(crate) secrets: tenant::Secrets<'a>,
}

/// The agent of a profile: as it says if it is valid, else as it was. Names that others claim too are settled
/// when all agents are known.
pub(crate) fn agent(input: &Input<'_>, previous: Option<&Agent>, findings: &mut Findings) -> Option<Agent> {
    let credential = credential(input, previous, findings);
    let parts = validate(input, findings);
    check_sources(input, findings);
    match parts {
        Some(parts) => Some(build(input, parts, credential)),
        None => {
            findings.consequence(Consequence::of_part(previous.is_some()), "the agent");
            // A refused profile keeps what it said. Its credential is no part of what it says: a secret that
            // was changed must stop working whatever else is wrong.
            previous.map(|previous| Agent { credential, shared_inboxes: Vec::new(), ..previous.clone() })
        }
    }
}

/// What needed checking and passed.
struct Parts {
    aliases: Vec<String>,
    subscriptions: Vec<Subscription>,
}

fn validate(input: &Input<'_>, findings: &mut Findings) -> Option<Parts> {
    let spec = &input.profile.spec;
    let mut violations = bounds::profile(spec);
    violations.retain(|violation| !is_judged_below(&violation.path));
    for violation in &violations {
        findings.refuse(Reason::OutOfBounds, &violation.path, &violation.what, &violation.remedy);
    }
    let aliases = aliases(spec, &input.profile.name_any(), findings);
    let subscriptions: Vec<_> = spec
        .subscriptions
        .iter()
        .enumerate()
        .map(|(at, subscription)| check_subscription(at, subscription, findings))
        .collect();
    let subscriptions = subscriptions.into_iter().collect::<Option<_>>();
    violations.is_empty().then_some(Parts { aliases: aliases?, subscriptions: subscriptions? })
}

/// Whether what stands at a path is refused in better words than those of a bound.
fn is_judged_below(path: &str) -> bool {
    path.starts_with("spec.aliases[") || (path.starts_with("spec.subscriptions[") && path.contains(".kinds["))
}

/// The aliases without `@`, each once, without the agent's own name.
fn aliases(spec: &crd::AgentProfileSpec, own: &str, findings: &mut Findings) -> Option<Vec<String>> {
    let mut seen = BTreeSet::from([own.to_lowercase()]);
    let mut aliases = Vec::new();
    let mut well = true;
    for (at, given) in spec.aliases.iter().enumerate() {
        let name = given.strip_prefix('@').unwrap_or(given);
        let strange = |c: char| c.is_control() || c == '@';
        let fits = !name.is_empty()
            && name.chars().count() <= MAX_ALIAS
            && name.trim() == name
            && !name.contains(strange);
        if !fits {
            well = false;
            findings.refuse(
                Reason::InvalidAlias,
                &format!("spec.aliases[{at}]"),
                "nobody could mention this name",
                &format!("write 1 to {MAX_ALIAS} characters, such as `@coder-bot`"),
            );
        } else if seen.insert(name.to_lowercase()) {
            aliases.push(name.to_owned());
        }
    }
    well.then_some(aliases)
}

fn check_subscription(at: usize, given: &crd::Subscription, findings: &mut Findings) -> Option<Subscription> {
    let mut kinds = Vec::new();
    for (which, name) in given.kinds.iter().enumerate() {
        match name.parse::<Kind>() {
            Ok(kind) => kinds.push(kind),
            Err(_) => {
                let known = || Kind::ALL.iter().map(|kind| kind.name());
                let all = format!("write one of {}", known().collect::<Vec<_>>().join(", "));
                findings.refuse(
                    Reason::UnknownKind,
                    &format!("spec.subscriptions[{at}].kinds[{which}]"),
                    &format!("`{name}` is no kind of event"),
                    &suggest::remedy(name, known(), &all),
                );
            }
        }
    }
    let filters = given.filters.clone().unwrap_or_default();
    (kinds.len() == given.kinds.len()).then(|| Subscription {
        kinds,
        sources: given.sources.clone(),
        projects: filters.projects,
        labels: filters.labels,
        bots: match filters.bots {
            crd::Bots::Include => Bots::Include,
            crd::Bots::Exclude => Bots::Exclude,
            crd::Bots::Only => Bots::Only,
        },
    })
}

/// A source that the tenant does not have now may come: the subscription stays and matches nothing until then.
fn check_sources(input: &Input<'_>, findings: &mut Findings) {
    for (at, subscription) in input.profile.spec.subscriptions.iter().enumerate() {
        for (which, name) in subscription.sources.iter().enumerate() {
            if input.sources.contains_key(name) {
                continue;
            }
            let known = input.sources.keys().map(String::as_str);
            let otherwise = "add the source to the Tenant or name another one";
            findings.unresolved(
                Reason::SourceNotFound,
                &format!("spec.subscriptions[{at}].sources[{which}]"),
                &format!("Tenant `{}` has no source `{name}`", input.tenant),
                &suggest::remedy(name, known, otherwise),
            );
        }
    }
}

/// The digest of the agent's client secret. A Secret that is not there is no finding: it is written for it.
fn credential(input: &Input<'_>, last_good: Option<&Agent>, findings: &mut Findings) -> Option<SecretDigest> {
    let name = credential_secret(&input.profile.name_any());
    let path = "metadata.name";
    if input.secrets.tell_unreadable(&name, path, findings) {
        return last_good.and_then(|agent| agent.credential);
    }
    let data = input.secrets.get(&name)?;
    check_client_id(input, data.get(CLIENT_ID), path, findings);
    let reference = SecretKeyRef { name, key: CLIENT_SECRET.to_owned() };
    let secret = tenant::resolve(input.tenant, input.secrets, &reference, path, findings)?;
    let bytes = secret.expose();
    let len = std::str::from_utf8(bytes).map_or(bytes.len(), |text| text.trim_end().chars().count());
    if len < MIN_CLIENT_SECRET {
        findings.unresolved(
            Reason::ClientSecretTooShort,
            path,
            &format!(
                "key `{CLIENT_SECRET}` of Secret `{}` has fewer than {MIN_CLIENT_SECRET} characters, so the agent cannot sign in",
                reference.name
            ),
            "generate a longer one, as with `openssl rand -hex 32`",
        );
        return None;
    }
    Some(secret.digest())
}

/// A client id that is not the agent's own is told of, for an agent that reads it there cannot sign in. The
/// secret stays in force, as it works with the right id. No message repeats what stands there: the two values
/// may have been mixed up.
fn check_client_id(input: &Input<'_>, given: Option<&Secret>, path: &str, findings: &mut Findings) {
    let Some(given) = given else { return };
    let name = input.profile.name_any();
    let expected = AgentId::of(input.tenant, &name).to_string();
    if given.expose().trim_ascii_end() != expected.as_bytes() {
        findings.unresolved(
            Reason::ClientIdMismatch,
            path,
            &format!(
                "key `{CLIENT_ID}` of Secret `{}` is not the agent's id, so an agent that signs in with it is refused",
                credential_secret(&name)
            ),
            &format!("write `{expected}`, or leave the key out"),
        );
    }
}

fn build(input: &Input<'_>, parts: Parts, credential: Option<SecretDigest>) -> Agent {
    let spec = &input.profile.spec;
    let name = input.profile.name_any();
    Agent {
        id: AgentId::of(input.tenant, &name),
        display_name: spec.display_name.clone().filter(|shown| !shown.is_empty()).unwrap_or(name),
        role: spec.role.clone(),
        owner: spec.owner.clone(),
        labels: input.profile.labels().clone(),
        aliases: parts.aliases,
        subscriptions: parts.subscriptions,
        max_in_flight: spec.max_in_flight.unwrap_or(DEFAULT_MAX_IN_FLIGHT),
        credential,
        shared_inboxes: Vec::new(),
    }
}

/// Conditions of a profile whose tenant is not there: nothing serves it until it is.
pub(crate) fn orphan(profile: &AgentProfile, known: &BTreeSet<TenantKey>) -> ObjectConditions {
    let findings = tenant_missing(profile, &profile.spec.tenant, "the agent", known);
    findings.conditions(ObjectKind::AgentProfile, profile)
}
