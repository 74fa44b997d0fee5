//! The sweep: it never touches what is not handled.

use nexus_store::bus::Swept;

use super::rig::*;

async fn kept(rig: &Rig, names: &[&str]) -> Vec<bool> {
    let mut kept = Vec::new();
    for name in names {
        kept.push(rig.bus.event(&tenant(), id(name)).await.unwrap().is_some());
    }
    kept
}

#[tokio::test(flavor = "multi_thread")]
async fn only_handled_events_past_their_retention_go() {
    for mut rig in Rig::each() {
        // `a` handled, `b` held, `c` waits, `d` of nobody, `e` unrouted.
        rig.fill(&["a", "b"], inbox(1)).await;
        rig.pull(inbox(1), session(1), 2).await;
        rig.ack(session(1), &["a"]).await;
        rig.fill(&["c"], inbox(1)).await;
        rig.store_all(&["d"]).await;
        rig.route(&[]).await;
        rig.store_all(&["e"]).await;
        let all = ["a", "b", "c", "d", "e"];
        assert_eq!(rig.sweep(DAY).await, 0);
        rig.clock.advance(DAY);
        assert_eq!(rig.sweep(DAY).await, 2);
        assert_eq!(kept(&rig, &all).await, [false, true, true, false, true]);
        assert_eq!(rig.sweep(DAY).await, 0);
        rig.reopen().await;
        assert_eq!(kept(&rig, &all).await, [false, true, true, false, true]);
        rig.end_dead([session(1)]).await;
        assert_eq!(rig.pull_ids(inbox(1), session(2)).await, ids(&["b", "c"]));
        rig.ack(session(2), &["b", "c"]).await;
        rig.route(&[]).await;
        assert_eq!(rig.sweep(DAY).await, 3);
        assert_eq!(rig.bus.depth(&tenant()).await.unwrap().stored_bytes, 0);
        let stranger = "acme/stranger".parse().unwrap();
        assert_eq!(rig.bus.sweep(&stranger, DAY).await.unwrap(), Swept::default());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_keeps_an_event_and_later_sweeps_find_it() {
    for rig in Rig::each() {
        rig.fill(&["a", "b", "c"], inbox(1)).await;
        rig.pull(inbox(1), session(1), 9).await;
        rig.ack(session(1), &["a", "b", "c"]).await;
        rig.bus.replay(&tenant(), ids(&["b"]), vec![inbox(2)]).await.unwrap();
        rig.clock.advance(2 * DAY);
        assert_eq!(rig.sweep(DAY).await, 2);
        assert_eq!(rig.sweep(DAY).await, 0);
        assert_eq!(rig.pull_ids(inbox(2), session(2)).await, ids(&["b"]));
        rig.ack(session(2), &["b"]).await;
        assert_eq!(rig.sweep(DAY).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swept_delivery_is_a_duplicate_as_long_as_its_key_lives() {
    for rig in Rig::each() {
        rig.store_all(&["a"]).await;
        rig.route(&[]).await;
        rig.clock.advance(2 * DAY);
        assert_eq!(rig.sweep(DAY).await, 1);
        let outcome = rig.bus.append(&tenant(), rig.event("a")).await.unwrap();
        assert_eq!(outcome, nexus_store::bus::Appended::Duplicate(id("a")));
    }
}
