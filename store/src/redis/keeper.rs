//! What the bus does by itself: it listens to wake-ups, looks once a second, takes back what reached nobody, and reads
//! the server's identity and durability after each new connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fred::interfaces::{ClientLike as _, KeysInterface as _, PubsubInterface as _};
use fred::prelude::Server;
use fred::types::Message;
use futures_util::future::join_all;
use nexus_core::id::{InboxId, SessionId, TenantKey};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::MissedTickBehavior;

use super::core::{Core, Life, prefix};
use super::scripts;
use super::values::{number_of, str_of};
use crate::bus::{BusError, PARTITIONS, cannot};
use crate::lock;
use crate::watches::Topic;

/// How a message begins that tells of stops; no tenant is called so.
const STOPS: &str = "stops\n";

/// How often everything is looked at, whatever was told.
const LOOK: Duration = Duration::from_secs(1);

/// Inboxes of a tenant that one look asks for, in turn. Wake-ups tell of what comes and the counter of those that were lost,
/// so this is the last resort: it costs the same however many inboxes are listened to.
const INBOXES: usize = 64;

/// Tenants that are looked at in one breath.
const AT_ONCE: usize = 64;

/// Tells of the end of a task, also when that is a panic.
pub(super) struct End(pub(super) Arc<Core>);

impl Drop for End {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("a task of the bus panicked; the bus does no more work");
            self.0.end(Life::Died);
        }
    }
}

/// The counters of wake-ups, by tenant: what was told, and what was read at the last look.
#[derive(Debug, Default)]
pub(super) struct Counters(Mutex<HashMap<TenantKey, Counter>>);

#[derive(Debug, Default, Clone, Copy)]
struct Counter {
    told: Option<u64>,
    read: Option<u64>,
}

impl Counters {
    /// A message came. True if one before it did not.
    fn told(&self, tenant: &TenantKey, n: u64) -> bool {
        let mut counters = lock(&self.0);
        let counter = counters.entry(tenant.clone()).or_default();
        let before = counter.told.replace(n);
        before.is_some_and(|before| before.wrapping_add(1) != n)
    }

    /// The counter was read. True if messages of before the last look have not come.
    fn read(&self, tenant: &TenantKey, n: u64) -> bool {
        let mut counters = lock(&self.0);
        let counter = counters.entry(tenant.clone()).or_default();
        let before = counter.read.replace(n);
        let Some(before) = before else {
            return false;
        };
        let missed = match counter.told {
            Some(told) => told < before,
            // Nothing was ever told although something happened between two looks, one look ago.
            None if before < n => {
                counter.told = Some(before);
                false
            }
            None => false,
        };
        if missed {
            counter.told = Some(before);
        }
        missed
    }

    /// Another server, or another connection: what was told before says nothing.
    fn clear(&self) {
        lock(&self.0).clear();
    }
}

/// Listens to wake-ups for ever.
pub(super) async fn listen(
    core: Arc<Core>,
    counters: Arc<Counters>,
    mut heard: Receiver<Message>,
    mut anew: Receiver<Server>,
) {
    loop {
        tokio::select! {
            biased;
            connected = anew.recv() => {
                if matches!(connected, Err(RecvError::Closed)) {
                    return;
                }
                subscribe_anew(&core, &counters).await;
            }
            message = heard.recv() => match message {
                Ok(message) => hear(&core, &counters, &message),
                Err(RecvError::Lagged(_)) => {
                    counters.clear();
                    core.watches.bump_all();
                    core.stops.send_replace(());
                }
                Err(RecvError::Closed) => return,
            },
        }
    }
}

async fn subscribe_anew(core: &Core, counters: &Counters) {
    if !core.settings.listens {
        return;
    }
    if let Err(error) = core.connection.subscriber.subscribe(core.channel.as_str()).await {
        // The next look sees that nothing is told and makes the connection anew.
        tracing::warn!(error = &error as &dyn std::error::Error, "cannot listen to wake-ups yet");
    }
    counters.clear();
    core.watches.bump_all();
    core.stops.send_replace(());
}

fn hear(core: &Core, counters: &Counters, message: &Message) {
    if str_of(&message.value).is_some_and(|text| text.starts_with(STOPS)) {
        core.stops.send_replace(());
        return;
    }
    if let Some(missed) = wake(core, counters, message)
        && !missed
    {
        return;
    }
    // What was missed, or cannot be read, may concern anybody.
    match tenant_of(message) {
        Some(tenant) => core.watches.bump_tenant(&tenant),
        None => core.watches.bump_all(),
    }
}

fn tenant_of(message: &Message) -> Option<TenantKey> {
    str_of(&message.value)?.split('\n').next()?.parse().ok()
}

/// Wakes whom a message names, and says whether one before it was missed.
fn wake(core: &Core, counters: &Counters, message: &Message) -> Option<bool> {
    let mut lines = str_of(&message.value)?.split('\n');
    let tenant: TenantKey = lines.next()?.parse().ok()?;
    let n = lines.next()?.parse().ok()?;
    for topic in lines.next()?.split(',') {
        let (kind, what) = topic.split_at_checked(1)?;
        let topic = match kind {
            "p" => Topic::Unrouted(what.parse().ok().filter(|partition| *partition < PARTITIONS)?),
            "i" => Topic::Inbox(InboxId::from(uuid::Uuid::try_parse(what).ok()?)),
            _ => return None,
        };
        core.watches.bump(&tenant, topic);
    }
    Some(counters.told(&tenant, n))
}

/// Looks, takes back and reads for ever.
pub(super) async fn keep(core: Arc<Core>, counters: Arc<Counters>, mut anew: Receiver<Server>) {
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut known, mut turns) = (true, Turns::new());
    loop {
        tokio::select! {
            _ = looks.tick() => {
                if !known {
                    known = meet(&core).await;
                }
                take_back(&core).await;
                look(&core, &counters, &mut turns).await;
            }
            connected = anew.recv() => {
                if matches!(connected, Err(RecvError::Closed)) {
                    return;
                }
                known = meet(&core).await;
                core.watches.bump_all();
            }
            () = core.nudge.notified() => take_back(&core).await,
        }
    }
}

/// Reads who the server is and what it promises; false if it did not say.
async fn meet(core: &Core) -> bool {
    core.forget_registered();
    match read_server(core).await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "cannot read what Redis is");
            false
        }
    }
}

/// Reads who the server is and what it promises.
pub(super) async fn read_server(core: &Core) -> Result<(), BusError> {
    let durability = core.connection.durability().await.map_err(cannot("read the configuration of Redis"))?;
    let changed = {
        let mut known = lock(&core.durability);
        let changed = *known != durability || core.identity.borrow().is_empty();
        known.clone_from(&durability);
        changed
    };
    if changed {
        tracing::info!(server = %core.settings, durability = %durability, "the bus is in Redis");
    }
    if durability.drops_events() {
        // After a failover or a change of its configuration, too: to go on would be to lose what was accepted.
        tracing::error!(server = %core.settings, durability = %durability, "Redis may drop events; the bus ends");
        core.end(Life::Died);
        return Err(cannot("keep events in a Redis that drops them")(durability.to_string()));
    }
    let run = core.connection.run_id().await.map_err(cannot("read the identity of Redis"))?;
    set_identity(core, Some(&run)).await
}

/// Reads the identity's key, and tells if the identity changed.
async fn set_identity(core: &Core, run: Option<&str>) -> Result<(), BusError> {
    let key = core.connection.key_identity().await.map_err(cannot("read the identity of Redis"))?;
    let before = Arc::clone(&core.identity.borrow());
    let (_, run_before) = before.split_once('/').unwrap_or_default();
    let identity = format!("{key}/{}", run.unwrap_or(run_before));
    if *identity != *before {
        if !before.is_empty() {
            tracing::warn!("Redis is another, or was restarted or emptied: what it had may be gone");
        }
        core.forget_registered();
        core.identity.send_replace(identity.into());
    }
    Ok(())
}

/// The inbox of each tenant that was asked for last.
type Turns = HashMap<TenantKey, InboxId>;

async fn look(core: &Core, counters: &Counters, turns: &mut Turns) {
    if !core.connection.client.is_connected() {
        return;
    }
    if let Err(error) = set_identity(core, None).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "a look at Redis failed");
        return;
    }
    let mut silent = false;
    let tenants = core.watches.tenants();
    turns.retain(|tenant, _| tenants.contains(tenant));
    for tenants in tenants.chunks(AT_ONCE) {
        let looks = tenants.iter().map(|tenant| look_at(core, counters, tenant));
        silent |= join_all(looks).await.into_iter().any(|missed| missed);
        let turn = |tenant: &TenantKey| turns.get(tenant).copied();
        let asked = join_all(tenants.iter().map(|tenant| ask_inboxes(core, tenant, turn(tenant)))).await;
        for (tenant, last) in tenants.iter().zip(asked) {
            turns.remove(tenant);
            turns.extend(last.map(|last| (tenant.clone(), last)));
        }
    }
    if silent {
        tracing::warn!("wake-ups did not come; the connection that listens is made anew");
        // If that fails the next look tries again.
        let _ = core.connection.subscriber.force_reconnection().await;
    }
}

/// Wakes one who waits for each of some inboxes if anything waits in one of them. Says which inbox was the last, unless there
/// are no more.
async fn ask_inboxes(core: &Core, tenant: &TenantKey, after: Option<InboxId>) -> Option<InboxId> {
    let inboxes = core.watches.inboxes(tenant, after, INBOXES);
    let last = inboxes.last().copied()?;
    let key = |inbox: &InboxId| format!("{}:i:{}:w", prefix(tenant), inbox.uuid().simple());
    let waiting: Result<u64, _> =
        core.connection.client.exists(inboxes.iter().map(key).collect::<Vec<_>>()).await;
    // What fails is asked again in its turn.
    if waiting.is_ok_and(|waiting| waiting > 0) {
        inboxes.iter().for_each(|inbox| core.watches.bump(tenant, Topic::Inbox(*inbox)));
    }
    Some(last)
}

/// Ends a tenant's delays; true if wake-ups did not come.
async fn look_at(core: &Core, counters: &Counters, tenant: &TenantKey) -> bool {
    match core.run(tenant, "look for delays that are over", &scripts::POLL, Vec::new()).await {
        Ok(n) => {
            let missed = number_of(&n).is_some_and(|n| counters.read(tenant, n));
            if missed {
                core.watches.bump_tenant(tenant);
            }
            missed
        }
        Err(BusError::Closed) => false,
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, %tenant, "a look at Redis failed");
            false
        }
    }
}

/// Returns what pulls took whose answers reached nobody. What fails is done once more at the next look.
async fn take_back(core: &Core) {
    for (tenant, session) in core.who_has_unclaimed() {
        if let Err(error) = take_back_of(core, &tenant, session).await {
            tracing::warn!(error = &error as &dyn std::error::Error, %tenant, "copies that reached nobody wait");
        }
    }
}

/// Returns what a session's pulls took whose answers reached nobody.
pub(super) async fn take_back_of(
    core: &Core,
    tenant: &TenantKey,
    session: SessionId,
) -> Result<(), BusError> {
    let pulls = core.unclaimed_of(tenant, session);
    if pulls.is_empty() {
        return Ok(());
    }
    let args = core.revocation(session, &pulls);
    core.run(tenant, "take back what reached nobody", &scripts::GIVE_BACK, args).await?;
    core.gave_back(tenant, session, &pulls);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant() -> TenantKey {
        "acme/acme".parse().unwrap()
    }

    #[test]
    fn a_gap_between_messages_is_seen() {
        let counters = Counters::default();
        let told = |n| counters.told(&tenant(), n);
        assert_eq!([7, 8, 10, 11, 1, 2].map(told), [false, false, true, false, true, false]);
    }

    #[test]
    fn messages_that_never_came_are_seen_one_look_later() {
        let counters = Counters::default();
        let (told, read) = (|n| counters.told(&tenant(), n), |n| counters.read(&tenant(), n));
        assert!(!read(5) && !told(6) && !read(7), "7 may be on its way");
        assert!(read(7) && !read(7));
        assert!(!told(8) && !read(8) && !read(8));
    }

    #[test]
    fn a_subscription_that_never_told_anything_is_seen() {
        let counters = Counters::default();
        let read = |n| counters.read(&tenant(), n);
        assert_eq!([5, 5, 6, 6, 6].map(read), [false, false, false, true, false]);
    }
}
