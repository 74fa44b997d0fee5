//! What a spool knows in memory: of each tenant what waits to go into the bus, of each segment what is left of it, and
//! who waits for an answer.
//!
//! It does no I/O and never waits, so that all may share it under one lock.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nexus_core::id::TenantKey;
use tokio::sync::oneshot;

use super::Taken;
use super::segment::{At, Found};
use crate::bus::{BusError, cannot};
use crate::redis::Prepared;

/// Events whose payload is kept in memory too, by bytes; of others the file is read.
const IN_MEMORY: usize = 32 << 20;

/// Bytes of payload that go into the bus in one step, unless one event is larger: Redis does nothing else meanwhile.
const STEP_BYTES: u64 = 4 << 20;

/// How many times what is free one tenant may have waiting. So one alone gets four fifths, and however many are held
/// up, there is room for another.
const SHARE: u64 = 4;

/// Where an answer goes.
pub(super) type Reply = oneshot::Sender<Result<Taken, BusError>>;

/// An event that waits to go into the bus.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) place: u64,
    pub(super) at: At,
    pub(super) since: Instant,
    /// None if it is to be read.
    pub(super) event: Option<Arc<Prepared>>,
}

/// What waits of one tenant, in order.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    queue: VecDeque<Entry>,
    bytes: u64,
    /// The highest place that the bus is known to have; none before it was asked.
    known: Option<u64>,
    /// The newest quota, which may be another than that under which an event was taken.
    quota: Option<u64>,
    /// What the quota's refusal said, while an event that was answered 200 waits for it.
    refused: Option<u64>,
    /// Whether its next step is in work, asked for or put off.
    busy: bool,
}

/// Who waits for an answer.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) since: Instant,
    /// Where the event is.
    pub(super) segment: u64,
    reply: Reply,
}

/// A file, and what is left of it.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) file: Arc<File>,
    /// Its length.
    pub(super) bytes: u64,
    /// Up to where it survives a loss of power.
    pub(super) synced: u64,
    /// Events in it that wait to go into the bus.
    pub(super) waiting: u64,
    /// Bytes of their records.
    pub(super) waiting_bytes: u64,
    /// When something last went from it into the bus.
    pub(super) touched: Instant,
    /// The highest place of each tenant that went from it into the bus.
    pub(super) sent: HashMap<TenantKey, u64>,
}

impl Segment {
    pub(super) fn new(file: Arc<File>, bytes: u64, synced: u64, now: Instant) -> Self {
        Self { file, bytes, synced, waiting: 0, waiting_bytes: 0, touched: now, sent: HashMap::new() }
    }
}

/// The next step of one tenant.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) tenant: TenantKey,
    /// None if the bus is only to be asked what it has.
    pub(super) known: Option<u64>,
    pub(super) quota: Option<u64>,
    pub(super) entries: Vec<(Entry, Arc<File>)>,
}

/// All that a spool knows.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    backlogs: HashMap<TenantKey, Backlog>,
    pub(super) segments: BTreeMap<u64, Segment>,
    /// Who waits for an answer, by place.
    pub(super) unanswered: BTreeMap<u64, Waiter>,
    /// Tenants whose next step may be taken.
    ready: VecDeque<TenantKey>,
    /// Tenants whose next step is put off.
    later: BTreeMap<(Instant, TenantKey), ()>,
    in_memory: usize,
    /// Events that wait, and bytes of their records.
    pub(super) waiting: u64,
    pub(super) waiting_bytes: u64,
    /// The last place.
    pub(super) place: u64,
    /// Whether the last attempt to write failed.
    pub(super) unwritable: bool,
    /// Whether the last attempt to sync failed.
    pub(super) unsynced: bool,
    /// Segments that could not be synced: they are neither written nor believed any more.
    pub(super) unsyncable: BTreeSet<u64>,
    /// Segments that could not be read when they were to be written anew.
    pub(super) unreadable: BTreeSet<u64>,
    /// The segment that is being written.
    pub(super) writing: Option<u64>,
    /// Whether the last event found no room.
    pub(super) full: bool,
    /// Nothing is taken any more.
    pub(super) closed: bool,
    /// Nothing is written any more.
    pub(super) ending: bool,
}

impl Shelf {
    /// Bytes of all segments.
    pub(super) fn disk_bytes(&self) -> u64 {
        self.segments.values().map(|segment| segment.bytes).sum()
    }

    /// Lets an event in, or says why not. `room` is what is neither written nor let in already.
    pub(super) fn admit(
        &mut self,
        tenant: &TenantKey,
        bytes: u64,
        quota: u64,
        room: u64,
    ) -> Result<(), BusError> {
        if self.closed {
            return Err(BusError::Closed);
        }
        let free = room.saturating_sub(self.waiting_bytes);
        let mut has = 0;
        if let Some(backlog) = self.backlogs.get_mut(tenant) {
            backlog.quota = Some(quota);
            if let Some(pending) = backlog.refused.filter(|pending| pending.saturating_add(bytes) > quota) {
                return Err(BusError::Quota { tenant: tenant.clone(), pending, quota });
            }
            has = backlog.bytes;
        }
        if bytes > free || has > free.saturating_mul(SHARE) {
            return Err(BusError::Full { tenant: tenant.clone(), waiting: has });
        }
        Ok(())
    }

    /// An event was written. True if the drainer has something new to do.
    pub(super) fn wrote(&mut self, tenant: TenantKey, entry: Entry, reply: Reply, quota: u64) -> bool {
        let waiter = Waiter { since: entry.since, segment: entry.at.segment, reply };
        self.unanswered.insert(entry.place, waiter);
        self.backlogs.entry(tenant.clone()).or_default().quota = Some(quota);
        self.push(tenant, entry);
        !self.ready.is_empty()
    }

    fn push(&mut self, tenant: TenantKey, mut entry: Entry) {
        let weight = entry.event.as_ref().map_or(0, |event| event.weight());
        if self.in_memory + weight > IN_MEMORY {
            entry.event = None;
        } else {
            self.in_memory += weight;
        }
        self.count(entry.at, true);
        let backlog = self.backlogs.entry(tenant.clone()).or_default();
        backlog.bytes += entry.at.bytes();
        backlog.queue.push_back(entry);
        if !std::mem::replace(&mut backlog.busy, true) {
            self.ready.push_back(tenant);
        }
    }

    fn count(&mut self, at: At, more: bool) {
        let segment = self.segments.get_mut(&at.segment);
        let sums = [&mut self.waiting, &mut self.waiting_bytes];
        let of_segment = segment.map(|segment| [&mut segment.waiting, &mut segment.waiting_bytes]);
        for (sum, by) in
            sums.into_iter().chain(of_segment.into_iter().flatten()).zip([1, at.bytes()].into_iter().cycle())
        {
            *sum = if more { *sum + by } else { sum.saturating_sub(by) };
        }
    }

    /// The next step of some tenant.
    pub(super) fn step(&mut self, now: Instant, most: usize) -> Option<Step> {
        while let Some(((due, _), ())) = self.later.first_key_value()
            && *due <= now
            && let Some(((_, tenant), ())) = self.later.pop_first()
        {
            self.ready.push_back(tenant);
        }
        let tenant = self.ready.pop_front()?;
        let backlog = self.backlogs.get(&tenant)?;
        let (mut entries, mut bytes) = (Vec::new(), 0);
        // Before it is known what the bus has, nothing is sent.
        let most = if backlog.known.is_some() { most } else { 0 };
        for entry in backlog.queue.iter().take(most) {
            bytes += entry.at.bytes();
            if bytes > STEP_BYTES && !entries.is_empty() {
                break;
            }
            let segment = self.segments.get(&entry.at.segment);
            let segment = segment.expect("a segment is there as long as one of its events waits");
            entries.push((entry.clone(), Arc::clone(&segment.file)));
        }
        Some(Step { known: backlog.known, quota: backlog.quota, entries, tenant })
    }

    /// When the next step that was put off is to be taken.
    pub(super) fn due(&self) -> Option<Instant> {
        self.later.first_key_value().map(|((due, _), ())| *due)
    }

    /// A tenant's step has ended: its next one may be taken, at once or then.
    pub(super) fn ended(&mut self, tenant: TenantKey, pause: Option<Duration>, now: Instant) {
        let Some(backlog) = self.backlogs.get_mut(&tenant) else { return };
        if backlog.queue.is_empty() && backlog.known.is_some() {
            backlog.busy = false;
            return;
        }
        match pause {
            None => self.ready.push_back(tenant),
            Some(pause) => drop(self.later.insert((now + pause, tenant), ())),
        }
    }

    /// Takes the first event of a tenant off its queue, if it is that one.
    fn pop(&mut self, tenant: &TenantKey, place: u64) -> Option<Entry> {
        let backlog = self.backlogs.get_mut(tenant)?;
        let entry = backlog.queue.pop_front_if(|entry| entry.place == place)?;
        backlog.bytes = backlog.bytes.saturating_sub(entry.at.bytes());
        self.gone(&entry);
        Some(entry)
    }

    fn gone(&mut self, entry: &Entry) {
        self.in_memory -= entry.event.as_ref().map_or(0, |event| event.weight());
        self.count(entry.at, false);
    }

    /// The bus has an event. True if its sender waited for that.
    pub(super) fn done(&mut self, tenant: &TenantKey, place: u64, taken: Taken, now: Instant) -> bool {
        if let Some(entry) = self.pop(tenant, place)
            && let Some(segment) = self.segments.get_mut(&entry.at.segment)
        {
            segment.touched = now;
            let sent = segment.sent.entry(tenant.clone()).or_default();
            *sent = place.max(*sent);
        }
        if let Some(backlog) = self.backlogs.get_mut(tenant) {
            backlog.known = Some(backlog.known.unwrap_or_default().max(place));
            backlog.refused = None;
        }
        self.answer(place, Ok(taken))
    }

    fn answer(&mut self, place: u64, answer: Result<Taken, BusError>) -> bool {
        // Who went away hears nothing.
        self.unanswered.remove(&place).is_some_and(|waiter| waiter.reply.send(answer).is_ok())
    }

    /// An event cannot be read any more.
    pub(super) fn damaged(&mut self, tenant: &TenantKey, place: u64, error: BusError) {
        self.pop(tenant, place);
        self.answer(place, Err(error));
    }

    /// The bus says how far it has the events of a tenant.
    pub(super) fn knows(&mut self, tenant: &TenantKey, upto: u64, now: Instant) {
        if let Some(backlog) = self.backlogs.get_mut(tenant) {
            backlog.known = Some(upto);
        }
        while let Some(place) = self.first(tenant).filter(|place| *place <= upto) {
            self.done(tenant, place, Taken::New, now);
        }
    }

    fn first(&self, tenant: &TenantKey) -> Option<u64> {
        Some(self.backlogs.get(tenant)?.queue.front()?.place)
    }

    /// The quota refuses the first event of a tenant. Events of it whose senders still wait are refused and forgotten. If
    /// the first one's sender was answered already it waits, and all that come after it are refused at the door; true
    /// then.
    pub(super) fn refused(&mut self, tenant: &TenantKey, place: u64, pending: u64, error: &BusError) -> bool {
        let Some(backlog) = self.backlogs.get_mut(tenant) else { return false };
        let Some(first) = backlog.queue.front().filter(|first| first.place == place) else { return false };
        let must_stay = !self.unanswered.contains_key(&first.place);
        backlog.refused = must_stay.then_some(pending);
        let (refused, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut backlog.queue)
            .into_iter()
            .partition(|entry| self.unanswered.contains_key(&entry.place));
        backlog.queue = kept.into();
        backlog.bytes -= refused.iter().map(|entry| entry.at.bytes()).sum::<u64>();
        for entry in refused {
            self.gone(&entry);
            self.answer(entry.place, Err(error.clone()));
        }
        must_stay
    }

    /// The oldest segment that has nothing to wait for and that was in the bus for so long, with what the bus has to have
    /// of it.
    pub(super) fn kept_long_enough(
        &self,
        keep: Duration,
        now: Instant,
    ) -> Option<(u64, HashMap<TenantKey, u64>)> {
        let mut segments = self.segments.iter().filter(|(number, _)| Some(**number) != self.writing);
        let (number, segment) = segments
            .find(|(_, segment)| segment.waiting == 0 && now.duration_since(segment.touched) >= keep)?;
        Some((*number, segment.sent.clone()))
    }

    /// Everything up to a place survives a loss of power, or cannot be made to: whoever waits is answered.
    pub(super) fn synced(&mut self, upto: u64, outcome: &Result<(), BusError>) -> usize {
        let later = self.unanswered.split_off(&(upto + 1));
        let now = std::mem::replace(&mut self.unanswered, later);
        let mut answered = 0;
        for Waiter { segment, reply, .. } in now.into_values() {
            let believed = !self.unsyncable.contains(&segment);
            let outcome = outcome.clone().and_then(|()| match believed {
                true => Ok(Taken::New),
                false => Err(cannot("sync the spool")("an earlier sync of this segment failed")),
            });
            answered += usize::from(outcome.is_ok());
            let _ = reply.send(outcome);
        }
        answered
    }

    /// The first segment with an event whose sender waits.
    pub(super) fn first_unanswered(&self) -> Option<u64> {
        self.unanswered.values().map(|waiter| waiter.segment).min()
    }

    /// What was found in segments waits once more, before what waits already; the bus is asked first how much of it it
    /// has.
    pub(super) fn rewind(&mut self, found: Vec<Found>, now: Instant) {
        let mut of: HashMap<TenantKey, Vec<Found>> = HashMap::new();
        for found in found {
            // Removed meanwhile: everything in it has been in the bus for long enough.
            if self.segments.contains_key(&found.at.segment) {
                of.entry(found.tenant.clone()).or_default().push(found);
            }
        }
        for backlog in self.backlogs.values_mut() {
            backlog.known = None;
        }
        let known: Vec<_> =
            self.backlogs.keys().filter(|tenant| !of.contains_key(*tenant)).cloned().collect();
        of.extend(known.into_iter().map(|tenant| (tenant, Vec::new())));
        for (tenant, mut found) in of {
            found.sort_by_key(|found| found.place);
            found.dedup_by_key(|found| found.place);
            let first = self.first(&tenant).unwrap_or(u64::MAX);
            found.retain(|found| found.place < first);
            for found in found.into_iter().rev() {
                self.count(found.at, true);
                let backlog = self.backlogs.entry(tenant.clone()).or_default();
                backlog.bytes += found.at.bytes();
                backlog.queue.push_front(Entry { place: found.place, at: found.at, since: now, event: None });
            }
            let Some(backlog) = self.backlogs.get_mut(&tenant) else { continue };
            if !std::mem::replace(&mut backlog.busy, true) {
                self.ready.push_back(tenant);
            }
        }
    }

    /// The events of a segment that wait.
    pub(super) fn left_in(&self, segment: u64) -> Vec<(u64, At)> {
        let entries = self.backlogs.values().flat_map(|backlog| &backlog.queue);
        entries.filter(|entry| entry.at.segment == segment).map(|entry| (entry.place, entry.at)).collect()
    }

    /// Events were written anew elsewhere.
    pub(super) fn moved(&mut self, to: &HashMap<u64, At>) {
        let mut counts = Vec::new();
        for entry in self.backlogs.values_mut().flat_map(|backlog| &mut backlog.queue) {
            if let Some(at) = to.get(&entry.place) {
                counts.push((std::mem::replace(&mut entry.at, *at), *at));
            }
        }
        for (place, at) in to {
            if let Some(waiter) = self.unanswered.get_mut(place) {
                waiter.segment = at.segment;
            }
        }
        for (from, to) in counts {
            self.count(from, false);
            self.count(to, true);
        }
    }

    /// Since when the oldest event waits.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.backlogs.values().filter_map(|backlog| backlog.queue.front()).map(|entry| entry.since).min()
    }
}
