//! The gateways that share this bus: one hash of the living, a set of the buried, and a hash of sessions for each.
//!
//! They stand under one tag, so that a session can be noted only while its gateway lives. The owner of a partition stands
//! with its epoch among the tenant's own fields, and counts while that epoch is the newest.

use fred::prelude::Value;
use nexus_core::id::{GatewayId, SessionId, TenantKey};

use super::values::{exactly, id, malformed, number, number_of, parts, str_of, text, uuid_of};
use super::{RedisBus, scripts};
use crate::bus::fleet::{Claim, Fleet};
use crate::bus::{BusError, cannot};

/// The key of the living; its tag keeps the others in the same slot.
const FLEET: &str = "nexus:{gateways}";

impl RedisBus {
    async fn fleet(
        &self,
        doing: &'static str,
        what: &'static str,
        gateway: GatewayId,
        more: impl IntoIterator<Item = Value>,
    ) -> Result<Value, BusError> {
        self.core.check_open()?;
        let now = self.core.clock.now().as_microsecond().to_string();
        let mut args = vec![text(self.core.channel.as_str()), text(""), text(now), text(what)];
        args.push(id(gateway.uuid()));
        args.extend(more);
        self.core.connection.check(doing)?;
        scripts::FLEET.run(&self.core.connection.client, FLEET, args).await.map_err(cannot(doing))
    }

    /// As [`Self::fleet`], where the answer is yes or no.
    async fn asked(
        &self,
        doing: &'static str,
        what: &'static str,
        gateway: GatewayId,
        more: impl IntoIterator<Item = Value>,
    ) -> Result<bool, BusError> {
        let answer = self.fleet(doing, what, gateway, more).await?;
        number_of(&answer).map(|yes| yes > 0).ok_or_else(|| malformed(doing))
    }

    pub(crate) async fn enter(&self, gateway: GatewayId) -> Result<bool, BusError> {
        self.asked("enter a gateway", "enter", gateway, []).await
    }

    pub(crate) async fn beat(&self, gateway: GatewayId, heard: u64) -> Result<Option<Fleet>, BusError> {
        let doing = "count a gateway's beat";
        let answer = self.fleet(doing, "beat", gateway, [number(heard)]).await?;
        if parts(answer.clone()).is_some_and(|parts| parts.is_empty()) {
            return Ok(None);
        }
        fleet_of(answer).map(Some).ok_or_else(|| malformed(doing))
    }

    pub(crate) async fn bury(&self, gateway: GatewayId, beats: u64) -> Result<bool, BusError> {
        self.asked("bury a gateway", "bury", gateway, [number(beats)]).await
    }

    pub(crate) async fn leave(&self, gateway: GatewayId) -> Result<(), BusError> {
        self.asked("take a gateway out", "leave", gateway, []).await.map(drop)
    }

    pub(crate) async fn hold_session(
        &self,
        gateway: GatewayId,
        tenant: &TenantKey,
        session: SessionId,
    ) -> Result<bool, BusError> {
        let more = [id(session.uuid()), text(tenant.to_string())];
        self.asked("note a session", "hold", gateway, more).await
    }

    pub(crate) async fn drop_session(&self, gateway: GatewayId, session: SessionId) -> Result<(), BusError> {
        self.asked("forget a session", "drop", gateway, [id(session.uuid())]).await.map(drop)
    }

    pub(crate) async fn sessions_of(
        &self,
        gateway: GatewayId,
        limit: usize,
    ) -> Result<Vec<(SessionId, TenantKey)>, BusError> {
        let doing = "list a gateway's sessions";
        let answer = self.fleet(doing, "sessions", gateway, [number(limit as u64)]).await?;
        let pairs = pairs(answer).ok_or_else(|| malformed(doing))?;
        let sessions = pairs.into_iter().map(|(session, tenant)| {
            Some((SessionId::from(uuid_of(&session)?), str_of(&tenant)?.parse().ok()?))
        });
        sessions.collect::<Option<_>>().ok_or_else(|| malformed(doing))
    }

    pub(crate) async fn bury_session(
        &self,
        tenant: &TenantKey,
        session: SessionId,
    ) -> Result<usize, BusError> {
        // Before what it holds returns, so that it takes nothing behind that.
        let fence = vec![id(session.uuid())];
        self.run(tenant, "fence a session", &scripts::FENCE, fence).await?;
        self.end_session(tenant, session, Vec::new()).await
    }

    pub(crate) async fn forget_gateway(&self, gateway: GatewayId) -> Result<bool, BusError> {
        self.asked("forget a gateway", "forget", gateway, []).await
    }

    pub(crate) async fn claim(
        &self,
        tenant: &TenantKey,
        partition: u16,
        gateway: GatewayId,
        living: &[GatewayId],
    ) -> Result<Claim, BusError> {
        let doing = "claim a partition";
        self.core.check_open()?;
        self.core.register(tenant).await?;
        let mut args = vec![number(partition.into()), id(gateway.uuid()), text("claim")];
        args.extend(living.iter().map(|gateway| id(gateway.uuid())));
        let answer = self.run(tenant, doing, &scripts::CLAIM, args).await?;
        claim_of(answer).ok_or_else(|| malformed(doing))
    }

    pub(crate) async fn yield_partition(
        &self,
        tenant: &TenantKey,
        partition: u16,
        gateway: GatewayId,
    ) -> Result<(), BusError> {
        let args = vec![number(partition.into()), id(gateway.uuid()), text("yield")];
        self.run(tenant, "yield a partition", &scripts::CLAIM, args).await.map(drop)
    }
}

fn claim_of(answer: Value) -> Option<Claim> {
    let [whose, what] = exactly(answer)?;
    match str_of(&whose)? {
        "ours" => number_of(&what).map(Claim::Ours),
        "theirs" => uuid_of(&what).map(|owner| Claim::Theirs(owner.into())),
        _ => None,
    }
}

fn fleet_of(answer: Value) -> Option<Fleet> {
    let [living, buried] = exactly(answer)?;
    let living = pairs(living)?.into_iter();
    let living =
        living.map(|(gateway, beats)| Some((GatewayId::from(uuid_of(&gateway)?), number_of(&beats)?)));
    let mut living = living.collect::<Option<Vec<_>>>()?;
    let buried = parts(buried)?.into_iter().map(|gateway| uuid_of(&gateway).map(GatewayId::from));
    let mut buried = buried.collect::<Option<Vec<_>>>()?;
    living.sort_unstable();
    buried.sort_unstable();
    Some(Fleet { living, buried })
}

/// A flat list of two by two.
fn pairs(answer: Value) -> Option<Vec<(Value, Value)>> {
    let mut flat = parts(answer)?.into_iter();
    let mut pairs = Vec::new();
    while let Some(first) = flat.next() {
        pairs.push((first, flat.next()?));
    }
    Some(pairs)
}
