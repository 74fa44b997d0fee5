//! The drainer: what waits goes into the bus, one step of each tenant in flight.
//!
//! The bus remembers how far it has each tenant's events of this spool. A step says what the spool knows of that, and a
//! bus that has less does nothing: it has lost something, and gets what it lost first. A tenant that is refused or
//! whose keys are broken holds up nobody else.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use metrics::counter;
use nexus_core::id::TenantKey;
use tokio::time::MissedTickBehavior;

use super::segment::{self, Found};
use super::shelf::{Entry, Step};
use super::{Shared, Spool, Taken, record, recover, writer};
use crate::bus::{Appended, BusError, cannot};
use crate::lock;
use crate::redis::{AppendedAll, MOST_APPENDED, Origin, Prepared, RedisBus};

/// Tenants whose events are on their way at the same time.
const AT_ONCE: usize = 64;

/// The first pause after a step that failed, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// How long a tenant that the quota holds up waits before it is tried again.
const REFUSED: Duration = Duration::from_secs(1);

/// No place is as high, so that a bus that is asked whether it knows this one tells how far it is.
const ASK: u64 = 1 << 53;

/// What came of a step.
struct Outcome {
    tenant: TenantKey,
    /// The places that were sent.
    places: Vec<u64>,
    ids: Vec<nexus_core::id::EventId>,
    answer: Result<AppendedAll, BusError>,
    asked: bool,
    /// An event behind those that were sent which is damaged.
    damaged: Option<(u64, BusError)>,
}

/// How often old segments are looked at.
const LOOK: Duration = Duration::from_secs(1);

impl Spool {
    /// Moves what waits into the bus. Runs until `end` resolves, and then until nothing waits any more.
    pub async fn drain(&self, bus: Arc<RedisBus>, end: impl Future<Output = ()>) {
        let shared = &self.0.shared;
        let id = shared.id.simple().to_string();
        let mut identity = bus.identity();
        let mut steps = FuturesUnordered::new();
        let mut pauses: HashMap<TenantKey, Duration> = HashMap::new();
        let (mut ending, mut lost) = (false, false);
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::pin!(end);
        loop {
            while !lost && steps.len() < AT_ONCE {
                let step = lock(&shared.shelf).step(Instant::now(), MOST_APPENDED);
                let Some(step) = step else { break };
                steps.push(send(shared, &bus, &id, step));
            }
            if lost && steps.is_empty() {
                lost = !self.rewind().await;
                continue;
            }
            if ending && steps.is_empty() && lock(&shared.shelf).waiting == 0 {
                return;
            }
            let due = lock(&shared.shelf).due().filter(|_| !lost && steps.len() < AT_ONCE);
            tokio::select! {
                Some(outcome) = steps.next() => lost |= settle(shared, &mut pauses, outcome),
                () = shared.work.notified() => {}
                // Another server, or one that was restarted or emptied: every tenant is looked at.
                Ok(()) = identity.changed() => lost = true,
                _ = looks.tick(), if !lost => lost |= self.forget(&bus, &id).await,
                () = until(due), if due.is_some() => {}
                () = &mut end, if !ending => ending = true,
            }
        }
    }

    /// Removes the oldest segment that the bus took long enough ago, if the bus has all of it still: what it lost while it
    /// could not be asked is here. True if it has lost something.
    async fn forget(&self, bus: &RedisBus, spool: &str) -> bool {
        let shared = &self.0.shared;
        let old = lock(&shared.shelf).kept_long_enough(shared.settings.keep, Instant::now());
        let Some((number, sent)) = old else { return false };
        let asked = sent.into_iter().map(|(tenant, place)| async move {
            let origin = Origin { spool, known: ASK, quota: None };
            match bus.append_all(&tenant, origin, &[]).await {
                Ok(AppendedAll::Lost { upto }) => Ok(upto >= place),
                Ok(AppendedAll::Done(_)) => Ok(true),
                Err(error) => Err(error),
            }
        });
        let mut asked = futures_util::stream::iter(asked).buffer_unordered(AT_ONCE);
        while let Some(has) = asked.next().await {
            match has {
                Ok(true) => {}
                Ok(false) => {
                    tell_of_loss();
                    return true;
                }
                // It stays until the bus can be asked.
                Err(_) => return false,
            }
        }
        let shared = Arc::clone(shared);
        let removed = tokio::task::spawn_blocking(move || writer::remove(&shared, number)).await;
        if let Ok(Err(error)) = removed {
            tracing::warn!(error = &error as &dyn std::error::Error, "a segment of the spool stays");
        }
        false
    }

    /// Everything that is still here waits once more. False if it cannot be read now.
    async fn rewind(&self) -> bool {
        let shared = Arc::clone(&self.0.shared);
        let files: Vec<_> = {
            let shelf = lock(&shared.shelf);
            let files = shelf.segments.iter();
            files.map(|(number, segment)| (*number, Arc::clone(&segment.file), segment.bytes)).collect()
        };
        let read = tokio::task::spawn_blocking(move || {
            let mut all: Vec<Found> = Vec::new();
            for (number, file, bytes) in files {
                all.extend(segment::heads(&file, number, bytes)?);
            }
            Ok::<_, std::io::Error>(all)
        });
        let found = match read.await {
            Ok(Ok(found)) => Some(found),
            Ok(Err(error)) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the spool cannot be read");
                None
            }
            // By panic only, which was logged, or with the runtime.
            Err(_) => None,
        };
        let Some(found) = found else {
            tokio::time::sleep(PAUSE.1).await;
            return false;
        };
        lock(&shared.shelf).rewind(found, Instant::now());
        true
    }
}

async fn until(due: Option<Instant>) {
    if let Some(due) = due {
        tokio::time::sleep_until(due.into()).await;
    }
}

fn tell_of_loss() {
    tracing::warn!("the bus has less than it had; what is still here of that is sent again");
    counter!("nexus_spool_losses_total").increment(1);
}

async fn send(shared: &Shared, bus: &RedisBus, spool: &str, step: Step) -> Outcome {
    let Step { tenant, known, quota, entries } = step;
    let (events, damaged) = match read(&shared.settings.folder, entries).await {
        Ok(read) => read,
        Err(error) => {
            let (places, ids, answer, asked) = (Vec::new(), Vec::new(), Err(error), known.is_none());
            return Outcome { tenant, places, ids, answer, asked, damaged: None };
        }
    };
    let places = events.iter().map(|(place, _)| *place).collect();
    let ids = events.iter().map(|(_, event)| event.id).collect();
    let origin = Origin { spool, known: known.unwrap_or(ASK), quota };
    let answer = match (events.is_empty(), known) {
        (true, Some(_)) => Ok(AppendedAll::Done(Vec::new())),
        _ => bus.append_all(&tenant, origin, &events).await,
    };
    Outcome { tenant, places, ids, answer, asked: known.is_none(), damaged }
}

/// An event that is sent, with its place.
type Placed = (u64, Arc<Prepared>);

/// The events of a step, up to the first that is damaged, of which the segment is set aside. A disk that cannot be read
/// now is asked again.
async fn read(
    folder: &Path,
    entries: Vec<(Entry, Arc<std::fs::File>)>,
) -> Result<(Vec<Placed>, Option<(u64, BusError)>), BusError> {
    if entries.iter().all(|(entry, _)| entry.event.is_some()) {
        let all = entries.into_iter().filter_map(|(entry, _)| Some((entry.place, entry.event?)));
        return Ok((all.collect(), None));
    }
    let folder = folder.to_owned();
    let read = tokio::task::spawn_blocking(move || {
        let mut events = Vec::with_capacity(entries.len());
        for (Entry { place, at, event, .. }, file) in entries {
            match event.map_or_else(|| read_one(&file, at, place), Ok) {
                Ok(event) => events.push((place, event)),
                Err(error) if error.kind() == ErrorKind::InvalidData => {
                    recover::set_aside(&folder, at.segment);
                    return Ok((events, Some((place, cannot("read the spool")(error)))));
                }
                Err(error) => return Err(cannot("read the spool")(error)),
            }
        }
        Ok((events, None))
    });
    read.await.map_err(cannot("read the spool"))?
}

fn read_one(file: &std::fs::File, at: segment::At, place: u64) -> std::io::Result<Arc<Prepared>> {
    let payload = segment::read(file, at, place)?;
    let other = || std::io::Error::new(ErrorKind::InvalidData, "it has another form");
    let (_, event) = record::decode(payload).ok_or_else(other)?;
    Ok(Arc::new(event))
}

/// Takes an outcome in. True if the bus has lost something.
fn settle(shared: &Shared, pauses: &mut HashMap<TenantKey, Duration>, outcome: Outcome) -> bool {
    let Outcome { tenant, places, ids, answer, asked, damaged } = outcome;
    let now = Instant::now();
    let mut shelf = lock(&shared.shelf);
    let (mut pause, mut stopped, mut lost) = (None, false, false);
    match answer {
        Ok(AppendedAll::Done(answers)) => {
            pauses.remove(&tenant);
            let mut answered = 0;
            for ((place, id), answer) in places.into_iter().zip(ids).zip(answers) {
                let taken = match answer {
                    // Its own delivery key: a step of which the answer was lost has brought it there.
                    Ok(Appended::Duplicate(first)) if first != id => Taken::Duplicate(first),
                    Ok(_) => Taken::New,
                    Err(error) => {
                        stopped = true;
                        let pending = if let BusError::Quota { pending, .. } = error { pending } else { 0 };
                        if shelf.refused(&tenant, place, pending, &error) {
                            pause = Some(REFUSED);
                        }
                        break;
                    }
                };
                answered += u64::from(shelf.done(&tenant, place, taken, now));
            }
            counter!("nexus_spool_answers_total", "by" => "bus").increment(answered);
            if let Some((place, error)) = damaged.filter(|_| !stopped) {
                tracing::error!(error = &error as &dyn std::error::Error, %tenant, "an event of the spool is damaged");
                counter!("nexus_spool_damaged_total").increment(1);
                shelf.damaged(&tenant, place, error);
            }
        }
        Ok(AppendedAll::Lost { upto }) if asked => {
            pauses.remove(&tenant);
            shelf.knows(&tenant, upto, now);
        }
        Ok(AppendedAll::Lost { .. }) => {
            tell_of_loss();
            lost = true;
        }
        Err(error) => {
            counter!("nexus_spool_drain_failures_total", "error" => error.label()).increment(1);
            let next = pauses.entry(tenant.clone()).or_insert(PAUSE.0);
            pause = Some(next.mul_f64(rand::random_range(0.5..=1.0)));
            *next = (*next * 2).min(PAUSE.1);
        }
    }
    shelf.ended(tenant, pause, now);
    lost
}
