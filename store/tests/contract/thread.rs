//! Order within a thread, when several sessions share an inbox: one session has a thread at a time.

use std::time::Duration;

use nexus_store::bus::{MAX_ATTEMPTS, Rest};

use super::rig::*;

/// Events of one thread that a session holds, and what waits behind them.
async fn fill(rig: &Rig, events: &[(&str, &str)]) {
    for (name, thread) in events {
        let mut event = rig.event(name);
        (*thread).clone_into(&mut event.thread_key);
        rig.store(event).await;
    }
    rig.route(&[inbox(1)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_is_with_one_session_at_a_time() {
    for rig in Rig::each() {
        fill(&rig, &[("a", "one"), ("b", "one"), ("c", "two"), ("d", "one"), ("e", "three")]).await;
        assert_eq!(ids_of(&rig.pull(inbox(1), session(1), 1).await), ids(&["a"]));
        // What another session is at is passed over; the rest is not held up.
        assert_eq!(ids_of(&rig.pull(inbox(1), session(2), 1).await), ids(&["c"]));
        assert_eq!(rig.pull_ids(inbox(1), session(2)).await, ids(&["e"]));
        assert_eq!(rig.pull_ids(inbox(1), session(2)).await, []);
        // The one that has it gets more of it.
        assert_eq!(ids_of(&rig.pull(inbox(1), session(1), 1).await), ids(&["b"]));
        assert_eq!(rig.ack(session(1), &["b"]).await, 1);
        assert_eq!(rig.pull_ids(inbox(1), session(2)).await, []);
        let depth = rig.bus.inbox_depth(&tenant(), inbox(1)).await.unwrap();
        assert_eq!((depth.waiting, depth.held), (1, 3));
        assert_eq!(rig.ack(session(1), &["a"]).await, 1);
        assert_eq!(rig.pull_ids(inbox(1), session(2)).await, ids(&["d"]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_through_another_inbox_holds_up_nothing() {
    for rig in Rig::each() {
        fill(&rig, &[("a", "one"), ("b", "one")]).await;
        rig.bus.replay(&tenant(), ids(&["a", "b"]), vec![inbox(2)]).await.unwrap();
        assert_eq!(ids_of(&rig.pull(inbox(1), session(1), 1).await), ids(&["a"]));
        assert_eq!(rig.pull_ids(inbox(2), session(2)).await, ids(&["a", "b"]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ends_gives_its_threads_back_in_order() {
    for mut rig in Rig::each() {
        fill(&rig, &[("a", "one"), ("b", "one"), ("c", "one")]).await;
        assert_eq!(ids_of(&rig.pull(inbox(1), session(1), 2).await), ids(&["a", "b"]));
        // The agent is back with another session before the end of the first is known.
        assert_eq!(rig.pull_ids(inbox(1), session(2)).await, []);
        let mut watch = rig.bus.watch_inbox(&tenant(), inbox(1));
        rig.end(session(1)).await;
        changed(&mut watch).await;
        assert_eq!(ids_of(&rig.pull(inbox(1), session(2), 1).await), ids(&["a"]));
        assert_eq!(rig.pull_ids(inbox(1), session(3)).await, []);
        // So it is after a restart, for holds that outlive the process.
        rig.reopen().await;
        rig.end_dead([session(1), session(2)]).await;
        assert_eq!(rig.pull_ids(inbox(1), session(3)).await, ids(&["a", "b", "c"]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_thread_is_woken() {
    for rig in Rig::each() {
        let names: Vec<_> = (0..=MAX_ATTEMPTS).map(|n| format!("a{n}")).collect();
        let all: Vec<_> = names.iter().map(|name| (name.as_str(), "one")).collect();
        fill(&rig, &all).await;
        let mut waiting = names.iter().map(|name| id(name)).collect::<Vec<_>>();
        let mut watch = rig.bus.watch_inbox(&tenant(), inbox(1));
        // Acknowledged, delayed, parked: the thread is free each time.
        for how in 0..3 {
            let held = rig.pull(inbox(1), session(1), 1).await;
            assert_eq!(ids_of(&held), [waiting.remove(0)]);
            assert_eq!(rig.pull_ids(inbox(1), session(2)).await, []);
            watch.mark_unchanged();
            let name = names[names.len() - waiting.len() - 1].as_str();
            match how {
                0 => drop(rig.ack(session(1), &[name]).await),
                1 => drop(rig.nack(session(1), name, HOUR).await),
                _ => {
                    for _ in 1..MAX_ATTEMPTS {
                        rig.nack(session(1), name, Duration::ZERO).await;
                        assert_eq!(ids_of(&rig.pull(inbox(1), session(1), 1).await), ids(&[name]));
                    }
                    assert_eq!(rig.pull_ids(inbox(1), session(2)).await, []);
                    watch.mark_unchanged();
                    rig.nack(session(1), name, Duration::ZERO).await;
                }
            }
            changed(&mut watch).await;
        }
        assert_eq!(rig.pull_ids(inbox(1), session(2)).await, waiting);
    }
}

/// One thread with much that waits does not hide the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_thread_is_passed_over() {
    for rig in Rig::each() {
        let names: Vec<_> = (0..300).map(|n| format!("{n}")).collect();
        let mut all: Vec<_> = names.iter().map(|name| (name.as_str(), "long")).collect();
        all.extend([("x", "other"), ("y", "other")]);
        fill(&rig, &all).await;
        assert_eq!(ids_of(&rig.pull(inbox(1), session(1), 1).await), ids(&["0"]));
        for name in ["x", "y"] {
            assert_eq!(ids_of(&rig.pull(inbox(1), session(2), 1).await), ids(&[name]));
        }
        rig.ack(session(1), &["0"]).await;
        let rest: Vec<_> = names[1..].iter().map(|name| id(name)).collect();
        assert_eq!(rig.pull_ids(inbox(1), session(2)).await, rest);
    }
}

/// Who is told that nothing is left does not look again, and has nobody else look: so it must be true for all.
#[tokio::test(flavor = "multi_thread")]
async fn a_pull_says_what_is_left_and_for_whom() {
    for rig in Rig::each() {
        let rest = |n, max| {
            let bus = rig.bus.clone();
            async move { bus.pull(&tenant(), inbox(1), session(n), max, usize::MAX).await.unwrap().rest }
        };
        assert_eq!(rest(1, 1).await, Rest::Nothing);
        // So many of a thread that a pull does not look at all of them.
        let names: Vec<_> = (0..600).map(|n| format!("{n}")).collect();
        let all: Vec<_> = names.iter().map(|name| (name.as_str(), "long")).collect();
        fill(&rig, &all).await;
        assert_eq!(rest(1, 1).await, Rest::More);
        // Whoever may not have it is told so, however often it asks.
        for _ in 0..3 {
            assert_eq!(rest(2, 1).await, Rest::Others);
        }
        assert_eq!(rest(1, 597).await, Rest::More);
        assert_eq!(rest(2, 1).await, Rest::Others);
        // The last two: one is left, then none, although no more was asked for.
        assert_eq!((rest(1, 1).await, rest(1, 1).await), (Rest::More, Rest::Nothing));
        assert_eq!(rest(2, 1).await, Rest::Nothing);
    }
}

/// Who came to the end of what it may pass over is told when another takes what hid the rest.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_into_view_is_told() {
    for rig in Rig::each() {
        let names: Vec<_> = (0..600).map(|n| format!("{n}")).collect();
        let mut all: Vec<_> = names.iter().map(|name| (name.as_str(), "long")).collect();
        all.push(("x", "other"));
        fill(&rig, &all).await;
        assert_eq!(rig.pull(inbox(1), session(1), 1).await.len(), 1);
        assert!(rig.pull(inbox(1), session(2), 1).await.is_empty());
        let mut watch = rig.bus.watch_inbox(&tenant(), inbox(1));
        assert_eq!(rig.pull(inbox(1), session(1), 200).await.len(), 200);
        changed(&mut watch).await;
        assert_eq!(ids_of(&rig.pull(inbox(1), session(2), 1).await), ids(&["x"]));
    }
}
