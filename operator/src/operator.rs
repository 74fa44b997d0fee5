//! The operator as it runs: watches, one task that decides, writes, and the server for pods.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::core::DeserializeGuard;
use kube::{Api, Client, Config};
use nexus_core::clock::Clock;
use nexus_core::secret;
use nexus_crds::{AgentProfile, Mapping, Tenant};
use nexus_runtime::Drain;
use nexus_runtime::readiness::{Readiness, ReadyGuard};
use nexus_runtime::tasks::Tasks;
use nexus_wire::config::Publisher;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use crate::certificate::Served;
use crate::decide::Decider;
use crate::engine::{Change, SecretValues};
use crate::fence;
use crate::identity::Reviewer;
use crate::lease::{Holder, Leading};
use crate::objects::Key;
use crate::own::Own;
use crate::policy::ReadPolicy;
use crate::scale::Workload;
use crate::server::{self, ServeError};
use crate::slices;
use crate::store::{self, Restored};
use crate::watch::{self as watches, Named};
use crate::write::{Writer, Written};

/// How often it is decided what to write.
const TICK: Duration = Duration::from_millis(100);

/// Changes that wait to be taken in.
const CHANGES: usize = 1024;

/// How often the metrics are refreshed.
const MEASURE: Duration = Duration::from_secs(5);

/// Settings of the operator.
#[derive(Debug, Clone)]
pub struct OperatorSettings {
    /// Where pods connect.
    pub listen: SocketAddr,
    /// The operator's own namespace.
    pub namespace: String,
    /// What this replica is called; no other may be, not even the next process of the same pod.
    pub identity: String,
    /// The names of its certificate.
    pub names: Vec<String>,
}

/// The operator with its address.
pub struct Operator {
    settings: OperatorSettings,
    config: Config,
    alone: Config,
    clock: Clock,
    listener: TcpListener,
    publisher: Publisher,
}

impl Operator {
    /// Takes the address. Clients of the second configuration, of the same API server, must keep no connection. One that is kept
    /// may be dead without a word: a watch that is begun on it hears nothing until its time is over, and a few of them outlast the
    /// Lease.
    ///
    /// # Errors
    /// When it cannot be had.
    pub async fn bind(
        [config, alone]: [Config; 2],
        clock: Clock,
        settings: OperatorSettings,
    ) -> Result<Self, ServeError> {
        let listener = server::bind(settings.listen).await?;
        Ok(Self { settings, config, alone, clock, listener, publisher: Publisher::new() })
    }

    /// What is published.
    #[must_use]
    pub fn publisher(&self) -> Publisher {
        self.publisher.clone()
    }

    /// Starts all that the operator does.
    ///
    /// # Errors
    /// When a client cannot be made.
    pub fn start(self, tasks: &mut Tasks, readiness: &Readiness) -> Result<(), kube::Error> {
        let Self { settings, config, alone, clock, listener, publisher } = self;
        let (served, drain) = (Served::default(), tasks.drain());
        let reader = Client::try_from(alone.clone())?;
        let holder = Holder::new(reader.clone(), &settings.namespace, &settings.identity, clock.clone());
        let leading = holder.leading();
        let [client, alone] = [fence::client(&config, &leading)?, fence::client(&alone, &leading)?];
        let own = Own::new(
            alone.clone(),
            &settings.namespace,
            settings.names.clone(),
            served.clone(),
            leading.clone(),
            clock.clone(),
        );
        let (changes, coming) = mpsc::channel(CHANGES);
        let (secrets, deployments) = (watch::Sender::default(), watch::Sender::default());
        start_watches(tasks, readiness, &reader, &settings.namespace, &changes, (&secrets, &deployments));
        tasks.start("own", own.run(readiness.guard("the operator's certificate"), drain.clone()));
        let reviewer = Reviewer::new(reader, &settings.namespace);
        tasks.start("pods", server::serve(listener, served, publisher.clone(), reviewer, drain.clone()));
        let desk = Desk {
            decider: Decider::default(),
            publisher,
            writer: Writer::new([client, alone], leading.clone(), &settings.identity),
            clock,
            secrets,
            deployments,
            awaited: Some(readiness.guard("all objects to be read")),
        };
        tasks.start("decide", desk.run(coming, leading, drain.clone()));
        tasks.start("lease", holder.run(drain));
        Ok(())
    }
}

fn start_watches(
    tasks: &mut Tasks,
    readiness: &Readiness,
    client: &Client,
    namespace: &str,
    changes: &mpsc::Sender<Change>,
    (secrets, deployments): (&watch::Sender<BTreeSet<Key>>, &watch::Sender<BTreeSet<Key>>),
) {
    let drain = tasks.drain();
    let tenants: Api<DeserializeGuard<Tenant>> = Api::all(client.clone());
    let profiles: Api<DeserializeGuard<AgentProfile>> = Api::all(client.clone());
    let mappings: Api<DeserializeGuard<Mapping>> = Api::all(client.clone());
    let policies: Api<DeserializeGuard<ReadPolicy>> = Api::all(client.clone());
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), namespace);
    let (tell, restored) = Restored::channel();
    let store: Api<ReadPolicy> = Api::all(client.clone());
    tasks.start("store", store::follow(store, tell, readiness.clone(), drain.clone()));
    tasks.start(
        "tenants",
        watches::all(
            "tenants",
            tenants,
            None,
            Change::Tenant,
            changes.clone(),
            restored.clone(),
            drain.clone(),
        ),
    );
    tasks.start(
        "agentprofiles",
        watches::all(
            "agentprofiles",
            profiles,
            None,
            Change::Profile,
            changes.clone(),
            restored.clone(),
            drain.clone(),
        ),
    );
    tasks.start(
        "mappings",
        watches::all(
            "mappings",
            mappings,
            None,
            Change::Mapping,
            changes.clone(),
            restored.clone(),
            drain.clone(),
        ),
    );
    tasks.start(
        "nexuspolicies",
        watches::all(
            "nexuspolicies",
            policies,
            None,
            Change::Policy,
            changes.clone(),
            restored.clone(),
            drain.clone(),
        ),
    );
    tasks.start(
        "endpointslices",
        watches::all(
            "endpointslices",
            slices,
            Some(slices::LABELS),
            Change::Slice,
            changes.clone(),
            restored.clone(),
            drain.clone(),
        ),
    );
    let (client, told) = (client.clone(), changes.clone());
    let named = Named::new(
        "secrets",
        watches::LIFE_OF_SECRETS,
        client.clone(),
        values,
        Change::Secret,
        told,
        restored.clone(),
    );
    tasks.start("secrets", named.run(secrets.subscribe(), drain.clone()));
    let told = changes.clone();
    let named =
        Named::new("deployments", watches::LIFE, client, Workload::of, Change::Workload, told, restored);
    tasks.start("deployments", named.run(deployments.subscribe(), drain));
}

/// The data of a Secret.
fn values(secret: Secret) -> SecretValues {
    let data = secret.data.unwrap_or_default();
    data.into_iter().map(|(key, bytes)| (key, secret::Secret::new(bytes.0))).collect()
}

/// The one who decides.
struct Desk {
    decider: Decider,
    publisher: Publisher,
    writer: Writer,
    clock: Clock,
    /// What is to be watched by name.
    secrets: watch::Sender<BTreeSet<Key>>,
    deployments: watch::Sender<BTreeSet<Key>>,
    /// Held until all was read and published.
    awaited: Option<ReadyGuard>,
}

/// The watches ended.
#[derive(Debug, thiserror::Error)]
#[error("nothing is watched any more")]
struct Unwatched;

impl Desk {
    async fn run(
        mut self,
        mut coming: mpsc::Receiver<Change>,
        mut leading: Leading,
        drain: Drain,
    ) -> Result<(), Unwatched> {
        let mut pods = self.publisher.pods();
        let mut writes: JoinSet<Written> = JoinSet::new();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut led, mut measured) = (false, None::<Instant>);
        loop {
            tokio::select! {
                () = drain.cancelled() => {
                    // Pods go to another replica at once.
                    self.publisher.close();
                    return Ok(());
                }
                change = coming.recv() => {
                    self.take(change.ok_or(Unwatched)?, &mut coming);
                    continue;
                }
                Ok(()) = pods.changed() => {
                    let pods = Arc::clone(&pods.borrow_and_update());
                    self.decider.pods(pods, Instant::now());
                    continue;
                }
                Some(ended) = writes.join_next() => {
                    // A write that panicked is never done: its object would wait for ever.
                    let written = ended.map_err(|_| Unwatched)?;
                    self.decider.written(written, Instant::now());
                    continue;
                }
                () = leading.begun(), if !led => {
                    led = true;
                    self.decider.lead(Instant::now());
                }
                _ = tick.tick() => {}
            }
            if led && leading.now() {
                for write in self.decider.decide(&self.publisher, Instant::now(), self.clock.now()) {
                    let writer = self.writer.clone();
                    writes.spawn(async move { writer.write(write).await });
                }
            }
            if measured.is_none_or(|at| at.elapsed() >= MEASURE) {
                measured = Some(Instant::now());
                self.measure();
            }
        }
    }

    /// Takes in a change and all that wait behind it, and publishes once.
    fn take(&mut self, change: Change, coming: &mut mpsc::Receiver<Change>) {
        let now = Instant::now();
        self.decider.take(change, now);
        for _ in 0..CHANGES {
            let Ok(change) = coming.try_recv() else { break };
            self.decider.take(change, now);
        }
        if self.decider.settle(&self.publisher, now) && self.awaited.take().is_some() {
            tracing::info!("all objects are read and published");
        }
        if let Some(wanted) = self.decider.take_wanted() {
            self.secrets.send_replace(wanted);
        }
        if let Some(workloads) = self.decider.take_workloads() {
            self.deployments.send_if_modified(|watched| {
                let changed = *watched != workloads;
                *watched = workloads;
                changed
            });
        }
    }

    fn measure(&self) {
        let figures = self.decider.figures();
        metrics::gauge!("nexus_operator_tenants").set(figures.tenants);
        metrics::gauge!("nexus_operator_pods").set(figures.pods);
        metrics::gauge!("nexus_operator_unsettled").set(figures.unsettled);
        metrics::gauge!("nexus_operator_held_back_tenants").set(figures.held_back);
    }
}
