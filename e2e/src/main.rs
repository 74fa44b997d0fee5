//! `nexus-e2e`: proofs about the built system.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use nexus_e2e::setup::Output;
use nexus_e2e::{control, durability, faults, node, times};
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
    /// Kill, cut off, deceive and restore operators, pods and their API server
    Control(control::Settings),
    /// Measure how long a stop and a change of configuration take at a real API server
    Times(times::Settings),
    /// Install Nexus on a node with pods, and stop it there, also while a part of it is dead or cut off
    Node(node::Settings),
}

// What waits for kubectl holds a thread.
#[tokio::main(worker_threads = 4)]
async fn main() -> anyhow::Result<ExitCode> {
    let proof = Cli::parse().proof;
    if proof.mounts() && !rustix::process::geteuid().is_root() {
        return Err(as_root(proof.without_mounts()));
    }
    let (text, good) = match proof {
        Proof::Durability(settings) => {
            let output = settings.setup.output;
            let report = durability::run(settings).await?;
            (shown(output, &report, || report.table())?, report.is_good())
        }
        Proof::Faults(settings) => {
            let output = settings.setup.output;
            let report = faults::run(settings).await?;
            (shown(output, &report, || report.table())?, report.is_good())
        }
        Proof::Control(settings) => {
            let output = settings.setup.output;
            let report = control::run(settings).await?;
            (shown(output, &report, || report.table())?, report.is_good())
        }
        Proof::Times(settings) => {
            let output = settings.setup.output;
            let report = times::run(settings).await?;
            (shown(output, &report, || report.table())?, true)
        }
        Proof::Node(settings) => {
            let output = settings.setup.output;
            let report = Box::pin(node::run(settings)).await?;
            (shown(output, &report, || report.table())?, report.is_good())
        }
    };
    writeln!(std::io::stdout().lock(), "{text}")?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Proof {
    /// Whether it has to mount something.
    fn mounts(&self) -> bool {
        match self {
            Self::Durability(settings) => !settings.no_disk_full,
            Self::Faults(settings) => settings.mounts(),
            Self::Control(settings) => settings.mounts(),
            Self::Times(_) | Self::Node(_) => false,
        }
    }

    /// The words that leave out what has to mount something.
    const fn without_mounts(&self) -> &'static str {
        match self {
            Self::Durability(_) => "--no-disk-full",
            Self::Faults(_) => "--without disk-full",
            Self::Control(_) => "--without torn-file",
            Self::Times(_) | Self::Node(_) => "",
        }
    }
}

fn shown(output: Output, report: &impl Serialize, table: impl FnOnce() -> String) -> anyhow::Result<String> {
    Ok(match output {
        Output::Table => table(),
        Output::Json => serde_json::to_string_pretty(report)?,
    })
}

/// Runs this program again as root of a namespace of its own, where it may mount. Returns only on failure.
fn as_root(without: &str) -> anyhow::Error {
    let again = || -> anyhow::Result<std::io::Error> {
        let own = std::env::current_exe()?;
        let status =
            Command::new("unshare").args(["-rm", "true"]).status().context("cannot run `unshare`")?;
        anyhow::ensure!(status.success(), "`unshare -rm true` fails");
        Ok(Command::new("unshare").arg("-rm").arg(own).args(std::env::args_os().skip(1)).exec())
    };
    let error = again().unwrap_or_else(|error| std::io::Error::other(format!("{error:#}")));
    anyhow::Error::new(error).context(format!(
        "a full disk needs a mount of its own: run this as root, or leave that part out by {without}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_that_are_said_to_leave_out_the_full_disk_do_so() {
        for name in ["durability", "faults", "control"] {
            let read = |words: &str| {
                let words = words.split(' ').filter(|word| !word.is_empty());
                Cli::parse_from(["nexus-e2e", name].into_iter().chain(words)).proof
            };
            let whole = read("");
            assert!(whole.mounts());
            assert!(!read(whole.without_mounts()).mounts());
        }
    }
}
