//! The route loop: takes what ingest appended and puts it into the inboxes of those whom it concerns.
//!
//! One task per configured tenant, so that no tenant waits for another; in it the partitions side by side, each
//! in order. What belongs to a tenant without a snapshot waits until there is one. Routing goes on during a
//! stop: inboxes fill, nothing leaves them.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::try_join_all;
use jiff::Timestamp;
use nexus_core::event::StandardEvent;
use nexus_core::id::{EventId, TenantKey};
use nexus_core::route::{Decision, RouteTable};
use nexus_core::trace::{Step, TraceId};
use nexus_runtime::Drain;
use nexus_runtime::trace::{self, Kind, Span};
use nexus_store::bus::fleet::Claim;
use nexus_store::bus::{BusError, Epoch, HandOut, PARTITIONS, Route, Seq, Unrouted};
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::chain;
use crate::config::GatewayConfig;
use crate::fleet::View;
use crate::session::sever::changed;
use crate::shared::Shared;

/// Events that are routed in one step, at most.
const BATCH: usize = 64;

/// The bus wakes the loop; in case it does not, it looks this often.
const SAFETY_POLL: Duration = Duration::from_secs(1);

/// Why routing ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RoutingError {
    /// The bus was closed under it.
    #[error("the bus was closed")]
    BusClosed,
    /// A tenant's task panicked.
    #[error("routing of a tenant panicked")]
    Panicked,
}

/// The decision about an event that cannot be read.
#[derive(Serialize)]
struct Unreadable {
    #[serde(flatten)]
    decision: Decision,
    error: String,
}

/// Routes for all tenants that are configured, until drained.
pub(crate) async fn route_all(shared: Arc<Shared>, drain: Drain) -> Result<(), RoutingError> {
    let mut config = shared.config.clone();
    let mut tasks = JoinSet::new();
    let mut routed = BTreeSet::new();
    loop {
        let now = Arc::clone(&config.borrow_and_update());
        for tenant in now.tenants() {
            if routed.insert(tenant.clone()) {
                tasks.spawn(route_tenant(Arc::clone(&shared), tenant.clone()));
            }
        }
        drop(now);
        tokio::select! {
            () = drain.cancelled() => return Ok(()),
            () = changed(&mut config) => {}
            Some(ended) = tasks.join_next() => match ended {
                Ok(Ok(tenant)) => {
                    routed.remove(&tenant);
                }
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(RoutingError::Panicked),
            },
        }
    }
}

/// Routes for one tenant for as long as it is configured.
async fn route_tenant(shared: Arc<Shared>, tenant: TenantKey) -> Result<TenantKey, RoutingError> {
    let partitions = (0..PARTITIONS).map(|index| Partition::new(&shared, &tenant, index).run());
    // One look decides for all partitions: were each to look, a tenant that is gone for a moment could be left
    // with some of them.
    tokio::select! {
        ended = try_join_all(partitions) => ended.map(|_: Vec<Infallible>| tenant.clone()),
        () = gone(shared.config.clone(), &tenant) => Ok(tenant),
    }
}

/// Waits until a tenant is configured no more.
async fn gone(mut config: watch::Receiver<Arc<GatewayConfig>>, tenant: &TenantKey) {
    while config.borrow_and_update().tenant(tenant).is_some() {
        changed(&mut config).await;
    }
}

/// A batch that was routed.
struct Turn {
    first: (Seq, EventId),
    /// Whether more may wait behind it.
    more: bool,
}

/// One partition, as this gateway routes it.
struct Partition<'a> {
    shared: &'a Shared,
    tenant: &'a TenantKey,
    index: u16,
    fleet: watch::Receiver<Arc<View>>,
    epoch: Option<Epoch>,
    /// Whether the bus may hold this gateway for the owner. It is not known after a failure, and not before the first
    /// look: an earlier task of this gateway may have claimed it.
    may_own: bool,
    /// When another was found to have taken it over.
    fenced: Option<Instant>,
}

impl<'a> Partition<'a> {
    fn new(shared: &'a Shared, tenant: &'a TenantKey, index: u16) -> Self {
        Self { shared, tenant, index, fleet: shared.fleet.watch(), epoch: None, may_own: true, fenced: None }
    }

    /// Routes until the bus is closed.
    async fn run(mut self) -> Result<Infallible, RoutingError> {
        // Watched before the first look, so that nothing slips between.
        let mut unrouted = self.shared.bus.watch_unrouted(self.tenant, self.index);
        let mut config = self.shared.config.clone();
        let mut identity = self.shared.bus.identity();
        let mut backoff = Backoff::new();
        loop {
            unrouted.mark_unchanged();
            config.mark_unchanged();
            match self.settle().await {
                Ok(()) => {
                    backoff.reset();
                    tokio::select! {
                        changed = unrouted.changed() => changed.map_err(|_| RoutingError::BusClosed)?,
                        () = changed(&mut config) => {}
                        // It may have lost who owns what: a partition that was yielded may be this gateway's again.
                        () = changed(&mut identity) => (self.epoch, self.may_own) = (None, true),
                        () = changed(&mut self.fleet) => {}
                        () = tokio::time::sleep(SAFETY_POLL) => {}
                    }
                }
                Err(BusError::Closed) => return Err(RoutingError::BusClosed),
                Err(error) => {
                    self.failed(&error);
                    backoff.wait().await;
                }
            }
        }
    }

    fn failed(&mut self, error: &BusError) {
        metrics::counter!("nexus_route_errors_total", "error" => error.label()).increment(1);
        if matches!(error, BusError::Fenced { .. }) {
            let (tenant, partition) = (self.tenant, self.index);
            tracing::warn!(%tenant, partition, error = chain(error), "cannot route; trying again");
        } else {
            self.shared.outage.fails("route", self.tenant, error);
        }
        // Another owner took it over, or what was written is unknown.
        self.epoch = None;
        if matches!(error, BusError::Fenced { .. }) {
            self.fenced = Some(Instant::now());
        }
    }

    /// Routes all that waits, each time from the very first: what is routed waits no more, and a bus that lost something
    /// and got it again has it at places that were passed already.
    async fn settle(&mut self) -> Result<(), BusError> {
        let mut before = None;
        while let Some(Turn { first, more: true }) = self.turn().await? {
            // What is still there after it was routed is looked at again later, not in a circle.
            if before.replace(first) == Some(first) {
                break;
            }
            // A backlog takes turns with the tasks of others.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// The epoch under which this gateway may route, if the partition is its own: claimed when it falls to this gateway,
    /// and yielded when it does not any more.
    async fn own(&mut self) -> Result<Option<Epoch>, BusError> {
        let (bus, view) = (&self.shared.bus, Arc::clone(&self.fleet.borrow_and_update()));
        if !view.is_mine(self.tenant, self.index) {
            // Nobody else can claim it from one who lives.
            if self.may_own && view.entered() {
                bus.yield_partition(self.tenant, self.index, view.me).await?;
                (self.epoch, self.may_own) = (None, false);
            }
            return Ok(None);
        }
        // Who took it may have entered since: to know no better than before would be to take it back from one who lives.
        // And who stood still for long does not know that it is taken for dead.
        let informed = self.fenced.is_none_or(|fenced| view.is_newer_than(fenced));
        if self.epoch.is_none() && informed && self.shared.fleet.is_sure() {
            self.may_own = true;
            let claim = bus.claim(self.tenant, self.index, view.me, &view.living).await?;
            let Claim::Ours(epoch) = claim else {
                self.may_own = false;
                return Ok(None);
            };
            let (tenant, partition, living) = (self.tenant, self.index, view.living.len());
            tracing::debug!(%tenant, partition, epoch, living, me = %view.me, "claimed");
            self.epoch = Some(epoch);
            self.fenced = None;
        }
        Ok(self.epoch)
    }

    /// Routes a batch.
    async fn turn(&mut self) -> Result<Option<Turn>, BusError> {
        let bus = &self.shared.bus;
        let Some(epoch) = self.own().await? else {
            return Ok(None);
        };
        let events = bus.unrouted(self.tenant, self.index, 0, BATCH).await?;
        self.shared.outage.succeeds();
        let Some(first) = events.first().map(|event| (event.seq, event.id)) else {
            return Ok(None);
        };
        let config = Arc::clone(&self.shared.config.borrow());
        let Some(tenant) = config.tenant(self.tenant) else {
            return Ok(None);
        };
        let start = self.shared.clock.now();
        let routes: Vec<_> = events.iter().map(|event| decide(tenant.table(), event)).collect();
        let count = routes.len();
        let told = trace::on() || tracing::enabled!(tracing::Level::DEBUG);
        let inboxes = events.iter().zip(&routes).map(|(event, route)| (event.id, route.inboxes.len()));
        let noted: Vec<_> = inboxes.filter(|_| told).collect();
        // As for a pull: the sessions of who is not sure may be others' by now.
        let hand_out = if self.shared.fleet.is_sure() { HandOut::ToOffers } else { HandOut::Nothing };
        bus.route(self.tenant, self.index, epoch, routes, hand_out).await?;
        self.note(&noted, start);
        metrics::counter!("nexus_routed_total").increment(count as u64);
        Ok(Some(Turn { first, more: events.more }))
    }

    /// Tells traces and debug logs what was routed, once it is written.
    fn note(&self, routed: &[(EventId, usize)], start: Timestamp) {
        let end = self.shared.clock.now();
        for &(event, inboxes) in routed {
            trace::record(event, Step::Route, || {
                let tenant = self.tenant.to_string();
                Span::new(format!("route {tenant}"), Kind::Consumer, start, end)
                    .with("messaging.system", "nexus")
                    .with("messaging.operation.name", "route")
                    .with("messaging.operation.type", "process")
                    .with("messaging.destination.name", tenant.clone())
                    .with("messaging.destination.partition.id", self.index.to_string())
                    .with("messaging.message.id", event.to_string())
                    .with("nexus.tenant", tenant)
                    .with("nexus.inboxes", i64::try_from(inboxes).unwrap_or(i64::MAX))
                    .with("nexus.outcome", if inboxes == 0 { "nobody" } else { "routed" })
            });
            tracing::debug!(tenant = %self.tenant, %event, trace_id = %TraceId::of(event), inboxes, "routed");
        }
    }
}

/// Whom an event concerns. One that cannot be read concerns nobody: it must not hold up what follows.
fn decide(table: &RouteTable, event: &Unrouted) -> Route {
    let (inboxes, decision) = match serde_json::from_slice::<StandardEvent>(&event.event) {
        Ok(standard) => {
            let decision = table.route(&standard);
            let inboxes = decision.chosen.iter().map(|chosen| chosen.inbox).collect();
            (inboxes, serde_json::to_vec(&decision))
        }
        Err(error) => {
            metrics::counter!("nexus_unreadable_events_total").increment(1);
            tracing::error!(event = %event.id, %error, "an event cannot be read; it is routed to nobody");
            let decision = Decision {
                version: table.version().clone(),
                chosen: Vec::new(),
                passed_over: Vec::new(),
                passed_over_count: 0,
                unresolved: Vec::new(),
            };
            let error = format!("the event cannot be read: {error}");
            (Vec::new(), serde_json::to_vec(&Unreadable { decision, error }))
        }
    };
    Route { seq: event.seq, inboxes, decision: Bytes::from(decision.unwrap_or_default()) }
}

#[cfg(test)]
mod tests {
    use nexus_core::id::GatewayId;
    use nexus_store::bus::partition_of;

    use super::*;
    use crate::fleet::rank;
    use crate::world::{THREAD, World};

    /// Beats until so many gateways are known to live.
    async fn known(world: &World, gateways: usize) {
        let (fleet, bus) = (&world.shared.fleet, world.shared.bus.clone());
        let mut view = fleet.watch();
        tokio::select! {
            ended = fleet.clone().keep(bus, Drain::new()) => panic!("{ended:?}"),
            known = view.wait_for(|view| view.living.len() == gateways) => drop(known.unwrap()),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_falls_to_another_is_yielded_also_after_a_failure() {
        let world = World::new();
        let (bus, index) = (&world.shared.bus, partition_of(THREAD));
        known(&world, 1).await;
        let me = world.shared.fleet.view().me;
        let mut partition = Partition::new(&world.shared, &world.tenant, index);
        partition.settle().await.unwrap();
        partition.failed(&BusError::Closed);
        let others = (0..=255).map(|n| GatewayId::from_bytes([n; 16]));
        let mut first =
            others.filter(|other| rank::first(&[me, *other], &world.tenant, index) == Some(*other));
        let other = first.next().unwrap();
        bus.enter(other).await.unwrap();
        let both = [me, other];
        let claim = || bus.claim(&world.tenant, index, other, &both);
        assert_eq!(claim().await.unwrap(), Claim::Theirs(me));
        known(&world, 2).await;
        partition.settle().await.unwrap();
        assert!(matches!(claim().await.unwrap(), Claim::Ours(_)));
    }

    #[tokio::test]
    async fn a_backlog_is_routed_to_its_end_in_batches_of_any_size() {
        let world = World::new();
        let large = "x".repeat(600_000);
        for n in 0..BATCH + 1 {
            // Some are large, so that a bound on bytes ends a batch early as well.
            let text = if n % 16 == 0 { large.as_str() } else { "x" };
            world.append(text.to_owned()).await;
        }
        known(&world, 1).await;
        let mut partition = Partition::new(&world.shared, &world.tenant, partition_of(THREAD));
        partition.settle().await.unwrap();
        let depth = world.shared.bus.depth(&world.tenant).await.unwrap();
        assert_eq!(depth.unrouted, 0);
    }
}
