use serde_json::{Value, json};

use super::*;

fn tenant(uid: &str) -> Value {
    json!({
        "apiVersion": "nexus.dev/v1alpha1", "kind": "Tenant",
        "metadata": {"name": "acme", "namespace": "acme", "uid": uid, "generation": 1},
        "spec": {"sources": [{"name": "github", "provider": "github", "secretRef": {"name": "webhooks", "key": "github"}}]},
    })
}

fn profile() -> Value {
    json!({
        "apiVersion": "nexus.dev/v1alpha1", "kind": "AgentProfile",
        "metadata": {"name": "coder", "namespace": "acme", "uid": "p", "generation": 1},
        "spec": {"tenant": "acme"},
    })
}

/// An engine that has read a Tenant and its agent.
fn engine() -> Engine {
    let mut engine = Engine::default();
    let apply = |object| Event::InitApply(serde_json::from_value(object).unwrap());
    engine.take(Change::Tenant(Event::Init));
    engine.take(Change::Tenant(apply(tenant("t"))));
    engine.take(Change::Tenant(Event::InitDone));
    engine.take(Change::Profile(Event::InitApply(serde_json::from_value(profile()).unwrap())));
    engine.take(Change::Profile(Event::InitDone));
    assert!(engine.settle().is_empty(), "the Mappings are not read yet");
    engine.take(Change::Mapping(Event::InitDone));
    engine
}

fn secret(engine: &mut Engine, name: &str, observed: Observed<SecretValues>) {
    engine.take(Change::Secret(("acme".to_owned(), name.to_owned()), observed));
}

fn there(key: &str) -> Observed<SecretValues> {
    Observed::There([(key.to_owned(), Secret::new("0123456789abcdef0123456789abcdef"))].into())
}

fn forbidden() -> Observed<SecretValues> {
    Observed::Unreadable("forbidden".to_owned())
}

/// What is withheld of the one tenant; none if it was not compiled.
fn settled(engine: &mut Engine) -> Option<Vec<ResourceType>> {
    let settled = engine.settle();
    assert!(settled.len() <= 1);
    match settled.into_iter().next() {
        Some((_, Outcome::Compiled(_, withheld))) => Some(withheld),
        None => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_is_compiled_before_each_secret_was_looked_at() {
    let mut engine = engine();
    assert_eq!(settled(&mut engine), None);
    assert_eq!(engine.take_wanted().unwrap().len(), 2);
    assert_eq!(engine.take_wanted(), None);
    secret(&mut engine, "webhooks", there("github"));
    assert_eq!(settled(&mut engine), None);
    assert!(!engine.is_complete());
    secret(&mut engine, "coder-nexus-agent", Observed::Missing);
    assert_eq!(settled(&mut engine), Some(vec![]));
    assert!(engine.is_complete());
}

#[test]
fn what_could_never_be_read_is_withheld_and_what_was_known_stays_in_force() {
    let mut engine = engine();
    engine.settle();
    secret(&mut engine, "webhooks", forbidden());
    secret(&mut engine, "coder-nexus-agent", forbidden());
    assert_eq!(settled(&mut engine), Some(vec![ResourceType::SigningSecrets, ResourceType::Gateway]));
    secret(&mut engine, "coder-nexus-agent", there("client-secret"));
    assert_eq!(settled(&mut engine), Some(vec![ResourceType::SigningSecrets]));
    secret(&mut engine, "webhooks", there("github"));
    assert_eq!(settled(&mut engine), Some(vec![]));
    let tenant = TenantKey::new("acme", "acme").unwrap();
    let before = Arc::clone(engine.compiled(&tenant).unwrap());
    // Neither is read anew while it cannot be.
    secret(&mut engine, "webhooks", forbidden());
    secret(&mut engine, "coder-nexus-agent", forbidden());
    assert_eq!(settled(&mut engine), None);
    assert_eq!(engine.compiled(&tenant).unwrap().signing, before.signing);
}

#[test]
fn a_tenant_that_was_made_anew_has_nothing_of_its_forerunner() {
    let mut engine = engine();
    engine.settle();
    secret(&mut engine, "webhooks", there("github"));
    secret(&mut engine, "coder-nexus-agent", Observed::Missing);
    engine.settle();
    let mut other = tenant("other");
    other["spec"]["sources"][0]["name"] = json!("Git Hub");
    engine.take(Change::Tenant(Event::Apply(serde_json::from_value(other).unwrap())));
    engine.settle();
    let tenant = TenantKey::new("acme", "acme").unwrap();
    assert!(engine.compiled(&tenant).unwrap().ingest.sources.is_empty());
}

/// A new operator finds a Tenant that nobody can read, and nothing else of it.
#[test]
fn a_tenant_that_never_could_be_read_is_withheld_whoever_names_it_and_goes_when_it_is_deleted() {
    let mut broken = tenant("t");
    broken["spec"]["sources"] = json!("nonsense");
    let guard = || serde_json::from_value(broken.clone()).unwrap();
    let mut engine = Engine::default();
    engine.take(Change::Tenant(Event::InitApply(guard())));
    engine.take(Change::Tenant(Event::InitDone));
    engine.take(Change::Profile(Event::InitDone));
    engine.take(Change::Mapping(Event::InitDone));
    let settled = engine.settle();
    assert!(matches!(&settled[..], [(_, Outcome::Withheld)]), "{settled:?}");
    assert_eq!(engine.judged(&TenantKey::new("acme", "acme").unwrap()).len(), 1);
    engine.take(Change::Tenant(Event::Delete(guard())));
    let settled = engine.settle();
    assert!(matches!(&settled[..], [(_, Outcome::Gone)]), "{settled:?}");
}
