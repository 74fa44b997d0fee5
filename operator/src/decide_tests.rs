//! An API server in miniature, and whatever may happen to its objects: the operator must come to the same end by any way.

use std::collections::BTreeMap;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;
use nexus_crds::{AgentProfile, Mapping, NexusPolicy, Tenant};
use nexus_wire::config::{HeldStop, Pod, ResourceType, Role, SeenPolicy, Stops};
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::engine::{Observed, SecretValues};
use crate::scale::Workload;

type Name = (&'static str, String);

/// The objects as they stand, by kind and name, all in one namespace.
#[derive(Clone, Default)]
struct Server {
    objects: BTreeMap<Name, Value>,
    secrets: BTreeMap<String, SecretValues>,
    workloads: BTreeMap<String, Workload>,
    revision: u64,
    /// Writes that were asked for.
    writes: usize,
}

impl Server {
    /// Puts an object there as a client would: a change of its spec raises its generation.
    fn apply(&mut self, kind: &'static str, name: &str, labels: &Value, spec: &Value) {
        self.revision += 1;
        let key = (kind, name.to_owned());
        let before = self.objects.get(&key);
        let generation = match before {
            Some(before) if before["spec"] == *spec => before["metadata"]["generation"].clone(),
            Some(before) => json!(before["metadata"]["generation"].as_i64().unwrap() + 1),
            None => json!(1),
        };
        let uid = before.map_or_else(
            || json!(format!("{:08x}-{name}", self.revision)),
            |before| before["metadata"]["uid"].clone(),
        );
        let status = before.and_then(|before| before.get("status")).cloned();
        let mut object = json!({
            "apiVersion": "nexus.dev/v1alpha1", "kind": kind,
            "metadata": {
                "name": name, "uid": uid, "generation": generation, "labels": labels,
                "resourceVersion": self.revision.to_string(),
            },
            "spec": spec,
        });
        if kind != "NexusPolicy" {
            object["metadata"]["namespace"] = json!("acme");
        }
        if let Some(status) = status {
            object["status"] = status;
        }
        self.objects.insert(key, object);
    }

    fn delete(&mut self, kind: &'static str, name: &str) {
        self.revision += 1;
        self.objects.remove(&(kind, name.to_owned()));
    }

    fn read<K: DeserializeOwned>(&self, kind: &'static str, name: &str) -> Option<K> {
        let object = self.objects.get(&(kind, name.to_owned()))?;
        serde_json::from_value(object.clone()).ok()
    }

    /// Does a write, and answers as the API server would.
    fn write(&mut self, write: Write) -> Answer {
        self.writes += 1;
        match write {
            Write::Tenant(key, status, _) => self
                .status("Tenant", &key.1, &json!(status))
                .map_or(Answer::Done, |one| Answer::Tenant(Box::new(one))),
            Write::Profile(key, status, _) => self
                .status("AgentProfile", &key.1, &json!(status))
                .map_or(Answer::Done, |one| Answer::Profile(Box::new(one))),
            Write::Mapping(key, status, _) => self
                .status("Mapping", &key.1, &json!(status))
                .map_or(Answer::Done, |one| Answer::Mapping(Box::new(one))),
            Write::Policy(key, status, _) => self
                .status("NexusPolicy", &key.1, &json!(status))
                .map_or(Answer::Done, |one| Answer::Policy(Box::new(one))),
            Write::Scale { key, replicas, held, .. } => {
                if let Some(workload) = self.workloads.get_mut(&key.1) {
                    let replicas = replicas.unwrap_or(workload.replicas);
                    *workload = Workload { replicas, held, ..Workload::default() };
                }
                Answer::Done
            }
            Write::Credentials { profile, .. } => {
                let name = nexus_compile::credential_secret(&profile.1);
                let secret = nexus_core::secret::Secret::new("0123456789abcdef0123456789abcdef");
                self.secrets.entry(name).or_insert_with(|| [("client-secret".to_owned(), secret)].into());
                Answer::Done
            }
        }
    }

    fn status<K: DeserializeOwned>(&mut self, kind: &'static str, name: &str, status: &Value) -> Option<K> {
        self.revision += 1;
        let object = self.objects.get_mut(&(kind, name.to_owned()))?;
        object["status"] = status.clone();
        object["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        self.read(kind, name)
    }
}

/// An operator, the server that it watches, and pods that hold what is published.
struct Rig {
    server: Server,
    decider: Decider,
    publisher: Publisher,
    /// What the operator was told of last, by kind and name.
    told: BTreeMap<Name, Value>,
    now: Instant,
}

impl Rig {
    /// An operator that begins over what stands there, with a pod of each role.
    fn begin(server: Server) -> Self {
        let now = Instant::now();
        let mut rig = Self {
            server,
            decider: Decider::default(),
            publisher: Publisher::new(),
            told: BTreeMap::new(),
            now,
        };
        let endpoints = |service: &str| {
            let slice: EndpointSlice = serde_json::from_value(json!({
                "metadata": {"name": service, "labels": {"kubernetes.io/service-name": service}},
                "addressType": "IPv4", "ports": [],
                "endpoints": [{"addresses": ["10.0.0.1"], "targetRef": {"kind": "Pod", "name": format!("{service}-0")}}],
            }))
            .unwrap();
            Change::Slice(Event::Apply(slice))
        };
        rig.decider.take(endpoints("nexus-ingest"), now);
        rig.decider.take(endpoints("nexus-gateway"), now);
        rig.list();
        rig.decider.lead(now);
        rig.rest();
        rig
    }

    /// Tells the operator of all objects anew.
    fn list(&mut self) {
        self.told = self.server.objects.clone();
        let objects = self.told.clone();
        self.lists(&objects, "Tenant", Change::Tenant);
        self.lists(&objects, "AgentProfile", Change::Profile);
        self.lists(&objects, "Mapping", Change::Mapping);
        self.lists(&objects, "NexusPolicy", Change::Policy);
    }

    fn lists<K: DeserializeOwned>(
        &mut self,
        objects: &BTreeMap<Name, Value>,
        kind: &'static str,
        change: fn(Event<DeserializeGuard<K>>) -> Change,
    ) where
        DeserializeGuard<K>: DeserializeOwned,
    {
        self.decider.take(change(Event::Init), self.now);
        for (_, object) in objects.iter().filter(|((of, _), _)| *of == kind) {
            let object = serde_json::from_value(object.clone()).unwrap();
            self.decider.take(change(Event::InitApply(object)), self.now);
        }
        self.decider.take(change(Event::InitDone), self.now);
    }

    /// Tells the operator what changed since: each object as it is now, whatever it was in between.
    fn catch_up(&mut self) {
        let (before, after) = (std::mem::take(&mut self.told), self.server.objects.clone());
        for (name, object) in &before {
            let anew = after.get(name).is_some_and(|now| now["metadata"]["uid"] != object["metadata"]["uid"]);
            if !after.contains_key(name) || anew {
                self.event(name.0, object, true);
            }
        }
        for (name, object) in &after {
            if before.get(name) != Some(object) {
                self.event(name.0, object, false);
            }
        }
        self.told = after;
    }

    fn event(&mut self, kind: &str, object: &Value, deleted: bool) {
        fn of<K>(object: &Value, deleted: bool) -> Event<DeserializeGuard<K>>
        where
            DeserializeGuard<K>: DeserializeOwned,
        {
            let object = serde_json::from_value(object.clone()).unwrap();
            if deleted { Event::Delete(object) } else { Event::Apply(object) }
        }
        let change = match kind {
            "Tenant" => Change::Tenant(of::<Tenant>(object, deleted)),
            "AgentProfile" => Change::Profile(of::<AgentProfile>(object, deleted)),
            "Mapping" => Change::Mapping(of::<Mapping>(object, deleted)),
            _ => Change::Policy(of::<NexusPolicy>(object, deleted)),
        };
        self.decider.take(change, self.now);
    }

    /// One round of everything: watches, publication, pods, and some of the writes.
    fn round(&mut self, writes: usize) -> usize {
        self.catch_up();
        let wanted: Vec<_> = self.decider.engine.secret_names().into_iter().collect();
        for key in wanted {
            let observed =
                self.server.secrets.get(&key.1).cloned().map_or(Observed::Missing, Observed::There);
            self.decider.take(Change::Secret(key, observed), self.now);
        }
        for key in self.decider.workloads() {
            let observed =
                self.server.workloads.get(&key.1).cloned().map_or(Observed::Missing, Observed::There);
            self.decider.take(Change::Workload(key, observed), self.now);
        }
        self.decider.settle(&self.publisher, self.now);
        let pods = self.pods();
        self.decider.pods(Arc::new(pods), self.now);
        let time = Timestamp::UNIX_EPOCH;
        let all = self.decider.decide(&self.publisher, self.now, time);
        let count = all.len();
        for (at, write) in all.into_iter().enumerate() {
            let target = write.target();
            let answer = if at < writes { self.server.write(write) } else { Answer::Failed };
            self.decider.written(Written { target, answer }, self.now);
        }
        self.now += Duration::from_millis(500);
        count
    }

    /// Goes on until nothing is left to do.
    fn rest(&mut self) {
        for _ in 0..200 {
            // Twice nothing, for the first time may be one of waiting.
            if (0..8).map(|_| self.round(usize::MAX)).sum::<usize>() == 0 {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    /// Pods that hold exactly what is published, and obey the policies as they stand.
    fn pods(&self) -> Pods {
        let tenants = ["acme"].map(|name| TenantKey::new("acme", name).unwrap());
        let pod = |role: Role| {
            let mut pod = Pod::new(role);
            for (tenant, &kind) in
                tenants.iter().flat_map(|tenant| role.types().iter().map(move |kind| (tenant, kind)))
            {
                let name = ResourceName { kind, tenant: tenant.clone() };
                pod.held.extend(self.publisher.digest(&name).map(|digest| (name, digest)));
            }
            pod
        };
        let (mut gateway, mut stops) = (pod(Role::Gateway), Stops { known: true, ..Stops::default() });
        for ((kind, name), object) in &self.server.objects {
            let uid = object["metadata"]["uid"].as_str().unwrap().to_owned();
            let generation = object["metadata"]["generation"].as_u64().unwrap();
            if *kind != "NexusPolicy" {
                continue;
            }
            if object["spec"]["stop"] == json!(true) {
                let engagement = format!("{}-{generation}", &uid[..8]);
                let (policy, uid) = (name.clone(), uid.clone());
                stops.held.push(HeldStop { policy, uid, engagement, sockets_severed: 3, last_byte: None });
            }
            stops.seen.push(SeenPolicy { name: name.clone(), uid, generation });
        }
        gateway.stops = Some(stops);
        [("nexus-ingest-0", pod(Role::Ingest)), ("nexus-gateway-0", gateway)]
            .map(|(name, pod)| (name.to_owned(), Arc::new(pod)))
            .into()
    }

    /// The end, without what tells of the way to it: times, revisions and generations.
    fn end(&self) -> Value {
        fn strip(value: &mut Value) {
            match value {
                Value::Object(map) => {
                    for way in ["lastTransitionTime", "observedGeneration", "metadata", "engagedAt"] {
                        map.remove(way);
                    }
                    map.values_mut().for_each(strip);
                }
                Value::Array(list) => list.iter_mut().for_each(strip),
                _ => {}
            }
        }
        let objects = self.server.objects.iter().map(|((kind, name), object)| {
            let mut object = object.clone();
            strip(&mut object);
            (format!("{kind}/{name}"), object)
        });
        let digests = ResourceType::ALL.map(|kind| {
            let name = ResourceName { kind, tenant: TenantKey::new("acme", "acme").unwrap() };
            json!(self.publisher.digest(&name).map(|digest| hex::encode(digest.as_bytes())))
        });
        let workloads = self
            .server
            .workloads
            .iter()
            .map(|(name, workload)| (name.clone(), json!([workload.replicas, workload.held])));
        json!({
            "objects": Value::Object(objects.collect()), "published": digests,
            "workloads": Value::Object(workloads.collect()),
        })
    }
}

fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    let conditions = object["status"]["conditions"].as_array().unwrap();
    conditions.iter().find(|condition| condition["type"] == kind).unwrap()
}

fn tenant(heartbeat: u32) -> Value {
    json!({
        "sources": [{"name": "github", "provider": "github", "secretRef": {"name": "webhooks", "key": "github"}}],
        "limits": {"heartbeatSeconds": heartbeat},
    })
}

fn profile(in_flight: u32) -> Value {
    json!({
        "tenant": "acme", "maxInFlight": in_flight, "workloadRef": {"kind": "Deployment", "name": "coder"},
        "subscriptions": [{"kinds": ["NewWorkItem"], "sources": ["github"]}],
    })
}

/// A Tenant with an agent whose Deployment has three replicas, and the stop switch.
fn acme() -> Server {
    let mut server = Server::default();
    let secret = nexus_core::secret::Secret::new("s3cr3t");
    server.secrets.insert("webhooks".to_owned(), [("github".to_owned(), secret)].into());
    server.workloads.insert("coder".to_owned(), Workload { replicas: 3, held: None, ..Workload::default() });
    server.apply("Tenant", "acme", &json!({}), &tenant(30));
    server.apply("AgentProfile", "coder", &json!({"squad": "ai"}), &profile(16));
    server.apply("NexusPolicy", "stop-all", &json!({}), &json!({}));
    server
}

#[test]
fn all_of_it_becomes_ready_and_then_nothing_is_written() {
    let mut rig = Rig::begin(acme());
    for name in [("Tenant", "acme"), ("AgentProfile", "coder"), ("NexusPolicy", "stop-all")] {
        let object = &rig.server.objects[&(name.0, name.1.to_owned())];
        assert_eq!(condition(object, "Ready")["status"], "True", "{object:#}");
    }
    let writes = rig.server.writes;
    // Its status once before the credentials were there, once after, and not for each step of the way.
    assert!(writes <= 8, "{writes}");
    rig.list();
    for _ in 0..100 {
        rig.round(usize::MAX);
    }
    assert_eq!(rig.server.writes, writes);
}

#[test]
fn a_stop_scales_to_zero_whatever_works_against_it_and_its_release_gives_back() {
    let mut rig = Rig::begin(acme());
    rig.server.apply("NexusPolicy", "stop-all", &json!({}), &json!({"stop": true}));
    rig.rest();
    let policy = |rig: &Rig| rig.server.objects[&("NexusPolicy", "stop-all".to_owned())].clone();
    let engagement = policy(&rig)["status"]["engagement"].as_str().unwrap().to_owned();
    assert!(engagement.ends_with("-2"), "{engagement}");
    assert_eq!(policy(&rig)["status"]["acknowledged"], "1/1");
    assert_eq!(policy(&rig)["status"]["socketsSevered"], 3);
    let coder = |rig: &Rig| rig.server.workloads["coder"].clone();
    assert_eq!(coder(&rig), Workload { replicas: 0, held: Some(3), ..Workload::default() });
    // An autoscaler.
    rig.server
        .workloads
        .insert("coder".to_owned(), Workload { replicas: 7, held: Some(3), ..Workload::default() });
    rig.rest();
    assert_eq!(coder(&rig).replicas, 0);
    // An agent that is given other labels stays stopped, also for an operator that begins anew.
    rig.server.apply("AgentProfile", "coder", &json!({}), &profile(16));
    rig.rest();
    let mut rig = Rig::begin(rig.server);
    assert_eq!(coder(&rig), Workload { replicas: 0, held: Some(3), ..Workload::default() });
    rig.server.apply("NexusPolicy", "stop-all", &json!({}), &json!({"release": engagement}));
    rig.rest();
    assert_eq!(coder(&rig), Workload { replicas: 3, held: None, ..Workload::default() });
    assert!(policy(&rig)["status"].get("engagement").is_none());
    assert!(
        rig.server.objects[&("AgentProfile", "coder".to_owned())]["status"].get("heldReplicas").is_none()
    );
}

#[test]
fn an_agent_that_runs_beside_a_stopped_one_in_its_deployment_stops_with_it() {
    let mut server = acme();
    server.apply("AgentProfile", "bystander", &json!({}), &profile(16));
    let mut rig = Rig::begin(server);
    let spec = json!({"stop": true, "targets": {"agents": {"matchLabels": {"squad": "ai"}}}});
    rig.server.apply("NexusPolicy", "stop-all", &json!({}), &spec);
    rig.rest();
    assert_eq!(rig.server.workloads["coder"].replicas, 0);
    let policy = &rig.server.objects[&("NexusPolicy", "stop-all".to_owned())];
    let release = policy["status"]["engagement"].clone();
    rig.server.apply("NexusPolicy", "stop-all", &json!({}), &json!({ "release": release }));
    rig.rest();
    assert_eq!(rig.server.workloads["coder"], Workload { replicas: 3, held: None, ..Workload::default() });
    for name in ["coder", "bystander"] {
        let status = &rig.server.objects[&("AgentProfile", name.to_owned())]["status"];
        assert!(status.get("heldReplicas").is_none(), "{status}");
    }
}

#[test]
fn a_pod_that_loses_its_connection_changes_nothing_for_a_while() {
    let mut rig = Rig::begin(acme());
    let writes = rig.server.writes;
    rig.decider.pods(Arc::default(), rig.now);
    let tenant = |rig: &Rig| {
        let object = &rig.server.objects[&("Tenant", "acme".to_owned())];
        condition(object, "Ready")["status"].clone()
    };
    let decide = |rig: &mut Rig, seconds: u64| {
        rig.now += Duration::from_secs(seconds);
        let all = rig.decider.decide(&rig.publisher, rig.now, Timestamp::UNIX_EPOCH);
        for write in all {
            let target = write.target();
            let answer = rig.server.write(write);
            rig.decider.written(Written { target, answer }, rig.now);
        }
        rig.catch_up();
    };
    (0..5).for_each(|_| decide(&mut rig, 3));
    assert_eq!((rig.server.writes, tenant(&rig)), (writes, json!("True")));
    (0..5).for_each(|_| decide(&mut rig, 3));
    assert_eq!(tenant(&rig), "False");
    rig.rest();
    assert_eq!(tenant(&rig), "True");
}

#[test]
fn a_deployment_that_cannot_be_looked_at_for_a_moment_is_scaled_as_it_was_seen_last() {
    let mut rig = Rig::begin(acme());
    let key = ("acme".to_owned(), "coder".to_owned());
    rig.decider.take(Change::Workload(key, Observed::Unreadable("gone".to_owned())), rig.now);
    rig.server.apply("NexusPolicy", "stop-all", &json!({}), &json!({"stop": true}));
    rig.catch_up();
    let mut all = Vec::new();
    for _ in 0..5 {
        rig.now += Duration::from_millis(100);
        for write in rig.decider.decide(&rig.publisher, rig.now, Timestamp::UNIX_EPOCH) {
            let target = write.target();
            all.push(target.clone());
            let answer = rig.server.write(write);
            rig.decider.written(Written { target, answer }, rig.now);
        }
        rig.catch_up();
    }
    assert!(all.iter().any(|target| matches!(target, Target::Deployment(_))), "{all:?}");
    assert_eq!(rig.server.workloads["coder"].replicas, 0);
}

#[test]
fn tenants_that_are_deleted_by_the_dozen_stay_in_force() {
    let mut server = acme();
    for number in 0..20 {
        server.apply("Tenant", &format!("t{number}"), &json!({}), &tenant(30));
    }
    let mut rig = Rig::begin(server);
    let published = |rig: &Rig, name: &str| {
        let tenant = TenantKey::new("acme", name).unwrap();
        rig.publisher.digest(&ResourceName { kind: ResourceType::Ingest, tenant }).is_some()
    };
    assert!(published(&rig, "t0") && published(&rig, "t19"));
    // A few may go.
    rig.server.delete("Tenant", "t0");
    rig.rest();
    assert!(!published(&rig, "t0"));
    for number in 1..20 {
        rig.server.delete("Tenant", &format!("t{number}"));
    }
    rig.round(usize::MAX);
    let left = (1..20).filter(|number| published(&rig, &format!("t{number}"))).count();
    assert!((8..19).contains(&left), "{left}");
    assert_eq!(rig.decider.held_back.len(), left);
    // One that comes back is a Tenant like any other.
    rig.server.apply("Tenant", "t19", &json!({}), &tenant(30));
    rig.rest();
    assert!(published(&rig, "t19") && rig.decider.held_back.len() == left - 1);
}

#[test]
fn what_cannot_be_read_is_told_once_and_takes_nothing_down() {
    let mut rig = Rig::begin(acme());
    let published = rig.end()["published"].clone();
    rig.server.apply("Tenant", "acme", &json!({}), &json!({"sources": "none"}));
    rig.server.apply("AgentProfile", "stray", &json!({}), &json!({"tenant": 7}));
    rig.rest();
    let object = &rig.server.objects[&("Tenant", "acme".to_owned())];
    assert_eq!(condition(object, "Accepted")["reason"], "Unreadable", "{object:#}");
    let stray = &rig.server.objects[&("AgentProfile", "stray".to_owned())];
    assert_eq!(condition(stray, "Accepted")["reason"], "Unreadable", "{stray:#}");
    assert_eq!(rig.end()["published"], published);
    rig.server.apply("Tenant", "acme", &json!({}), &tenant(30));
    rig.rest();
    assert_eq!(condition(&rig.server.objects[&("Tenant", "acme".to_owned())], "Ready")["status"], "True");
}

/// What may happen.
#[derive(Debug, Clone)]
enum Step {
    Tenant(u32),
    NoTenant,
    Profile(u32, bool),
    NoProfile,
    Mapping(bool),
    NoMapping,
    Secret(bool),
    Workload(Option<u32>),
    Stop(bool),
    /// Some of the writes are done, and the process is killed.
    Crash(usize),
    /// The watch tells of everything anew.
    List,
    Round(usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1_u32..4).prop_map(Step::Tenant),
        Just(Step::NoTenant),
        (1_u32..4, any::<bool>()).prop_map(|(most, labelled)| Step::Profile(most, labelled)),
        Just(Step::NoProfile),
        any::<bool>().prop_map(Step::Mapping),
        Just(Step::NoMapping),
        any::<bool>().prop_map(Step::Secret),
        prop::option::of(1_u32..4).prop_map(Step::Workload),
        any::<bool>().prop_map(Step::Stop),
        (0_usize..3).prop_map(Step::Crash),
        Just(Step::List),
        (0_usize..4).prop_map(Step::Round),
    ]
}

fn take(rig: &mut Rig, step: &Step) {
    let server = &mut rig.server;
    match step {
        Step::Tenant(heartbeat) => server.apply("Tenant", "acme", &json!({}), &tenant(*heartbeat)),
        Step::NoTenant => server.delete("Tenant", "acme"),
        Step::Profile(most, labelled) => {
            let labels = if *labelled { json!({"squad": "ai"}) } else { json!({}) };
            server.apply("AgentProfile", "coder", &labels, &profile(*most));
        }
        Step::NoProfile => server.delete("AgentProfile", "coder"),
        Step::Mapping(back) => {
            let direction = if *back { "toClickUp" } else { "both" };
            let spec = json!({"tenant": "acme", "clickupListId": "901", "slackChannelId": "C0", "direction": direction});
            server.apply("Mapping", "one", &json!({}), &spec);
        }
        Step::NoMapping => server.delete("Mapping", "one"),
        Step::Secret(there) => {
            let secret = nexus_core::secret::Secret::new("s3cr3t");
            match there {
                true => {
                    drop(server.secrets.insert("webhooks".to_owned(), [("github".to_owned(), secret)].into()))
                }
                false => drop(server.secrets.remove("webhooks")),
            }
        }
        Step::Workload(Some(replicas)) => {
            let held = server.workloads.get("coder").and_then(|workload| workload.held);
            server
                .workloads
                .insert("coder".to_owned(), Workload { replicas: *replicas, held, ..Workload::default() });
        }
        Step::Workload(None) => drop(server.workloads.remove("coder")),
        Step::Stop(true) => server.apply("NexusPolicy", "stop-all", &json!({}), &json!({"stop": true})),
        Step::Stop(false) => {
            let object = &server.objects[&("NexusPolicy", "stop-all".to_owned())];
            let (uid, generation) = (&object["metadata"]["uid"], &object["metadata"]["generation"]);
            let release = format!("{}-{generation}", &uid.as_str().unwrap()[..8]);
            if object["spec"]["stop"] == json!(true) {
                server.apply("NexusPolicy", "stop-all", &json!({}), &json!({"release": release}));
            }
        }
        Step::Crash(writes) => {
            rig.round(*writes);
            *rig = Rig::begin(rig.server.clone());
        }
        Step::List => rig.list(),
        Step::Round(writes) => drop(rig.round(*writes)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    /// Whatever happened, seen one by one or all at once, and whenever the process was killed: the end is that of an operator
    /// that sees the objects as they are now for the first time.
    #[test]
    fn the_way_does_not_matter(steps in prop::collection::vec(any_step(), 1..24)) {
        let mut rig = Rig::begin(acme());
        for step in &steps {
            take(&mut rig, step);
        }
        rig.rest();
        let mut fresh = rig.server.clone();
        for object in fresh.objects.values_mut() {
            let held = ["heldReplicas", "heldBy", "engagement"].map(|key| (key, object["status"].get(key).cloned()));
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
        let stopped = rig.server.objects[&("NexusPolicy", "stop-all".to_owned())]["spec"]["stop"] == json!(true);
        let judged = rig.server.objects.contains_key(&("AgentProfile", "coder".to_owned()))
            && rig.server.objects.contains_key(&("Tenant", "acme".to_owned()));
        if let (Some(workload), true) = (rig.server.workloads.get("coder"), judged) {
            prop_assert_eq!(workload.replicas == 0, stopped);
        }
    }
}
