//! What a restart keeps, in good order or not.

use nexus_core::change::ChangeKey;
use nexus_core::kind::Rank;
use nexus_store::bus::{Appended, Copy};

use super::rig::*;

#[tokio::test(flavor = "multi_thread")]
async fn everything_answered_survives_a_kill() {
    for mut rig in Rig::each() {
        let mut twin = rig.event("b");
        twin.change = ChangeKey::single("issue:a", Rank::Birth);
        twin.thread_key = rig.event("a").thread_key;
        rig.store_all(&["a"]).await;
        rig.route(&[inbox(1)]).await;
        rig.fill(&["c", "d"], inbox(1)).await;
        rig.store_all(&["e"]).await;
        rig.pull(inbox(1), session(1), 9).await;
        rig.ack(session(1), &["a"]).await;
        rig.nack(session(1), "c", HOUR).await;
        rig.crash();
        // The delivery key, the route, the receipt, the delay, the attempt, what is unrouted.
        let again = rig.bus.append(&tenant(), rig.event("a")).await.unwrap();
        assert_eq!(again, Appended::Duplicate(id("a")));
        assert!(matches!(rig.copy("a", inbox(1)).await, Some(Copy::Done { .. })));
        let waiting: Vec<_> = rig.unrouted().await.into_iter().map(|(_, _, id)| id).collect();
        assert_eq!(waiting, ids(&["e"]));
        rig.end_dead([session(1)]).await;
        let held = rig.pull(inbox(1), session(2), 9).await;
        assert_eq!(ids_of(&held), ids(&["d"]));
        assert_eq!(held[0].attempt, 2);
        // The change key.
        rig.store(twin).await;
        rig.route(&[inbox(1)]).await;
        assert_eq!(rig.copy("b", inbox(1)).await, Some(Copy::Coalesced));
        rig.clock.advance(HOUR);
        assert_eq!(rig.pull_ids(inbox(1), session(2)).await, ids(&["c", "e"]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_process_held_comes_back_once_its_sessions_are_ended() {
    for mut rig in Rig::each() {
        rig.fill(&["a", "b", "c"], inbox(1)).await;
        rig.pull(inbox(1), session(1), 2).await;
        rig.reopen().await;
        rig.end_dead([session(1)]).await;
        assert_eq!(rig.pull_ids(inbox(1), session(2)).await, ids(&["a", "b", "c"]));
        rig.crash();
        rig.end_dead([session(2)]).await;
        assert_eq!(rig.pull_ids(inbox(1), session(3)).await, ids(&["a", "b", "c"]));
    }
}
