//! A whole Nexus on a node with pods: whether what is installed delivers, and how long a stop takes there, also while a part of
//! it is dead or cut off.
//!
//! All that runs is as `config/default` has it, and so is its network: sessions come to the gateways' pods, webhooks to the
//! Service of ingest, and one agent runs in pods of its own.

mod delivery;
mod filter;
mod impaired;
mod outside;
mod pods;
mod report;
mod restarted;
mod stops;
mod system;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use self::report::Times;
pub use self::report::{Figure, Image, Report, Row};
use self::system::{HOOK, System};
use crate::feed::Feed;
use crate::program;
use crate::proof::{Choice, bar, tell};
use crate::sessions::Many;
use crate::setup::{Begun, Setup};

/// A part of the proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// All pods become ready, and a webhook reaches an agent in a pod and one outside.
    Delivery,
    /// Stops, each released again.
    Stop,
    /// Stops, around each of which all operators are killed.
    OperatorKilled,
    /// Stops while a packet filter swallows what the gateways' connections to the API server carry.
    WatchDropped,
    /// Stops while one gateway does not reach the API server at all, but the bus.
    GatewayCut,
    /// The API server is away in a stop, and a gateway is killed meanwhile.
    ApiDown,
}

impl Part {
    const fn name(self) -> &'static str {
        match self {
            Self::Delivery => "delivery",
            Self::Stop => "stop",
            Self::OperatorKilled => "stop, operators killed",
            Self::WatchDropped => "stop, watches dropped",
            Self::GatewayCut => "stop, gateway cut off",
            Self::ApiDown => "API server away in a stop",
        }
    }
}

/// What `node` is asked to do.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "It starts a node (e2e/cluster) and needs root for that. Nothing of it is left, however this ends.\n\n\
                        A static program runs there as it ships, in an image FROM scratch: `scripts/image --root DIR` makes \
                        DIR/nexus. One that is linked dynamically takes this machine's libraries along. What it was is told \
                        in the end.\n\n\
                        Examples:\n  scripts/image --root /tmp/image && nexus-e2e node --nexus /tmp/image/nexus\n  \
                        nexus-e2e node --only delivery,stop --stops 3 --sessions 200 --grpc 50 -o json"
)]
pub struct Settings {
    /// Which of them
    #[command(flatten)]
    pub choice: Choice<Part>,
    /// The sessions that a stop ends
    #[command(flatten)]
    pub many: Many,
    /// Stops of the part `stop`
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub stops: u32,
    /// Stops of each part in which something is away; --repeats 20 makes as many as of the part `stop`
    #[arg(long, default_value_t = 4, value_name = "N")]
    pub repeats: u32,
    /// The agent that runs in pods [default: examples/agents/rust over gRPC, built as this program was]
    #[arg(long, value_name = "PATH")]
    pub agent: Option<PathBuf>,
    /// What every proof is told
    #[command(flatten)]
    pub setup: Setup,
}

impl Settings {
    /// How often a part does what it does.
    const fn times(&self, part: Part) -> u32 {
        match part {
            Part::Delivery => 1,
            Part::Stop => self.stops,
            _ => self.repeats,
        }
    }
}

/// What all parts share.
struct Scene {
    system: System,
    random: StdRng,
    many: Many,
    /// What flows to those sessions.
    feed: Feed,
    /// What `kubectl get` showed in a stop.
    shown: String,
}

/// Starts a node with all that it takes, and plays all parts on it.
///
/// # Errors
/// When the node cannot be started, or Nexus is not ready on it.
pub async fn run(settings: Settings) -> anyhow::Result<Report> {
    let Begun { nexus, seed, work } = settings.setup.begin("nexus-node-")?;
    let agent = program::locate_agent(settings.agent.as_deref())?;
    let parts = settings.choice.rows();
    let steps: u32 = parts.iter().map(|part| settings.times(*part)).sum();
    let bar = bar(steps.into())?;
    bar.set_message("installing");
    let mut installing = Times::default();
    let system = System::install(&nexus, &agent, work.path(), &mut installing).await?;
    let random = StdRng::seed_from_u64(seed);
    let many = settings.many;
    let feed = Feed::new(&system.doors, HOOK, &system.secret, many.events);
    let mut scene = Scene { system, random, many, feed, shown: String::new() };
    if parts.iter().any(|part| *part != Part::Delivery) {
        scene.system.add_crowd().await?;
    }
    let mut report = Report::new(seed, many, scene.system.image);
    for part in parts {
        bar.set_message(part.name());
        let mut times =
            if part == Part::Delivery { std::mem::take(&mut installing) } else { Times::default() };
        let played = act(&mut scene, part, settings.times(part), &mut times, &bar).await;
        let row = times.row(part.name(), played);
        if !row.failures.is_empty() {
            tell(&bar, row.name, &row.failures);
            scene.system.dump(&work.path().join(format!("{part:?}").to_lowercase()))?;
        }
        report.rows.push(row);
    }
    bar.finish_and_clear();
    report.shown = Some(scene.shown).filter(|shown| !shown.is_empty());
    if !report.is_good() {
        report.kept = Some(work.keep());
    }
    Ok(report)
}

async fn act(
    scene: &mut Scene,
    part: Part,
    repeats: u32,
    times: &mut Times,
    bar: &ProgressBar,
) -> anyhow::Result<()> {
    for number in 0..repeats as usize {
        match part {
            Part::Delivery => delivery::delivery(scene, times).await?,
            Part::Stop => stops::stop(scene, times, number + 1 == repeats as usize).await?,
            Part::OperatorKilled => impaired::operators_killed(scene, times).await?,
            Part::WatchDropped => impaired::watches_dropped(scene, times).await?,
            Part::GatewayCut => impaired::gateway_cut(scene, times, number).await?,
            Part::ApiDown => restarted::api_down(scene, times, number).await?,
        }
        times.done += 1;
        bar.inc(1);
    }
    Ok(())
}
