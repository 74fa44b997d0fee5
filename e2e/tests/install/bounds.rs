//! What RBAC cannot say of the operator: which Secrets it may create, and what of a Deployment it may change.

use crate::installed::installed;

const OPERATOR: &str = "--as=system:serviceaccount:nexus-system:nexus-operator";

/// A Secret that the operator creates; what it is refused with, if so.
fn secret(namespace: &str, name: &str, more: &str) -> Option<String> {
    let metadata = format!(r#""metadata": {{"name": "{name}", "namespace": "{namespace}"{more}"#);
    let text = format!(r#"{{"apiVersion": "v1", "kind": "Secret", {metadata}}}"#);
    let create = ["create", "--dry-run=server", OPERATOR, "-f", "-"];
    installed().0.kubectl_on(&create, &text).err().map(|error| error.to_string())
}

#[test]
fn the_operator_creates_no_secret_but_its_own_and_those_of_agents() {
    let owner = |name: &str| {
        format!(
            r#", "ownerReferences": [{{"apiVersion": "nexus.dev/v1alpha1", "kind": "AgentProfile", "name": "{name}", "uid": "1"}}]}}"#
        )
    };
    assert_eq!(secret("acme", "late-nexus-agent", &owner("late")), None);
    assert_eq!(secret("nexus-system", "nexus-operator-tls", "}"), None);
    let token = r#", "annotations": {"kubernetes.io/service-account.name": "default"}}, "type": "kubernetes.io/service-account-token""#;
    let refused = [
        ("acme", "late-nexus-agent", "}".to_owned()),
        ("acme", "late-nexus-agent", owner("other")),
        ("acme", "late", owner("late")),
        ("acme", "late-nexus-agent", token.to_owned()),
        ("acme", "nexus-token-keys", "}".to_owned()),
        ("nexus-system", "nexus-token-keys", token.to_owned()),
        ("nexus-system", "nexus-bus", "}".to_owned()),
    ];
    for (namespace, name, more) in refused {
        let said = secret(namespace, name, &more).unwrap_or_default();
        assert!(
            said.contains("the operator writes its own two Secrets"),
            "{namespace}/{name} {more}: {said}"
        );
    }
    let forbidden = secret("bystander", "late-nexus-agent", &owner("late")).unwrap_or_default();
    assert!(forbidden.contains("cannot create resource \"secrets\""), "{forbidden}");
}

#[test]
fn the_operator_scales_and_changes_nothing_of_what_runs() {
    let (cluster, _) = installed();
    cluster.kubectl(&["create", "deployment", "coder", "-n", "acme", "--image=coder"]).unwrap();
    let patch = |patch: &str| {
        cluster.kubectl(&[
            "patch",
            "deployment",
            "coder",
            "-n",
            "acme",
            OPERATOR,
            "--type=merge",
            "-p",
            patch,
        ])
    };
    patch(r#"{"metadata": {"annotations": {"nexus.dev/held-replicas": "1"}}, "spec": {"replicas": 0}}"#)
        .unwrap();
    let other =
        patch(r#"{"spec": {"template": {"spec": {"containers": [{"name": "coder", "image": "other"}]}}}}"#);
    let said = other.unwrap_err().to_string();
    assert!(said.contains("the operator sets the number of an agent's replicas"), "{said}");
}
