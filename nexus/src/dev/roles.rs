//! The roles of `nexus dev`: bound once, so that a taken port is told at once, then run under supervision.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use axum::Router;
use metrics_exporter_prometheus::PrometheusHandle;
use nexus_core::clock::Clock;
use nexus_core::id::AgentId;
use nexus_gateway::{MAX_SESSIONS, Presence};
use nexus_ingest::Intake;
use nexus_runtime::Drain;
use nexus_runtime::admin::{Admin, guard_browsers};
use nexus_runtime::lane::StopGate;
use nexus_runtime::readiness::Readiness;
use nexus_runtime::server::{ServerLimits, serve};
use nexus_runtime::tasks::Tasks;
use nexus_store::bus::Bus;

use super::{DevSettings, admin};
use crate::role::control::Control;
use crate::role::data::DataDir;
use crate::role::gateway::{GatewayParts, GatewayRole};
use crate::role::gauges::{self, Looked};
use crate::role::ingest::IngestRole;
use crate::role::process::Process;
use crate::role::switch::FolderSwitch;
use crate::role::{keys, ports, reload, shown, upkeep};

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
    /// The stop switch.
    pub switch: Arc<FolderSwitch>,
    gateway: Arc<GatewayRole>,
    clock: Clock,
    readiness: Readiness,
    metrics: PrometheusHandle,
    addresses: OnceLock<Addresses>,
    drain: Drain,
}

/// What [`Roles::new`] needs.
pub struct RolesDeps<'a> {
    /// The settings.
    pub settings: DevSettings,
    /// The bus.
    pub bus: Bus,
    /// The control plane.
    pub control: Arc<Control>,
    /// The stop switch.
    pub switch: Arc<FolderSwitch>,
    /// The process.
    pub process: &'a Process,
}

impl Roles {
    /// Roles that are not running yet.
    pub fn new(deps: RolesDeps<'_>, data: &DataDir) -> anyhow::Result<Self> {
        let RolesDeps { settings, bus, control, switch, process } = deps;
        let gateway = GatewayRole::new(GatewayParts {
            bus: bus.clone(),
            gate: switch.switch().gate(),
            config: control.configured().gateway(),
            keys: keys::kept(&data.token_key())?,
            token_lifetime: settings.token_lifetime,
            max_sessions: MAX_SESSIONS,
            clock: process.clock.clone(),
            flag: "--gateway",
        });
        Ok(Self {
            settings,
            bus,
            control,
            switch,
            gateway: Arc::new(gateway),
            clock: process.clock.clone(),
            readiness: process.readiness.clone(),
            metrics: process.metrics.clone(),
            addresses: OnceLock::new(),
            drain: process.drain.clone(),
        })
    }

    /// Where the process listens.
    ///
    /// # Panics
    /// Before [`Roles::start`] has bound the ports.
    pub fn addresses(&self) -> Addresses {
        *self.addresses.get().expect("the ports are bound before anything asks for them")
    }

    /// What all must ask who act for an agent.
    pub fn gate(&self) -> StopGate {
        self.switch.switch().gate()
    }

    /// Who is connected, once the gateway is bound.
    pub fn presence(&self) -> Option<Presence> {
        self.gateway.presence()
    }

    /// Open sessions.
    pub fn sessions(&self) -> usize {
        self.presence().map_or(0, |presence| presence.sessions())
    }

    /// Open sessions of an agent.
    pub fn sessions_of(&self, agent: AgentId) -> usize {
        let agent = self.presence().and_then(|presence| presence.agent(agent));
        agent.map_or(0, |agent| agent.sessions.len())
    }

    /// Binds every port, then starts every role under supervision.
    pub async fn start(self: &Arc<Self>, tasks: &mut Tasks) -> anyhow::Result<()> {
        let gateway = self.gateway.bind(self.settings.gateway).await?;
        let ingest = ports::bind("--ingest", self.settings.ingest).await?;
        let admin = ports::bind("--admin", self.settings.admin).await?;
        let addresses = Addresses {
            ingest: ingest.local_addr().context("the ingest port has no address")?,
            gateway: gateway.address(),
            admin: admin.local_addr().context("the admin port has no address")?,
        };
        let _ = self.addresses.set(addresses);

        let (readiness, drain) = (&self.readiness, &self.drain);
        tasks.start("gateway", Arc::clone(&self.gateway).run(gateway, readiness.clone(), drain.clone()));
        let role = IngestRole {
            intake: Intake::Bus(self.bus.clone()),
            config: self.control.configured().ingest(),
            clock: self.clock.clone(),
            flag: "--ingest",
        };
        tasks.start("ingest", Arc::new(role).run(ingest, readiness.clone(), drain.clone()));
        tasks.start("admin", serve(admin, self.admin_router(), ServerLimits::default(), drain.clone()));
        let (folder, data) = (self.settings.folder.clone(), Some(self.settings.data.clone()));
        tasks.start("folder", reload::run(Arc::clone(&self.control), folder, data, drain.clone()));
        let looked = Looked {
            bus: self.bus.clone(),
            config: self.control.configured().gateway(),
            gateway: Arc::clone(&self.gateway),
            gate: self.gate(),
            clock: self.clock.clone(),
            readiness: self.readiness.clone(),
        };
        tasks.start("gauges", gauges::run(looked, drain.clone()));
        let config = self.control.configured().ingest();
        tasks.start("sweep", upkeep::sweep(self.bus.clone(), config, drain.clone()));
        tasks.start("bus", upkeep::watch(self.bus.clone(), drain.clone()));
        Ok(())
    }

    fn admin_router(self: &Arc<Self>) -> Router {
        let configured = Arc::clone(self.control.configured());
        let admin = Admin {
            readiness: self.readiness.clone(),
            metrics: self.metrics.clone(),
            config: Arc::new(move || shown::config(&configured)),
        };
        guard_browsers(admin.router().merge(admin::router(Arc::clone(self))))
    }
}
