//! The role: bound to its address first, then run until drained.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use nexus_core::clock::Clock;
use nexus_runtime::Drain;
use nexus_runtime::lane::StopGate;
use nexus_runtime::server::{self, ServerLimits};
use nexus_runtime::tasks::{TaskEnded, Tasks};
use nexus_store::bus::Bus;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tonic_health::server::HealthReporter;

use crate::config::GatewayConfig;
use crate::fleet::{self, Fleet, FleetError};
use crate::leases::Leases;
use crate::presence::Presence;
use crate::shared::Shared;
use crate::token::{TOKEN_LIFETIME, TokenKeys};
use crate::{http, routing, sessions};

/// The most sessions unless it is told otherwise.
pub const MAX_SESSIONS: usize = 16_384;

/// How long the return of what sessions left may take that were cut off.
const RETURN: Duration = Duration::from_secs(2);

/// Admitted connections that may wait for their session to start.
const STARTS: usize = 1024;

/// What the gateway needs of others.
#[derive(Debug, Clone)]
pub struct GatewayDeps {
    /// The bus.
    pub bus: Bus,
    /// The stop gate.
    pub gate: StopGate,
    /// The configuration, as it changes.
    pub config: watch::Receiver<Arc<GatewayConfig>>,
    /// The keys of access tokens.
    pub keys: TokenKeys,
    /// The clock.
    pub clock: Clock,
}

/// What the gateway may be told.
#[derive(Debug, Clone)]
pub struct GatewaySettings {
    /// Where to listen.
    pub address: SocketAddr,
    /// The issuer's URL in the metadata, without a path; by default `http://` and the request's Host.
    pub issuer: Option<String>,
    /// How long access tokens are good for.
    pub token_lifetime: Duration,
    /// The most sessions.
    pub max_sessions: usize,
    /// The most sessions of one agent.
    pub max_sessions_per_agent: usize,
    /// How long an agent may take to read what is sent to it.
    pub write_deadline: Duration,
    /// How long an agent may take to hear of a stop and to end its side, before it is cut off. One that was told in this time
    /// has until all others were told, too, at most 0.11 s longer.
    pub stop_patience: Duration,
    /// Which sessions hold events. To be kept by whoever starts a gateway again in the same process: what an
    /// aborted one held is returned by the next that is given the same.
    pub leases: Leases,
    /// The gateway's place among those that share its bus. To be kept likewise.
    pub fleet: Fleet,
    /// Bounds of the HTTP server.
    pub server: ServerLimits,
    /// How long the tasks may take to end in a drain.
    pub grace: Duration,
}

impl GatewaySettings {
    /// The defaults, at this address.
    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        Self {
            address,
            issuer: None,
            token_lifetime: TOKEN_LIFETIME,
            max_sessions: MAX_SESSIONS,
            max_sessions_per_agent: 256,
            write_deadline: Duration::from_secs(10),
            stop_patience: Duration::from_millis(50),
            leases: Leases::default(),
            fleet: Fleet::default(),
            server: ServerLimits::default(),
            grace: Duration::from_secs(10),
        }
    }

    /// How long the role takes to end in a drain, at most.
    #[must_use]
    pub fn longest_end(&self) -> Duration {
        self.grace + RETURN + fleet::LEAVE
    }
}

/// The gateway role.
#[derive(Debug)]
pub struct Gateway;

/// A gateway that has its address and accepts once it runs.
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Gateway {
    /// Takes the address.
    ///
    /// # Errors
    /// When the address cannot be taken, or the issuer is more than a scheme and a host
    /// ([`io::ErrorKind::InvalidInput`]).
    pub async fn bind(deps: GatewayDeps, mut settings: GatewaySettings) -> io::Result<Bound> {
        if let Some(issuer) = &settings.issuer {
            let issuer = http::issuer(issuer);
            settings.issuer =
                Some(issuer.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?);
        }
        let listener = TcpListener::bind(settings.address).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            leases: settings.leases.clone(),
            outage: settings.leases.outage().clone(),
            fleet: settings.fleet.clone(),
            drained: std::sync::OnceLock::new(),
            parting: crate::session::parting::Parting::default(),
            bus: deps.bus,
            gate: deps.gate,
            config: deps.config,
            keys: deps.keys,
            clock: deps.clock,
            settings,
            presence: Presence::default(),
        });
        Ok(Bound { listener, address, shared })
    }
}

impl Bound {
    /// The address that was taken.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A view of who is connected.
    #[must_use]
    pub fn presence(&self) -> Presence {
        self.shared.presence.clone()
    }

    /// Serves until drained. Sessions are told and have ended when it returns.
    ///
    /// # Errors
    /// When a task ended although the gateway was to go on.
    pub async fn run(self, drain: Drain) -> Result<(), TaskEnded> {
        let Self { listener, shared, .. } = self;
        let settings = shared.settings.clone();
        // Asks the role to end: the drain of the process does, and the fleet that took this gateway for dead.
        let role = drain.child_token();
        let mut tasks = Tasks::new("gateway", role.clone());
        start(listener, &shared, &drain, &mut tasks);
        let ended = tasks.run(settings.grace).await;
        // Sessions that were cut off, because a task failed or the drain took too long, did not do it themselves.
        if timeout(RETURN, shared.leases.return_all(&shared.bus)).await.is_err() {
            tracing::warn!("not all events were returned that sessions held; the next gateway returns them");
        }
        if drain.is_cancelled() && shared.fleet.view().entered() {
            // Sessions took so long that the task did not come to it.
            shared.fleet.leave(&shared.bus).await;
        }
        if ended.is_ok() && !drain.is_cancelled() {
            return Err(TaskEnded::failed("gateway", "fleet", &FleetError::Buried));
        }
        ended
    }
}

/// Starts the tasks of the role.
fn start(listener: TcpListener, shared: &Arc<Shared>, drain: &Drain, tasks: &mut Tasks) {
    let role = tasks.drain();
    let (starts, started) = mpsc::channel(STARTS);
    let health = HealthReporter::new();
    let router = http::router(Arc::clone(shared), starts, &health, role.clone());
    // Cancelled when the last session has ended: until then this gateway routes, and lives.
    let parted = Drain::new();
    tasks.start("sessions", {
        let (owned, parted) = (sessions::own(Arc::clone(shared), started, role.clone()), parted.clone());
        async move {
            let ended = owned.await;
            parted.cancel();
            ended
        }
    });
    tasks.start("routing", routing::route_all(Arc::clone(shared), parted.clone()));
    tasks.start("fleet", fleet::belong(Arc::clone(shared), drain.clone(), role.clone(), parted));
    tasks.start("heirs", fleet::inherit(Arc::clone(shared), role.clone()));
    tasks.start("health", http::grpc::report(health, role.clone()));
    // One port for HTTP/1.1, WebSocket and gRPC.
    let limits = ServerLimits { http2: true, ..shared.settings.server };
    tasks.start("http", server::serve(listener, router, limits, role));
}

impl std::fmt::Debug for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bound").field("address", &self.address).finish_non_exhaustive()
    }
}
