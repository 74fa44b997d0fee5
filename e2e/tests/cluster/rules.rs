//! For each rule of CEL, an object or a change that breaks it is refused in the rule's own words; what comes near it and
//! is well passes.

use std::collections::BTreeSet;

use nexus_e2e::cluster::Cluster;
use serde_json::{Value, json};

use crate::objects::{api, change, create, full};
use crate::schema::{definitions, walk, written};

/// What happens to a valid object of a kind.
struct Case {
    kind: &'static str,
    /// What it says before; none where it is created only now.
    before: Option<fn(&mut Value)>,
    /// How it is made or changed.
    then: fn(&mut Value),
    /// Where it is refused and in which words; none if it passes.
    refused: Option<(&'static str, &'static str)>,
}

const fn made(kind: &'static str, then: fn(&mut Value), place: &'static str, says: &'static str) -> Case {
    Case { kind, before: None, then, refused: Some((place, says)) }
}

const fn passes(kind: &'static str, then: fn(&mut Value)) -> Case {
    Case { kind, before: None, then, refused: None }
}

const fn changed(
    kind: &'static str,
    before: fn(&mut Value),
    then: fn(&mut Value),
    place: &'static str,
    says: &'static str,
) -> Case {
    Case { kind, before: Some(before), then, refused: Some((place, says)) }
}

const fn may_change(kind: &'static str, before: fn(&mut Value), then: fn(&mut Value)) -> Case {
    Case { kind, before: Some(before), then, refused: None }
}

const ONLY_WIDENS: &str = "while `stop` is true its targets can only widen: add tenants or take `targets` out; to narrow it, release the stop first";
const NEEDS_VALUE: &str = "`In` and `NotIn` need a value: give one under `values`";
const TAKES_NONE: &str = "`Exists` and `DoesNotExist` take no values: take `values` out";
const ONE_NAME: &str = "two aliases have one name, and case does not matter: give each its own";
const TENANT_STAYS: &str = "the tenant cannot change: delete the object and create it anew";
const PROVIDER_STAYS: &str =
    "the provider of a source cannot change under its name: add a source with a name of its own";
const NO_MENTION: &str = "nobody could mention this name: write 1 to 64 characters, such as `@coder-bot`";
const LABEL_KEY: &str =
    "write a label's key, `name` or `prefix/name`, with at most 63 characters in the name";

fn second_alias(object: &mut Value, name: &str, handles: Value) {
    let aliases = object["spec"]["aliases"].as_array_mut().unwrap();
    aliases.push(json!({"name": name, "handles": handles, "agents": {}}));
}

fn second_source(object: &mut Value, name: &str, provider: &str) {
    let mut source = object["spec"]["sources"][0].clone();
    source["name"] = json!(name);
    source["provider"] = json!(provider);
    object["spec"]["sources"].as_array_mut().unwrap().push(source);
}

fn expression(object: &mut Value, operator: &str, values: Value) {
    object["spec"]["aliases"][0]["agents"] =
        json!({"matchExpressions": [{"key": "tier", "operator": operator, "values": values}]});
}

fn stop(object: &mut Value, targets: Value) {
    object["spec"]["stop"] = json!(true);
    object["spec"]["targets"] = targets;
}

fn tenants(names: &[&str]) -> Value {
    let list: Vec<_> = names.iter().map(|name| json!({"namespace": "acme", "name": name})).collect();
    json!({"tenants": list})
}

fn squad(name: &str) -> Value {
    json!({"agents": {"matchLabels": {"squad": name}}})
}

const CASES: [Case; 40] = [
    // Aliases of a Tenant.
    made("Tenant", |o| second_alias(o, "@ai_squad", json!({})), "spec.aliases", ONE_NAME),
    made("Tenant", |o| second_alias(o, "@AI_Squad", json!({})), "spec.aliases[1]", "Duplicate value"),
    made(
        "Tenant",
        |o| second_alias(o, "@other", json!({"slackUserGroup": "s0614tzr7"})),
        "spec.aliases",
        "two aliases claim one Slack user group (`handles.slackUserGroup`): name it once",
    ),
    made(
        "Tenant",
        |o| second_alias(o, "@other", json!({"clickupGroup": "7F3C"})),
        "spec.aliases",
        "two aliases claim one ClickUp group (`handles.clickupGroup`): name it once",
    ),
    made(
        "Tenant",
        |o| second_alias(o, "@other", json!({"githubTeam": "Acme/AI-Squad"})),
        "spec.aliases",
        "two aliases claim one GitHub team (`handles.githubTeam`): name it once",
    ),
    passes("Tenant", |o| {
        second_alias(o, "@other", json!({"slackUserGroup": "S1", "githubTeam": "acme/other"}))
    }),
    passes("Tenant", |o| second_alias(o, "@other", json!({}))),
    // Selectors.
    made("Tenant", |o| expression(o, "In", json!([])), "matchExpressions[0]", NEEDS_VALUE),
    made("Tenant", |o| expression(o, "NotIn", json!(null)), "matchExpressions[0]", NEEDS_VALUE),
    made("Tenant", |o| expression(o, "Exists", json!(["1"])), "matchExpressions[0]", TAKES_NONE),
    made("Tenant", |o| expression(o, "DoesNotExist", json!(["1"])), "matchExpressions[0]", TAKES_NONE),
    passes("Tenant", |o| expression(o, "Exists", json!([]))),
    passes("Tenant", |o| expression(o, "DoesNotExist", json!(null))),
    made(
        "Tenant",
        |o| o["spec"]["aliases"][0]["agents"]["matchLabels"] = json!({"a b": "c"}),
        "spec.aliases[0].agents.matchLabels",
        LABEL_KEY,
    ),
    made(
        "NexusPolicy",
        |o| o["spec"]["targets"]["agents"]["matchLabels"] = json!({"/a": "c"}),
        "spec.targets.agents.matchLabels",
        LABEL_KEY,
    ),
    // Sources.
    made("Tenant", |o| second_source(o, "github", "github"), "spec.sources[1]", "Duplicate value"),
    changed(
        "Tenant",
        |_| {},
        |o| o["spec"]["sources"][0]["provider"] = json!("slack"),
        "spec.sources[0]",
        PROVIDER_STAYS,
    ),
    may_change("Tenant", |_| {}, |o| second_source(o, "slack", "slack")),
    may_change(
        "Tenant",
        |o| second_source(o, "slack", "slack"),
        |o| o["spec"]["sources"].as_array_mut().unwrap().reverse(),
    ),
    may_change("Tenant", |_| {}, |o| o["spec"]["sources"] = json!([])),
    may_change("Tenant", |_| {}, |o| o["spec"]["sources"][0]["secretRef"]["key"] = json!("other")),
    // Names of an agent.
    made("AgentProfile", |o| o["spec"]["aliases"] = json!(["coder", "@a@b"]), "spec.aliases[1]", NO_MENTION),
    made("AgentProfile", |o| o["spec"]["aliases"] = json!(["@"]), "spec.aliases[0]", NO_MENTION),
    made("AgentProfile", |o| o["spec"]["aliases"] = json!([" coder"]), "spec.aliases[0]", NO_MENTION),
    made("AgentProfile", |o| o["spec"]["aliases"] = json!(["a\tb"]), "spec.aliases[0]", NO_MENTION),
    made("AgentProfile", |o| o["spec"]["aliases"] = json!(["a".repeat(65)]), "spec.aliases[0]", NO_MENTION),
    passes("AgentProfile", |o| {
        o["spec"]["aliases"] = json!(["Code Smith", "@x", "ü", format!("@{}", "a".repeat(64))])
    }),
    // What an object belongs to.
    changed("AgentProfile", |_| {}, |o| o["spec"]["tenant"] = json!("other"), "spec.tenant", TENANT_STAYS),
    changed("Mapping", |_| {}, |o| o["spec"]["tenant"] = json!("other"), "spec.tenant", TENANT_STAYS),
    made(
        "Mapping",
        |o| o["spec"]["crosses"] = json!(["edits", "edits"]),
        "spec.crosses[1]",
        "Duplicate value",
    ),
    may_change("Mapping", |_| {}, |o| o["spec"]["slackChannelId"] = json!("C0OTHER")),
    // Targets of a stop.
    changed("NexusPolicy", |o| stop(o, json!(null)), |o| stop(o, squad("ai")), "spec", ONLY_WIDENS),
    changed(
        "NexusPolicy",
        |o| stop(o, tenants(&["a", "b"])),
        |o| stop(o, tenants(&["b", "c"])),
        "spec",
        ONLY_WIDENS,
    ),
    changed("NexusPolicy", |o| stop(o, squad("ai")), |o| stop(o, squad("other")), "spec", ONLY_WIDENS),
    changed("NexusPolicy", |o| stop(o, squad("ai")), |o| stop(o, tenants(&["a"])), "spec", ONLY_WIDENS),
    changed("NexusPolicy", |o| stop(o, tenants(&[])), |o| stop(o, tenants(&["a"])), "spec", ONLY_WIDENS),
    may_change("NexusPolicy", |o| stop(o, tenants(&["a"])), |o| stop(o, tenants(&["b", "a"]))),
    may_change("NexusPolicy", |o| stop(o, squad("ai")), |o| stop(o, json!(null))),
    may_change("NexusPolicy", |_| {}, |o| stop(o, squad("other"))),
    may_change("NexusPolicy", |o| stop(o, json!(null)), |o| o["spec"]["reason"] = json!("another")),
];

#[tokio::test]
async fn what_breaks_a_rule_is_refused_in_its_words_and_nothing_else_is() {
    let cluster = Cluster::shared().unwrap();
    cluster.install_definitions().unwrap();
    let namespace = cluster.namespace("rules").unwrap();
    let client = cluster.client().await.unwrap();
    let mut wrong = Vec::new();
    for (at, case) in CASES.iter().enumerate() {
        let api = api(&client, namespace.name(), case.kind);
        let name = format!("{}-{at}", namespace.name());
        let mut object = full(case.kind);
        object["metadata"]["name"] = json!(name);
        if let Some(before) = case.before {
            before(&mut object);
            create(&api, &object, false).await.unwrap();
        }
        (case.then)(&mut object);
        let answer = match case.before {
            Some(_) => change(&api, &name, &json!({"spec": object["spec"]})).await,
            None => create(&api, &object, true).await,
        };
        let fits = match (&answer, case.refused) {
            (Ok(_), None) => true,
            (Err(said), Some((place, words))) => said.contains(place) && said.contains(words),
            _ => false,
        };
        if !fits {
            let answer = answer.map(|_| "it passes");
            wrong.push(format!("{at} ({}), expected {:?}: {answer:?}", case.kind, case.refused));
        }
        if case.kind == "NexusPolicy" && case.before.is_some() {
            api.delete(&name, &kube::api::DeleteParams::default()).await.unwrap();
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_rule_has_a_case() {
    let met: BTreeSet<_> = CASES.iter().filter_map(|case| Some(case.refused?.1)).collect();
    let mut missing = Vec::new();
    for definition in definitions() {
        walk(&definition.schema, &mut |path, schema| {
            for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
                let message = rule["message"].as_str().unwrap();
                // The words beside a pattern: broken with the pattern, among the bounds.
                let of_pattern = schema["pattern"].as_str().is_some_and(|pattern| {
                    rule["rule"].as_str().unwrap() == format!("self.matches(r'{pattern}')")
                });
                if !of_pattern && !met.contains(message) {
                    missing.push(format!("{} {}: {message}", definition.kind, written(path)));
                }
            }
        });
    }
    assert!(missing.is_empty(), "{missing:#?}");
}
