//! Arguments of roles that are processes of their own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use clap::builder::RangedU64ValueParser;
use nexus_core::secret::Secret;
use nexus_gateway::MAX_SESSIONS;
use nexus_store::redis::RedisSettings;

use crate::role::alone::{AloneSettings, GatewaySettings, IngestSettings};
use crate::role::operator::{OperatorSettings, OperatorUrl};
use crate::role::policies::PolicySource;
use crate::role::source::Source;
use crate::role::spool::SpoolClass;

/// Where the configuration comes from: exactly one of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct SourceArgs {
    /// Folder of Tenant, AgentProfile, NexusPolicy and Secret files; or give --operator
    #[arg(value_name = "DIR", env = "NEXUS_FOLDER")]
    dir: Option<PathBuf>,
    /// Take the configuration from the operator instead: https://NAME:PORT, all of whose addresses are asked
    #[arg(long, env = "NEXUS_OPERATOR", value_name = "URL", value_parser = str::parse::<OperatorUrl>)]
    operator: Option<OperatorUrl>,
}

/// How the operator is reached.
#[derive(Debug, Args)]
struct OperatorArgs {
    /// File with the certificates of the operator's authority; no others are trusted
    #[arg(long, env = "NEXUS_OPERATOR_CA", value_name = "FILE")]
    operator_ca: Option<PathBuf>,
    /// File with the token that says who this pod is, read anew for each connection
    #[arg(long, env = "NEXUS_OPERATOR_TOKEN", value_name = "FILE")]
    operator_token: Option<PathBuf>,
    /// Name of this pod; the token may be bound to it
    #[arg(long, env = "NEXUS_POD", value_name = "NAME")]
    pod: Option<String>,
}

/// What every role takes.
#[derive(Debug, Args)]
struct AloneArgs {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    operator: OperatorArgs,
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
    /// Folder on a memory-backed volume where signing secrets of the operator are kept, so that this container may start again
    /// without it
    #[arg(long, env = "NEXUS_SECRETS", value_name = "PATH")]
    secrets: Option<PathBuf>,
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
    /// Where the operator's configuration is kept, so that a large one takes no room from the latch; each gateway needs a folder of
    /// its own. Default: in --data
    #[arg(long, env = "NEXUS_LAST_GOOD", value_name = "PATH")]
    last_good: Option<PathBuf>,
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
    /// Where NexusPolicies are read: in DIR, or at the API server that KUBECONFIG or the pod's ServiceAccount names. Default: in
    /// DIR if that is given, else at the API server
    #[arg(long, env = "NEXUS_POLICIES", value_enum, value_name = "WHERE")]
    policies: Option<PolicySource>,
}

/// A text that is never shown.
fn hidden(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

impl AloneArgs {
    fn into_settings(self, listen: SocketAddr, admin: &str) -> anyhow::Result<AloneSettings> {
        let Self { source, operator, bus, log_json } = self;
        let url = std::str::from_utf8(bus.expose()).unwrap_or_default();
        let bus = url.parse::<RedisSettings>().map_err(|error| anyhow::anyhow!("--bus: {error}"))?;
        let source = source.into_source(operator)?;
        Ok(AloneSettings { source, bus, listen, admin: super::admin_address(admin)?, log_json })
    }
}

impl SourceArgs {
    fn into_source(self, operator: OperatorArgs) -> anyhow::Result<Source> {
        let OperatorArgs { operator_ca: ca, operator_token: token, pod } = operator;
        match (self.dir, self.operator) {
            (_, Some(url)) => {
                anyhow::ensure!(
                    url.is_plain() || ca.is_some(),
                    "--operator {url} needs --operator-ca FILE with the certificates of its authority"
                );
                let token = token.with_context(|| format!("--operator {url} needs --operator-token FILE"))?;
                let pod = pod.filter(|pod| !pod.is_empty());
                let pod = pod.with_context(|| format!("--operator {url} needs --pod NAME"))?;
                Ok(Source::Operator(OperatorSettings { url, ca, token, pod }))
            }
            (Some(dir), None) => {
                // clap does not ask for what the folder excludes.
                let given = [("--operator-ca", ca.is_some()), ("--operator-token", token.is_some())];
                let given = given.into_iter().chain([("--pod", pod.is_some())]).find(|(_, given)| *given);
                anyhow::ensure!(given.is_none(), "{} needs --operator", given.map_or("", |(flag, _)| flag));
                Ok(Source::Folder(dir))
            }
            (None, None) => anyhow::bail!("give DIR or --operator URL"),
        }
    }
}

impl IngestArgs {
    /// The settings of `nexus ingest`.
    pub fn into_settings(self, admin: &str) -> anyhow::Result<IngestSettings> {
        let Self { alone, listen, data, spool_bytes, spool_class, secrets } = self;
        let alone = alone.into_settings(listen, admin)?;
        let folder = matches!(alone.source, Source::Folder(_));
        anyhow::ensure!(!(folder && secrets.is_some()), "--secrets needs --operator");
        Ok(IngestSettings { alone, data, spool_bytes, spool_class, secrets })
    }
}

impl GatewayArgs {
    /// The settings of `nexus gateway`.
    pub fn into_settings(self, admin: &str) -> anyhow::Result<GatewaySettings> {
        let Self { alone, listen, data, last_good, token_keys, token_lifetime, max_sessions, policies } =
            self;
        let alone = alone.into_settings(listen, admin)?;
        let folder = matches!(alone.source, Source::Folder(_));
        anyhow::ensure!(!(folder && last_good.is_some()), "--last-good needs --operator");
        let policies = match (&alone.source, policies) {
            (Source::Folder(_), policies) => policies.unwrap_or(PolicySource::Folder),
            // No operator stands between a stop and whom it stops.
            (Source::Operator(_), None | Some(PolicySource::Kubernetes)) => PolicySource::Kubernetes,
            (Source::Operator(_), Some(PolicySource::Folder)) => {
                anyhow::bail!("--policies folder needs DIR: with --operator they are read at the API server")
            }
        };
        Ok(GatewaySettings { alone, data, last_good, token_keys, token_lifetime, max_sessions, policies })
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
    fn policies_are_the_folders_unless_an_api_server_is_asked_for_or_there_is_no_folder() {
        let policies = |args: &[&str]| {
            let cli = Cli::try_parse_from([&["nexus", "gateway", "--bus", "redis://h"], args].concat());
            let cli = cli.map_err(|error| error.to_string())?;
            let Verb::Gateway(gateway) = cli.verb else { panic!("it is gateway") };
            let settings = gateway.into_settings(&cli.admin).map_err(|error| format!("{error:#}"))?;
            Ok::<_, String>(settings.policies)
        };
        let operator = ["--operator", "http://localhost:1", "--operator-token", "t", "--pod", "p"];
        assert_eq!(policies(&["dir"]), Ok(PolicySource::Folder));
        assert_eq!(policies(&["dir", "--policies", "kubernetes"]), Ok(PolicySource::Kubernetes));
        assert_eq!(policies(&operator), Ok(PolicySource::Kubernetes));
        let wrong = policies(&[&operator[..], &["--policies", "folder"]].concat()).unwrap_err();
        assert!(wrong.contains("--policies") && wrong.contains("DIR"), "{wrong}");
        assert!(policies(&["dir", "--policies", "etcd"]).unwrap_err().contains("--policies"));
        // What no operator gives is not kept.
        policies(&[&operator[..], &["--last-good", "x"]].concat()).unwrap();
        let wrong = policies(&["dir", "--last-good", "x"]).unwrap_err();
        assert!(wrong.contains("--last-good") && wrong.contains("--operator"), "{wrong}");
    }

    #[test]
    fn the_configuration_comes_from_a_folder_or_an_operator_and_never_from_both() {
        const BUS: [&str; 2] = ["--bus", "redis://h"];
        let with = |args: &[&str]| settings(&[args, &BUS].concat());
        let both = ["DIR", "--operator"];
        let url = "https://operator:8443";
        for wrong in [&[][..], &["dir", "--operator", url]] {
            let error = with(wrong).unwrap_err();
            assert!(both.iter().all(|name| error.contains(name)), "{error}");
        }
        let error = with(&["--operator", "http://operator:8443"]).unwrap_err();
        assert!(error.contains("--operator") && error.contains("loopback"), "{error}");
        let token = ["--operator-token", "token", "--pod", "ingest-0"];
        let error = with(&[&["--operator", url], &token[..]].concat()).unwrap_err();
        assert!(error.contains("--operator-ca"), "{error}");
        for missing in 0..2 {
            let mut given = vec!["--operator", url, "--operator-ca", "ca"];
            given.extend(&token[2 - 2 * missing..4 - 2 * missing]);
            let error = with(&given).unwrap_err();
            assert!(error.contains(["--operator-token", "--pod"][missing]), "{error}");
        }
        for flag in ["--secrets", "--operator-ca", "--operator-token", "--pod"] {
            let error = with(&["dir", flag, "x"]).unwrap_err();
            assert!(error.contains(flag) && error.contains("--operator"), "{error}");
        }
        assert!(matches!(with(&["dir"]).unwrap().source, Source::Folder(_)));
        let whole = [&["--operator", url, "--operator-ca", "ca"], &token[..]].concat();
        let Source::Operator(operator) = with(&whole).unwrap().source else { panic!("it is an operator") };
        assert_eq!((operator.url.to_string().as_str(), operator.pod.as_str()), (url, "ingest-0"));
        // On this machine there need be no certificate.
        with(&[&["--operator", "http://127.0.0.1:8443"], &token[..]].concat()).unwrap();
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
