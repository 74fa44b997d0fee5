use futures_util::FutureExt as _;

use super::*;

const MOST: Most = Most { events: 3, bytes: 1000 };

fn tenant() -> TenantKey {
    "acme/acme".parse().unwrap()
}

fn inbox(n: u128) -> InboxId {
    InboxId::from_bytes(n.to_be_bytes())
}

fn session(n: u128) -> SessionId {
    SessionId::from_bytes(n.to_be_bytes())
}

/// Offers, and so many sessions.
fn world(sessions: u128) -> (Arc<Offers<&'static str>>, Vec<Offerer<&'static str>>) {
    let offers = Arc::new(Offers::default());
    let offerers = (1..=sessions).map(|n| Offerer::new(&offers, &tenant(), session(n))).collect();
    (offers, offerers)
}

fn claim(offers: &Offers<&'static str>, from: u128) -> Option<Claimed<&'static str>> {
    offers.claim(&tenant(), [inbox(from)].into_iter(), 9, |_| Some(7)).pop()
}

#[tokio::test]
async fn an_offer_is_taken_once_by_whichever_inbox_is_first() {
    let (offers, mut of) = world(1);
    of[0].offer([inbox(1), inbox(2)], MOST);
    assert!(claim(&offers, 3).is_none());
    let other = "acme/other".parse().unwrap();
    assert!(offers.claim(&other, [inbox(1)].into_iter(), 9, |_| Some(7)).is_empty());
    let claimed = claim(&offers, 2).unwrap();
    assert_eq!((claimed.session(), claimed.inbox, claimed.most), (session(1), inbox(2), MOST));
    assert!(claim(&offers, 1).is_none() && claim(&offers, 2).is_none());
    assert!(!of[0].withdraw() && of[0].answered().now_or_never().is_none());
    claimed.answer("event");
    assert_eq!(of[0].answered().await, Some((inbox(2), "event")));
    // Not before it is offered anew.
    assert!(claim(&offers, 1).is_none());
    of[0].offer([inbox(1)], MOST);
    assert!(claim(&offers, 2).is_none());
    assert!(claim(&offers, 1).is_some());
}

#[tokio::test]
async fn sessions_at_one_inbox_take_turns() {
    let (offers, mut of) = world(2);
    of.iter_mut().for_each(|offerer| offerer.offer([inbox(1)], MOST));
    for n in [1, 2, 1, 2] {
        let claimed = claim(&offers, 1).unwrap();
        assert_eq!(claimed.session(), session(n));
        claimed.answer("event");
        let offerer = &mut of[usize::try_from(n).unwrap() - 1];
        assert!(offerer.answered().await.is_some());
        offerer.offer([inbox(1)], MOST);
    }
}

#[tokio::test]
async fn what_is_offered_last_counts() {
    let (offers, mut of) = world(1);
    of[0].offer([inbox(1)], MOST);
    let less = Most { events: 1, bytes: 10 };
    of[0].offer([inbox(1)], less);
    assert_eq!(claim(&offers, 1).unwrap().most, less);
    // It was dropped without an answer.
    assert_eq!(of[0].answered().await, None);
    of[0].offer([inbox(1)], MOST);
    assert!(of[0].withdraw() && of[0].withdraw());
    assert!(claim(&offers, 1).is_none());
}

#[tokio::test]
async fn who_may_take_nothing_now_keeps_the_offer() {
    let (offers, mut of) = world(1);
    of[0].offer([inbox(1)], MOST);
    assert!(offers.claim(&tenant(), [inbox(1)].into_iter(), 9, |_| None).is_empty());
    assert!(claim(&offers, 1).is_some());
}

#[tokio::test]
async fn an_answer_to_an_offer_that_was_given_up_reaches_nobody() {
    let offers = Arc::new(Offers::default());
    let mut of = Offerer::new(&offers, &tenant(), session(1));
    let (first, second) = (Arc::new(()), Arc::new(()));
    of.offer([inbox(1)], MOST);
    let late = offers.claim(&tenant(), [inbox(1)].into_iter(), 9, |_| Some(1)).pop().unwrap();
    assert_eq!(of.give_up(), Some(1));
    assert_eq!(of.give_up(), None);
    of.offer([inbox(1)], MOST);
    let next = offers.claim(&tenant(), [inbox(1)].into_iter(), 9, |_| Some(2)).pop().unwrap();
    late.answer(Arc::clone(&first));
    assert_eq!(Arc::strong_count(&first), 1);
    drop(late);
    assert!(of.answered().now_or_never().is_none());
    next.answer(Arc::clone(&second));
    // One that was answered is dropped with whoever it was for.
    assert_eq!((Arc::strong_count(&second), of.give_up()), (2, None));
    assert_eq!(Arc::strong_count(&second), 1);
}

#[tokio::test]
async fn nothing_is_left_of_sessions_that_are_gone() {
    let (offers, mut of) = world(3);
    of.iter_mut().for_each(|offerer| offerer.offer([inbox(1), inbox(2)], MOST));
    let claimed = claim(&offers, 1).unwrap();
    drop(of);
    assert!(lock(&offers.open).is_empty());
    claimed.answer("event");
    assert!(claim(&offers, 2).is_none());
}

#[tokio::test]
async fn one_of_each_inbox_is_taken_up_to_a_number() {
    let (offers, mut of) = world(4);
    for (n, offerer) in of.iter_mut().enumerate() {
        offerer.offer([inbox(1 + n as u128 / 2)], MOST);
    }
    let claim = |most| {
        let claimed = offers.claim(&tenant(), [inbox(1), inbox(2)].into_iter(), most, |_| Some(7));
        claimed.iter().map(Claimed::session).collect::<Vec<_>>()
    };
    assert_eq!(claim(1), [session(1)]);
    assert_eq!(claim(9), [session(2), session(3)]);
    assert_eq!(claim(9), [session(4)]);
}
