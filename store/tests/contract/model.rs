//! Random lives of a bus against a model of it: nothing is lost, nothing that is done comes back, and of one
//! thread nothing overtakes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use nexus_core::id::EventId;
use nexus_store::bus::{Held, partition_of};
use proptest::prelude::*;

use super::rig::*;

const INBOXES: u8 = 2;
const SESSIONS: u8 = 3;
const THREADS: u8 = 3;

/// How long anything may take that was done already.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Clone)]
enum Step {
    Append { thread: u8 },
    Route { to: u8, offers: Vec<Offer> },
    Pull { inbox: u8, session: u8, max: usize },
    Ack { session: u8, pick: usize },
    Nack { session: u8, pick: usize, minutes: u64 },
    End { session: u8 },
    Wait { minutes: u64 },
    Sweep,
    Reopen,
    Crash,
}

/// What a session would take of what is routed to an inbox.
#[derive(Debug, Clone, Copy)]
struct Offer {
    inbox: u8,
    session: u8,
    max: usize,
}

fn step() -> impl Strategy<Value = Step> {
    let session = 0..SESSIONS;
    let offer = (0..INBOXES, session.clone(), 1..5usize);
    let offer = offer.prop_map(|(inbox, session, max)| Offer { inbox, session, max });
    let offers = proptest::collection::vec(offer, 0..4).prop_map(|mut offers| {
        // A session has one.
        let mut of = BTreeSet::new();
        offers.retain(|offer: &Offer| of.insert(offer.session));
        offers
    });
    let pull = (0..INBOXES, session.clone(), 1..5usize);
    prop_oneof![
        6 => (0..THREADS).prop_map(|thread| Step::Append { thread }),
        4 => (0..4u8, offers).prop_map(|(to, offers)| Step::Route { to, offers }),
        6 => pull.prop_map(|(inbox, session, max)| Step::Pull { inbox, session, max }),
        5 => (session.clone(), any::<usize>()).prop_map(|(session, pick)| Step::Ack { session, pick }),
        2 => (session.clone(), any::<usize>(), 0..90u64)
            .prop_map(|(session, pick, minutes)| Step::Nack { session, pick, minutes }),
        1 => session.prop_map(|session| Step::End { session }),
        1 => (1..90u64).prop_map(|minutes| Step::Wait { minutes }),
        1 => Just(Step::Sweep),
        1 => Just(Step::Reopen),
        1 => Just(Step::Crash),
    ]
}

/// One copy, as the model knows it.
#[derive(Debug, Clone, Copy)]
struct Copy {
    attempts: u32,
    session: Option<u8>,
    /// Minutes.
    not_before: u64,
}

#[derive(Default)]
struct Model {
    minutes: u64,
    /// The thread of each event.
    threads: Vec<u8>,
    unrouted: Vec<u32>,
    /// By inbox and number of the event; done copies are not in it.
    open: BTreeMap<(u8, u32), Copy>,
    dead: BTreeSet<(u8, u32)>,
}

fn name(n: u32) -> String {
    format!("{n:05}")
}

fn thread(n: u8) -> String {
    format!("thread {n}")
}

/// What was handed out, with the attempt.
fn shown(held: &[Held]) -> Vec<(EventId, u32)> {
    held.iter().map(|held| (held.id, held.attempt)).collect()
}

fn inboxes(to: u8) -> Vec<u8> {
    (0..INBOXES).filter(|n| to & (1 << n) != 0).collect()
}

impl Model {
    fn held_by(&self, session: u8) -> Vec<u32> {
        let held = self.open.iter().filter(|(_, copy)| copy.session == Some(session));
        let held: BTreeSet<_> = held.map(|((_, n), _)| *n).collect();
        held.into_iter().collect()
    }

    /// A copy that is not held: it waits, or is parked if it was out too often.
    fn give_back(&mut self, key: (u8, u32), not_before: u64) {
        let Some(copy) = self.open.get_mut(&key) else {
            return;
        };
        copy.session = None;
        copy.not_before = not_before;
        if copy.attempts >= 5 {
            self.open.remove(&key);
            self.dead.insert(key);
        }
    }

    fn keys(&self, session: u8, n: u32) -> Vec<(u8, u32)> {
        let held = self.open.iter();
        held.filter(|((_, other), copy)| *other == n && copy.session == Some(session))
            .map(|(key, _)| *key)
            .collect()
    }

    async fn restart(&mut self, rig: &Rig) {
        rig.end_dead((0..SESSIONS).map(session)).await;
        self.open.values_mut().for_each(|copy| copy.session = None);
    }

    async fn take(&mut self, rig: &mut Rig, step: Step) {
        match step {
            Step::Append { thread } => {
                let n = u32::try_from(self.threads.len()).unwrap();
                let mut event = rig.event(&name(n));
                event.thread_key = self::thread(thread);
                rig.store(event).await;
                self.unrouted.push(n);
                self.threads.push(thread);
            }
            Step::Route { to, offers } => self.route(rig, to, offers).await,
            Step::Pull { inbox, session, max } => self.pull(rig, inbox, session, max).await,
            Step::Ack { session, pick } => {
                let held = self.held_by(session);
                let n = if held.is_empty() { 99_999 } else { held[pick % held.len()] };
                let keys = self.keys(session, n);
                assert_eq!(rig.ack(super::rig::session(session), &[&name(n)]).await, keys.len());
                self.open.retain(|key, _| !keys.contains(key));
            }
            Step::Nack { session, pick, minutes } => {
                let held = self.held_by(session);
                let n = if held.is_empty() { 99_999 } else { held[pick % held.len()] };
                let keys = self.keys(session, n);
                let delay = Duration::from_secs(60 * minutes);
                assert_eq!(rig.nack(super::rig::session(session), &name(n), delay).await, !keys.is_empty());
                let until = self.minutes + minutes.min(60);
                keys.into_iter().for_each(|key| self.give_back(key, until));
            }
            Step::End { session } => {
                let keys: Vec<_> =
                    self.held_by(session).into_iter().flat_map(|n| self.keys(session, n)).collect();
                assert_eq!(rig.end(super::rig::session(session)).await, keys.len());
                keys.into_iter().for_each(|key| self.give_back(key, 0));
            }
            Step::Wait { minutes } => {
                rig.clock.advance(Duration::from_secs(60 * minutes));
                self.minutes += minutes;
            }
            Step::Sweep => {
                rig.sweep(Duration::from_secs(60)).await;
            }
            Step::Reopen => {
                rig.reopen().await;
                self.restart(rig).await;
            }
            Step::Crash => {
                rig.crash();
                self.restart(rig).await;
            }
        }
    }

    async fn route(&mut self, rig: &Rig, to: u8, offers: Vec<Offer>) {
        let waiting: Vec<_> = rig.unrouted().await.into_iter().map(|(_, _, id)| id).collect();
        let expected: Vec<_> = self.unrouted.iter().map(|n| id(&name(*n))).collect();
        assert_eq!(waiting, expected);
        let mut made: Vec<_> = offers
            .into_iter()
            .map(|offer| {
                let mut of = rig.bus.offer(&tenant(), session(offer.session));
                of.make([inbox(offer.inbox)], offer.max, usize::MAX);
                (offer, of)
            })
            .collect();
        let to = inboxes(to);
        rig.route(&to.iter().map(|n| inbox(*n)).collect::<Vec<_>>()).await;
        let mut partitions: BTreeMap<u16, Vec<u32>> = BTreeMap::new();
        for n in std::mem::take(&mut self.unrouted) {
            let partition = partition_of(&thread(self.threads[n as usize]));
            partitions.entry(partition).or_default().push(n);
        }
        // Each partition is a call of its own, and takes the first offer that is left of each inbox.
        for events in partitions.values() {
            for to in &to {
                let copy = Copy { attempts: 0, session: None, not_before: 0 };
                self.open.extend(events.iter().map(|n| ((*to, *n), copy)));
                let first = made.iter().position(|(offer, _)| offer.inbox == *to);
                let Some(first) = first.filter(|_| rig.takes_offers()) else { continue };
                let (Offer { inbox, session, max }, mut of) = made.remove(first);
                let taken = tokio::time::timeout(PATIENCE, of.taken()).await.expect("an offer that is taken");
                let got = taken.unwrap().read().await.unwrap();
                assert_eq!(shown(&got), self.expect(inbox, session, max));
            }
        }
        assert!(made.iter_mut().all(|(_, of)| of.withdraw()));
    }

    async fn pull(&mut self, rig: &Rig, inbox: u8, session: u8, max: usize) {
        let expected = self.expect(inbox, session, max);
        let held = rig.pull(super::rig::inbox(inbox), super::rig::session(session), max).await;
        assert_eq!(shown(&held), expected);
    }

    /// What a pull hands out now, with the attempt.
    fn expect(&mut self, inbox: u8, session: u8, max: usize) -> Vec<(EventId, u32)> {
        let mut expected = Vec::new();
        let of_others = self.open.range((inbox, 0)..=(inbox, u32::MAX));
        let of_others = of_others.filter(|(_, copy)| copy.session.is_some_and(|other| other != session));
        let of_others: BTreeSet<_> = of_others.map(|((_, n), _)| self.threads[*n as usize]).collect();
        let waiting: Vec<_> =
            self.open.range((inbox, 0)..=(inbox, u32::MAX)).map(|(key, copy)| (*key, *copy)).collect();
        for (key, copy) in waiting {
            if copy.session.is_some() || copy.not_before > self.minutes {
                continue;
            }
            // Whether one that was out too often is parked now or only when it is its turn is the bus's affair.
            if copy.attempts >= 5 {
                self.open.remove(&key);
                self.dead.insert(key);
            } else if expected.len() < max && !of_others.contains(&self.threads[key.1 as usize]) {
                expected.push((id(&name(key.1)), copy.attempts + 1));
                self.open
                    .insert(key, Copy { attempts: copy.attempts + 1, session: Some(session), not_before: 0 });
            }
        }
        expected
    }

    /// At the end everything that is not done or parked is still there, once and in order.
    async fn finish(mut self, rig: &mut Rig) {
        self.take(rig, Step::Crash).await;
        self.take(rig, Step::Wait { minutes: 60 }).await;
        self.take(rig, Step::Route { to: 3, offers: Vec::new() }).await;
        for inbox in 0..INBOXES {
            self.pull(rig, inbox, 0, 10_000).await;
            let dead = rig.bus.dead(&tenant(), super::rig::inbox(inbox), None, 10_000).await.unwrap();
            let dead: BTreeSet<_> = dead.into_iter().map(|letter| letter.id).collect();
            let of = self.dead.iter().filter(|(other, _)| *other == inbox);
            assert_eq!(dead, of.map(|(_, n)| id(&name(*n))).collect());
        }
        let names: Vec<_> = self.held_by(0).into_iter().map(name).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        assert_eq!(rig.ack(session(0), &names).await, self.open.len());
        let depth = rig.bus.depth(&tenant()).await.unwrap();
        assert_eq!((depth.pending_bytes, depth.dead), (depth.dead_bytes, self.dead.len() as u64));
        for (of, n) in self.dead {
            let dropped = rig.bus.drop_dead(&tenant(), inbox(of), vec![id(&name(n))]).await.unwrap();
            assert_eq!(dropped, 1);
        }
        let depth = rig.bus.depth(&tenant()).await.unwrap();
        assert_eq!((depth.pending_bytes, depth.dead, depth.dead_bytes), (0, 0, 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_bus_does_what_its_model_does(steps in proptest::collection::vec(step(), 1..120)) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        for backend in Backend::ALL {
            runtime.block_on(async {
                let mut rig = Rig::new(*backend);
                let mut model = Model::default();
                for step in steps.clone() {
                    model.take(&mut rig, step).await;
                }
                model.finish(&mut rig).await;
            });
        }
    }
}
