//! Watches wake whoever waits.

use nexus_store::bus::{Append, PARTITIONS, partition_of};

use super::rig::*;

#[tokio::test(flavor = "multi_thread")]
async fn watches_tell_what_may_be_there() {
    for rig in Rig::each() {
        // A watch may come before the tenant.
        let partition = partition_of("acme/shop#a");
        let mut unrouted = rig.bus.watch_unrouted(&tenant(), partition);
        let mut mine = rig.bus.watch_inbox(&tenant(), inbox(1));
        let inboxes = [
            rig.bus.watch_inbox(&tenant(), inbox(2)),
            rig.bus.watch_inbox(&"acme/other".parse().unwrap(), inbox(1)),
        ];
        let partitions = [
            rig.bus.watch_unrouted(&"acme/other".parse().unwrap(), partition),
            rig.bus.watch_unrouted(&tenant(), (partition + 1) % PARTITIONS),
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
        assert!(inboxes.iter().all(|watch| !watch.has_changed().unwrap()));
        assert!(partitions.iter().all(|watch| !watch.has_changed().unwrap()));
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
        let mut watches: Vec<_> = (0..PARTITIONS).map(|n| bus.watch_unrouted(&tenant(), n)).collect();
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
                    let changes = watches.iter_mut().map(|watch| Box::pin(changed(watch)));
                    futures_util::future::select_all(changes).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_costs_no_read_hides_nothing() {
    for mut rig in Rig::each() {
        let partition = partition_of("one");
        let event = |rig: &Rig, name: &str| Append { thread_key: "one".into(), ..rig.event(name) };
        let look = |rig: &Rig, after| {
            let bus = rig.bus.clone();
            async move {
                let found = bus.unrouted(&tenant(), partition, after, 9).await.unwrap();
                found.into_iter().map(|event| event.seq).collect::<Vec<_>>()
            }
        };
        assert!(look(&rig, 0).await.is_empty());
        rig.store(event(&rig, "a")).await;
        assert_eq!(look(&rig, 0).await, [1]);
        assert!(look(&rig, 1).await.is_empty());
        rig.store(event(&rig, "b")).await;
        assert_eq!(look(&rig, 1).await, [2]);
        // Who read on and routed nothing finds it again, also from the start and after a restart.
        assert!(look(&rig, 2).await.is_empty());
        assert_eq!(look(&rig, 0).await, [1, 2]);
        rig.reopen().await;
        assert_eq!((look(&rig, 0).await, look(&rig, 1).await), (vec![1, 2], vec![2]));
        rig.route(&[]).await;
        assert!(look(&rig, 0).await.is_empty());
        rig.crash();
        assert!(look(&rig, 0).await.is_empty());
        rig.store(event(&rig, "c")).await;
        assert_eq!(look(&rig, 0).await, [3]);
    }
}
