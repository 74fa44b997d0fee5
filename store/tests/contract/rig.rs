//! Buses to try, and what makes events for them.

#[path = "server.rs"]
pub(crate) mod server;

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use nexus_core::change::ChangeKey;
use nexus_core::clock::ManualClock;
use nexus_core::id::{EventId, InboxId, SessionId, TenantKey};
use nexus_core::kind::{Kind, Rank};
use nexus_store::bus::{
    Append, Appended, Bus, BusError, Copy, Epoch, HandOut, Held, InboxWatch, PARTITIONS, Raw, Route, Seq,
};
use nexus_store::redis::RedisSettings;
use tempfile::TempDir;
use tokio::sync::watch;

use self::server::{Server, Trio, wait_for};

/// What keeps the events.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Backend {
    Embedded,
    /// One server, which a rig has for itself.
    Redis,
    /// A master that sentinels name, shared by the rigs: each has a database of its own.
    Sentinel,
}

impl Backend {
    pub(crate) const ALL: &[Self] = &[Self::Embedded, Self::Redis, Self::Sentinel];
}

/// What keeps the events, running.
enum Store {
    Folder,
    Server(Server),
    Database(u8),
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Self::Database(database) = self {
            Trio::shared().give_database_back(*database);
        }
    }
}

impl Store {
    fn start(backend: Backend, dir: &Path) -> Self {
        match backend {
            Backend::Embedded => Self::Folder,
            Backend::Redis => Self::Server(wait_for(Server::start(dir, &[]))),
            Backend::Sentinel => Self::Database(wait_for(Trio::shared().take_database())),
        }
    }

    fn open(&self, dir: &Path, clock: &ManualClock) -> Bus {
        match self {
            Self::Folder => Bus::open_embedded(dir, clock.clock()).unwrap(),
            Self::Server(server) => open_redis(&server.url(), clock),
            Self::Database(database) => open_redis(&Trio::shared().url(*database), clock),
        }
    }
}

fn open_redis(url: &str, clock: &ManualClock) -> Bus {
    let mut settings: RedisSettings = url.parse().unwrap();
    // Nothing here tests the time that a busy machine takes.
    settings.command_timeout = Duration::from_secs(20);
    wait_for(Bus::open_redis(settings, clock.clock())).unwrap()
}

/// A fresh bus with its clock. Everything concerns the tenant `acme/acme` unless told otherwise.
pub(crate) struct Rig {
    pub(crate) clock: ManualClock,
    pub(crate) bus: Bus,
    store: Store,
    dir: TempDir,
}

pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

pub(crate) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

impl Rig {
    /// One for each backend.
    pub(crate) fn each() -> impl Iterator<Item = Self> {
        Backend::ALL.iter().map(|backend| Self::new(*backend))
    }

    pub(crate) fn new(backend: Backend) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = ManualClock::at("2026-11-24T07:00:00Z".parse().unwrap());
        let store = Store::start(backend, dir.path());
        let bus = store.open(dir.path(), &clock);
        Self { clock, bus, store, dir }
    }

    /// Whether a route hands out to offers; the embedded log has no round trip to spare.
    pub(crate) const fn takes_offers(&self) -> bool {
        !matches!(self.store, Store::Folder)
    }

    /// The folder of a backend that has one.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A restart in good order. What became of the sessions of before is the backend's: see [`Self::end_dead`].
    pub(crate) async fn reopen(&mut self) {
        self.bus.close().await;
        self.bus = self.store.open(self.path(), &self.clock);
    }

    /// A restart after `kill -9`: only what had reached the operating system is there. Of the master that is shared
    /// nobody is killed but we ourselves.
    pub(crate) fn crash(&mut self) {
        self.crash_with(|_| ());
    }

    /// A restart after a kill that did more to the folder.
    pub(crate) fn crash_with(&mut self, more: impl FnOnce(&Path)) {
        match &mut self.store {
            Store::Folder => {
                let dir = tempfile::tempdir().unwrap();
                copy_folder(self.dir.path(), dir.path());
                more(dir.path());
                self.bus = self.store.open(dir.path(), &self.clock);
                self.dir = dir;
            }
            Store::Server(server) => {
                server.kill();
                more(self.dir.path());
                wait_for(server.start_again());
                self.bus = self.store.open(self.dir.path(), &self.clock);
            }
            Store::Database(_) => self.bus = self.store.open(self.dir.path(), &self.clock),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.clock().now()
    }

    /// An event of its own thread and change, received now.
    pub(crate) fn event(&self, name: &str) -> Append {
        Append {
            id: id(name),
            delivery_key: format!("github:{name}"),
            dedupe_for: 72 * HOUR,
            thread_key: format!("acme/shop#{name}"),
            kind: Kind::NewWorkItem,
            source: "github".into(),
            title: Some(format!("Issue {name}")),
            received: self.now(),
            change: ChangeKey::single(format!("issue:{name}"), Rank::Birth),
            event: format!(r#"{{"id":"{name}"}}"#).into(),
            raw: Raw {
                headers: vec![("x-github-event".into(), "issues".into())],
                body: format!(r#"{{"action":"opened","number":"{name}"}}"#).into(),
            },
            quota_bytes: 1 << 30,
        }
    }

    /// Appends an event that must be new.
    pub(crate) async fn store(&self, append: Append) -> Seq {
        match self.bus.append(&tenant(), append).await.unwrap() {
            Appended::Stored(seq) => seq,
            Appended::Duplicate(id) => panic!("a duplicate of {id}"),
        }
    }

    /// Appends plain events.
    pub(crate) async fn store_all(&self, names: &[&str]) {
        for name in names {
            self.store(self.event(name)).await;
        }
    }

    /// Events that wait to be routed, of all partitions, with their partition, in bus order.
    pub(crate) async fn unrouted(&self) -> Vec<(u16, Seq, EventId)> {
        let mut all = Vec::new();
        for partition in 0..PARTITIONS {
            let mut after = 0;
            loop {
                let found = self.bus.unrouted(&tenant(), partition, after, 10_000).await.unwrap();
                let Some(last) = found.last() else {
                    break;
                };
                after = last.seq;
                all.extend(found.into_iter().map(|event| (partition, event.seq, event.id)));
            }
        }
        all.sort_unstable_by_key(|(_, seq, _)| *seq);
        all
    }

    /// Takes all partitions over.
    pub(crate) async fn own_all(&self) -> Vec<Epoch> {
        let mut epochs = Vec::new();
        for partition in 0..PARTITIONS {
            epochs.push(self.bus.acquire(&tenant(), partition).await.unwrap());
        }
        epochs
    }

    /// Routes all that waits to these inboxes.
    pub(crate) async fn route(&self, inboxes: &[InboxId]) {
        let waiting = self.unrouted().await;
        for partition in 0..PARTITIONS {
            let of = waiting.iter().filter(|(other, ..)| *other == partition);
            let routes: Vec<_> = of.map(|(_, seq, _)| to(*seq, inboxes)).collect();
            if !routes.is_empty() {
                let epoch = self.bus.acquire(&tenant(), partition).await.unwrap();
                self.bus.route(&tenant(), partition, epoch, routes, HandOut::ToOffers).await.unwrap();
            }
        }
    }

    /// Appends plain events and routes them to an inbox.
    pub(crate) async fn fill(&self, names: &[&str], inbox: InboxId) {
        self.store_all(names).await;
        self.route(&[inbox]).await;
    }

    pub(crate) async fn pull(&self, inbox: InboxId, session: SessionId, max: usize) -> Vec<Held> {
        self.bus.pull(&tenant(), inbox, session, max, usize::MAX).await.unwrap().items
    }

    /// Pulls all there is and tells the ids.
    pub(crate) async fn pull_ids(&self, inbox: InboxId, session: SessionId) -> Vec<EventId> {
        ids_of(&self.pull(inbox, session, 10_000).await)
    }

    pub(crate) async fn ack(&self, session: SessionId, names: &[&str]) -> usize {
        self.bus.ack(&tenant(), session, ids(names)).await.unwrap()
    }

    pub(crate) async fn nack(&self, session: SessionId, name: &str, delay: Duration) -> bool {
        let reason = "busy".to_owned();
        self.bus.nack(&tenant(), session, id(name), delay, reason).await.unwrap()
    }

    pub(crate) async fn end(&self, session: SessionId) -> usize {
        self.bus.end_session(&tenant(), session, Vec::new()).await.unwrap()
    }

    /// Sweeps until there is no more to look at, and says how many events went.
    pub(crate) async fn sweep(&self, retention: Duration) -> u64 {
        let mut events = 0;
        loop {
            let swept = self.bus.sweep(&tenant(), retention).await.unwrap();
            events += swept.events;
            if !swept.more {
                return events;
            }
        }
    }

    /// Ends sessions of a process that is dead, as whoever owns them would. Their holds may have died with it.
    pub(crate) async fn end_dead(&self, sessions: impl IntoIterator<Item = SessionId>) {
        for session in sessions {
            self.end(session).await;
        }
    }

    /// What became of an event in an inbox.
    pub(crate) async fn copy(&self, name: &str, inbox: InboxId) -> Option<Copy> {
        let record = self.bus.event(&tenant(), id(name)).await.unwrap()?;
        let mut copies = record.copies.into_iter();
        copies.find(|(other, _)| *other == inbox).map(|(_, copy)| copy)
    }
}

pub(crate) fn tenant() -> TenantKey {
    "acme/acme".parse().unwrap()
}

/// An id that is the same for the same name.
pub(crate) fn id(name: &str) -> EventId {
    let mut bytes = [0; 16];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    EventId::from_bytes(bytes)
}

pub(crate) fn ids(names: &[&str]) -> Vec<EventId> {
    names.iter().map(|name| id(name)).collect()
}

pub(crate) fn ids_of(held: &[Held]) -> Vec<EventId> {
    held.iter().map(|held| held.id).collect()
}

pub(crate) fn inbox(n: u8) -> InboxId {
    InboxId::from_bytes([n; 16])
}

pub(crate) fn session(n: u8) -> SessionId {
    SessionId::from_bytes([n; 16])
}

pub(crate) fn to(seq: Seq, inboxes: &[InboxId]) -> Route {
    Route { seq, inboxes: inboxes.to_vec(), decision: format!(r#"{{"seq":{seq}}}"#).into() }
}

/// The label of an error that must be one.
pub(crate) fn label<T: std::fmt::Debug>(outcome: Result<T, BusError>) -> &'static str {
    outcome.unwrap_err().label()
}

/// What a test waits for.
pub(crate) trait Changes {
    /// Waits for a change, and has seen it.
    async fn change(&mut self);
}

impl Changes for watch::Receiver<u64> {
    async fn change(&mut self) {
        self.changed().await.unwrap();
    }
}

impl Changes for InboxWatch {
    async fn change(&mut self) {
        self.changed().await.unwrap();
        self.mark_unchanged();
    }
}

/// Waits until a watch changes; a watch that never does fails the test.
pub(crate) async fn changed(watch: &mut impl Changes) {
    tokio::time::timeout(Duration::from_secs(20), watch.change()).await.expect("nobody woke the watch");
}
