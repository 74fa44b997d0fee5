//! The stop as a latch, at a real API server with the policies of `config/admission`: what is weaker than an engaged stop is
//! refused, whoever asks and however; naming it, with the right to, ends it.
//!
//! A process of its own: the policies would get in the way of tests that change NexusPolicies at will.

#![expect(clippy::unwrap_used, reason = "a failed step is the test's report")]

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nexus_e2e::cluster::{Cluster, repository};

/// The API server takes the policies up by itself, within so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who may change NexusPolicies in every way, and has not the verb `release`.
const EDITOR: &str = "nexuspolicy-editor";

/// The cluster with definitions, admission policies, `stop-all` and an editor.
fn cluster() -> &'static Cluster {
    static READY: OnceLock<&'static Cluster> = OnceLock::new();
    READY.get_or_init(|| {
        let cluster = Cluster::shared().unwrap();
        cluster.install_definitions().unwrap();
        apply(cluster, &["--server-side", "--field-manager", "nexus-e2e"]).unwrap();
        let verbs = "--verb=get,list,watch,create,update,patch,delete";
        // Where an earlier run left them, they are there.
        let _ =
            cluster.kubectl(&["create", "clusterrole", EDITOR, verbs, "--resource=nexuspolicies.nexus.dev"]);
        let _ = cluster.kubectl(&[
            "create",
            "clusterrolebinding",
            EDITOR,
            "--clusterrole",
            EDITOR,
            "--user",
            EDITOR,
        ]);
        let began = Instant::now();
        while cluster.kubectl(&["delete", "nexuspolicy", "stop-all", "--dry-run=server"]).is_ok() {
            assert!(began.elapsed() < PATIENCE, "the API server does not take the policies up");
        }
        cluster
    })
}

fn apply(cluster: &Cluster, how: &[&str]) -> anyhow::Result<String> {
    let folder = repository().join("config/admission");
    let folder = ["apply", "-k", folder.to_str().unwrap()];
    cluster.kubectl(&[&folder, how].concat())
}

/// Runs kubectl, which must succeed.
fn say(cluster: &Cluster, words: &[&str]) -> String {
    cluster.kubectl(words).unwrap()
}

/// A policy of one test, engaged. Names are unique: policies have no namespace.
struct Stop {
    cluster: &'static Cluster,
    name: String,
}

impl Stop {
    fn engaged(test: &str, spec: &str) -> Self {
        let cluster = cluster();
        let name = format!("{test}-{:06x}", rand::random_range(0..0x100_0000));
        let stop = Self { cluster, name };
        let file = tempfile::NamedTempFile::new().unwrap();
        let object = format!(
            r#"{{"apiVersion": "nexus.dev/v1alpha1", "kind": "NexusPolicy", "metadata": {{"name": "{}"}}, "spec": {spec}}}"#,
            stop.name
        );
        std::fs::write(file.path(), object).unwrap();
        say(cluster, &["create", "-f", file.path().to_str().unwrap()]);
        stop.patch(&[], r#"{"stop": true}"#).unwrap();
        stop
    }

    fn patch(&self, who: &[&str], spec: &str) -> anyhow::Result<String> {
        let patch = format!(r#"{{"spec": {spec}}}"#);
        let words = ["patch", "nexuspolicy", &self.name, "--type", "merge", "-p", &patch];
        self.cluster.kubectl(&[&words, who].concat())
    }

    fn get(&self, path: &str) -> String {
        say(self.cluster, &["get", "nexuspolicy", &self.name, "-o", &format!("jsonpath={{{path}}}")])
    }

    fn engagement(&self) -> String {
        format!("{}-{}", &self.get(".metadata.uid")[..8], self.get(".metadata.generation"))
    }

    /// A change that is refused in these words, and changes nothing.
    fn refuses(&self, who: &[&str], spec: &str, words: &str) {
        let before = self.get(".spec");
        let refusal = format!("{:#}", self.patch(who, spec).expect_err(spec));
        assert!(refusal.contains(words), "{spec}: {refusal}");
        assert_eq!(self.get(".spec"), before, "{spec}");
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        let there =
            self.cluster.kubectl(&["get", "nexuspolicy", &self.name, "-o", "name", "--ignore-not-found"]);
        if there.is_ok_and(|there| there.is_empty()) {
            return;
        }
        let _ = self.patch(&[], &format!(r#"{{"stop": null, "release": "{}"}}"#, self.engagement()));
        let _ = self.cluster.kubectl(&["delete", "nexuspolicy", &self.name]);
    }
}

#[test]
fn what_is_weaker_than_an_engaged_stop_is_refused() {
    let tenants =
        r#"{"tenants": [{"namespace": "acme", "name": "acme"}, {"namespace": "acme", "name": "shop"}]}"#;
    let stop = Stop::engaged("weaker", &format!(r#"{{"targets": {tenants}}}"#));
    let engaged = format!("the stop {} is engaged", stop.engagement());
    for taken_back in [r#"{"stop": false}"#, r#"{"stop": null}"#] {
        stop.refuses(&[], taken_back, &engaged);
        stop.refuses(&[], taken_back, &format!("set `release: {}`", stop.engagement()));
    }
    stop.refuses(&[], r#"{"mirror": "run"}"#, &format!("{engaged} with `mirror: pause`"));
    stop.refuses(&[], r#"{"workloads": "keep"}"#, &format!("{engaged} with `workloads: scaleToZero`"));
    for narrowed in [
        r#"{"targets": {"tenants": [{"namespace": "acme", "name": "acme"}]}}"#,
        r#"{"targets": {"agents": {"matchLabels": {"squad": "ai"}}}}"#,
    ] {
        stop.refuses(&[], narrowed, "targets can only widen");
    }
    // What stops more is welcome.
    stop.patch(&[], r#"{"reason": "two at once", "targets": null}"#).unwrap();
    assert_eq!(stop.get(".spec.targets"), "");
}

#[test]
fn a_release_needs_the_name_of_the_engagement_and_the_right() {
    let stop = Stop::engaged("release", "{}");
    let editor = ["--as", EDITOR];
    let older = stop.engagement();
    stop.patch(&[], r#"{"reason": "renewed"}"#).unwrap();
    let (name, right) = (stop.engagement(), "by somebody with the RBAC verb `release`");
    assert_ne!(older, name);
    let release = |named: &str| format!(r#"{{"stop": null, "release": "{named}"}}"#);
    stop.refuses(&editor, &release(&name), right);
    stop.refuses(&[], &release(&older), &name);
    stop.refuses(&[], &release("00000000-1"), &name);
    // The name alone releases nothing, and what it was set by is an engagement of its own.
    stop.patch(&[], &format!(r#"{{"release": "{name}"}}"#)).unwrap();
    stop.refuses(&[], r#"{"stop": null}"#, &stop.engagement());
    let now = stop.engagement();
    stop.patch(&[], &release(&now)).unwrap();
    assert_eq!(stop.get(".spec.stop"), "");
    // Whoever may edit may stop again, and has no right to end it then either.
    stop.patch(&editor, r#"{"stop": true}"#).unwrap();
    stop.refuses(&editor, &release(&stop.engagement()), right);
}

#[test]
fn a_stop_is_not_ended_by_deletion() {
    let stop = Stop::engaged("deletion", "{}");
    let cluster = stop.cluster;
    let refused = |words: &[&str]| format!("{:#}", cluster.kubectl(words).unwrap_err());
    let engaged = refused(&["delete", "nexuspolicy", &stop.name]);
    assert!(engaged.contains("to delete it would release nothing"), "{engaged}");
    let all = refused(&["delete", "nexuspolicy", "stop-all"]);
    assert!(all.contains("is never deleted"), "{all}");
    for kind in ["nexuspolicies", "tenants", "agentprofiles", "mappings"] {
        let definition = refused(&["delete", "crd", &format!("{kind}.nexus.dev")]);
        assert!(definition.contains("the stop switch"), "{definition}");
    }
    stop.patch(&[], &format!(r#"{{"stop": null, "release": "{}"}}"#, stop.engagement())).unwrap();
    say(cluster, &["delete", "nexuspolicy", &stop.name]);
}

/// A request to delete a collection names nothing; only what it finds has names.
#[test]
fn nothing_is_deleted_with_a_collection_either() {
    let cluster = cluster();
    let delete = |collection: &str, name: &str| {
        // Nothing happens where it is not refused.
        let path = format!("/apis/{collection}?dryRun=All&fieldSelector=metadata.name%3D{name}");
        cluster.kubectl(&["delete", "--raw", &path])
    };
    let definitions = "apiextensions.k8s.io/v1/customresourcedefinitions";
    for kind in ["nexuspolicies", "tenants", "agentprofiles", "mappings"] {
        let refused = format!("{:#}", delete(definitions, &format!("{kind}.nexus.dev")).unwrap_err());
        assert!(refused.contains("the stop switch"), "{refused}");
    }
    let all = format!("{:#}", delete("nexus.dev/v1alpha1/nexuspolicies", "stop-all").unwrap_err());
    assert!(all.contains("is never deleted"), "{all}");
    // What others define is theirs.
    let (group, plural) = (format!("g{:06x}.example", rand::random_range(0..0x100_0000)), "widgets");
    let name = format!("{plural}.{group}");
    let definition = format!(
        r#"{{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {{"name": "{name}"}},
        "spec": {{"group": "{group}", "scope": "Cluster", "names": {{"kind": "Widget", "plural": "{plural}"}}, "versions": [
        {{"name": "v1", "served": true, "storage": true, "schema": {{"openAPIV3Schema": {{"type": "object"}}}}}}]}}}}"#
    );
    cluster.kubectl_on(&["create", "-f", "-"], &definition).unwrap();
    delete(definitions, &name).unwrap();
    say(cluster, &["delete", "crd", &name]);
}

#[test]
fn the_manifest_applied_again_leaves_the_stop_engaged() {
    let cluster = cluster();
    let stop = Stop { cluster, name: "stop-all".to_owned() };
    stop.patch(&[], r#"{"stop": true}"#).unwrap();
    for how in [
        &["--server-side", "--field-manager", "nexus-e2e"][..],
        &["--server-side", "--field-manager", "another", "--force-conflicts"],
        &[],
    ] {
        apply(cluster, how).unwrap();
        assert_eq!(stop.get(".spec.stop"), "true", "{how:?}");
    }
}
