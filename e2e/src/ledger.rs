//! The books: what was posted, answered, received and acknowledged. They are kept by delivery, and not by the ids that
//! the system gives: an id that comes to stand for two deliveries would hide the loss of one.

mod balance;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

pub use self::balance::Balance;
use crate::webhook::{Delivery, TENANTS, Thread};

/// The agents of each tenant; each hears of everything.
pub const AGENTS: [&str; 2] = ["swift", SLOW];

/// The agent that acknowledges some of its events late, and some the second time only.
pub const SLOW: &str = "slow";

/// The fault of an event that came after a later one of its thread.
pub const OUT_OF_ORDER: &str = "out of order in its thread";

/// An agent: the place of its tenant and its own in [`AGENTS`].
pub type Agent = (usize, usize);

/// The books. All is under one lock: the rates are small.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Books>);

/// What was answered 200, with the event id of each answer.
pub type Accepted = HashMap<Delivery, String>;

/// The fault of a delivery with two ids, and of two deliveries with one.
const TWO_IDS: &str = "one delivery under two ids";
const TWO_DELIVERIES: &str = "one id for two deliveries";

#[derive(Debug, Default)]
struct Books {
    accepted: Accepted,
    /// Given up without an answer.
    unanswered: HashSet<Delivery>,
    /// The one event id of a delivery, by whomever it was told first, and the one delivery of an id.
    ids: HashMap<Delivery, String>,
    deliveries: HashMap<String, Delivery>,
    /// Whether an answer may name another id than the event that comes: of a delivery that was sent again while it
    /// could not be known yet that it was one.
    behind_a_spool: bool,
    /// Sent again, because the first answer may only have been lost.
    sent_again: HashSet<Delivery>,
    /// How often each agent received what.
    received: HashMap<Agent, HashMap<Delivery, u32>>,
    acked: HashMap<Agent, HashSet<String>>,
    /// The place in its thread of the last event that was received for the first time.
    last: HashMap<(Agent, Thread), u32>,
    /// When a delivery was posted first.
    posted: HashMap<Delivery, Instant>,
    times: Times,
    /// How often anything was received over each door, and by each tenant's agents, repeats included.
    receipts_at: HashMap<usize, u64>,
    receipts_of: [u64; TENANTS.len()],
    /// When each agent that is expected to receive something received anything last, and the longest time in which one
    /// of them received nothing, if it has ended.
    heard: HashMap<Agent, Instant>,
    pause: Duration,
    resent: u64,
    repeats: u64,
    unmarked: u64,
    refused: u64,
    sessions: u64,
    /// Agents that have a session now, and how many each tenant's agents have opened.
    in_session: HashSet<Agent>,
    opened_of: [u64; TENANTS.len()],
    faults: BTreeMap<&'static str, u64>,
    first_fault: Option<String>,
}

/// What changes from moment to moment.
#[derive(Debug, Clone, Copy)]
pub struct Counts {
    /// Webhooks answered 200.
    pub accepted: usize,
    /// How often anything was received for the first time.
    pub received: usize,
    /// Sessions opened.
    pub sessions: u64,
    /// Webhooks answered 503.
    pub refused: u64,
}

/// How long things took since the times were taken last.
#[derive(Debug, Clone, Default)]
pub struct Times {
    /// From a post to its answer 200.
    pub answers: Vec<Duration>,
    /// From the first post until an agent has it that is not [`SLOW`].
    pub latencies: Vec<Duration>,
}

impl Times {
    /// What 99 of 100 answers did not exceed.
    pub fn answer_p99(&mut self) -> Duration {
        p99(&mut self.answers)
    }

    /// What 99 of 100 latencies did not exceed.
    pub fn latency_p99(&mut self) -> Duration {
        p99(&mut self.latencies)
    }
}

fn p99(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    let at = (times.len() * 99).div_ceil(100).saturating_sub(1);
    times.get(at).copied().unwrap_or_default()
}

impl Ledger {
    fn books<T>(&self, with: impl FnOnce(&mut Books) -> T) -> T {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Books of a system that has a spool before its bus.
    pub fn behind_a_spool() -> Self {
        Self(Mutex::new(Books { behind_a_spool: true, ..Books::default() }))
    }

    /// A delivery was answered 200 with this event id.
    pub fn accept(&self, delivery: Delivery, id: &str) {
        self.books(|books| {
            let excused = books.behind_a_spool && books.sent_again.contains(&delivery);
            books.is_delivery_of(id, delivery);
            if !excused {
                books.is_id_of(delivery, id);
            }
            books.accepted.insert(delivery, id.to_owned());
        });
    }

    /// A delivery was given up without an answer.
    pub fn give_up(&self, delivery: Delivery) {
        self.books(|books| books.unanswered.insert(delivery));
    }

    /// A delivery is posted.
    pub fn post(&self, delivery: Delivery) {
        self.books(|books| {
            books.posted.entry(delivery).or_insert_with(Instant::now);
        });
    }

    /// It was answered 200 after so long.
    pub fn answered(&self, after: Duration) {
        self.books(|books| books.times.answers.push(after));
    }

    /// It is sent again, because no answer came.
    pub fn resend(&self, delivery: Delivery) {
        self.books(|books| {
            books.resent += 1;
            books.sent_again.insert(delivery);
        });
    }

    /// How long things took since this was asked last.
    pub fn take_times(&self) -> Times {
        self.books(|books| std::mem::take(&mut books.times))
    }

    /// From now on an agent is expected to receive something all the time, or not.
    pub fn expect(&self, agent: Agent, expected: bool) {
        self.books(|books| {
            books.pause = books.longest_pause();
            if expected {
                books.heard.insert(agent, Instant::now());
            } else {
                books.heard.remove(&agent);
            }
        });
    }

    /// The longest time in which an agent that was expected to receive something received nothing, whether that time is
    /// over or not.
    pub fn longest_pause(&self) -> Duration {
        self.books(|books| books.longest_pause())
    }

    /// How often anything was received over a door so far, repeats included.
    pub fn receipts_at(&self, door: usize) -> u64 {
        self.books(|books| books.receipts_at.get(&door).copied().unwrap_or_default())
    }

    /// How often a tenant's agents received anything so far, repeats included.
    pub fn receipts_of(&self, tenant: usize) -> u64 {
        self.books(|books| books.receipts_of[tenant])
    }

    /// What an agent has received, but not acknowledged.
    pub fn unacknowledged(&self, agent: Agent) -> HashSet<Delivery> {
        self.books(|books| {
            let received = books.received.get(&agent).into_iter().flat_map(HashMap::keys);
            received.filter(|delivery| !books.has_acked(agent, delivery)).copied().collect()
        })
    }

    /// How many of these an agent has not acknowledged.
    pub fn unacknowledged_of(&self, agent: Agent, of: &HashSet<Delivery>) -> usize {
        self.books(|books| of.iter().filter(|delivery| !books.has_acked(agent, delivery)).count())
    }

    /// A delivery was answered 503.
    pub fn refuse(&self) {
        self.books(|books| books.refused += 1);
    }

    /// Something happened that must not.
    pub fn fault(&self, what: &'static str, detail: impl FnOnce() -> String) {
        self.books(|books| books.fault(what, detail));
    }

    /// An agent has opened a session.
    pub fn open(&self, agent: Agent) {
        self.books(|books| {
            books.sessions += 1;
            books.opened_of[agent.0] += 1;
            books.in_session.insert(agent);
        });
    }

    /// An agent's session has ended.
    pub fn close(&self, agent: Agent) {
        self.books(|books| books.in_session.remove(&agent));
    }

    /// How many of a tenant's agents have a session now, and how many sessions they have opened so far.
    pub fn sessions_of(&self, tenant: usize) -> (usize, u64) {
        self.books(|books| {
            let now = books.in_session.iter().filter(|agent| agent.0 == tenant).count();
            (now, books.opened_of[tenant])
        })
    }

    /// An agent received an event over a door.
    pub fn receive(&self, agent: Agent, door: usize, delivery: Delivery, id: &str, attempt: u64) {
        self.books(|books| {
            *books.receipts_at.entry(door).or_default() += 1;
            books.receipts_of[agent.0] += 1;
            books.receive(agent, delivery, id, attempt);
        });
    }

    /// An agent acknowledged an event.
    pub fn ack(&self, agent: Agent, id: &str) {
        self.books(|books| books.acked.entry(agent).or_default().insert(id.to_owned()));
    }

    /// What was accepted so far.
    pub fn accepted(&self) -> Accepted {
        self.books(|books| books.accepted.clone())
    }

    /// What changes from moment to moment.
    pub fn counts(&self) -> Counts {
        self.books(|books| Counts {
            accepted: books.accepted.len(),
            received: books.received.values().map(HashMap::len).sum(),
            sessions: books.sessions,
            refused: books.refused,
        })
    }

    /// Takes from the end of a list what is with all its agents, up to the first that is not. To be asked again and again,
    /// which costs little: who waits for a hundred thousand must not keep the agents from their books.
    pub fn strike(&self, left: &mut Vec<Delivery>) {
        self.books(|books| while left.pop_if(|delivery| books.is_everywhere(delivery)).is_some() {});
    }

    /// How many of these lack with one of their agents.
    pub fn missing(&self, of: &Accepted) -> usize {
        self.books(|books| of.keys().filter(|delivery| !books.is_everywhere(delivery)).count())
    }

    /// The sets, compared.
    pub fn balance(&self) -> Balance {
        self.books(|books| books.balance())
    }

    /// Some accepted events that are missing, for people.
    pub fn examples(&self) -> Vec<String> {
        self.books(|books| {
            let missing = books.accepted.iter().filter(|(delivery, _)| !books.is_everywhere(delivery));
            missing.take(5).map(|(delivery, id)| format!("{id} ({delivery})")).collect()
        })
    }
}

impl Books {
    fn fault(&mut self, what: &'static str, detail: impl FnOnce() -> String) {
        *self.faults.entry(what).or_default() += 1;
        self.first_fault.get_or_insert_with(detail);
    }

    fn is_id_of(&mut self, delivery: Delivery, id: &str) {
        let known = self.ids.entry(delivery).or_insert_with(|| id.to_owned()).clone();
        if known != id {
            self.fault(TWO_IDS, || format!("{delivery}: {known} and {id}"));
        }
    }

    fn is_delivery_of(&mut self, id: &str, delivery: Delivery) {
        let known = *self.deliveries.entry(id.to_owned()).or_insert(delivery);
        if known != delivery {
            self.fault(TWO_DELIVERIES, || format!("{id}: {known} and {delivery}"));
        }
    }

    fn receive(&mut self, agent: Agent, delivery: Delivery, id: &str, attempt: u64) {
        self.is_id_of(delivery, id);
        self.is_delivery_of(id, delivery);
        let now = Instant::now();
        if let Some(heard) = self.heard.get_mut(&agent) {
            self.pause = self.pause.max(now - *heard);
            *heard = now;
        }
        if delivery.thread.tenant != agent.0 {
            self.fault("an event of another tenant", || format!("{delivery} came to {agent:?}"));
        }
        let times = self.received.entry(agent).or_default().entry(delivery).or_default();
        *times += 1;
        if *times > 1 {
            self.repeats += 1;
            self.unmarked += u64::from(attempt <= 1);
            return;
        }
        if AGENTS[agent.1] != SLOW
            && let Some(posted) = self.posted.get(&delivery)
        {
            self.times.latencies.push(now - *posted);
        }
        let before = self.last.insert((agent, delivery.thread), delivery.place);
        if let Some(before) = before.filter(|before| *before >= delivery.place) {
            self.fault(OUT_OF_ORDER, || {
                format!("{agent:?} first received {delivery}, attempt {attempt}, after place {before}")
            });
        }
    }

    fn longest_pause(&self) -> Duration {
        let now = Instant::now();
        self.heard.values().map(|heard| now - *heard).fold(self.pause, Duration::max)
    }

    fn has_acked(&self, agent: Agent, delivery: &Delivery) -> bool {
        let acked = self.acked.get(&agent).zip(self.ids.get(delivery));
        acked.is_some_and(|(acked, id)| acked.contains(id))
    }

    fn is_everywhere(&self, delivery: &Delivery) -> bool {
        let has = |agent: usize| {
            let received = self.received.get(&(delivery.thread.tenant, agent));
            received.is_some_and(|received| received.contains_key(delivery))
        };
        (0..AGENTS.len()).all(has)
    }

    fn balance(&self) -> Balance {
        let count = |n: usize| n as u64;
        let by_any: HashSet<&Delivery> = self.received.values().flat_map(HashMap::keys).collect();
        let stray = by_any.into_iter().filter(|delivery| !self.accepted.contains_key(delivery));
        let (kept, unexplained): (Vec<&Delivery>, Vec<&Delivery>) =
            stray.partition(|delivery| self.unanswered.contains(delivery));
        let everywhere = count(self.accepted.keys().filter(|delivery| self.is_everywhere(delivery)).count());
        Balance {
            accepted: count(self.accepted.len()),
            received: everywhere,
            missing: count(self.accepted.len()) - everywhere,
            unanswered_but_kept: count(kept.len()),
            acked: self.acked.values().map(|acked| count(acked.len())).sum(),
            resent: self.resent,
            repeats: self.repeats,
            unmarked: self.unmarked,
            refused: self.refused,
            unexplained: count(unexplained.len()),
            faults: self.faults.clone(),
            first_fault: self.first_fault.clone(),
        }
    }
}

/// All agents.
pub fn agents() -> impl Iterator<Item = Agent> {
    (0..TENANTS.len()).flat_map(|tenant| (0..AGENTS.len()).map(move |agent| (tenant, agent)))
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;
    use crate::webhook::Provider;

    fn delivery(place: u32) -> Delivery {
        Delivery { thread: Thread { tenant: 0, provider: Provider::Slack, number: 1 }, place }
    }

    #[test]
    fn what_one_agent_lacks_is_missing() {
        let ledger = Ledger::default();
        ledger.accept(delivery(1), "a");
        ledger.receive((0, 0), 0, delivery(1), "a", 1);
        assert_eq!(ledger.balance().missing, 1);
        ledger.receive((0, 1), 0, delivery(1), "a", 1);
        assert!(ledger.balance().is_even());
    }

    fn faults(ledger: &Ledger) -> Vec<&'static str> {
        ledger.balance().faults.into_keys().collect()
    }

    fn everybody_receives(ledger: &Ledger, delivery: Delivery, id: &str) {
        (0..AGENTS.len()).for_each(|agent| ledger.receive((0, agent), 0, delivery, id, 1));
    }

    /// A wrong dedupe: the second is answered with the id of the first, and dropped.
    #[test]
    fn what_was_taken_for_another_is_missing() {
        for ledger in [Ledger::default(), Ledger::behind_a_spool()] {
            ledger.accept(delivery(1), "a");
            ledger.accept(delivery(2), "a");
            everybody_receives(&ledger, delivery(1), "a");
            let balance = ledger.balance();
            assert_eq!((balance.accepted, balance.received, balance.missing), (2, 1, 1));
            assert_eq!(faults(&ledger), [TWO_DELIVERIES]);
            assert_eq!(ledger.missing(&ledger.accepted()), 1);
        }
    }

    #[test]
    fn what_comes_under_the_id_of_another_is_a_fault() {
        let ledger = Ledger::behind_a_spool();
        ledger.receive((0, 0), 0, delivery(1), "a", 1);
        ledger.receive((0, 0), 0, delivery(2), "a", 1);
        assert_eq!(faults(&ledger), [TWO_DELIVERIES]);
    }

    #[test]
    fn behind_a_spool_the_answer_to_what_was_sent_again_may_name_another_id() {
        let ledger = Ledger::behind_a_spool();
        ledger.resend(delivery(1));
        ledger.receive((0, 0), 0, delivery(1), "a", 1);
        ledger.accept(delivery(1), "b");
        assert_eq!((ledger.balance().missing, ledger.balance().unexplained), (1, 0));
        ledger.receive((0, 1), 0, delivery(1), "a", 1);
        assert!(ledger.balance().is_even());
        ledger.receive((0, 1), 0, delivery(1), "b", 1);
        assert_eq!(faults(&ledger), [TWO_IDS]);
    }

    #[test]
    fn behind_a_spool_the_answer_to_what_was_sent_once_names_its_id() {
        let ledger = Ledger::behind_a_spool();
        ledger.receive((0, 0), 0, delivery(1), "a", 1);
        ledger.accept(delivery(1), "b");
        assert_eq!(faults(&ledger), [TWO_IDS]);
    }

    /// It came to one agent, and may not have to the other.
    #[test]
    fn what_was_kept_without_an_answer_does_not_count_as_received() {
        let ledger = Ledger::default();
        ledger.give_up(delivery(1));
        ledger.receive((0, 0), 0, delivery(1), "a", 1);
        let balance = ledger.balance();
        assert_eq!((balance.received, balance.unanswered_but_kept), (0, 1));
    }

    #[test]
    fn order_ids_and_strays_are_watched() {
        let ledger = Ledger::default();
        ledger.give_up(delivery(3));
        ledger.receive((0, 0), 0, delivery(3), "c", 1);
        ledger.receive((0, 0), 0, delivery(3), "c", 1);
        let balance = ledger.balance();
        assert!(balance.is_even());
        assert_eq!((balance.unanswered_but_kept, balance.repeats, balance.unmarked), (1, 1, 1));
        ledger.receive((0, 0), 0, delivery(2), "b", 1);
        assert_eq!(ledger.balance().unexplained, 1);
        ledger.accept(delivery(2), "other");
        assert_eq!(ledger.balance().unexplained, 0);
        assert_eq!(faults(&ledger), [TWO_IDS, OUT_OF_ORDER]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_counts_while_it_lasts_and_whatever_is_asked_meanwhile() {
        let ledger = Ledger::default();
        ledger.expect((0, 0), true);
        advance(Duration::from_secs(5)).await;
        assert_eq!(ledger.longest_pause(), Duration::from_secs(5));
        ledger.receive((0, 0), 0, delivery(1), "a", 1);
        ledger.take_times();
        assert_eq!(ledger.longest_pause(), Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_that_was_told_not_to_read_makes_no_pause() {
        let ledger = Ledger::default();
        ledger.expect((0, 0), true);
        advance(Duration::from_secs(2)).await;
        ledger.expect((0, 0), false);
        advance(Duration::from_secs(60)).await;
        // One that was on its way.
        ledger.receive((0, 0), 0, delivery(1), "a", 1);
        ledger.expect((0, 0), true);
        advance(Duration::from_secs(1)).await;
        assert_eq!(ledger.longest_pause(), Duration::from_secs(2));
    }

    #[test]
    fn what_is_everywhere_is_struck_off_up_to_the_first_that_is_not() {
        let ledger = Ledger::default();
        let mut left = vec![delivery(1), delivery(2), delivery(3)];
        everybody_receives(&ledger, delivery(3), "c");
        everybody_receives(&ledger, delivery(1), "a");
        ledger.strike(&mut left);
        assert_eq!(left, [delivery(1), delivery(2)]);
        everybody_receives(&ledger, delivery(2), "b");
        ledger.strike(&mut left);
        assert!(left.is_empty());
    }

    #[test]
    fn receipts_count_by_door_and_tenant_with_repeats() {
        let ledger = Ledger::default();
        ledger.receive((0, 0), 1, delivery(1), "a", 1);
        ledger.receive((0, 0), 1, delivery(1), "a", 2);
        assert_eq!((ledger.receipts_at(0), ledger.receipts_at(1)), (0, 2));
        assert_eq!((ledger.receipts_of(0), ledger.receipts_of(1)), (2, 0));
    }

    #[test]
    fn what_an_agent_holds_is_what_it_has_not_acknowledged() {
        let ledger = Ledger::default();
        ledger.receive((0, 0), 0, delivery(1), "a", 1);
        ledger.receive((0, 0), 0, delivery(2), "b", 1);
        ledger.ack((0, 0), "a");
        let held = ledger.unacknowledged((0, 0));
        assert_eq!(held, HashSet::from([delivery(2)]));
        assert_eq!(ledger.unacknowledged_of((0, 0), &held), 1);
        ledger.ack((0, 0), "b");
        assert_eq!(ledger.unacknowledged_of((0, 0), &held), 0);
    }
}
