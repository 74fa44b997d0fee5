//! Watches wake whoever waits.

use nexus_store::bus::PARTITIONS;

use super::rig::*;

#[tokio::test(flavor = "multi_thread")]
async fn watches_tell_what_may_be_there() {
    for rig in Rig::each() {
        // A watch may come before the tenant.
        let mut unrouted = rig.bus.watch_unrouted(&tenant());
        let mut mine = rig.bus.watch_inbox(&tenant(), inbox(1));
        let others = [
            rig.bus.watch_inbox(&tenant(), inbox(2)),
            rig.bus.watch_inbox(&"acme/other".parse().unwrap(), inbox(1)),
            rig.bus.watch_unrouted(&"acme/other".parse().unwrap()),
        ];
        rig.store_all(&["a"]).await;
        changed(&mut unrouted).await;
        assert!(!mine.has_changed().unwrap());
        rig.route(&[inbox(1)]).await;
        changed(&mut mine).await;
        rig.pull(inbox(1), session(1), 9).await;
        rig.end(session(1)).await;
        changed(&mut mine).await;
        rig.pull(inbox(1), session(1), 9).await;
        rig.nack(session(1), "a", HOUR).await;
        mine.mark_unchanged();
        rig.clock.advance(HOUR);
        // Nobody calls the bus: it sees by itself that the delay is over.
        changed(&mut mine).await;
        assert_eq!(rig.pull_ids(inbox(1), session(1)).await, ids(&["a"]));
        rig.ack(session(1), &["a"]).await;
        rig.bus.replay(&tenant(), ids(&["a"]), vec![inbox(1)]).await.unwrap();
        changed(&mut mine).await;
        assert!(others.iter().all(|watch| !watch.has_changed().unwrap()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delay_from_before_a_restart_wakes_too() {
    for mut rig in Rig::each() {
        rig.fill(&["a"], inbox(1)).await;
        rig.pull(inbox(1), session(1), 9).await;
        rig.nack(session(1), "a", HOUR).await;
        rig.crash();
        let mut watch = rig.bus.watch_inbox(&tenant(), inbox(1));
        rig.clock.advance(HOUR);
        changed(&mut watch).await;
        assert_eq!(rig.pull_ids(inbox(1), session(1)).await, ids(&["a"]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_watches_first_misses_nothing() {
    for rig in Rig::each() {
        let (bus, writer) = (rig.bus.clone(), rig.bus.clone());
        let mut watch = bus.watch_unrouted(&tenant());
        let reader = async {
            let mut after = [0; PARTITIONS as usize];
            let mut seen = 0;
            while seen < 500 {
                for partition in 0..PARTITIONS {
                    let last = &mut after[usize::from(partition)];
                    let found = bus.unrouted(&tenant(), partition, *last, 100).await.unwrap();
                    seen += found.len();
                    *last = found.last().map_or(*last, |event| event.seq);
                }
                if seen < 500 {
                    changed(&mut watch).await;
                }
            }
        };
        let events: Vec<_> = (0..500).map(|n| rig.event(&format!("{n}"))).collect();
        let appends = async {
            for event in events {
                writer.append(&tenant(), event).await.unwrap();
            }
        };
        tokio::join!(reader, appends);
    }
}
