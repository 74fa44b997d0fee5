//! Faults of the control plane: operators, pods and a real API server, of which one part after the other fails.
//!
//! Each row has a control plane, pods and agents of its own. What is judged is what an admin relies on: that a stop holds
//! and comes, that pods go on, and that what the operator leaves behind is what a run without the fault leaves.

mod apidown;
mod compacted;
mod deadwatch;
mod led;
mod orphans;
mod poison;
mod quiet;
mod races;
mod report;
mod restored;
mod sleeper;
mod stage;
mod stale;
mod torn;
mod transitions;
mod writes;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tokio::time::Instant;

use crate::proof::{Choice, bar, tell};
use crate::setup::{Begun, Setup};
pub use report::{Report, Row};
pub use stage::Stage;

/// What may go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Fault {
    /// The operator is killed before and after each call that changes something.
    Writes,
    /// Nothing happens.
    Quiet,
    /// The operator sleeps longer than its Lease lasts, and wakes.
    Sleeper,
    /// Pods start while neither an operator nor an API server answers.
    Orphans,
    /// Objects change at random, for better and for worse.
    Transitions,
    /// Watches of gateways and operators are dead, and nobody is told.
    DeadWatch,
    /// etcd is restored from a backup of before a stop.
    Restored,
    /// The API server is away.
    ApiDown,
    /// etcd and the API server forget what happened while operators were cut off.
    Compacted,
    /// A second API server is cut off from etcd, and shows what was.
    StaleServer,
    /// Files that pods keep are cut short, have wrong bits, or cannot be written.
    TornFile,
    /// A stop comes in the middle of something else.
    Races,
    /// Objects come that are too large, or that nobody can read.
    Poison,
}

impl Fault {
    const fn name(self) -> &'static str {
        match self {
            Self::Writes => "operator kill -9 at each write",
            Self::Quiet => "nothing happens",
            Self::Sleeper => "operator SIGSTOP, SIGCONT",
            Self::Orphans => "pods start alone",
            Self::Transitions => "objects change at random",
            Self::DeadWatch => "watches silently dead",
            Self::Restored => "etcd restored from before a stop",
            Self::ApiDown => "API server away",
            Self::Compacted => "history compacted",
            Self::StaleServer => "stale API server",
            Self::TornFile => "torn files, full disk",
            Self::Races => "a stop amid something else",
            Self::Poison => "poison and too large objects",
        }
    }

    /// Whether it has to mount something.
    const fn mounts(self) -> bool {
        matches!(self, Self::TornFile)
    }
}

/// What `control` is asked to do.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  nexus-e2e control --nexus target/release/nexus\n  \
                        nexus-e2e control --only writes,quiet -o json")]
pub struct Settings {
    /// Which of them
    #[command(flatten)]
    pub choice: Choice<Fault>,
    /// How long the operator sleeps, in seconds: its Lease lasts 15
    #[arg(long, default_value_t = 40, value_name = "SECONDS")]
    pub sleep: u64,
    /// How long nothing happens, in seconds
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    pub quiet: u64,
    /// How long the API server is away, in seconds
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    pub outage: u64,
    /// Changes of objects at random
    #[arg(long, default_value_t = 60, value_name = "N")]
    pub transitions: usize,
    /// How many wounds of each kind of file are tried at most, spread over all of it
    #[arg(long, default_value_t = 400, value_name = "N")]
    pub wounds: usize,
    /// How often a stop comes amid each kind of other thing
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub races: u32,
    /// What every proof is told
    #[command(flatten)]
    pub setup: Setup,
}

impl Settings {
    /// Whether a fault is among them that has to mount something.
    #[must_use]
    pub fn mounts(&self) -> bool {
        self.choice.rows().into_iter().any(Fault::mounts)
    }
}

/// What all rows share.
struct Plan {
    nexus: PathBuf,
    work: PathBuf,
    seed: u64,
    settings: Settings,
}

impl Plan {
    /// The folder of a row.
    fn folder(&self, fault: Fault) -> anyhow::Result<PathBuf> {
        let folder = self.work.join(format!("{fault:?}").to_lowercase());
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }
}

/// What a row has seen.
#[derive(Debug, Default)]
struct Seen {
    /// How often the fault came.
    times: usize,
    /// The figures, in words.
    figures: Vec<String>,
}

/// Runs all rows.
///
/// # Errors
/// When the work folder cannot be used. What goes wrong in a row is in its failures.
pub async fn run(settings: Settings) -> anyhow::Result<Report> {
    let Begun { nexus, seed, work } = settings.setup.begin("nexus-control-")?;
    let plan = Plan { nexus, work: work.path().canonicalize()?, seed, settings };
    let faults = plan.settings.choice.rows();
    let bar = bar(faults.len() as u64)?;
    let mut report = Report { seed, rows: Vec::new(), kept: None };
    for fault in faults {
        bar.set_message(fault.name());
        let begun = Instant::now();
        let played = act(&plan, fault).await;
        let row = Row::new(fault.name(), begun.elapsed(), played);
        tell(&bar, row.name, &row.failures);
        report.rows.push(row);
        bar.inc(1);
    }
    bar.finish_and_clear();
    if !report.is_good() {
        report.kept = Some(work.keep());
    }
    Ok(report)
}

async fn act(plan: &Plan, fault: Fault) -> anyhow::Result<Seen> {
    let folder = plan.folder(fault)?;
    match fault {
        Fault::Writes => writes::play(plan, folder).await,
        Fault::Quiet => quiet::play(plan, &folder).await,
        Fault::Sleeper => sleeper::play(plan, &folder).await,
        Fault::Orphans => orphans::play(plan, &folder).await,
        Fault::Transitions => transitions::play(plan, &folder).await,
        Fault::DeadWatch => deadwatch::play(plan, &folder).await,
        Fault::Restored => restored::play(plan, &folder).await,
        Fault::ApiDown => apidown::play(plan, &folder).await,
        Fault::Compacted => compacted::play(plan, &folder).await,
        Fault::StaleServer => stale::play(plan, &folder).await,
        Fault::TornFile => torn::play(plan, &folder).await,
        Fault::Races => races::play(plan, &folder).await,
        Fault::Poison => poison::play(plan, &folder).await,
    }
}
