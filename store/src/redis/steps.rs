//! What is done many at a time: append, route, pull, ack.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fred::prelude::Value;
use metrics::counter;
use nexus_core::id::{EventId, InboxId, SessionId, TenantKey};

use super::core::Core;
use super::lane::{CALL_BYTES, Step};
use super::offer::MOST_TAKEN;
use super::payload::{Lengths, Payload};
use super::prepared::Prepared;
use super::read;
use super::scripts::{self, Script};
use super::values::{bytes, count_of, exactly, id, malformed, number, number_of, parts, str_of, text};
use crate::bus::offers::{Claimed, Most};
use crate::bus::{Appended, BusError, Held, MAX_ATTEMPTS, MOST_PASSED_OVER, Pulled, Rest, Route};
use crate::embedded::{CLAIMS_LAST, Tally};

/// Keys are cleared up by the server after at most so long.
const LONGEST_KEPT: Duration = Duration::from_secs(3650 * 24 * 3600);

/// What appending is called in errors.
pub(super) const APPEND: &str = "append an event";

/// Events that one script appends at most.
pub(crate) const MOST_APPENDED: usize = 256;

/// Copies that one pull hands out at most.
const MOST_PULLED: usize = 1000;

/// The time for which the server keeps a key, and until when it counts, which begins at a moment in microseconds.
fn lasts(from: i64, time: Duration) -> [Value; 2] {
    let time = time.min(LONGEST_KEPT);
    let until = from.saturating_add(i64::try_from(time.as_micros()).unwrap_or(i64::MAX));
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
    [number(millis), text(until.max(0).to_string())]
}

/// Who appends: a spool, and the highest of its places that it knows to be in the bus.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin<'a> {
    pub(crate) spool: &'a str,
    pub(crate) known: u64,
    /// The tenant's quota, if it may be another than when its events were taken.
    pub(crate) quota: Option<u64>,
}

impl Origin<'_> {
    /// Who sends nothing again.
    const NOBODY: Self = Self { spool: "", known: 0, quota: None };

    /// The arguments of the script before those of the first event.
    pub(super) fn begin(self) -> Vec<Value> {
        vec![text(self.spool), number(self.known)]
    }
}

/// The arguments of the script for an event that has this place in its spool.
pub(super) fn encode_append(event: &Prepared, quota: u64, place: u64, args: &mut Vec<Value>) {
    let [keep, until] = lasts(event.received, event.dedupe_for);
    args.extend([
        text(event.delivery_key.as_str()),
        keep,
        until,
        id(event.id.uuid()),
        number(quota),
        number(event.weight() as u64),
        number(event.thread.partition().into()),
        text(format!("{:x}", event.thread.0)),
        text(Lengths::of(event).to_string()),
        text(event.change.as_str()),
        text(event.received.to_string()),
        number(place),
    ]);
}

/// What became of events, the first of them first; there may be fewer answers than events.
pub(super) fn decode_appended<'a>(
    tenant: &TenantKey,
    events: impl Iterator<Item = &'a Prepared>,
    answer: &[Value],
) -> Option<Vec<Result<Appended, BusError>>> {
    let mut tally = Tally::default();
    let mut refused = 0;
    let outcomes: Option<Vec<_>> = answer
        .iter()
        .zip(events)
        .map(|(outcome, event)| {
            let outcome = str_of(outcome)?;
            let (how, what) = outcome.split_at_checked(1)?;
            Some(match how {
                "s" => {
                    tally.stored += 1;
                    Ok(Appended::Stored(what.parse().ok()?))
                }
                "d" => {
                    tally.duplicates += 1;
                    Ok(Appended::Duplicate(EventId::from(uuid::Uuid::try_parse(what).ok()?)))
                }
                "q" => {
                    refused += 1;
                    let pending = what.parse().ok()?;
                    Err(BusError::Quota { tenant: tenant.clone(), pending, quota: event.quota })
                }
                _ => return None,
            })
        })
        .collect();
    tally.tell();
    if refused > 0 {
        counter!("nexus_bus_appended_total", "outcome" => "quota").increment(refused);
    }
    outcomes
}

/// Appends one by one.
pub(super) struct AppendStep;

impl Step for AppendStep {
    type Ask = Prepared;
    type Answer = Appended;
    const DOING: &'static str = APPEND;
    const MOST: usize = MOST_APPENDED;

    fn script() -> &'static Script {
        &scripts::APPEND
    }

    fn registers() -> bool {
        true
    }

    fn begin(_core: &Core) -> Vec<Value> {
        Origin::NOBODY.begin()
    }

    fn encode(_core: &Core, ask: &Prepared, args: &mut Vec<Value>) {
        encode_append(ask, ask.quota, 0, args);
    }

    fn weight(ask: &Prepared) -> usize {
        ask.weight()
    }

    fn payload(ask: &Prepared) -> Option<Payload> {
        Some(Payload::of(ask))
    }

    fn decode(
        _core: &Arc<Core>,
        tenant: &TenantKey,
        asks: &[&Prepared],
        answer: Value,
    ) -> Option<Vec<Result<Appended, BusError>>> {
        decode_appended(tenant, asks.iter().copied(), &parts(answer)?)
    }
}

/// An offer that a route takes along.
pub(super) type Offered = Claimed<Handed>;

/// Routes of one partition.
pub(super) struct Routing {
    pub(super) partition: u16,
    pub(super) epoch: u64,
    pub(super) routes: Vec<Route>,
    /// Who takes what comes, one of an inbox.
    pub(super) offers: Vec<Offered>,
}

pub(super) struct RouteStep;

impl Step for RouteStep {
    type Ask = Routing;
    type Answer = ();
    const DOING: &'static str = "route events";
    const MOST: usize = 32;

    fn script() -> &'static Script {
        &scripts::ROUTE
    }

    fn begin(core: &Core) -> Vec<Value> {
        let [px, until] = lasts(core.clock.now().as_microsecond(), CLAIMS_LAST);
        vec![number(MOST_PASSED_OVER as u64), px, until]
    }

    fn encode(core: &Core, ask: &Routing, args: &mut Vec<Value>) {
        args.extend([number(ask.partition.into()), number(ask.epoch)]);
        args.extend([number(ask.routes.len() as u64), number(ask.offers.len() as u64)]);
        for route in &ask.routes {
            let mut seen = BTreeSet::new();
            let inboxes: Vec<_> = route.inboxes.iter().filter(|inbox| seen.insert(**inbox)).collect();
            args.extend([number(route.seq), bytes(route.decision.clone()), number(inboxes.len() as u64)]);
            args.extend(inboxes.into_iter().map(|inbox| id(inbox.uuid())));
        }
        for offer in &ask.offers {
            Pull::of(offer).encode(core, args);
        }
    }

    fn weight(ask: &Routing) -> usize {
        let routes = ask.routes.iter().map(|route| route.decision.len() + 36 * route.inboxes.len());
        // Bytes are not what handing out costs, but so one call hands out to no more than it may.
        routes.sum::<usize>() + ask.offers.len() * (CALL_BYTES / MOST_TAKEN)
    }

    fn decode(
        core: &Arc<Core>,
        tenant: &TenantKey,
        asks: &[&Routing],
        answer: Value,
    ) -> Option<Vec<Result<(), BusError>>> {
        let [outcomes, routed, coalesced, answers] = exactly(answer)?;
        let (routed, coalesced) = (number_of(&routed)?, number_of(&coalesced)?);
        let outcomes = parts(outcomes)?.into_iter().zip(asks).map(|(newest, ask)| {
            if newest.as_bytes()?.is_empty() {
                return Some(Ok(()));
            }
            let held = number_of(&newest)?;
            let (partition, ours) = (ask.partition, ask.epoch);
            Some(Err(BusError::Fenced { tenant: tenant.clone(), partition, held, ours }))
        });
        let outcomes: Vec<_> = outcomes.collect::<Option<_>>()?;
        let (offers, answers) = (asks.iter().map(|ask| ask.offers.len()).sum::<usize>(), parts(answers)?);
        if (outcomes.len(), answers.len()) != (asks.len(), offers) {
            return None;
        }
        // Last: who was answered has what it was handed.
        let mut handed = 0;
        for (offer, answer) in asks.iter().flat_map(|ask| &ask.offers).zip(answers) {
            // Who was handed nothing because that failed gets back later what was noted of it, should anything have been.
            match Handed::decode(core, tenant, &Pull::of(offer), answer) {
                Some(answer) => {
                    handed += answer.copies.len() as u64;
                    offer.answer(answer);
                }
                None => core.unclaimed(tenant, offer.session(), offer.number),
            }
        }
        Tally { routed, coalesced, handed, ..Tally::default() }.tell();
        Some(outcomes)
    }

    fn lost(core: &Core, tenant: &TenantKey, ask: &Routing) {
        ask.offers.iter().for_each(|offer| core.unclaimed(tenant, offer.session(), offer.number));
    }
}

/// What to hand to whom.
pub(super) struct Pull {
    pub(super) inbox: InboxId,
    pub(super) session: SessionId,
    pub(super) max: usize,
    pub(super) max_bytes: usize,
    /// Its number in this process.
    pub(super) number: u64,
}

impl Pull {
    /// The pull that an offer has become.
    fn of(offer: &Offered) -> Self {
        let Most { events: max, bytes: max_bytes } = offer.most;
        Self { inbox: offer.inbox, session: offer.session(), max, max_bytes, number: offer.number }
    }

    fn encode(&self, core: &Core, args: &mut Vec<Value>) {
        args.extend([
            id(self.inbox.uuid()),
            id(self.session.uuid()),
            number(self.max.min(MOST_PULLED) as u64),
            number(u64::try_from(self.max_bytes).unwrap_or(u64::MAX)),
            text(core.process.as_str()),
            number(self.number),
        ]);
    }
}

/// A copy that was handed out, without its payload.
#[derive(Debug)]
struct Taken {
    id: EventId,
    attempt: u32,
    replay: bool,
    lengths: Lengths,
}

/// What was handed out. Dropped unread, it goes back.
#[derive(Debug)]
pub(crate) struct Handed {
    core: Arc<Core>,
    tenant: TenantKey,
    session: SessionId,
    number: u64,
    copies: Vec<Taken>,
    rest: Rest,
}

impl Handed {
    /// What a script answers to a pull.
    fn decode(core: &Arc<Core>, tenant: &TenantKey, pull: &Pull, answer: Value) -> Option<Self> {
        let [rest, copies] = exactly(answer)?;
        let rest = rest_of(&rest)?;
        let copies: Vec<_> = parts(copies)?.iter().map(taken).collect::<Option<_>>()?;
        let (session, number) = (pull.session, pull.number);
        Some(Self { core: Arc::clone(core), tenant: tenant.clone(), session, number, copies, rest })
    }

    /// Reads the events, which come from this inbox. From then on the caller has them; what is left there is said, too.
    pub(crate) async fn read(mut self, inbox: InboxId) -> Result<Pulled, BusError> {
        let events: Vec<_> = self.copies.iter().map(|taken| (taken.id, taken.lengths)).collect();
        let json = read::json(&self.core, &self.tenant, &events).await?;
        // From here on nothing can interrupt: what the caller gets is what the session holds.
        let copies = std::mem::take(&mut self.copies);
        let held = copies.into_iter().zip(json).map(|(Taken { id, attempt, replay, .. }, event)| Held {
            id,
            inbox,
            attempt,
            replay,
            event,
        });
        Ok(Pulled { items: held.collect(), rest: self.rest })
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        if !self.copies.is_empty() {
            self.core.unclaimed(&self.tenant, self.session, self.number);
        }
    }
}

pub(super) struct PullStep;

impl Step for PullStep {
    type Ask = Pull;
    type Answer = Handed;
    const DOING: &'static str = "hand events out";
    const MOST: usize = 32;

    fn script() -> &'static Script {
        &scripts::PULL
    }

    fn begin(_core: &Core) -> Vec<Value> {
        vec![number(MOST_PASSED_OVER as u64)]
    }

    fn encode(core: &Core, ask: &Pull, args: &mut Vec<Value>) {
        ask.encode(core, args);
    }

    fn decode(
        core: &Arc<Core>,
        tenant: &TenantKey,
        asks: &[&Pull],
        answer: Value,
    ) -> Option<Vec<Result<Handed, BusError>>> {
        let answers = parts(answer)?.into_iter().zip(asks);
        // One that cannot be read, of an event that a later version wrote, is that pull's error alone.
        let pulls: Vec<_> = answers
            .map(|(answer, ask)| {
                Handed::decode(core, tenant, ask, answer).ok_or_else(|| malformed(Self::DOING))
            })
            .collect();
        let handed = pulls.iter().flatten().map(|handed| handed.copies.len() as u64).sum();
        Tally { handed, ..Tally::default() }.tell();
        Some(pulls)
    }

    fn lost(core: &Core, tenant: &TenantKey, ask: &Pull) {
        core.unclaimed(tenant, ask.session, ask.number);
    }
}

/// What a pull leaves, as the script tells it.
fn rest_of(value: &Value) -> Option<Rest> {
    match number_of(value)? {
        0 => Some(Rest::Nothing),
        1 => Some(Rest::More),
        2 => Some(Rest::Others),
        _ => None,
    }
}

/// `id:attempt:replay:head:json`.
fn taken(copy: &Value) -> Option<Taken> {
    let mut fields = str_of(copy)?.splitn(4, ':');
    Some(Taken {
        id: EventId::from(uuid::Uuid::try_parse(fields.next()?).ok()?),
        attempt: fields.next()?.parse().ok()?,
        replay: fields.next()? != "0",
        lengths: fields.next()?.parse().ok()?,
    })
}

/// What a session is done with.
pub(super) struct Acks {
    pub(super) session: SessionId,
    pub(super) ids: Vec<EventId>,
}

pub(super) struct AckStep;

impl Step for AckStep {
    type Ask = Acks;
    type Answer = usize;
    const DOING: &'static str = "acknowledge events";
    const MOST: usize = 256;

    fn script() -> &'static Script {
        &scripts::ACK
    }

    fn encode(_core: &Core, ask: &Acks, args: &mut Vec<Value>) {
        args.extend([id(ask.session.uuid()), number(ask.ids.len() as u64)]);
        args.extend(ask.ids.iter().map(|event| id(event.uuid())));
    }

    fn decode(
        _core: &Arc<Core>,
        _tenant: &TenantKey,
        _asks: &[&Acks],
        answer: Value,
    ) -> Option<Vec<Result<usize, BusError>>> {
        let counts: Option<Vec<usize>> = parts(answer)?.iter().map(count_of).collect();
        let counts = counts?;
        Tally { acked: counts.iter().sum::<usize>() as u64, ..Tally::default() }.tell();
        Some(counts.into_iter().map(Ok).collect())
    }
}

/// The most attempts, as scripts are told.
pub(super) fn most_attempts() -> Value {
    number(MAX_ATTEMPTS.into())
}
