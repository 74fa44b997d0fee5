//! A session: one connection of an agent, from its admission to its goodbye.
//!
//! [`state::State`] decides and is pure; [`work`] drives it: one loop that pulls against credit, delivers,
//! and takes in frames, beside [`sever::severed`], which ends it from outside. Frames are handled in order: an
//! Ack is committed in the bus before a Grant that follows it counts, so that a crash can repeat no more
//! events than the agent had credit for.
//!
//! Any frame, and any ping or pong of the WebSocket itself, counts as a sign of life.

mod deliveries;
pub(crate) mod end;
mod inboxes;
pub(crate) mod parting;
mod polls;
mod settle;
pub(crate) mod sever;
mod state;
pub(crate) mod transport;
mod work;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use nexus_core::id::TenantKey;
use nexus_runtime::Drain;
use nexus_runtime::lane::StopGate;
use nexus_store::bus::Offer;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use self::deliveries::Deliveries;
use self::end::End;
use self::inboxes::Inboxes;
use self::polls::Polls;
use self::settle::Settling;
use self::sever::Admitted;
use self::state::{HELLO_DEADLINE, Identity, State, Terms};
use self::transport::{Opening, Transport};
use crate::config::{GatewayConfig, Profile};
use crate::leases::Lease;
use crate::presence::Entered;
use crate::shared::Shared;

/// How long it may take to see what came while a session waited for others.
const LAST_LOOK: Duration = Duration::from_millis(10);

/// A connection that was admitted and is about to be taken over.
pub(crate) struct Start {
    pub(crate) opening: Opening,
    pub(crate) tenant: TenantKey,
    pub(crate) admitted: Admitted,
    pub(crate) entered: Entered,
    /// Subscribed before the decision that admitted.
    pub(crate) gate: StopGate,
}

/// Runs a session to its end.
pub(crate) async fn run(shared: Arc<Shared>, start: Start, drain: Drain) {
    let Start { opening, tenant, admitted, entered, gate } = start;
    // What a session does only now and then is boxed: a future is as large as the largest thing it may wait
    // for, and thousands of sessions at rest wait for little.
    let opened =
        timeout(HELLO_DEADLINE, Box::pin(open(&shared, &tenant, admitted, &entered, opening, &drain)));
    let end = match opened.await.unwrap_or(Err(End::PeerLost)) {
        Err(end) => end,
        Ok(mut session) => {
            let end = session.run(gate, &drain).await;
            Box::pin(session.close(&end)).await;
            end
        }
    };
    metrics::counter!("nexus_session_ends_total", "reason" => end.label()).increment(1);
    note(&tenant, &entered, &end);
}

fn note(tenant: &TenantKey, entered: &Entered, end: &End) {
    let figures = entered.figures();
    let (agent, session, peer, reason) = (figures.agent, figures.session, figures.peer, end.label());
    if matches!(end, End::Stopped { .. } | End::Draining) {
        // These come by thousands, and what causes them has a line of its own.
        tracing::debug!(%tenant, %agent, %session, %peer, reason, "session ended");
    } else {
        tracing::info!(%tenant, %agent, %session, %peer, reason, "session ended");
    }
}

/// Takes the connection over from HTTP.
async fn open<'a>(
    shared: &'a Shared,
    tenant: &'a TenantKey,
    admitted: Admitted,
    entered: &'a Entered,
    opening: Opening,
    drain: &Drain,
) -> Result<Session<'a>, End> {
    let transport = Transport::open(opening).await?;
    let mut session = Session::over(shared, tenant, admitted, entered, transport)?;
    session.enter(drain).await?;
    Ok(session)
}

fn terms(profile: &Profile<'_>) -> Terms {
    Terms { heartbeat: profile.snapshot.heartbeat, max_in_flight: profile.agent.max_in_flight }
}

struct Session<'a> {
    shared: &'a Shared,
    tenant: &'a TenantKey,
    admitted: Admitted,
    entered: &'a Entered,
    identity: Identity,
    lease: Lease,
    transport: Transport,
    config: watch::Receiver<Arc<GatewayConfig>>,
    state: State,
    inboxes: Inboxes,
    /// What it would take of what is routed here, while it waits.
    offer: Offer,
    deliveries: Deliveries,
    polls: Polls,
    bus_identity: watch::Receiver<Arc<str>>,
    /// There while the bus may have lost something since it was told what the session has.
    settling: Option<Settling<'a>>,
}

impl<'a> Session<'a> {
    /// A session over a connection on which nothing was said yet.
    fn over(
        shared: &'a Shared,
        tenant: &'a TenantKey,
        admitted: Admitted,
        entered: &'a Entered,
        transport: Transport,
    ) -> Result<Self, End> {
        let config = shared.config.clone();
        let now = Arc::clone(&config.borrow());
        let profile = now.agent(admitted.agent).ok_or(End::ProfileRemoved)?;
        let identity = Identity {
            agent: admitted.agent,
            name: profile.name.to_owned(),
            session: entered.figures().session,
        };
        // Noted before the first pull, so that whatever happens from here on returns what is held.
        let lease = shared.leases.hold(tenant, identity.session);
        Ok(Self {
            state: State::new(terms(&profile), Instant::now()),
            inboxes: Inboxes::watch(&shared.bus, tenant, profile.inboxes()),
            offer: shared.bus.offer(tenant, identity.session),
            deliveries: Deliveries::new(tenant, admitted.agent, &identity.name, identity.session),
            polls: Polls::default(),
            bus_identity: shared.bus.identity(),
            settling: None,
            shared,
            tenant,
            admitted,
            entered,
            identity,
            lease,
            transport,
            config,
        })
    }

    /// Tells the bus whose the session is, so that others can end it should this gateway die.
    async fn enter(&mut self, drain: &Drain) -> Result<(), End> {
        let Shared { fleet, bus, leases, .. } = self.shared;
        tokio::select! {
            // A gateway that begins again lives only then; the session is told of the drain.
            () = drain.cancelled() => return Ok(()),
            () = fleet.entered() => {}
        }
        match leases.enter(bus, fleet.view().me, self.identity.session).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(End::Internal),
            Err(error) => Err(self.store_failed("enter a session", &error)),
        }
    }

    /// Works until the session ends, from within or from outside.
    async fn run(&mut self, gate: StopGate, drain: &Drain) -> End {
        let (shared, admitted, figures) = (self.shared, self.admitted, self.entered.figures());
        tokio::select! {
            biased;
            end = sever::severed(shared, admitted, figures, gate, drain) => end,
            end = self.work() => end,
        }
    }

    /// Parts with the agent and returns what it held. The two are boxed apart: thousands part at once in a stop, and a
    /// future is as large as the largest thing it may wait for.
    async fn close(self, end: &End) {
        let Self { shared, lease, transport, state, settling, offer, .. } = self;
        // Nothing is handed to it any more, and what was returns with what it held.
        drop(offer);
        // It may have a turn, which nobody would give back while this waits for one.
        drop(settling);
        let undelivered = state.undelivered();
        let part = Box::pin(part(shared, transport, end));
        let give_back = || Box::pin(lease.give_back(&shared.bus, undelivered));
        if let End::Stopped { engagement, .. } = end {
            let farewell = shared.parting.begin();
            let last_byte = part.await;
            drop(farewell);
            if let Some(engagement) = engagement {
                shared.presence.sever(engagement, last_byte);
            }
            shared.parting.over().await;
            give_back().await;
        } else {
            tokio::join!(part, give_back());
        }
    }
}

/// Parts with the agent, in bounded time. Gives when it was sent its last byte.
async fn part(shared: &Shared, mut transport: Transport, end: &End) -> Timestamp {
    let stopped = matches!(end, End::Stopped { .. });
    // Counted once, by the first that ends in the drain: those that follow are fewer and fewer.
    let together = match end {
        End::Draining => *shared.drained.get_or_init(|| shared.presence.sessions()),
        _ => 1,
    };
    // A frame that waits half sent can only be finished or cut off. After a stop it is cut off.
    let cut = transport.is_unsent() && (stopped || *end == End::TooSlow);
    let mut deadline = Instant::now() + end.patience(&shared.settings);
    let said =
        !cut && matches!(timeout_at(deadline, transport.say(end, end.goodbye(together))).await, Ok(Ok(())));
    let mut last_byte = shared.clock.now();
    if said && stopped {
        shared.parting.said().await;
        // Whoever closed meanwhile has closed in time, and is to be seen.
        deadline = deadline.max(Instant::now() + LAST_LOOK);
    }
    let parted = said && matches!(timeout_at(deadline, transport.closed(end)).await, Ok(Ok(())));
    // What the kernel still has to send would be delivered whenever the agent reads again. After a stop
    // only an agent that has closed, and so has read, is spared the reset.
    if !parted && (stopped || transport.is_unsent()) {
        transport.reset(end);
        last_byte = shared.clock.now();
    }
    transport.leave(end);
    last_byte
}
