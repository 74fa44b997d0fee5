//! Whatever may happen, in any order.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{TestCaseResult, TestRunner};
use serde_json::{Value, json};

use super::rig::Rig;
use super::server::Name;
use super::{acme, profile, tenant};
use crate::decide::Duration;
use crate::engine::{Change, Observed};
use crate::scale::Workload;
use crate::watch::FORBIDDEN;

/// What may happen.
#[derive(Debug, Clone)]
enum Step {
    Tenant(u32),
    Profile(u32, bool),
    Mapping(bool),
    /// One of the kinds is put there as nobody should write it.
    Invalid(usize, bool),
    /// One of the kinds is made what it was before.
    Revert(usize),
    Delete(usize),
    Secret(bool),
    Workload(Option<u32>),
    /// Somebody writes our annotation.
    Annotate(Option<u32>),
    /// Its Deployment may not be watched; with the next round it may.
    Forbid,
    Stop(bool),
    /// Some of the writes are done, and the process is killed.
    Crash(usize),
    /// The watch tells of everything anew.
    List,
    Round(usize),
}

/// The objects that change.
const OBJECTS: [(&str, &str); 3] = [("Tenant", "acme"), ("AgentProfile", "coder"), ("Mapping", "one")];

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (1_u32..4).prop_map(Step::Tenant),
        2 => (1_u32..4, any::<bool>()).prop_map(|(most, labelled)| Step::Profile(most, labelled)),
        2 => any::<bool>().prop_map(Step::Mapping),
        4 => (0..OBJECTS.len(), any::<bool>()).prop_map(|(which, readable)| Step::Invalid(which, readable)),
        4 => (0..OBJECTS.len()).prop_map(Step::Revert),
        2 => (0..OBJECTS.len()).prop_map(Step::Delete),
        1 => any::<bool>().prop_map(Step::Secret),
        2 => prop::option::of(0_u32..4).prop_map(Step::Workload),
        1 => prop::option::of(0_u32..4).prop_map(Step::Annotate),
        1 => Just(Step::Forbid),
        2 => any::<bool>().prop_map(Step::Stop),
        1 => (0_usize..3).prop_map(Step::Crash),
        1 => Just(Step::List),
        2 => (0_usize..4).prop_map(Step::Round),
    ]
}

fn mapping(direction: &str) -> Value {
    json!({"tenant": "acme", "clickupListId": "901", "slackChannelId": "C0", "direction": direction})
}

/// What nobody should write: of no shape that can be read, or of one that is refused in parts.
fn invalid(kind: &str, readable: bool) -> Value {
    match (kind, readable) {
        ("Tenant", false) => json!({"sources": "none"}),
        ("Tenant", true) => {
            let mut twice = tenant(30);
            let first = twice["sources"][0].clone();
            twice["sources"].as_array_mut().unwrap().push(first);
            twice
        }
        ("AgentProfile", false) => json!({"tenant": 7}),
        ("AgentProfile", true) => {
            let mut odd = profile(0);
            odd["subscriptions"][0]["kinds"] = json!(["NoSuchThing"]);
            odd
        }
        (_, false) => json!({"tenant": "acme", "clickupListId": "901"}),
        (_, true) => {
            let mut odd = mapping("both");
            odd["clickupListId"] = json!("none");
            odd
        }
    }
}

/// How many changes of objects were seen, by what they were.
#[derive(Debug, Default)]
struct Seen {
    all: usize,
    invalid: usize,
    reverts: usize,
}

/// One way.
struct Way {
    rig: Rig,
    /// What objects were before they were changed last: labels and spec.
    before: BTreeMap<Name, (Value, Value)>,
    /// Deployments that were made.
    made: u32,
    /// Whether somebody means the Deployment to be at 0, or wrote what only we should.
    meddled: bool,
}

impl Way {
    fn begin() -> Self {
        let mut server = acme();
        server.workloads.get_mut("coder").unwrap().uid = Some("first".to_owned());
        Self { rig: Rig::begin(server), before: BTreeMap::new(), made: 0, meddled: false }
    }

    fn standing(&self, name: &Name) -> Option<(Value, Value)> {
        let object = self.rig.server.objects.get(name)?;
        Some((object["metadata"]["labels"].clone(), object["spec"].clone()))
    }

    /// Puts an object there, or takes it away. Whether that changed anything.
    fn change(&mut self, (kind, name): (&'static str, &str), to: Option<(Value, Value)>) -> bool {
        let key = (kind, name.to_owned());
        let standing = self.standing(&key);
        if standing == to {
            return false;
        }
        match &to {
            Some((labels, spec)) => self.rig.server.apply(kind, name, labels, spec),
            None => self.rig.server.delete(kind, name),
        }
        self.before.extend(standing.map(|standing| (key, standing)));
        true
    }

    fn stop(&mut self, stop: bool) -> bool {
        let object = &self.rig.server.objects[&("NexusPolicy", "stop-all".to_owned())];
        let (uid, generation) = (&object["metadata"]["uid"], &object["metadata"]["generation"]);
        let release = format!("{}-{generation}", &uid.as_str().unwrap()[..8]);
        let spec = match (stop, object["spec"]["stop"] == json!(true)) {
            (true, _) => json!({"stop": true}),
            (false, true) => json!({ "release": release }),
            (false, false) => return false,
        };
        self.change(("NexusPolicy", "stop-all"), Some((json!({}), spec)))
    }

    fn workload(&mut self, replicas: Option<u32>) {
        let workloads = &mut self.rig.server.workloads;
        let Some(replicas) = replicas else { return drop(workloads.remove("coder")) };
        self.meddled |= replicas == 0;
        let made = &mut self.made;
        let workload = workloads.entry("coder".to_owned()).or_insert_with(|| {
            *made += 1;
            Workload { uid: Some(format!("made-{made}")), ..Workload::default() }
        });
        workload.replicas = replicas;
    }

    /// Takes a step. Whether an object was changed.
    fn take(&mut self, step: &Step) -> bool {
        match step {
            Step::Tenant(heartbeat) => return self.change(OBJECTS[0], Some((json!({}), tenant(*heartbeat)))),
            Step::Profile(most, labelled) => {
                let labels = if *labelled { json!({"squad": "ai"}) } else { json!({}) };
                return self.change(OBJECTS[1], Some((labels, profile(*most))));
            }
            Step::Mapping(back) => {
                let spec = mapping(if *back { "toClickUp" } else { "both" });
                return self.change(OBJECTS[2], Some((json!({}), spec)));
            }
            Step::Invalid(which, readable) => {
                let object = OBJECTS[*which];
                return self.change(object, Some((json!({}), invalid(object.0, *readable))));
            }
            Step::Revert(which) => {
                let object = OBJECTS[*which];
                let before = self.before.get(&(object.0, object.1.to_owned())).cloned();
                return before.is_some_and(|before| self.change(object, Some(before)));
            }
            Step::Delete(which) => return self.change(OBJECTS[*which], None),
            Step::Stop(stop) => return self.stop(*stop),
            Step::Secret(true) => {
                let secret = nexus_core::secret::Secret::new("s3cr3t");
                let data = [("github".to_owned(), secret)].into();
                drop(self.rig.server.secrets.insert("webhooks".to_owned(), data));
            }
            Step::Secret(false) => drop(self.rig.server.secrets.remove("webhooks")),
            Step::Workload(replicas) => self.workload(*replicas),
            Step::Annotate(held) => {
                self.meddled = true;
                self.rig.server.workloads.values_mut().for_each(|workload| workload.held = *held);
            }
            Step::Forbid => {
                let (key, why) = (("acme".to_owned(), "coder".to_owned()), FORBIDDEN.to_owned());
                self.rig.decider.take(Change::Workload(key, Observed::Unreadable(why)), self.rig.now);
            }
            Step::Crash(writes) => {
                self.rig.round(*writes);
                self.rig = Rig::begin(self.rig.server.clone());
            }
            Step::List => self.rig.list(),
            Step::Round(writes) => drop(self.rig.round(*writes)),
        }
        false
    }

    /// Nothing stays as nobody should write it: last good values live with the process.
    fn mend(&mut self) {
        for (object, valid) in OBJECTS.into_iter().zip([tenant(30), profile(16), mapping("both")]) {
            let standing = self.standing(&(object.0, object.1.to_owned()));
            let wrong = standing.is_some_and(|(_, spec)| {
                [false, true].into_iter().any(|readable| spec == invalid(object.0, readable))
            });
            if wrong {
                self.change(object, Some((json!({}), valid)));
            }
        }
    }
}

/// The end is that of an operator that sees the objects as they are now for the first time.
fn ends_well(way: &mut Way) -> TestCaseResult {
    way.mend();
    way.rig.rest();
    // What was forbidden is granted once it could be read for a while.
    way.rig.now += Duration::from_secs(6);
    way.rig.rest();
    let rig = &way.rig;
    let mut fresh = rig.server.clone();
    for object in fresh.objects.values_mut() {
        let held = ["heldReplicas", "heldBy", "heldFrom", "engagement"];
        let held = held.map(|key| (key, object["status"].get(key).cloned()));
        object["status"] = json!({});
        // What a stop recorded is no derived state.
        for (key, value) in held {
            if let Some(value) = value {
                object["status"][key] = value;
            }
        }
    }
    let fresh = Rig::begin(fresh);
    prop_assert_eq!(rig.end(), fresh.end());
    let objects = &rig.server.objects;
    let stopped = objects[&("NexusPolicy", "stop-all".to_owned())]["spec"]["stop"] == json!(true);
    let judged = OBJECTS[..2].iter().all(|(kind, name)| objects.contains_key(&(*kind, (*name).to_owned())));
    if let (Some(workload), true) = (rig.server.workloads.get("coder"), judged) {
        prop_assert!(!stopped || workload.replicas == 0);
        prop_assert!(stopped || way.meddled || workload.replicas > 0);
    }
    Ok(())
}

/// Whatever happened, seen one by one or all at once, and whenever the process was killed.
#[test]
fn the_way_does_not_matter() {
    let config = ProptestConfig { cases: 450, source_file: Some(file!()), ..ProptestConfig::default() };
    let seen = std::cell::RefCell::new(Seen::default());
    let ways = prop::collection::vec(any_step(), 1..24);
    let ran = TestRunner::new(config).run(&ways, |steps| {
        let mut way = Way::begin();
        for step in &steps {
            let changed = usize::from(way.take(step));
            let mut seen = seen.borrow_mut();
            seen.all += changed;
            match step {
                Step::Invalid(..) => seen.invalid += changed,
                Step::Revert(_) => seen.reverts += changed,
                _ => {}
            }
        }
        ends_well(&mut way)
    });
    ran.unwrap_or_else(|failure| panic!("{failure}"));
    let seen = seen.into_inner();
    assert!(seen.all >= 2000 && seen.invalid >= 400 && seen.reverts >= 200, "{seen:?}");
}
