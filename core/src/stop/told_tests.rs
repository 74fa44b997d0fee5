use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::stop::tests::{
    Edit, OTHER_UID, Someone, UID, anybody, edits, live, policy, release, runs, seen, squad, stop,
};
use crate::stop::{AlarmKind, EngagementName, Mirror, Workloads};

/// What a latch tells.
fn told(latch: &Latch) -> Vec<Told> {
    latch.engagements().map(Told::of).collect()
}

/// What one tells that saw this policy.
fn told_of(policy: Policy) -> Told {
    told(&seen(&[&[policy]])).pop().unwrap()
}

fn hear(latch: &mut Latch, told: &[Told]) -> Heard {
    latch.hear(told, None, [])
}

#[test]
fn what_is_heard_stops_and_is_no_knowledge() {
    let mut latch = seen(&[&[policy(2)]]);
    let heard = hear(&mut latch, &[told_of(stop(3))]);
    assert_eq!(heard.merged.engaged, ["1f2e3d4c-3".parse().unwrap()]);
    assert!(heard.merged.changed && !runs(&latch));
    assert!(!hear(&mut latch, &[told_of(stop(3))]).merged.changed, "a repeat changes nothing");
    // Nothing that is not told says anything.
    assert!(!hear(&mut latch, &[]).merged.changed && !runs(&latch));
    let mut new = Latch::default();
    hear(&mut new, &[]);
    assert!(!new.is_known() && !runs(&new));
    hear(&mut new, &[told_of(stop(3))]);
    new.merge(&[policy(2)], []);
    assert!(!runs(&new), "what was heard before the first look holds after it");
}

#[test]
fn what_was_heard_is_released_by_a_look_as_if_it_had_been_seen() {
    for released in [
        release(4, "1f2e3d4c-3"),
        release(6, "1f2e3d4c-5"),
        Policy { uid: OTHER_UID.into(), ..release(1, "1f2e3d4c-3") },
    ] {
        let mut latch = seen(&[&[policy(2)]]);
        hear(&mut latch, &[told_of(stop(3))]);
        for not in [policy(4), release(4, "1f2e3d4c-2"), release(3, "1f2e3d4c-9")] {
            latch.merge(&[not], []);
            assert!(!runs(&latch));
        }
        latch.merge(&[released], []);
        assert!(runs(&latch) && latch.alarms().is_empty());
    }
}

#[test]
fn a_stop_that_is_known_by_hearsay_alone_says_so() {
    let alarms_after = |list: &[Policy]| {
        let mut latch = seen(&[&[]]);
        hear(&mut latch, &[told_of(stop(3))]);
        latch.merge(list, []);
        assert!(!runs(&latch));
        latch.alarms().iter().map(|alarm| (alarm.what.clone(), alarm.to_string())).collect::<Vec<_>>()
    };
    let [(unknown, text)] = alarms_after(&[]).try_into().unwrap();
    assert_eq!(unknown, AlarmKind::UnknownHere);
    assert_eq!(
        text,
        "another gateway engaged this stop, and there is no policy stop-all here; the stop holds until \
         `spec.release: 1f2e3d4c-3`"
    );
    let other = Policy { uid: OTHER_UID.into(), ..policy(9) };
    for lagging in [policy(2), other.clone()] {
        assert_eq!(alarms_after(&[lagging])[0].0, AlarmKind::NotOrderedHere);
    }
    let named = Policy { release: Some("x-1".into()), ..other.clone() };
    assert_eq!(alarms_after(&[named])[0].0, AlarmKind::WrongRelease { named: "x-1".into() });
    // Seen, or ordered by the policy of this name as well: nothing is odd.
    assert!(alarms_after(&[stop(3)]).is_empty());
    assert!(alarms_after(&[Policy { stop: true, ..other }]).is_empty());
}

#[test]
fn what_was_released_here_is_not_engaged_by_an_old_word() {
    let mut latch = seen(&[&[stop(3)], &[release(6, "1f2e3d4c-5")]]);
    for old in [1, 3, 5] {
        assert!(!hear(&mut latch, &[told_of(stop(old))]).merged.changed, "{old}");
    }
    // Taking the release out changes nothing of that, nor does a restart.
    latch.merge(&[policy(7)], []);
    let mut latch: Latch = serde_json::from_str(&serde_json::to_string(&latch).unwrap()).unwrap();
    assert!(!hear(&mut latch, &[told_of(stop(5))]).merged.changed);
    // A later stop, one of another object, and one that is seen are news.
    for news in [stop(8), Policy { uid: OTHER_UID.into(), ..stop(1) }] {
        let mut latch = latch.clone();
        hear(&mut latch, &[told_of(news)]);
        assert!(!runs(&latch));
    }
    latch.merge(&[stop(3)], []);
    assert!(!runs(&latch), "what is seen always counts");
    // Its release takes nothing back of what was released before.
    latch.merge(&[release(4, "1f2e3d4c-3")], []);
    assert!(!hear(&mut latch, &[told_of(stop(5))]).merged.changed);
}

#[test]
fn what_the_last_look_releases_is_not_engaged_first() {
    let mut latch = seen(&[&[]]);
    let look = [release(4, "1f2e3d4c-3")];
    let heard = latch.hear(&[told_of(stop(3))], Some(&look), []);
    assert!(heard.merged.engaged.is_empty() && runs(&latch));
    assert_eq!(latch.released_upto(UID), Some(3));
    // It counts as released, also when the policy says so no longer.
    assert!(!latch.hear(&[told_of(stop(3))], Some(&[policy(5)]), []).merged.changed);
    // A policy that orders a stop of its own releases none.
    let stopping = Policy { uid: OTHER_UID.into(), stop: true, ..release(4, "1f2e3d4c-3") };
    let mut other = seen(&[&[]]);
    assert_eq!(other.hear(&[told_of(stop(3))], Some(&[stopping]), []).merged.engaged.len(), 1);
    // What the look does not release is engaged: another name, a later stop, a release from before the stop.
    let armed = Policy { stop: true, ..release(6, "1f2e3d4c-6") };
    for (news, look) in
        [(stop(5), release(6, "1f2e3d4c-3")), (stop(7), policy(6)), (armed, release(7, "1f2e3d4c-6"))]
    {
        let mut latch = latch.clone();
        latch.hear(&[told_of(news)], Some(&[look]), []);
        assert!(!runs(&latch));
    }
}

#[test]
fn hearing_widens_and_never_narrows() {
    let ann = Someone::new("acme/acme", "ann", "ai");
    let strict = Policy { targets: squad("ai"), ..stop(3) };
    let mut latch = Latch::default();
    latch.merge(std::slice::from_ref(&strict), [ann.subject()]);
    let weak = Policy {
        targets: squad("ops"),
        workloads: Workloads::Keep,
        mirror: Mirror::Run,
        reason: Some("later".into()),
        ..stop(5)
    };
    hear(&mut latch, &[told_of(weak)]);
    let engagement = latch.engagements().next().unwrap();
    assert_eq!(engagement.name().to_string(), "1f2e3d4c-5");
    assert_eq!((engagement.workloads, engagement.mirror), (Workloads::ScaleToZero, Mirror::Pause));
    assert_eq!(engagement.scopes, [squad("ai"), squad("ops")]);
    assert_eq!(engagement.reason.as_deref(), Some("later"));
    let relabelled = Someone::new("acme/acme", "ann", "none");
    assert!(!latch.decide(&relabelled.subject()).may_run());
    // An older word takes nothing back, and adds whom it means; who hears binds whom it knows.
    let bob = Someone::new("acme/acme", "bob", "web");
    latch.hear(&[told_of(Policy { targets: squad("web"), ..stop(4) })], None, [bob.subject()]);
    assert_eq!(latch.engagements().next().unwrap().name().to_string(), "1f2e3d4c-5");
    assert!(!latch.decide(&Someone::new("acme/acme", "bob", "none").subject()).may_run());
    assert!(!latch.decide(&Someone::new("acme/acme", "oda", "ops").subject()).may_run());
    // Whom a word means repeatedly it means once: it has not come to mean too many to be told apart.
    let repeated = told_of(Policy { targets: squad("ai"), ..stop(3) });
    let repeated = Told(Engagement { scopes: vec![squad("ai"); 40], ..repeated.0 });
    let mut new = seen(&[&[]]);
    hear(&mut new, &[repeated]);
    assert_eq!(new.engagements().next().unwrap().scopes, [squad("ai")]);
    // Agents that only the other knew are told.
    let mut other = seen(&[&[]]);
    hear(&mut other, &told(&latch));
    assert!(!other.decide(&relabelled.subject()).may_run());
}

#[test]
fn a_release_from_before_the_stop_releases_nobody_who_heard_of_it() {
    let armed = Policy { stop: true, ..release(2, "1f2e3d4c-2") };
    let mut latch = seen(&[&[policy(1)]]);
    hear(&mut latch, &[told_of(armed.clone())]);
    latch.merge(&[release(3, "1f2e3d4c-2")], []);
    assert!(!runs(&latch));
    assert_eq!(latch.alarms()[0].what, AlarmKind::StaleRelease);
    // Taken out and set anew it counts, though others go on telling what they know.
    latch.merge(&[policy(4)], []);
    hear(&mut latch, &[told_of(armed)]);
    latch.merge(&[release(5, "1f2e3d4c-2")], []);
    assert!(runs(&latch));
}

#[test]
fn words_of_nobody_are_bounded() {
    let words = |from: usize, count: usize| -> Vec<_> {
        let uid = |n| format!("{n:08}-0000");
        (from..from + count).map(|n| told_of(Policy { uid: uid(n), ..stop(1) })).collect()
    };
    let mut latch = seen(&[&[]]);
    let heard = hear(&mut latch, &words(0, MAX_TOLD_STOPS + 3));
    assert_eq!((heard.merged.engaged.len(), heard.surplus), (MAX_TOLD_STOPS, 3));
    assert_eq!(hear(&mut latch, &words(1000, 2)).surplus, 2);
    // What is seen has no such bound.
    assert_eq!(latch.merge(&[stop(3)], []).engaged.len(), 1);
    for n in 0..2 * MAX_RELEASED as u64 {
        latch.mark(Released { uid: n.to_string(), generation: 1 });
    }
    assert_eq!(latch.released.len(), MAX_RELEASED);
    assert_eq!(latch.released_upto("0"), None);
}

#[test]
fn what_is_told_is_read_as_it_was_meant() {
    let ann = Someone::new("acme/acme", "ann", "ai");
    let mut latch = Latch::default();
    let strict = Policy { targets: squad("ai"), reason: Some("drill".into()), ..release(3, "x-1") };
    latch.merge(&[Policy { stop: true, ..strict }], [ann.subject()]);
    let [told] = told(&latch).try_into().unwrap();
    let json = told.to_json();
    assert_eq!(
        json,
        format!(
            r#"{{"version":1,"engagement":{{"policy":"stop-all","uid":"{UID}","generation":3,"reason":"drill","scopes":[{{"agents":{{"matchLabels":{{"squad":"ai"}}}}}}],"agents":["{}"],"workloads":"scaleToZero","mirror":"pause","staleRelease":"x-1"}}}}"#,
            ann.agent
        )
    );
    assert_eq!(Told::parse(UID, &json).unwrap(), told);
    assert_eq!((told.uid(), told.generation()), (UID, 3));
    // Whoever knows it by a word alone tells it alike, and that it did so is nothing that others take over.
    let mut other = seen(&[&[]]);
    hear(&mut other, std::slice::from_ref(&told));
    assert_eq!(self::told(&other)[0].to_json(), json);
    let heard = json.replace(r#""staleRelease""#, r#""heard":true,"staleRelease""#);
    assert_eq!(Told::parse(UID, &heard).unwrap(), told);
    let longest = format!("{json}{}", " ".repeat(MAX_TOLD_BYTES - json.len()));
    assert_eq!(Told::parse(UID, &longest).unwrap(), told);
    let refused = |text: &str| Told::parse(UID, text).unwrap_err().to_string();
    assert_eq!(
        refused(&json.replace("\"version\":1", "\"version\":2")),
        "its version is 2, and 1 is known here"
    );
    assert!(refused(&json.replace(UID, OTHER_UID)).contains("another uid"));
    assert!(
        refused(&json.replace("\"generation\":3", "\"generation\":9007199254740993")).contains("generation")
    );
    assert!(refused(&json.replace("\"stop-all\"", "\"\"")).contains("name"));
    assert!(
        refused(&json.replace(r#"[{"agents":{"matchLabels":{"squad":"ai"}}}]"#, "[]")).contains("nobody")
    );
    assert!(refused(&" ".repeat(MAX_TOLD_BYTES + 1)).contains("longer"));
    for odd in ["", "null", "{}", "[1]", "{\"version\":1}", "{\"version\":1,\"engagement\":{}}"] {
        assert_eq!(refused(odd), "it is no JSON of a stop", "{odd}");
    }
    assert!(Told::parse("a/b", &json.replace(UID, "a/b")).is_err());
    // A later version's further fields hurt nobody.
    assert_eq!(Told::parse(UID, &json.replacen('{', r#"{"more":1,"#, 1)).unwrap(), told);
}

#[test]
fn what_is_too_much_to_tell_stops_no_less() {
    let mut latch = Latch::default();
    let crowd: Vec<_> = (0..8000).map(|n| Someone::new("acme/acme", &format!("a{n}"), "ai")).collect();
    latch.merge(&[Policy { targets: squad("ai"), ..stop(1) }], crowd.iter().map(Someone::subject));
    let mut fewer = Latch::default();
    fewer.merge(&[Policy { targets: squad("ai"), ..stop(1) }], crowd[..6000].iter().map(Someone::subject));
    assert_eq!(told(&fewer)[0].0.agents.len(), 6000);
    let [many] = told(&latch).try_into().unwrap();
    assert!(many.to_json().len() <= MAX_TOLD_BYTES);
    assert_eq!((many.0.agents.len(), &many.0.scopes), (0, &vec![squad("ai")]));
    let tenants = (0..MAX_TOLD_BYTES / 64).map(|n| format!("{}/t{n}", "n".repeat(60)).parse().unwrap());
    let wide = Targets { tenants: tenants.collect(), ..Targets::default() };
    let wide = told_of(Policy { targets: wide, reason: Some("r".repeat(MAX_TOLD_BYTES)), ..stop(1) });
    assert!(wide.0.everybody() && wide.to_json().len() <= MAX_TOLD_BYTES);
    // Of a stop of everybody no agent need be named.
    let mut all = Latch::default();
    all.merge(&[stop(1)], crowd.iter().map(Someone::subject));
    assert!(told(&all)[0].0.agents.is_empty());
}

#[test]
fn who_is_told_nothing_new_need_not_be_told() {
    let some = told_of(Policy { targets: squad("ai"), workloads: Workloads::Keep, ..stop(3) });
    let all = told_of(stop(3));
    assert!(some.says(&some) && !some.says(&all));
    for more in [
        Told(Engagement { generation: 4, ..some.0.clone() }),
        Told(Engagement { scopes: vec![squad("ops")], ..some.0.clone() }),
        Told(Engagement { agents: [anybody().agent].into(), ..some.0.clone() }),
        Told(Engagement { workloads: Workloads::ScaleToZero, ..some.0.clone() }),
    ] {
        assert!(!some.says(&more), "{more:?}");
    }
    let mirrored = Told(Engagement { mirror: Mirror::Run, ..some.0.clone() });
    assert!(some.says(&mirrored) && !mirrored.says(&some));
    assert!(all.says(&Told(Engagement { agents: [anybody().agent].into(), ..some.0.clone() })));
}

/// Gateways that look at one policy, and the place where they tell each other.
struct World {
    steps: Vec<(Policy, bool)>,
    gateways: Vec<Gateway>,
    board: Option<Told>,
    /// All that ever stood there: it may come late, and again.
    words: Vec<Told>,
}

#[derive(Default)]
struct Gateway {
    latch: Latch,
    look: Option<Policy>,
    /// What it released, told from what the admin named.
    released: Option<u64>,
}

#[derive(Debug, Clone)]
enum Deed {
    /// One sees the policy as it was once.
    Look(usize, Index),
    /// One reads what stands on the board, with or without a fresh look.
    Hear(usize, bool),
    /// Something that stood there once arrives.
    HearOld(usize, Index, bool),
    /// One tells what it holds.
    Tell(usize),
    /// One takes away what it has released.
    Forget(usize),
    /// The board loses everything.
    Flush,
    /// One begins again from its file.
    Restart(usize),
}

const GATEWAYS: usize = 3;

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let who = 0..GATEWAYS;
    let deed = prop_oneof![
        4 => (who.clone(), any::<Index>()).prop_map(|(who, step)| Deed::Look(who, step)),
        3 => (who.clone(), any::<bool>()).prop_map(|(who, fresh)| Deed::Hear(who, fresh)),
        2 => (who.clone(), any::<Index>(), any::<bool>()).prop_map(|(who, word, fresh)| Deed::HearOld(who, word, fresh)),
        3 => who.clone().prop_map(Deed::Tell),
        2 => who.clone().prop_map(Deed::Forget),
        1 => Just(Deed::Flush),
        1 => who.prop_map(Deed::Restart),
    ];
    proptest::collection::vec(deed, 0..40)
}

impl World {
    fn new(edits: &[Edit]) -> Self {
        let gateways = (0..GATEWAYS).map(|_| Gateway::default()).collect();
        Self { steps: live(edits), gateways, board: None, words: Vec::new() }
    }

    fn look(&mut self, who: usize, state: &Policy) -> Result<(), TestCaseError> {
        let gateway = &mut self.gateways[who];
        let held = gateway.latch.engagements().next().map(Engagement::name);
        gateway.latch.merge(std::slice::from_ref(state), []);
        gateway.look = Some(state.clone());
        if state.stop {
            prop_assert!(!runs(&gateway.latch), "a sight of a stop stops");
        }
        if let Some(held) = held.filter(|_| gateway.latch.engagements().next().is_none()) {
            let named: EngagementName = state.release.as_deref().unwrap_or_default().parse().unwrap();
            prop_assert!(!state.stop, "released by {state:?}");
            prop_assert!(
                named == held || named.generation > held.generation && named.generation < state.generation,
                "{named} released {held}"
            );
            gateway.released = gateway.released.max(Some(named.generation));
        }
        Ok(())
    }

    fn hear(&mut self, who: usize, word: Option<Told>, fresh: bool) -> Result<(), TestCaseError> {
        let gateway = &mut self.gateways[who];
        let before = gateway.latch.clone();
        let look = gateway.look.as_ref().filter(|_| fresh).map(std::slice::from_ref);
        gateway.latch.hear(word.as_slice(), look, []);
        prop_assert_eq!(before.is_known(), gateway.latch.is_known());
        for held in before.engagements() {
            let Some(now) = gateway.latch.engagements().find(|now| now.uid == held.uid) else {
                return Err(TestCaseError::fail("a word released"));
            };
            prop_assert!(Told::of(now).says(&Told::of(held)), "a word narrowed");
        }
        let Some(word) = word else {
            prop_assert_eq!(&before, &gateway.latch, "silence says nothing");
            return Ok(());
        };
        if gateway.released.is_some_and(|upto| word.generation() <= upto) {
            prop_assert_eq!(&before, &gateway.latch, "a released stop came back");
        } else if look.is_none() {
            prop_assert!(!runs(&gateway.latch), "a word of a stop stops");
        }
        if gateway.latch.engagements().next().is_none() {
            gateway.released = gateway.released.max(gateway.latch.released_upto(UID));
        }
        Ok(())
    }

    /// As the script does: a lower generation overwrites none.
    fn tell(&mut self, who: usize) {
        for word in told(&self.gateways[who].latch) {
            let there = self.board.as_ref();
            if there.is_none_or(|there| there.generation() <= word.generation() && !there.says(&word)) {
                self.words.push(word.clone());
                self.board = Some(word);
            }
        }
    }

    fn forget(&mut self, who: usize) {
        let upto = self.gateways[who].latch.released_upto(UID);
        self.board.take_if(|there| upto.is_some_and(|upto| there.generation() <= upto));
    }

    fn does(&mut self, deed: &Deed) -> Result<(), TestCaseError> {
        match deed {
            Deed::Look(who, step) => {
                let state = self.steps[step.index(self.steps.len())].0.clone();
                return self.look(*who, &state);
            }
            Deed::Hear(who, fresh) => return self.hear(*who, self.board.clone(), *fresh),
            Deed::HearOld(who, word, fresh) if !self.words.is_empty() => {
                let word = self.words[word.index(self.words.len())].clone();
                return self.hear(*who, Some(word), *fresh);
            }
            Deed::HearOld(..) => {}
            Deed::Tell(who) => self.tell(*who),
            Deed::Forget(who) => self.forget(*who),
            Deed::Flush => self.board = None,
            Deed::Restart(who) => {
                let gateway = &mut self.gateways[*who];
                gateway.latch =
                    serde_json::from_str(&serde_json::to_string(&gateway.latch).unwrap()).unwrap();
                gateway.look = None;
            }
        }
        Ok(())
    }

    /// Everybody looks, hears, tells and forgets, again and again.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        let last = self.steps.last().unwrap().0.clone();
        for _ in 0..3 {
            for who in 0..GATEWAYS {
                self.look(who, &last)?;
                self.hear(who, self.board.clone(), true)?;
                self.tell(who);
                self.forget(who);
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Whatever is lost, late, repeated or restarted: no word releases or narrows, none brings back what was released
    /// here, and when it is quiet all agree with the policy as it stands.
    #[test]
    fn words_stop_and_never_release(edits in edits(), deeds in deeds()) {
        let mut world = World::new(&edits);
        for deed in &deeds {
            world.does(deed)?;
        }
        world.settle()?;
        let steps = &world.steps;
        let (last, stopped) = steps.last().unwrap();
        let stopped_before = steps.iter().rev().nth(1).is_some_and(|(_, stopped)| *stopped);
        let running: Vec<_> = world.gateways.iter().map(|gateway| runs(&gateway.latch)).collect();
        if last.stop {
            prop_assert_eq!(running, [false; GATEWAYS]);
            prop_assert!(world.board.as_ref().is_some_and(|there| there.generation() == last.generation));
        } else if matches!(edits.last(), Some(Edit::Release)) && !stopped && stopped_before {
            prop_assert_eq!(running, [true; GATEWAYS]);
            prop_assert_eq!(&world.board, &None);
            // Words that are still on their way change nothing any more.
            for word in world.words.clone() {
                for who in 0..GATEWAYS {
                    world.hear(who, Some(word.clone()), true)?;
                    prop_assert!(runs(&world.gateways[who].latch));
                }
            }
        } else if world.gateways.iter().all(|gateway| gateway.released.is_none()) {
            // Nobody has seen a release: what holds one holds all, whoever saw it.
            let first = running[0];
            prop_assert!(running.iter().all(|runs| *runs == first), "{running:?}");
        }
    }

    /// No text is more than refused.
    #[test]
    fn any_text_is_read_or_refused(text in ".{0,200}") {
        let _ = Told::parse(UID, &text);
    }
}
