//! The roles of one process: bound once, so that a taken port is told at once, then run under supervision.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwapOption;
use axum::Router;
use jiff::Timestamp;
use metrics_exporter_prometheus::PrometheusHandle;
use nexus_core::clock::Clock;
use nexus_core::id::AgentId;
use nexus_core::secret::Secret;
use nexus_core::snapshot::Storage;
use nexus_gateway::token::TokenKeys;
use nexus_gateway::{Gateway, GatewayDeps, GatewaySettings, Leases, Presence};
use nexus_ingest::{Ingest, IngestSettings};
use nexus_runtime::admin::{Admin, guard_browsers};
use nexus_runtime::lane::StopLane;
use nexus_runtime::readiness::Readiness;
use nexus_runtime::server::{ServerLimits, serve};
use nexus_runtime::tasks::Tasks;
use nexus_runtime::{Drain, file, telemetry};
use nexus_store::bus::{Bus, BusError};
use serde_json::json;
use tokio::net::TcpListener;

use super::control::Control;
use super::data::DataDir;
use super::supervise::supervise;
use super::{DevSettings, admin, gauges, reload};

/// How long a drain may take before what is left is aborted.
pub const DRAIN: Duration = Duration::from_secs(15);

/// How often handled events are forgotten.
const SWEEP: Duration = Duration::from_secs(60);

/// Where the process listens.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// Webhooks.
    pub ingest: SocketAddr,
    /// Agents.
    pub gateway: SocketAddr,
    /// The admin.
    pub admin: SocketAddr,
}

/// What the roles share.
pub struct Roles {
    /// The settings.
    pub settings: DevSettings,
    /// The bus.
    pub bus: Bus,
    /// The control plane.
    pub control: Arc<Control>,
    /// The stop lane.
    pub lane: Arc<StopLane>,
    clock: Clock,
    readiness: Readiness,
    metrics: PrometheusHandle,
    keys: TokenKeys,
    leases: Leases,
    presence: ArcSwapOption<Presence>,
    addresses: OnceLock<Addresses>,
    drain: Drain,
}

/// What [`Roles::new`] needs.
pub struct RolesDeps {
    /// The settings.
    pub settings: DevSettings,
    /// The bus.
    pub bus: Bus,
    /// The control plane.
    pub control: Arc<Control>,
    /// The stop lane.
    pub lane: Arc<StopLane>,
    /// The clock.
    pub clock: Clock,
    /// What start-up waits for.
    pub readiness: Readiness,
    /// The metrics.
    pub metrics: PrometheusHandle,
    /// Asks everything to end.
    pub drain: Drain,
}

impl Roles {
    /// Roles that are not running yet.
    pub fn new(deps: RolesDeps, data: &DataDir) -> anyhow::Result<Self> {
        let RolesDeps { settings, bus, control, lane, clock, readiness, metrics, drain } = deps;
        Ok(Self {
            settings,
            bus,
            control,
            lane,
            clock,
            readiness,
            metrics,
            keys: token_keys(data)?,
            leases: Leases::default(),
            presence: ArcSwapOption::empty(),
            addresses: OnceLock::new(),
            drain,
        })
    }

    /// Where the process listens.
    ///
    /// # Panics
    /// Before [`Roles::start`] has bound the ports.
    pub fn addresses(&self) -> Addresses {
        *self.addresses.get().expect("the ports are bound before anything asks for them")
    }

    /// Asks everything to end.
    pub fn drain(&self) -> &Drain {
        &self.drain
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Who is connected, once the gateway is bound.
    pub fn presence(&self) -> Option<Presence> {
        self.presence.load().as_deref().cloned()
    }

    /// Open sessions.
    pub fn sessions(&self) -> usize {
        self.presence.load().as_ref().map_or(0, |presence| presence.sessions())
    }

    /// Open sessions of an agent.
    pub fn sessions_of(&self, agent: AgentId) -> usize {
        let presence = self.presence.load();
        let agent = presence.as_ref().and_then(|presence| presence.agent(agent));
        agent.map_or(0, |agent| agent.sessions.len())
    }

    /// Binds every port, then starts every role under supervision.
    pub async fn start(self: &Arc<Self>, tasks: &mut Tasks) -> anyhow::Result<()> {
        let gateway = self.bind_gateway(self.settings.gateway).await?;
        let ingest = bind("--ingest", self.settings.ingest).await?;
        let admin = bind("--admin", self.settings.admin).await?;
        let addresses = Addresses {
            ingest: ingest.local_addr().context("the ingest port has no address")?,
            gateway: gateway.address(),
            admin: admin.local_addr().context("the admin port has no address")?,
        };
        let _ = self.addresses.set(addresses);

        let (mut first, roles) = (Some(gateway), Arc::clone(self));
        let gateway = supervise("gateway", self.readiness.clone(), self.drain.clone(), move || {
            let (roles, bound) = (Arc::clone(&roles), first.take());
            async move { roles.run_gateway(bound).await }
        });
        tasks.start("gateway", gateway);
        let (mut first, roles) = (Some(ingest), Arc::clone(self));
        let ingest = supervise("ingest", self.readiness.clone(), self.drain.clone(), move || {
            let (roles, listener) = (Arc::clone(&roles), first.take());
            async move { roles.run_ingest(listener).await }
        });
        tasks.start("ingest", ingest);
        tasks.start("admin", serve(admin, self.admin_router(), ServerLimits::default(), self.drain.clone()));
        let (control, settings, drain) =
            (Arc::clone(&self.control), self.settings.clone(), self.drain.clone());
        tasks.start(
            "folder",
            async move { reload::run(control, &settings.folder, &settings.data, drain).await },
        );
        tasks.start("metrics", telemetry::upkeep(self.metrics.clone(), self.drain.clone()));
        tasks.start("gauges", gauges::run(Arc::clone(self)));
        tasks.start("sweep", Arc::clone(self).sweep());
        tasks.start("bus", Arc::clone(self).watch_bus());
        Ok(())
    }

    async fn bind_gateway(&self, address: SocketAddr) -> anyhow::Result<nexus_gateway::Bound> {
        let deps = GatewayDeps {
            bus: self.bus.clone(),
            gate: self.lane.gate(),
            config: self.control.gateway(),
            keys: self.keys.clone(),
            clock: self.clock.clone(),
        };
        // What a gateway that was cut down could not return, the next one does.
        let settings = GatewaySettings {
            leases: self.leases.clone(),
            token_lifetime: self.settings.token_lifetime,
            ..GatewaySettings::at(address)
        };
        let bound = Gateway::bind(deps, settings).await.with_context(|| port_taken("--gateway", address))?;
        self.presence.store(Some(Arc::new(bound.presence())));
        Ok(bound)
    }

    async fn run_gateway(&self, bound: Option<nexus_gateway::Bound>) -> anyhow::Result<()> {
        let bound = match bound {
            Some(bound) => bound,
            None => self.bind_gateway(self.addresses().gateway).await?,
        };
        Ok(bound.run(self.drain.clone()).await?)
    }

    async fn run_ingest(&self, listener: Option<TcpListener>) -> anyhow::Result<()> {
        let listener = match listener {
            Some(listener) => listener,
            None => bind("--ingest", self.addresses().ingest).await?,
        };
        let (bus, config, clock) = (self.bus.clone(), self.control.ingest(), self.clock.clone());
        let ingest = Ingest::new(bus, config, clock, IngestSettings::default());
        let router = nexus_ingest::router(ingest);
        serve(listener, router, ServerLimits::default(), self.drain.clone())
            .await
            .context("the ingest server failed")
    }

    fn admin_router(self: &Arc<Self>) -> Router {
        let control = Arc::clone(&self.control);
        let admin = Admin {
            readiness: self.readiness.clone(),
            metrics: self.metrics.clone(),
            config: Arc::new(move || config(&control)),
        };
        guard_browsers(admin.router().merge(admin::router(Arc::clone(self))))
    }

    /// A bus that can do no more work ends the process: whoever restarts it opens the bus again.
    async fn watch_bus(self: Arc<Self>) -> anyhow::Result<()> {
        tokio::select! {
            () = self.drain.cancelled() => Ok(()),
            () = self.bus.ended() => anyhow::bail!("the bus has ended; see the log above"),
        }
    }

    /// Forgets handled events that are older than their tenant keeps them.
    async fn sweep(self: Arc<Self>) -> anyhow::Result<()> {
        let mut tick = tokio::time::interval(SWEEP);
        loop {
            tokio::select! {
                () = self.drain.cancelled() => return Ok(()),
                _ = tick.tick() => {}
            }
            if let Err(error) = self.sweep_all().await {
                tracing::warn!(
                    error = format!("{:#}", anyhow::Error::from(error)),
                    "cannot forget handled events"
                );
            }
        }
    }

    /// Sweeps every tenant that the bus knows, those without a Tenant object too, until nothing is left.
    async fn sweep_all(&self) -> Result<(), BusError> {
        for tenant in self.bus.tenants().await? {
            let view = self.control.view();
            let storage =
                view.tenants.get(&tenant).map_or_else(Storage::default, |compiled| compiled.ingest.storage);
            loop {
                let swept = self.bus.sweep(&tenant, storage.retention).await?;
                tracing::debug!(%tenant, events = swept.events, keys = swept.keys, "forgotten");
                if !swept.more || self.drain.is_cancelled() {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// The configuration in force, sorted and without secrets.
fn config(control: &Control) -> serde_json::Value {
    let view = control.view();
    let tenants = view.tenants.iter().map(|(tenant, compiled)| {
        let mut snapshots = json!({ "ingest": compiled.ingest, "gateway": compiled.gateway });
        mask_credentials(&mut snapshots);
        (tenant.to_string(), snapshots)
    });
    serde_json::Value::Object(tenants.collect())
}

/// A digest is no secret, but a secret that somebody chose badly could be guessed from it.
fn mask_credentials(snapshots: &mut serde_json::Value) {
    let agents = snapshots.pointer_mut("/gateway/agents").and_then(serde_json::Value::as_object_mut);
    for agent in agents.into_iter().flat_map(serde_json::Map::values_mut) {
        if let Some(credential) = agent.get_mut("credential") {
            *credential = json!("set");
        }
    }
}

async fn bind(flag: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| port_taken(flag, address))
}

fn port_taken(flag: &str, address: SocketAddr) -> String {
    format!("cannot listen on {address}; free it, or choose another with {flag}")
}

/// The key that signs access tokens, made at the first start.
fn token_keys(data: &DataDir) -> anyhow::Result<TokenKeys> {
    let path = data.token_key();
    match std::fs::read(&path) {
        Ok(pem) => TokenKeys::from_pem(&Secret::new(pem))
            .with_context(|| format!("{} holds no usable key; remove it to make a new one", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let keys = TokenKeys::generate();
            file::replace(&path, keys.to_pem()?.expose())
                .with_context(|| format!("cannot write {}", path.display()))?;
            Ok(keys)
        }
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}
