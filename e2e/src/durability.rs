//! Durability: kills, losses of power and a full disk under load, and what they cost.
//!
//! Each part has data, books and agents of its own. Load never pauses. A round crashes the process at a random
//! moment, starts it over what is left, and waits until each agent has what was accepted before the crash.

mod crash;
mod disk;
mod report;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::load::Rate;
use crate::powerloss::Model;
use crate::setup::{Begun, Setup};
pub use report::{Part, Report, Round};

/// What `durability` is asked to do.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// How often the process is killed
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub kills: u32,
    /// How often the power is lost
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub power_losses: u32,
    /// Leave out the full disk, the one part that has to mount something
    #[arg(long)]
    pub no_disk_full: bool,
    /// Which file systems a loss of power is modelled on
    #[arg(long, default_value = "ext4", value_enum)]
    pub model: Model,
    /// Webhooks a second
    #[arg(long, default_value_t = 300, value_name = "N")]
    pub rate: u32,
    /// What every proof is told
    #[command(flatten)]
    pub setup: Setup,
}

/// What all parts share.
struct Plan {
    nexus: PathBuf,
    work: PathBuf,
    seed: u64,
    rate: Rate,
    model: Model,
}

/// Runs all parts.
pub async fn run(settings: Settings) -> anyhow::Result<Report> {
    let Begun { nexus, seed, work } = settings.setup.begin("nexus-durability-")?;
    let path = work.path().canonicalize()?;
    if settings.kills + settings.power_losses > 0 {
        disk::refuse_memory(&path)?;
    }
    let rate = Rate { per_second: settings.rate, bytes: 1500 };
    let plan = Plan { nexus, work: path, seed, rate, model: settings.model };
    let mut report = Report { seed, model: settings.model, parts: Vec::new(), kept: None };
    if settings.kills > 0 {
        let part = crash::run(&plan, crash::Kind::Kill, settings.kills).await;
        report.parts.push(part.unwrap_or_else(|error| Part::broken("kill -9", &error)));
    }
    if settings.power_losses > 0 {
        let part = crash::run(&plan, crash::Kind::PowerLoss, settings.power_losses).await;
        report.parts.push(part.unwrap_or_else(|error| Part::broken("power loss", &error)));
    }
    if !settings.no_disk_full {
        let part = disk::run(&plan).await;
        report.parts.push(part.unwrap_or_else(|error| Part::broken("disk full", &error)));
    }
    if !report.is_good() {
        report.kept = Some(work.keep());
    }
    Ok(report)
}

/// A bar on a terminal; nothing elsewhere.
fn bar(name: &'static str, rounds: u32) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:>10} {wide_bar} {pos}/{len} {msg}");
    let bar = ProgressBar::new(rounds.into()).with_prefix(name);
    style.map(|style| bar.clone().with_style(style)).unwrap_or(bar)
}

fn make(path: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))
}
