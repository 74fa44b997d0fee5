//! The definitions, and the objects that the repository shows, are accepted.

use std::fs;
use std::path::{Path, PathBuf};

use kube::api::DeleteParams;
use nexus_e2e::cluster::{Cluster, repository};
use serde_json::{Value, json};

use crate::objects::{KINDS, api, change_status, create, full};
use crate::schema::definitions;

/// Folders with objects that anybody may apply as they are.
const FOLDERS: [&str; 4] = [
    "examples/quickstart",
    "compile/tests/golden/full/in",
    "compile/tests/golden/minimal/in",
    "compile/tests/golden/two-tenants/in",
];

#[test]
fn the_definitions_are_accepted_and_served() {
    let cluster = Cluster::shared().unwrap();
    cluster.install_definitions().unwrap();
    for definition in definitions() {
        let name = format!("{}.nexus.dev", definition.plural);
        let all = cluster.kubectl(&["get", "crd", &name, "-o", "json"]).unwrap();
        let crd: Value = serde_json::from_str(&all).unwrap();
        let conditions = crd["status"]["conditions"].as_array().unwrap();
        let holds = |kind: &str, status: &str| {
            conditions.iter().any(|one| one["type"] == kind && one["status"] == status)
        };
        assert!(holds("Established", "True") && holds("NamesAccepted", "True"), "{conditions:?}");
        assert!(!holds("NonStructuralSchema", "True"), "{conditions:?}");
    }
    // Whatever an API server has to remark, it would say now.
    let folder = repository().join("config/crd");
    let said =
        cluster.kubectl(&["apply", "--server-side", "--dry-run=server", "-k", folder.to_str().unwrap()]);
    said.unwrap();
}

#[tokio::test]
async fn an_object_with_every_field_is_kept_as_it_is() {
    let cluster = Cluster::shared().unwrap();
    cluster.install_definitions().unwrap();
    let namespace = cluster.namespace("full").unwrap();
    let client = cluster.client().await.unwrap();
    for kind in KINDS {
        let api = api(&client, namespace.name(), kind);
        let mut object = full(kind);
        object["metadata"]["name"] = json!(namespace.name());
        let created = create(&api, &object, false).await.unwrap();
        assert_eq!(created.data["spec"], object["spec"], "{kind}");
        assert_eq!(created.data["status"], Value::Null, "{kind}: only the subresource writes status");
        let told = change_status(&api, namespace.name(), &json!({"status": object["status"]})).await.unwrap();
        assert_eq!(told.data["status"], object["status"], "{kind}");
        api.delete(namespace.name(), &DeleteParams::default()).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_null_counts_as_absent_and_defaults_are_filled_in() {
    let cluster = Cluster::shared().unwrap();
    cluster.install_definitions().unwrap();
    let namespace = cluster.namespace("null").unwrap();
    let client = cluster.client().await.unwrap();
    let policy = json!({
        "apiVersion": "nexus.dev/v1alpha1", "kind": "NexusPolicy", "metadata": {"name": namespace.name()},
        "spec": {"stop": null, "release": null, "targets": null, "mirror": null},
    });
    let created = create(&api(&client, "", "NexusPolicy"), &policy, true).await.unwrap();
    assert_eq!(created.data["spec"], json!({"workloads": "scaleToZero", "mirror": "pause"}));
    let mapping = json!({
        "apiVersion": "nexus.dev/v1alpha1", "kind": "Mapping", "metadata": {"name": "x"},
        "spec": {"tenant": "acme", "clickupListId": "901", "slackChannelId": "C024BE91L", "crosses": null},
    });
    let created = create(&api(&client, namespace.name(), "Mapping"), &mapping, true).await.unwrap();
    assert_eq!(created.data["spec"]["direction"], "both");
    assert_eq!(created.data["spec"].get("crosses"), None);
}

#[tokio::test]
async fn every_object_that_the_repository_shows_is_accepted() {
    let cluster = Cluster::shared().unwrap();
    cluster.install_definitions().unwrap();
    let namespace = cluster.namespace("shown").unwrap();
    let client = cluster.client().await.unwrap();
    let mut seen = 0;
    for file in FOLDERS.iter().flat_map(|folder| manifests(&repository().join(folder))) {
        let text = fs::read_to_string(&file).unwrap();
        for mut object in serde_saphyr::from_multiple::<Value>(&text).unwrap() {
            let kind = object["kind"].as_str().unwrap_or_default().to_owned();
            if !KINDS.contains(&kind.as_str()) {
                continue;
            }
            // Where it stands is for whoever applies it to say.
            object["metadata"].as_object_mut().unwrap().remove("namespace");
            let answer = create(&api(&client, namespace.name(), &kind), &object, true).await;
            assert!(answer.is_ok(), "{}: {answer:?}", file.display());
            seen += 1;
        }
    }
    assert!(seen >= 10, "{seen} objects only");
}

fn manifests(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    assert!(!files.is_empty(), "{}", folder.display());
    files
}
