use bytes::Bytes;
use nexus_core::id::TenantKey;
use nexus_wire::frame::parse;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

const TERMS: Terms =
    Terms { heartbeat: Heartbeat { interval: Duration::from_secs(30), misses: 3 }, max_in_flight: 4 };

fn identity() -> Identity {
    let tenant: TenantKey = "acme/acme".parse().unwrap();
    Identity {
        agent: AgentId::of(&tenant, "coder"),
        name: "coder".into(),
        session: SessionId::from(Uuid::nil()),
    }
}

fn event(n: u8) -> Held {
    let id = id(n);
    Held { id, inbox: identity().agent.inbox(), attempt: 1, replay: false, event: Bytes::from_static(b"{}") }
}

fn id(n: u8) -> EventId {
    EventId::from_bytes([n; 16])
}

fn new() -> State {
    State::new(TERMS, Instant::now())
}

fn say(state: &mut State, frames: &[&str]) -> Vec<Effect> {
    let frames = frames.iter().map(|text| Received::Frame(parse(text)));
    state.receive(&identity(), frames.collect::<Vec<_>>(), Instant::now())
}

fn opened(credit: u32) -> State {
    let mut state = new();
    let effects = say(&mut state, &[&format!(r#"{{"hello":{{"credit":{credit}}}}}"#)]);
    assert!(matches!(effects.first(), Some(Effect::Welcome(_))), "{effects:?}");
    state
}

fn codes(effects: &[Effect]) -> Vec<&str> {
    let mut codes = Vec::new();
    for effect in effects {
        codes.push(match effect {
            Effect::Error(error) => error.code.as_str(),
            Effect::Pong => "pong",
            Effect::Welcome(_) => "welcome",
            Effect::Ack(_) => "ack",
            Effect::Nack { .. } => "nack",
            Effect::Reauth(_) => "reauth",
            Effect::End(end) => end.label(),
        });
    }
    codes
}

/// An Ack frame of the event with this number.
fn ack(n: u8) -> String {
    format!(r#"{{"ack":{{"eventId":"{}"}}}}"#, id(n))
}

#[test]
fn the_first_frame_is_hello_and_it_is_said_once() {
    assert_eq!(codes(&say(&mut new(), &[r#"{"ping":{}}"#])), ["hello_expected", "protocol_error"]);
    let mut state = opened(1);
    assert_eq!(codes(&say(&mut state, &[r#"{"hello":{}}"#, r#"{"ping":{}}"#])), ["bad_frame", "pong"]);
}

#[test]
fn a_welcome_tells_the_terms() {
    let effects = say(&mut new(), &[r#"{"hello":{}}"#]);
    let [Effect::Welcome(welcome)] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!(welcome.agent, "coder");
    assert_eq!(welcome.agent_id, identity().agent.to_string());
    assert_eq!(welcome.max_in_flight, 4);
    assert_eq!(welcome.heartbeat.as_ref().unwrap().seconds, 30);
}

#[test]
fn each_deliver_uses_a_credit_and_an_ack_adds_none() {
    let mut state = opened(2);
    assert_eq!(state.wanted(), 2);
    state.pulled(vec![event(1), event(2)]);
    assert_eq!(state.wanted(), 0, "what waits has taken the credit already");
    assert!(state.deliver().is_some() && state.deliver().is_some());
    assert!(state.deliver().is_none());
    assert_eq!(codes(&say(&mut state, &[&ack(1), &ack(2)])), ["ack"]);
    assert_eq!((state.wanted(), state.held(), state.credit()), (0, 0, 0));
    say(&mut state, &[r#"{"grant":{"credit":3}}"#]);
    assert_eq!(state.wanted(), 3);
}

#[test]
fn no_more_is_held_than_the_profile_allows() {
    let mut state = opened(4);
    state.pulled((1..=4).map(event).collect());
    while state.deliver().is_some() {}
    say(&mut state, &[r#"{"grant":{"credit":4}}"#]);
    assert_eq!((state.credit(), state.wanted()), (4, 0));
    say(&mut state, &[&ack(1)]);
    assert_eq!(state.wanted(), 1);
}

#[test]
fn credit_above_the_limit_is_not_kept_and_told_once() {
    let mut state = new();
    let effects = say(&mut state, &[r#"{"hello":{"credit":9}}"#, r#"{"grant":{"credit":4294967295}}"#]);
    assert_eq!(codes(&effects), ["welcome", "too_much_credit"]);
    assert_eq!(state.credit(), 4);
}

#[test]
fn acknowledgements_are_committed_before_what_follows_them() {
    let mut state = opened(3);
    state.pulled((1..=3).map(event).collect());
    while state.deliver().is_some() {}
    let effects = say(&mut state, &[&ack(1), &ack(2), r#"{"ping":{}}"#, &ack(3)]);
    assert_eq!(codes(&effects), ["ack", "pong", "ack"]);
    assert_eq!(effects[0], Effect::Ack(vec![id(1), id(2)]));
}

#[test]
fn an_event_that_is_not_held_is_unknown() {
    let mut state = opened(2);
    state.pulled(vec![event(1)]);
    assert_eq!(codes(&say(&mut state, &[&ack(1)])), ["unknown_event"], "it was not delivered yet");
    state.deliver();
    let again = say(&mut state, &[&ack(1), &ack(1), r#"{"ack":{"eventId":"x"}}"#, r#"{"nack":{}}"#]);
    assert_eq!(codes(&again), ["ack", "unknown_event", "unknown_event", "unknown_event"]);
}

#[test]
fn both_copies_of_an_event_end_with_one_ack() {
    let mut state = opened(3);
    state.pulled(vec![event(1), event(1)]);
    state.deliver();
    assert_eq!(state.held(), 2);
    assert_eq!(codes(&say(&mut state, &[&ack(1)])), ["ack"]);
    assert_eq!((state.held(), state.credit()), (0, 2), "the copy that waited used no credit");
}

#[test]
fn a_nack_waits_an_hour_at_most() {
    let mut state = opened(1);
    state.pulled(vec![event(1)]);
    state.deliver();
    let frame = format!(r#"{{"nack":{{"eventId":"{}","retryAfter":"86400s","reason":"busy"}}}}"#, id(1));
    let expected = Effect::Nack { id: id(1), retry_after: Duration::from_hours(1), reason: "busy".into() };
    assert_eq!(say(&mut state, &[&frame]), [expected]);
    assert_eq!((state.held(), state.wanted()), (0, 0));
}

#[test]
fn an_event_that_cannot_be_delivered_uses_no_credit() {
    let mut state = opened(1);
    state.pulled(vec![event(1)]);
    let held = state.deliver().unwrap();
    state.undeliverable(held.id);
    assert_eq!((state.credit(), state.held()), (1, 0));
}

#[test]
fn bad_frames_are_told_and_too_many_end_the_session() {
    let mut state = opened(1);
    let bad = vec!["{"; MAX_BAD_FRAMES as usize];
    assert_eq!(codes(&say(&mut state, &bad)), vec!["bad_frame"; MAX_BAD_FRAMES as usize]);
    let effects = state.receive(&identity(), [Received::Binary], Instant::now());
    assert_eq!(codes(&effects), ["bad_frame", "protocol_error"]);
    let mut state = opened(1);
    for _ in 0..MAX_BAD_FRAMES {
        assert_eq!(codes(&state.wrong_token("x")), ["wrong_token"]);
    }
    assert_eq!(codes(&state.wrong_token("x")), ["wrong_token", "protocol_error"]);
}

#[test]
fn a_fresh_token_is_looked_at_every_few_seconds_at_most() {
    let mut state = opened(1);
    let began = Instant::now();
    let mut say = |seconds: u64, texts: &[&str]| {
        let frames = texts.iter().map(|text| Received::Frame(parse(text)));
        let now = began + Duration::from_secs(seconds);
        state.receive(&identity(), frames.collect::<Vec<_>>(), now)
    };
    let reauth = r#"{"reauth":{"token":"En0KEwoEMTIzNBgD"}}"#;
    assert_eq!(codes(&say(0, &[reauth, reauth])), ["reauth", "too_many_reauths"]);
    assert_eq!(codes(&say(4, &[reauth])), ["too_many_reauths"]);
    let effects = say(5, &[reauth]);
    assert_eq!(effects, [Effect::Reauth(Secret::new("En0KEwoEMTIzNBgD"))]);
    assert!(!format!("{effects:?}").contains("En0K"), "{effects:?}");
    // Two were too many already.
    let more = say(6, &[reauth; MAX_BAD_FRAMES as usize - 1]);
    assert_eq!(codes(&more).last(), Some(&"protocol_error"));
}

#[test]
fn nothing_is_taken_in_after_the_end() {
    let mut state = opened(1);
    let effects = state.receive(
        &identity(),
        [Received::Unreadable("x".into()), Received::Frame(parse(r#"{"ping":{}}"#))],
        Instant::now(),
    );
    assert_eq!(codes(&effects), ["protocol_error"]);
    let mut state = opened(1);
    assert_eq!(codes(&state.receive(&identity(), [Received::Closed], Instant::now())), ["peer_closed"]);
}

#[test]
fn silence_ends_a_session_and_any_sign_of_life_does_not() {
    let began = Instant::now();
    let mut state = State::new(TERMS, began);
    assert_eq!(state.deadline(), began + HELLO_DEADLINE);
    state.receive(&identity(), [Received::Sign], began + Duration::from_secs(9));
    assert!(matches!(state.overdue(began + HELLO_DEADLINE), Some(End::ProtocolError(_))));
    let hello = Received::Frame(parse(r#"{"hello":{}}"#));
    state.receive(&identity(), [hello], began);
    assert_eq!(state.overdue(began + Duration::from_secs(89)), None);
    state.receive(&identity(), [Received::Sign], began + Duration::from_secs(80));
    assert_eq!(state.overdue(began + Duration::from_secs(169)), None);
    assert_eq!(state.overdue(began + Duration::from_secs(170)), Some(End::HeartbeatMissed));
}

#[test]
fn new_terms_count_at_once() {
    let mut state = opened(4);
    let heartbeat = Heartbeat { interval: Duration::from_secs(1), misses: 2 };
    state.adopt(Terms { heartbeat, max_in_flight: 1 });
    assert_eq!((state.credit(), state.wanted()), (1, 1));
    assert!(state.deadline() <= Instant::now() + Duration::from_secs(2));
}

proptest! {
    /// Whatever an agent says and the bus hands out, no more is held than allowed, and no more is delivered
    /// than credit was given.
    #[test]
    fn credit_is_never_exceeded(steps in proptest::collection::vec((0u8..4, 0u8..6), 0..200)) {
        let mut state = opened(0);
        let (mut granted, mut delivered, mut next) = (0u64, 0u64, 0u8);
        let mut known = Vec::new();
        for (what, n) in steps {
            match what {
                0 => {
                    granted += u64::from(n);
                    say(&mut state, &[&format!(r#"{{"grant":{{"credit":{n}}}}}"#)]);
                }
                1 => {
                    let count = state.wanted().min(u32::from(n));
                    let pulled = (0..count).map(|_| { next = next.wrapping_add(1); event(next) });
                    let pulled: Vec<_> = pulled.collect();
                    state.pulled(pulled);
                }
                2 => {
                    while let Some(held) = state.deliver() {
                        delivered += 1;
                        known.push(held.id.as_bytes()[0]);
                    }
                }
                _ => if let Some(one) = known.pop() {
                    say(&mut state, &[&ack(one)]);
                }
            }
            prop_assert!(state.held() <= TERMS.max_in_flight);
            prop_assert!(state.credit() <= TERMS.max_in_flight);
            prop_assert!(delivered <= granted);
        }
    }
}

#[test]
fn what_was_pulled_and_never_sent_is_undelivered() {
    let mut state = opened(2);
    state.pulled(vec![event(1), event(2), event(3)]);
    assert!(state.deliver().is_some());
    assert_eq!(state.undelivered(), [id(2), id(3)]);
    // A copy that came by another inbox was sent: the attempt was made.
    state.pulled(vec![event(1)]);
    assert_eq!(state.undelivered(), [id(2), id(3)]);
}
