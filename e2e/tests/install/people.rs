//! What people may by the ClusterRoles for them, to which nobody is bound before an admin does that.

use std::time::{Duration, Instant};

use nexus_e2e::cluster::Cluster;

use crate::installed::installed;

/// The API server's controllers and its authorizer take a ClusterRole up by themselves, within so long.
const PATIENCE: Duration = Duration::from_secs(30);

fn bind(cluster: &Cluster, role: &str, who: &str) {
    let name = format!("{who}-{role}");
    cluster.kubectl(&["create", "clusterrolebinding", &name, "--clusterrole", role, "--user", who]).unwrap();
}

/// Whether somebody may use a verb on the stop switch.
fn may(cluster: &Cluster, who: &str, verb: &str) -> bool {
    // It says no by its exit status, too.
    cluster.kubectl(&["auth", "can-i", verb, "nexuspolicies.nexus.dev/stop-all", "--as", who]).is_ok()
}

fn awaits(cluster: &Cluster, who: &str, verb: &str) {
    let began = Instant::now();
    while !may(cluster, who, verb) {
        assert!(began.elapsed() < PATIENCE, "{who} may not {verb}");
    }
}

/// The commands are those of `config/README.md`.
#[test]
fn whoever_is_on_call_stops_and_takes_it_back() {
    let (cluster, _) = installed();
    bind(cluster, "nexus-release", "ann");
    awaits(cluster, "ann", "release");
    let patch = |spec: &str| {
        let patch = format!(r#"{{"spec":{spec}}}"#);
        cluster.kubectl(&["patch", "nexuspolicy", "stop-all", "--type", "merge", "-p", &patch, "--as", "ann"])
    };
    let get = |path: &str| {
        let columns = format!("jsonpath={{{path}}}");
        cluster.kubectl(&["get", "nexuspolicy", "stop-all", "-o", &columns, "--as", "ann"]).unwrap()
    };
    patch(r#"{"stop":true}"#).unwrap();
    // No operator runs here: this is what one writes.
    let engagement = format!("{}-{}", &get(".metadata.uid")[..8], get(".metadata.generation"));
    let status = format!(r#"{{"status":{{"engagement":"{engagement}"}}}}"#);
    let write = ["patch", "nexuspolicy", "stop-all", "--subresource=status", "--type=merge", "-p", &status];
    cluster.kubectl(&write).unwrap();
    let name = get(".status.engagement");
    // In two steps it is refused, and by an edit it has got another name.
    patch(r#"{"stop":null}"#).unwrap_err();
    patch(&format!(r#"{{"stop":null,"release":"{name}"}}"#)).unwrap();
    assert_eq!(get(".spec.stop"), "");
    for verb in ["create", "delete"] {
        assert!(!may(cluster, "ann", verb), "{verb}");
    }
}

#[test]
fn whoever_may_look_at_a_cluster_sees_the_objects_of_nexus() {
    let (cluster, _) = installed();
    bind(cluster, "view", "bob");
    awaits(cluster, "bob", "list");
    for what in ["nexuspolicies", "tenants", "mappings", "agentprofiles"] {
        cluster.kubectl(&["get", what, "-A", "--as", "bob"]).unwrap();
    }
    for verb in ["patch", "update", "delete", "release"] {
        assert!(!may(cluster, "bob", verb), "{verb}");
    }
}
