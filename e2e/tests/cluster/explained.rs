//! `kubectl explain` is the manual, and `kubectl get` answers the question of whoever is on call.

use nexus_e2e::cluster::Cluster;
use serde_json::{Value, json};

use crate::objects::{KINDS, api, create, full};
use crate::schema::{Step, definitions, walk};

/// What is wrong with an object, and stands in its condition `Ready`.
const WRONG: &str = "ResolvedRefs is False: there is no Secret `webhooks`.";

#[test]
fn kubectl_explains_every_field() {
    let cluster = Cluster::shared().unwrap();
    cluster.install_definitions().unwrap();
    let (mut asked, mut mute) = (0, Vec::new());
    for definition in definitions() {
        let mut objects = Vec::new();
        walk(&definition.schema, &mut |path, schema| {
            if let Some(fields) = schema["properties"].as_object() {
                let names = path.iter().filter_map(|step| match step {
                    Step::Field(name) => Some(name.as_str()),
                    Step::Entry | Step::Value => None,
                });
                let place = names.fold(definition.plural.clone(), |place, name| format!("{place}.{name}"));
                objects.push((place, fields.keys().cloned().collect::<Vec<_>>()));
            }
        });
        for (place, fields) in objects {
            let manual = cluster.kubectl(&["explain", &place]).unwrap();
            for field in fields {
                asked += 1;
                if !describes(&manual, &field) {
                    mute.push(format!("{place}.{field}"));
                }
            }
        }
    }
    assert!(mute.is_empty(), "nothing is said of {mute:#?}");
    assert!(asked > 100, "{asked} fields only");
}

/// Whether a manual has a line of the field and words below it. A field without any is followed by
/// `<no description>`.
fn describes(manual: &str, field: &str) -> bool {
    let mut lines = manual.lines().map(str::trim).skip_while(|line| !line.starts_with(&format!("{field}\t")));
    let found = lines.next().is_some();
    let words = lines.find(|line| !line.is_empty() && !line.starts_with("enum:"));
    found && words.is_some_and(|words| words.len() > 5 && words != "<no description>")
}

#[tokio::test]
async fn kubectl_get_shows_what_matters_by_every_name_of_a_kind() {
    let cluster = Cluster::shared().unwrap();
    cluster.install_definitions().unwrap();
    let namespace = cluster.namespace("columns").unwrap();
    let client = cluster.client().await.unwrap();
    for kind in KINDS {
        let mut object = full(kind);
        object["metadata"]["name"] = json!(namespace.name());
        let api = api(&client, namespace.name(), kind);
        create(&api, &object, false).await.unwrap();
        let mut status = json!({"status": object["status"]});
        status["status"]["conditions"] = json!([
            condition("Accepted", "True", "Accepted", "All of it is valid."),
            condition("Ready", "False", "SecretNotFound", WRONG),
        ]);
        api.patch_status(namespace.name(), &Default::default(), &kube::api::Patch::Merge(&status))
            .await
            .unwrap();
    }
    let get = |what: &str, form: &str| {
        let all = cluster.kubectl(&["get", what, "-n", namespace.name(), "-o", form]).unwrap();
        let of_test = |line: &&str| line.starts_with("NAME ") || line.contains(namespace.name());
        all.lines().filter(of_test).map(words).collect::<Vec<_>>()
    };
    let name = namespace.name();
    for (kind, columns, row) in [
        ("nxt", "NAME READY REASON ACKNOWLEDGED AGE", format!("{name} False SecretNotFound 2/3 …")),
        (
            "nxm",
            "NAME TENANT LIST CHANNEL DIRECTION ACCEPTED READY AGE",
            format!("{name} acme 901 C024BE91L toSlack True False …"),
        ),
        ("nxa", "NAME TENANT ROLE ONLINE PRESENCE SEEN READY AGE", format!("{name} acme engineer …")),
        (
            "nxp",
            "NAME STOP ENGAGEMENT ACKNOWLEDGED READY SEVERED LAST BYTE MS REASON AGE",
            format!("{name} false 0a1b2c3d-7 3/3 False 10000 41 drill …"),
        ),
    ] {
        let shown = get(kind, "");
        assert_eq!(shown[0], columns, "{kind}");
        assert!(shown[1].starts_with(row.trim_end_matches('…')), "{kind}: {shown:?}");
        // The words go with what they are shown beside.
        let wide = get(kind, "wide");
        assert!(wide[0].ends_with(" MESSAGE") && wide[1].ends_with(WRONG), "{kind}: {wide:?}");
    }
    // All of them at once, by their category.
    let all = cluster.kubectl(&["get", "nexus", "-n", name, "-o", "name"]).unwrap();
    for kind in KINDS {
        assert!(all.to_lowercase().contains(&kind.to_lowercase()), "{kind} is missing in {all}");
    }
    cluster.kubectl(&["delete", "nxp", name]).unwrap();
}

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({
        "type": kind, "status": status, "reason": reason, "message": message, "observedGeneration": 1,
        "lastTransitionTime": "2026-01-02T03:04:05Z",
    })
}

fn words(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}
