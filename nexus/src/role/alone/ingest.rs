//! `nexus ingest`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use nexus_core::clock::Clock;
use nexus_ingest::Intake;
use nexus_runtime::Drain;
use nexus_runtime::readiness::{Readiness, ReadyGuard};
use nexus_runtime::tasks::Tasks;
use nexus_store::bus::Bus;
use nexus_store::spool::Spool;
use nexus_wire::config::{Role, Standing};
use tokio::sync::watch;

use super::{AloneSettings, LISTEN, Starting, close};
use crate::role::configured::Configured;
use crate::role::data::DataDir;
use crate::role::ingest::IngestRole;
use crate::role::process::Process;
use crate::role::source::Configurable;
use crate::role::spool::{self, SpoolClass};
use crate::role::{ports, upkeep};

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
    /// Where signing secrets of the operator are kept, if anywhere.
    pub secrets: Option<PathBuf>,
}

/// Runs ingest until Ctrl-C or SIGTERM, then drains. It takes webhooks as soon as the spool is open and it knows whose, whether
/// or not the bus is there.
pub async fn run(settings: IngestSettings) -> anyhow::Result<()> {
    let IngestSettings { alone: mut settings, data, spool_bytes, spool_class, secrets } = settings;
    settings.bus.listens = false;
    let process = Process::begin(settings.log_json)?;
    let data = DataDir::open(&data)?;
    let configuring = settings.source.begin(Configurable {
        role: Role::Ingest,
        data: data.path(),
        secrets: secrets.as_deref(),
        switch: super::StopSwitch::None,
        standing: watch::channel(Standing::default()).1,
        readiness: &process.readiness,
    })?;
    let configured = Arc::clone(configuring.configured());
    let awaited = process.readiness.guard("the spool to be read");
    let mut tasks = Tasks::new("nexus ingest", process.drain.clone());
    let starting = Starting::begin(&settings, &process, &configured, &mut tasks).await?;
    configuring.start(&mut tasks, process.drain.clone());
    let bus = starting.bus.clone();
    let spool = spool::open(data.spool(), spool_bytes, spool_class).await?;
    // Cancelled when no more webhooks are taken: what waits then is the last.
    let served = Drain::new();
    let hooks = Hooks {
        intake: Intake::Spool(spool.clone()),
        configured: Arc::clone(&configured),
        clock: process.clock.clone(),
        readiness: process.readiness.clone(),
        drain: process.drain.clone(),
        awaited,
    };
    tasks.start("ingest", {
        let (listen, served) = (settings.listen, served.clone().drop_guard());
        async move {
            let _served = served;
            hooks.serve(listen).await
        }
    });
    tasks.start("spool", {
        let (spool, served, readiness) = (spool.clone(), served.clone(), process.readiness.clone());
        async move { spool::care(&spool, readiness, served).await }
    });
    tasks.start("bus", move_events(starting, spool.clone(), configured, served));
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

/// What takes webhooks, once it is known whose.
struct Hooks {
    intake: Intake,
    configured: Arc<Configured>,
    clock: Clock,
    readiness: Readiness,
    drain: Drain,
    /// Held until the port is taken.
    awaited: ReadyGuard,
}

impl Hooks {
    async fn serve(self, listen: SocketAddr) -> anyhow::Result<()> {
        let Self { intake, configured, clock, readiness, drain, awaited } = self;
        tokio::select! {
            () = drain.cancelled() => return Ok(()),
            () = configured.sufficient() => {}
        }
        let listener = ports::bind(LISTEN, listen).await?;
        drop(awaited);
        tracing::info!(address = %listen, "webhooks are taken");
        let role = Arc::new(IngestRole { intake, config: configured.ingest(), clock, flag: LISTEN });
        role.run(listener, readiness, drain).await
    }
}

/// Moves what is in the spool into the bus, once that is open, until no more webhooks are taken and nothing waits.
async fn move_events(
    starting: Starting,
    spool: Spool,
    configured: Arc<Configured>,
    served: Drain,
) -> anyhow::Result<()> {
    let Some(redis) = starting.open().await else { return Ok(()) };
    let (bus, drain) = (Bus::Redis(Arc::clone(&redis)), starting.drain);
    let moved = async {
        spool::drain(&spool, redis, served).await;
        anyhow::Ok(())
    };
    let swept = async {
        tokio::select! {
            () = drain.cancelled() => return Ok(()),
            () = configured.sufficient() => {}
        }
        upkeep::sweep(bus.clone(), configured.ingest(), drain.clone()).await
    };
    tokio::try_join!(moved, swept, upkeep::watch(bus.clone(), drain.clone()))?;
    Ok(())
}
