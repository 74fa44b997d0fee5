use std::fs;
use std::path::PathBuf;

use super::*;

fn args(path: impl Into<PathBuf>) -> RbacArgs {
    RbacArgs {
        path: path.into(),
        namespaces: Vec::new(),
        own_credentials: false,
        operator_namespace: "nexus-system".to_owned(),
    }
}

fn written(text: &str) -> (tempfile::TempDir, RbacArgs) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("acme.yaml");
    fs::write(&path, text).unwrap();
    (folder, args(path))
}

const TENANT: &str = "apiVersion: nexus.dev/v1alpha1
kind: Tenant
metadata: {name: acme, namespace: acme}
spec: {sources: [{name: github, provider: github, secretRef: {name: webhooks, key: github}}]}
";

const PROFILE: &str = "---
apiVersion: nexus.dev/v1alpha1
kind: AgentProfile
metadata: {name: coder, namespace: acme}
spec: {tenant: acme, displayName: Coder, role: engineer, owner: ann@acme.example}
";

#[test]
fn the_quickstart_has_its_role_beside_it() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let folder = examples.join("quickstart");
    let now = yaml(&manifests(&args(&folder)).unwrap()).unwrap();
    let golden = folder.join("rbac.yaml.golden");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, &now).unwrap();
    }
    let before = fs::read_to_string(&golden).unwrap_or_default();
    assert!(now == before, "{} is stale: run `just update`", golden.display());
}

/// A rule without `resourceNames` would be one for all objects.
#[test]
fn no_rule_but_that_of_creation_goes_without_names() {
    let (_folder, mut args) = written(TENANT);
    let verbs = |role: &Value| -> Vec<Value> {
        role["rules"].as_array().unwrap().iter().map(|rule| rule["verbs"].clone()).collect()
    };
    // No agent, so no credentials to make, and nothing to scale.
    let alone = manifests(&args).unwrap();
    assert_eq!(verbs(&alone[0]), [json!(["get", "list", "watch"])]);
    assert_eq!(alone[0]["rules"][0]["resourceNames"], json!(["webhooks"]));
    fs::write(&args.path, format!("{TENANT}{PROFILE}")).unwrap();
    let agent = manifests(&args).unwrap();
    assert_eq!(verbs(&agent[0]), [json!(["get", "list", "watch"]), json!(["create"])]);
    assert_eq!(agent[0]["rules"][0]["resourceNames"], json!(["coder-nexus-agent", "webhooks"]));
    args.own_credentials = true;
    assert_eq!(verbs(&manifests(&args).unwrap()[0]), [json!(["get", "list", "watch"])]);
}

#[test]
fn what_is_incomplete_or_broken_gives_no_role() {
    let said = |text: &str| {
        let (_folder, args) = written(text);
        format!("{:#}", manifests(&args).unwrap_err())
    };
    assert!(said(PROFILE.trim_start_matches("---\n")).contains("AgentProfile acme/coder"));
    let broken = said(&TENANT.replace("secretRef", "secretReef"));
    assert!(broken.contains("acme.yaml:4") && broken.contains("secretReef"), "{broken}");
    assert!(said("").contains("has no Tenant"));
    let nowhere = format!("{:#}", manifests(&args("/nowhere.yaml")).unwrap_err());
    assert!(nowhere.contains("cannot read /nowhere.yaml"), "{nowhere}");
}

#[test]
fn each_namespace_has_its_own_and_others_can_be_left_out() {
    let other = TENANT.replace("namespace: acme", "namespace: other").replace("webhooks", "others");
    let (_folder, mut args) = written(&format!("{TENANT}---\n{other}"));
    let places = |args: &RbacArgs| -> Vec<String> {
        let manifests = manifests(args).unwrap();
        manifests.iter().map(|one| format!("{}/{}", one["kind"], one["metadata"]["namespace"])).collect()
    };
    assert_eq!(places(&args).len(), 4);
    args.namespaces = vec!["other".to_owned()];
    assert_eq!(places(&args), [r#""Role"/"other""#, r#""RoleBinding"/"other""#]);
    args.operator_namespace = "traffic".to_owned();
    assert_eq!(manifests(&args).unwrap()[1]["subjects"][0]["namespace"], "traffic");
    args.namespaces = vec!["nobody".to_owned()];
    let said = format!("{:#}", manifests(&args).unwrap_err());
    assert!(said.contains("`nobody`") && said.contains("acme, other"), "{said}");
}
