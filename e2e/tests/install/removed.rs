//! The removal of it all, in the order of `config/README.md`: what keeps the stop and the definitions goes first.

use std::time::{Duration, Instant};

use nexus_e2e::cluster::Cluster;

use crate::installed::folder;

/// The API server notices by itself that a policy binds nothing any more; then a namespace and its volumes go.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn nothing_is_left_of_it() {
    let cluster = Cluster::own().unwrap();
    cluster.install_definitions().unwrap();
    let whole = folder("config/default");
    cluster.kubectl(&["apply", "--server-side", "--force-conflicts", "-k", &whole]).unwrap();
    let guards = ["nexus-definition-kept", "nexus-stop-kept"];
    cluster.kubectl(&[&["delete", "validatingadmissionpolicybinding"], &guards[..]].concat()).unwrap();
    let began = Instant::now();
    let remove = ["delete", "--ignore-not-found", "--timeout=60s", "-k", &whole];
    while let Err(error) = cluster.kubectl(&remove) {
        assert!(began.elapsed() < PATIENCE, "{error:#}");
    }
    let kinds = "crd,clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings,namespaces";
    let left = cluster.kubectl(&["get", kinds, "-o", "name"]).unwrap();
    let left: Vec<_> = left.lines().filter(|line| line.contains("nexus")).collect();
    assert!(left.is_empty(), "{left:?}");
}
