//! What all parts of the bus share.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use fred::interfaces::SetsInterface as _;
use fred::prelude::Value;
use nexus_core::clock::Clock;
use nexus_core::id::{SessionId, TenantKey};
use tokio::sync::{Notify, RwLock, watch};

use super::connection::Connection;
use super::durability::Durability;
use super::payload::{Payload, Payloads};
use super::scripts::Script;
use super::settings::RedisSettings;
use super::steps::Handed;
use super::values::{number, text};
use crate::bus::offers::Offers;
use crate::bus::{BusError, cannot};
use crate::lock;
use crate::watches::Watches;

/// The tenants that ever had something.
pub(super) const TENANTS: &str = "nexus:tenants";

/// The channel of wake-ups. Channels know no databases, so its name does.
pub(super) fn channel(settings: &RedisSettings) -> String {
    format!("nexus:wake:{}", settings.database)
}

/// How all keys of a tenant begin.
pub(super) fn prefix(tenant: &TenantKey) -> String {
    format!("nexus:{{{tenant}}}")
}

/// How the bus is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    Open,
    /// Somebody closed it.
    Closed,
    /// One of its tasks has died.
    Died,
}

/// Pulls whose answers reached nobody, by whose they were.
pub(super) type Unclaimed = HashMap<(TenantKey, SessionId), Vec<u64>>;

/// Shared by the lanes, the keeper, the listener and all handles.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) settings: RedisSettings,
    pub(super) connection: Connection,
    pub(super) clock: Clock,
    pub(super) watches: Watches,
    /// Payloads that were read a moment ago.
    pub(super) payloads: Payloads,
    /// What sessions of this process would take.
    pub(super) offers: Arc<Offers<Handed>>,
    /// The channel of wake-ups.
    pub(super) channel: String,
    /// Changes when the stops that gateways told may have changed.
    pub(super) stops: watch::Sender<()>,
    /// Tells this process's pulls from those of others.
    pub(super) process: String,
    pulls: AtomicU64,
    unclaimed: Mutex<Unclaimed>,
    /// Wakes the keeper to what is unclaimed.
    pub(super) nudge: Notify,
    pub(super) life: watch::Sender<Life>,
    pub(super) identity: watch::Sender<Arc<str>>,
    pub(super) durability: Mutex<Durability>,
    /// Who runs a script reads; who closes waits for them.
    pub(super) calls: RwLock<()>,
    /// Tenants that are known to stand in [`TENANTS`].
    registered: Mutex<HashSet<TenantKey>>,
}

impl Core {
    pub(super) fn new(settings: RedisSettings, connection: Connection, clock: Clock) -> Self {
        Self {
            channel: channel(&settings),
            settings,
            connection,
            clock,
            watches: Watches::default(),
            payloads: Payloads::default(),
            offers: Arc::default(),
            stops: watch::Sender::new(()),
            process: uuid::Uuid::new_v4().simple().to_string(),
            pulls: AtomicU64::new(0),
            unclaimed: Mutex::default(),
            nudge: Notify::new(),
            life: watch::Sender::new(Life::Open),
            identity: watch::Sender::new(Arc::from("")),
            durability: Mutex::new(Durability::UNKNOWN),
            calls: RwLock::new(()),
            registered: Mutex::default(),
        }
    }

    pub(super) fn check_open(&self) -> Result<(), BusError> {
        if *self.life.borrow() == Life::Open { Ok(()) } else { Err(BusError::Closed) }
    }

    /// Nothing is done any more; the first end counts.
    pub(super) fn end(&self, how: Life) {
        self.life.send_if_modified(|life| {
            let open = *life == Life::Open;
            if open {
                *life = how;
            }
            open
        });
        self.watches.close();
    }

    /// What every script is given first: the key, and channel, tenant and time.
    fn call(&self, tenant: &TenantKey, args: Vec<Value>) -> (String, Vec<Value>) {
        let now = self.clock.now().as_microsecond().to_string();
        let mut all = Vec::with_capacity(args.len() + 3);
        all.extend([text(self.channel.as_str()), text(tenant.to_string()), text(now)]);
        all.extend(args);
        (prefix(tenant), all)
    }

    /// Runs a script of a tenant.
    pub(super) async fn run(
        &self,
        tenant: &TenantKey,
        doing: &'static str,
        script: &Script,
        args: Vec<Value>,
    ) -> Result<Value, BusError> {
        self.run_after(Vec::new(), tenant, doing, script, args).await
    }

    /// The same, with payloads that are sent just before.
    pub(super) async fn run_after(
        &self,
        payloads: Vec<Payload>,
        tenant: &TenantKey,
        doing: &'static str,
        script: &Script,
        args: Vec<Value>,
    ) -> Result<Value, BusError> {
        let _call = self.calls.read().await;
        self.check_open()?;
        self.connection.check(doing)?;
        let (key, args) = self.call(tenant, args);
        script.run_after(&self.connection.client, payloads, &key, args).await.map_err(cannot(doing))
    }

    /// Notes that the tenant has something, before it has.
    pub(super) async fn register(&self, tenant: &TenantKey) -> Result<(), BusError> {
        if lock(&self.registered).contains(tenant) {
            return Ok(());
        }
        let doing = "note a tenant";
        self.connection.check(doing)?;
        let added = self.connection.client.sadd::<(), _, _>(TENANTS, tenant.to_string()).await;
        added.map_err(cannot(doing))?;
        lock(&self.registered).insert(tenant.clone());
        Ok(())
    }

    /// Another server, or one that lost its keys, may know no tenant.
    pub(super) fn forget_registered(&self) {
        lock(&self.registered).clear();
    }

    /// The number of a new pull.
    pub(super) fn next_pull(&self) -> u64 {
        self.pulls.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The number of the last pull.
    pub(super) fn last_pull(&self) -> u64 {
        self.pulls.load(Ordering::Relaxed)
    }

    /// A pull's answer reached nobody: what it took goes back.
    pub(super) fn unclaimed(&self, tenant: &TenantKey, session: SessionId, pull: u64) {
        lock(&self.unclaimed).entry((tenant.clone(), session)).or_default().push(pull);
        self.nudge.notify_one();
    }

    /// Whose pulls reached nobody.
    pub(super) fn who_has_unclaimed(&self) -> Vec<(TenantKey, SessionId)> {
        lock(&self.unclaimed).keys().cloned().collect()
    }

    /// The pulls of a session that reached nobody.
    pub(super) fn unclaimed_of(&self, tenant: &TenantKey, session: SessionId) -> Vec<u64> {
        lock(&self.unclaimed).get(&(tenant.clone(), session)).cloned().unwrap_or_default()
    }

    /// What these pulls took went back.
    pub(super) fn gave_back(&self, tenant: &TenantKey, session: SessionId, pulls: &[u64]) {
        if let Entry::Occupied(mut entry) = lock(&self.unclaimed).entry((tenant.clone(), session)) {
            entry.get_mut().retain(|pull| !pulls.contains(pull));
            if entry.get().is_empty() {
                entry.remove();
            }
        }
    }

    /// All that a session held went back.
    pub(super) fn forget_unclaimed(&self, tenant: &TenantKey, session: SessionId) {
        lock(&self.unclaimed).remove(&(tenant.clone(), session));
    }

    /// The arguments that revoke pulls.
    pub(super) fn revocation(&self, session: SessionId, pulls: &[u64]) -> Vec<Value> {
        let highest = pulls.iter().copied().max().unwrap_or_default();
        let head = [super::values::id(session.uuid()), text(self.process.as_str()), number(highest)];
        head.into_iter().chain(pulls.iter().copied().map(number)).collect()
    }
}

/// A pull whose answer is open. Dropped before it is answered, what it takes goes back before the session pulls again.
pub(super) struct OpenPull<'c> {
    core: &'c Core,
    tenant: &'c TenantKey,
    session: SessionId,
    number: u64,
    open: bool,
}

impl<'c> OpenPull<'c> {
    pub(super) const fn new(core: &'c Core, tenant: &'c TenantKey, session: SessionId, number: u64) -> Self {
        Self { core, tenant, session, number, open: true }
    }

    pub(super) fn answered(mut self) {
        self.open = false;
    }
}

impl Drop for OpenPull<'_> {
    fn drop(&mut self) {
        if self.open {
            self.core.unclaimed(self.tenant, self.session, self.number);
        }
    }
}
