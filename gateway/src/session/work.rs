//! What a session does while it is open: pull against credit, deliver, take in frames.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use nexus_core::id::EventId;
use nexus_core::secret::Secret;
use nexus_store::bus::{BusError, HandedOver, Held, Rest};
use nexus_wire::agent::v1::{Pong, server_frame};
use nexus_wire::frame::Delivery;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep_until, timeout};

use super::end::End;
use super::inboxes::Inboxes;
use super::settle::{settle, settled};
use super::state::{Effect, Received};
use super::transport::{Broken, NotDelivered};
use super::{Session, sever, state, terms};
use crate::token::TokenError;

/// The most bytes of events that one pull takes.
const MAX_PULL_BYTES: usize = 256 * 1024;

/// The most events that one pull takes. A pull counts as an attempt, so no more is taken than is sent next.
const MAX_PULL: u32 = 32;

/// The largest event that is delivered.
const MAX_EVENT: usize = 1024 * 1024;

/// The most frames that are taken in before the session looks at anything else.
const BATCH: usize = 64;

impl Session<'_> {
    /// Works until the session ends from within.
    pub(super) async fn work(&mut self) -> End {
        match self.serve().await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn serve(&mut self) -> Result<Infallible, End> {
        loop {
            let hungry = self.state.wanted() > 0;
            if (hungry && self.inboxes.any_ready()) || self.state.can_deliver() {
                Box::pin(self.feed()).await?;
            }
            self.show();
            // Else it would be told of events that another session could have.
            let hungry = self.state.wanted() > 0 && self.settling.is_none();
            if hungry {
                self.offer.make(self.inboxes.ids(), self.at_once(), MAX_PULL_BYTES);
            }
            let deadline = self.state.deadline();
            tokio::select! {
                biased;
                // First, so that a sign of life that has come counts before the deadline does.
                received = self.transport.recv() => Box::pin(self.receive(received)).await?,
                () = sever::changed(&mut self.bus_identity) => self.settle(),
                settled = settled(&mut self.settling) => {
                    settled?;
                    self.settling = None;
                    self.inboxes.all_ready();
                }
                handed = self.offer.taken() => Box::pin(self.deliver_handed(handed)).await?,
                () = self.inboxes.changed(), if hungry => {}
                () = sever::changed(&mut self.config) => self.adopt()?,
                () = self.polls.due(), if hungry => self.inboxes.all_ready(),
                () = sleep_until(deadline) => {
                    if let Some(end) = self.state.overdue(Instant::now()) {
                        return Err(end);
                    }
                }
            }
        }
    }

    /// Begins to tell the bus what the session has; what was begun before may have told a bus that is no more.
    fn settle(&mut self) {
        self.offer.give_up();
        let (shared, tenant, session) = (self.shared, self.tenant, self.identity.session);
        self.settling = Some(Box::pin(settle(shared, tenant, session, self.state.has())));
    }

    /// Pulls and delivers until credit or inboxes are used up.
    async fn feed(&mut self) -> Result<(), End> {
        while self.settling.is_none() && self.pull().await? {
            self.deliver().await?;
        }
        self.deliver().await
    }

    /// How many events one pull takes now.
    fn at_once(&self) -> usize {
        self.state.wanted().min(MAX_PULL) as usize
    }

    /// Accepts what was handed to its offer, and delivers it.
    async fn deliver_handed(&mut self, handed: Option<HandedOver>) -> Result<(), End> {
        self.accept(handed).await;
        self.deliver().await
    }

    /// Nothing came of its offer where nothing is given.
    async fn accept(&mut self, handed: Option<HandedOver>) {
        let Some(handed) = handed else { return };
        match handed.read().await {
            Ok(held) => self.state.pulled(held.items),
            Err(error) => self.pull_failed(&error),
        }
    }

    /// The session goes on, and asks again in time and no sooner.
    fn pull_failed(&mut self, error: &BusError) {
        self.polls.failed(Instant::now());
        metrics::counter!("nexus_pull_errors_total", "error" => error.label()).increment(1);
        self.shared.outage.fails("pull", self.tenant, error);
    }

    /// Pulls once, from the inbox whose turn it is. False when there is nothing to pull, or no credit.
    async fn pull(&mut self) -> Result<bool, End> {
        if self.state.wanted() == 0 {
            return Ok(false);
        }
        let Some((inbox, look)) = self.inboxes.next_ready() else {
            return Ok(false);
        };
        // What was taken of its offer is before whatever it pulls, and counts against its credit.
        if !self.offer.withdraw() {
            let handed = self.offer.taken().await;
            self.accept(handed).await;
        }
        let wanted = self.at_once();
        if wanted == 0 {
            // It was told instead of others, who can take something.
            self.inboxes.looked(inbox, look, Rest::More);
            return Ok(false);
        }
        if !self.shared.fleet.is_sure() {
            // The session may not be this gateway's any more.
            self.polls.failed(Instant::now());
            self.inboxes.looked(inbox, look, Rest::Others);
            return Ok(true);
        }
        let (bus, session) = (&self.shared.bus, self.identity.session);
        match bus.pull(self.tenant, inbox, session, wanted, MAX_PULL_BYTES).await {
            Ok(held) => {
                self.inboxes.looked(inbox, look, held.rest);
                self.state.pulled(held.items);
                self.shared.outage.succeeds();
            }
            Err(BusError::Closed) => return Err(End::Internal),
            Err(error) => {
                self.pull_failed(&error);
                self.inboxes.looked(inbox, look, Rest::Others);
            }
        }
        Ok(true)
    }

    /// Delivers what there is credit for.
    async fn deliver(&mut self) -> Result<(), End> {
        while self.state.can_deliver() {
            // Asked again just before each send: what was pulled a moment ago may not be sent any more.
            self.admitted.decide(&self.config.borrow(), &self.shared.gate)?;
            let Some(held) = self.state.deliver() else { break };
            let start = self.shared.clock.now();
            match self.write_event(&held).await? {
                Ok(()) => {
                    self.deliveries.sent(&held, start, self.shared.clock.now());
                    metrics::counter!("nexus_delivers_total").increment(1);
                }
                Err(reason) => self.give_up(&held, reason).await?,
            }
        }
        self.flush().await
    }

    /// Writes the Deliver frame of an event, or says why it can never be delivered.
    async fn write_event(&mut self, held: &Held) -> Result<Result<(), &'static str>, End> {
        if held.event.is_empty() {
            return Ok(Err("the store has lost the event's text"));
        }
        if held.event.len() > MAX_EVENT {
            return Ok(Err("the event is larger than 1 MiB"));
        }
        let traceparent = self.deliveries.traceparent(held);
        let delivery = Delivery {
            event: &held.event,
            attempt: held.attempt,
            alias: self.inboxes.alias(held.inbox),
            replay: held.replay,
            traceparent: &traceparent,
        };
        let written = timeout(self.shared.settings.write_deadline, self.transport.deliver(delivery)).await;
        match written {
            Ok(Err(NotDelivered::Undeliverable(reason))) => Ok(Err(reason)),
            Ok(Err(NotDelivered::Broken)) => Err(End::PeerLost),
            Ok(Ok(())) => Ok(Ok(())),
            Err(_) => Err(End::TooSlow),
        }
    }

    /// Refuses an event that can never be delivered: after its attempts it is parked, where an admin sees why.
    async fn give_up(&mut self, held: &Held, reason: &'static str) -> Result<(), End> {
        tracing::warn!(tenant = %self.tenant, event = %held.id, reason, "cannot deliver an event");
        self.deliveries.undeliverable(held, reason, self.shared.clock.now());
        self.state.undeliverable(held.id);
        self.nack(held.id, Duration::ZERO, reason.to_owned()).await
    }

    /// Takes in what came, with what else has come already.
    async fn receive(&mut self, first: Received) -> Result<(), End> {
        let mut batch = vec![first];
        while batch.len() < BATCH && !matches!(batch.last(), Some(Received::Closed | Received::Lost)) {
            let Some(next) = self.transport.try_recv() else {
                break;
            };
            batch.push(next);
        }
        self.entered.figures().heard(self.shared.clock.now());
        let mut effects = VecDeque::from(self.state.receive(&self.identity, batch, Instant::now()));
        while let Some(effect) = effects.pop_front() {
            for more in self.perform(effect).await?.into_iter().rev() {
                effects.push_front(more);
            }
        }
        self.flush().await
    }

    /// Does what the state asks for. Answers with what is to be done next on account of it.
    async fn perform(&mut self, effect: Effect) -> Result<Vec<Effect>, End> {
        match effect {
            Effect::Pong => self.send(server_frame::Frame::Pong(Pong {})).await?,
            Effect::Error(error) => self.send(server_frame::Frame::Error(error)).await?,
            Effect::Welcome(welcome) => {
                // Shown before it is told: whoever has a Welcome is present.
                self.show();
                self.entered.welcomed();
                self.send(server_frame::Frame::Welcome(welcome)).await?;
            }
            Effect::Ack(ids) => {
                let bus = &self.shared.bus;
                let answered = self.deliveries.answered(&ids);
                let acked = bus.ack(self.tenant, self.identity.session, ids).await;
                let acked = acked.map_err(|error| self.store_failed("ack", &error))?;
                metrics::counter!("nexus_acks_total").increment(acked as u64);
                self.deliveries.acked(&answered, self.shared.clock.now());
            }
            Effect::Nack { id, retry_after, reason } => self.nack(id, retry_after, reason).await?,
            Effect::Reauth(token) => return Ok(self.reauthenticate(&token)),
            Effect::End(end) => return Err(end),
        }
        Ok(Vec::new())
    }

    async fn nack(&mut self, id: EventId, after: Duration, reason: String) -> Result<(), End> {
        let bus = &self.shared.bus;
        let answered = self.deliveries.answered(&[id]);
        let nacked = bus.nack(self.tenant, self.identity.session, id, after, reason).await;
        nacked.map_err(|error| self.store_failed("nack", &error))?;
        metrics::counter!("nexus_nacks_total").increment(1);
        self.deliveries.nacked(&answered, self.shared.clock.now());
        Ok(())
    }

    fn reauthenticate(&mut self, token: &Secret) -> Vec<Effect> {
        let token = std::str::from_utf8(token.expose()).unwrap_or_default();
        let claims = match self.shared.keys.verify(token, self.shared.clock.now()) {
            Ok(claims) => claims,
            // No fault of the agent's.
            Err(error @ TokenError::Limits) => return vec![state::error("busy", &error.to_string())],
            Err(error) => return self.state.wrong_token(&error.to_string()),
        };
        if claims.agent != self.admitted.agent || claims.tenant != *self.tenant {
            return self.state.wrong_token("the token is another agent's");
        }
        if !claims.fits(self.admitted.credential) {
            return self.state.wrong_token("the token was issued for another client secret");
        }
        self.entered.figures().extend(claims.expires);
        Vec::new()
    }

    /// Takes over what the configuration says now.
    fn adopt(&mut self) -> Result<(), End> {
        let now = Arc::clone(&self.config.borrow());
        let profile = now.agent(self.admitted.agent).ok_or(End::ProfileRemoved)?;
        self.state.adopt(terms(&profile));
        let inboxes = profile.inboxes();
        if !self.inboxes.are(&inboxes) {
            self.inboxes = Inboxes::watch(&self.shared.bus, self.tenant, inboxes);
        }
        // What it may take now may be less, and of other inboxes.
        self.offer.give_up();
        Ok(())
    }

    /// Tells presence what the session has.
    fn show(&self) {
        let figures = self.entered.figures();
        figures.set(self.state.credit(), self.state.held());
    }

    async fn send(&mut self, frame: server_frame::Frame) -> Result<(), End> {
        let written = timeout(self.shared.settings.write_deadline, self.transport.feed(frame));
        slow_or_lost(written.await)
    }

    async fn flush(&mut self) -> Result<(), End> {
        let flushed = timeout(self.shared.settings.write_deadline, self.transport.flush());
        slow_or_lost(flushed.await)
    }

    pub(super) fn store_failed(&self, doing: &'static str, error: &BusError) -> End {
        metrics::counter!("nexus_session_store_errors_total", "error" => error.label()).increment(1);
        self.shared.outage.fails(doing, self.tenant, error);
        End::Internal
    }
}

fn slow_or_lost(written: Result<Result<(), Broken>, Elapsed>) -> Result<(), End> {
    match written {
        Ok(Ok(())) => Ok(()),
        Ok(Err(Broken)) => Err(End::PeerLost),
        Err(_) => Err(End::TooSlow),
    }
}

#[cfg(test)]
#[path = "work_tests.rs"]
mod tests;
