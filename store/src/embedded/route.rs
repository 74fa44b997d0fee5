//! Route: fencing, coalescing and the entries of all inboxes are one step.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use nexus_core::id::{InboxId, TenantKey};

use super::command::RouteAs;
use super::keys::{self, TenantNo};
use super::records::{Claim, Claimed, Entry, Head, Open, Routed};
use super::store::{Space, cannot, unreadable};
use super::turn::Turn;
use super::watches::Topic;
use crate::bus::{BusError, Route, Seq};

/// How long an inbox remembers the changes that it was told of.
pub(crate) const CLAIMS_LAST: Duration = Duration::from_secs(72 * 3600);

/// Claims that events of this command made, before they are written.
type NewClaims = HashMap<(InboxId, String), Claim>;

/// What will be written of one route.
struct Plan {
    seq: Seq,
    head: Arc<Head>,
    bytes: u64,
    routed: Routed,
    claimed: Claimed,
}

impl Turn<'_> {
    pub(super) fn route(&mut self, key: &TenantKey, by: RouteAs, routes: Vec<Route>) -> Result<(), BusError> {
        let number = self.known(key);
        let tenant = number.and_then(|number| self.state.tenants.get(&number));
        let held = tenant.and_then(|tenant| tenant.epochs.get(&by.partition).copied()).unwrap_or_default();
        let Some(number) = number.filter(|_| held == by.epoch && held > 0) else {
            return Err(BusError::Fenced {
                tenant: key.clone(),
                partition: by.partition,
                held,
                ours: by.epoch,
            });
        };
        let mut seen = BTreeSet::new();
        let mut claims = NewClaims::new();
        let mut plans = Vec::with_capacity(routes.len());
        for route in routes {
            if seen.insert(route.seq)
                && let Some(plan) = self.plan(number, by.partition, route, &mut claims)?
            {
                plans.push(plan);
            }
        }
        for ((inbox, change), claim) in &claims {
            self.txn.put(Space::Claims, keys::claim(number, *inbox, change), claim.encode());
        }
        for plan in plans {
            self.put_route(number, by.partition, plan);
        }
        Ok(())
    }

    /// Decides what becomes of one event; nothing if it is not waiting to be routed here.
    fn plan(
        &self,
        number: TenantNo,
        partition: u16,
        route: Route,
        claims: &mut NewClaims,
    ) -> Result<Option<Plan>, BusError> {
        let Some(head) = self.unrouted_head(number, partition, route.seq)? else {
            return Ok(None);
        };
        let mut copies: Vec<(InboxId, bool)> = Vec::with_capacity(route.inboxes.len());
        for inbox in route.inboxes {
            if copies.iter().all(|(other, _)| *other != inbox) {
                let coalesced = self.claim(number, inbox, &head, claims)?;
                copies.push((inbox, coalesced));
            }
        }
        let handed = copies.iter().filter(|(_, coalesced)| !coalesced);
        let claimed = Claimed {
            inboxes: handed.map(|(inbox, _)| *inbox).collect(),
            keys: head.change.claims().map(str::to_owned).collect(),
        };
        Ok(Some(Plan {
            seq: route.seq,
            bytes: head.bytes,
            head,
            routed: Routed { copies, decision: route.decision },
            claimed,
        }))
    }

    /// What is kept of an event that waits to be routed in a partition; nothing if it does not, or cannot be read.
    fn unrouted_head(
        &self,
        number: TenantNo,
        partition: u16,
        seq: Seq,
    ) -> Result<Option<Arc<Head>>, BusError> {
        let queue = keys::queue(number, partition, seq);
        let file = self.state.tenants.get(&number).map(|tenant| &tenant.file);
        let waits = file.and_then(|file| file.unrouted(partition)).is_some_and(|notes| notes.waits(seq));
        // What this batch has routed already is noted as waiting until the batch is written.
        if waits
            && !self.txn.has_written(Space::Queue, &queue)
            && let Some(event) = self.shared.recent.get(number, seq)
        {
            return Ok(Some(event.head));
        }
        if self.txn.get(Space::Queue, &queue)?.is_none() {
            return Ok(None);
        }
        let Some(head) = self.txn.get(Space::Heads, &keys::event(number, seq))? else {
            return Ok(None);
        };
        match Head::decode(&head) {
            Ok(head) => Ok(Some(Arc::new(head))),
            Err(error) => {
                // A later version may have written it: it waits for one that can read it, and holds up no other.
                self.leave_unreadable(number, partition, seq, &error);
                Ok(None)
            }
        }
    }

    /// Claims the event's changes for an inbox; true if all of them were known there.
    fn claim(
        &self,
        number: TenantNo,
        inbox: InboxId,
        head: &Head,
        claims: &mut NewClaims,
    ) -> Result<bool, BusError> {
        let now = self.micros();
        let mut known = HashMap::new();
        for change in head.change.claims() {
            let claim = match claims.get(&(inbox, change.to_owned())) {
                Some(claim) => Some(*claim),
                None => self
                    .txn
                    .get(Space::Claims, &keys::claim(number, inbox, change))?
                    .map(|value| Claim::decode(&value).map_err(cannot("read a change key")))
                    .transpose()?,
            };
            if let Some(claim) = claim.filter(|claim| claim.expires > now) {
                known.insert(change, claim.rank);
            }
        }
        if head.change.coalesced(|change| known.get(change).copied()) {
            return Ok(true);
        }
        let expires = claims_expire(now);
        for change in head.change.claims() {
            let rank = known.get(change).copied().unwrap_or(head.change.rank);
            let rank = rank.max(head.change.rank);
            claims.insert((inbox, change.to_owned()), Claim { rank, expires });
        }
        Ok(false)
    }

    fn put_route(&mut self, number: TenantNo, partition: u16, plan: Plan) {
        let seq = plan.seq;
        let at = keys::event(number, seq);
        self.txn.remove(Space::Queue, keys::queue(number, partition, seq));
        self.txn.put(Space::Routes, at, plan.routed.encode());
        let entry = Entry::fresh(&plan.head, false).encode();
        for inbox in &plan.claimed.inboxes {
            self.txn.put(Space::Inbox, keys::copy(number, *inbox, seq), entry.clone());
            self.inbox(number, *inbox).add(seq);
            self.wake(number, Topic::Inbox(*inbox));
        }
        let coalesced = plan.routed.copies.len() - plan.claimed.inboxes.len();
        self.tally.coalesced += coalesced as u64;
        let open = u32::try_from(plan.claimed.inboxes.len()).unwrap_or(u32::MAX);
        if let Some(tenant) = self.state.tenants.get_mut(&number) {
            tenant.unrouted = tenant.unrouted.saturating_sub(1);
            if open == 0 {
                tenant.pending = tenant.pending.saturating_sub(plan.bytes);
            }
            let file = Arc::clone(&tenant.file);
            self.will_have_routed(file, partition, seq);
        }
        if open > 0 {
            let open = Open { open, dead: 0, bytes: plan.bytes };
            self.txn.put(Space::Open, at, open.encode());
            let expires = claims_expire(self.micros());
            self.expiring.claims(number, expires, seq, plan.claimed);
        }
        self.tally.routed += 1;
    }

    /// Leaves an event where it is, until the log is opened by a version that can read it.
    fn leave_unreadable(&self, number: TenantNo, partition: u16, seq: Seq, error: &serde_json::Error) {
        unreadable("heads");
        if let Some(tenant) = self.state.tenants.get(&number) {
            tracing::error!(
                tenant = %tenant.key, seq, error = error as &dyn std::error::Error,
                "an event cannot be read; it is kept and waits unrouted for a version that can"
            );
            tenant.file.leave_unreadable(partition, seq);
        }
    }

    /// What is kept of an event beside its JSON.
    pub(super) fn head(&self, number: TenantNo, seq: Seq) -> Result<Option<Head>, BusError> {
        let value = self.txn.get(Space::Heads, &keys::event(number, seq))?;
        value.map(|value| Head::decode(&value).map_err(cannot("read an event"))).transpose()
    }
}

fn claims_expire(now: i64) -> i64 {
    now.saturating_add(i64::try_from(CLAIMS_LAST.as_micros()).unwrap_or(i64::MAX))
}
