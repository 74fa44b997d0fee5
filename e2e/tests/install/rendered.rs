//! Every folder renders and is accepted without a remark; pods run restricted; no right is a wildcard.

use std::fs;

use nexus_e2e::cluster::{Cluster, repository};
use serde_json::Value;

use crate::installed::{folder, installed};

/// The folders that `kubectl apply -k` takes.
fn folders() -> Vec<String> {
    let entries = fs::read_dir(repository().join("config")).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<_> = entries.filter(|path| path.join("kustomization.yaml").exists()).collect();
    folders.sort();
    folders.iter().map(|path| path.to_str().unwrap().to_owned()).collect()
}

/// The objects of a folder as kubectl renders them.
pub(crate) fn objects(cluster: &Cluster, folder: &str) -> Vec<Value> {
    let text = cluster.kubectl(&["kustomize", folder]).unwrap();
    serde_saphyr::from_multiple::<Value>(&text).unwrap()
}

#[test]
fn every_folder_is_accepted_without_a_remark() {
    let (cluster, said) = installed();
    assert!(!said.contains("Warning"), "{said}");
    let folders = folders();
    assert!(folders.len() >= 8, "{folders:?}");
    for folder in folders {
        let dry = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "-k", &folder];
        let (_, said) = cluster.kubectl_on(&dry, "").unwrap();
        assert!(!said.contains("Warning"), "{folder}: {said}");
    }
    // What is compiled by the API server may be taken and still be nonsense.
    let checked = "jsonpath={.items[*].status.typeChecking.expressionWarnings}";
    let warnings = cluster.kubectl(&["get", "validatingadmissionpolicies", "-o", checked]).unwrap();
    assert_eq!(warnings, "");
}

/// A workload's object is always taken; whether its pods are shows only when a controller makes them.
#[test]
fn pods_of_every_workload_are_made_where_only_restricted_ones_are() {
    let (cluster, _) = installed();
    for workload in [
        "deployment/nexus-operator",
        "statefulset/nexus-ingest",
        "deployment/nexus-gateway",
        "statefulset/nexus-redis",
    ] {
        let replicas = cluster
            .kubectl(&["get", workload, "-n", "nexus-system", "-o", "jsonpath={.spec.replicas}"])
            .unwrap();
        let made = format!("--for=jsonpath={{.status.replicas}}={replicas}");
        cluster.kubectl(&["wait", workload, "-n", "nexus-system", &made, "--timeout=60s"]).unwrap();
    }
    let other = ["run", "other", "--image=x", "-n", "nexus-system", "--dry-run=server"];
    let refused = cluster.kubectl(&other).unwrap_err().to_string();
    assert!(refused.contains("PodSecurity \"restricted"), "{refused}");
}

/// Where Redis has no bound of its own, or one at its container's limit, a backlog ends in the kernel's killing it, over and over.
#[test]
fn redis_refuses_long_before_its_container_is_full() {
    let (cluster, _) = installed();
    let objects = objects(cluster, &folder("config/redis"));
    let of = |kind: &str| objects.iter().find(|one| one["kind"] == kind).unwrap();
    let lines = of("ConfigMap")["data"]["redis.conf"].as_str().unwrap().lines();
    let maxmemory: Vec<_> = lines.filter_map(|line| line.strip_prefix("maxmemory ")).collect();
    // As Redis counts them.
    let [maxmemory] = maxmemory[..] else { panic!("{maxmemory:?}") };
    let maxmemory: u64 = maxmemory.strip_suffix("mb").unwrap().parse().unwrap();
    let container = &of("StatefulSet")["spec"]["template"]["spec"]["containers"][0];
    let limit = container["resources"]["limits"]["memory"].as_str().unwrap();
    let limit: u64 = limit.strip_suffix("Gi").unwrap().parse().unwrap();
    assert!(maxmemory >= 512 && maxmemory * 3 <= limit * 1024 * 2, "{maxmemory} MiB of {limit} GiB");
}

/// A volume with a sizeLimit on a disk evicts its pod when it is full, and with the pod goes every emptyDir of it.
#[test]
fn nothing_that_a_gateway_writes_can_evict_it_from_its_latch() {
    let (cluster, _) = installed();
    let objects = objects(cluster, &folder("config/gateway"));
    let pod = objects.iter().find(|one| one["kind"] == "Deployment").unwrap();
    let pod = &pod["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(container["resources"]["limits"].get("ephemeral-storage"), None);
    let volume = |setting: &str| {
        let env = container["env"].as_array().unwrap();
        let path = env.iter().find(|one| one["name"] == setting).unwrap()["value"].as_str().unwrap();
        let mounts = container["volumeMounts"].as_array().unwrap();
        let mount = mounts.iter().find(|mount| path.starts_with(mount["mountPath"].as_str().unwrap()));
        let name = &mount.unwrap()["name"];
        pod["volumes"].as_array().unwrap().iter().find(|volume| volume["name"] == *name).unwrap()
    };
    let (latch, configuration) = (volume("NEXUS_DATA"), volume("NEXUS_LAST_GOOD"));
    assert_ne!(latch["name"], configuration["name"]);
    assert_eq!(latch["emptyDir"], serde_json::json!({}));
    // In memory the limit is the file system's size.
    assert_eq!(configuration["emptyDir"]["medium"], "Memory");
    assert!(configuration["emptyDir"]["sizeLimit"].is_string());
}

#[test]
fn no_reconciler_takes_away_the_definitions_or_the_stop() {
    let (cluster, _) = installed();
    let mut objects = ["config/crd", "config/admission"].map(|name| objects(cluster, &folder(name))).concat();
    objects.retain(|object| {
        let kept = &object["metadata"]["annotations"];
        let flux = kept["kustomize.toolkit.fluxcd.io/prune"] == "disabled";
        !flux || kept["argocd.argoproj.io/sync-options"] != "Prune=false,Delete=false"
    });
    assert!(objects.is_empty(), "{objects:#?}");
}

#[test]
fn no_right_is_a_wildcard() {
    let (cluster, _) = installed();
    let mut objects = objects(cluster, &folder("config/default"));
    let tenant = fs::read_to_string(repository().join("examples/quickstart/rbac.yaml.golden")).unwrap();
    objects.extend(serde_saphyr::from_multiple::<Value>(&tenant).unwrap());
    let mut rules = 0;
    for role in objects.iter().filter(|one| one["kind"] == "Role" || one["kind"] == "ClusterRole") {
        assert_eq!(role.get("aggregationRule"), None, "{role}");
        for rule in role["rules"].as_array().unwrap() {
            assert!(!rule.to_string().contains('*'), "{}: {rule}", role["metadata"]["name"]);
            assert_eq!(rule.get("nonResourceURLs"), None, "{rule}");
            // Empty names would be all names.
            assert_ne!(rule.get("resourceNames").and_then(Value::as_array).map(Vec::len), Some(0), "{rule}");
            rules += 1;
        }
    }
    assert!(rules > 10, "{rules} rules only");
}

#[test]
fn the_image_has_the_version_of_the_program() {
    let (cluster, _) = installed();
    let text = cluster.kubectl(&["kustomize", &folder("config/default")]).unwrap();
    let images: Vec<_> = text.lines().filter_map(|line| line.trim().strip_prefix("image: nexus:")).collect();
    assert_eq!(images, [env!("CARGO_PKG_VERSION"); 3]);
    let containerfile = fs::read_to_string(repository().join("Containerfile")).unwrap();
    let toolchain = fs::read_to_string(repository().join("rust-toolchain.toml")).unwrap();
    let version = toolchain.lines().find_map(|line| line.strip_prefix("channel = \"")).unwrap();
    assert!(containerfile.contains(&format!("FROM rust:{}-", version.trim_end_matches('"'))), "{version}");
}

/// Whoever applies the quickstart over an installation would else take from the switch what keeps reconcilers off it.
#[test]
fn the_quickstart_has_the_switch_that_is_shipped() {
    let read = |path| {
        let text = fs::read_to_string(repository().join(path)).unwrap();
        serde_saphyr::from_str::<Value>(&text).unwrap()
    };
    assert_eq!(read("examples/quickstart/policy.yaml"), read("config/admission/stop-all.yaml"));
}
