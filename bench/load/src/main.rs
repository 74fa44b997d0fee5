//! An open-loop load tool for Nexus, and the floor that it is compared with. README.md says what is measured.
//!
//! 1. [`args`] reads the command line, [`machine`] raises limits and refuses data folders in memory;
//! 2. [`server`] starts Nexus over a generated [`folder`], or the [`floor`], as a [`child`] process; [`pair`] starts
//!    two around a [`redis`];
//! 3. [`fleet`] connects agents, [`load`] posts signed [`body`]s; both tell a [`ledger`]; a [`site`] is all of them;
//! 4. [`compare`], [`over_redis`], [`rest`], [`stop`] and [`hostile`] run the rounds, [`process`] asks the kernel what the
//!    children used;
//! 5. [`report`] makes one table, or JSON.

mod args;
mod body;
mod child;
mod compare;
mod fleet;
mod floor;
mod folder;
mod frame;
mod grpc;
mod hostile;
mod http;
mod idle;
mod ledger;
mod load;
mod machine;
mod over_redis;
mod pair;
mod process;
mod redis;
mod report;
mod rest;
mod server;
mod site;
mod socket;
mod stop;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Cli, Verb};

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    // On an interrupt everything is dropped in order: children end, folders go.
    let ended = tokio::select! {
        ended = run(&cli) => ended,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: &Cli) -> anyhow::Result<()> {
    match &cli.verb {
        Verb::Compare(args) => compare::run(args, cli.output).await,
        Verb::Stop(args) => stop::run(args, cli.output).await,
        Verb::Hostile(args) => hostile::run(args, cli.output).await,
        Verb::Fleet(args) => over_redis::run(args, cli.output).await,
        Verb::Idle(args) => rest::run(args, cli.output).await,
        Verb::Floor(args) => floor::run(args).await,
        Verb::FloorIngest(args) => floor::ingest(args).await,
        Verb::FloorGateway(args) => floor::gateway(args).await,
    }
}
