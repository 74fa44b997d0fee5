//! Inboxes that have dead letters.

use std::time::Duration;

use nexus_core::id::InboxId;
use nexus_store::bus::MAX_ATTEMPTS;

use super::rig::*;

/// Parks all that waits in an inbox.
async fn park_all(rig: &Rig, n: u8) {
    for _ in 0..MAX_ATTEMPTS {
        for held in rig.pull(inbox(n), session(n), 10_000).await {
            let nacked = rig.bus.nack(&tenant(), session(n), held.id, Duration::ZERO, "busy".into()).await;
            assert!(nacked.unwrap());
        }
    }
}

async fn inboxes(rig: &Rig, after: Option<InboxId>, limit: usize) -> Vec<InboxId> {
    rig.bus.dead_inboxes(&tenant(), after, limit).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_inboxes_with_dead_letters_are_listed_in_pages() {
    for mut rig in Rig::each() {
        assert!(inboxes(&rig, None, 9).await.is_empty());
        rig.store_all(&["a", "b", "c"]).await;
        // The first and the last id that there can be, too.
        rig.route(&[inbox(0), inbox(3), inbox(7), inbox(9), inbox(255)]).await;
        assert!(inboxes(&rig, None, 9).await.is_empty(), "what waits is not parked");
        for n in [255, 7, 0, 3] {
            park_all(&rig, n).await;
        }
        let all = [inbox(0), inbox(3), inbox(7), inbox(255)];
        assert_eq!(inboxes(&rig, None, 9).await, all);
        assert_eq!(inboxes(&rig, None, 2).await, all[..2]);
        assert_eq!(inboxes(&rig, Some(inbox(3)), 2).await, all[2..]);
        assert_eq!(inboxes(&rig, Some(inbox(4)), 1).await, all[2..3]);
        assert!(inboxes(&rig, Some(inbox(255)), 9).await.is_empty());
        assert!(inboxes(&rig, None, 0).await.is_empty());
        let other = "acme/other".parse().unwrap();
        assert!(rig.bus.dead_inboxes(&other, None, 9).await.unwrap().is_empty());

        rig.crash();
        assert_eq!(inboxes(&rig, None, 9).await, all);
        // One that is left keeps its inbox in the list.
        rig.bus.requeue(&tenant(), inbox(3), ids(&["a", "c"])).await.unwrap();
        assert_eq!(inboxes(&rig, None, 9).await, all);
        rig.bus.drop_dead(&tenant(), inbox(3), ids(&["b"])).await.unwrap();
        assert_eq!(inboxes(&rig, None, 9).await, [inbox(0), inbox(7), inbox(255)]);
    }
}
