//! The bus of many processes, in Redis: plain structures, and one script a step. Why so, the keys and what a FLUSHALL,
//! a failover or a skewed clock means is in `docs/adr/0007-redis-bus.md`.
//!
//! A call checks that there is a connection, and fails at once if not; it prepares (encodes, compresses) and hands its
//! step to a [`lane`], which makes one script call of what waits, or runs a script of its own. The [`keeper`] listens
//! to wake-ups and looks after what nobody asks for. Nothing is sent twice: of a call whose connection was lost it is
//! open whether it was done. Repeating it is harmless for all that hands nothing out, and what a pull or an offer took goes back by itself.
//!
//! Metrics: those of the embedded log. A commit is a call of a script, a commit failure one of which the outcome is
//! open.

mod connection;
mod core;
mod durability;
mod fleet;
mod keeper;
mod lane;
mod offer;
mod packed;
mod payload;
mod prepared;
mod read;
mod scripts;
mod settings;
mod steps;
mod stops;
mod values;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fred::interfaces::{EventInterface as _, PubsubInterface as _, SetsInterface as _};
use fred::prelude::Value;
use nexus_core::clock::Clock;
use nexus_core::id::{EventId, InboxId, SessionId, TenantKey};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use self::durability::{Durability, DurabilityClass};
pub use self::settings::{RedisSettings, RedisUrlError};
pub use self::stops::{Board, Entry, StopBoard, Telling};

use self::connection::Connection;
use self::core::{Core, Life, OpenPull, TENANTS};
use self::keeper::{Counters, End};
use self::lane::{Lane, Step};
pub(crate) use self::offer::RedisOffer;
pub(crate) use self::packed::Packed;
use self::payload::Payload;
pub(crate) use self::prepared::Prepared;
use self::scripts::Script;
use self::steps::{AckStep, Acks, AppendStep, Pull, PullStep, RouteStep, Routing, most_attempts};
pub(crate) use self::steps::{Handed, MOST_APPENDED, Origin};
use self::values::{count_of, cut, exactly, id, malformed, number, number_of, parts, str_of, text};
use crate::bus::{
    Append, Appended, BusError, DeadLetter, Depth, Epoch, EventPage, HandOut, InboxDepth, InboxWatch,
    MAX_ATTEMPTS, PARTITIONS, Page, Part, Pulled, Record, Route, Seq, Swept, Unrouted, cannot,
};
use crate::embedded::{LONGEST_DELAY, SESSION_ENDED, Tally};
use crate::lock;

/// Places that one script of a sweep looks at, and how many such scripts one call runs.
const SWEPT_AT_ONCE: u64 = 250;
const SWEEPS_PER_CALL: usize = 40;

/// What became of events that a spool sent.
#[derive(Debug)]
pub(crate) enum AppendedAll {
    /// Of each, the first of them first; those behind one that the quota refused were not looked at.
    Done(Vec<Result<Appended, BusError>>),
    /// Nothing was done: the bus has the spool's events up to this place only, which is less than the spool knew.
    Lost {
        /// The place.
        upto: u64,
    },
}

/// A bus in Redis. Its tasks end with it.
#[derive(Debug)]
pub struct RedisBus {
    core: Arc<Core>,
    appends: Lane<AppendStep>,
    routes: Lane<RouteStep>,
    pulls: Lane<PullStep>,
    acks: Lane<AckStep>,
    tasks: Mutex<JoinSet<()>>,
}

impl RedisBus {
    /// [`crate::bus::Bus::open_redis`], for whoever is in front of it with a spool.
    ///
    /// # Errors
    /// See there.
    pub async fn open(settings: RedisSettings, clock: Clock) -> Result<Self, BusError> {
        let (connection, library) = Connection::open(&settings).await?;
        let core = Arc::new(Core::new(settings, connection, clock));
        let mut tasks = JoinSet::new();
        for task in library {
            tasks.spawn(drive(Arc::clone(&core), task));
        }
        let client = &core.connection.client;
        let subscriber = &core.connection.subscriber;
        let (heard, heard_anew, met_anew) =
            (subscriber.message_rx(), subscriber.reconnect_rx(), client.reconnect_rx());
        if core.settings.listens {
            subscriber.subscribe(core.channel.as_str()).await.map_err(cannot("listen to wake-ups"))?;
        }
        keeper::read_server(&core).await?;
        let counters = Arc::new(Counters::default());
        let listen = keeper::listen(Arc::clone(&core), Arc::clone(&counters), heard, heard_anew);
        spawn(&mut tasks, &core, listen);
        spawn(&mut tasks, &core, keeper::keep(Arc::clone(&core), counters, met_anew));
        let appends = lane(&mut tasks, &core);
        let routes = lane(&mut tasks, &core);
        let pulls = lane(&mut tasks, &core);
        let acks = lane(&mut tasks, &core);
        Ok(Self { core, appends, routes, pulls, acks, tasks: Mutex::new(tasks) })
    }

    async fn run(
        &self,
        tenant: &TenantKey,
        doing: &'static str,
        script: &Script,
        args: Vec<Value>,
    ) -> Result<Value, BusError> {
        self.core.run(tenant, doing, script, args).await
    }

    pub(crate) async fn append(&self, tenant: &TenantKey, append: Append) -> Result<Appended, BusError> {
        self.core.check_open()?;
        let prepared = Prepared::of(append).await?;
        self.appends.ask(&self.core, tenant, prepared).await
    }

    /// Appends what a spool sends, in order, up to the first that the quota refuses. What comes of an error is open:
    /// the same is sent again then, before anything else of the tenant.
    pub(crate) async fn append_all(
        &self,
        tenant: &TenantKey,
        origin: Origin<'_>,
        events: &[(u64, Arc<Prepared>)],
    ) -> Result<AppendedAll, BusError> {
        self.core.check_open()?;
        self.core.register(tenant).await?;
        let mut args = origin.begin();
        for (place, event) in events {
            let quota = origin.quota.unwrap_or(event.quota);
            steps::encode_append(event, quota, *place, &mut args);
        }
        let payloads = events.iter().map(|(_, event)| Payload::of(event)).collect();
        let answer = self.core.run_after(payloads, tenant, steps::APPEND, &scripts::APPEND, args).await?;
        let read = |answer: Value| {
            let answers = parts(answer)?;
            if let Some(upto) = answers.first().and_then(str_of).and_then(|first| first.strip_prefix('l')) {
                return Some(AppendedAll::Lost { upto: upto.parse().ok()? });
            }
            let events = events.iter().map(|(_, event)| &**event);
            steps::decode_appended(tenant, events, &answers).map(AppendedAll::Done)
        };
        read(answer).ok_or_else(|| malformed(steps::APPEND))
    }

    pub(crate) async fn acquire(&self, tenant: &TenantKey, partition: u16) -> Result<Epoch, BusError> {
        let doing = "take a partition over";
        self.core.check_open()?;
        self.core.register(tenant).await?;
        let epoch = self.run(tenant, doing, &scripts::ACQUIRE, vec![number(partition.into())]).await?;
        number_of(&epoch).ok_or_else(|| malformed(doing))
    }

    pub(crate) async fn unrouted(
        &self,
        tenant: &TenantKey,
        partition: u16,
        after: Seq,
        limit: usize,
    ) -> Result<Part<Unrouted>, BusError> {
        read::unrouted(&self.core, tenant, partition, after, limit).await
    }

    pub(crate) async fn route(
        &self,
        tenant: &TenantKey,
        partition: u16,
        epoch: Epoch,
        routes: Vec<Route>,
        hand_out: HandOut,
    ) -> Result<(), BusError> {
        let offers = match hand_out {
            HandOut::ToOffers => offer::claim(&self.core, tenant, &routes),
            HandOut::Nothing => Vec::new(),
        };
        self.routes.ask(&self.core, tenant, Routing { partition, epoch, routes, offers }).await
    }

    pub(crate) fn offer(&self, tenant: &TenantKey, session: SessionId) -> RedisOffer {
        RedisOffer::new(&self.core, tenant, session)
    }

    pub(crate) async fn pull(
        &self,
        tenant: &TenantKey,
        inbox: InboxId,
        session: SessionId,
        max: usize,
        max_bytes: usize,
    ) -> Result<Pulled, BusError> {
        // What an earlier pull took and nobody got is before whatever this one takes.
        keeper::take_back_of(&self.core, tenant, session).await?;
        let number = self.core.next_pull();
        let pull = Pull { inbox, session, max, max_bytes, number };
        // Whoever gives up or is given up while the answer is open gets nothing of it, also if it comes yet.
        let open = OpenPull::new(&self.core, tenant, session, number);
        let handed = self.pulls.ask(&self.core, tenant, pull).await?;
        open.answered();
        handed.read(inbox).await
    }

    pub(crate) async fn ack(
        &self,
        tenant: &TenantKey,
        session: SessionId,
        ids: Vec<EventId>,
    ) -> Result<usize, BusError> {
        self.acks.ask(&self.core, tenant, Acks { session, ids }).await
    }

    pub(crate) async fn nack(
        &self,
        tenant: &TenantKey,
        session: SessionId,
        event: EventId,
        retry_after: Duration,
        reason: String,
    ) -> Result<bool, BusError> {
        let doing = "refuse an event";
        let delay = retry_after.min(LONGEST_DELAY);
        let now = self.core.clock.now();
        let until =
            if delay.is_zero() { 0 } else { now.saturating_add(delay).unwrap_or(now).as_microsecond() };
        let args = vec![
            id(session.uuid()),
            id(event.uuid()),
            text(until.to_string()),
            text(cut(&reason)),
            most_attempts(),
        ];
        let outcome = self.run(tenant, doing, &scripts::NACK, args).await?;
        let [nacked, parked] = counts(outcome).ok_or_else(|| malformed(doing))?;
        tell_parked(tenant, parked);
        Tally { nacked, parked, ..Tally::default() }.tell();
        Ok(nacked > 0)
    }

    pub(crate) async fn retain_session(
        &self,
        tenant: &TenantKey,
        session: SessionId,
        has: Vec<EventId>,
    ) -> Result<usize, BusError> {
        let doing = "settle what a session holds";
        let mut args = vec![id(session.uuid()), number(MAX_ATTEMPTS.into())];
        args.extend(has.into_iter().map(|event| id(event.uuid())));
        let returned = self.run(tenant, doing, &scripts::RETAIN, args).await?;
        number_of(&returned).and_then(|n| usize::try_from(n).ok()).ok_or_else(|| malformed(doing))
    }

    pub(crate) async fn end_session(
        &self,
        tenant: &TenantKey,
        session: SessionId,
        unsent: Vec<EventId>,
    ) -> Result<usize, BusError> {
        let doing = "end a session";
        // What nobody got was not tried.
        keeper::take_back_of(&self.core, tenant, session).await?;
        let mut args = vec![
            id(session.uuid()),
            text(self.core.process.as_str()),
            number(self.core.last_pull()),
            most_attempts(),
            text(SESSION_ENDED),
        ];
        args.extend(unsent.into_iter().map(|event| id(event.uuid())));
        let outcome = self.run(tenant, doing, &scripts::END_SESSION, args).await?;
        let [returned, parked] = counts(outcome).ok_or_else(|| malformed(doing))?;
        self.core.forget_unclaimed(tenant, session);
        tell_parked(tenant, parked);
        Tally { parked, ..Tally::default() }.tell();
        Ok(usize::try_from(returned).unwrap_or(usize::MAX))
    }

    /// Replay, requeue or drop.
    async fn again(
        &self,
        tenant: &TenantKey,
        doing: &'static str,
        what: &'static str,
        ids: Vec<EventId>,
        inboxes: Vec<InboxId>,
    ) -> Result<usize, BusError> {
        let mut args = vec![text(what), number(inboxes.len() as u64)];
        args.extend(inboxes.into_iter().map(|inbox| id(inbox.uuid())));
        args.extend(ids.into_iter().map(|event| id(event.uuid())));
        let changed = self.run(tenant, doing, &scripts::AGAIN, args).await?;
        count_of(&changed).ok_or_else(|| malformed(doing))
    }

    pub(crate) async fn replay(
        &self,
        tenant: &TenantKey,
        ids: Vec<EventId>,
        inboxes: Vec<InboxId>,
    ) -> Result<usize, BusError> {
        self.again(tenant, "replay events", "replay", ids, inboxes).await
    }

    pub(crate) async fn drop_dead(
        &self,
        tenant: &TenantKey,
        inbox: InboxId,
        ids: Vec<EventId>,
    ) -> Result<usize, BusError> {
        let dropped = self.again(tenant, "give dead letters up", "drop", ids, vec![inbox]).await?;
        Tally { dropped: dropped as u64, ..Tally::default() }.tell();
        Ok(dropped)
    }

    pub(crate) async fn requeue(
        &self,
        tenant: &TenantKey,
        inbox: InboxId,
        ids: Vec<EventId>,
    ) -> Result<usize, BusError> {
        self.again(tenant, "let dead letters wait again", "requeue", ids, vec![inbox]).await
    }

    pub(crate) async fn dead(
        &self,
        tenant: &TenantKey,
        inbox: InboxId,
        after: Option<Seq>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, BusError> {
        read::dead(&self.core, tenant, inbox, after, limit).await
    }

    pub(crate) async fn dead_inboxes(
        &self,
        tenant: &TenantKey,
        after: Option<InboxId>,
        limit: usize,
    ) -> Result<Vec<InboxId>, BusError> {
        read::dead_inboxes(&self.core, tenant, after, limit).await
    }

    pub(crate) async fn event(&self, tenant: &TenantKey, id: EventId) -> Result<Option<Record>, BusError> {
        read::event(&self.core, tenant, id).await
    }

    pub(crate) async fn events(&self, tenant: &TenantKey, page: Page) -> Result<EventPage, BusError> {
        read::events(&self.core, tenant, &page).await
    }

    pub(crate) async fn depth(&self, tenant: &TenantKey) -> Result<Depth, BusError> {
        let doing = "count what a tenant has";
        let args = vec![text("depth"), number(PARTITIONS.into())];
        let answer = self.run(tenant, doing, &scripts::LOOK, args).await?;
        let [appended, unrouted, pending_bytes, stored_bytes, dead, dead_bytes] =
            counts(answer).ok_or_else(|| malformed(doing))?;
        Ok(Depth { appended, unrouted, pending_bytes, stored_bytes, dead, dead_bytes })
    }

    pub(crate) async fn inbox_depth(
        &self,
        tenant: &TenantKey,
        inbox: InboxId,
    ) -> Result<InboxDepth, BusError> {
        read::inbox_depth(&self.core, tenant, inbox).await
    }

    pub(crate) async fn sweep(&self, tenant: &TenantKey, retention: Duration) -> Result<Swept, BusError> {
        let doing = "forget events";
        let cutoff = self.core.clock.now().saturating_sub(retention).unwrap_or(jiff::Timestamp::MIN);
        let mut swept = Swept::default();
        for _ in 0..SWEEPS_PER_CALL {
            let args = vec![text(cutoff.as_microsecond().to_string()), number(SWEPT_AT_ONCE)];
            let answer = self.run(tenant, doing, &scripts::SWEEP, args).await?;
            let [gone, more] = counts(answer).ok_or_else(|| malformed(doing))?;
            Tally { swept: gone, ..Tally::default() }.tell();
            swept.events += gone;
            swept.more = more > 0;
            if !swept.more {
                break;
            }
        }
        Ok(swept)
    }

    pub(crate) async fn tenants(&self) -> Result<Vec<TenantKey>, BusError> {
        let doing = "list the tenants";
        self.core.check_open()?;
        self.core.connection.check(doing)?;
        let names: Vec<String> =
            self.core.connection.client.smembers(TENANTS).await.map_err(cannot(doing))?;
        let mut tenants = Vec::with_capacity(names.len());
        for name in names {
            tenants.push(name.parse().map_err(|_| malformed(doing))?);
        }
        tenants.sort_unstable();
        Ok(tenants)
    }

    pub(crate) fn watch_unrouted(&self, tenant: &TenantKey, partition: u16) -> watch::Receiver<u64> {
        self.core.watches.unrouted(tenant, partition)
    }

    pub(crate) fn watch_inbox(&self, tenant: &TenantKey, inbox: InboxId) -> InboxWatch {
        self.core.watches.inbox(tenant, inbox)
    }

    pub(crate) fn identity(&self) -> watch::Receiver<Arc<str>> {
        self.core.identity.subscribe()
    }

    /// Changes when the stops that gateways told may have changed; a hint, for who reads a [`StopBoard`].
    #[must_use]
    pub fn watch_stops(&self) -> watch::Receiver<()> {
        self.core.stops.subscribe()
    }

    pub(crate) fn durability(&self) -> Durability {
        lock(&self.core.durability).clone()
    }

    pub(crate) async fn ended(&self) {
        let mut life = self.core.life.subscribe();
        // The sender lives as long as this does.
        if life.wait_for(|life| *life == Life::Died).await.is_err() {
            std::future::pending().await
        }
    }

    pub(crate) async fn close(&self) {
        self.core.end(Life::Closed);
        // What was sent is answered; what waits is refused.
        let _ = tokio::time::timeout(self.core.settings.command_timeout, self.core.calls.write()).await;
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        self.core.connection.quit().await;
        tasks.shutdown().await;
    }
}

/// Lets a connection live. It makes itself anew after every error but those that no new connection would mend.
async fn drive(core: Arc<Core>, mut task: connection::Task) {
    let outcome = (&mut task.0).await;
    if *core.life.borrow() == Life::Open {
        tracing::error!(?outcome, "a connection to Redis has ended for good; the bus does no more work");
        core.end(Life::Died);
    }
}

/// A task that tells of its end.
fn spawn(tasks: &mut JoinSet<()>, core: &Arc<Core>, task: impl Future<Output = ()> + Send + 'static) {
    let end = End(Arc::clone(core));
    tasks.spawn(async move {
        let _end = end;
        task.await;
    });
}

fn lane<S: Step>(tasks: &mut JoinSet<()>, core: &Arc<Core>) -> Lane<S> {
    let (lane, asked) = Lane::new();
    spawn(tasks, core, lane::serve(Arc::clone(core), asked));
    lane
}

/// An answer of some numbers.
fn counts<const N: usize>(answer: Value) -> Option<[u64; N]> {
    let numbers = exactly::<N>(answer)?.map(|value| number_of(&value));
    numbers.iter().all(Option::is_some).then(|| numbers.map(Option::unwrap_or_default))
}

/// Without the reason, which is the agent's own text.
fn tell_parked(tenant: &TenantKey, parked: u64) {
    if parked > 0 {
        tracing::warn!(%tenant, parked, "events were parked as dead letters");
    }
}
