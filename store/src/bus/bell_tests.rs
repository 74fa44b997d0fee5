//! Who is woken, and by whom.

use std::collections::BTreeMap;

use futures_util::FutureExt as _;
use proptest::prelude::*;

use super::*;

type Waiting<'w> = std::pin::Pin<Box<dyn Future<Output = Result<(), Ended>> + 'w>>;

/// All of them wait.
fn wait(watches: &[InboxWatch]) -> Vec<Waiting<'_>> {
    let waiting = watches.iter().map(|watch| Box::pin(watch.changed()) as Waiting<'_>);
    let mut waiting: Vec<_> = waiting.collect();
    assert_eq!(woken(&mut waiting), 0);
    waiting
}

/// How many of them were woken since.
fn woken(waiting: &mut Vec<Waiting<'_>>) -> usize {
    let before = waiting.len();
    waiting.retain_mut(|watch| watch.now_or_never().is_none());
    before - waiting.len()
}

fn listeners(bell: &Arc<Bell>, count: usize) -> Vec<InboxWatch> {
    (0..count).map(|_| bell.listen()).collect()
}

#[test]
fn a_ring_wakes_one_and_an_empty_inbox_answers_for_all() {
    let bell = Arc::default();
    let watches = listeners(&bell, 5);
    let mut waiting = wait(&watches);
    bell.ring();
    // Whoever was told meanwhile has no reason to look any more, and waits on.
    watches[0].look().found(Rest::Nothing);
    assert_eq!(woken(&mut waiting), 0);
    assert!(watches.iter().all(|watch| !watch.has_changed().unwrap()));
    drop(waiting);
    let mut waiting = wait(&watches);
    bell.ring();
    assert_eq!(woken(&mut waiting), 1);
    bell.ring();
    assert_eq!(woken(&mut waiting), 1);
}

#[test]
fn a_ring_during_a_look_is_not_covered_by_it() {
    let bell = Arc::default();
    let mut watch = Bell::listen(&bell);
    bell.ring();
    let look = watch.look();
    bell.ring();
    watch.looked(look, Rest::Nothing);
    assert!(watch.has_changed().unwrap());
    assert!(watch.changed().now_or_never().is_some());
}

#[test]
fn where_there_is_more_two_others_look_each_time() {
    let bell = Arc::default();
    let watches = listeners(&bell, 9);
    let mut waiting = wait(&watches);
    bell.ring();
    assert_eq!(woken(&mut waiting), 1);
    for _ in 0..3 {
        watches[0].look().found(Rest::More);
        assert_eq!(woken(&mut waiting), 2);
    }
}

#[test]
fn what_is_not_for_everybody_is_told_to_all_once() {
    let bell = Arc::default();
    let mut watches = listeners(&bell, 5);
    let mut waiting = wait(&watches);
    bell.ring();
    assert_eq!(woken(&mut waiting), 1);
    watches[0].look().found(Rest::Others);
    assert_eq!(woken(&mut waiting), 4);
    drop(waiting);
    // Each of them looks in vain; then there is peace until the next ring.
    for watch in &mut watches {
        let look = watch.look();
        watch.looked(look, Rest::Others);
    }
    let mut waiting = wait(&watches);
    watches[4].look().found(Rest::Others);
    assert_eq!(woken(&mut waiting), 0);
    bell.ring();
    assert_eq!(woken(&mut waiting), 1);
}

#[test]
fn a_look_that_is_given_up_is_taken_up_by_others() {
    let bell = Arc::default();
    let watches = listeners(&bell, 3);
    let mut waiting = wait(&watches);
    bell.ring();
    assert_eq!(woken(&mut waiting), 1);
    drop(watches[0].look());
    assert_eq!(woken(&mut waiting), 2);
}

#[test]
fn who_goes_away_passes_on_what_it_was_told() {
    let bell = Arc::default();
    let watches = listeners(&bell, 3);
    let mut waiting = wait(&watches);
    bell.ring();
    // The first one was told, and never polled again.
    drop(waiting.remove(0));
    assert_eq!(woken(&mut waiting), 1);
}

#[test]
fn who_did_not_wait_sees_what_it_missed() {
    let bell = Arc::default();
    let watch = Bell::listen(&bell);
    let mut late = Bell::listen(&bell);
    bell.ring();
    assert!(watch.has_changed().unwrap() && watch.changed().now_or_never().is_some());
    late.mark_unchanged();
    assert!(late.changed().now_or_never().is_none());
}

#[test]
fn the_end_is_told_to_all() {
    let bell = Arc::default();
    let watches = listeners(&bell, 3);
    let mut waiting = wait(&watches);
    bell.end();
    assert_eq!(woken(&mut waiting), 3);
    assert_eq!(watches[0].changed().now_or_never(), Some(Err(Ended)));
    assert_eq!(watches[0].has_changed(), Err(Ended));
}

/// How many copies a pull of [`Model`] passes over at most.
const WINDOW: usize = 3;

/// What a session of [`Model`] is at.
enum At {
    /// It is busy with something else.
    Away,
    /// It waits to be told.
    Waiting(Waiting<'static>),
    /// It looks, and has not asked the inbox yet.
    Looking(Look),
    /// It has the answer, and has not said so yet.
    Pulled(Look, Rest),
}

/// A session that draws from the inbox.
struct Drawer {
    watch: InboxWatch,
    credit: usize,
    /// Whether it looks whatever it was told.
    ready: bool,
    /// Whether it failed and waits for the time to look again.
    failed: bool,
    at: At,
}

impl Drawer {
    fn new(bell: &Arc<Bell>, credit: usize) -> Self {
        Self { watch: bell.listen(), credit, ready: true, failed: false, at: At::Away }
    }
}

/// An inbox with threads, as a bus keeps it, and sessions as a gateway runs them: one process, pulls of one copy, a change
/// and its ring in one step, threads that are let go of as a whole.
struct Model {
    bell: Arc<Bell>,
    waiting: Vec<u8>,
    /// Of threads: who holds copies of them, and how many.
    held: BTreeMap<u8, (usize, usize)>,
    passed_over: bool,
    stopped_short: bool,
    sessions: Vec<Drawer>,
}

/// What happens next.
#[derive(Debug, Clone, Copy)]
enum Event {
    Put(u8),
    Grant(usize),
    Ack(usize),
    /// A session goes on by one step.
    Step(usize),
    /// Something else comes to a session that waits, or its pull fails.
    Disturb(usize),
    /// A session ends, and another one comes in its place, which has no credit yet.
    Replace(usize),
    /// Nothing, until all have got as far as they can.
    Rest,
}

impl Model {
    fn new(sessions: usize) -> Self {
        let bell = Arc::<Bell>::default();
        Self {
            sessions: (0..sessions).map(|_| Drawer::new(&bell, 2)).collect(),
            bell,
            waiting: vec![],
            held: BTreeMap::new(),
            passed_over: false,
            stopped_short: false,
        }
    }

    /// Where the first copy is that a session may have, and how many it passed over.
    fn look_for(&self, session: usize) -> (Option<usize>, usize) {
        let others = |thread: &u8| self.held.get(thread).is_some_and(|(holder, _)| *holder != session);
        let passed = self.waiting.iter().take_while(|thread| others(thread)).count();
        (Some(passed).filter(|at| *at < WINDOW.min(self.waiting.len())), passed.min(WINDOW))
    }

    /// Hands out one copy.
    fn pull(&mut self, session: usize) -> Rest {
        let (found, passed) = self.look_for(session);
        self.passed_over |= passed > 0;
        let Some(at) = found else {
            self.stopped_short |= passed >= WINDOW;
            return if passed > 0 { Rest::Others } else { Rest::Nothing };
        };
        let thread = self.waiting.remove(at);
        self.held.entry(thread).or_insert((session, 0)).1 += 1;
        self.sessions[session].credit -= 1;
        if std::mem::take(&mut self.stopped_short) {
            self.bell.ring();
        }
        match self.waiting.len() {
            0 => Rest::Nothing,
            left if left > passed => Rest::More,
            _ => Rest::Others,
        }
    }

    /// A session lets go of what it holds of its first thread; gives it back if so.
    fn let_go(&mut self, session: usize, back: bool) -> bool {
        let Some((&thread, &(_, count))) = self.held.iter().find(|(_, (holder, _))| *holder == session)
        else {
            return false;
        };
        self.held.remove(&thread);
        let ring = std::mem::take(&mut self.passed_over) || back;
        if back {
            self.waiting.splice(0..0, vec![thread; count]);
        }
        if ring {
            self.bell.ring();
        }
        true
    }

    /// True if the session got on.
    fn step(&mut self, n: usize) -> bool {
        let session = &mut self.sessions[n];
        match std::mem::replace(&mut session.at, At::Away) {
            At::Away if session.credit == 0 => return false,
            At::Away if session.ready || session.watch.has_changed().unwrap() => {
                session.at = At::Looking(session.watch.look());
            }
            At::Away => {
                let watch = session.watch.clone();
                let mut waiting = Box::pin(async move { watch.changed().await });
                assert!((&mut waiting).now_or_never().is_none(), "it had looked");
                session.at = At::Waiting(waiting);
            }
            At::Waiting(mut waiting) => {
                if (&mut waiting).now_or_never().is_none() {
                    session.at = At::Waiting(waiting);
                    return false;
                }
                session.at = At::Looking(session.watch.look());
            }
            At::Looking(look) => {
                let rest = self.pull(n);
                self.sessions[n].at = At::Pulled(look, rest);
            }
            At::Pulled(look, rest) => {
                session.ready = rest == Rest::More;
                session.watch.looked(look, rest);
            }
        }
        true
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Put(thread) => {
                self.waiting.push(thread);
                self.bell.ring();
            }
            Event::Grant(n) => self.sessions[n].credit += 1,
            Event::Ack(n) => drop(self.let_go(n, false)),
            Event::Step(n) => drop(self.step(n)),
            Event::Disturb(n) => {
                let session = &mut self.sessions[n];
                match std::mem::replace(&mut session.at, At::Away) {
                    At::Looking(look) => {
                        (session.ready, session.failed) = (false, true);
                        session.watch.looked(look, Rest::Others);
                    }
                    At::Pulled(look, rest) => session.at = At::Pulled(look, rest),
                    At::Away | At::Waiting(_) => {}
                }
            }
            Event::Replace(n) => {
                self.sessions[n].at = At::Away;
                while self.let_go(n, true) {}
                self.sessions[n] = Drawer::new(&self.bell, 0);
            }
            Event::Rest => {
                assert_eq!(self.left_lying(), None);
                self.retry();
                assert_eq!(self.left_lying(), None);
            }
        }
    }

    /// Lets everything go on until nothing does, and says who waits for what it could have.
    fn left_lying(&mut self) -> Option<usize> {
        let mut steps = 0;
        while (0..self.sessions.len()).any(|n| self.step(n)) {
            steps += 1;
            assert!(steps < 10_000, "they call each other for ever");
        }
        (0..self.sessions.len()).find(|&n| {
            let session = &self.sessions[n];
            session.credit > 0 && !session.failed && self.look_for(n).0.is_some()
        })
    }

    /// It is time to look again for those who failed.
    fn retry(&mut self) {
        for session in self.sessions.iter_mut().filter(|session| session.failed) {
            (session.failed, session.ready) = (false, true);
            if matches!(session.at, At::Waiting(_)) {
                session.at = At::Away;
            }
        }
    }
}

fn event() -> impl Strategy<Value = Event> {
    const SESSIONS: std::ops::Range<usize> = 0..4;
    prop_oneof![
        3 => (0..3_u8).prop_map(Event::Put),
        2 => SESSIONS.prop_map(Event::Grant),
        2 => SESSIONS.prop_map(Event::Ack),
        8 => SESSIONS.prop_map(Event::Step),
        1 => SESSIONS.prop_map(Event::Disturb),
        1 => SESSIONS.prop_map(Event::Replace),
        2 => Just(Event::Rest),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// Whatever comes in between, nobody waits for what it could have.
    #[test]
    fn nothing_is_left_lying(events in prop::collection::vec(event(), 1..120)) {
        let mut model = Model::new(4);
        for event in events.into_iter().chain([Event::Rest]) {
            model.happens(event);
        }
    }
}
