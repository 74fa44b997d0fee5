//! Roles as processes: `nexus ingest` and `nexus gateway`, which meet others at a bus that is a process of its own.

mod ingest;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use nexus_core::clock::Clock;
use nexus_gateway::TokenKeys;
use nexus_runtime::Drain;
use nexus_runtime::admin::{Admin, guard_browsers};
use nexus_runtime::apart::Apart;
use nexus_runtime::lane::StopLane;
use nexus_runtime::readiness::{Readiness, ReadyGuard};
use nexus_runtime::server::{ServerLimits, serve};
use nexus_runtime::tasks::Tasks;
use nexus_store::bus::Bus;
use nexus_store::redis::{RedisBus, RedisSettings};
use nexus_wire::config::{Role, Standing};
use tokio::sync::watch;

use super::configured::Configured;
use super::data::DataDir;
use super::gateway::{GatewayParts, GatewayRole};
use super::gauges::{self, Looked};
use super::hearsay::{Hearsay, Hints};
use super::policies::{PolicySource, PolicyWatch};
use super::process::Process;
use super::source::{Configurable, Source};
use super::standing::Teller;
use super::switch::{FolderSwitch, StopSwitch, Switch};
use super::{keys, ports, shown, upkeep};

pub use self::ingest::{IngestSettings, run as ingest};

/// The flag that chooses where a role listens.
const LISTEN: &str = "--listen";

/// The first pause before the bus is tried again, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// Settings of any role that is a process of its own.
#[derive(Debug, Clone)]
pub struct AloneSettings {
    /// Where the configuration comes from.
    pub source: Source,
    /// Where the bus is.
    pub bus: RedisSettings,
    /// Where the role listens.
    pub listen: SocketAddr,
    /// Where the admin listens.
    pub admin: SocketAddr,
    /// Whether log lines are JSON.
    pub log_json: bool,
}

/// Settings of `nexus gateway`.
#[derive(Debug, Clone)]
pub struct GatewaySettings {
    /// What it has in common with other roles.
    pub alone: AloneSettings,
    /// Where state is kept.
    pub data: PathBuf,
    /// Where an operator's configuration is kept, if not there.
    pub last_good: Option<PathBuf>,
    /// The folder with the keys of access tokens that all gateways have; without one a key is made under `data`.
    pub token_keys: Option<PathBuf>,
    /// How long access tokens are good for.
    pub token_lifetime: Duration,
    /// The most sessions.
    pub max_sessions: usize,
    /// Where NexusPolicies are read.
    pub policies: PolicySource,
}

/// Runs a gateway until Ctrl-C or SIGTERM, then drains.
pub async fn gateway(settings: GatewaySettings) -> anyhow::Result<()> {
    let GatewaySettings {
        alone: settings,
        data,
        last_good,
        token_keys,
        token_lifetime,
        max_sessions,
        policies,
    } = settings;
    let process = Process::begin(settings.log_json)?;
    let data = DataDir::open(&data)?;
    let keys = match &token_keys {
        Some(folder) => keys::given(folder)?,
        None => keys::kept(&data.token_key())?,
    };
    let switch = Arc::new(Switch::new(StopLane::open(&data.latch())?));
    // Stops are seen, told and heard on a thread of their own.
    let apart = Apart::start("nexus-stops").context("cannot start the thread of the stop lane")?;
    let (turned, watch) = turned(&switch, policies, &data, &process.readiness, &apart).await?;
    let (standing, told) = watch::channel(Standing::default());
    let configuring = settings.source.begin(Configurable {
        role: Role::Gateway,
        data: last_good.as_deref().unwrap_or(data.path()),
        secrets: None,
        switch: turned,
        standing: told,
        readiness: &process.readiness,
    })?;
    let configured = Arc::clone(configuring.configured());
    let mut tasks = Tasks::new("nexus gateway", process.drain.clone());
    // Before anybody can ask whether it is ready.
    let awaited = process.readiness.guard(format!("the bus at {}", settings.bus));
    let starting = Starting::begin(&settings, &process, &configured, &mut tasks).await?;
    let tells = matches!(settings.source, Source::Operator(_));
    configuring.start(&mut tasks, process.drain.clone());
    if let Some(watch) = watch {
        tasks.start("policies", apart.run(watch.run(process.drain.clone())));
    }
    // It waits for nothing, so that a stop is told and heard before the bus is there.
    let hearsay = Hearsay::new(&settings.bus, Arc::clone(&switch), process.clock.clone());
    let hints = hearsay.hints();
    tasks.start("stops", apart.run(hearsay.run(process.drain.clone())));
    let (bus, role) = (starting.bus.clone(), Arc::default());
    if tells {
        let (switch, gateway) = (Arc::clone(&switch), Arc::clone(&role));
        let teller =
            Teller { standing, switch, gateway, config: configured.gateway(), clock: process.clock.clone() };
        tasks.start("standing", teller.run(process.drain.clone()));
    }
    let agents =
        Agents { starting, awaited, hints, configured, role, switch, keys, token_lifetime, max_sessions };
    tasks.start("gateway", agents.serve());
    let ended = process.run(tasks, close(bus)).await;
    apart.end().await;
    // Others may use the folder only now.
    drop(data);
    ended
}

/// The switch with what turns it; a watch, where that is not the folder.
async fn turned(
    switch: &Arc<Switch>,
    by: PolicySource,
    data: &DataDir,
    readiness: &Readiness,
    apart: &Apart,
) -> anyhow::Result<(StopSwitch, Option<PolicyWatch>)> {
    let switch = Arc::clone(switch);
    Ok(match by {
        PolicySource::Folder => {
            (StopSwitch::Folder(Arc::new(FolderSwitch::open(&data.policies(), switch)?)), None)
        }
        PolicySource::Kubernetes => {
            let (of, awaits) = (Arc::clone(&switch), readiness.clone());
            let watch = apart.run(async move { PolicyWatch::new(of, &awaits).await }).await;
            let watch = watch.context("no NexusPolicy can be read (--policies kubernetes)")?;
            (StopSwitch::Elsewhere(switch), Some(watch))
        }
    })
}

/// What serves agents, once the bus is there.
struct Agents {
    starting: Starting,
    /// Held while the bus is awaited.
    awaited: ReadyGuard,
    hints: Hints,
    configured: Arc<Configured>,
    /// Where the gateway is found, once there is one.
    role: Arc<OnceLock<Arc<GatewayRole>>>,
    switch: Arc<Switch>,
    keys: TokenKeys,
    token_lifetime: Duration,
    max_sessions: usize,
}

impl Agents {
    async fn serve(self) -> anyhow::Result<()> {
        let Self {
            starting,
            awaited,
            hints,
            configured,
            role: found,
            switch,
            keys,
            token_lifetime,
            max_sessions,
        } = self;
        let Some(redis) = starting.open().await else { return Ok(()) };
        // Whoever waits for one thing after the other must not look ready in between.
        let hearing = starting.readiness.guard("what other gateways tell of stops");
        drop(awaited);
        tokio::select! {
            () = starting.drain.cancelled() => return Ok(()),
            // A gateway without all of its agents would turn some away, and route events to nobody.
            () = async { tokio::join!(hints.first(), configured.sufficient()); } => {}
        }
        let (told, bus) = (redis.watch_stops(), Bus::Redis(redis));
        let Starting { settings, clock, readiness, drain, .. } = starting;
        let role = Arc::new(GatewayRole::new(GatewayParts {
            bus: bus.clone(),
            gate: switch.gate(),
            config: configured.gateway(),
            keys,
            token_lifetime,
            max_sessions,
            clock: clock.clone(),
            flag: LISTEN,
        }));
        let bound = role.bind(settings.listen).await?;
        let _ = found.set(Arc::clone(&role));
        drop(hearing);
        tracing::info!(address = %role.address(), "agents are taken");
        let looked = Looked {
            bus: bus.clone(),
            config: configured.gateway(),
            gateway: Arc::clone(&role),
            gate: switch.gate(),
            clock,
            readiness: readiness.clone(),
        };
        tokio::try_join!(
            role.run(bound, readiness, drain.clone()),
            gauges::run(looked, drain.clone()),
            hints.pass_on(told, drain.clone()),
            upkeep::watch(bus, drain),
        )?;
        Ok(())
    }
}

/// What a role waits for before it runs.
struct Starting {
    settings: AloneSettings,
    clock: Clock,
    readiness: Readiness,
    drain: Drain,
    /// The bus, once it is open.
    bus: Arc<OnceLock<Bus>>,
}

impl Starting {
    /// Serves the admin, so that it can be asked what is awaited, and finds a taken port before anything else.
    async fn begin(
        settings: &AloneSettings,
        process: &Process,
        configured: &Arc<Configured>,
        tasks: &mut Tasks,
    ) -> anyhow::Result<Self> {
        drop(ports::bind(LISTEN, settings.listen).await?);
        let admin = ports::bind("--admin", settings.admin).await?;
        let shown = Arc::clone(configured);
        let router = Admin {
            readiness: process.readiness.clone(),
            metrics: process.metrics.clone(),
            config: Arc::new(move || shown::config(&shown)),
        };
        // Elsewhere it is asked by other names than its own, and changes nothing.
        let router = match settings.admin.ip().is_loopback() {
            true => guard_browsers(router.router()),
            false => router.router(),
        };
        tasks.start("admin", serve(admin, router, ServerLimits::default(), process.drain.clone()));
        Ok(Self {
            settings: settings.clone(),
            clock: process.clock.clone(),
            readiness: process.readiness.clone(),
            drain: process.drain.clone(),
            bus: Arc::default(),
        })
    }

    /// Opens the bus, however long it takes. None once the process is to end.
    async fn open(&self) -> Option<Arc<RedisBus>> {
        let redis = &self.settings.bus;
        let mut pause = PAUSE.0;
        loop {
            let error = tokio::select! {
                () = self.drain.cancelled() => return None,
                opened = RedisBus::open(redis.clone(), self.clock.clone()) => match opened {
                    Ok(bus) => {
                        let bus = Arc::new(bus);
                        let _ = self.bus.set(Bus::Redis(Arc::clone(&bus)));
                        return Some(bus);
                    }
                    Err(error) => format!("{:#}", anyhow::Error::from(error)),
                },
            };
            metrics::counter!("nexus_bus_open_failures_total").increment(1);
            tracing::warn!(error, "cannot reach the bus at {redis}; trying again (--bus names it)");
            tokio::select! {
                () = self.drain.cancelled() => return None,
                () = tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..=1.0))) => {}
            }
            pause = (pause * 2).min(PAUSE.1);
        }
    }
}

async fn close(bus: Arc<OnceLock<Bus>>) {
    if let Some(bus) = bus.get() {
        bus.close().await;
    }
}
