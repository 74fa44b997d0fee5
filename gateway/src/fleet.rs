//! The fleet: the gateways that share the bus, and this one's place among them.
//!
//! Each counts its beats in the bus. Silence is measured by whoever listens, with its own monotonic clock: one whose
//! counter stood still for [`SILENCE`] while the listener itself could beat is buried. So no clock of another machine
//! is believed, and an outage of the bus buries nobody.

mod ghosts;
mod heirs;
pub(crate) mod rank;
mod silence;

use std::sync::Arc;
use std::time::Duration;

use nexus_core::id::{GatewayId, TenantKey};
use nexus_runtime::Drain;
use nexus_store::bus::{Bus, BusError};
use tokio::sync::watch;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use uuid::Uuid;

use self::silence::Silence;
use crate::chain;
use crate::shared::Shared;

/// How often a gateway beats.
pub(crate) const BEAT: Duration = Duration::from_secs(1);

/// Who is silent for so long is taken for dead.
pub(crate) const SILENCE: Duration = Duration::from_secs(5);

/// How long a gateway that ends may take to leave in good order.
pub(crate) const LEAVE: Duration = Duration::from_secs(2);

/// Why a gateway left the fleet.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FleetError {
    /// The bus was closed under it.
    #[error("the bus was closed")]
    BusClosed,
    /// Others took it for dead, or the bus lost what it knew: what its sessions held is not theirs any more.
    #[error("the other gateways took this one for dead; it begins again under a new id")]
    Buried,
}

/// This gateway's place in the fleet. To be kept by whoever starts a gateway again in the same process, so that it
/// goes on as the one that it was. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Fleet(watch::Sender<Arc<View>>);

/// The fleet as this gateway knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) me: GatewayId,
    /// Those that live, this one among them once it has entered.
    pub(crate) living: Vec<GatewayId>,
    /// Those whose sessions are to be ended.
    pub(crate) buried: Vec<GatewayId>,
    /// When the last beat that counted was sent.
    heard: Option<Instant>,
}

impl Default for Fleet {
    fn default() -> Self {
        Self(watch::Sender::new(Arc::new(View::new())))
    }
}

impl View {
    fn new() -> Self {
        Self { me: Uuid::new_v4().into(), living: Vec::new(), buried: Vec::new(), heard: None }
    }

    /// Whether this gateway lives.
    pub(crate) fn entered(&self) -> bool {
        self.living.contains(&self.me)
    }

    /// Whether all who had entered by then are known.
    pub(crate) fn is_newer_than(&self, moment: Instant) -> bool {
        self.heard.is_some_and(|heard| heard > moment)
    }

    /// Whether a partition falls to this gateway.
    pub(crate) fn is_mine(&self, tenant: &TenantKey, partition: u16) -> bool {
        rank::first(&self.living, tenant, partition) == Some(self.me)
    }
}

impl Fleet {
    /// The fleet as it is known now.
    pub(crate) fn view(&self) -> Arc<View> {
        Arc::clone(&self.0.borrow())
    }

    /// Changes when somebody came or went.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<View>> {
        self.0.subscribe()
    }

    /// Whether others cannot have taken this gateway for dead: it may take work.
    pub(crate) fn is_sure(&self) -> bool {
        self.0.borrow().heard.is_none_or(|heard| heard.elapsed() < SILENCE)
    }

    /// Waits until this gateway lives.
    pub(crate) async fn entered(&self) {
        let mut view = self.watch();
        // The sender is here, so this waits.
        let _ = view.wait_for(|view| view.entered()).await;
    }

    /// Beats until drained, and buries who is silent.
    pub(crate) async fn keep(self, bus: Bus, drain: Drain) -> Result<(), FleetError> {
        let me = self.view().me;
        // Also the pause after one that failed: who beats later than others after an outage looks dead to them.
        let mut tick = interval(BEAT);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut silence = Silence::default();
        let mut inside = false;
        let mut heard = 0;
        loop {
            tokio::select! {
                () = drain.cancelled() => return Ok(()),
                _ = tick.tick() => {}
            }
            let sent = Instant::now();
            match timeout(SILENCE, beat(&bus, me, heard, &mut inside)).await {
                Ok(Ok(Some(fleet))) => {
                    let ours = fleet.living.iter().find(|(gateway, _)| *gateway == me);
                    heard = ours.map_or(heard, |(_, beats)| *beats);
                    let silent = silence.hear(sent, me, &fleet.living);
                    let dead: Vec<_> = silent.iter().map(|(gateway, _)| *gateway).collect();
                    let living = fleet.living.iter().map(|(gateway, _)| *gateway);
                    let living = living.filter(|gateway| !dead.contains(gateway)).collect();
                    self.show(sent, living, fleet.buried);
                    bury(&bus, silent).await;
                }
                Ok(Ok(None)) => {
                    self.begin_again();
                    return Err(FleetError::Buried);
                }
                Ok(Err(BusError::Closed)) => return Err(FleetError::BusClosed),
                failed => {
                    metrics::counter!("nexus_beat_errors_total").increment(1);
                    warn("the bus does not hear this gateway's beat; trying again", failed);
                }
            }
        }
    }

    /// Takes this gateway out, in good order: what it routed falls to others at once.
    pub(crate) async fn leave(&self, bus: &Bus) {
        let me = self.view().me;
        let left = async {
            bus.leave(me).await?;
            bus.forget_gateway(me).await
        };
        match timeout(LEAVE, left).await {
            Ok(Ok(_) | Err(BusError::Closed)) => {}
            failed => {
                warn("cannot leave the fleet; the others will find this gateway silent", failed);
            }
        }
        self.begin_again();
    }

    fn show(&self, sent: Instant, living: Vec<GatewayId>, buried: Vec<GatewayId>) {
        metrics::gauge!("nexus_gateways").set(living.len() as f64);
        self.0.send_if_modified(|view| {
            let changed = view.living != living || view.buried != buried;
            let me = view.me;
            *view = Arc::new(View { me, living, buried, heard: Some(sent) });
            changed
        });
    }

    /// What this gateway was is over.
    fn begin_again(&self) {
        self.0.send_replace(Arc::new(View::new()));
    }
}

/// Beats, and enters the living first where that was not done yet. None if it does not live any more.
async fn beat(
    bus: &Bus,
    me: GatewayId,
    heard: u64,
    inside: &mut bool,
) -> Result<Option<nexus_store::bus::fleet::Fleet>, BusError> {
    if !*inside {
        // Buried while nobody beat: a gateway that begins again would live and be dead at once.
        if !bus.enter(me).await? {
            return Ok(None);
        }
        *inside = true;
    }
    bus.beat(me, heard).await
}

/// Tells of a call that failed, or that took too long.
fn warn<T>(what: &str, outcome: Result<Result<T, BusError>, Elapsed>) {
    match outcome.map(Result::err) {
        Ok(error) => tracing::warn!(error = error.as_ref().map(|error| chain(error)), "{what}"),
        Err(elapsed) => tracing::warn!(error = chain(&elapsed), "{what}"),
    }
}

async fn bury(bus: &Bus, silent: Vec<(GatewayId, u64)>) {
    for (gateway, beats) in silent {
        match bus.bury(gateway, beats).await {
            Ok(true) => {
                tracing::warn!(%gateway, "a gateway was silent for {SILENCE:?} and is taken for dead")
            }
            Ok(false) => {}
            // The next beat finds it silent still.
            Err(error) => tracing::warn!(%gateway, error = chain(&error), "cannot bury a silent gateway"),
        }
    }
}

/// Belongs to the fleet for as long as there are sessions, and leaves it then in a drain. Who is taken for dead ends the
/// role, which tells its sessions.
pub(crate) async fn belong(
    shared: Arc<Shared>,
    drain: Drain,
    role: Drain,
    parted: Drain,
) -> Result<(), FleetError> {
    let kept = shared.fleet.clone().keep(shared.bus.clone(), parted).await;
    if matches!(kept, Err(FleetError::Buried)) {
        role.cancel();
    } else if drain.is_cancelled() {
        // Now, whatever the role still waits for: what it routed must not wait for that.
        shared.fleet.leave(&shared.bus).await;
    }
    kept
}

/// Ends the sessions that nobody else ends, until drained: those of buried gateways, and of this one those that the bus
/// forgot were ended.
pub(crate) async fn inherit(shared: Arc<Shared>, drain: Drain) -> Result<(), FleetError> {
    let Shared { fleet, bus, leases, .. } = &*shared;
    tokio::select! {
        () = drain.cancelled() => Ok(()),
        ended = heirs::run(fleet, bus) => ended,
        ended = ghosts::run(fleet.view().me, leases, bus) => ended,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

    use super::*;
    use crate::world::World;

    /// Counts the beats that failed.
    #[derive(Default)]
    struct Failed(Arc<AtomicU64>);

    impl Recorder for Failed {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            match key.name() {
                "nexus_beat_errors_total" => Counter::from_arc(Arc::clone(&self.0)),
                _ => Counter::noop(),
            }
        }
        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }
        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    #[tokio::test]
    async fn a_gateway_beats_on_however_long_the_bus_is_away() {
        let (world, server) = World::redis().await;
        world.lose(server).await;
        let failed = Failed::default();
        let _counts = metrics::set_default_local_recorder(&failed);
        let kept = world.shared.fleet.clone().keep(world.shared.bus.clone(), Drain::new());
        tokio::time::pause();
        // The longest pause is the last.
        assert!(timeout(BEAT * 60, kept).await.is_err());
        let failed = failed.0.load(Ordering::Relaxed);
        assert!((55..=61).contains(&failed), "{failed} beats in 60 s");
    }

    #[tokio::test]
    async fn who_was_buried_while_nobody_beat_begins_again_under_another_id() {
        let world = World::new();
        let (fleet, bus) = (&world.shared.fleet, &world.shared.bus);
        let me = fleet.view().me;
        assert!(bus.enter(me).await.unwrap());
        bus.hold_session(me, &world.tenant, Uuid::new_v4().into()).await.unwrap();
        bus.leave(me).await.unwrap();
        let kept = timeout(SILENCE, fleet.clone().keep(bus.clone(), Drain::new())).await;
        assert!(matches!(kept, Ok(Err(FleetError::Buried))), "{kept:?}");
        assert_ne!(fleet.view().me, me);
    }
}
