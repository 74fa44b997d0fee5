//! The connections to the server: one for commands, one that listens.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fred::clients::{Client, SubscriberClient};
use fred::interfaces::{ClientLike as _, ConfigInterface as _, KeysInterface as _};
use fred::prelude::{Builder, Config, Error, ErrorKind, ReconnectPolicy, Server, ServerConfig};
use fred::types::config::{TlsConnector, UnresponsiveConfig};
use fred::types::{ConnectHandle, Expiration, InfoKind, SetOptions};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::durability::Durability;
use super::settings::{RedisSettings, Target};
use crate::bus::{BusError, cannot};

/// Commands that the library may hold; ours are bounded well below that.
const BUFFERED: usize = 8192;

/// Messages of wake-ups that may wait; beyond that everybody looks again.
const MESSAGES: usize = 4096;

const FIRST_PAUSE_MS: u32 = 50;
const LONGEST_PAUSE_MS: u32 = 3000;

/// The longest pause of a connection that stops travel by.
const LONGEST_PAUSE_OF_STOPS_MS: u32 = 500;

const JITTER_MS: u32 = 100;

/// Where the random part of the identity is kept.
const IDENTITY: &str = "nexus:identity";

/// Both connections. They reconnect by themselves until [`Connection::quit`].
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) subscriber: SubscriberClient,
}

/// A task of the library, which ends with this: it would outlive its client.
#[derive(Debug)]
pub(super) struct Task(pub(super) ConnectHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    /// Connects. Fails if the server is not there now.
    pub(super) async fn open(settings: &RedisSettings) -> Result<(Self, [Task; 2]), BusError> {
        let builder = builder(settings, LONGEST_PAUSE_MS)?;
        let client = builder.build().map_err(cannot("connect to Redis"))?;
        let subscriber = builder.build_subscriber_client().map_err(cannot("connect to Redis"))?;
        let connection = Self { client, subscriber };
        let both = async {
            let client = Task(connection.client.init().await?);
            Ok::<_, Error>([client, Task(connection.subscriber.init().await?)])
        };
        let connected = tokio::time::timeout(settings.connect_timeout * 2, both).await;
        match connected {
            Ok(Ok(tasks)) => Ok((connection, tasks)),
            Ok(Err(error)) => {
                connection.quit().await;
                Err(cannot("connect to Redis")(error))
            }
            Err(late) => {
                connection.quit().await;
                Err(cannot("connect to Redis in time")(late))
            }
        }
    }

    /// Fails while there is no connection.
    pub(super) fn check(&self, doing: &'static str) -> Result<(), BusError> {
        if self.client.is_connected() {
            return Ok(());
        }
        let lost = "there is no connection to Redis; it is being made anew";
        Err(cannot(doing)(Error::new(ErrorKind::IO, lost)))
    }

    /// What the server promises of what it answered.
    pub(super) async fn durability(&self) -> Result<Durability, Error> {
        let wanted = ["append*", "min-replicas-to-write", "maxmemory*"];
        let mut found = HashMap::new();
        for pattern in wanted {
            match self.client.config_get::<HashMap<String, String>, _>(pattern).await {
                Ok(values) => found.extend(values),
                // Forbidden, or renamed away.
                Err(error) if is_refusal(&error) => return Ok(Durability::UNKNOWN),
                Err(error) => return Err(error),
            }
        }
        Ok(Durability::read(&found))
    }

    /// The random part of the identity, made anew if a FLUSHALL has taken it.
    pub(super) async fn key_identity(&self) -> Result<String, Error> {
        let fresh = uuid::Uuid::new_v4().simple().to_string();
        let options = Some(SetOptions::NX);
        let known: Option<String> =
            self.client.set(IDENTITY, fresh.as_str(), None::<Expiration>, options, true).await?;
        Ok(known.unwrap_or(fresh))
    }

    /// The run id of the server, which a restart and a failover change. Empty if the server does not tell.
    pub(super) async fn run_id(&self) -> Result<String, Error> {
        let info: String = match self.client.info(Some(InfoKind::Server)).await {
            Err(error) if is_refusal(&error) => return Ok(String::new()),
            outcome => outcome?,
        };
        let line = info.lines().find_map(|line| line.strip_prefix("run_id:"));
        Ok(line.unwrap_or_default().trim().to_owned())
    }

    pub(super) async fn quit(&self) {
        // Whatever the server answers, the connections are given up.
        let both = async {
            let _ = self.subscriber.quit().await;
            let _ = self.client.quit().await;
        };
        let _ = tokio::time::timeout(Duration::from_secs(1), both).await;
    }
}

/// Begins to connect, for stops: for commands alone. Its end, also before it was connected, is that of the task.
pub(super) fn begin(settings: &RedisSettings) -> Result<(Client, Task), BusError> {
    let client = builder(settings, LONGEST_PAUSE_OF_STOPS_MS)?.build().map_err(cannot("connect to Redis"))?;
    let task = Task(client.connect());
    Ok((client, task))
}

fn builder(settings: &RedisSettings, longest_pause_ms: u32) -> Result<Builder, BusError> {
    let mut builder = Builder::from_config(config(settings)?);
    let (command, connect) = (settings.command_timeout, settings.connect_timeout);
    let mut policy = ReconnectPolicy::new_exponential(0, FIRST_PAUSE_MS, longest_pause_ms, 2);
    policy.set_jitter(JITTER_MS);
    builder
        .set_policy(policy)
        .with_performance_config(|performance| {
            performance.default_command_timeout = command;
            performance.broadcast_channel_capacity = MESSAGES;
        })
        .with_connection_config(|connection| {
            connection.connection_timeout = connect;
            connection.internal_command_timeout = connect;
            // Whether a command whose connection was lost was done is open, and it is the caller who knows
            // whether it may be done twice.
            connection.max_command_attempts = 1;
            connection.max_command_buffer_len = BUFFERED;
            connection.tcp.nodelay = Some(true);
            connection.unresponsive =
                UnresponsiveConfig { max_timeout: Some(command * 2), interval: command / 2 };
        });
    Ok(builder)
}

/// Whether the server answered, and the answer was no.
fn is_refusal(error: &Error) -> bool {
    error.details().starts_with("NOPERM") || error.details().starts_with("ERR")
}

fn config(settings: &RedisSettings) -> Result<Config, BusError> {
    let server = |(host, port): &(String, u16)| Server::new(host.as_str(), *port);
    let target = match &settings.target {
        Target::Server(address) => {
            let mut server = server(address);
            server.tls_server_name = settings.tls.then(|| address.0.as_str().into());
            ServerConfig::Centralized { server }
        }
        Target::Socket(path) => ServerConfig::Unix { path: path.clone() },
        Target::Sentinel { sentinels, service, credentials } => ServerConfig::Sentinel {
            hosts: sentinels.iter().map(server).collect(),
            service_name: service.clone(),
            username: credentials.user.clone(),
            password: credentials.password.clone(),
        },
    };
    Ok(Config {
        server: target,
        username: settings.credentials.user.clone(),
        password: settings.credentials.password.clone(),
        database: Some(settings.database),
        tls: if settings.tls { Some(connector(settings)?.into()) } else { None },
        ..Config::default()
    })
}

fn connector(settings: &RedisSettings) -> Result<TlsConnector, BusError> {
    let Some(file) = &settings.ca else {
        return TlsConnector::default_rustls().map_err(cannot("read the system's certificate authorities"));
    };
    let reading = "read the certificate authorities of Redis";
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(cannot(reading))? {
        roots.add(certificate.map_err(cannot(reading))?).map_err(cannot(reading))?;
    }
    if roots.is_empty() {
        return Err(cannot(reading)(format!("{} holds no certificate", file.display())));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(cannot("prepare TLS"))?;
    Ok(client.with_root_certificates(roots).with_no_client_auth().into())
}
