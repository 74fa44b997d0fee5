//! Changes of a Tenant with many Mappings, until every pod holds what follows from it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::ensure;
use indicatif::ProgressBar;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{Settings, Spread};
use crate::operated::{Operated, condition};
use crate::site::PATIENCE;
use crate::webhook::TENANTS;

/// The pods that there are.
const PODS: usize = 3;

/// Mappings that are applied at once.
const AT_ONCE: usize = 200;

/// Changes the Tenant again and again.
pub(super) async fn measure(
    operated: &Operated,
    settings: &Settings,
    progress: &ProgressBar,
) -> anyhow::Result<Option<Spread>> {
    if settings.changes == 0 {
        return Ok(None);
    }
    make_mappings(operated, settings.mappings).await?;
    let client = operated.cluster.client().await?;
    let tenants = ApiResource::from_gvk(&GroupVersionKind::gvk("nexus.dev", "v1alpha1", "Tenant"));
    let tenants: Api<DynamicObject> = Api::namespaced_with(client, TENANTS[0], &tenants);
    let mut took = Vec::with_capacity(settings.changes);
    for number in 0..settings.changes {
        let before = held(operated).await?;
        // Both are of the cut of one role: every pod is given something new.
        let spec = json!({
            "limits": {"heartbeatSeconds": 31 + number % 2}, "retention": {"eventsSeconds": 3600 + number % 2},
        });
        let sent = Instant::now();
        let patch = Patch::Merge(json!({ "spec": spec }));
        tenants.patch(TENANTS[0], &PatchParams::default(), &patch).await?;
        loop {
            let now = held(operated).await?;
            let new = now.iter().filter(|(pod, digest)| before.get(*pod) != Some(digest)).count();
            if new == PODS {
                break;
            }
            ensure!(sent.elapsed() < PATIENCE, "pods hold {now:?}");
            sleep(Duration::from_millis(1)).await;
        }
        took.push(sent.elapsed());
        progress.inc(1);
        // Not in step with anything that ticks.
        sleep(Duration::from_millis(150 + (number as u64 * 37) % 100)).await;
    }
    Ok(Spread::of("change of a Tenant to the answer of 3 pods", took))
}

/// What the operator knows that pods hold of the Tenant.
async fn held(operated: &Operated) -> anyhow::Result<BTreeMap<String, String>> {
    let config = operated.operator_config(0).await?;
    let pods = config["pods"].as_object().into_iter().flatten();
    let ours = pods.filter_map(|(pod, standing)| {
        let role = standing["role"].as_str()?;
        let digest = standing["held"][format!("{role}/{0}/{0}", TENANTS[0])].as_str()?;
        Some((pod.clone(), digest.to_owned()))
    });
    Ok(ours.collect())
}

async fn make_mappings(operated: &Operated, mappings: usize) -> anyhow::Result<()> {
    let mapping = |number: usize| {
        json!({
            "apiVersion": "nexus.dev/v1alpha1", "kind": "Mapping",
            "metadata": {"name": format!("m-{number}"), "namespace": TENANTS[0]},
            "spec": {"tenant": TENANTS[0], "clickupListId": format!("{number}"), "slackChannelId": format!("C{number}")},
        })
    };
    let all: Vec<Value> = (0..mappings).map(mapping).collect();
    for some in all.chunks(AT_ONCE) {
        operated.cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": some}))?;
    }
    // Until every status is written, the operator has other things to do.
    let began = Instant::now();
    while let Some(last) = mappings.checked_sub(1) {
        let last = operated.cluster.get(TENANTS[0], &format!("mapping/m-{last}"))?;
        if condition(&last, "Accepted") == "True" {
            break;
        }
        ensure!(began.elapsed() < PATIENCE, "{last}");
        sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}
