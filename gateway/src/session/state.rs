//! The session's state: credit, what is held, heartbeat, errors. Pure: it takes what happened and the time,
//! and says what is to be done, in order.
//!
//! Credit counts events that may be delivered beyond those delivered already. Hello and Grant add to it, each
//! Deliver uses one, Ack and Nack add none; no more than the profile's `maxInFlight` is kept.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use nexus_core::id::{AgentId, EventId, SessionId};
use nexus_core::secret::Secret;
use nexus_core::snapshot::Heartbeat;
use nexus_store::bus::Held;
use nexus_wire::agent::v1::{self, client_frame};
use nexus_wire::frame::{self, FrameError};
use tokio::time::Instant;

use super::end::End;

/// The first frame must come within this time.
pub(crate) const HELLO_DEADLINE: Duration = Duration::from_secs(10);

/// More bad frames than this end a session.
pub(crate) const MAX_BAD_FRAMES: u32 = 10;

/// A fresh token is verified this often at most: the agent sends a few bytes, the signatures cost us.
const REAUTH_EVERY: Duration = Duration::from_secs(5);

/// The longest delay of a Nack.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);

/// The longest text of an agent or a parser that is kept or sent back, in bytes.
const MAX_TEXT: usize = 300;

/// What an agent sends, or does to the connection. Not to be printed: a frame may hold a token.
pub(crate) enum Received {
    /// A frame, or what is wrong with it.
    Frame(Result<client_frame::Frame, FrameError>),
    /// A binary message.
    Binary,
    /// A ping or pong of the transport itself.
    Sign,
    /// Something that the transport cannot read on after.
    Unreadable(String),
    /// The agent closed the connection.
    Closed,
    /// The connection broke.
    Lost,
}

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(crate) enum Effect {
    /// Answer a Ping.
    Pong,
    /// Tell that a frame could not be used.
    Error(v1::Error),
    /// The session is open: show it, then send its Welcome.
    Welcome(v1::Welcome),
    /// Commit acknowledgements.
    Ack(Vec<EventId>),
    /// Commit a refusal.
    Nack { id: EventId, retry_after: Duration, reason: String },
    /// Verify a fresh token.
    Reauth(Secret),
    /// End the session.
    End(End),
}

/// What the profile allows a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) heartbeat: Heartbeat,
    pub(crate) max_in_flight: u32,
}

/// Who the session is, for its Welcome.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) agent: AgentId,
    pub(crate) name: String,
    pub(crate) session: SessionId,
}

#[derive(Debug)]
pub(crate) struct State {
    terms: Terms,
    began: Instant,
    seen: Instant,
    open: bool,
    credit: u32,
    told_credit: bool,
    bad_frames: u32,
    /// When a fresh token was let through to be verified.
    reauthed: Option<Instant>,
    /// Pulled, and not delivered yet.
    queue: VecDeque<Held>,
    /// Delivered and neither acknowledged nor refused, with the number of copies: an event may come by the
    /// agent's own inbox and by a shared one.
    delivered: HashMap<EventId, u32>,
}

impl State {
    pub(crate) fn new(terms: Terms, now: Instant) -> Self {
        Self {
            terms,
            began: now,
            seen: now,
            open: false,
            credit: 0,
            told_credit: false,
            bad_frames: 0,
            reauthed: None,
            queue: VecDeque::new(),
            delivered: HashMap::new(),
        }
    }

    pub(crate) fn credit(&self) -> u32 {
        self.credit
    }

    /// Events that the session has from the bus: delivered or about to be.
    pub(crate) fn held(&self) -> u32 {
        let queued = u32::try_from(self.queue.len()).unwrap_or(u32::MAX);
        self.delivered.values().sum::<u32>().saturating_add(queued)
    }

    /// The events that the session has from the bus.
    pub(crate) fn has(&self) -> Vec<EventId> {
        self.delivered.keys().copied().chain(self.undelivered()).collect()
    }

    /// Events that were pulled and not delivered, no copy of them.
    pub(crate) fn undelivered(&self) -> Vec<EventId> {
        let ids = self.queue.iter().map(|held| held.id);
        ids.filter(|id| !self.delivered.contains_key(id)).collect()
    }

    /// How many more events may be pulled: credit that nothing waits for, within what may be held.
    pub(crate) fn wanted(&self) -> u32 {
        let queued = u32::try_from(self.queue.len()).unwrap_or(u32::MAX);
        let room = self.terms.max_in_flight.saturating_sub(self.held());
        self.credit.saturating_sub(queued).min(room)
    }

    /// Takes over what was pulled.
    pub(crate) fn pulled(&mut self, held: Vec<Held>) {
        self.queue.extend(held);
    }

    /// Whether there is an event to deliver now.
    pub(crate) fn can_deliver(&self) -> bool {
        self.open && self.credit > 0 && !self.queue.is_empty()
    }

    /// The next event to deliver, against one credit.
    pub(crate) fn deliver(&mut self) -> Option<Held> {
        if !self.can_deliver() {
            return None;
        }
        let held = self.queue.pop_front()?;
        self.credit -= 1;
        *self.delivered.entry(held.id).or_default() += 1;
        Some(held)
    }

    /// An event that cannot be delivered at all was given back: it used no credit.
    pub(crate) fn undeliverable(&mut self, id: EventId) {
        self.release(id);
        self.credit = self.credit.saturating_add(1).min(self.terms.max_in_flight);
    }

    /// Takes over what the profile allows now.
    pub(crate) fn adopt(&mut self, terms: Terms) {
        self.terms = terms;
        self.credit = self.credit.min(terms.max_in_flight);
    }

    /// When [`State::overdue`] must be asked next.
    pub(crate) fn deadline(&self) -> Instant {
        if self.open {
            let Heartbeat { interval, misses } = self.terms.heartbeat;
            self.seen + interval.saturating_mul(misses).min(Duration::from_hours(24))
        } else {
            self.began + HELLO_DEADLINE
        }
    }

    /// Whether the agent was silent for too long.
    pub(crate) fn overdue(&self, now: Instant) -> Option<End> {
        if now < self.deadline() {
            return None;
        }
        Some(if self.open {
            End::HeartbeatMissed
        } else {
            End::ProtocolError("no Hello came in time".to_owned())
        })
    }

    /// Takes in what came, in order.
    pub(crate) fn receive(
        &mut self,
        identity: &Identity,
        received: impl IntoIterator<Item = Received>,
        now: Instant,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        for one in received {
            self.take(identity, one, now, &mut effects);
            if matches!(effects.last(), Some(Effect::End(_))) {
                break;
            }
        }
        effects
    }

    fn take(&mut self, identity: &Identity, received: Received, now: Instant, effects: &mut Vec<Effect>) {
        if !matches!(received, Received::Closed | Received::Lost) {
            self.seen = now;
        }
        match received {
            Received::Sign => {}
            Received::Closed => effects.push(Effect::End(End::PeerClosed)),
            Received::Lost => effects.push(Effect::End(End::PeerLost)),
            Received::Unreadable(what) => effects.push(Effect::End(End::ProtocolError(clip(&what)))),
            Received::Frame(Ok(client_frame::Frame::Hello(hello))) if !self.open => {
                self.open = true;
                effects.push(Effect::Welcome(self.welcome(identity)));
                self.grant(hello.credit, effects);
            }
            Received::Frame(Ok(frame)) if self.open => self.frame(frame, now, effects),
            Received::Frame(Ok(_)) => {
                self.bad("hello_expected", "the first frame must be hello", effects);
                effects.push(Effect::End(End::ProtocolError("the first frame must be hello".to_owned())));
            }
            Received::Frame(Err(error)) => self.bad("bad_frame", &error.to_string(), effects),
            Received::Binary => self.bad("bad_frame", "a binary message; frames are text", effects),
        }
    }

    fn frame(&mut self, frame: client_frame::Frame, now: Instant, effects: &mut Vec<Effect>) {
        use client_frame::Frame;
        match frame {
            Frame::Hello(_) => self.bad("bad_frame", "hello was said already", effects),
            Frame::Ping(_) => effects.push(Effect::Pong),
            Frame::Grant(grant) => self.grant(grant.credit, effects),
            Frame::Ack(ack) => self.ack(&ack.event_id, effects),
            Frame::Nack(nack) => self.nack(nack, effects),
            Frame::Reauth(reauth) => self.reauth(Secret::new(reauth.token), now, effects),
        }
    }

    fn grant(&mut self, credit: u32, effects: &mut Vec<Effect>) {
        let max = self.terms.max_in_flight;
        let sum = self.credit.saturating_add(credit);
        self.credit = sum.min(max);
        if sum > max && !self.told_credit {
            // Once: an agent that grants too much does so with every frame.
            self.told_credit = true;
            let text = format!("credit above maxInFlight ({max}) is not kept");
            effects.push(error("too_much_credit", &text));
        }
    }

    fn ack(&mut self, id: &str, effects: &mut Vec<Effect>) {
        let Some(id) = self.known(id, effects) else { return };
        self.release(id);
        // Acknowledgements that follow each other are committed in one step.
        match effects.last_mut() {
            Some(Effect::Ack(ids)) => ids.push(id),
            _ => effects.push(Effect::Ack(vec![id])),
        }
    }

    fn nack(&mut self, nack: v1::Nack, effects: &mut Vec<Effect>) {
        let Some(id) = self.known(&nack.event_id, effects) else {
            return;
        };
        self.release(id);
        let after = nack.retry_after.as_ref().map(frame::from_duration);
        effects.push(Effect::Nack {
            id,
            retry_after: after.unwrap_or_default().min(MAX_RETRY_AFTER),
            reason: clip(&nack.reason),
        });
    }

    fn reauth(&mut self, token: Secret, now: Instant, effects: &mut Vec<Effect>) {
        if self.reauthed.is_some_and(|last| now < last + REAUTH_EVERY) {
            let seconds = REAUTH_EVERY.as_secs();
            let text = format!("a token is looked at every {seconds} s at most; send Reauth again later");
            return self.bad("too_many_reauths", &text, effects);
        }
        self.reauthed = Some(now);
        effects.push(Effect::Reauth(token));
    }

    /// The event that an agent names, if it was delivered here.
    fn known(&self, id: &str, effects: &mut Vec<Effect>) -> Option<EventId> {
        let found = id.parse().ok().filter(|id| self.delivered.contains_key(id));
        if found.is_none() {
            let text = format!("this session does not hold event `{}`", clip(id));
            effects.push(error("unknown_event", &text));
        }
        found
    }

    /// Forgets every copy of an event: the bus ends them together, those that wait here too.
    fn release(&mut self, id: EventId) {
        self.delivered.remove(&id);
        self.queue.retain(|held| held.id != id);
    }

    /// A token that Reauth brought was not accepted.
    pub(crate) fn wrong_token(&mut self, why: &str) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.bad("wrong_token", why, &mut effects);
        effects
    }

    fn bad(&mut self, code: &str, text: &str, effects: &mut Vec<Effect>) {
        self.bad_frames += 1;
        effects.push(error(code, &clip(text)));
        if self.bad_frames > MAX_BAD_FRAMES {
            let text = format!("more than {MAX_BAD_FRAMES} frames could not be used");
            effects.push(Effect::End(End::ProtocolError(text)));
        }
    }

    fn welcome(&self, identity: &Identity) -> v1::Welcome {
        v1::Welcome {
            agent_id: identity.agent.to_string(),
            agent: identity.name.clone(),
            session: identity.session.to_string(),
            heartbeat: Some(frame::duration(self.terms.heartbeat.interval)),
            max_in_flight: self.terms.max_in_flight,
        }
    }
}

/// A frame could not be used, or not now.
pub(crate) fn error(code: &str, text: &str) -> Effect {
    Effect::Error(v1::Error { code: code.to_owned(), message: text.to_owned() })
}

fn clip(text: &str) -> String {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
