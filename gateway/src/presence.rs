//! Presence: who is connected, as the sessions themselves tell it.
//!
//! A session enters itself before its socket is upgraded and leaves when its entry is dropped, however it
//! ends; so the bounds on sessions are kept here too.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use nexus_core::id::{AgentId, SessionId, TenantKey};
use nexus_core::stop::EngagementName;
use serde::Serialize;
use tokio::sync::watch;

/// A view of who is connected. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Presence(Arc<Table>);

#[derive(Debug, Default)]
struct Table {
    agents: Mutex<HashMap<AgentId, Entry>>,
    sessions: AtomicUsize,
    changes: watch::Sender<u64>,
    severed: Mutex<BTreeMap<EngagementName, Severed>>,
}

/// The most stops whose figures are kept.
const MAX_SEVERED: usize = 1_000;

/// What a stop did to connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Severed {
    /// How many it closed.
    pub sockets: u64,
    /// When the first of them was handed its last byte.
    pub first: Timestamp,
    /// When the last of them was, or was cut off: nothing is handed over after that.
    pub last_byte: Timestamp,
}

#[derive(Debug)]
struct Entry {
    tenant: TenantKey,
    sessions: Vec<Arc<Figures>>,
    /// When the latest session that ended was heard last.
    last_seen: Option<Timestamp>,
}

/// An agent, as it is present.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentPresence {
    /// The agent.
    pub agent: AgentId,
    /// Whether one of its sessions is open.
    pub online: bool,
    /// When it was heard last by this process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Timestamp>,
    /// Its open sessions, oldest first.
    pub sessions: Vec<SessionPresence>,
}

/// An open session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionPresence {
    /// Its id.
    pub session: SessionId,
    /// When it connected.
    pub since: Timestamp,
    /// When it was heard last.
    pub last_seen: Timestamp,
    /// When its token expires.
    pub expires: Timestamp,
    /// Events that it would still take.
    pub credit: u32,
    /// Events that it holds unacknowledged.
    pub held: u32,
    /// Where it connects from.
    pub peer: SocketAddr,
}

/// Why there is no room for another session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// The gateway has all that it may.
    #[error("this gateway holds {limit} sessions already")]
    Gateway {
        /// How many it may have.
        limit: usize,
    },
    /// The agent has all that it may.
    #[error("the agent holds {limit} sessions on this gateway already")]
    Agent {
        /// How many it may have.
        limit: usize,
    },
}

/// What a session tells of itself while it lives.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) session: SessionId,
    pub(crate) agent: AgentId,
    pub(crate) peer: SocketAddr,
    since: Timestamp,
    welcomed: AtomicBool,
    credit: AtomicU32,
    held: AtomicU32,
    seen: AtomicI64,
    expires: AtomicI64,
}

/// A session's entry. Dropping it takes the session out.
#[derive(Debug)]
pub(crate) struct Entered {
    presence: Presence,
    figures: Arc<Figures>,
}

impl Presence {
    /// The agents of a tenant that are present, or were since this process began, by id.
    #[must_use]
    pub fn tenant(&self, tenant: &TenantKey) -> Vec<AgentPresence> {
        let agents = self.agents();
        let mut all: Vec<_> = agents
            .iter()
            .filter(|(_, entry)| entry.tenant == *tenant)
            .map(|(agent, entry)| entry.view(*agent))
            .collect();
        all.sort_by_key(|view| view.agent);
        all
    }

    /// One agent; none if this process never heard of it.
    #[must_use]
    pub fn agent(&self, agent: AgentId) -> Option<AgentPresence> {
        self.agents().get(&agent).map(|entry| entry.view(agent))
    }

    /// All agents that are present, or were, and whether each is online.
    #[must_use]
    pub fn online(&self) -> BTreeMap<AgentId, bool> {
        let agents = self.agents();
        agents.iter().map(|(agent, entry)| (*agent, entry.is_online())).collect()
    }

    /// What stops did to connections here, by the name that each had then. Those that `keep` has no use for are forgotten.
    #[must_use]
    pub fn severed(&self, keep: impl Fn(&EngagementName) -> bool) -> BTreeMap<EngagementName, Severed> {
        let mut severed = self.0.severed.lock().unwrap_or_else(PoisonError::into_inner);
        severed.retain(|engagement, _| keep(engagement));
        severed.clone()
    }

    /// Tells that a stop has closed a connection, and when its last byte was sent.
    pub(crate) fn sever(&self, engagement: &EngagementName, last_byte: Timestamp) {
        let mut all = self.0.severed.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_SEVERED && !all.contains_key(engagement) {
            all.pop_first();
        }
        let severed =
            all.entry(engagement.clone()).or_insert(Severed { sockets: 0, first: last_byte, last_byte });
        severed.sockets += 1;
        severed.first = severed.first.min(last_byte);
        severed.last_byte = severed.last_byte.max(last_byte);
        drop(all);
        self.changed();
    }

    /// How many sessions there are, those included that did not say Hello yet.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.0.sessions.load(Ordering::Relaxed)
    }

    /// Changes when a session opens or ends.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Enters a session, if there is room.
    pub(crate) fn enter(
        &self,
        tenant: &TenantKey,
        figures: Figures,
        (gateway_limit, agent_limit): (usize, usize),
    ) -> Result<Entered, NoRoom> {
        let mut agents = self.agents();
        // Counted under the lock, so that two that come at once cannot both take the last place.
        if self.sessions() >= gateway_limit {
            return Err(NoRoom::Gateway { limit: gateway_limit });
        }
        let entry = agents.entry(figures.agent).or_insert_with(|| Entry {
            tenant: tenant.clone(),
            sessions: Vec::new(),
            last_seen: None,
        });
        if entry.sessions.len() >= agent_limit {
            return Err(NoRoom::Agent { limit: agent_limit });
        }
        let figures = Arc::new(figures);
        entry.sessions.push(Arc::clone(&figures));
        self.0.sessions.fetch_add(1, Ordering::Relaxed);
        metrics::gauge!("nexus_sessions").increment(1.0);
        Ok(Entered { presence: self.clone(), figures })
    }

    /// Forgets agents that are neither present nor known, so that the table is bounded by the profiles.
    pub(crate) fn retain(&self, known: impl Fn(AgentId) -> bool) {
        self.agents().retain(|agent, entry| !entry.sessions.is_empty() || known(*agent));
    }

    fn leave(&self, figures: &Figures) {
        let mut agents = self.agents();
        if let Some(entry) = agents.get_mut(&figures.agent) {
            entry.sessions.retain(|one| one.session != figures.session);
            entry.last_seen = entry.last_seen.max(Some(figures.last_seen()));
        }
        drop(agents);
        self.0.sessions.fetch_sub(1, Ordering::Relaxed);
        metrics::gauge!("nexus_sessions").decrement(1.0);
        self.changed();
    }

    fn changed(&self) {
        self.0.changes.send_modify(|count| *count += 1);
    }

    fn agents(&self) -> MutexGuard<'_, HashMap<AgentId, Entry>> {
        self.0.agents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn is_online(&self) -> bool {
        self.sessions.iter().any(|one| one.welcomed.load(Ordering::Relaxed))
    }

    fn view(&self, agent: AgentId) -> AgentPresence {
        let open = self.sessions.iter().filter(|one| one.welcomed.load(Ordering::Relaxed));
        let sessions: Vec<_> = open.map(|figures| figures.view()).collect();
        let last_seen = sessions.iter().map(|session| session.last_seen).max();
        AgentPresence {
            agent,
            online: !sessions.is_empty(),
            last_seen: last_seen.max(self.last_seen),
            sessions,
        }
    }
}

impl Figures {
    pub(crate) fn new(
        session: SessionId,
        agent: AgentId,
        peer: SocketAddr,
        since: Timestamp,
        expires: Timestamp,
    ) -> Self {
        Self {
            session,
            agent,
            peer,
            since,
            welcomed: AtomicBool::new(false),
            credit: AtomicU32::new(0),
            held: AtomicU32::new(0),
            seen: AtomicI64::new(since.as_millisecond()),
            expires: AtomicI64::new(expires.as_millisecond()),
        }
    }

    /// Tells what the session has.
    pub(crate) fn set(&self, credit: u32, held: u32) {
        self.credit.store(credit, Ordering::Relaxed);
        self.held.store(held, Ordering::Relaxed);
    }

    /// Tells that the agent was heard.
    pub(crate) fn heard(&self, now: Timestamp) {
        self.seen.store(now.as_millisecond(), Ordering::Relaxed);
    }

    /// When the session's token expires.
    pub(crate) fn expires(&self) -> Timestamp {
        from_millis(self.expires.load(Ordering::Relaxed))
    }

    /// Lets the session live longer; never shorter.
    pub(crate) fn extend(&self, expires: Timestamp) {
        self.expires.fetch_max(expires.as_millisecond(), Ordering::Relaxed);
    }

    fn last_seen(&self) -> Timestamp {
        from_millis(self.seen.load(Ordering::Relaxed))
    }

    fn view(&self) -> SessionPresence {
        SessionPresence {
            session: self.session,
            since: self.since,
            last_seen: self.last_seen(),
            expires: self.expires(),
            credit: self.credit.load(Ordering::Relaxed),
            held: self.held.load(Ordering::Relaxed),
            peer: self.peer,
        }
    }
}

impl Entered {
    pub(crate) fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Tells that the session is open.
    pub(crate) fn welcomed(&self) {
        self.figures.welcomed.store(true, Ordering::Relaxed);
        self.presence.changed();
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.presence.leave(&self.figures);
    }
}

fn from_millis(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn figures(agent: AgentId) -> Figures {
        let now = "2026-11-24T07:00:00Z".parse().unwrap();
        let session = SessionId::from(Uuid::new_v4());
        Figures::new(session, agent, ([127, 0, 0, 1], 1).into(), now, now)
    }

    #[test]
    fn an_agent_is_online_from_welcome_until_its_last_session_ends() {
        let tenant: TenantKey = "a/a".parse().unwrap();
        let agent = AgentId::of(&tenant, "x");
        let presence = Presence::default();
        let one = presence.enter(&tenant, figures(agent), (2, 2)).unwrap();
        assert!(!presence.agent(agent).unwrap().online);
        one.welcomed();
        one.figures().set(3, 1);
        let view = presence.tenant(&tenant).remove(0);
        assert!(view.online);
        assert_eq!((view.sessions[0].credit, view.sessions[0].held), (3, 1));
        drop(one);
        let view = presence.agent(agent).unwrap();
        assert!(!view.online && view.last_seen.is_some());
        presence.retain(|_| false);
        assert_eq!(presence.agent(agent), None);
    }

    #[test]
    fn what_stops_severed_is_told_until_nobody_wants_it() {
        let presence = Presence::default();
        let (one, other): (EngagementName, EngagementName) =
            ("1f2e3d4c-3".parse().unwrap(), "00000000-1".parse().unwrap());
        let at = |second| Timestamp::from_second(second).unwrap();
        for (engagement, second) in [(&one, 5), (&one, 4), (&other, 9)] {
            presence.sever(engagement, at(second));
        }
        let severed = presence.severed(|_| true);
        assert_eq!(severed[&one], Severed { sockets: 2, first: at(4), last_byte: at(5) });
        assert_eq!(presence.severed(|name| *name == other).len(), 1);
        assert_eq!(presence.severed(|_| true).len(), 1, "it is forgotten");
        for generation in 0..=MAX_SEVERED {
            presence.sever(&format!("1f2e3d4c-{generation}").parse().unwrap(), at(1));
        }
        assert_eq!(presence.severed(|_| true).len(), MAX_SEVERED);
    }

    #[test]
    fn there_is_room_for_so_many_and_no_more() {
        let tenant: TenantKey = "a/a".parse().unwrap();
        let (x, y) = (AgentId::of(&tenant, "x"), AgentId::of(&tenant, "y"));
        let presence = Presence::default();
        let _one = presence.enter(&tenant, figures(x), (2, 1)).unwrap();
        let again = presence.enter(&tenant, figures(x), (2, 1));
        assert_eq!(again.unwrap_err(), NoRoom::Agent { limit: 1 });
        let two = presence.enter(&tenant, figures(y), (2, 1)).unwrap();
        let third = presence.enter(&tenant, figures(y), (2, 2));
        assert_eq!(third.unwrap_err(), NoRoom::Gateway { limit: 2 });
        drop(two);
        assert!(presence.enter(&tenant, figures(y), (2, 1)).is_ok());
        assert_eq!(presence.sessions(), 1);
    }
}
