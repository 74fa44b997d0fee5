//! An operator with the server that it watches, and pods.

use std::collections::BTreeMap;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;
use nexus_crds::{AgentProfile, Mapping, Tenant};
use nexus_wire::config::{HeldStop, Pod, Presence, ResourceType, Role, SeenPolicy, Stops};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::super::*;
use super::server::{Name, Server};
use crate::engine::Observed;
use crate::policy::ReadPolicy;

/// An operator, the server that it watches, and pods that hold what is published.
pub(super) struct Rig {
    pub(super) server: Server,
    pub(super) decider: Decider,
    pub(super) publisher: Publisher,
    /// What the operator was told of last, by kind and name.
    told: BTreeMap<Name, Value>,
    /// A stop that gateways hold, whatever objects show.
    pub(super) held: Option<HeldStop>,
    /// Whether the agent has a session; none if it never had one.
    pub(super) online: Option<bool>,
    /// A pod that is away.
    pub(super) away: Option<&'static str>,
    /// Whether pods are connected.
    pub(super) connected: bool,
    pub(super) now: Instant,
}

impl Rig {
    /// An operator that began over what stands there, with a pod of each role.
    pub(super) fn begin(server: Server) -> Self {
        let mut rig = Self::new(server, Instant::now());
        rig.rest();
        rig
    }

    /// One that begins now.
    pub(super) fn new(server: Server, now: Instant) -> Self {
        let mut rig = Self {
            server,
            decider: Decider::default(),
            publisher: Publisher::new(),
            told: BTreeMap::new(),
            held: None,
            online: None,
            away: None,
            connected: true,
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
        rig
    }

    /// Tells the operator of all objects anew.
    pub(super) fn list(&mut self) {
        self.told = self.server.objects.clone();
        let objects = self.told.clone();
        self.lists(&objects, "Tenant", Change::Tenant);
        self.lists(&objects, "AgentProfile", Change::Profile);
        self.lists(&objects, "Mapping", Change::Mapping);
        self.lists(&objects, "NexusPolicy", Change::Policy);
    }

    pub(super) fn lists<K: DeserializeOwned>(
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
    pub(super) fn catch_up(&mut self) {
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

    pub(super) fn event(&mut self, kind: &str, object: &Value, deleted: bool) {
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
            _ => Change::Policy(of::<ReadPolicy>(object, deleted)),
        };
        self.decider.take(change, self.now);
    }

    /// Tells the operator of the Secrets that it asks for.
    pub(super) fn tell_secrets(&mut self) {
        let wanted: Vec<_> = self.decider.engine.secret_names().into_iter().collect();
        for key in wanted {
            let observed =
                self.server.secrets.get(&key.1).cloned().map_or(Observed::Missing, Observed::There);
            self.decider.take(Change::Secret(key, observed), self.now);
        }
    }

    /// Tells the operator of the Deployments that profiles name.
    pub(super) fn tell_workloads(&mut self) {
        for key in self.decider.workloads() {
            let observed =
                self.server.workloads.get(&key.1).cloned().map_or(Observed::Missing, Observed::There);
            self.decider.take(Change::Workload(key, observed), self.now);
        }
    }

    /// One round of everything: watches, publication, pods, and some of the writes.
    pub(super) fn round(&mut self, writes: usize) -> usize {
        self.catch_up();
        self.tell_secrets();
        self.tell_workloads();
        self.decider.settle(&self.publisher, self.now);
        let pods = if self.connected { self.pods() } else { Pods::default() };
        self.decider.pods(Arc::new(pods), self.now);
        let mut left = writes;
        let written = self.decide_and(|server, write| match left.checked_sub(1) {
            Some(fewer) => {
                left = fewer;
                server.write(write)
            }
            None => Answer::Failed,
        });
        self.now += Duration::from_millis(500);
        written.len()
    }

    /// Decides, and does all of the writes; what was written.
    pub(super) fn decide(&mut self) -> Vec<Target> {
        self.decide_and(Server::write)
    }

    /// Decides, and has writes answered; what was written.
    pub(super) fn decide_and(&mut self, mut answer: impl FnMut(&mut Server, Write) -> Answer) -> Vec<Target> {
        let all = self.decider.decide(&self.publisher, self.now, Timestamp::UNIX_EPOCH);
        let mut written = Vec::with_capacity(all.len());
        for write in all {
            let target = write.target();
            written.push(target.clone());
            let answer = answer(&mut self.server, write);
            self.decider.written(Written { target, answer }, self.now);
        }
        written
    }

    /// Goes on until nothing is left to do.
    pub(super) fn rest(&mut self) {
        for _ in 0..200 {
            // Twice nothing, for the first time may be one of waiting.
            if (0..8).map(|_| self.round(usize::MAX)).sum::<usize>() == 0 {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    /// Pods that hold exactly what is published, and obey the policies as they stand.
    pub(super) fn pods(&self) -> Pods {
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
                stops.held.push(HeldStop {
                    policy,
                    uid,
                    engagement,
                    sockets_severed: 3,
                    last_byte: None,
                    alarm: None,
                    engaged: None,
                });
            }
            stops.seen.push(SeenPolicy { name: name.clone(), uid, generation });
        }
        stops.held.extend(self.held.clone());
        gateway.stops = Some(stops);
        let agent = AgentId::of(&tenants[0], "coder");
        let since = Timestamp::UNIX_EPOCH;
        gateway.presence.extend(self.online.map(|online| (agent, Presence { online, since })));
        [("nexus-ingest-0", pod(Role::Ingest)), ("nexus-gateway-0", gateway)]
            .into_iter()
            .filter(|(name, _)| self.away != Some(*name))
            .map(|(name, pod)| (name.to_owned(), Arc::new(pod)))
            .collect()
    }

    /// The end, without what tells of the way to it: times, revisions and generations.
    pub(super) fn end(&self) -> Value {
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
