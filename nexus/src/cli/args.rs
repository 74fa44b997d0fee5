//! Arguments: every verb with an example.

mod again;
mod alone;
mod diff_routes;
mod operator;
mod rbac;
mod select;
mod values;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use nexus_core::id::TenantKey;
use nexus_core::kind::Kind;

pub use self::again::{DlqVerb, ReplayArgs, WhichArgs, WhoseArgs};
pub use self::alone::{GatewayArgs, IngestArgs};
pub use self::diff_routes::DiffRoutesArgs;
pub use self::operator::OperatorArgs;
pub use self::rbac::RbacArgs;
pub use self::select::SelectArgs;
#[cfg(test)]
pub use self::values::parse_moment;
use self::values::{parse_kind, parse_lifetime, parse_spool_bytes};

use super::output::Output;
use crate::dev::DevSettings;

/// The default admin address.
const ADMIN: &str = "127.0.0.1:9090";

/// Traffic control for a company's AI agents.
#[derive(Debug, Parser)]
#[command(
    name = "nexus",
    version,
    propagate_version = true,
    after_help = "Example:\n  nexus dev examples/quickstart"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
    /// Address of the admin server: served by `dev`, `ingest`, `gateway` and `operator`, asked by the other verbs
    #[arg(long, global = true, env = "NEXUS_ADMIN", default_value = ADMIN, value_name = "HOST:PORT")]
    pub admin: String,
    /// `table` for people, `json` for machines
    #[arg(short, long, global = true, default_value = "table", value_enum)]
    pub output: Output,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run all roles in one process over a folder of CR and Secret files
    #[command(after_help = "Example:\n  nexus dev examples/quickstart --data /var/lib/nexus")]
    Dev(DevArgs),
    /// Take webhooks, as one of many processes around a Redis
    #[command(
        after_help = "Examples:\n  nexus ingest /etc/nexus --bus redis://redis:6379 --listen 0.0.0.0:8080 --admin 0.0.0.0:9090 \\\n    \
                            --data /var/lib/nexus --spool-class volume\n  \
                            NEXUS_BUS=rediss://:word@redis:6379 nexus ingest examples/quickstart\n  \
                            nexus ingest --operator https://nexus-operator.nexus-system.svc:8443 --operator-ca ca.crt --operator-token token \\\n    \
                            --pod ingest-0 --secrets /run/nexus --bus redis://redis:6379"
    )]
    Ingest(IngestArgs),
    /// Serve agents and route events, as one of many processes around a Redis
    #[command(
        after_help = "Example:\n  nexus gateway /etc/nexus --bus redis://redis:6379 --token-keys /run/secrets/token-keys \\\n    \
                            --data /var/lib/nexus --listen 0.0.0.0:8081 --admin 0.0.0.0:9090"
    )]
    Gateway(GatewayArgs),
    /// Configure ingest and gateway pods by the custom resources of a cluster, and write their status
    #[command(
        after_help = "Examples:\n  nexus operator --listen 0.0.0.0:8443 --admin 0.0.0.0:9090 --namespace nexus-system\n  \
                            KUBECONFIG=~/.kube/config nexus operator --name localhost"
    )]
    Operator(OperatorArgs),
    /// Print the Role by which a namespace lets the operator read the Secrets and scale the Deployments that its objects name
    #[command(
        after_help = "It stands for all objects of the namespace: print it anew when they name something else, and commit it beside \
                      them.\n\nExamples:\n  nexus rbac examples/quickstart\n  \
                      nexus rbac tenants --namespace acme > tenants/acme/rbac.yaml\n  \
                      nexus rbac acme.yaml --own-credentials | kubectl apply --server-side -f -"
    )]
    Rbac(RbacArgs),
    /// Show tenants, agents, queues and whether a stop holds
    #[command(after_help = "Example:\n  nexus status -o json")]
    Status,
    /// List events, newest first, or as they come
    #[command(after_help = "Examples:\n  nexus events --kind NewWorkItem --source github --since 2h\n  \
                            nexus events --follow -o json\n  nexus events --full --limit 5000 > events.ndjson")]
    Events(EventsArgs),
    /// List agents: who is online and what waits for them
    #[command(after_help = "Example:\n  nexus agents")]
    Agents,
    /// Print an event as agents get it, or its body as it came
    #[command(
        after_help = "Examples:\n  nexus get last\n  nexus get 0190163d-8694-739b-aea5-966c26f8ad91 --raw > body.json"
    )]
    Get(GetArgs),
    /// Get an access token of an agent, to try the protocol by hand
    #[command(after_help = "Examples:\n  nexus token coder\n  nexus token coder -o json | jq -r .expires")]
    Token(TokenArgs),
    /// Print the JSON Schema of events, or another description of what Nexus speaks
    #[command(
        after_help = "Examples:\n  nexus schema > StandardEvent.v1.json\n  nexus schema NewWorkItem\n  \
                            nexus schema --asyncapi > asyncapi.json\n  nexus schema --openapi > openapi.json\n  \
                            nexus schema --proto\n  nexus schema --list"
    )]
    Schema(SchemaArgs),
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  nexus completions bash > /etc/bash_completion.d/nexus")]
    Completions(CompletionsArgs),
    /// Show which events would go elsewhere by the rules of an edited folder
    #[command(
        after_help = "Exit status: 0 nothing moves, 1 something does, 2 trouble, or no event to compare\n\nExamples:\n  \
                      nexus diff-routes edited\n  nexus diff-routes edited --last 1000 --tenant acme/acme\n  \
                      nexus diff-routes edited --against main --events events.ndjson"
    )]
    DiffRoutes(DiffRoutesArgs),
    /// List, requeue or give up events that were parked after their last attempt
    #[command(subcommand, after_help = "Examples:\n  nexus dlq ls\n  nexus dlq requeue --all --agent coder")]
    Dlq(DlqVerb),
    /// Deliver events once more, marked as replay
    #[command(
        after_help = "Examples:\n  nexus replay 0190163d-8694-739b-aea5-966c26f8ad91 --agent coder\n  \
                            nexus replay --since 2h --kind NewWorkItem --dry-run"
    )]
    Replay(ReplayArgs),
    /// Explain why an event went where it went
    #[command(after_help = "Examples:\n  nexus why last\n  nexus why 0190163d-8694-739b-aea5-966c26f8ad91")]
    Why(WhyArgs),
    /// Sign and post a sample, or a given body, as the provider would
    #[command(
        after_help = "Examples:\n  nexus send github\n  nexus send slack --sample message --text '@AI_Squad help'\n  \
                            nexus send github --event issues --body issue.json"
    )]
    Send(SendArgs),
    /// Stop every agent at once and hold the queue
    #[command(after_help = "Example:\n  nexus stop --reason 'agents answer each other'")]
    Stop(StopArgs),
    /// Release a stop by its name; without a name, say what holds
    #[command(after_help = "Example:\n  nexus release 1f2e3d4c-3")]
    Release(ReleaseArgs),
}

/// Arguments of `dev`.
#[derive(Debug, Args)]
pub struct DevArgs {
    /// Folder of Tenant, AgentProfile, NexusPolicy and Secret files
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Where state is kept
    #[arg(long, default_value = ".nexus", value_name = "PATH")]
    data: PathBuf,
    /// Address for webhooks
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "HOST:PORT")]
    ingest: SocketAddr,
    /// Address for agents
    #[arg(long, default_value = "127.0.0.1:8081", value_name = "HOST:PORT")]
    gateway: SocketAddr,
    /// How long access tokens are good for, from 15s to 24h
    #[arg(long, default_value = "10m", value_parser = parse_lifetime, value_name = "TIME")]
    token_lifetime: Duration,
    /// Log lines as JSON
    #[arg(long)]
    log_json: bool,
}

impl DevArgs {
    /// The settings of `nexus dev`.
    pub fn into_settings(self, admin: &str) -> anyhow::Result<DevSettings> {
        let Self { dir, data, ingest, gateway, token_lifetime, log_json } = self;
        let admin = admin_address(admin)?;
        anyhow::ensure!(
            admin.ip().is_loopback(),
            "--admin {admin} is open to others, and the admin server of `nexus dev` asks nobody who they are; \
             give a loopback address such as {ADMIN}"
        );
        Ok(DevSettings { folder: dir, data, ingest, gateway, admin, token_lifetime, log_json })
    }
}

/// The address to serve the admin on.
fn admin_address(admin: &str) -> anyhow::Result<SocketAddr> {
    let admin = admin.trim_start_matches("http://").trim_end_matches('/');
    admin
        .parse()
        .map_err(|_| anyhow::anyhow!("--admin {admin} is no address to serve on; give one such as {ADMIN}"))
}

/// Arguments of `events`.
#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Which events
    #[command(flatten)]
    pub select: SelectArgs,
    /// At most so many; with --follow, so many old ones first
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..))]
    pub limit: u32,
    /// Keep printing events as they come, until Ctrl-C; with `-o json` one a line
    #[arg(short, long, conflicts_with = "until")]
    pub follow: bool,
    /// Whole events as agents get them, one JSON object a line
    #[arg(long)]
    pub full: bool,
}

/// Arguments of `get`.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// The event's id, or `last`
    pub event: String,
    /// The body as the provider sent it
    #[arg(long)]
    pub raw: bool,
}

/// Arguments of `token`.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// The agent's name
    pub agent: String,
    /// The tenant; needed if several have the agent
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub tenant: Option<TenantKey>,
}

/// Arguments of `schema`.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub struct SchemaArgs {
    /// The kind, such as NewWorkItem; without one the schema that all kinds share
    #[arg(value_parser = parse_kind)]
    pub kind: Option<Kind>,
    /// The agent protocol, as AsyncAPI 3.0; it refers to ./StandardEvent.v1.json
    #[arg(long)]
    pub asyncapi: bool,
    /// Webhooks, tokens and the admin API, as OpenAPI 3.1
    #[arg(long)]
    pub openapi: bool,
    /// The protobuf files of the agent protocol
    #[arg(long)]
    pub proto: bool,
    /// The names of all that can be printed
    #[arg(long)]
    pub list: bool,
}

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// Arguments of `why`.
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// The event's id, or `last`
    pub event: String,
}

/// Arguments of `send`.
#[derive(Debug, Args)]
pub struct SendArgs {
    /// Name of the source, as the Tenant has it
    pub source: String,
    /// The tenant; needed if several have the source
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub tenant: Option<TenantKey>,
    /// Which sample; a wrong name lists them
    #[arg(long, conflicts_with = "body")]
    pub sample: Option<String>,
    /// Text of the sample's message, comment or issue
    #[arg(long, conflicts_with = "body")]
    pub text: Option<String>,
    /// Send this body instead of a sample
    #[arg(long, value_name = "FILE")]
    pub body: Option<PathBuf>,
    /// GitHub's name of the event in --body, such as `issues`
    #[arg(long, requires = "body")]
    pub event: Option<String>,
    /// Seconds to wait for the agents' acknowledgements
    #[arg(long, default_value_t = 5)]
    pub wait: u64,
}

/// Arguments of `stop`.
#[derive(Debug, Args)]
pub struct StopArgs {
    /// Why, for the people who will ask
    #[arg(long)]
    pub reason: Option<String>,
    /// The policy
    #[arg(long, default_value = crate::api::STOP_ALL, value_parser = parse_policy)]
    pub policy: String,
}

/// Arguments of `release`.
#[derive(Debug, Args)]
pub struct ReleaseArgs {
    /// The engagement, as `nexus stop` and `nexus status` show it
    pub engagement: Option<String>,
    /// The policy
    #[arg(long, default_value = crate::api::STOP_ALL, value_parser = parse_policy)]
    pub policy: String,
}

/// A name that an object can have; it becomes part of an address.
fn parse_policy(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    if text.is_empty() || text.len() > 253 || !text.chars().all(allowed) {
        return Err("a policy's name has lower-case letters, digits, `-` and `.` only".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_are_consistent_and_every_verb_has_an_example() {
        Cli::command().debug_assert();
        for verb in Cli::command().get_subcommands() {
            let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("nexus "), "`{}` has no example", verb.get_name());
        }
    }
}
