//! `nexus-e2e`: proofs about the built system.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use nexus_e2e::durability::{self, Output, Settings};

/// Proofs about the built system, from outside.
#[derive(Debug, Parser)]
#[command(name = "nexus-e2e", after_help = "Example:\n  cargo run --release -p nexus-e2e -- durability")]
struct Cli {
    #[command(subcommand)]
    proof: Proof,
}

#[derive(Debug, Subcommand)]
enum Proof {
    /// Kill the process, lose the power and fill the disk under load: nothing accepted may be lost
    Durability(Settings),
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let Proof::Durability(settings) = Cli::parse().proof;
    if !settings.no_disk_full && !rustix::process::geteuid().is_root() {
        return Err(as_root());
    }
    let output = settings.output;
    let report = durability::run(settings).await?;
    let text = match output {
        Output::Table => report.table(),
        Output::Json => serde_json::to_string_pretty(&report)?,
    };
    writeln!(std::io::stdout().lock(), "{text}")?;
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
