//! Roles as processes: `nexus ingest` and `nexus gateway`, which meet others at a bus that is a process of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use nexus_core::clock::Clock;
use nexus_gateway::TokenKeys;
use nexus_ingest::Intake;
use nexus_runtime::Drain;
use nexus_runtime::admin::{Admin, guard_browsers};
use nexus_runtime::lane::StopLane;
use nexus_runtime::readiness::{Readiness, ReadyGuard};
use nexus_runtime::server::{ServerLimits, serve};
use nexus_runtime::tasks::Tasks;
use nexus_store::bus::Bus;
use nexus_store::redis::{RedisBus, RedisSettings};
use nexus_store::spool::Spool;

use super::control::{self, Control, Scope};
use super::cut::Cut;
use super::data::DataDir;
use super::gateway::{GatewayParts, GatewayRole};
use super::gauges::{self, Looked};
use super::hearsay::{Hearsay, Hints};
use super::ingest::IngestRole;
use super::policies::{PolicySource, PolicyWatch};
use super::process::Process;
use super::spool::SpoolClass;
use super::switch::{FolderSwitch, StopSwitch, Switch};
use super::{keys, ports, reload, shown, spool, upkeep};

/// The flag that chooses where a role listens.
const LISTEN: &str = "--listen";

/// The first pause before the bus is tried again, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// Settings of any role that is a process of its own.
#[derive(Debug, Clone)]
pub struct AloneSettings {
    /// Folder of CR and Secret files.
    pub folder: PathBuf,
    /// Where the bus is.
    pub bus: RedisSettings,
    /// Where the role listens.
    pub listen: SocketAddr,
    /// Where the admin listens.
    pub admin: SocketAddr,
    /// Whether log lines are JSON.
    pub log_json: bool,
}

/// Settings of `nexus ingest`.
#[derive(Debug, Clone)]
pub struct IngestSettings {
    /// What it has in common with other roles.
    pub alone: AloneSettings,
    /// Where the spool is kept.
    pub data: PathBuf,
    /// The most bytes that the spool takes.
    pub spool_bytes: u64,
    /// What the spool's folder outlives.
    pub spool_class: SpoolClass,
}

/// Runs ingest until Ctrl-C or SIGTERM, then drains. It takes webhooks as soon as the spool is open, whether or not the
/// bus is there.
pub async fn ingest(settings: IngestSettings) -> anyhow::Result<()> {
    let IngestSettings { alone: mut settings, data, spool_bytes, spool_class } = settings;
    settings.bus.listens = false;
    let process = Process::begin(settings.log_json)?;
    let folder = control::served(&settings.folder)?;
    let data = DataDir::open(&data)?;
    let without = Some(data.path().to_owned());
    let scope = Scope { without: without.clone(), cut: Cut::Ingest, ..Scope::default() };
    let control = Arc::new(Control::new(&folder, scope));
    control.reload();
    let awaited = process.readiness.guard("the spool to be read");
    let mut tasks = Tasks::new("nexus ingest", process.drain.clone());
    let starting = Starting::begin(&settings, &process, &control, &mut tasks).await?;
    tasks.start("folder", reload::run(Arc::clone(&control), folder, without, process.drain.clone()));
    let bus = starting.bus.clone();
    let spool = spool::open(data.spool(), spool_bytes, spool_class).await?;
    let listener = ports::bind(LISTEN, settings.listen).await?;
    drop(awaited);
    tracing::info!(address = %settings.listen, "webhooks are taken");
    // Cancelled when no more webhooks are taken: what waits then is the last.
    let served = Drain::new();
    tasks.start("ingest", {
        let (control, intake) = (Arc::clone(&control), Intake::Spool(spool.clone()));
        let role = Arc::new(IngestRole { intake, control, clock: process.clock.clone(), flag: LISTEN });
        let (readiness, drain) = (process.readiness.clone(), process.drain.clone());
        let served = served.clone().drop_guard();
        async move {
            let _served = served;
            role.run(listener, readiness, drain).await
        }
    });
    tasks.start("spool", {
        let (spool, served, readiness) = (spool.clone(), served.clone(), process.readiness.clone());
        async move { spool::care(&spool, readiness, served).await }
    });
    tasks.start("bus", move_events(starting, spool.clone(), control, served));
    let ended = process
        .run(tasks, async {
            spool.close().await;
            close(bus).await;
        })
        .await;
    // Others may use the folder only now.
    drop(data);
    ended
}

/// Moves what is in the spool into the bus, once that is open, until no more webhooks are taken and nothing waits.
async fn move_events(
    starting: Starting,
    spool: Spool,
    control: Arc<Control>,
    served: Drain,
) -> anyhow::Result<()> {
    let Some(redis) = starting.open().await else { return Ok(()) };
    let (bus, drain) = (Bus::Redis(Arc::clone(&redis)), starting.drain);
    let moved = async {
        spool::drain(&spool, redis, served).await;
        anyhow::Ok(())
    };
    tokio::try_join!(moved, upkeep::sweep(bus.clone(), control, drain.clone()), upkeep::watch(bus, drain))?;
    Ok(())
}

/// Settings of `nexus gateway`.
#[derive(Debug, Clone)]
pub struct GatewaySettings {
    /// What it has in common with other roles.
    pub alone: AloneSettings,
    /// Where state is kept.
    pub data: PathBuf,
    /// The folder with the keys of access tokens that all gateways have; without one a key is made under `data`.
    pub token_keys: Option<PathBuf>,
    /// How long access tokens are good for.
    pub token_lifetime: Duration,
    /// The most sessions.
    pub max_sessions: usize,
    /// Where the NexusPolicies are.
    pub policies: PolicySource,
}

/// Runs a gateway until Ctrl-C or SIGTERM, then drains.
pub async fn gateway(settings: GatewaySettings) -> anyhow::Result<()> {
    let GatewaySettings { alone: settings, data, token_keys, token_lifetime, max_sessions, policies } =
        settings;
    let process = Process::begin(settings.log_json)?;
    let folder = control::served(&settings.folder)?;
    let data = DataDir::open(&data)?;
    let keys = match &token_keys {
        Some(folder) => keys::given(folder)?,
        None => keys::kept(&data.token_key())?,
    };
    let switch = Arc::new(Switch::new(StopLane::open(&data.latch())?));
    let (turned, watch) = turned(&switch, policies, &data, &process.readiness).await?;
    let scope =
        Scope { without: Some(data.path().to_owned()), cut: Cut::Gateway, agents: None, switch: turned };
    let control = Arc::new(Control::new(&folder, scope));
    control.reload();
    let mut tasks = Tasks::new("nexus gateway", process.drain.clone());
    // Before anybody can ask whether it is ready.
    let awaited = process.readiness.guard(format!("the bus at {}", settings.bus));
    let starting = Starting::begin(&settings, &process, &control, &mut tasks).await?;
    let ours = Some(data.path().to_owned());
    tasks.start("folder", reload::run(Arc::clone(&control), folder, ours, process.drain.clone()));
    if let Some(watch) = watch {
        tasks.start("policies", watch.run(process.drain.clone()));
    }
    // It waits for nothing, so that a stop is told and heard before the bus is there.
    let hearsay = Hearsay::new(&settings.bus, Arc::clone(&switch), process.clock.clone());
    let hints = hearsay.hints();
    tasks.start("stops", hearsay.run(process.drain.clone()));
    let bus = starting.bus.clone();
    let agents = Agents { starting, awaited, hints, control, switch, keys, token_lifetime, max_sessions };
    tasks.start("gateway", agents.serve());
    let ended = process.run(tasks, close(bus)).await;
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
) -> anyhow::Result<(StopSwitch, Option<PolicyWatch>)> {
    let switch = Arc::clone(switch);
    Ok(match by {
        PolicySource::Folder => {
            (StopSwitch::Folder(Arc::new(FolderSwitch::open(&data.policies(), switch)?)), None)
        }
        PolicySource::Kubernetes => {
            let watch = PolicyWatch::new(Arc::clone(&switch), readiness).await;
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
    control: Arc<Control>,
    switch: Arc<Switch>,
    keys: TokenKeys,
    token_lifetime: Duration,
    max_sessions: usize,
}

impl Agents {
    async fn serve(self) -> anyhow::Result<()> {
        let Self { starting, awaited, hints, control, switch, keys, token_lifetime, max_sessions } = self;
        let Some(redis) = starting.open().await else { return Ok(()) };
        // Whoever waits for one thing after the other must not look ready in between.
        let hearing = starting.readiness.guard("what other gateways tell of stops");
        drop(awaited);
        tokio::select! {
            () = starting.drain.cancelled() => return Ok(()),
            () = hints.first() => {}
        }
        let (told, bus) = (redis.watch_stops(), Bus::Redis(redis));
        let Starting { settings, clock, readiness, drain, .. } = starting;
        let role = Arc::new(GatewayRole::new(GatewayParts {
            bus: bus.clone(),
            gate: switch.gate(),
            control: Arc::clone(&control),
            keys,
            token_lifetime,
            max_sessions,
            clock: clock.clone(),
            flag: LISTEN,
        }));
        let bound = role.bind(settings.listen).await?;
        drop(hearing);
        tracing::info!(address = %role.address(), "agents are taken");
        let looked = Looked {
            bus: bus.clone(),
            control,
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
        control: &Arc<Control>,
        tasks: &mut Tasks,
    ) -> anyhow::Result<Self> {
        drop(ports::bind(LISTEN, settings.listen).await?);
        let admin = ports::bind("--admin", settings.admin).await?;
        let shown = Arc::clone(control);
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
