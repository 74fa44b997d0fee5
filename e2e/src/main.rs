//! `nexus-e2e`: proofs about the built system.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use nexus_e2e::common::Output;
use nexus_e2e::{durability, faults};
use serde::Serialize;

/// Proofs about the built system, from outside.
#[derive(Debug, Parser)]
#[command(
    name = "nexus-e2e",
    after_help = "Example:\n  cargo run --release -p nexus-e2e -- durability\n  cargo run --release -p nexus-e2e -- faults --only redis-kill,drain"
)]
struct Cli {
    #[command(subcommand)]
    proof: Proof,
}

#[derive(Debug, Subcommand)]
enum Proof {
    /// Kill the process, lose the power and fill the disk under load: nothing accepted may be lost
    Durability(durability::Settings),
    /// Kill, cut off, empty and fill up the processes of a fleet and its Redis under load
    Faults(faults::Settings),
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let proof = Cli::parse().proof;
    let mounts = match &proof {
        Proof::Durability(settings) => !settings.no_disk_full,
        Proof::Faults(settings) => settings.mounts(),
    };
    if mounts && !rustix::process::geteuid().is_root() {
        return Err(as_root());
    }
    let (text, good) = match proof {
        Proof::Durability(settings) => {
            let output = settings.common.output;
            let report = durability::run(settings).await?;
            (shown(output, &report, || report.table())?, report.is_good())
        }
        Proof::Faults(settings) => {
            let output = settings.common.output;
            let report = faults::run(settings).await?;
            (shown(output, &report, || report.table())?, report.is_good())
        }
    };
    writeln!(std::io::stdout().lock(), "{text}")?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn shown(output: Output, report: &impl Serialize, table: impl FnOnce() -> String) -> anyhow::Result<String> {
    Ok(match output {
        Output::Table => table(),
        Output::Json => serde_json::to_string_pretty(report)?,
    })
}

/// Runs this program again as root of a namespace of its own, where it may mount. Returns only on failure.
fn as_root() -> anyhow::Error {
    let again = || -> anyhow::Result<std::io::Error> {
        let own = std::env::current_exe()?;
        let status =
            Command::new("unshare").args(["-rm", "true"]).status().context("cannot run `unshare`")?;
        anyhow::ensure!(status.success(), "`unshare -rm true` fails");
        Ok(Command::new("unshare").arg("-rm").arg(own).args(std::env::args_os().skip(1)).exec())
    };
    let error = again().unwrap_or_else(|error| std::io::Error::other(format!("{error:#}")));
    anyhow::Error::new(error).context(
        "a full disk needs a mount of its own: run this as root, or leave that part out by --no-disk-full",
    )
}
