//! Route: fencing, idempotence, coalescing.

use nexus_core::change::ChangeKey;
use nexus_core::kind::Rank;
use nexus_store::bus::{Append, Copy, HandOut};

use super::rig::*;

fn of_thread(rig: &Rig, name: &str, change: ChangeKey) -> Append {
    let mut event = rig.event(name);
    event.thread_key = "one".into();
    event.change = change;
    event
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_owner_changes_nothing() {
    for mut rig in Rig::each() {
        rig.store_all(&["a", "b"]).await;
        let (partition, seq, _) = rig.unrouted().await[0];
        let old = rig.bus.acquire(&tenant(), partition).await.unwrap();
        rig.reopen().await;
        let new = rig.bus.acquire(&tenant(), partition).await.unwrap();
        assert!(new > old);
        let routes = || vec![to(seq, &[inbox(1)])];
        let outcome = rig.bus.route(&tenant(), partition, old, routes(), HandOut::Nothing).await;
        assert_eq!(label(outcome), "fenced");
        assert_eq!(rig.unrouted().await.len(), 2);
        assert!(rig.pull(inbox(1), session(1), 9).await.is_empty());
        rig.bus.route(&tenant(), partition, new, routes(), HandOut::Nothing).await.unwrap();
        assert_eq!(rig.pull_ids(inbox(1), session(1)).await, ids(&["a"]));
        // Epochs of other partitions are their own, and one that was never given is no key.
        let other = (partition + 1) % 8;
        let outcome = rig.bus.route(&tenant(), other, new, vec![], HandOut::Nothing).await;
        assert_eq!(label(outcome), "fenced");
        let stranger = "acme/stranger".parse().unwrap();
        for epoch in [0, 1] {
            assert_eq!(label(rig.bus.route(&stranger, 0, epoch, vec![], HandOut::Nothing).await), "fenced");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_nobody_acquired_is_nobodys() {
    for rig in Rig::each() {
        rig.store_all(&["a"]).await;
        let (partition, seq, _) = rig.unrouted().await[0];
        for epoch in [0, 1] {
            let outcome = rig
                .bus
                .route(&tenant(), partition, epoch, vec![to(seq, &[inbox(1)])], HandOut::Nothing)
                .await;
            assert_eq!(label(outcome), "fenced");
        }
        assert_eq!(rig.unrouted().await.len(), 1);
        // The first epoch is none that anybody could have by default.
        assert!(rig.bus.acquire(&tenant(), partition).await.unwrap() > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_routed_event_is_not_routed_again() {
    for rig in Rig::each() {
        rig.store_all(&["a"]).await;
        let (partition, seq, _) = rig.unrouted().await[0];
        let epoch = rig.bus.acquire(&tenant(), partition).await.unwrap();
        // Twice in one call, again later, unknown places, and inboxes named twice.
        let routes = vec![to(seq, &[inbox(1), inbox(1)]), to(seq, &[inbox(2)]), to(99, &[inbox(1)])];
        rig.bus.route(&tenant(), partition, epoch, routes, HandOut::Nothing).await.unwrap();
        assert!(rig.unrouted().await.is_empty());
        assert_eq!(rig.pull_ids(inbox(1), session(1)).await, ids(&["a"]));
        assert_eq!(rig.ack(session(1), &["a"]).await, 1);
        let again = vec![to(seq, &[inbox(1), inbox(2)])];
        rig.bus.route(&tenant(), partition, epoch, again, HandOut::Nothing).await.unwrap();
        assert!(rig.pull_ids(inbox(1), session(1)).await.is_empty());
        assert!(rig.pull_ids(inbox(2), session(1)).await.is_empty());
        let record = rig.bus.event(&tenant(), id("a")).await.unwrap().unwrap();
        assert!(record.summary.routed);
        assert_eq!(record.decision.unwrap(), r#"{"seq":1}"#);
        assert_eq!(record.copies.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_of_another_partition_is_left_alone() {
    for rig in Rig::each() {
        rig.store_all(&["a"]).await;
        let (partition, seq, _) = rig.unrouted().await[0];
        let other = (partition + 1) % 8;
        let epoch = rig.bus.acquire(&tenant(), other).await.unwrap();
        let routes = vec![to(seq, &[inbox(1)])];
        rig.bus.route(&tenant(), other, epoch, routes, HandOut::Nothing).await.unwrap();
        assert_eq!(rig.unrouted().await.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inbox_is_told_of_a_change_once_unless_more_is_said() {
    for mut rig in Rig::each() {
        let update = ChangeKey::single("history:7", Rank::Update);
        let created =
            ChangeKey { keys: vec!["task:1".into()], covers: vec!["history:7".into()], rank: Rank::Birth };
        rig.store(of_thread(&rig, "a", update.clone())).await;
        rig.store(of_thread(&rig, "b", created.clone())).await;
        rig.store(of_thread(&rig, "c", update.clone())).await;
        // Three of one change in one call: a creation is never left out for an update.
        rig.route(&[inbox(1)]).await;
        assert_eq!(rig.copy("c", inbox(1)).await, Some(Copy::Coalesced));
        // Another inbox was told nothing yet, and the claims outlive a restart.
        rig.reopen().await;
        rig.store(of_thread(&rig, "d", update.clone())).await;
        rig.store(of_thread(&rig, "e", created.clone())).await;
        rig.route(&[inbox(1), inbox(2)]).await;
        assert_eq!(rig.pull_ids(inbox(1), session(1)).await, ids(&["a", "b"]));
        assert_eq!(rig.pull_ids(inbox(2), session(2)).await, ids(&["d", "e"]));
        assert_eq!(rig.copy("d", inbox(1)).await, Some(Copy::Coalesced));
        // Only 72 hours long, with or without a sweep.
        for name in ["f", "g"] {
            rig.clock.advance(72 * HOUR);
            rig.store(of_thread(&rig, name, update.clone())).await;
            rig.route(&[inbox(1)]).await;
            assert_eq!(rig.pull_ids(inbox(1), session(1)).await, ids(&[name]));
            rig.sweep(30 * DAY).await;
            rig.store(of_thread(&rig, &format!("{name}2"), update.clone())).await;
            rig.route(&[inbox(1)]).await;
            assert!(rig.pull_ids(inbox(1), session(1)).await.is_empty());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_was_left_out_everywhere_is_not_pending() {
    for rig in Rig::each() {
        let change = ChangeKey::single("c", Rank::Update);
        rig.store(of_thread(&rig, "a", change.clone())).await;
        rig.route(&[inbox(1)]).await;
        let before = rig.bus.depth(&tenant()).await.unwrap().pending_bytes;
        rig.store(of_thread(&rig, "b", change)).await;
        assert!(rig.bus.depth(&tenant()).await.unwrap().pending_bytes > before);
        rig.route(&[inbox(1)]).await;
        assert_eq!(rig.bus.depth(&tenant()).await.unwrap().pending_bytes, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_told_in_full_stays_told_in_full() {
    for rig in Rig::each() {
        let both = ChangeKey { keys: vec!["x".into(), "y".into()], covers: vec![], rank: Rank::Update };
        let changes = [
            ("a", ChangeKey::single("x", Rank::Update)),
            ("b", ChangeKey::single("x", Rank::Birth)),
            ("c", ChangeKey::single("x", Rank::Birth)),
            ("d", both),
            ("e", ChangeKey::single("x", Rank::Birth)),
            ("f", ChangeKey::single("y", Rank::Birth)),
        ];
        for (name, change) in changes {
            rig.store(of_thread(&rig, name, change)).await;
            rig.route(&[inbox(1)]).await;
        }
        assert_eq!(rig.pull_ids(inbox(1), session(1)).await, ids(&["a", "b", "d", "f"]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_to_be_routed_is_read_by_bytes_and_at_least_one() {
    for rig in Rig::each() {
        for (name, mib) in [("a", 3), ("b", 4), ("c", 3), ("d", 9), ("e", 1)] {
            let mut event = of_thread(&rig, name, ChangeKey::single(name, Rank::Birth));
            event.event = vec![b'x'; mib << 20].into();
            rig.store(event).await;
        }
        let (partition, ..) = rig.unrouted().await[0];
        let (mut after, mut calls) = (0, Vec::new());
        loop {
            let found = rig.bus.unrouted(&tenant(), partition, after, 99).await.unwrap();
            let Some(last) = found.last() else {
                break;
            };
            after = last.seq;
            calls.push(found.iter().map(|event| event.seq).collect::<Vec<_>>());
        }
        assert_eq!(calls, [vec![1, 2], vec![3], vec![4], vec![5]]);
    }
}
