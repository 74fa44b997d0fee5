//! Arguments of roles that are processes of their own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use nexus_core::secret::Secret;
use nexus_gateway::MAX_SESSIONS;
use nexus_store::redis::RedisSettings;

use crate::role::alone::{AloneSettings, GatewaySettings, IngestSettings};
use crate::role::policies::PolicySource;
use crate::role::spool::SpoolClass;

/// What every role takes.
#[derive(Debug, Args)]
struct AloneArgs {
    /// Folder of Tenant, AgentProfile, NexusPolicy and Secret files
    #[arg(value_name = "DIR", env = "NEXUS_FOLDER")]
    dir: PathBuf,
    /// Where the bus is: redis://, rediss://, redis-sentinel://, rediss-sentinel:// or redis+unix://
    #[arg(long, env = "NEXUS_BUS", hide_env_values = true, value_name = "URL", value_parser = hidden)]
    bus: Secret,
    /// Log lines as JSON
    #[arg(long)]
    log_json: bool,
}

/// Arguments of `ingest`.
#[derive(Debug, Args)]
pub struct IngestArgs {
    #[command(flatten)]
    alone: AloneArgs,
    /// Address for webhooks
    #[arg(long, env = "NEXUS_LISTEN", default_value = "127.0.0.1:8080", value_name = "HOST:PORT")]
    listen: SocketAddr,
    /// Where events are spooled until the bus has them; each ingest needs a folder of its own
    #[arg(long, env = "NEXUS_DATA", default_value = ".nexus-ingest", value_name = "PATH")]
    data: PathBuf,
    /// The most bytes that the spool takes on the disk, 64Mi at least
    #[arg(
        long,
        env = "NEXUS_SPOOL_BYTES",
        default_value = "1Gi",
        value_parser = super::parse_spool_bytes,
        value_name = "BYTES"
    )]
    spool_bytes: u64,
    /// What the folder in --data outlives: the process only (an emptyDir), or the pod too
    #[arg(long, env = "NEXUS_SPOOL_CLASS", default_value = "pod", value_enum, value_name = "CLASS")]
    spool_class: SpoolClass,
}

/// Arguments of `gateway`.
#[derive(Debug, Args)]
pub struct GatewayArgs {
    #[command(flatten)]
    alone: AloneArgs,
    /// Address for agents
    #[arg(long, env = "NEXUS_LISTEN", default_value = "127.0.0.1:8081", value_name = "HOST:PORT")]
    listen: SocketAddr,
    /// Where the stop latch is kept; each gateway needs a folder of its own
    #[arg(long, env = "NEXUS_DATA", default_value = ".nexus-gateway", value_name = "PATH")]
    data: PathBuf,
    /// Folder with the keys of access tokens, the same for all gateways: `token` signs, keys in `accepted` are accepted too
    #[arg(long, env = "NEXUS_TOKEN_KEYS", value_name = "PATH")]
    token_keys: Option<PathBuf>,
    /// How long access tokens are good for, from 15s to 24h
    #[arg(
        long,
        env = "NEXUS_TOKEN_LIFETIME",
        default_value = "10m",
        value_parser = super::parse_lifetime,
        value_name = "TIME"
    )]
    token_lifetime: Duration,
    /// The most sessions at a time; each takes some 10 kB of memory by WebSocket, 40 kB by gRPC, and an open file
    #[arg(
        long,
        env = "NEXUS_MAX_SESSIONS",
        default_value_t = MAX_SESSIONS,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000_000),
        value_name = "NUMBER"
    )]
    max_sessions: usize,
    /// Where NexusPolicies are read: in DIR, or at the API server that KUBECONFIG or the pod's ServiceAccount names
    #[arg(long, env = "NEXUS_POLICIES", default_value = "folder", value_enum, value_name = "WHERE")]
    policies: PolicySource,
}

/// A text that is never shown.
fn hidden(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

impl AloneArgs {
    fn into_settings(self, listen: SocketAddr, admin: &str) -> anyhow::Result<AloneSettings> {
        let Self { dir, bus, log_json } = self;
        let url = std::str::from_utf8(bus.expose()).unwrap_or_default();
        let bus = url.parse::<RedisSettings>().map_err(|error| anyhow::anyhow!("--bus: {error}"))?;
        Ok(AloneSettings { folder: dir, bus, listen, admin: super::admin_address(admin)?, log_json })
    }
}

impl IngestArgs {
    /// The settings of `nexus ingest`.
    pub fn into_settings(self, admin: &str) -> anyhow::Result<IngestSettings> {
        let Self { alone, listen, data, spool_bytes, spool_class } = self;
        Ok(IngestSettings { alone: alone.into_settings(listen, admin)?, data, spool_bytes, spool_class })
    }
}

impl GatewayArgs {
    /// The settings of `nexus gateway`.
    pub fn into_settings(self, admin: &str) -> anyhow::Result<GatewaySettings> {
        let Self { alone, listen, data, token_keys, token_lifetime, max_sessions, policies } = self;
        let alone = alone.into_settings(listen, admin)?;
        Ok(GatewaySettings { alone, data, token_keys, token_lifetime, max_sessions, policies })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::args::{Cli, Verb};

    fn settings(args: &[&str]) -> Result<AloneSettings, String> {
        let cli = Cli::try_parse_from([&["nexus", "ingest"], args].concat());
        let cli = cli.map_err(|error| error.to_string())?;
        let Verb::Ingest(ingest) = cli.verb else { panic!("it is ingest") };
        assert!(!format!("{ingest:?}").contains("s-word"));
        let settings = ingest.into_settings(&cli.admin).map_err(|error| format!("{error:#}"))?;
        Ok(settings.alone)
    }

    #[test]
    fn a_gateway_takes_as_many_sessions_as_it_is_told() {
        let sessions = |args: &[&str]| {
            let cli =
                Cli::try_parse_from([&["nexus", "gateway", "dir", "--bus", "redis://h"], args].concat());
            let cli = cli.map_err(|error| error.to_string())?;
            let Verb::Gateway(gateway) = cli.verb else { panic!("it is gateway") };
            Ok::<_, String>(gateway.into_settings(&cli.admin).unwrap().max_sessions)
        };
        assert_eq!(sessions(&[]), Ok(16_384));
        assert_eq!(sessions(&["--max-sessions", "20000"]), Ok(20_000));
        for wrong in ["0", "1000001", "many"] {
            assert!(sessions(&["--max-sessions", wrong]).unwrap_err().contains("--max-sessions"), "{wrong}");
        }
    }

    #[test]
    fn policies_are_the_folders_unless_an_api_server_is_asked_for() {
        let policies = |args: &[&str]| {
            let cli =
                Cli::try_parse_from([&["nexus", "gateway", "dir", "--bus", "redis://h"], args].concat());
            let cli = cli.map_err(|error| error.to_string())?;
            let Verb::Gateway(gateway) = cli.verb else { panic!("it is gateway") };
            Ok::<_, String>(gateway.into_settings(&cli.admin).unwrap().policies)
        };
        assert_eq!(policies(&[]), Ok(PolicySource::Folder));
        assert_eq!(policies(&["--policies", "kubernetes"]), Ok(PolicySource::Kubernetes));
        assert!(policies(&["--policies", "etcd"]).unwrap_err().contains("--policies"));
    }

    #[test]
    fn wrong_input_names_its_flag_and_shows_no_password() {
        let settings_of = settings(&["dir", "--bus", "redis://:pass-word@localhost:7000"]).unwrap();
        assert!(!format!("{settings_of:?}").contains("s-word"));
        let wrong = settings(&["dir", "--bus", "http://:pass-word@localhost"]).unwrap_err();
        assert!(
            wrong.contains("--bus") && wrong.contains("redis://") && !wrong.contains("s-word"),
            "{wrong}"
        );
        let without = settings(&["dir"]).unwrap_err();
        assert!(without.contains("--bus"), "{without}");
        let wrong = settings(&["dir", "--bus", "redis://h", "--listen", "8080"]).unwrap_err();
        assert!(wrong.contains("--listen"), "{wrong}");
        for bytes in ["many", "1M", "63Mi"] {
            let wrong = settings(&["dir", "--bus", "redis://h", "--spool-bytes", bytes]).unwrap_err();
            assert!(wrong.contains("--spool-bytes") && wrong.contains("512Mi"), "{wrong}");
        }
        let wrong = settings(&["dir", "--bus", "redis://h", "--admin", "nowhere"]).unwrap_err();
        assert!(wrong.contains("--admin"), "{wrong}");
    }
}
