//! For tests: what a gateway stands on, over a real bus, and driven by hand.

#[path = "../../store/tests/contract/server.rs"]
#[expect(dead_code, reason = "the bus' own tests need more than is needed here")]
mod server;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use nexus_core::change::ChangeKey;
use nexus_core::clock::ManualClock;
use nexus_core::id::{AgentId, EventId, SessionId, TenantKey};
use nexus_core::kind::{Kind, Rank};
use nexus_core::secret::Secret;
use nexus_core::selector::Labels;
use nexus_core::snapshot::{Agent, GatewaySnapshot, Heartbeat};
use nexus_core::stop::{Mirror, Policy, Targets, Workloads};
use nexus_runtime::lane::StopLane;
use nexus_store::bus::{Append, Appended, Bus, HandOut, Raw, Route, Seq, partition_of};
use uuid::Uuid;

pub(crate) use self::server::Server;
use crate::config::GatewayConfig;
use crate::fleet::Fleet;
use crate::gateway::GatewaySettings;
use crate::leases::Leases;
use crate::presence::{Entered, Figures, Presence};
use crate::shared::Shared;
use crate::token::TokenKeys;

const NOW: &str = "2026-11-24T07:00:00Z";
/// The thread of all events.
pub(crate) const THREAD: &str = "github:acme/shop#12";

/// What sessions and the route loop stand on: one tenant with one agent.
pub(crate) struct World {
    pub(crate) tenant: TenantKey,
    pub(crate) shared: Shared,
    pub(crate) lane: StopLane,
    pub(crate) time: ManualClock,
    _folder: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualClock::at(NOW.parse().unwrap()).clock();
        let bus = Bus::open_embedded(&folder.path().join("bus"), clock).unwrap();
        Self::over(bus, folder)
    }

    /// Over a Redis of its own, which is not there while it is killed.
    pub(crate) async fn redis() -> (Self, Server) {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(folder.path(), &[]).await;
        let clock = ManualClock::at(NOW.parse().unwrap()).clock();
        let bus = Bus::open_redis(server.url().parse().unwrap(), clock).await.unwrap();
        (Self::over(bus, folder), server)
    }

    /// Kills its Redis, and waits until the bus knows.
    pub(crate) async fn lose(&self, server: Server) {
        drop(server);
        while self.shared.bus.tenants().await.is_ok() {}
    }

    fn over(bus: Bus, folder: tempfile::TempDir) -> Self {
        let tenant: TenantKey = "acme/acme".parse().unwrap();
        let time = ManualClock::at(NOW.parse().unwrap());
        let lane = StopLane::open(&folder.path().join("latch.json")).unwrap();
        lane.observe(&[]).unwrap();
        let config = GatewayConfig::new([(tenant.clone(), Arc::new(snapshot(&tenant)))].into());
        let leases = Leases::default();
        let shared = Shared {
            outage: leases.outage().clone(),
            leases,
            fleet: Fleet::default(),
            drained: std::sync::OnceLock::new(),
            parting: crate::session::parting::Parting::default(),
            bus,
            gate: lane.gate(),
            config: tokio::sync::watch::channel(Arc::new(config)).1,
            keys: TokenKeys::generate(),
            clock: time.clock(),
            settings: GatewaySettings::at(([127, 0, 0, 1], 0).into()),
            presence: Presence::default(),
        };
        Self { tenant, shared, lane, time, _folder: folder }
    }

    pub(crate) fn agent(&self) -> AgentId {
        AgentId::of(&self.tenant, "coder")
    }

    pub(crate) fn enter(&self) -> Entered {
        let now: Timestamp = NOW.parse().unwrap();
        let session = SessionId::from(Uuid::new_v4());
        let peer = ([127, 0, 0, 1], 1).into();
        let figures = Figures::new(session, self.agent(), peer, now, now + Duration::from_secs(60));
        self.shared.presence.enter(&self.tenant, figures, (9, 9)).unwrap()
    }

    /// Appends an event that is this text.
    pub(crate) async fn append(&self, event: String) -> Seq {
        self.append_to(THREAD, event).await
    }

    async fn append_to(&self, thread: &str, event: String) -> Seq {
        let id = EventId::from(Uuid::now_v7());
        let append = Append {
            id,
            delivery_key: id.to_string(),
            dedupe_for: Duration::from_secs(3600),
            thread_key: thread.into(),
            kind: Kind::NewMessage,
            source: "github".into(),
            title: None,
            received: self.shared.clock.now(),
            change: ChangeKey::single(id.to_string(), Rank::Update),
            event: Bytes::from(event),
            raw: Raw { headers: vec![], body: Bytes::new() },
            quota_bytes: 1 << 30,
        };
        match self.shared.bus.append(&self.tenant, append).await.unwrap() {
            Appended::Stored(seq) => seq,
            Appended::Duplicate(_) => panic!("its id is new"),
        }
    }

    /// Puts an event of this size into the agent's inbox.
    pub(crate) async fn post(&self, size: usize) {
        self.post_to(THREAD, size).await;
    }

    /// The same, of a thread.
    pub(crate) async fn post_to(&self, thread: &str, size: usize) {
        let seq = self.append_to(thread, format!("\"{}\"", "x".repeat(size))).await;
        let (bus, partition) = (&self.shared.bus, partition_of(thread));
        let epoch = bus.acquire(&self.tenant, partition).await.unwrap();
        let route = Route { seq, inboxes: vec![self.agent().inbox()], decision: Bytes::from_static(b"{}") };
        bus.route(&self.tenant, partition, epoch, vec![route], HandOut::Nothing).await.unwrap();
    }
}

pub(crate) fn secret() -> Secret {
    Secret::new("coder-secret-of-at-least-32-characters")
}

fn snapshot(tenant: &TenantKey) -> GatewaySnapshot {
    let agent = Agent {
        id: AgentId::of(tenant, "coder"),
        display_name: "coder".into(),
        role: None,
        owner: None,
        labels: Labels::new(),
        aliases: vec![],
        subscriptions: vec![],
        max_in_flight: 10,
        credential: Some(secret().digest()),
        shared_inboxes: vec![],
    };
    GatewaySnapshot {
        tenant: tenant.clone(),
        agents: BTreeMap::from([("coder".to_owned(), agent)]),
        aliases: vec![],
        heartbeat: Heartbeat::default(),
    }
}

pub(crate) fn stop_all() -> Policy {
    Policy {
        name: "stop-all".into(),
        uid: "1f2e3d4c-0000-4000-8000-000000000001".into(),
        generation: 2,
        stop: true,
        release: None,
        reason: Some("drill".into()),
        targets: Targets::default(),
        workloads: Workloads::default(),
        mirror: Mirror::default(),
    }
}
