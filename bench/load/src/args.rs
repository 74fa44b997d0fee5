//! Arguments: every verb with an example.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Serialize;

/// The signing secret of the generated folder; it protects nothing.
pub const SECRET: &str = "a-signing-secret-for-load-only";

/// Load and a floor for Nexus. All traffic is loopback.
#[derive(Debug, Parser)]
#[command(name = "nexus-load", version)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub verb: Verb,
    /// `table` for people, `json` for machines
    #[arg(short, long, global = true, default_value = "table", value_enum)]
    pub output: Output,
}

/// The form of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Table,
    /// For machines
    Json,
}

/// What agents speak over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Transport {
    /// JSON over WebSocket
    Websocket,
    /// Protobuf over gRPC, a connection for each session
    Grpc,
    /// The one and the other, in turn
    Both,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Compare Nexus with the floor: throughput, latency, CPU, memory
    #[command(after_help = "Example:\n  nexus-load compare --rounds 5 --nexus target/dist/nexus")]
    Compare(CompareArgs),
    /// Measure how fast a stop takes hold of connected agents
    #[command(after_help = "Example:\n  nexus-load stop --sessions 5000 --runs 5")]
    Stop(StopArgs),
    /// Send hostile input of every kind while honest events flow, and see that each is refused as documented
    #[command(after_help = "Examples:\n  nexus-load hostile\n  nexus-load hostile --only 'slow bodies'")]
    Hostile(HostileArgs),
    /// Compare Nexus as processes over Redis with the floor as processes over Redis
    #[command(
        after_help = "Examples:\n  nexus-load fleet --rounds 5 --nexus target/dist/nexus\n  nexus-load fleet --appendfsync both"
    )]
    Fleet(FleetArgs),
    /// Measure a gateway over Redis with many agents at rest: memory, CPU, commands; a stop and the way back
    #[command(after_help = "Example:\n  nexus-load idle --agents 20000 --nexus target/dist/nexus")]
    Idle(IdleArgs),
    /// Serve the floor: the same durable steps and hops with no logic
    #[command(
        after_help = "Example:\n  nexus-load floor --listen 127.0.0.1:8080 --grpc 127.0.0.1:8081 --data floor-data"
    )]
    Floor(FloorArgs),
    /// Serve the half of the floor that takes webhooks and appends to Redis
    FloorIngest(FloorIngestArgs),
    /// Serve the half of the floor that takes from Redis and has the agents
    FloorGateway(FloorGatewayArgs),
}

/// What both measuring verbs take.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// The nexus binary; measure what ships, `cargo build --profile dist -p nexus`
    #[arg(long, env = "NEXUS_BIN", default_value = "target/dist/nexus", value_name = "PATH")]
    pub nexus: PathBuf,
    /// Where data folders are made and removed; on a disk. Default: beside this binary
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// Agents; each event goes to one of them
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub agents: u32,
    /// Bytes of a webhook's body
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1_500..=1_000_000))]
    pub body_bytes: u32,
    /// Events per second of the open loop
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rate: u32,
    /// Connections that post
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub connections: u32,
}

/// Arguments of `compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// What both verbs take
    #[command(flatten)]
    pub common: Common,
    /// Rounds; in each both servers take their turn, in alternating order
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// Seconds of the closed loop
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=120))]
    pub closed_seconds: u32,
    /// Seconds of the open loop
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=120))]
    pub open_seconds: u32,
    /// Idle connections
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=15_000))]
    pub idle: u32,
}

/// Arguments of `stop`.
#[derive(Debug, Args)]
pub struct StopArgs {
    /// What both verbs take
    #[command(flatten)]
    pub common: Common,
    /// Sessions that are connected
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=15_000))]
    pub sessions: u32,
    /// What the sessions speak over
    #[arg(long, default_value = "both", value_enum)]
    pub transport: Transport,
    /// Stops, one after the other on one server
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub runs: u32,
}

/// Arguments of `hostile`.
#[derive(Debug, Args)]
pub struct HostileArgs {
    /// What all measuring verbs take
    #[command(flatten)]
    pub common: Common,
    /// Seconds of honest load before each kind, and again during it; those that wait for a deadline take 13
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=120))]
    pub seconds: u32,
    /// Only this kind, by its name or a part of it; may be given more than once
    #[arg(long, value_name = "KIND")]
    pub only: Vec<String>,
}

impl HostileArgs {
    /// Whether a kind is to be run.
    pub fn chooses(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part.as_str()))
    }
}

/// Arguments of `floor`.
#[derive(Debug, Args)]
pub struct FloorArgs {
    /// Address for webhooks and agents
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "HOST:PORT")]
    pub listen: SocketAddr,
    /// Address of the bare gRPC service, which is tonic's and holds sessions only
    #[arg(long, value_name = "HOST:PORT")]
    pub grpc: Option<SocketAddr>,
    /// Folder of the segment; made if it is not there
    #[arg(long, value_name = "PATH")]
    pub data: PathBuf,
    /// The signing secret of webhooks
    #[arg(long, default_value = SECRET)]
    pub secret: String,
}

/// When Redis writes what it was told to its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fsync {
    /// Once a second: a loss of power loses the last one
    Everysec,
    /// Before it answers
    Always,
    /// The one and the other, in turn
    Both,
}

impl Fsync {
    /// Those that are meant, one by one.
    pub fn each(self) -> Vec<Self> {
        if self == Self::Both { vec![Self::Always, Self::Everysec] } else { vec![self] }
    }
}

/// Arguments of `fleet`.
#[derive(Debug, Args)]
pub struct FleetArgs {
    /// The nexus binary; measure what ships, `cargo build --profile dist -p nexus`
    #[arg(long, env = "NEXUS_BIN", default_value = "target/dist/nexus", value_name = "PATH")]
    pub nexus: PathBuf,
    /// Where data folders are made and removed; on a disk. Default: beside this binary
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// When Redis writes to its disk
    #[arg(long, default_value = "always", value_enum)]
    pub appendfsync: Fsync,
    /// Rounds; in each both take their turn, in alternating order
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// Agents, a session each; each event goes to one of them
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub agents: u32,
    /// Bytes of a webhook's body
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1_500..=1_000_000))]
    pub body_bytes: u32,
    /// Connections that post
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub connections: u32,
    /// Seconds of the closed loop
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=120))]
    pub closed_seconds: u32,
    /// Events per second of the open loops
    #[arg(long, value_delimiter = ',', default_values_t = [200, 1_000],
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rates: Vec<u32>,
    /// Seconds of each open loop
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=120))]
    pub open_seconds: u32,
}

impl FleetArgs {
    /// What the measuring verbs share.
    pub fn common(&self) -> Common {
        let Self { nexus, data, agents, body_bytes, connections, .. } = self;
        Common {
            nexus: nexus.clone(),
            data: data.clone(),
            agents: *agents,
            body_bytes: *body_bytes,
            rate: 0,
            connections: *connections,
        }
    }
}

/// Arguments of `idle`.
#[derive(Debug, Args)]
pub struct IdleArgs {
    /// The nexus binary; measure what ships, `cargo build --profile dist -p nexus`
    #[arg(long, env = "NEXUS_BIN", default_value = "target/dist/nexus", value_name = "PATH")]
    pub nexus: PathBuf,
    /// Where data folders are made and removed; on a disk. Default: beside this binary
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// Agents, each with a profile, a Secret and a session of its own
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(10..=60_000))]
    pub agents: u32,
    /// Seconds for which they are watched at rest; a session asks its inboxes once in 30 to 60
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(5..=600))]
    pub seconds: u32,
}

impl IdleArgs {
    /// What the measuring verbs share.
    pub fn common(&self, agents: u32) -> Common {
        let Self { nexus, data, .. } = self;
        Common { nexus: nexus.clone(), data: data.clone(), agents, body_bytes: 0, rate: 0, connections: 0 }
    }
}

/// Arguments of `floor-ingest`.
#[derive(Debug, Args)]
pub struct FloorIngestArgs {
    /// Address for webhooks
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "HOST:PORT")]
    pub listen: SocketAddr,
    /// Where Redis is
    #[arg(long, default_value = "127.0.0.1:6379", value_name = "HOST:PORT")]
    pub redis: SocketAddr,
    /// Bytes of an event that an agent is sent
    #[arg(long, default_value_t = 2_000)]
    pub event_bytes: usize,
    /// Bytes of an event that are kept beside that
    #[arg(long, default_value_t = 4_000)]
    pub raw_bytes: usize,
    /// The signing secret of webhooks
    #[arg(long, default_value = SECRET)]
    pub secret: String,
}

/// Arguments of `floor-gateway`.
#[derive(Debug, Args)]
pub struct FloorGatewayArgs {
    /// Address for agents
    #[arg(long, default_value = "127.0.0.1:8081", value_name = "HOST:PORT")]
    pub listen: SocketAddr,
    /// Where Redis is
    #[arg(long, default_value = "127.0.0.1:6379", value_name = "HOST:PORT")]
    pub redis: SocketAddr,
}
