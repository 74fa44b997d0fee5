use proptest::prelude::*;

use super::*;

/// The world that steps change.
#[derive(Debug, Clone)]
struct World {
    /// None while the profile is away.
    record: Option<Record>,
    /// Whether the profile's status can be written.
    writable: bool,
    workload: Option<Workload>,
    /// Deployments that were made.
    made: u32,
}

impl World {
    fn of(replicas: u32) -> Self {
        let mut world = Self { record: Some(Record::default()), writable: true, workload: None, made: 0 };
        world.make(replicas);
        world
    }

    fn make(&mut self, replicas: u32) {
        self.made += 1;
        let uid = Some(format!("uid-{}", self.made));
        self.workload = Some(Workload { replicas, uid, ..Workload::default() });
    }

    /// Takes steps until none is left; more than four would be going round.
    fn settle(&mut self, stopped: Option<&EngagementName>) {
        for _ in 0..5 {
            let Some(record) = &self.record else { return };
            let records = if self.writable { vec![record] } else { Vec::new() };
            match step(stopped, &records, self.workload.as_ref()) {
                None => return,
                Some(Step::Record(record)) => {
                    assert!(self.writable, "{self:?}");
                    self.record = Some(record);
                }
                Some(Step::Scale { replicas, held }) => {
                    let workload = self.workload.as_mut().unwrap();
                    (workload.replicas, workload.held) = (replicas.unwrap_or(workload.replicas), held);
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
fn a_stop_that_was_renewed_knows_what_it_took_and_says_who_holds_it_now() {
    let renewed = EngagementName::new("1f2e3d4c-0000", 8);
    let before = record(5);
    // Put back from a manifest: without the annotation, and with a number of the manifest's.
    let Some(Step::Record(now)) = step(Some(&renewed), &[&before], Some(&deployment(1, None))) else {
        panic!("the record has another name now")
    };
    assert_eq!((now.replicas, now.by.as_deref()), (Some(5), Some("1f2e3d4c-8")));
    // Another stop holds it once that one is released.
    let other = EngagementName::new("aaaaaaaa-0000", 2);
    let Some(Step::Record(now)) = step(Some(&other), &[&before], Some(&deployment(0, Some(5)))) else {
        panic!("another holds it now")
    };
    assert_eq!((now.replicas, now.by.as_deref()), (Some(5), Some("aaaaaaaa-2")));
}

fn deployment(replicas: u32, held: Option<u32>) -> Workload {
    Workload { replicas, held, uid: Some("uid-1".to_owned()), revision: None }
}

fn record(replicas: u32) -> Record {
    let (by, from) = (Some("1f2e3d4c-7".to_owned()), Some("uid-1".to_owned()));
    Record { replicas: Some(replicas), by, from }
}

#[test]
fn replicas_are_recorded_before_they_are_taken_and_come_back() {
    let (stop, none) = (stop(), Record::default());
    let after = |stopped, record: &Record, workload: Workload| step(stopped, &[record], Some(&workload));
    let first = after(Some(&stop), &none, deployment(3, None));
    assert_eq!(first, Some(Step::Record(record(3))));
    let second = after(Some(&stop), &record(3), deployment(3, None));
    assert_eq!(second, Some(Step::Scale { replicas: Some(0), held: Some(3) }));
    // Somebody scales it up, with the annotation or before it is there: the first number stays.
    assert_eq!(after(Some(&stop), &record(3), deployment(9, Some(3))), second);
    assert_eq!(after(Some(&stop), &record(3), deployment(9, None)), second);
    assert_eq!(after(Some(&stop), &record(3), deployment(0, Some(3))), None);
    let back = Some(Step::Scale { replicas: Some(3), held: None });
    assert_eq!(after(None, &record(3), deployment(0, Some(3))), back);
    assert_eq!(after(None, &record(3), deployment(3, None)), Some(Step::Record(none.clone())));
    assert_eq!(after(None, &none, deployment(3, None)), None);
}

#[test]
fn one_that_has_none_is_left_alone() {
    let none = Record::default();
    // A number of none is none, wherever it stands.
    for workload in [deployment(0, None), deployment(0, Some(0))] {
        for records in [vec![], vec![&none]] {
            assert_eq!(step(Some(&stop()), &records, Some(&workload)), None);
            assert_eq!(step(None, &records, Some(&workload)), None);
        }
    }
    assert_eq!(step(None, &[&record(0)], Some(&deployment(0, Some(0)))), Some(Step::Record(none)));
}

#[test]
fn an_annotation_that_no_status_could_hold_is_none() {
    let read = |text: &str| annotated(Some(&BTreeMap::from([(HELD_REPLICAS.to_owned(), text.to_owned())])));
    assert_eq!(["1", "1000000"].map(read), [Some(1), Some(1_000_000)]);
    assert_eq!(["0", "1000001", "4294967296", "-1", "many", ""].map(read), [None; 6]);
    // Nor is more than that ever recorded.
    let many = step(Some(&stop()), &[&Record::default()], Some(&deployment(2_000_000, None)));
    assert_eq!(many, Some(Step::Record(record(1_000_000))));
}

#[test]
fn whoever_changes_the_annotation_all_the_time_holds_nothing_up() {
    let scaled = Some(Step::Scale { replicas: Some(0), held: Some(7) });
    assert_eq!(step(Some(&stop()), &[&record(3)], Some(&deployment(5, Some(7)))), scaled);
    assert_eq!(
        step(Some(&stop()), &[&record(3)], Some(&deployment(0, Some(7)))),
        Some(Step::Record(record(7)))
    );
}

#[test]
fn a_record_is_of_the_deployment_that_it_names_only() {
    let another = Workload { uid: Some("uid-2".to_owned()), ..deployment(0, None) };
    assert_eq!(step(Some(&stop()), &[&record(3)], Some(&another)), None);
    assert_eq!(step(None, &[&record(3)], Some(&another)), Some(Step::Record(Record::default())));
    assert_eq!(step(None, &[&record(3)], None), Some(Step::Record(Record::default())));
    assert_eq!(step(Some(&stop()), &[&record(3)], None), None);
    // Its own, from which somebody took the annotation.
    let noted = Some(Step::Scale { replicas: Some(0), held: Some(3) });
    assert_eq!(step(Some(&stop()), &[&record(3)], Some(&deployment(0, None))), noted);
}

/// What may happen to the objects meanwhile.
#[derive(Debug, Clone)]
enum Event {
    ProfileLost,
    ProfileBack,
    Readable(bool),
    WorkloadDeleted,
    WorkloadBack(u32),
    ScaledBy(u32),
    Annotated(Option<u32>),
    Stop(bool),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::ProfileLost),
        Just(Event::ProfileBack),
        any::<bool>().prop_map(Event::Readable),
        Just(Event::WorkloadDeleted),
        (0_u32..5).prop_map(Event::WorkloadBack),
        (0_u32..5).prop_map(Event::ScaledBy),
        prop::option::of(prop_oneof![0_u32..5, 999_999_u32..1_000_002]).prop_map(Event::Annotated),
        any::<bool>().prop_map(Event::Stop),
    ]
}

impl World {
    fn meet(&mut self, event: &Event) {
        match event {
            Event::ProfileLost => self.record = None,
            Event::ProfileBack => drop(self.record.get_or_insert_default()),
            Event::Readable(readable) => self.writable = *readable,
            Event::WorkloadDeleted => self.workload = None,
            Event::WorkloadBack(replicas) if self.workload.is_none() => self.make(*replicas),
            Event::ScaledBy(replicas) => {
                self.workload.iter_mut().for_each(|workload| workload.replicas = *replicas);
            }
            Event::Annotated(held) => self.workload.iter_mut().for_each(|workload| workload.held = *held),
            Event::WorkloadBack(_) | Event::Stop(_) => {}
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_it_comes_to_rest_and_nothing_runs_while_stopped(
        replicas in 0_u32..5,
        events in prop::collection::vec(event(), 0..24),
    ) {
        let (stop, mut world, mut stopped) = (stop(), World::of(replicas), true);
        for event in &events {
            if let Event::Stop(now) = event {
                stopped = *now;
            }
            world.meet(event);
            world.settle(stopped.then_some(&stop));
            if let (Some(_), Some(workload)) = (&world.record, &world.workload) && stopped {
                prop_assert_eq!(workload.replicas, 0);
            }
        }
        (world.writable, world.record) = (true, Some(world.record.clone().unwrap_or_default()));
        world.settle(None);
        prop_assert_eq!(world.record, Some(Record::default()));
        prop_assert!(world.workload.is_none_or(|workload| counted(workload.held).is_none()));
    }

    #[test]
    fn whatever_is_deleted_and_made_anew_with_replicas_runs_again_after(
        replicas in 1_u32..5,
        events in prop::collection::vec(event(), 0..12),
    ) {
        let (stop, mut world) = (stop(), World::of(replicas));
        world.settle(Some(&stop));
        let kept = |event: &&Event| match event {
            Event::WorkloadBack(replicas) | Event::ScaledBy(replicas) => *replicas > 0,
            Event::Annotated(_) | Event::Stop(_) => false,
            _ => true,
        };
        for event in events.iter().filter(kept) {
            world.meet(event);
            world.settle(Some(&stop));
        }
        world.writable = true;
        world.record.get_or_insert_default();
        if world.workload.is_none() {
            world.make(1);
        }
        world.settle(Some(&stop));
        prop_assert_eq!(world.workload.as_ref().unwrap().replicas, 0);
        world.settle(None);
        prop_assert!(world.workload.as_ref().unwrap().replicas > 0);
        prop_assert_eq!(world.workload.unwrap().held, None);
        prop_assert_eq!(world.record, Some(Record::default()));
    }
}
