//! One valid object of each kind that has every field, and how objects are sent.

use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

/// The kinds that have a namespace, and the one that has none.
pub(crate) const KINDS: [&str; 4] = ["AgentProfile", "Mapping", "NexusPolicy", "Tenant"];

/// An object of the kind with every field of its spec and its status.
pub(crate) fn full(kind: &str) -> Value {
    let (spec, mut status) = match kind {
        "Tenant" => (tenant(), json!({"acknowledged": "2/3"})),
        "Mapping" => (
            json!({
                "tenant": "acme", "clickupListId": "901", "slackChannelId": "C024BE91L", "direction": "toSlack",
                "crosses": ["messages", "edits"],
            }),
            json!({}),
        ),
        "AgentProfile" => (
            profile(),
            json!({"lastSeen": "2026-01-02T03:04:05Z", "heldReplicas": 3, "heldBy": "1f2e3d4c-7", "heldFrom": "0a1b2c3d-0000-4000-8000-000000000000"}),
        ),
        "NexusPolicy" => (
            policy(),
            json!({
                "engagement": "0a1b2c3d-7", "engagedAt": "2026-01-02T03:04:05Z", "acknowledged": "3/3",
                "socketsSevered": 10000, "lastByteMilliseconds": 41,
            }),
        ),
        other => panic!("kind {other}"),
    };
    status["conditions"] = json!([{
        "type": "Ready", "status": "True", "reason": "Ready", "message": "All of it is in force.",
        "observedGeneration": 1, "lastTransitionTime": "2026-01-02T03:04:05Z",
    }]);
    json!({
        "apiVersion": "nexus.dev/v1alpha1", "kind": kind, "metadata": {"name": "full"}, "spec": spec, "status": status,
    })
}

fn selector() -> Value {
    json!({
        "matchLabels": {"squad": "ai"},
        "matchExpressions": [{"key": "acme.example/tier", "operator": "In", "values": ["1", "2"]}],
    })
}

fn tenant() -> Value {
    json!({
        "sources": [{
            "name": "github", "provider": "github",
            "secretRef": {"name": "webhooks", "key": "github"},
            "previousSecretRef": {"name": "webhooks", "key": "github-former"},
        }],
        "aliases": [{
            "name": "@AI_Squad",
            "handles": {"slackUserGroup": "S0614TZR7", "clickupGroup": "7f3c", "githubTeam": "acme/ai-squad"},
            "agents": selector(), "delivery": "any",
        }],
        "limits": {"heartbeatSeconds": 10, "heartbeatMisses": 5},
        "retention": {"eventsSeconds": 86400},
        "quota": {"bytes": 1_048_576},
    })
}

fn profile() -> Value {
    json!({
        "tenant": "acme", "displayName": "Coder", "role": "engineer", "owner": "ann@acme.example",
        "aliases": ["@coder-bot"],
        "subscriptions": [{
            "kinds": ["NewWorkItem"], "sources": ["github"],
            "filters": {"projects": ["acme/shop"], "labels": ["bug"], "bots": "exclude"},
        }],
        "maxInFlight": 4,
        "workloadRef": {"kind": "Deployment", "name": "coder"},
    })
}

fn policy() -> Value {
    json!({
        "stop": false, "release": "0a1b2c3d-7", "reason": "drill",
        "targets": {"tenants": [{"namespace": "acme", "name": "acme"}], "agents": selector()},
        "workloads": "keep", "mirror": "run",
    })
}

/// The objects of a kind in a namespace, or in the cluster.
pub(crate) fn api(client: &Client, namespace: &str, kind: &str) -> Api<DynamicObject> {
    let of_kind = GroupVersionKind::gvk("nexus.dev", "v1alpha1", kind);
    let plural =
        if kind == "NexusPolicy" { "nexuspolicies".to_owned() } else { format!("{}s", kind.to_lowercase()) };
    let resource = ApiResource::from_gvk_with_plural(&of_kind, &plural);
    if kind == "NexusPolicy" {
        Api::all_with(client.clone(), &resource)
    } else {
        Api::namespaced_with(client.clone(), namespace, &resource)
    }
}

/// Creates an object, or only asks whether it could be; what the API server says if not.
pub(crate) async fn create(
    api: &Api<DynamicObject>,
    object: &Value,
    dry_run: bool,
) -> Result<DynamicObject, String> {
    let object: DynamicObject = serde_json::from_value(object.clone()).unwrap();
    let how = PostParams { dry_run, ..PostParams::default() };
    api.create(&how, &object).await.map_err(said)
}

/// Asks whether an object could be changed so.
pub(crate) async fn change(
    api: &Api<DynamicObject>,
    name: &str,
    patch: &Value,
) -> Result<DynamicObject, String> {
    let how = PatchParams { dry_run: true, ..PatchParams::default() };
    api.patch(name, &how, &Patch::Merge(patch)).await.map_err(said)
}

/// Asks whether an object could have this status.
pub(crate) async fn change_status(
    api: &Api<DynamicObject>,
    name: &str,
    patch: &Value,
) -> Result<DynamicObject, String> {
    let how = PatchParams { dry_run: true, ..PatchParams::default() };
    api.patch_status(name, &how, &Patch::Merge(patch)).await.map_err(said)
}

/// What the API server says; a failure of another kind is no answer.
fn said(error: kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => panic!("no answer: {other}"),
    }
}
