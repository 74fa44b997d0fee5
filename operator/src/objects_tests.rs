use serde_json::json;

use super::*;

fn profile(name: &str, tenant: &str, generation: i64) -> DeserializeGuard<AgentProfile> {
    read(json!({
        "apiVersion": "nexus.dev/v1alpha1", "kind": "AgentProfile",
        "metadata": {"name": name, "namespace": "acme", "uid": name, "generation": generation, "resourceVersion": "1"},
        "spec": {"tenant": tenant},
    }))
}

fn read(object: serde_json::Value) -> DeserializeGuard<AgentProfile> {
    serde_json::from_value(object).unwrap()
}

fn unreadable(name: &str, generation: i64) -> DeserializeGuard<AgentProfile> {
    read(json!({
        "apiVersion": "nexus.dev/v1alpha1", "kind": "AgentProfile",
        "metadata": {"name": name, "namespace": "acme", "uid": name, "generation": generation},
        "spec": {"tenant": ["no", "name"]},
    }))
}

fn key(name: &str) -> Key {
    ("acme".to_owned(), name.to_owned())
}

fn tenants(changed: &Changed) -> Vec<&str> {
    changed.tenants.iter().map(TenantKey::name).collect()
}

/// Objects of which these were listed.
fn listed(objects: impl IntoIterator<Item = DeserializeGuard<AgentProfile>>) -> Objects<AgentProfile> {
    let mut all = Objects::default();
    all.take(Event::Init);
    for object in objects {
        assert_eq!(all.take(Event::InitApply(object)), Changed::default());
    }
    assert!(!all.is_complete());
    all.take(Event::InitDone);
    all
}

#[test]
fn half_a_list_changes_nothing_and_a_whole_one_removes_what_it_lacks() {
    let mut all = listed([profile("a", "x", 1), profile("b", "y", 1)]);
    assert!(all.is_complete());
    all.take(Event::Init);
    all.take(Event::InitApply(profile("b", "y", 1)));
    assert_eq!(all.iter().count(), 2);
    let changed = all.take(Event::InitDone);
    assert_eq!(tenants(&changed), ["x"]);
    assert_eq!(all.iter().map(|(key, _)| key.1.as_str()).collect::<Vec<_>>(), ["b"]);
}

#[test]
fn a_generation_that_comes_again_after_a_restore_hides_no_change() {
    let mut all = listed([profile("a", "x", 2)]);
    let mut restored = profile("a", "x", 2);
    restored.0.as_mut().unwrap().spec.display_name = Some("Other".to_owned());
    assert_eq!(tenants(&all.take(Event::Apply(restored))), ["x"]);
}

#[test]
fn only_what_is_compiled_makes_a_tenant_dirty() {
    let mut all = listed([profile("a", "x", 1)]);
    let mut again = profile("a", "x", 1);
    again.meta_mut().resource_version = Some("2".to_owned());
    let changed = all.take(Event::Apply(again.clone()));
    assert_eq!((tenants(&changed), &changed.objects), (vec![], &[key("a")].into()));
    again.meta_mut().labels = Some([("squad".to_owned(), "ai".to_owned())].into());
    assert_eq!(tenants(&all.take(Event::Apply(again))), ["x"]);
    assert_eq!(tenants(&all.take(Event::Apply(profile("a", "y", 2)))), ["x", "y"]);
    assert_eq!(all.of(&TenantKey::new("acme", "x").unwrap()).count(), 0);
}

#[test]
fn an_object_that_was_made_anew_under_its_name_is_another() {
    let mut all = listed([profile("a", "x", 1)]);
    let mut other = profile("a", "x", 1);
    other.meta_mut().uid = Some("other".to_owned());
    assert_eq!(tenants(&all.take(Event::Apply(other))), ["x"]);
}

#[test]
fn what_cannot_be_read_keeps_its_last_good_value() {
    let mut all = listed([profile("a", "x", 1)]);
    let changed = all.take(Event::Apply(unreadable("a", 2)));
    assert_eq!((tenants(&changed), &changed.objects), (vec!["x"], &[key("a")].into()));
    assert_eq!(tenants(&all.take(Event::Apply(unreadable("a", 2)))), Vec::<&str>::new());
    let standing = all.get(&key("a")).unwrap();
    assert_eq!(standing.good.as_ref().unwrap().spec.tenant, "x");
    assert_eq!(standing.broken.as_ref().unwrap().generation, Some(2));
    all.take(Event::Apply(unreadable("b", 1)));
    assert_eq!(all.strays().map(|(key, _)| key.1.as_str()).collect::<Vec<_>>(), ["b"]);
    all.take(Event::Delete(unreadable("b", 1)));
    assert_eq!(all.strays().count(), 0);
    let changed = all.take(Event::Delete(unreadable("a", 2)));
    assert_eq!(tenants(&changed), ["x"]);
}

#[test]
fn the_answer_to_a_write_counts_unless_the_watch_was_faster() {
    let mut all = listed([profile("a", "x", 1)]);
    let at = |revision: &str, generation| {
        let mut object = profile("a", "x", generation).0.unwrap();
        object.metadata.resource_version = Some(revision.to_owned());
        object
    };
    let held = |all: &Objects<AgentProfile>| all.get(&key("a")).unwrap().good.clone().unwrap();
    all.written(at("7", 1));
    assert_eq!(held(&all).resource_version().as_deref(), Some("7"));
    all.written(at("6", 1));
    assert_eq!(held(&all).resource_version().as_deref(), Some("7"));
    // A change of the spec that the answer shows is for the watch to tell.
    all.written(at("9", 2));
    assert_eq!(held(&all).resource_version().as_deref(), Some("7"));
}
