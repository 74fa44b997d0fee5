//! The command line.

mod args;
mod client;
mod confirm;
mod diff_routes;
mod dlq;
mod events;
mod get;
mod output;
mod pages;
mod progress;
mod rbac;
mod replay;
mod schema;
mod send;
mod sign;
mod status;
mod stop;
mod token;
mod why;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser as _};

use self::args::{Cli, Verb};
use self::client::Client;
use crate::dev;
use crate::role::{alone, operate};

pub use self::output::print;

/// Runs the command line; errors are shown with their whole chain.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let trouble = match cli.verb {
        Verb::DiffRoutes(_) => ExitCode::from(diff_routes::TROUBLE),
        _ => ExitCode::FAILURE,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("cannot start the async runtime");
    runtime.and_then(|runtime| runtime.block_on(run(cli))).unwrap_or_else(|error| {
        // Standard error may be closed; there is nobody left to tell then.
        let _ = writeln!(std::io::stderr(), "error: {error:#}");
        trouble
    })
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let client = Client::new(&cli.admin)?;
    let done = match cli.verb {
        Verb::DiffRoutes(diff) => return diff_routes::run(&client, diff, cli.output).await,
        Verb::Dev(dev) => dev::run(dev.into_settings(&cli.admin)?).await,
        Verb::Ingest(ingest) => alone::ingest(ingest.into_settings(&cli.admin)?).await,
        Verb::Gateway(gateway) => alone::gateway(gateway.into_settings(&cli.admin)?).await,
        Verb::Operator(args) => operate::operate(args.into_settings(&cli.admin)?).await,
        Verb::Status => status::run(&client, cli.output).await,
        Verb::Agents => status::agents(&client, cli.output).await,
        Verb::Get(get) => get::run(&client, &get).await,
        Verb::Token(token) => token::run(&client, &token, cli.output).await,
        Verb::Schema(args) => schema::run(&args),
        Verb::Rbac(args) => rbac::run(&args, cli.output),
        Verb::Completions(args) => {
            clap_complete::generate(args.shell, &mut Cli::command(), "nexus", &mut std::io::stdout());
            Ok(())
        }
        Verb::Events(events) => events::run(&client, events, cli.output).await,
        Verb::Dlq(verb) => dlq::run(&client, verb, cli.output).await,
        Verb::Replay(replay) => replay::run(&client, replay, cli.output).await,
        Verb::Why(why) => why::run(&client, &why.event, cli.output).await,
        Verb::Send(send) => send::run(&client, send, cli.output).await,
        Verb::Stop(stop) => stop::stop(&client, stop, cli.output).await,
        Verb::Release(release) => stop::release(&client, release, cli.output).await,
    };
    done.map(|()| ExitCode::SUCCESS)
}
