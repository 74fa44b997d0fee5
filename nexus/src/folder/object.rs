//! One document as one object, as far as it can be read.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use nexus_compile::{bounds, nearest};
use nexus_core::secret::Secret;
use nexus_crds::{
    AgentProfile, AgentProfileSpec, Mapping, MappingSpec, NexusPolicy, NexusPolicySpec, Tenant, TenantSpec,
};
use serde::de::DeserializeOwned;

use super::problem::{Fault, ProblemKind};
use super::tree::{Entry, Node, Value};
use super::typed;

/// Namespace of objects that name none.
const DEFAULT_NAMESPACE: &str = "default";

/// Kinds that are served, as `kind:` spells them.
const KINDS: [(&str, Kind); 5] = [
    ("Tenant", Kind::Tenant),
    ("Mapping", Kind::Mapping),
    ("AgentProfile", Kind::AgentProfile),
    ("NexusPolicy", Kind::NexusPolicy),
    ("Secret", Kind::Secret),
];

/// Kinds of object that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Tenant,
    Mapping,
    AgentProfile,
    NexusPolicy,
    Secret,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Tenant => "Tenant",
            Self::Mapping => "Mapping",
            Self::AgentProfile => "AgentProfile",
            Self::NexusPolicy => "NexusPolicy",
            Self::Secret => "Secret",
        }
    }
}

/// What tells one object from another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ObjectId {
    pub(super) kind: Kind,
    /// Empty for a NexusPolicy, which has none.
    pub(super) namespace: String,
    pub(super) name: String,
}

/// An object.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Object {
    Tenant(Box<Tenant>),
    Mapping(Box<Mapping>),
    AgentProfile(Box<AgentProfile>),
    NexusPolicy(Box<NexusPolicy>),
    Secret(BTreeMap<String, Secret>),
}

impl Object {
    /// Whether it is a policy that orders a stop.
    pub(super) fn orders_stop(&self) -> bool {
        matches!(self, Self::NexusPolicy(policy) if policy.spec.stop == Some(true))
    }
}

/// What a document comes to.
#[derive(Debug)]
pub(super) enum Outcome {
    /// An object. Faults beside it are those of a policy that is obeyed in spite of them.
    Object(ObjectId, Arc<Object>, Vec<Fault>),
    /// Something that is not for us.
    Ignored(String),
    /// An object, whose name may be known, that cannot be read.
    Broken(Option<ObjectId>, Vec<Fault>),
}

/// Reads a document.
pub(super) fn read(tree: &Node) -> Outcome {
    let kind = match kind(tree) {
        Ok(Some(kind)) => kind,
        Ok(None) => return Outcome::Ignored(ignored(tree)),
        Err(fault) => return Outcome::Broken(None, vec![fault]),
    };
    let (meta, id, mut faults) = match metadata(tree, kind) {
        Ok(read) => read,
        Err(mut faults) => {
            if kind == Kind::Secret {
                faults.iter_mut().for_each(unquote);
            }
            return Outcome::Broken(None, faults);
        }
    };
    let object = match kind {
        Kind::Tenant => spec_of::<TenantSpec>(tree, &mut faults).map(|spec| {
            let mut tenant = Tenant::new(&id.name, spec);
            tenant.metadata = meta;
            Object::Tenant(Box::new(tenant))
        }),
        Kind::Mapping => spec_of::<MappingSpec>(tree, &mut faults).map(|spec| {
            let mut mapping = Mapping::new(&id.name, spec);
            mapping.metadata = meta;
            Object::Mapping(Box::new(mapping))
        }),
        Kind::AgentProfile => spec_of::<AgentProfileSpec>(tree, &mut faults).map(|spec| {
            let mut profile = AgentProfile::new(&id.name, spec);
            profile.metadata = meta;
            Object::AgentProfile(Box::new(profile))
        }),
        Kind::NexusPolicy => return policy(tree, meta, id, faults),
        Kind::Secret => {
            faults.iter_mut().for_each(unquote);
            let data = secret(tree, &mut faults);
            faults.iter_mut().for_each(unname);
            data.map(Object::Secret)
        }
    };
    match object {
        Some(object) if faults.is_empty() => Outcome::Object(id, Arc::new(object), faults),
        _ => Outcome::Broken(Some(id), faults),
    }
}

/// The kind, if it is one of ours. Whatever is nearly one of ours is an error and no stranger: a slip must not
/// make an object vanish.
fn kind(tree: &Node) -> Result<Option<Kind>, Fault> {
    if !matches!(tree.value, Value::Map(_)) {
        let what = "a document must be an object, that is lines of `key: value`";
        return Err(Fault::new(ProblemKind::WrongType, what, "begin with `apiVersion`").place("", tree.at));
    }
    let missing = |field: &str| {
        Fault::new(ProblemKind::MissingField, format!("`{field}` is missing"), "add it").place(field, tree.at)
    };
    let (version, kind) = match (tree.get("apiVersion"), tree.get("kind")) {
        // Not Kubernetes' at all: the settings of some other program.
        (None, None) => return Ok(None),
        (None, Some(_)) => return Err(missing("apiVersion")),
        (Some(_), None) => return Err(missing("kind")),
        (Some(version), Some(kind)) => (version, kind),
    };
    if tree.get("metadata").is_none() {
        return Err(missing("metadata"));
    }
    let given = kind.text().unwrap_or_default();
    let served = KINDS.into_iter().find(|(name, _)| *name == given).map(|(_, kind)| kind);
    let group = version.text().unwrap_or_default();
    let expected = match served {
        Some(Kind::Secret) => "v1",
        _ => nexus_crds::API_VERSION,
    };
    let ours = group.starts_with("nexus.dev/") || group == "nexus.dev";
    match served {
        Some(kind) if group == expected => Ok(Some(kind)),
        Some(kind) if kind != Kind::Secret || group.starts_with('v') => {
            // Whatever stands in a Secret may be its content, out of place.
            let shown = match kind {
                Kind::Secret => "this version".to_owned(),
                _ => format!("`{}`", group.escape_debug()),
            };
            let what = format!("{shown} has no kind {given}");
            let remedy = format!("write `{expected}`");
            Err(Fault::new(ProblemKind::BadValue, what, remedy).place("apiVersion", version.at))
        }
        _ => match nearest(given, KINDS.map(|(name, _)| name)).filter(|_| ours || group == "v1") {
            Some(word) => {
                let what = format!("there is no kind `{}`", given.escape_debug());
                let remedy = format!("did you mean `{word}`?");
                Err(Fault::new(ProblemKind::BadValue, what, remedy).place("kind", kind.at))
            }
            None => Ok(None),
        },
    }
}

fn ignored(tree: &Node) -> String {
    match tree.get("kind").and_then(Node::text) {
        Some(kind) => format!("kind {} is not served here and is ignored", kind.escape_debug()),
        None => "no Kubernetes object (it has neither `apiVersion` nor `kind`); ignored".to_owned(),
    }
}

/// The metadata and who it is. Faults that leave the name readable come beside it.
fn metadata(tree: &Node, kind: Kind) -> Result<(ObjectMeta, ObjectId, Vec<Fault>), Vec<Fault>> {
    let Some(node) = tree.get("metadata") else {
        return Err(Vec::new());
    };
    let (meta, mut faults) = typed::read::<ObjectMeta>(node, "metadata");
    let mut meta = match meta {
        Ok(meta) => meta,
        Err(fault) => {
            faults.push(fault);
            ObjectMeta::default()
        }
    };
    let name = node.get("name").and_then(Node::text).unwrap_or_default().to_owned();
    if name.is_empty() {
        let fault = Fault::new(ProblemKind::MissingField, "the object has no name", "give it one");
        faults.push(fault.place("metadata.name", node.at));
        return Err(faults);
    }
    let namespace = match kind {
        Kind::NexusPolicy => None,
        _ => Some(node.get("namespace").and_then(Node::text).unwrap_or(DEFAULT_NAMESPACE).to_owned()),
    };
    for (field, text) in [("name", Some(&name)), ("namespace", namespace.as_ref())] {
        if text.is_some_and(|text| !is_object_name(text)) {
            let what = format!("`{}` is no {field}", text.map_or("", |text| text).escape_debug());
            let remedy = "use lower-case letters, digits, and inner `-` and `.`";
            let at = node.get(field).map_or(node.at, |value| value.at);
            faults.push(
                Fault::new(ProblemKind::BadValue, what, remedy).place(&format!("metadata.{field}"), at),
            );
        }
    }
    meta.name = Some(name.clone());
    meta.namespace.clone_from(&namespace);
    Ok((meta, ObjectId { kind, namespace: namespace.unwrap_or_default(), name }, faults))
}

/// Whether Kubernetes would take a text as a name: an RFC 1123 subdomain.
pub(super) fn is_object_name(text: &str) -> bool {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let label = |part: &str| {
        part.starts_with(word) && part.ends_with(word) && part.chars().all(|c| word(c) || c == '-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// The spec, with unknown fields at the top of the document told of as well.
fn spec_of<T: DeserializeOwned>(tree: &Node, faults: &mut Vec<Fault>) -> Option<T> {
    top_level(tree, &["apiVersion", "kind", "metadata", "spec", "status"], faults);
    let Some(node) = tree.get("spec") else {
        faults.push(
            Fault::new(ProblemKind::MissingField, "`spec` is missing", "add it").place("spec", tree.at),
        );
        return None;
    };
    let (spec, unknown) = typed::read(node, "spec");
    faults.extend(unknown);
    spec.map_err(|fault| faults.push(fault)).ok()
}

fn top_level(tree: &Node, known: &[&str], faults: &mut Vec<Fault>) {
    let unknown = tree.entries().filter(|entry| !known.contains(&entry.key.as_str()));
    faults.extend(unknown.map(|entry| typed::unknown_field(entry, "", known)));
}

/// A policy. One that orders a stop is obeyed as far as it can be read, and on everybody where its targets
/// cannot be: a slip in the reason must not leave the agents running. Nor must one in `stop` itself: whatever
/// stands there orders a stop unless it is `false` or nothing.
fn policy(tree: &Node, meta: ObjectMeta, id: ObjectId, mut faults: Vec<Fault>) -> Outcome {
    let spec = spec_of::<NexusPolicySpec>(tree, &mut faults);
    if let Some(spec) = &spec {
        faults.extend(policy_faults(tree, spec));
    }
    let orders_stop = tree
        .get("spec")
        .and_then(|spec| spec.get("stop"))
        .is_some_and(|stop| !matches!(stop.value, Value::Bool(false)));
    // What is wrong with the rest is told when `stop` is mended.
    let spec = match spec {
        None if orders_stop => spec_of::<NexusPolicySpec>(&with_stop(tree), &mut Vec::new()),
        spec => spec,
    };
    let obeyed = match spec {
        Some(spec) if faults.is_empty() => spec,
        Some(spec) if orders_stop => spec,
        None if orders_stop => NexusPolicySpec { stop: Some(true), ..NexusPolicySpec::default() },
        _ => return Outcome::Broken(Some(id), faults),
    };
    if let Some(first) = faults.first_mut() {
        first.remedy += " (the stop that it orders is in force nevertheless)";
    }
    let mut policy = NexusPolicy::new(&id.name, obeyed);
    policy.metadata = meta;
    Outcome::Object(id, Arc::new(Object::NexusPolicy(Box::new(policy))), faults)
}

/// The document with `stop: true` in place of what stands under `stop`.
fn with_stop(tree: &Node) -> Node {
    let mut tree = tree.clone();
    if let Some(stop) = entry(&mut tree, "spec").and_then(|spec| entry(&mut spec.value, "stop")) {
        stop.value.value = Value::Bool(true);
    }
    tree
}

fn entry<'a>(node: &'a mut Node, key: &str) -> Option<&'a mut Entry> {
    match &mut node.value {
        Value::Map(entries) => entries.iter_mut().find(|entry| entry.key == key),
        _ => None,
    }
}

/// What the schema's bounds and the selector say about a policy; nobody compiles policies, so it is told here.
fn policy_faults(tree: &Node, spec: &NexusPolicySpec) -> Vec<Fault> {
    let at = tree.get("spec").map_or(tree.at, |node| node.at);
    let of_bounds = bounds::policy(spec)
        .into_iter()
        .map(|one| Fault::new(ProblemKind::OutOfBounds, one.what, one.remedy).place(&one.path, at));
    let agents = spec.targets.as_ref().and_then(|targets| targets.agents.as_ref());
    let of_selector = agents.and_then(|agents| nexus_compile::selector(agents).err()).map(|error| {
        let path = format!("spec.targets.agents.{}", error.path);
        Fault::new(ProblemKind::BadValue, error.what, error.remedy).place(&path, at)
    });
    of_bounds.chain(of_selector).collect()
}

/// A Secret's data. No fault repeats any of it.
fn secret(tree: &Node, faults: &mut Vec<Fault>) -> Option<BTreeMap<String, Secret>> {
    let known = ["apiVersion", "kind", "metadata", "data", "stringData", "type", "immutable"];
    top_level(tree, &known, faults);
    let mut data = BTreeMap::new();
    // `stringData` wins over `data`, as it does for an API server.
    for field in ["data", "stringData"] {
        let Some(node) = tree.get(field) else { continue };
        if !matches!(node.value, Value::Map(_)) {
            let fault =
                Fault::new(ProblemKind::WrongType, "a mapping belongs here", "write lines of `key: value`");
            faults.push(fault.place(field, node.at));
        }
        for entry in node.entries() {
            let path = format!("{field}.{}", entry.key);
            match secret_value(field, &entry.value) {
                Ok(secret) => drop(data.insert(entry.key.clone(), secret)),
                Err(fault) => faults.push(fault.place(&path, entry.value.at)),
            }
        }
    }
    faults.is_empty().then_some(data)
}

/// Takes the name out of an unknown field of a Secret unless it is nearly one that there is: what slipped out
/// of its place may be content.
fn unname(fault: &mut Fault) {
    if fault.kind == ProblemKind::UnknownField && !fault.remedy.starts_with("did you mean") {
        fault.path.clear();
        "a field that a Secret does not have stands here".clone_into(&mut fault.what);
        "check the indentation".clone_into(&mut fault.remedy);
    }
}

/// Takes every value of a Secret's metadata, and every key that is a free choice, out of a fault: what slipped
/// out of its place may be content. The place still shows where to look, and remedies quote only what is known.
fn unquote(fault: &mut Fault) {
    unname(fault);
    match fault.kind {
        ProblemKind::WrongType => {
            "a value of another type belongs here".clone_into(&mut fault.what);
        }
        ProblemKind::BadValue => "this value cannot stand here".clone_into(&mut fault.what),
        _ => {}
    }
    let known: Vec<_> = fault.path.split('.').take(2).collect();
    fault.path = known.join(".");
}

fn secret_value(field: &str, node: &Node) -> Result<Secret, Fault> {
    let Some(text) = node.text() else {
        return Err(Fault::new(ProblemKind::WrongType, "a text belongs here", "put the value in quotes"));
    };
    if field == "stringData" {
        return Ok(Secret::new(text));
    }
    let packed: String = text.split_ascii_whitespace().collect();
    STANDARD.decode(packed).map(Secret::new).map_err(|_| {
        Fault::new(
            ProblemKind::BadValue,
            "the value is no base64",
            "encode it, or put it under `stringData` as it is",
        )
    })
}
