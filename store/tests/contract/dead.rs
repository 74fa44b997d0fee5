//! Dead letters.

use std::time::Duration;

use nexus_store::bus::{Copy, DeadLetter, MAX_ATTEMPTS};

use super::rig::*;

async fn dead(rig: &Rig) -> Vec<DeadLetter> {
    rig.bus.dead(&tenant(), inbox(1), 9).await.unwrap()
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
        let letter = DeadLetter { id: id("a"), attempts: MAX_ATTEMPTS, reason: "busy".into() };
        assert_eq!(dead(&rig).await, std::slice::from_ref(&letter));
        rig.reopen().await;
        assert_eq!(dead(&rig).await, [letter]);
        assert!(rig.pull_ids(inbox(1), session(1)).await.is_empty());
        let state = Copy::Dead { attempts: MAX_ATTEMPTS, reason: "busy".into() };
        assert_eq!(rig.copy("a", inbox(1)).await, Some(state));
        let depth = rig.bus.inbox_depth(&tenant(), inbox(1)).await.unwrap();
        assert_eq!((depth.waiting, depth.held, depth.dead), (0, 0, 1));
        // It is kept, and no load.
        assert_eq!(rig.bus.depth(&tenant()).await.unwrap().pending_bytes, 0);
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
