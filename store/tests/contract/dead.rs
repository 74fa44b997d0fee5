//! Dead letters.

use std::time::Duration;

use nexus_store::bus::{Append, Copy, DeadLetter, MAX_ATTEMPTS};

use super::rig::*;

async fn dead(rig: &Rig) -> Vec<DeadLetter> {
    rig.bus.dead(&tenant(), inbox(1), None, 9).await.unwrap()
}

/// What the tenant's quota counts, its parked copies, and what these take of the quota.
async fn load(rig: &Rig) -> (u64, u64, u64) {
    let depth = rig.bus.depth(&tenant()).await.unwrap();
    (depth.pending_bytes, depth.dead, depth.dead_bytes)
}

/// Hands an event out as often as may be and has it refused each time.
async fn refuse_to_the_end(rig: &Rig, name: &str) {
    for _ in 0..MAX_ATTEMPTS {
        assert_eq!(rig.pull_ids(inbox(1), session(1)).await, ids(&[name]));
        assert!(rig.nack(session(1), name, Duration::ZERO).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_was_refused_five_times_is_parked() {
    for mut rig in Rig::each() {
        rig.fill(&["a"], inbox(1)).await;
        refuse_to_the_end(&rig, "a").await;
        assert!(rig.pull_ids(inbox(1), session(1)).await.is_empty());
        let bytes = rig.bus.depth(&tenant()).await.unwrap().stored_bytes;
        let letter = DeadLetter {
            seq: 1,
            id: id("a"),
            attempts: MAX_ATTEMPTS,
            reason: "busy".into(),
            parked: rig.now(),
            bytes,
        };
        assert_eq!(dead(&rig).await, std::slice::from_ref(&letter));
        rig.reopen().await;
        assert_eq!(dead(&rig).await, [letter]);
        assert!(rig.pull_ids(inbox(1), session(1)).await.is_empty());
        let state = Copy::Dead { attempts: MAX_ATTEMPTS, reason: "busy".into() };
        assert_eq!(rig.copy("a", inbox(1)).await, Some(state));
        let depth = rig.bus.inbox_depth(&tenant(), inbox(1)).await.unwrap();
        assert_eq!((depth.waiting, depth.held, depth.dead), (0, 0, 1));
        // It is kept, and counts.
        assert_eq!(load(&rig).await, (bytes, 1, bytes));
        rig.clock.advance(99 * DAY);
        assert_eq!(rig.sweep(DAY).await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ends_without_an_ack_counts_as_an_attempt() {
    for rig in Rig::each() {
        rig.fill(&["a", "b"], inbox(1)).await;
        for n in 1..=MAX_ATTEMPTS {
            let held = rig.pull(inbox(1), session(1), 1).await;
            assert_eq!((held[0].id, held[0].attempt), (id("a"), n));
            assert_eq!(rig.end(session(1)).await, 1);
        }
        assert_eq!(rig.pull_ids(inbox(1), session(1)).await, ids(&["b"]));
        let letters = dead(&rig).await;
        assert_eq!(letters.len(), 1);
        assert_eq!(letters[0].reason, "the session ended without an acknowledgement");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_kills_it_is_parked() {
    for mut rig in Rig::each() {
        rig.fill(&["a", "b"], inbox(1)).await;
        for _ in 0..MAX_ATTEMPTS {
            rig.pull(inbox(1), session(1), 1).await;
            rig.crash();
            rig.end_dead([session(1)]).await;
        }
        // At the end of the session or when it would be handed out once more.
        assert_eq!(ids_of(&rig.pull(inbox(1), session(1), 1).await), ids(&["b"]));
        assert_eq!(dead(&rig).await.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_event_can_wait_again() {
    for mut rig in Rig::each() {
        rig.fill(&["a"], inbox(1)).await;
        refuse_to_the_end(&rig, "a").await;
        rig.fill(&["b"], inbox(1)).await;
        assert_eq!(rig.pull_ids(inbox(1), session(1)).await, ids(&["b"]));
        let requeue = |names: &[&str]| {
            let (bus, ids) = (rig.bus.clone(), ids(names));
            async move { bus.requeue(&tenant(), inbox(1), ids).await.unwrap() }
        };
        assert_eq!(requeue(&["a", "a", "b", "z"]).await, 1);
        assert_eq!(requeue(&["a"]).await, 0);
        assert!(rig.bus.depth(&tenant()).await.unwrap().pending_bytes > 0);
        rig.crash();
        rig.end_dead([session(1)]).await;
        let held = rig.pull(inbox(1), session(1), 9).await;
        assert_eq!(ids_of(&held), ids(&["a", "b"]));
        assert_eq!((held[0].attempt, held[0].replay), (1, false));
        assert!(dead(&rig).await.is_empty());
        rig.ack(session(1), &["a", "b"]).await;
        assert_eq!(rig.bus.depth(&tenant()).await.unwrap().pending_bytes, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_takes_the_place_of_a_dead_letter() {
    for rig in Rig::each() {
        rig.fill(&["a"], inbox(1)).await;
        refuse_to_the_end(&rig, "a").await;
        let count = rig.bus.replay(&tenant(), ids(&["a"]), vec![inbox(1)]).await.unwrap();
        assert_eq!(count, 1);
        assert!(dead(&rig).await.is_empty());
        assert_eq!(rig.pull_ids(inbox(1), session(1)).await, ids(&["a"]));
        rig.ack(session(1), &["a"]).await;
        rig.clock.advance(2 * DAY);
        assert_eq!(rig.sweep(DAY).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_in_pages() {
    for rig in Rig::each() {
        rig.fill(&["a", "b", "c"], inbox(1)).await;
        for _ in 0..MAX_ATTEMPTS {
            rig.pull(inbox(1), session(1), 9).await;
            rig.end(session(1)).await;
        }
        // Ended, not refused: each was out five times and is parked at the last end.
        let acme = tenant();
        let list = |after| rig.bus.dead(&acme, inbox(1), after, 2);
        let first: Vec<_> = list(None).await.unwrap().into_iter().map(|letter| letter.seq).collect();
        assert_eq!(first, [1, 2]);
        let rest: Vec<_> = list(Some(2)).await.unwrap().into_iter().map(|letter| letter.seq).collect();
        assert_eq!(rest, [3]);
        assert!(list(Some(3)).await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_event_can_be_given_up() {
    for mut rig in Rig::each() {
        rig.store_all(&["a"]).await;
        rig.route(&[inbox(1), inbox(2)]).await;
        refuse_to_the_end(&rig, "a").await;
        let bytes = rig.bus.depth(&tenant()).await.unwrap().stored_bytes;
        // Another copy waits: the event counts once.
        assert_eq!(load(&rig).await, (bytes, 1, bytes));
        let give_up = |rig: &Rig, names: &[&str]| {
            let (bus, ids) = (rig.bus.clone(), ids(names));
            async move { bus.drop_dead(&tenant(), inbox(1), ids).await.unwrap() }
        };
        assert_eq!(give_up(&rig, &["a", "a", "z"]).await, 1);
        assert_eq!(give_up(&rig, &["a"]).await, 0);
        assert_eq!(load(&rig).await, (bytes, 0, 0));
        let dropped = rig.now();
        let state = Copy::Dropped { attempts: MAX_ATTEMPTS, reason: "busy".into(), dropped };
        rig.crash();
        assert_eq!(load(&rig).await, (bytes, 0, 0));
        assert_eq!(rig.copy("a", inbox(1)).await, Some(state));
        assert!(dead(&rig).await.is_empty());
        assert!(rig.pull_ids(inbox(1), session(1)).await.is_empty());
        assert_eq!(rig.pull_ids(inbox(2), session(2)).await, ids(&["a"]));
        rig.ack(session(2), &["a"]).await;
        assert_eq!(load(&rig).await, (0, 0, 0));
        // It can be replayed until it is swept.
        assert_eq!(rig.bus.replay(&tenant(), ids(&["a"]), vec![inbox(1)]).await.unwrap(), 1);
        assert_eq!(load(&rig).await, (bytes, 0, 0));
        assert_eq!(rig.pull_ids(inbox(1), session(1)).await, ids(&["a"]));
        rig.ack(session(1), &["a"]).await;
        rig.clock.advance(2 * DAY);
        assert_eq!(rig.sweep(DAY).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_bounded_by_the_quota_of_their_tenant() {
    for mut rig in Rig::each() {
        rig.fill(&["a"], inbox(1)).await;
        refuse_to_the_end(&rig, "a").await;
        let (bytes, ..) = load(&rig).await;
        let append = |rig: &Rig, key: &str, name: &str| {
            let (bus, key) = (rig.bus.clone(), key.parse().unwrap());
            let event = Append { quota_bytes: bytes + bytes / 2, ..rig.event(name) };
            async move { bus.append(&key, event).await }
        };
        assert_eq!(label(append(&rig, "acme/acme", "b").await), "quota");
        assert!(append(&rig, "acme/other", "b").await.is_ok());
        rig.crash();
        assert_eq!(label(append(&rig, "acme/acme", "b").await), "quota");
        assert_eq!(rig.bus.requeue(&tenant(), inbox(1), ids(&["a"])).await.unwrap(), 1);
        assert_eq!(load(&rig).await, (bytes, 0, 0));
        assert_eq!(label(append(&rig, "acme/acme", "b").await), "quota");
        assert_eq!(rig.pull_ids(inbox(1), session(1)).await, ids(&["a"]));
        rig.ack(session(1), &["a"]).await;
        assert!(append(&rig, "acme/acme", "b").await.is_ok());
        // A replay counts as well.
        rig.bus.replay(&tenant(), ids(&["a"]), vec![inbox(1)]).await.unwrap();
        assert_eq!(label(append(&rig, "acme/acme", "c").await), "quota");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_sent_uses_up_no_attempt() {
    for mut rig in Rig::each() {
        let acme = tenant();
        rig.fill(&["a", "b", "c"], inbox(1)).await;
        for _ in 0..2 * MAX_ATTEMPTS {
            let mut watch = rig.bus.watch_inbox(&tenant(), inbox(1));
            assert_eq!(rig.pull_ids(inbox(1), session(1)).await, ids(&["a", "b", "c"]));
            watch.mark_unchanged();
            // Whatever is said twice or held by another.
            let unsent = || ids(&["b", "c", "b", "z"]);
            let end = |session| rig.bus.end_session(&acme, session, unsent());
            assert_eq!(end(session(2)).await.unwrap(), 0);
            assert!(rig.nack(session(1), "a", Duration::ZERO).await);
            assert_eq!(end(session(1)).await.unwrap(), 2);
            changed(&mut watch).await;
            assert_eq!(rig.ack(session(1), &["b"]).await, 0);
            rig.bus.requeue(&tenant(), inbox(1), ids(&["a"])).await.unwrap();
            rig.crash();
            rig.end_dead([session(1)]).await;
        }
        let held = rig.pull(inbox(1), session(1), 9).await;
        let attempts: Vec<_> = held.iter().map(|held| (held.id, held.attempt)).collect();
        assert_eq!(attempts[1..], [(id("b"), 1), (id("c"), 1)]);
        assert_eq!(rig.end(session(1)).await, 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_comes_back_before_what_was_not() {
    for rig in Rig::each() {
        rig.fill(&["a", "b", "c"], inbox(1)).await;
        rig.pull(inbox(1), session(1), 9).await;
        let mut watch = rig.bus.watch_inbox(&tenant(), inbox(1));
        let next = async {
            changed(&mut watch).await;
            rig.pull(inbox(1), session(2), 9).await
        };
        let acme = tenant();
        let end = rig.bus.end_session(&acme, session(1), ids(&["b", "c"]));
        let (ended, held) = tokio::join!(end, next);
        assert_eq!(ended.unwrap(), 3);
        // Who is woken by it gets all of it, in order.
        let held: Vec<_> = held.iter().map(|held| (held.id, held.attempt)).collect();
        assert_eq!(held, [(id("a"), 2), (id("b"), 1), (id("c"), 1)]);
    }
}
