//! For tests: a bus two of whose tenants are broken, and one between them is not.

use std::time::Duration;

use bytes::Bytes;
use nexus_core::change::ChangeKey;
use nexus_core::clock::ManualClock;
use nexus_core::id::EventId;
use nexus_core::kind::{Kind, Rank};
use nexus_store::bus::{Append, Appended, Bus, HandOut, Raw, Route, partition_of};
use uuid::Uuid;

use self::server::Server;

#[path = "../../../store/tests/contract/server.rs"]
#[expect(dead_code, reason = "the bus' own tests need more than is needed here")]
mod server;

/// The tenant that is sound.
pub const SOUND: &str = "middle/middle";

/// Those that are not.
pub const BROKEN: [&str; 2] = ["first/first", "last/last"];

/// The bus.
pub struct Broken {
    /// The bus.
    pub bus: Bus,
    clock: ManualClock,
    _server: Server,
    _folder: tempfile::TempDir,
}

impl Broken {
    /// Starts a Redis and breaks it.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(folder.path(), &[]).await;
        for tenant in BROKEN {
            let broken = [format!("SADD nexus:tenants {tenant}"), format!("SET nexus:{{{tenant}}} x")];
            server.place().say(&broken.each_ref().map(String::as_str)).await.unwrap();
        }
        let clock = ManualClock::at("2026-11-24T07:00:00Z".parse().unwrap());
        let bus = Bus::open_redis(server.url().parse().unwrap(), clock.clock()).await.unwrap();
        Self { bus, clock, _server: server, _folder: folder }
    }

    /// An event of the sound tenant that nobody needs any more.
    pub async fn handled(&self) -> EventId {
        let (tenant, id, thread) = (SOUND.parse().unwrap(), EventId::from(Uuid::now_v7()), "thread");
        let append = Append {
            id,
            delivery_key: id.to_string(),
            dedupe_for: Duration::from_secs(1),
            thread_key: thread.into(),
            kind: Kind::NewMessage,
            source: "github".into(),
            title: None,
            received: self.clock.clock().now(),
            change: ChangeKey::single(id.to_string(), Rank::Update),
            event: Bytes::from_static(b"{}"),
            raw: Raw { headers: vec![], body: Bytes::new() },
            quota_bytes: 1 << 30,
        };
        let Appended::Stored(seq) = self.bus.append(&tenant, append).await.unwrap() else {
            panic!("its id is new")
        };
        let partition = partition_of(thread);
        let epoch = self.bus.acquire(&tenant, partition).await.unwrap();
        let route = Route { seq, inboxes: vec![], decision: Bytes::from_static(b"{}") };
        self.bus.route(&tenant, partition, epoch, vec![route], HandOut::Nothing).await.unwrap();
        self.clock.advance(Duration::from_secs(1000));
        id
    }
}
