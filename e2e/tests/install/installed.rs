//! A whole Nexus at an API server of this process's own, and a tenant beside it.

use std::fs;
use std::sync::OnceLock;

use nexus_e2e::cluster::{Cluster, repository};

/// The path of a folder of the repository.
pub(crate) fn folder(name: &str) -> String {
    repository().join(name).to_str().unwrap().to_owned()
}

/// The cluster, where `config/default` is applied; what the API server had to remark is beside it. The tenant of the quickstart
/// has the Role that `nexus rbac` prints for it.
pub(crate) fn installed() -> (&'static Cluster, &'static str) {
    static INSTALLED: OnceLock<(Cluster, String)> = OnceLock::new();
    let (cluster, said) = INSTALLED.get_or_init(|| {
        let cluster = Cluster::own().unwrap();
        cluster.install_definitions().unwrap();
        let whole = folder("config/default");
        let apply = ["apply", "--server-side", "--force-conflicts", "-k", &whole];
        let (_, said) = cluster.kubectl_on(&apply, "").unwrap();
        for namespace in ["acme", "bystander"] {
            cluster.kubectl(&["create", "namespace", namespace]).unwrap();
        }
        let role = fs::read_to_string(repository().join("examples/quickstart/rbac.yaml.golden")).unwrap();
        cluster.kubectl_on(&["apply", "--server-side", "-f", "-"], &role).unwrap();
        (cluster, said)
    });
    (cluster, said.as_str())
}
