//! A NexusPolicy of an API server, read as far as it can be.
//!
//! The definition at the API server may be newer than this program, or older, or somebody else's. An object that cannot be
//! read hides no other; if it orders a stop it means everybody, and it never releases anything.

use nexus_core::stop::Policy;
use serde_json::Value;

/// What stands in place of a name or a uid where there is none, which no API server does.
const NONE: &str = "unnamed";

/// An object as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// What the latch sees.
    pub policy: Policy,
    /// At which revision of the API server's store it was written; none if that is no number.
    pub revision: Option<u64>,
    /// What of it cannot be read.
    pub complaint: Option<String>,
}

/// Reads an object.
pub fn read(object: &Value) -> Read {
    let metadata = &object["metadata"];
    let name = text(metadata, "name").unwrap_or_else(|| NONE.to_owned());
    let uid = text(metadata, "uid").unwrap_or_else(|| name.clone());
    let generation = metadata["generation"].as_u64();
    let (spec, wrong) = nexus_compile::policy_spec(&object["spec"]);
    let complaint = match wrong {
        Some(wrong) => Some(wrong),
        None => generation.is_none().then(|| "it has no generation".to_owned()),
    };
    let policy = nexus_compile::policy(&name, &uid, generation.unwrap_or_default(), &spec);
    Read { policy, revision: revision(metadata), complaint }
}

/// The revision of a list's or an object's metadata. Kubernetes' are numbers that grow, whatever the kind.
pub fn revision(metadata: &Value) -> Option<u64> {
    metadata["resourceVersion"].as_str()?.parse().ok()
}

fn text(value: &Value, key: &str) -> Option<String> {
    value[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use nexus_core::stop::{Mirror, Workloads};
    use serde_json::json;

    use super::*;

    fn object(spec: &Value) -> Value {
        let metadata = json!({
            "name": "stop-all", "uid": "1f2e3d4c-0000", "generation": 3, "resourceVersion": "41",
        });
        json!({"metadata": metadata, "spec": spec})
    }

    #[test]
    fn what_can_be_read_is_read_as_it_stands() {
        let tenants = json!([{"namespace": "acme", "name": "acme"}]);
        let spec = json!({"stop": true, "targets": {"tenants": tenants}, "mirror": "run", "since": "v9"});
        let Read { policy, revision, complaint } = read(&object(&spec));
        assert_eq!((policy.name.as_str(), policy.uid.as_str()), ("stop-all", "1f2e3d4c-0000"));
        assert_eq!((policy.generation, revision, complaint), (3, Some(41), None));
        assert!(policy.stop && !policy.targets.everybody() && policy.mirror == Mirror::Run);
        assert!(!read(&object(&json!({}))).policy.stop);
    }

    #[test]
    fn a_stop_that_cannot_be_read_means_everybody() {
        let readable = json!({"tenants": [{"namespace": "acme", "name": "acme"}]});
        for wrong in [
            json!({"stop": true, "targets": readable, "mirror": "paws"}),
            json!({"stop": true, "targets": readable, "workloads": 7}),
            json!({"stop": true, "targets": "everybody"}),
            json!({"stop": "true", "targets": readable}),
            json!({"stop": {}, "release": "1f2e3d4c-2"}),
        ] {
            let Read { policy, complaint, .. } = read(&object(&wrong));
            assert!(policy.stop && policy.targets.everybody() && complaint.is_some(), "{wrong}");
            assert_eq!((policy.workloads, policy.mirror), (Workloads::ScaleToZero, Mirror::Pause));
            assert_eq!(policy.release.is_some(), wrong.get("release").is_some());
        }
    }

    #[test]
    fn what_cannot_be_read_and_orders_no_stop_releases_none() {
        for wrong in [
            json!({"release": "1f2e3d4c-2", "mirror": "paws"}),
            json!({"stop": false, "release": "1f2e3d4c-2", "reason": []}),
            json!(null),
            json!("stop"),
        ] {
            let Read { policy, complaint, .. } = read(&object(&wrong));
            assert!(!policy.stop && policy.release.is_none() && complaint.is_some(), "{wrong}");
        }
    }

    #[test]
    fn an_object_without_metadata_can_still_stop() {
        let Read { policy, revision, complaint } = read(&json!({"spec": {"stop": true}}));
        assert!(policy.stop && complaint.is_some() && revision.is_none());
        // The name of its engagement must be one that can be read again.
        let name = nexus_core::stop::EngagementName::new(&policy.uid, policy.generation);
        assert_eq!(name.to_string().parse(), Ok(name));
    }
}
