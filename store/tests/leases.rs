//! The embedded log's leases, which die with its process: nobody else could hold anything, so nobody has to end the
//! sessions of before. The contract does not promise that of other backends.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is how a test reports")]

#[path = "contract/rig.rs"]
#[expect(dead_code, reason = "the contract's rig has more than is needed here")]
mod rig;

use nexus_store::bus::{Copy, MAX_ATTEMPTS};

use crate::rig::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_returns_at_once_what_was_held() {
    let mut rig = Rig::new(Backend::Embedded);
    rig.fill(&["a", "b", "c"], inbox(1)).await;
    rig.pull(inbox(1), session(1), 2).await;
    rig.reopen().await;
    assert_eq!(rig.copy("a", inbox(1)).await, Some(Copy::Waiting { attempts: 1, not_before: None }));
    assert_eq!(rig.end(session(1)).await, 0);
    assert_eq!(rig.pull_ids(inbox(1), session(2)).await, ids(&["a", "b", "c"]));
    // A session of before the restart holds nothing.
    assert_eq!(rig.ack(session(1), &["a"]).await, 0);
    rig.crash();
    assert_eq!(rig.end(session(2)).await, 0);
    assert_eq!(rig.pull_ids(inbox(1), session(3)).await, ids(&["a", "b", "c"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_kills_an_event_is_parked_when_it_would_be_handed_out_once_more() {
    let mut rig = Rig::new(Backend::Embedded);
    rig.fill(&["a", "b"], inbox(1)).await;
    for _ in 0..MAX_ATTEMPTS {
        rig.pull(inbox(1), session(1), 1).await;
        rig.crash();
    }
    assert!(rig.bus.dead(&tenant(), inbox(1), None, 9).await.unwrap().is_empty());
    assert_eq!(ids_of(&rig.pull(inbox(1), session(1), 1).await), ids(&["b"]));
    assert_eq!(rig.bus.dead(&tenant(), inbox(1), None, 9).await.unwrap().len(), 1);
}
