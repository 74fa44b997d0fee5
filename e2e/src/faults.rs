//! Faults of a fleet: ingest and two gateways as processes around a Redis, under load that never pauses.
//!
//! Each row has a fleet, data, books and agents of its own. A fault comes, goes, and all that was accepted before it has
//! to arrive with every agent, in order, before it comes again.

mod bus;
mod flood;
mod gateways;
mod limits;
mod long;
mod report;
mod scene;
mod window;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};

use self::scene::Scene;
use crate::load::Rate;
use crate::powerloss::Model;
use crate::proof::{Choice, bar, tell};
use crate::setup::{Begun, Setup};
pub use report::{Report, Row};

/// What may go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Fault {
    /// A gateway is killed.
    GatewayKill,
    /// Gateways are asked to end, one after the other, with many sessions.
    Drain,
    /// Some agents stop reading.
    Stalled,
    /// Thousands of sockets that say nothing, or hardly anything.
    Flood,
    /// Redis is killed.
    RedisKill,
    /// Ingest is killed.
    IngestKill,
    /// Redis loses the power, or ingest does.
    PowerLoss,
    /// Redis fails over to a replica that lags.
    Failover,
    /// Redis is emptied.
    Emptied,
    /// Keys of a tenant are of another type; Redis has no memory left.
    Broken,
    /// A gateway and Redis do not hear each other, in one direction or both.
    Partition,
    /// The disk of the spool is full.
    DiskFull,
    /// The spool is full.
    SpoolFull,
    /// Processes have no file descriptors left.
    Files,
    /// A process has no memory left.
    Memory,
    /// Redis is away for long.
    Outage,
    /// All gateways are dead for long.
    NoGateways,
    /// A gateway with thousands of sessions is killed.
    Takeover,
}

impl Fault {
    const fn name(self) -> &'static str {
        match self {
            Self::GatewayKill => "gateway kill -9",
            Self::Drain => "rolling drain",
            Self::Stalled => "stalled agents",
            Self::Flood => "slow and silent sockets",
            Self::RedisKill => "Redis kill -9",
            Self::IngestKill => "ingest kill -9",
            Self::PowerLoss => "power loss, Redis or ingest",
            Self::Failover => "failover to a lagging replica",
            Self::Emptied => "FLUSHALL",
            Self::Broken => "WRONGTYPE, no memory",
            Self::Partition => "gateway cut from Redis",
            Self::DiskFull => "spool's disk full",
            Self::SpoolFull => "spool full",
            Self::Files => "no file descriptors",
            Self::Memory => "no memory for ingest",
            Self::Outage => "Redis away",
            Self::NoGateways => "no gateway",
            Self::Takeover => "kill -9 under a crowd",
        }
    }

    /// Whether the bus keeps all that it was told.
    const fn loses_nothing(self) -> bool {
        matches!(self, Self::GatewayKill | Self::Drain | Self::RedisKill | Self::IngestKill | Self::Partition)
    }

    /// Whether it has to mount something.
    const fn mounts(self) -> bool {
        matches!(self, Self::DiskFull)
    }
}

/// What `faults` is asked to do.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Which of them
    #[command(flatten)]
    pub choice: Choice<Fault>,
    /// How often Redis is killed, and ingest, and a gateway
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub kills: u32,
    /// How often the power is lost
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub power_losses: u32,
    /// How often Redis fails over
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub failovers: u32,
    /// How long Redis is away, and all gateways are dead, in seconds
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    pub outage: u64,
    /// Sessions of the crowd under which a gateway is killed [default: 10000, or what the limit of open files allows for]
    #[arg(long, value_name = "N")]
    pub crowd: Option<usize>,
    /// Fail if fewer events than so many are accepted in all rows together
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub least_events: u64,
    /// Webhooks a second
    #[arg(long, default_value_t = 600, value_name = "N")]
    pub rate: u32,
    /// What every proof is told
    #[command(flatten)]
    pub setup: Setup,
}

impl Settings {
    /// Whether a fault is among them that has to mount something.
    pub fn mounts(&self) -> bool {
        self.choice.rows().into_iter().any(Fault::mounts)
    }
}

/// What all rows share.
struct Plan {
    nexus: PathBuf,
    work: PathBuf,
    seed: u64,
    rate: Rate,
    settings: Settings,
    /// The most files that a process may open.
    files: u64,
}

/// Runs all rows.
pub async fn run(settings: Settings) -> anyhow::Result<Report> {
    let files = raise_file_limit();
    let Begun { nexus, seed, work } = settings.setup.begin("nexus-faults-")?;
    let rate = Rate { per_second: settings.rate, bytes: 1500 };
    let plan = Plan { nexus, work: work.path().canonicalize()?, seed, rate, settings, files };
    let faults = plan.settings.choice.rows();
    let bar = bar(faults.len() as u64)?;
    let least_events = plan.settings.least_events;
    let mut report = Report { seed, least_events, rows: Vec::new(), kept: None };
    for fault in faults {
        bar.set_message(fault.name());
        let row = act(&plan, fault).await.unwrap_or_else(|error| Row::broken(fault.name(), &error));
        tell(&bar, row.name, &row.failures);
        clear(&scene::folder(&plan, fault), &row)?;
        report.rows.push(row);
        bar.inc(1);
    }
    bar.finish_and_clear();
    if !report.is_good() {
        report.kept = Some(work.keep());
    }
    Ok(report)
}

async fn act(plan: &Plan, fault: Fault) -> anyhow::Result<Row> {
    match fault {
        Fault::PowerLoss => return bus::power_losses(plan, fault).await,
        Fault::Failover => return bus::failovers(plan, fault).await,
        Fault::DiskFull => return limits::disk_full(plan, fault).await,
        Fault::SpoolFull => return limits::spool_full(plan, fault).await,
        Fault::Files => return limits::files(plan, fault).await,
        Fault::Memory => return limits::memory(plan, fault).await,
        Fault::Stalled => return gateways::stalled(plan, fault).await,
        _ => {}
    }
    let mut scene = Scene::new(plan, fault).await?;
    let played = match fault {
        Fault::GatewayKill => gateways::kills(&mut scene, plan.settings.kills).await,
        Fault::Drain => gateways::drain(&mut scene).await,
        Fault::Flood => flood::flood(&mut scene).await,
        Fault::RedisKill => bus::redis_kills(&mut scene, plan.settings.kills).await,
        Fault::IngestKill => bus::ingest_kills(&mut scene, plan.settings.kills).await,
        Fault::Emptied => bus::emptied(&mut scene).await,
        Fault::Broken => bus::broken(&mut scene).await,
        Fault::Partition => gateways::partition(&mut scene).await,
        Fault::Outage => long::outage(&mut scene, plan.settings.outage, plan.settings.rate).await,
        Fault::NoGateways => long::no_gateways(&mut scene, plan.settings.outage).await,
        _ => long::takeover(&mut scene, plan.settings.crowd, plan.files).await,
    };
    Ok(scene.end(played).await)
}

/// Removes what a good row leaves, which may be a gigabyte.
fn clear(folder: &Path, row: &Row) -> anyhow::Result<()> {
    // A Redis that was killed leaves a child for a moment, which takes its own files away: then what is left goes next.
    while row.failures.is_empty() && folder.exists() {
        match std::fs::remove_dir_all(folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            removed => removed.with_context(|| format!("cannot remove {}", folder.display()))?,
        }
    }
    Ok(())
}

/// A crowd needs a socket each, on both sides. The most files that each process may open now.
fn raise_file_limit() -> u64 {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // If that is refused, connections fail later and say so.
    let _ = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Which losses of power are modelled.
const MODEL: Model = Model::Ext4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_row_leaves_nothing_and_a_bad_one_all() {
        let work = tempfile::tempdir().unwrap();
        let folder = work.path().join("drill");
        std::fs::create_dir(&folder).unwrap();
        let mut row = Row::broken("drill", &anyhow::anyhow!("wrong"));
        clear(&folder, &row).unwrap();
        assert!(folder.exists());
        row.failures.clear();
        clear(&folder, &row).unwrap();
        assert!(!folder.exists());
    }
}
