//! Golden folders: `in/*.yaml` (after `before/*.yaml`, where there is one) gives `snapshot.json` and
//! `conditions.json`. `UPDATE_GOLDEN=1` writes both anew; read the difference before it is committed.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed step is the test's report")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use nexus_compile::{CLIENT_ID, Compiled, ObjectConditions, Previous, SecretData, compile, group};
use nexus_core::id::TenantKey;
use nexus_core::secret::Secret;
use nexus_core::snapshot::Version;
use nexus_crds::{AgentProfile, Mapping, Tenant};
use serde_json::{Value, json};

/// How many cases there are: one that is lost must not go unnoticed.
const CASES: usize = 8;

#[derive(Default)]
struct Input {
    tenants: Vec<Tenant>,
    profiles: Vec<AgentProfile>,
    mappings: Vec<Mapping>,
    secrets: BTreeMap<String, SecretData>,
}

#[derive(Debug, Default)]
struct Output {
    compiled: BTreeMap<TenantKey, Compiled>,
    orphans: Vec<ObjectConditions>,
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} holds nothing", folder.display());
    files
}

fn read(folder: &Path) -> Input {
    let mut input = Input::default();
    for file in files(folder) {
        let text = fs::read_to_string(&file).unwrap();
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        for document in documents {
            match document["kind"].as_str().unwrap() {
                "Tenant" => input.tenants.push(serde_json::from_value(document).unwrap()),
                "AgentProfile" => input.profiles.push(serde_json::from_value(document).unwrap()),
                "Mapping" => input.mappings.push(serde_json::from_value(document).unwrap()),
                "Secret" => {
                    let text = |value: &Value| value.as_str().unwrap().to_owned();
                    let data = document["stringData"].as_object().unwrap();
                    let data = data.iter().map(|(key, value)| (key.clone(), Secret::new(text(value))));
                    input
                        .secrets
                        .entry(text(&document["metadata"]["namespace"]))
                        .or_default()
                        .insert(text(&document["metadata"]["name"]), data.collect());
                }
                other => panic!("{}: kind {other}", file.display()),
            }
        }
    }
    input
}

fn run(input: Input, before: &Output) -> Output {
    let Input { tenants, profiles, mappings, secrets } = input;
    let data = |namespace: &str| secrets.get(namespace).cloned().unwrap_or_default();
    let (groups, orphans) = group(tenants, profiles, mappings, data);
    let compiled = groups.iter().map(|objects| {
        let key = nexus_compile::tenant_key(&objects.tenant).unwrap();
        let previous = before.compiled.get(&key);
        let previous = previous.map_or_else(Previous::default, Compiled::as_previous);
        (key, compile(objects, previous).unwrap())
    });
    Output { compiled: compiled.collect(), orphans }
}

fn snapshots(output: &Output) -> Value {
    let one = |compiled: &Compiled| {
        let signing: BTreeMap<_, _> =
            compiled.signing.iter().map(|(source, secrets)| (source, secrets.len())).collect();
        json!({
            "ingest": compiled.ingest,
            "ingestVersion": Version::of(&compiled.ingest),
            "gateway": compiled.gateway,
            "gatewayVersion": Version::of(&compiled.gateway),
            "signingSecrets": signing,
        })
    };
    output.compiled.values().map(one).collect()
}

fn conditions(output: &Output) -> Value {
    let all = output.compiled.values().flat_map(|compiled| &compiled.conditions).chain(&output.orphans);
    json!(all.collect::<Vec<_>>())
}

fn check(file: &Path, actual: &Value) {
    let actual = format!("{actual:#}\n");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(file, actual).unwrap();
        return;
    }
    let expected = fs::read_to_string(file)
        .unwrap_or_else(|error| panic!("{}: {error}; UPDATE_GOLDEN=1 writes it", file.display()));
    assert_eq!(expected, actual, "{} differs", file.display());
}

fn no_secret_shows(case: &Path, secrets: &BTreeMap<String, SecretData>, output: &Output) {
    let shown = format!("{}{}{output:?}", snapshots(output), conditions(output));
    let all = secrets.values().flatten().flat_map(|(_, data)| data);
    // A client id is the agent's own id, which everybody may know.
    for (_, secret) in all.filter(|(key, _)| *key != CLIENT_ID) {
        let secret = std::str::from_utf8(secret.expose()).unwrap().trim();
        assert!(secret.len() < 8 || !shown.contains(secret), "{}", case.display());
    }
}

#[test]
fn every_golden_folder_compiles_to_what_it_holds() {
    let cases = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden"));
    assert_eq!(cases.len(), CASES);
    for case in cases {
        let before = case.join("before");
        let before = if before.exists() { run(read(&before), &Output::default()) } else { Output::default() };
        let input = read(&case.join("in"));
        let secrets = input.secrets.clone();
        let output = run(input, &before);
        no_secret_shows(&case, &secrets, &output);
        check(&case.join("snapshot.json"), &snapshots(&output));
        check(&case.join("conditions.json"), &conditions(&output));
    }
}
