//! `workloads: scaleToZero`: what to do with an agent's Deployment while a stop means the agent, and after. Pure.
//!
//! The number of replicas is recorded twice before it is lost: in the profile's status, and in an annotation that is set in the same
//! write that scales. So it outlives the deletion of the profile, and whoever takes the annotation away. A Deployment that was made
//! anew has a number of its own: what stands in a status is of the one Deployment that it names by uid.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use nexus_core::stop::EngagementName;
use nexus_crds::AgentProfileStatus;

/// The annotation with the number of replicas that a Deployment had.
pub const HELD_REPLICAS: &str = "nexus.dev/held-replicas";

/// The most replicas that are recorded: the bound of `status.heldReplicas`. A status with more is refused, again and again.
const MOST: u32 = 1_000_000;

/// A Deployment, as far as scaling goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Workload {
    /// `spec.replicas`.
    pub(crate) replicas: u32,
    /// What the annotation says.
    pub(crate) held: Option<u32>,
    /// Which object it is, whatever its name.
    pub(crate) uid: Option<String>,
    /// Its revision: what is written must be of what was seen.
    pub(crate) revision: Option<String>,
}

impl Workload {
    /// What is told of a Deployment. One that says nothing has one replica.
    pub(crate) fn of(deployment: Deployment) -> Self {
        let replicas = deployment.spec.replicas.unwrap_or(1);
        Self {
            replicas: u32::try_from(replicas).unwrap_or(0),
            held: annotated(deployment.metadata.annotations.as_ref()),
            uid: deployment.metadata.uid,
            revision: deployment.metadata.resource_version,
        }
    }
}

/// What a stop recorded in a profile's status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// The replicas that are to be restored.
    pub(crate) replicas: Option<u32>,
    /// The engagement that took them.
    pub(crate) by: Option<String>,
    /// The uid of the Deployment that they were taken from.
    pub(crate) from: Option<String>,
}

impl Record {
    /// What stands in a status.
    pub(crate) fn of(status: Option<&AgentProfileStatus>) -> Self {
        let status = status.cloned().unwrap_or_default();
        Self { replicas: status.held_replicas, by: status.held_by, from: status.held_from }
    }

    /// The number that it has for a Deployment.
    fn number_for(&self, workload: &Workload) -> Option<u32> {
        let another = self.from.as_ref().zip(workload.uid.as_ref()).is_some_and(|(from, uid)| from != uid);
        counted(self.replicas).filter(|_| !another)
    }

    /// Whether this very stop, perhaps before it was renewed, took them from this very Deployment.
    fn is_first(&self, stop: &EngagementName, workload: &Workload) -> bool {
        let by = self.by.as_deref().and_then(|by| by.parse().ok());
        by.is_some_and(|by| stop.reaches(&by)) && self.from.is_some() && self.from == workload.uid
    }

    /// Whether it says so. Who holds it is told anew with each name: of the one before nobody may know any more.
    fn says(&self, held: u32, stop: &EngagementName, workload: &Workload) -> bool {
        let by = self.by.as_deref().is_some_and(|by| by == stop.to_string());
        by && self.replicas == Some(held) && self.from == workload.uid
    }
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Write this record into the status of the profiles.
    Record(Record),
    /// Set the annotation or take it away, and replicas.
    Scale {
        /// `spec.replicas`; none leaves them.
        replicas: Option<u32>,
        /// The annotation.
        held: Option<u32>,
    },
}

/// The next step for a Deployment; none when all is as it should be. `stopped` is the engagement that scales it to zero; `records` are
/// those of its agents whose status can be written; `workload` is none where it is known that there is no Deployment.
pub(crate) fn step(
    stopped: Option<&EngagementName>,
    records: &[&Record],
    workload: Option<&Workload>,
) -> Option<Step> {
    match (stopped, workload) {
        (Some(stop), Some(workload)) => engaged(stop, records, workload),
        // Nothing runs. By what was recorded an agent stays stopped whatever becomes of its labels and of the policy.
        (Some(_), None) => None,
        (None, Some(workload)) => released(records, workload),
        (None, None) => forget(records),
    }
}

fn engaged(stop: &EngagementName, records: &[&Record], workload: &Workload) -> Option<Step> {
    // The annotation is of the first number, and so is what this stop recorded: a later one is somebody's who works against it.
    let noted = counted(workload.held);
    let first = records.iter().filter(|record| record.is_first(stop, workload)).copied();
    let first = recorded(first, workload);
    let own = Some(workload.replicas.min(MOST)).filter(|&replicas| replicas > 0);
    let held = noted.or(first).or(own).or_else(|| recorded(records.iter().copied(), workload))?;
    let zero = Step::Scale { replicas: Some(0), held: Some(held) };
    // With the annotation nothing is lost by scaling; who changes it all the time would have records written all the time.
    if noted.is_some() && workload.replicas > 0 {
        return Some(zero);
    }
    if records.iter().any(|record| !record.says(held, stop, workload)) {
        let (by, from) = (Some(stop.to_string()), workload.uid.clone());
        return Some(Step::Record(Record { replicas: Some(held), by, from }));
    }
    let done = workload.replicas == 0 && noted == Some(held);
    (!done).then_some(zero)
}

fn released(records: &[&Record], workload: &Workload) -> Option<Step> {
    let noted = counted(workload.held);
    let held = noted.or_else(|| recorded(records.iter().copied(), workload));
    if workload.replicas == 0 && held.is_some() {
        return Some(Step::Scale { replicas: held, held: None });
    }
    if noted.is_some() {
        // Somebody scaled it already, and knows better.
        return Some(Step::Scale { replicas: None, held: None });
    }
    forget(records)
}

fn forget(records: &[&Record]) -> Option<Step> {
    let none = Record::default();
    records.iter().any(|record| **record != none).then_some(Step::Record(none))
}

fn recorded<'a>(mut records: impl Iterator<Item = &'a Record>, workload: &Workload) -> Option<u32> {
    records.find_map(|record| record.number_for(workload))
}

/// A number that can be recorded. None held is nothing to restore: it would be written for ever.
fn counted(held: Option<u32>) -> Option<u32> {
    held.filter(|held| (1..=MOST).contains(held))
}

/// The number in the annotation. Who may patch Deployments may write anything there.
pub(crate) fn annotated(annotations: Option<&BTreeMap<String, String>>) -> Option<u32> {
    counted(annotations?.get(HELD_REPLICAS)?.parse().ok())
}

#[cfg(test)]
#[path = "scale_tests.rs"]
mod tests;
