//! Offers: what is routed goes at once to a session that waits for it, by the rules of a pull.

use std::time::Duration;

use nexus_store::bus::{Copy, HandOut, Offer, PARTITIONS, Pulled, Rest};

use super::rig::*;

/// How long anything may take that was done already.
const PATIENCE: Duration = Duration::from_secs(20);

/// Those backends whose routes take offers.
fn rigs() -> impl Iterator<Item = Rig> {
    [Backend::Redis, Backend::Sentinel].into_iter().map(Rig::new)
}

/// A session that would take some events of an inbox.
fn offer(rig: &Rig, of: u8, from: u8, max: usize) -> Offer {
    let mut offer = rig.bus.offer(&tenant(), session(of));
    offer.make([inbox(from)], max, usize::MAX);
    offer
}

/// What was handed to an offer.
async fn taken(offer: &mut Offer) -> Option<Pulled> {
    let taken = tokio::time::timeout(PATIENCE, offer.taken()).await.expect("an offer that was taken");
    match taken {
        Some(handed) => Some(handed.read().await.unwrap()),
        None => None,
    }
}

/// Events of one thread, routed to the first inbox.
async fn fill_thread(rig: &Rig, names: &[&str]) {
    for name in names {
        let mut event = rig.event(name);
        "one".clone_into(&mut event.thread_key);
        rig.store(event).await;
    }
    rig.route(&[inbox(1)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_routed_goes_to_who_waits_for_it() {
    for rig in rigs() {
        let others = rig.bus.watch_inbox(&tenant(), inbox(1));
        let mut offer = offer(&rig, 1, 1, 9);
        fill_thread(&rig, &["a", "b"]).await;
        let got = taken(&mut offer).await.unwrap();
        assert_eq!((ids_of(&got), got.rest), (ids(&["a", "b"]), Rest::Nothing));
        assert_eq!((got[0].attempt, got[0].replay, got[0].inbox), (1, false, inbox(1)));
        assert_eq!(got[0].event, r#"{"id":"a"}"#);
        let depth = rig.bus.inbox_depth(&tenant(), inbox(1)).await.unwrap();
        assert_eq!((depth.waiting, depth.held), (0, 2));
        assert!(matches!(rig.copy("a", inbox(1)).await, Some(Copy::Held { attempt: 1, .. })));
        // Nobody was told of what is gone.
        assert!(!others.has_changed().unwrap());
        assert_eq!(rig.ack(session(1), &["a", "b"]).await, 2);
        let depth = rig.bus.depth(&tenant()).await.unwrap();
        assert_eq!((depth.unrouted, depth.pending_bytes), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_offers_to_take_less_leaves_the_rest_in_order() {
    for rig in rigs() {
        let mut others = rig.bus.watch_inbox(&tenant(), inbox(1));
        let mut of = offer(&rig, 1, 1, 1);
        fill_thread(&rig, &["a", "b", "c"]).await;
        let got = taken(&mut of).await.unwrap();
        assert_eq!((ids_of(&got), got.rest), (ids(&["a"]), Rest::More));
        changed(&mut others).await;
        // They wait behind the thread's holder, and what comes after them does, too.
        let mut other = offer(&rig, 2, 1, 9);
        fill_thread(&rig, &["d"]).await;
        let got = taken(&mut other).await.unwrap();
        assert_eq!((ids_of(&got), got.rest), (vec![], Rest::Others));
        let mut of = offer(&rig, 1, 1, 2);
        fill_thread(&rig, &["e"]).await;
        assert_eq!(ids_of(&taken(&mut of).await.unwrap()), ids(&["b", "c"]));
        assert_eq!(rig.pull_ids(inbox(1), session(1)).await, ids(&["d", "e"]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_comes_before_what_is_new() {
    for rig in rigs() {
        rig.fill(&["a"], inbox(1)).await;
        assert_eq!(rig.pull(inbox(1), session(1), 9).await.len(), 1);
        assert!(rig.nack(session(1), "a", HOUR).await);
        let mut of = offer(&rig, 1, 1, 9);
        rig.fill(&["b"], inbox(1)).await;
        assert_eq!(ids_of(&taken(&mut of).await.unwrap()), ids(&["b"]));
        rig.clock.advance(HOUR);
        let mut of = offer(&rig, 1, 1, 9);
        rig.fill(&["c"], inbox(1)).await;
        assert_eq!(ids_of(&taken(&mut of).await.unwrap()), ids(&["a", "c"]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_reaches_nobody_goes_back_untried() {
    for rig in rigs() {
        let mut watch = rig.bus.watch_inbox(&tenant(), inbox(1));
        let of = offer(&rig, 1, 1, 9);
        rig.fill(&["a"], inbox(1)).await;
        // It has been handed over, and the session is gone.
        drop(of);
        changed(&mut watch).await;
        let got = rig.pull(inbox(1), session(2), 9).await;
        assert_eq!((ids_of(&got), got[0].attempt), (ids(&["a"]), 1));
        let mut of = offer(&rig, 1, 1, 9);
        rig.fill(&["b"], inbox(1)).await;
        of.give_up();
        changed(&mut watch).await;
        let got = rig.pull(inbox(1), session(2), 9).await;
        assert_eq!((ids_of(&got), got[0].attempt), (ids(&["b"]), 1));
        // Also where the session ends before anything could go back.
        of.make([inbox(1)], 9, usize::MAX);
        rig.fill(&["d"], inbox(1)).await;
        drop(of);
        rig.end(session(1)).await;
        let got = rig.pull(inbox(1), session(2), 9).await;
        assert_eq!((ids_of(&got), got[0].attempt), (ids(&["d"]), 1));
        let mut of = rig.bus.offer(&tenant(), session(3));
        of.make([inbox(1)], 9, usize::MAX);
        rig.fill(&["c"], inbox(1)).await;
        assert_eq!(ids_of(&taken(&mut of).await.unwrap()), ids(&["c"]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_buried_is_handed_nothing() {
    for rig in rigs() {
        let mut watch = rig.bus.watch_inbox(&tenant(), inbox(1));
        let mut of = offer(&rig, 1, 1, 9);
        rig.bus.bury_session(&tenant(), session(1)).await.unwrap();
        rig.fill(&["a"], inbox(1)).await;
        assert!(taken(&mut of).await.unwrap().is_empty());
        changed(&mut watch).await;
        assert_eq!(rig.pull_ids(inbox(1), session(2)).await, ids(&["a"]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_is_fenced_or_hands_nothing_out_takes_no_offer() {
    for rig in rigs() {
        rig.store_all(&["a"]).await;
        let (partition, seq, _) = rig.unrouted().await[0];
        let old = rig.bus.acquire(&tenant(), partition).await.unwrap();
        let new = rig.bus.acquire(&tenant(), partition).await.unwrap();
        let mut of = offer(&rig, 1, 1, 9);
        let route = async |epoch, hand_out| {
            rig.bus.route(&tenant(), partition, epoch, vec![to(seq, &[inbox(1)])], hand_out).await
        };
        assert_eq!(label(route(old, HandOut::ToOffers).await), "fenced");
        assert!(taken(&mut of).await.unwrap().is_empty());
        let mut of = offer(&rig, 1, 1, 9);
        route(new, HandOut::Nothing).await.unwrap();
        assert!(of.withdraw());
        assert_eq!(rig.pull_ids(inbox(1), session(1)).await, ids(&["a"]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_for_several_goes_to_whoever_waits_and_waits_for_the_others() {
    for rig in rigs() {
        let mut one = offer(&rig, 1, 1, 9);
        let mut two = rig.bus.offer(&tenant(), session(2));
        two.make([inbox(2), inbox(3)], 9, usize::MAX);
        rig.store_all(&["a"]).await;
        rig.route(&[inbox(1), inbox(2), inbox(3), inbox(4)]).await;
        for of in [&mut one, &mut two] {
            assert_eq!(ids_of(&taken(of).await.unwrap()), ids(&["a"]));
        }
        // It had one offer for two inboxes, and the other copy waits.
        assert_eq!(rig.pull_ids(inbox(3), session(2)).await, ids(&["a"]));
        assert_eq!(rig.pull_ids(inbox(4), session(4)).await, ids(&["a"]));
        assert_eq!(rig.ack(session(2), &["a"]).await, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_of_few_bytes_takes_one_event_all_the_same() {
    for rig in rigs() {
        let mut of = rig.bus.offer(&tenant(), session(1));
        of.make([inbox(1)], 9, 5);
        fill_thread(&rig, &["a", "b"]).await;
        let got = taken(&mut of).await.unwrap();
        assert_eq!((ids_of(&got), got.rest), (ids(&["a"]), Rest::More));
    }
}

/// Routes of all partitions at once share scripts: each takes an offer of the inbox, and none sees what another was handed.
#[tokio::test(flavor = "multi_thread")]
async fn routes_that_share_a_script_hand_out_each_event_once() {
    for rig in rigs() {
        let names: Vec<_> = (0..60).map(|n| format!("{n}")).collect();
        rig.store_all(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let waiting = rig.unrouted().await;
        let epochs = rig.own_all().await;
        let mut offers: Vec<_> = (1..=20).map(|n| offer(&rig, n, 1, 2)).collect();
        let tenant = tenant();
        let routes = (0..PARTITIONS).zip(&epochs).map(|(partition, epoch)| {
            let of = waiting.iter().filter(|(other, ..)| *other == partition);
            let routes: Vec<_> = of.map(|(_, seq, _)| to(*seq, &[inbox(1)])).collect();
            rig.bus.route(&tenant, partition, *epoch, routes, HandOut::ToOffers)
        });
        futures_util::future::try_join_all(routes).await.unwrap();
        let mut got = Vec::new();
        for of in &mut offers {
            if !of.withdraw() {
                let handed = ids_of(&taken(of).await.unwrap());
                assert!(handed.len() <= 2);
                got.extend(handed);
            }
        }
        assert!(!got.is_empty());
        let rest = rig.pull_ids(inbox(1), session(99)).await;
        let order: Vec<_> = waiting.iter().map(|(.., id)| *id).filter(|id| rest.contains(id)).collect();
        assert_eq!(rest, order);
        got.extend(rest);
        got.sort_unstable();
        let mut all: Vec<_> = waiting.iter().map(|(.., id)| *id).collect();
        all.sort_unstable();
        assert_eq!(got, all);
    }
}
