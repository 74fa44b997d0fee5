use nexus_core::id::AgentId;
use nexus_core::snapshot::Version;
use nexus_crds::AgentProfileSpec;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn coder() -> AgentId {
    AgentId::of(&TenantKey::new("acme", "acme").unwrap(), "coder")
}

fn secret_data() -> SecretData {
    let data = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), Secret::new(*value))).collect()
    };
    SecretData::from([
        ("webhooks".to_owned(), data(&[("github", "s3cr3t")])),
        (
            "coder-nexus-agent".to_owned(),
            data(&[(CLIENT_ID, &coder().to_string()), (CLIENT_SECRET, "0123456789abcdef0123456789abcdef")]),
        ),
    ])
}

fn profile(name: &str) -> Arc<AgentProfile> {
    serde_json::from_value(json!({
        "apiVersion": "nexus.dev/v1alpha1", "kind": "AgentProfile",
        "metadata": {"name": name, "namespace": "acme", "labels": {"squad": "ai"}},
        "spec": {"tenant": "acme", "subscriptions": [{"kinds": ["NewWorkItem"], "sources": ["github"]}]},
    }))
    .unwrap()
}

fn tenant(objects: &mut TenantObjects) -> &mut Tenant {
    Arc::make_mut(&mut objects.tenant)
}

fn spec(objects: &mut TenantObjects) -> &mut AgentProfileSpec {
    &mut Arc::make_mut(&mut objects.profiles[0]).spec
}

fn valid() -> TenantObjects {
    let tenant: Tenant = serde_json::from_value(json!({
        "apiVersion": "nexus.dev/v1alpha1", "kind": "Tenant",
        "metadata": {"name": "acme", "namespace": "acme", "generation": 5},
        "spec": {
            "sources": [{"name": "github", "provider": "github", "secretRef": {"name": "webhooks", "key": "github"}}],
            "aliases": [{"name": "@AI_Squad", "agents": {"matchLabels": {"squad": "ai"}}}],
        },
    }))
    .unwrap();
    let objects = TenantObjects::of(Arc::new(tenant));
    TenantObjects { profiles: vec![profile("coder")], secrets: secret_data(), ..objects }
}

/// Breaks the valid objects; what a condition then says: `Type=Status/Reason` and the message.
fn broken(
    which: ObjectKind,
    kind: ConditionType,
    change: impl FnOnce(&mut TenantObjects),
) -> (String, String) {
    let mut objects = valid();
    change(&mut objects);
    let compiled = compile(&objects, Previous::default()).unwrap();
    let object = compiled.conditions.iter().find(|one| one.kind == which).unwrap();
    let condition = object.get(kind).unwrap();
    let Condition { status, reason, message, .. } = condition;
    (format!("{status:?}/{}", reason.name()), message.clone())
}

fn tenant_accepted(change: impl FnOnce(&mut TenantObjects)) -> String {
    broken(ObjectKind::Tenant, ConditionType::Accepted, change).0
}

fn tenant_refs(change: impl FnOnce(&mut TenantObjects)) -> String {
    broken(ObjectKind::Tenant, ConditionType::ResolvedRefs, change).0
}

fn profile_accepted(change: impl FnOnce(&mut AgentProfileSpec)) -> String {
    broken(ObjectKind::AgentProfile, ConditionType::Accepted, |o| change(spec(o))).0
}

fn profile_refs(change: impl FnOnce(&mut TenantObjects)) -> String {
    broken(ObjectKind::AgentProfile, ConditionType::ResolvedRefs, change).0
}

#[test]
fn valid_objects_are_accepted_and_all_their_references_resolve() {
    let compiled = compile(&valid(), Previous::default()).unwrap();
    for condition in compiled.conditions.iter().flat_map(|one| &one.conditions) {
        assert_eq!(condition.status, Status::True, "{condition:?}");
        assert_eq!(condition.reason.name(), condition.kind.name());
    }
    assert_eq!(compiled.conditions[0].conditions[0].observed_generation, Some(5));
    assert_eq!(compiled.conditions[1].conditions[0].observed_generation, None);
    assert_eq!(compiled.signing["github"], [Secret::new("s3cr3t")]);
    assert!(compiled.gateway.agents["coder"].credential.is_some());
}

#[test]
fn tenants_are_refused_for_what_they_say() {
    assert_eq!(
        tenant_accepted(|o| {
            let one = o.tenant.spec.sources[0].clone();
            tenant(o).spec.sources.push(one)
        }),
        "False/DuplicateSource"
    );
    assert_eq!(tenant_accepted(|o| tenant(o).spec.sources[0].name = "Git Hub".into()), "False/OutOfBounds");
    assert_eq!(
        tenant_accepted(|o| tenant(o).spec.sources = vec![o.tenant.spec.sources[0].clone(); 65]),
        "False/OutOfBounds"
    );
    assert_eq!(tenant_accepted(|o| tenant(o).spec.aliases[0].name = "AI".into()), "False/OutOfBounds");
    assert_eq!(tenant_accepted(|o| tenant(o).spec.aliases[0].name = "@a b".into()), "False/OutOfBounds");
    assert_eq!(
        tenant_accepted(|o| tenant(o).spec.aliases.push(alias("@ai_squad", "ai"))),
        "False/DuplicateAlias"
    );
    assert_eq!(
        tenant_accepted(|o| tenant(o).spec.aliases[0] = alias("@x", "not a value")),
        "False/InvalidSelector"
    );
    assert_eq!(tenant_accepted(|o| tenant(o).spec.aliases[0] = alias("@xy", "none")), "True/NoMembers");
    assert_eq!(tenant_accepted(|o| tenant(o).spec.aliases.push(alias("@Coder", "ai"))), "True/NameClash");
    for (limits, bad) in
        [(json!({"heartbeatSeconds": 3601}), true), (json!({"heartbeatSeconds": 3600}), false)]
    {
        let says = tenant_accepted(|o| tenant(o).spec.limits = serde_json::from_value(limits).unwrap());
        assert_eq!(says == "False/OutOfBounds", bad, "{says}");
    }
    let says =
        tenant_accepted(|o| tenant(o).spec.quota = serde_json::from_value(json!({"bytes": 1})).unwrap());
    assert_eq!(says, "False/OutOfBounds");
}

fn alias(name: &str, squad: &str) -> nexus_crds::tenant::Alias {
    serde_json::from_value(json!({"name": name, "agents": {"matchLabels": {"squad": squad}}})).unwrap()
}

#[test]
fn secrets_that_are_not_there_are_named_and_never_shown() {
    assert_eq!(tenant_refs(|o| drop(o.secrets.remove("webhooks"))), "False/SecretNotFound");
    assert_eq!(tenant_refs(|o| webhooks(o, "hubgit", "s3cr3t")), "False/SecretKeyNotFound");
    assert_eq!(tenant_refs(|o| webhooks(o, "github", "")), "False/SecretEmpty");
    assert_eq!(tenant_refs(|o| webhooks(o, "github", "s3cr3t\n")), "True/SecretEndsWithNewline");
    let (_, message) =
        broken(ObjectKind::Tenant, ConditionType::ResolvedRefs, |o| webhooks(o, "x", "s3cr3t"));
    assert_eq!(message, "`spec.sources[0].secretRef`: Secret `webhooks` has no key `github`; add it.");
}

fn webhooks(objects: &mut TenantObjects, key: &str, value: &str) {
    let data = BTreeMap::from([(key.to_owned(), Secret::new(value))]);
    objects.secrets.insert("webhooks".to_owned(), data);
}

#[test]
fn a_source_without_its_secret_stays_and_accepts_nothing() {
    let mut objects = valid();
    objects.secrets.clear();
    let compiled = compile(&objects, Previous::default()).unwrap();
    assert!(compiled.ingest.sources.contains_key("github"));
    assert_eq!(compiled.signing["github"], []);
}

#[test]
fn profiles_are_refused_for_what_they_say() {
    let kind = |spec: &mut AgentProfileSpec| spec.subscriptions[0].kinds = vec!["NewWorkItms".into()];
    assert_eq!(profile_accepted(kind), "False/UnknownKind");
    assert_eq!(profile_accepted(|spec| spec.max_in_flight = Some(0)), "False/OutOfBounds");
    assert_eq!(profile_accepted(|spec| spec.max_in_flight = Some(1001)), "False/OutOfBounds");
    assert_eq!(profile_accepted(|spec| spec.max_in_flight = Some(1000)), "True/Accepted");
    assert_eq!(profile_accepted(|spec| spec.owner = Some("x".repeat(255))), "False/OutOfBounds");
    assert_eq!(profile_accepted(|spec| spec.aliases = vec!["x".into(); 17]), "False/OutOfBounds");
    assert_eq!(profile_accepted(|spec| spec.aliases = vec!["@".into()]), "False/InvalidAlias");
    assert_eq!(profile_accepted(|spec| spec.aliases = vec!["AI_squad".into()]), "True/NameClash");
    let (_, message) = broken(ObjectKind::AgentProfile, ConditionType::Accepted, |o| {
        kind(spec(o));
    });
    assert_eq!(
        message,
        "`spec.subscriptions[0].kinds[0]`: `NewWorkItms` is no kind of event; did you mean `NewWorkItem`? \
         Left out until then: the agent."
    );
}

#[test]
fn what_a_profile_refers_to_must_be_there() {
    assert_eq!(
        profile_refs(|o| spec(o).subscriptions[0].sources = vec!["gitub".into()]),
        "False/SourceNotFound"
    );
    let secret = |o: &mut TenantObjects, text: &str| {
        let data = BTreeMap::from([(CLIENT_SECRET.to_owned(), Secret::new(text))]);
        o.secrets.insert(credential_secret("coder"), data);
    };
    assert_eq!(profile_refs(|o| secret(o, &"x".repeat(31))), "False/ClientSecretTooShort");
    assert_eq!(profile_refs(|o| secret(o, &"x".repeat(32))), "True/ResolvedRefs");
    assert_eq!(
        profile_refs(|o| drop(o.secrets.insert(credential_secret("coder"), BTreeMap::new()))),
        "False/SecretKeyNotFound"
    );
    assert_eq!(profile_refs(|o| drop(o.secrets.remove(&credential_secret("coder")))), "True/ResolvedRefs");
}

#[test]
fn a_short_client_secret_is_not_used() {
    let mut objects = valid();
    let data = BTreeMap::from([(CLIENT_SECRET.to_owned(), Secret::new("short"))]);
    objects.secrets.insert(credential_secret("coder"), data);
    let compiled = compile(&objects, Previous::default()).unwrap();
    assert_eq!(compiled.gateway.agents["coder"].credential, None);
}

#[test]
fn a_client_id_that_is_not_the_agents_is_told_of_and_the_secret_stays() {
    let given = |o: &mut TenantObjects, id: &str| {
        let data = o.secrets.get_mut(&credential_secret("coder")).unwrap();
        data.insert(CLIENT_ID.to_owned(), Secret::new(id));
    };
    for id in ["coder", "", "hunter2", &coder().to_string()[1..]] {
        assert_eq!(profile_refs(|o| given(o, id)), "False/ClientIdMismatch");
    }
    let (_, message) = broken(ObjectKind::AgentProfile, ConditionType::ResolvedRefs, |o| {
        given(o, "hunter2");
    });
    assert_eq!(
        message,
        format!(
            "`metadata.name`: key `client-id` of Secret `coder-nexus-agent` is not the agent's id, so an agent that \
             signs in with it is refused; write `{}`, or leave the key out.",
            coder()
        )
    );
    let right = coder().to_string();
    for id in [right.as_str(), &format!("{right}\n")] {
        assert_eq!(profile_refs(|o| given(o, id)), "True/ResolvedRefs");
    }
    let mut objects = valid();
    given(&mut objects, "hunter2");
    let compiled = compile(&objects, Previous::default()).unwrap();
    let well = compile(&valid(), Previous::default()).unwrap();
    assert!(compiled.gateway == well.gateway && compiled.gateway.agents["coder"].credential.is_some());
}

#[test]
fn members_of_an_alias_for_any_share_an_inbox() {
    let mut objects = valid();
    tenant(&mut objects).spec.aliases[0].delivery = nexus_crds::tenant::Delivery::Any;
    let compiled = compile(&objects, Previous::default()).unwrap();
    let inbox = nexus_core::id::InboxId::of_alias(&compiled.gateway.tenant, "ai_squad");
    assert_eq!(compiled.gateway.agents["coder"].shared_inboxes, [inbox]);
    assert_eq!(compiled.gateway.aliases[0].name, "AI_Squad");
}

#[test]
fn a_tenant_without_a_name_compiles_to_nothing() {
    let mut objects = valid();
    tenant(&mut objects).metadata.namespace = None;
    assert_eq!(compile(&objects, Previous::default()), Err(UnnamedTenant));
}

#[test]
fn long_messages_have_an_end() {
    let (_, message) = broken(ObjectKind::AgentProfile, ConditionType::Accepted, |o| {
        spec(o).subscriptions[0].kinds = vec!["Banana".into(); 64];
    });
    assert!(message.contains("And 54 more"));
    assert!(message.len() < 32_768, "{}", message.len());
}

proptest! {
    #[test]
    fn the_order_of_objects_does_not_matter(
        names in proptest::sample::subsequence(vec!["ann", "bob", "cy", "dee", "eve", "fay"], 1..=6).prop_shuffle(),
        clash in any::<bool>(),
    ) {
        let of = |names: &[&str]| {
            let mut objects = valid();
            objects.profiles = names.iter().map(|name| profile(name)).collect();
            if clash {
                objects.profiles.iter_mut().for_each(|one| Arc::make_mut(one).spec.aliases = vec!["same".into()]);
            }
            compile(&objects, Previous::default()).unwrap()
        };
        let mut sorted = names.clone();
        sorted.sort_unstable();
        let (given, ordered) = (of(&names), of(&sorted));
        prop_assert_eq!(Version::of(&given.gateway), Version::of(&ordered.gateway));
        prop_assert_eq!(Version::of(&given.ingest), Version::of(&ordered.ingest));
        prop_assert_eq!(given.conditions, ordered.conditions);
    }

    #[test]
    fn compiling_twice_with_itself_as_previous_changes_nothing(in_flight in 0_u32..1100, secs in 0_u32..4000) {
        let mut objects = valid();
        spec(&mut objects).max_in_flight = Some(in_flight);
        tenant(&mut objects).spec.limits = serde_json::from_value(json!({"heartbeatSeconds": secs})).unwrap();
        let once = compile(&objects, Previous::default()).unwrap();
        let twice = compile(&objects, once.as_previous()).unwrap();
        prop_assert_eq!(once.gateway, twice.gateway);
        prop_assert_eq!(once.ingest, twice.ingest);
    }
}

#[test]
fn a_secret_that_cannot_be_read_keeps_what_was_known_of_it() {
    let mut objects = valid();
    let before = compile(&objects, Previous::default()).unwrap();
    objects.unreadable =
        std::mem::take(&mut objects.secrets).into_keys().map(|name| (name, "forbidden".to_owned())).collect();
    let after = compile(&objects, before.as_previous()).unwrap();
    assert_eq!((&after.signing, &after.gateway), (&before.signing, &before.gateway));
    for object in &after.conditions {
        let condition = object.get(ConditionType::ResolvedRefs).unwrap();
        assert_eq!((condition.status, condition.reason), (Status::False, Reason::SecretUnreadable));
        assert!(condition.message.contains("cannot be read (forbidden)"), "{}", condition.message);
    }
    assert_eq!(objects.secret_names(), ["coder-nexus-agent", "webhooks"].map(str::to_owned).into());
}

#[test]
fn what_only_a_cluster_shows_is_added_to_what_was_found() {
    let compiled = compile(&valid(), Previous::default()).unwrap();
    let well = compiled.conditions.iter().find(|one| one.kind == ObjectKind::AgentProfile).unwrap();
    let told = |object: &ObjectConditions| {
        let condition = object.get(ConditionType::ResolvedRefs).unwrap();
        (condition.status, condition.reason, condition.message.clone())
    };
    let mut object = well.clone();
    object.refer(false, Reason::WorkloadNotFound, "a", "b", "c");
    assert_eq!(told(&object), (Status::True, Reason::WorkloadNotFound, "`a`: b; c.".to_owned()));
    // What is wrong comes first.
    object.refer(true, Reason::WorkloadForbidden, "d", "e", "f");
    let message = "`d`: e; f. `a`: b; c.".to_owned();
    assert_eq!(told(&object), (Status::False, Reason::WorkloadForbidden, message));
    // What was found wrong before stays first.
    object.refer(true, Reason::SecretNotFound, "g", "h", "i");
    let message = "`d`: e; f. `a`: b; c. `g`: h; i.".to_owned();
    assert_eq!(told(&object), (Status::False, Reason::WorkloadForbidden, message));
}
