//! Pull, ack, nack, the end of a session, replay.

use std::time::Duration;

use futures_util::future::join_all;
use nexus_store::bus::{Copy, HandOut, MAX_ATTEMPTS, Rest};

use super::rig::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_gives_no_more_than_asked_and_at_least_one() {
    for rig in Rig::each() {
        for (name, size) in [("a", 1000), ("b", 1000), ("c", 5000), ("d", 10)] {
            let mut event = rig.event(name);
            event.event = vec![b'x'; size].into();
            rig.store(event).await;
        }
        rig.route(&[inbox(1)]).await;
        let pull = |max, max_bytes| {
            let bus = rig.bus.clone();
            async move {
                let held = bus.pull(&tenant(), inbox(1), session(1), max, max_bytes).await.unwrap();
                (ids_of(&held), held.rest)
            }
        };
        assert_eq!(pull(0, 10_000).await, (Vec::new(), Rest::Others));
        assert_eq!(pull(1, 10_000).await, (ids(&["a"]), Rest::More));
        // `c` no longer fits, and what is behind it does not overtake it.
        assert_eq!(pull(9, 2000).await, (ids(&["b"]), Rest::More));
        assert_eq!(pull(9, 100).await, (ids(&["c"]), Rest::More));
        assert_eq!(pull(9, 100).await, (ids(&["d"]), Rest::Nothing));
        assert_eq!(pull(9, 10_000).await, (Vec::new(), Rest::Nothing));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_handed_out_is_told_in_full() {
    for rig in Rig::each() {
        rig.fill(&["a"], inbox(1)).await;
        let held = rig.pull(inbox(1), session(1), 9).await;
        assert_eq!(held.len(), 1);
        assert_eq!((held[0].id, held[0].inbox, held[0].attempt), (id("a"), inbox(1), 1));
        assert!(!held[0].replay);
        assert_eq!(held[0].event, rig.event("a").event);
        let since = rig.now();
        let state = Copy::Held { session: session(1), attempt: 1, since };
        assert_eq!(rig.copy("a", inbox(1)).await, Some(state));
        rig.clock.advance(HOUR);
        assert_eq!(rig.ack(session(1), &["a"]).await, 1);
        let state = Copy::Done { session: session(1), attempts: 1, delivered: since, acked: rig.now() };
        assert_eq!(rig.copy("a", inbox(1)).await, Some(state));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_share_an_inbox_without_overlap() {
    for rig in Rig::each() {
        let names: Vec<_> = (0..300).map(|n| format!("{n}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        rig.fill(&names, inbox(1)).await;
        let pulls = (0..60).map(|n| {
            let bus = rig.bus.clone();
            async move { bus.pull(&tenant(), inbox(1), session(n % 3), 7, usize::MAX).await.unwrap() }
        });
        let mut all: Vec<_> = join_all(pulls).await.iter().flat_map(|held| ids_of(held)).collect();
        assert_eq!(all.len(), 300);
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 300);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_a_session_holds_is_acknowledged_and_once() {
    for mut rig in Rig::each() {
        rig.fill(&["a", "b", "c"], inbox(1)).await;
        rig.pull(inbox(1), session(1), 2).await;
        assert_eq!(rig.ack(session(2), &["a"]).await, 0);
        assert_eq!(rig.ack(session(1), &["a", "a", "c", "z"]).await, 1);
        assert_eq!(rig.ack(session(1), &["a"]).await, 0);
        assert!(!rig.nack(session(1), "a", HOUR).await);
        assert!(!rig.nack(session(2), "b", HOUR).await);
        rig.reopen().await;
        rig.end_dead([session(1)]).await;
        assert_eq!(rig.pull_ids(inbox(1), session(3)).await, ids(&["b", "c"]));
        // A session that was ended holds nothing.
        assert_eq!(rig.ack(session(1), &["b"]).await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_reaches_a_session_twice_is_done_with_one_ack() {
    for rig in Rig::each() {
        rig.store_all(&["a"]).await;
        rig.route(&[inbox(1), inbox(2)]).await;
        rig.pull(inbox(1), session(1), 9).await;
        rig.pull(inbox(2), session(1), 9).await;
        assert_eq!(rig.ack(session(1), &["a"]).await, 2);
        assert_eq!(rig.end(session(1)).await, 0);
        assert_eq!(rig.bus.depth(&tenant()).await.unwrap().pending_bytes, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_ended_session_held_comes_first_and_in_order() {
    for rig in Rig::each() {
        rig.fill(&["a", "b", "c", "d", "e"], inbox(1)).await;
        assert_eq!(ids_of(&rig.pull(inbox(1), session(1), 2).await), ids(&["a", "b"]));
        assert_eq!(ids_of(&rig.pull(inbox(1), session(2), 1).await), ids(&["c"]));
        rig.ack(session(1), &["a"]).await;
        assert_eq!(rig.end(session(2)).await, 1);
        assert_eq!(rig.end(session(1)).await, 1);
        assert_eq!(rig.end(session(1)).await, 0);
        let held = rig.pull(inbox(1), session(3), 9).await;
        assert_eq!(ids_of(&held), ids(&["b", "c", "d", "e"]));
        let attempts: Vec<_> = held.iter().map(|held| held.attempt).collect();
        assert_eq!(attempts, [2, 2, 1, 1]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_route_of_another_partition_is_not_overlooked() {
    for rig in Rig::each() {
        rig.store_all(&["a", "b", "c", "d", "e", "f", "g", "h"]).await;
        let mut waiting = rig.unrouted().await;
        // The last places first, one call each, and each is pulled before the next comes.
        waiting.reverse();
        for (partition, seq, id) in waiting {
            let epoch = rig.bus.acquire(&tenant(), partition).await.unwrap();
            let routes = vec![to(seq, &[inbox(1)])];
            rig.bus.route(&tenant(), partition, epoch, routes, HandOut::Nothing).await.unwrap();
            assert_eq!(rig.pull_ids(inbox(1), session(1)).await, [id]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_and_a_pull_at_the_same_time_overlook_nothing() {
    for rig in Rig::each() {
        let mut got = Vec::new();
        for round in 0..60 {
            for n in [0, 1] {
                rig.store(rig.event(&format!("{round}-{n}"))).await;
            }
            let waiting = rig.unrouted().await;
            let epochs = rig.own_all().await;
            let route = |(partition, seq, _): (u16, u64, _)| {
                let (bus, epoch) = (rig.bus.clone(), epochs[usize::from(partition)]);
                let routes = vec![to(seq, &[inbox(1)])];
                async move { bus.route(&tenant(), partition, epoch, routes, HandOut::Nothing).await.unwrap() }
            };
            route(waiting[1]).await;
            // The earlier one comes while the later one is drawn.
            let filler = rig.event(&format!("{round}-f"));
            let (_, (), held) =
                tokio::join!(rig.store(filler), route(waiting[0]), rig.pull(inbox(1), session(1), 9));
            got.extend(ids_of(&held));
            rig.route(&[]).await;
        }
        got.extend(rig.pull_ids(inbox(1), session(1)).await);
        assert_eq!(got.len(), 120);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nack_delays_that_event_only() {
    for mut rig in Rig::each() {
        rig.fill(&["a", "b", "c"], inbox(1)).await;
        rig.pull(inbox(1), session(1), 2).await;
        assert!(rig.nack(session(1), "a", HOUR).await);
        assert!(!rig.nack(session(1), "a", HOUR).await);
        let waiting = Copy::Waiting { attempts: 1, not_before: Some(rig.now() + HOUR) };
        assert_eq!(rig.copy("a", inbox(1)).await, Some(waiting));
        assert_eq!(rig.pull_ids(inbox(1), session(1)).await, ids(&["c"]));
        rig.ack(session(1), &["b", "c"]).await;
        rig.clock.advance(HOUR / 2);
        assert!(rig.pull_ids(inbox(1), session(1)).await.is_empty());
        // The delay goes on over a restart.
        rig.reopen().await;
        assert!(rig.pull_ids(inbox(1), session(1)).await.is_empty());
        rig.fill(&["d"], inbox(1)).await;
        rig.clock.advance(HOUR / 2);
        let held = rig.pull(inbox(1), session(1), 9).await;
        assert_eq!(ids_of(&held), ids(&["a", "d"]));
        assert_eq!(held[0].attempt, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delay_ends_after_an_hour_and_may_be_none() {
    for rig in Rig::each() {
        rig.fill(&["a"], inbox(1)).await;
        rig.pull(inbox(1), session(1), 1).await;
        rig.nack(session(1), "a", Duration::ZERO).await;
        assert_eq!(rig.pull_ids(inbox(1), session(1)).await, ids(&["a"]));
        rig.nack(session(1), "a", 100 * DAY).await;
        assert!(rig.pull_ids(inbox(1), session(1)).await.is_empty());
        rig.clock.advance(HOUR);
        assert_eq!(rig.pull_ids(inbox(1), session(1)).await, ids(&["a"]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_nobody_waits_for_any_more_hands_nothing_out() {
    for rig in Rig::each() {
        let names: Vec<_> = (0..200).map(|n| format!("{n}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        rig.fill(&names, inbox(1)).await;
        let mut got = Vec::new();
        let acme = tenant();
        for n in 0..names.len() {
            // Dropped at whatever point it has come to when the other branch is ready.
            tokio::select! {
                biased;
                held = rig.bus.pull(&acme, inbox(1), session(1), 1, usize::MAX) => {
                    got.extend(ids_of(&held.unwrap()));
                }
                () = async {
                    for _ in 0..n % 40 {
                        tokio::task::yield_now().await;
                    }
                } => {}
            }
        }
        let mut watch = rig.bus.watch_inbox(&tenant(), inbox(1));
        while got.len() < names.len() {
            let more = rig.pull(inbox(1), session(1), 1000).await;
            if more.is_empty() {
                changed(&mut watch).await;
            }
            assert!(more.iter().all(|held| held.attempt == 1));
            got.extend(ids_of(&more));
        }
        let all: std::collections::BTreeSet<_> = got.iter().collect();
        assert_eq!(all.len(), names.len());
        assert_eq!(rig.bus.ack(&tenant(), session(1), got).await.unwrap(), names.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_comes_again_marked_whatever_was_handed_before() {
    for mut rig in Rig::each() {
        rig.fill(&["a", "b"], inbox(1)).await;
        rig.pull(inbox(1), session(1), 9).await;
        rig.ack(session(1), &["a"]).await;
        // `b` is held here still, `z` is unknown.
        let replay = |names: &[&str], inboxes: &[_]| {
            let (bus, ids, inboxes) = (rig.bus.clone(), ids(names), inboxes.to_vec());
            async move { bus.replay(&tenant(), ids, inboxes).await.unwrap() }
        };
        assert_eq!(replay(&["b", "a", "z", "a"], &[inbox(1), inbox(2), inbox(1)]).await, 3);
        let held = rig.pull(inbox(1), session(1), 9).await;
        assert_eq!(ids_of(&held), ids(&["a"]));
        assert!(held[0].replay && held[0].attempt == 1);
        assert_eq!(rig.pull_ids(inbox(2), session(2)).await, ids(&["a", "b"]));
        assert_eq!(rig.ack(session(1), &["a", "b"]).await, 2);
        assert!(matches!(rig.copy("a", inbox(1)).await, Some(Copy::Done { .. })));
        assert!(rig.bus.depth(&tenant()).await.unwrap().pending_bytes > 0);
        rig.reopen().await;
        rig.end_dead([session(1), session(2)]).await;
        assert!(rig.pull_ids(inbox(1), session(1)).await.is_empty());
        let held = rig.pull(inbox(2), session(2), 9).await;
        assert!(held.iter().all(|held| held.replay && held.attempt == 2));
        rig.ack(session(2), &["a", "b"]).await;
        assert_eq!(rig.bus.depth(&tenant()).await.unwrap().pending_bytes, 0);
        // An event that concerned nobody can be replayed, one that is not routed yet will be.
        rig.store_all(&["c"]).await;
        rig.route(&[]).await;
        rig.store_all(&["d"]).await;
        let count = rig.bus.replay(&tenant(), ids(&["c", "d"]), vec![inbox(1)]).await.unwrap();
        assert_eq!(count, 1);
        assert_eq!(rig.pull_ids(inbox(1), session(1)).await, ids(&["c"]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_are_told_and_counted_over_a_kill() {
    for mut rig in Rig::each() {
        rig.fill(&["a"], inbox(1)).await;
        for attempt in 1..MAX_ATTEMPTS {
            let held = rig.pull(inbox(1), session(1), 9).await;
            assert_eq!(held[0].attempt, attempt);
            rig.crash();
            rig.end_dead([session(1)]).await;
        }
        assert_eq!(rig.pull(inbox(1), session(1), 9).await[0].attempt, MAX_ATTEMPTS);
    }
}
