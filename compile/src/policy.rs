//! From a NexusPolicy to what the stop latch sees of it.

use nexus_core::id::TenantKey;
use nexus_core::stop::{Mirror, Policy, Targets, Workloads};
use nexus_crds::NexusPolicySpec;
use nexus_crds::nexuspolicy as crd;

use crate::selector;

/// A NexusPolicy as the latch sees it. What of its targets cannot be read means everybody: of two readings of
/// a stop, the one that stops more.
#[must_use]
pub fn policy(name: &str, uid: &str, generation: u64, spec: &NexusPolicySpec) -> Policy {
    Policy {
        name: name.to_owned(),
        uid: uid.to_owned(),
        generation,
        stop: spec.stop == Some(true),
        release: spec.release.clone(),
        reason: spec.reason.clone(),
        targets: spec.targets.as_ref().map(targets).unwrap_or_default(),
        workloads: match spec.workloads {
            crd::Workloads::ScaleToZero => Workloads::ScaleToZero,
            crd::Workloads::Keep => Workloads::Keep,
        },
        mirror: match spec.mirror {
            crd::Mirror::Pause => Mirror::Pause,
            crd::Mirror::Run => Mirror::Run,
        },
    }
}

fn targets(targets: &crd::Targets) -> Targets {
    let tenants = targets.tenants.iter().map(|tenant| TenantKey::new(&tenant.namespace, &tenant.name));
    let agents = targets.agents.as_ref().map(selector);
    Targets {
        tenants: tenants.collect::<Result<_, _>>().unwrap_or_default(),
        agents: agents.and_then(Result::ok).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn targets_that_cannot_be_read_mean_everybody() {
        for targets in [
            json!({"tenants": [{"namespace": "a/b", "name": "c"}, {"namespace": "a", "name": "b"}]}),
            json!({"agents": {"matchExpressions": [{"key": "squad", "operator": "Within"}]}}),
        ] {
            let spec = serde_json::from_value(json!({"stop": true, "targets": targets})).unwrap();
            assert!(policy("p", "u", 1, &spec).targets.everybody());
        }
        let spec = json!({"targets": {"agents": {"matchLabels": {"squad": "ai"}}}});
        assert!(!policy("p", "u", 1, &serde_json::from_value(spec).unwrap()).targets.everybody());
    }
}
