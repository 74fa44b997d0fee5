//! Objects change at random, for better and for worse: an operator that has seen all of it and one that sees only the end
//! come to the same, and who takes everything back is where he began.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use kube::Client;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::stage::Stage;
use super::writes::strip;
use super::{Plan, Seen};
use crate::apidoor::Door;
use crate::site::PATIENCE;

/// The namespace of all that changes.
const NAMESPACE: &str = "shift";

/// Changes of one path, after which what stands there is compared.
const STEPS: usize = 12;

/// All is said when nobody has written for so long.
const CALM: Duration = Duration::from_millis(1500);

/// A kind, its API group and version, and whether it has a namespace.
const KINDS: [(&str, &str, &str); 6] = [
    ("nexus.dev", "v1alpha1", "Tenant"),
    ("nexus.dev", "v1alpha1", "AgentProfile"),
    ("nexus.dev", "v1alpha1", "Mapping"),
    ("nexus.dev", "v1alpha1", "NexusPolicy"),
    ("apps", "v1", "Deployment"),
    ("", "v1", "Secret"),
];

/// How a step begins that the API server did not take.
const REFUSED: &str = "refused: ";

/// What of a status tells of the past.
const RECORDS: [&str; 4] = ["heldReplicas", "heldBy", "heldFrom", "engagement"];

/// An object by its kind and name.
type Name = (&'static str, String);

/// What stands there: statuses of objects, and what pods hold.
type End = BTreeMap<String, Value>;

pub(super) async fn play(plan: &Plan, folder: &Path) -> anyhow::Result<Seen> {
    let (mut stage, door) = Stage::behind_a_door(&plan.nexus, folder).await?;
    stage.operated.cluster.kubectl(&["create", "namespace", NAMESPACE])?;
    let mut world = World {
        client: stage.operated.cluster.client().await?,
        random: StdRng::seed_from_u64(plan.seed),
        standing: BTreeMap::new(),
        told: Vec::new(),
    };
    world.go_back().await?;
    let begun = world.end(&stage, &door).await?;
    let (mut done, mut paths, mut wrong, mut refused) = (0, 0, 0, 0);
    while done < plan.settings.transitions {
        world.told.clear();
        for _ in 0..STEPS {
            world.step().await?;
            // Some changes come in one moment, some when the one before is settled.
            if world.random.random_bool(0.3) {
                stage.calm(&door, CALM).await?;
            }
            done += 1;
        }
        world.mend().await?;
        let end = world.end(&stage, &door).await?;
        stage.kill_operator(0).await?;
        world.wipe().await?;
        stage.start_operator(0)?;
        let anew = world.end(&stage, &door).await?;
        same("an operator that begins anew", &end, &anew, &world.told)?;
        wrong += end.values().filter(|seen| is_wrong(seen)).count();
        refused += world.told.iter().filter(|told| told.starts_with(REFUSED)).count();
        world.go_back().await?;
        let back = world.end(&stage, &door).await?;
        same("who takes everything back", &begun, &back, &world.told)?;
        paths += 1;
        stage.check()?;
    }
    ensure!(wrong > 0, "nothing was ever wrong: this proves little");
    Ok(Seen {
        times: done,
        figures: vec![
            format!(
                "{paths} paths, {refused} changes refused, {wrong} objects with something wrong in the ends"
            ),
            "an operator that begins anew comes to the same end; taking all back leads to the start"
                .to_owned(),
        ],
    })
}

/// Whether a condition tells of something wrong; that nobody is connected is not.
fn is_wrong(seen: &Value) -> bool {
    let conditions = seen["conditions"].as_array().into_iter().flatten();
    conditions
        .filter(|condition| condition["type"] != "Online")
        .any(|condition| condition["status"] == "False")
}

fn same(who: &str, wanted: &End, found: &End, told: &[String]) -> anyhow::Result<()> {
    let names: std::collections::BTreeSet<_> = wanted.keys().chain(found.keys()).collect();
    let differ = names.into_iter().filter(|name| wanted.get(*name) != found.get(*name));
    let differ: Vec<_> = differ
        .map(|name| {
            let of = |end: &End| end.get(name).map_or("nothing".to_owned(), Value::to_string);
            format!("{name}: {}, and not {}", of(found), of(wanted))
        })
        .collect();
    ensure!(differ.is_empty(), "{who} is elsewhere after {}:\n{}", told.join("; "), differ.join("\n"));
    Ok(())
}

/// The objects, as they were put there.
struct World {
    client: Client,
    random: StdRng,
    standing: BTreeMap<Name, Value>,
    /// The steps of this path, in words.
    told: Vec<String>,
}

impl World {
    /// One change: an object is put there, is another, or goes.
    async fn step(&mut self) -> anyhow::Result<()> {
        let random = &mut self.random;
        let kind = KINDS[random.random_range(0..KINDS.len())].2;
        let name = (kind, format!("{}-{}", kind.to_lowercase(), random.random_range(0..3)));
        if self.standing.contains_key(&name) && random.random_bool(0.25) {
            return self.remove(name).await;
        }
        let object = any(kind, random);
        self.put(name, object).await
    }

    /// Makes right what is wrong in a Secret: where one is missing, what was there before stays, and who begins anew cannot
    /// know it.
    async fn mend(&mut self) -> anyhow::Result<()> {
        for number in 0..3 {
            self.put(("Secret", format!("secret-{number}")), secret(true)).await?;
        }
        Ok(())
    }

    /// What everything began with.
    async fn go_back(&mut self) -> anyhow::Result<()> {
        let base = base();
        let gone: Vec<_> = self.standing.keys().filter(|name| !base.contains_key(*name)).cloned().collect();
        for name in gone {
            self.remove(name).await?;
        }
        for (name, object) in base {
            // A policy's stop is released, as it would be by an admin.
            if name.0 == "NexusPolicy" {
                self.release(&name.1).await?;
            }
            self.put(name, object).await?;
        }
        Ok(())
    }

    fn api(&self, kind: &str) -> Api<DynamicObject> {
        let (group, version, kind) = KINDS.into_iter().find(|known| known.2 == kind).unwrap_or_default();
        let plural = match kind {
            "NexusPolicy" => "nexuspolicies".to_owned(),
            kind => format!("{}s", kind.to_lowercase()),
        };
        let resource =
            ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), &plural);
        match kind {
            "NexusPolicy" => Api::all_with(self.client.clone(), &resource),
            _ => Api::namespaced_with(self.client.clone(), NAMESPACE, &resource),
        }
    }
}

impl World {
    /// Puts an object there as a reconciler would. What the API server refuses is a step, too.
    async fn put(&mut self, name: Name, mut object: Value) -> anyhow::Result<()> {
        let (group, version, kind) = KINDS.into_iter().find(|known| known.2 == name.0).unwrap_or_default();
        object["apiVersion"] =
            if group.is_empty() { json!(version) } else { json!(format!("{group}/{version}")) };
        object["kind"] = json!(kind);
        object["metadata"]["name"] = json!(name.1);
        let patch = PatchParams::apply("git").force();
        let applied = self.api(kind).patch(&name.1, &patch, &Patch::Apply(&object)).await;
        let refused = refused(applied)?;
        self.told.push(format!("{refused}{} {}", name.1, object["spec"]));
        if refused.is_empty() {
            self.standing.insert(name, object);
        }
        Ok(())
    }

    async fn remove(&mut self, name: Name) -> anyhow::Result<()> {
        if name.0 == "NexusPolicy" {
            self.release(&name.1).await?;
        }
        let refused = refused(self.api(name.0).delete(&name.1, &DeleteParams::default()).await)?;
        self.told.push(format!("{refused}no {}", name.1));
        if refused.is_empty() {
            self.standing.remove(&name);
        }
        Ok(())
    }

    /// Releases the stop of a policy, if it holds one.
    async fn release(&mut self, policy: &str) -> anyhow::Result<()> {
        let api = self.api("NexusPolicy");
        let deadline = Instant::now() + PATIENCE;
        let patch = async |spec: Value| {
            let patch = Patch::Merge(json!({ "spec": spec }));
            api.patch(policy, &PatchParams::default(), &patch).await
        };
        loop {
            let Some(object) = api.get_opt(policy).await? else { return Ok(()) };
            let engagement = object.data["status"]["engagement"].clone();
            let orders = object.data["spec"]["stop"] == true;
            if engagement.is_null() && !orders {
                // What stands there when the next stop comes would name nothing.
                patch(json!({"release": null})).await?;
                return Ok(());
            }
            if engagement.is_string() {
                patch(json!({"stop": null, "release": engagement})).await?;
            }
            ensure!(Instant::now() < deadline, "{policy} stays engaged");
            sleep(CALM / 10).await;
        }
    }

    /// Takes statuses away, as if nobody had ever written one. What a stop recorded is nothing that could be derived.
    async fn wipe(&self) -> anyhow::Result<()> {
        for (kind, name) in self.standing.keys().filter(|name| KINDS[..4].iter().any(|kind| kind.2 == name.0))
        {
            let api = self.api(kind);
            let status = api.get(name).await?.data["status"].take();
            let derived = status.as_object().into_iter().flatten().map(|(key, _)| key);
            let derived = derived.filter(|key| !RECORDS.contains(&key.as_str()));
            let gone: serde_json::Map<_, _> = derived.map(|key| (key.clone(), Value::Null)).collect();
            let patch = Patch::Merge(json!({ "status": gone }));
            api.patch_status(name, &PatchParams::default(), &patch).await?;
        }
        Ok(())
    }

    /// Waits until all is said, and gives what stands there.
    async fn end(&self, stage: &Stage, door: &Door) -> anyhow::Result<End> {
        stage.calm(door, CALM).await?;
        let mut end = End::new();
        for (kind, name) in self.standing.keys() {
            let object = self.api(kind).get(name).await?;
            let mut seen = match *kind {
                "Secret" => continue,
                "Deployment" => json!({
                    "replicas": object.data["spec"]["replicas"],
                    "held": object.metadata.annotations.unwrap_or_default().get("nexus.dev/held-replicas"),
                }),
                _ => current(&object)?,
            };
            strip(&mut seen);
            end.insert(name.clone(), seen);
        }
        for (pod, config) in stage.operated.fleet.configs().await? {
            let tenants = config.as_object().into_iter().flatten();
            end.extend(tenants.map(|(tenant, config)| (format!("{pod}'s {tenant}"), config.clone())));
        }
        Ok(end)
    }
}

/// The status of an object, which must be of what stands there now.
fn current(object: &DynamicObject) -> anyhow::Result<Value> {
    let mut status = object.data["status"].clone();
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        let observed = condition["observedGeneration"].take();
        // Whether an agent is connected is nothing that its spec says.
        ensure!(
            observed.is_null() || observed == json!(object.metadata.generation),
            "{:?} tells of generation {observed}: {condition}",
            object.metadata.name
        );
    }
    Ok(status)
}

/// Nothing, or the word for what the API server refused.
fn refused<T>(answer: kube::Result<T>) -> anyhow::Result<&'static str> {
    match answer {
        Ok(_) => Ok(""),
        Err(kube::Error::Api(status)) if (400..500).contains(&status.code) => Ok(REFUSED),
        Err(error) => Err(error.into()),
    }
}

/// What everything begins with: one of each kind.
fn base() -> BTreeMap<Name, Value> {
    let one = |kind: &'static str, object| ((kind, format!("{}-0", kind.to_lowercase())), object);
    BTreeMap::from([
        one("Secret", secret(true)),
        one("Deployment", deployment(2)),
        one("Tenant", json!({"spec": {"sources": [source("github", 0)]}})),
        one(
            "AgentProfile",
            json!({"spec": {
                "tenant": "tenant-0", "workloadRef": {"kind": "Deployment", "name": "deployment-0"},
            }}),
        ),
        one(
            "Mapping",
            json!({"spec": {
                "tenant": "tenant-0", "clickupListId": "900", "slackChannelId": "C00000000",
            }}),
        ),
        one("NexusPolicy", policy(0, false)),
    ])
}

/// Any object of a kind, right or wrong.
fn any(kind: &str, random: &mut StdRng) -> Value {
    let tenant = format!("tenant-{}", random.random_range(0..3));
    match kind {
        "Secret" => secret(random.random_bool(0.7)),
        "Deployment" => deployment(random.random_range(1..4)),
        "Tenant" => {
            let sources = ["github", "slack"].map(|name| source(name, random.random_range(0..3)));
            let squad = |name: &str| json!({"name": name, "agents": {"matchLabels": {"squad": "ai"}}});
            let names: &[&str] = match random.random_range(0..4) {
                0 => &["@squad", "@SQUAD"],
                1 => &["@squad", "@bot"],
                _ => &["@squad"],
            };
            json!({"spec": {
                "sources": sources[..random.random_range(0..=2)], "limits": {"heartbeatSeconds": random.random_range(5..60)},
                "aliases": names.iter().copied().map(squad).collect::<Vec<_>>(),
            }})
        }
        "AgentProfile" => {
            let heard = ["github", "slack", "none"][random.random_range(0..3)];
            let mut object = json!({"spec": {
                "tenant": tenant, "maxInFlight": random.random_range(1..64),
                "workloadRef": {"kind": "Deployment", "name": format!("deployment-{}", random.random_range(0..3))},
                "subscriptions": [{"kinds": ["NewComment"], "sources": [heard]}],
            }});
            if random.random_bool(0.5) {
                object["metadata"]["labels"]["squad"] = json!("ai");
            }
            if random.random_bool(0.3) {
                object["spec"]["aliases"] = json!(["@bot"]);
            }
            object
        }
        "Mapping" => json!({"spec": {
            "tenant": tenant, "clickupListId": format!("90{}", random.random_range(0..2)),
            "slackChannelId": format!("C0000000{}", random.random_range(0..2)),
        }}),
        _ => policy(random.random_range(0..3), random.random_bool(0.5)),
    }
}

fn source(name: &str, secret: u32) -> Value {
    json!({"name": name, "provider": name, "secretRef": {"name": format!("secret-{secret}"), "key": "key"}})
}

fn secret(right: bool) -> Value {
    let key = if right { "key" } else { "another" };
    json!({"stringData": {key: "a-signing-secret-for-tests-only"}})
}

fn deployment(replicas: u32) -> Value {
    json!({"spec": {
        "replicas": replicas, "selector": {"matchLabels": {"app": "agent"}},
        "template": {
            "metadata": {"labels": {"app": "agent"}}, "spec": {"containers": [{"name": "agent", "image": "agent"}]},
        },
    }})
}

fn policy(tenant: u32, stop: bool) -> Value {
    let tenants = json!([{"namespace": NAMESPACE, "name": format!("tenant-{tenant}")}]);
    json!({"spec": {"stop": stop, "targets": {"tenants": tenants}}})
}
