//! Lists and single records.

use std::time::Duration;

use bytes::Bytes;
use fred::interfaces::{HashesInterface as _, SortedSetsInterface as _};
use fred::prelude::Value;
use jiff::Timestamp;
use metrics::counter;
use nexus_core::id::{EventId, InboxId, TenantKey};

use super::core::{Core, prefix};
use super::payload::{self, Lengths};
use super::scripts;
use super::values::{
    count_of, decode_copy, event_of, exactly, id, malformed, number, number_of, parked_at, parts, str_of,
    text, uuid_of,
};
use crate::bus::{
    BusError, DeadLetter, EventPage, Filter, InboxDepth, MAX_UNROUTED_BYTES, Page, Part, Record, Seq,
    Summary, Unrouted, cannot,
};
use crate::embedded::{Head, decode_raw};

/// How many places one call of a list looks at, and one of its scripts.
const PLACES_PER_CALL: u64 = 2000;
const PLACES_AT_ONCE: u64 = 250;

/// How far the clock may have gone back without hiding anything from a list that ends at a time.
const CLOCK_STEP: Duration = Duration::from_secs(300);

/// Dead letters that one call lists at most.
const MOST_DEAD: usize = 1000;

/// The most events that one call of [`unrouted`] gives.
const MOST_UNROUTED: usize = 10_000;

/// The JSON of events, in their order; empty of one that has no payload.
pub(super) async fn json(
    core: &Core,
    tenant: &TenantKey,
    events: &[(EventId, Lengths)],
) -> Result<Vec<Bytes>, BusError> {
    let found = core.payloads.read(&core.connection.client, &prefix(tenant), events).await;
    let found = found.map_err(cannot("read events"))?;
    found.iter().filter(|json| json.is_empty()).for_each(|_| unreadable("payloads"));
    Ok(found)
}

/// What waits to be routed. No script is run for it: who waits stands in the queue with all that is to be known.
pub(super) async fn unrouted(
    core: &Core,
    tenant: &TenantKey,
    partition: u16,
    mut after: Seq,
    limit: usize,
) -> Result<Part<Unrouted>, BusError> {
    let doing = "read what waits to be routed";
    let _call = core.calls.read().await;
    core.check_open()?;
    core.connection.check(doing)?;
    let (client, prefix) = (&core.connection.client, prefix(tenant));
    if after > 0 {
        // A reader of before all keys were lost begins anew.
        let last: Option<u64> = client.hget(&prefix, "last").await.map_err(cannot(doing))?;
        after = if after > last.unwrap_or_default() { 0 } else { after };
    }
    let limit = limit.min(MOST_UNROUTED);
    #[expect(clippy::cast_precision_loss, reason = "places stay below 2^53")]
    let from = after.saturating_add(1) as f64;
    let window = Some((0, i64::try_from(limit).unwrap_or(i64::MAX)));
    let queue = format!("{prefix}:q:{partition}");
    let waiting = client.zrangebyscore(queue, from, f64::INFINITY, true, window).await;
    let waiting: Vec<(String, f64)> = waiting.map_err(cannot(doing))?;
    let mut more = waiting.len() >= limit;
    let mut bytes = 0;
    let mut places = Vec::with_capacity(waiting.len());
    let mut events = Vec::with_capacity(waiting.len());
    for (member, seq) in waiting {
        let Some((id, lengths)) = queued(&member) else {
            unreadable("queue");
            continue;
        };
        bytes += lengths.json;
        if bytes > MAX_UNROUTED_BYTES && !events.is_empty() {
            more = true;
            break;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "places are whole numbers"
        )]
        places.push(seq as u64);
        events.push((id, lengths));
    }
    let json = json(core, tenant, &events).await?;
    let found = places.into_iter().zip(events).zip(json);
    let items = found.map(|((seq, (id, _)), event)| Unrouted { seq, id, event }).collect();
    Ok(Part { items, more })
}

/// An event as it stands in a queue: `id:lengths@thread:changes`, with a `:` in the lengths. One that was queued by an earlier
/// version tells no thread.
fn queued(member: &str) -> Option<(EventId, Lengths)> {
    let (id, rest) = member.split_once(':')?;
    let (lengths, _) = rest.match_indices(':').nth(1).and_then(|(end, _)| rest.split_at_checked(end))?;
    let lengths = lengths.split_once('@').map_or(lengths, |(lengths, _)| lengths);
    Some((EventId::from(uuid::Uuid::try_parse(id).ok()?), lengths.parse().ok()?))
}

fn unreadable(records: &'static str) {
    counter!("nexus_bus_unreadable_total", "records" => records).increment(1);
}

async fn look(
    core: &Core,
    tenant: &TenantKey,
    doing: &'static str,
    args: Vec<Value>,
) -> Result<Value, BusError> {
    core.run(tenant, doing, &scripts::LOOK, args).await
}

pub(super) fn summary(seq: Seq, head: Head, routed: bool) -> Summary {
    Summary {
        seq,
        id: head.id,
        kind: head.kind,
        source: head.source,
        title: head.title,
        received: head.received,
        routed,
        bytes: head.bytes,
    }
}

fn wants(filter: &Filter, head: &Head) -> bool {
    (filter.kinds.is_empty() || filter.kinds.contains(&head.kind))
        && filter.source.as_ref().is_none_or(|source| *source == head.source)
        && filter.since.is_none_or(|since| head.received >= since)
        && filter.until.is_none_or(|until| head.received < until)
}

pub(super) async fn events(core: &Core, tenant: &TenantKey, page: &Page) -> Result<EventPage, BusError> {
    let doing = "list events";
    core.check_open()?;
    let mut found = EventPage::default();
    let mut before = page.before.unwrap_or(1 << 53);
    if page.limit == 0 {
        found.next = Some(before);
        return Ok(found);
    }
    let ends = page.filter.since.map(|since| since.saturating_sub(CLOCK_STEP).unwrap_or(Timestamp::MIN));
    let plain = page.filter.kinds.is_empty() && page.filter.source.is_none() && page.filter.until.is_none();
    let mut examined = 0;
    while examined < PLACES_PER_CALL {
        let missing = page.limit.saturating_sub(found.events.len()) as u64;
        let places = if plain { missing.clamp(1, PLACES_AT_ONCE) } else { PLACES_AT_ONCE };
        let answer = look(core, tenant, doing, vec![text("events"), number(before), number(places)]).await?;
        let (looked, more, heads) = places_of(answer).ok_or_else(|| malformed(doing))?;
        examined += looked.max(1);
        let mut heads = heads.into_iter();
        while let Some(place) = heads.next() {
            let (seq, head, routed) = head_of(place).ok_or_else(|| malformed(doing))?;
            let Some(head) = head else {
                found.unreadable.push(seq);
                continue;
            };
            if ends.is_some_and(|ends| head.received < ends) {
                return Ok(found);
            }
            if wants(&page.filter, &head) {
                found.events.push(summary(seq, head, routed));
            }
            if found.events.len() >= page.limit {
                found.next = (more.is_some() || heads.len() > 0).then_some(seq);
                return Ok(found);
            }
        }
        let Some(lowest) = more else {
            return Ok(found);
        };
        before = lowest;
    }
    found.next = Some(before);
    Ok(found)
}

/// How many places were looked at, the place to go on before if there are more, and what stands there.
fn places_of(answer: Value) -> Option<(u64, Option<Seq>, Vec<Value>)> {
    let [looked, lowest, heads] = exactly(answer)?;
    let lowest = number_of(&lowest)?;
    Some((number_of(&looked)?, (lowest > 0).then_some(lowest), parts(heads)?))
}

/// A place, what is kept of its event unless this version cannot read it, and whether it was routed.
fn head_of(place: Value) -> Option<(Seq, Option<Head>, bool)> {
    let [seq, head, routed] = exactly(place)?;
    let head = Head::decode(head.as_bytes()?).inspect_err(|_| unreadable("heads"));
    Some((number_of(&seq)?, head.ok(), number_of(&routed)? != 0))
}

pub(super) async fn event(
    core: &Core,
    tenant: &TenantKey,
    event: EventId,
) -> Result<Option<Record>, BusError> {
    let doing = "read an event";
    let answer = look(core, tenant, doing, vec![text("event"), id(event.uuid())]).await?;
    if parts(answer.clone()).is_none_or(|parts| parts.is_empty()) {
        return Ok(None);
    }
    record(answer).map(Some).ok_or_else(|| malformed(doing))
}

fn record(answer: Value) -> Option<Record> {
    let [seq, lengths, payload, decision, copies] = exactly(answer)?;
    let [head, event, raw] = payload::split(&payload.into_bytes()?, str_of(&lengths)?.parse().ok()?)?;
    let head = Head::decode(&head).ok()?;
    let decision = decision.as_bytes().map(Bytes::copy_from_slice);
    let copy = |copy: Value| {
        let [inbox, state] = exactly(copy)?;
        Some((InboxId::from(uuid_of(&inbox)?), decode_copy(str_of(&state)?)?))
    };
    let mut copies: Vec<_> = parts(copies)?.into_iter().map(copy).collect::<Option<_>>()?;
    copies.sort_unstable_by_key(|(inbox, _)| *inbox);
    let summary = summary(number_of(&seq)?, head, decision.is_some());
    Some(Record { summary, event, raw: decode_raw(&raw).ok()?, decision, copies })
}

pub(super) async fn dead(
    core: &Core,
    tenant: &TenantKey,
    inbox: InboxId,
    after: Option<Seq>,
    limit: usize,
) -> Result<Vec<DeadLetter>, BusError> {
    let doing = "read the dead letters";
    let limit = limit.min(MOST_DEAD) as u64;
    let args = vec![text("dead"), id(inbox.uuid()), number(after.unwrap_or_default()), number(limit)];
    let answer = look(core, tenant, doing, args).await?;
    let letters = parts(answer).and_then(|letters| letters.into_iter().map(letter).collect());
    letters.ok_or_else(|| malformed(doing))
}

pub(super) async fn dead_inboxes(
    core: &Core,
    tenant: &TenantKey,
    after: Option<InboxId>,
    limit: usize,
) -> Result<Vec<InboxId>, BusError> {
    let doing = "list the inboxes with dead letters";
    let after = after.map_or_else(|| text(""), |after| id(after.uuid()));
    let args = vec![text("dead_inboxes"), after, number(limit.min(MOST_DEAD) as u64)];
    let answer = look(core, tenant, doing, args).await?;
    let inbox = |value: &Value| uuid_of(value).map(|uuid| InboxId::from_bytes(uuid.into_bytes()));
    parts(answer).and_then(|inboxes| inboxes.iter().map(inbox).collect()).ok_or_else(|| malformed(doing))
}

fn letter(value: Value) -> Option<DeadLetter> {
    let [seq, id, bytes, state] = exactly(value)?;
    let state = str_of(&state)?;
    let crate::bus::Copy::Dead { attempts, reason } = decode_copy(state)? else {
        return None;
    };
    Some(DeadLetter {
        seq: number_of(&seq)?,
        id: event_of(&id)?,
        attempts,
        reason,
        parked: parked_at(state)?,
        bytes: number_of(&bytes)?,
    })
}

pub(super) async fn inbox_depth(
    core: &Core,
    tenant: &TenantKey,
    inbox: InboxId,
) -> Result<InboxDepth, BusError> {
    let doing = "count what an inbox has";
    let answer = look(core, tenant, doing, vec![text("inbox"), id(inbox.uuid())]).await?;
    let depth = || {
        let [waiting, held, dead, head] = exactly(answer)?;
        let head = head.as_bytes().filter(|head| !head.is_empty()).and_then(|head| Head::decode(head).ok());
        Some(InboxDepth {
            waiting: count_of(&waiting)? as u64,
            held: number_of(&held)?,
            dead: number_of(&dead)?,
            oldest: head.map(|head| head.received),
        })
    };
    depth().ok_or_else(|| malformed(doing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_a_queue_is_read_with_and_without_a_thread() {
        let id = "0190163d8694739baea5966c26f8ad91";
        let read = |rest: &str| queued(&format!("{id}:{rest}")).map(|(_, lengths)| lengths.to_string());
        for (rest, lengths) in [
            ("12:345@abc:1k3:a@b", "12:345"),
            ("12:34/345@abc:1", "12:34/345"),
            ("12:345:1k3:a@b", "12:345"),
            ("12:34/345:1", "12:34/345"),
        ] {
            assert_eq!(read(rest).as_deref(), Some(lengths), "{rest}");
        }
        assert_eq!(read("12:34-345@abc:1"), None);
    }
}
