//! `workloads: scaleToZero`: what to do with an agent's Deployment while a stop means the agent, and after. Pure.
//!
//! The number of replicas is recorded twice before it is lost: in the profile's status, and in an annotation that is set in the same
//! write that scales. So it outlives the deletion of either object. A Deployment that was made anew has a number of its own.

use std::collections::BTreeMap;

use nexus_core::stop::EngagementName;
use nexus_crds::AgentProfileStatus;

/// The annotation with the number of replicas that a Deployment had.
pub const HELD_REPLICAS: &str = "nexus.dev/held-replicas";

/// A Deployment, as far as scaling goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Workload {
    /// `spec.replicas`.
    pub(crate) replicas: u32,
    /// What the annotation says.
    pub(crate) held: Option<u32>,
    /// Its revision: what is written must be of what was seen.
    pub(crate) revision: Option<String>,
}

/// What a stop recorded in a profile's status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// The replicas that are to be restored.
    pub(crate) replicas: Option<u32>,
    /// The engagement that took them.
    pub(crate) by: Option<String>,
}

impl Record {
    /// What stands in a status.
    pub(crate) fn of(status: Option<&AgentProfileStatus>) -> Self {
        let status = status.cloned().unwrap_or_default();
        Self { replicas: status.held_replicas, by: status.held_by }
    }
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Write this record into the profile's status.
    Record(Record),
    /// Set the annotation or take it away, and replicas.
    Scale {
        /// `spec.replicas`; none leaves them.
        replicas: Option<u32>,
        /// The annotation.
        held: Option<u32>,
    },
}

/// The next step for an agent's Deployment; none when all is as it should be. `stopped` is the engagement that scales it to zero;
/// `workload` is none where there is no Deployment.
pub(crate) fn step(
    stopped: Option<&EngagementName>,
    record: &Record,
    workload: Option<&Workload>,
) -> Option<Step> {
    match (stopped, workload) {
        (Some(stop), Some(workload)) => engaged(stop, record, workload),
        // Nothing runs. What was recorded stays, for the Deployment may come back as it was.
        (Some(_), None) | (None, None) => None,
        (None, Some(workload)) => released(record, workload),
    }
}

fn engaged(stop: &EngagementName, record: &Record, workload: &Workload) -> Option<Step> {
    // The annotation is of the first number: a later one is somebody's who works against the stop. A Deployment without it that
    // has replicas is another than the one that the record is of.
    let own = Some(workload.replicas).filter(|&replicas| replicas > 0);
    let held = workload.held.or(own).or(record.replicas)?;
    if record.replicas != Some(held) {
        return Some(Step::Record(Record { replicas: Some(held), by: Some(stop.to_string()) }));
    }
    let done = workload.replicas == 0 && workload.held == Some(held);
    (!done).then_some(Step::Scale { replicas: Some(0), held: Some(held) })
}

fn released(record: &Record, workload: &Workload) -> Option<Step> {
    let held = workload.held.or(record.replicas);
    if workload.replicas == 0 && held.is_some() {
        return Some(Step::Scale { replicas: held, held: None });
    }
    if workload.held.is_some() {
        // Somebody scaled it already, and knows better.
        return Some(Step::Scale { replicas: None, held: None });
    }
    (*record != Record::default()).then(|| Step::Record(Record::default()))
}

/// The number in the annotation.
pub(crate) fn annotated(annotations: Option<&BTreeMap<String, String>>) -> Option<u32> {
    annotations?.get(HELD_REPLICAS)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The world that steps change.
    #[derive(Debug, Clone)]
    struct World {
        record: Option<Record>,
        workload: Option<Workload>,
    }

    impl World {
        /// Takes steps until none is left; more than four would be going round.
        fn settle(&mut self, stopped: Option<&EngagementName>) {
            for _ in 0..5 {
                let Some(record) = &self.record else { return };
                match step(stopped, record, self.workload.as_ref()) {
                    None => return,
                    Some(Step::Record(record)) => self.record = Some(record),
                    Some(Step::Scale { replicas, held }) => {
                        let replicas = replicas.unwrap_or(self.workload.clone().unwrap().replicas);
                        self.workload = Some(Workload { replicas, held, ..Workload::default() });
                    }
                }
            }
            panic!("it does not come to rest: {self:?}");
        }
    }

    fn stop() -> EngagementName {
        EngagementName::new("1f2e3d4c-0000", 7)
    }

    #[test]
    fn replicas_are_recorded_before_they_are_taken_and_come_back() {
        let (stop, workload) = (stop(), Workload { replicas: 3, held: None, ..Workload::default() });
        let record = Record { replicas: Some(3), by: Some("1f2e3d4c-7".to_owned()) };
        let first = step(Some(&stop), &Record::default(), Some(&workload));
        assert_eq!(first, Some(Step::Record(record.clone())));
        let second = step(Some(&stop), &record, Some(&workload));
        assert_eq!(second, Some(Step::Scale { replicas: Some(0), held: Some(3) }));
        // Somebody scales it up: the first number stays.
        let fought = Workload { replicas: 9, held: Some(3), ..Workload::default() };
        assert_eq!(step(Some(&stop), &record, Some(&fought)), second);
        let zero = Workload { replicas: 0, held: Some(3), ..Workload::default() };
        assert_eq!(step(Some(&stop), &record, Some(&zero)), None);
        assert_eq!(step(None, &record, Some(&zero)), Some(Step::Scale { replicas: Some(3), held: None }));
        assert_eq!(step(None, &record, Some(&workload)), Some(Step::Record(Record::default())));
        assert_eq!(step(None, &Record::default(), Some(&workload)), None);
    }

    #[test]
    fn one_that_has_none_is_left_alone() {
        let zero = Workload::default();
        assert_eq!(step(Some(&stop()), &Record::default(), Some(&zero)), None);
        assert_eq!(step(None, &Record::default(), Some(&zero)), None);
    }

    /// What may happen to the objects meanwhile.
    #[derive(Debug, Clone)]
    enum Event {
        ProfileLost,
        ProfileBack,
        WorkloadDeleted,
        WorkloadBack(u32),
        ScaledBy(u32),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            Just(Event::ProfileLost),
            Just(Event::ProfileBack),
            Just(Event::WorkloadDeleted),
            (1_u32..5).prop_map(Event::WorkloadBack),
            (1_u32..5).prop_map(Event::ScaledBy),
        ]
    }

    proptest! {
        #[test]
        fn whatever_is_deleted_and_made_anew_no_replica_runs_while_stopped_and_some_run_after(
            replicas in 1_u32..5,
            events in prop::collection::vec(event(), 0..12),
        ) {
            let stop = stop();
            let mut world = World { record: Some(Record::default()), workload: Some(Workload { replicas, held: None, ..Workload::default() }) };
            world.settle(Some(&stop));
            let mut last = replicas;
            for event in events {
                match event {
                    Event::ProfileLost => world.record = None,
                    Event::ProfileBack => drop(world.record.get_or_insert_default()),
                    Event::WorkloadDeleted => world.workload = None,
                    Event::WorkloadBack(replicas) if world.workload.is_none() => {
                        world.workload = Some(Workload { replicas, held: None, ..Workload::default() });
                    }
                    Event::ScaledBy(replicas) => {
                        if let Some(workload) = &mut world.workload {
                            workload.replicas = replicas;
                        }
                    }
                    Event::WorkloadBack(_) => {}
                }
                world.settle(Some(&stop));
                if let (Some(_), Some(workload)) = (&world.record, &world.workload) {
                    prop_assert_eq!(workload.replicas, 0);
                    last = world.record.as_ref().unwrap().replicas.unwrap();
                }
            }
            world.record.get_or_insert_default();
            world.workload.get_or_insert(Workload { replicas: 1, held: None, ..Workload::default() });
            world.settle(Some(&stop));
            prop_assert_eq!(world.workload.as_ref().unwrap().replicas, 0);
            world.settle(None);
            prop_assert!(world.workload.as_ref().unwrap().replicas > 0);
            prop_assert_eq!(world.workload.unwrap().held, None);
            prop_assert_eq!(world.record, Some(Record::default()));
            prop_assert!(last > 0);
        }
    }
}
