//! From a NexusPolicy to what the stop latch sees of it.

use nexus_core::id::TenantKey;
use nexus_core::stop::{Mirror, Policy, Targets, Workloads};
use nexus_crds::NexusPolicySpec;
use nexus_crds::nexuspolicy as crd;
use serde::Deserialize as _;
use serde_json::Value;

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

/// The spec of a NexusPolicy as far as it can be read, and what cannot. The definition at the API server may be newer than this
/// program, or older, or somebody else's. One that cannot be read and orders a stop means everybody, and it never releases
/// anything.
#[must_use]
pub fn policy_spec(raw: &Value) -> (NexusPolicySpec, Option<String>) {
    match NexusPolicySpec::deserialize(raw) {
        Ok(spec) => (spec, None),
        Err(error) => {
            // The name of an engagement may stand there since before the stop, which the latch has to know.
            let text = |key: &str| raw[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
            let (release, reason) = (text("release"), text("reason"));
            let stop = NexusPolicySpec { stop: Some(true), release, reason, ..NexusPolicySpec::default() };
            let spec = if orders_stop(raw) { stop } else { NexusPolicySpec::default() };
            (spec, Some(error.to_string()))
        }
    }
}

/// Whoever writes `stop: "true"` wants no less, where the definition lets it pass.
fn orders_stop(spec: &Value) -> bool {
    !matches!(spec["stop"], Value::Null | Value::Bool(false))
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
