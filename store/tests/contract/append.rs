//! Append: dedupe, order, quota, durability.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use nexus_store::bus::{Appended, PARTITIONS, Raw};

use super::rig::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_kept_as_it_came() {
    for mut rig in Rig::each() {
        let mut event = rig.event("a");
        // Compressible, incompressible and empty bodies.
        let noise: Vec<u8> =
            (0..5_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        for (name, body) in [("a", vec![b'x'; 100_000]), ("b", noise), ("c", vec![])] {
            event.id = id(name);
            event.delivery_key = name.into();
            event.raw.body = body.into();
            rig.store(event.clone()).await;
            rig.reopen().await;
            let record = rig.bus.event(&tenant(), id(name)).await.unwrap().unwrap();
            assert_eq!(record.raw, event.raw);
            assert_eq!(record.event, event.event);
            assert_eq!(record.summary.title, event.title);
            assert_eq!(record.summary.received, event.received);
            assert!(!record.summary.routed && record.decision.is_none() && record.copies.is_empty());
        }
        assert!(rig.bus.event(&tenant(), id("z")).await.unwrap().is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_25_mib_is_kept() {
    for mut rig in Rig::each() {
        let mut event = rig.event("a");
        let mut word = 1u64;
        let noise = (0..25 << 17).flat_map(|_| {
            word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (word ^ (word >> 29)).to_le_bytes()
        });
        event.raw.body = noise.collect::<Vec<u8>>().into();
        assert_eq!(event.raw.body.len(), 25 << 20);
        rig.store(event.clone()).await;
        rig.reopen().await;
        let record = rig.bus.event(&tenant(), id("a")).await.unwrap().unwrap();
        assert_eq!(record.raw, event.raw);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_concurrent_appends_of_one_delivery_one_is_stored() {
    for rig in Rig::each() {
        let appends = (0..200).map(|n| {
            let mut event = rig.event(&format!("{n}"));
            event.delivery_key = format!("github:{}", n % 4);
            let bus = rig.bus.clone();
            async move { bus.append(&tenant(), event).await.unwrap() }
        });
        let outcomes = join_all(appends).await;
        for key in 0..4 {
            let of_key: Vec<_> = outcomes.iter().skip(key).step_by(4).collect();
            let stored: Vec<_> =
                of_key.iter().filter(|outcome| matches!(outcome, Appended::Stored(_))).collect();
            assert_eq!(stored.len(), 1);
            let duplicates: Vec<_> = of_key
                .iter()
                .filter_map(|outcome| match outcome {
                    Appended::Duplicate(id) => Some(*id),
                    Appended::Stored(_) => None,
                })
                .collect();
            let kept = rig.unrouted().await;
            assert_eq!(duplicates.len(), 49);
            assert!(duplicates.iter().all(|id| *id == duplicates[0]));
            assert!(kept.iter().any(|(_, _, id)| *id == duplicates[0]));
        }
        assert_eq!(rig.unrouted().await.len(), 4);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_is_remembered_as_long_as_asked() {
    for mut rig in Rig::each() {
        let mut short = rig.event("a");
        short.dedupe_for = HOUR;
        rig.store(short.clone()).await;
        rig.store(rig.event("b")).await;
        rig.clock.advance(HOUR / 2);
        rig.reopen().await;
        let again = |name: &str| {
            let mut event = rig.event(name);
            event.id = id(&format!("{name}2"));
            event
        };
        let outcome = rig.bus.append(&tenant(), again("a")).await.unwrap();
        assert_eq!(outcome, Appended::Duplicate(id("a")));
        rig.clock.advance(HOUR / 2);
        rig.store(again("a")).await;
        let outcome = rig.bus.append(&tenant(), again("b")).await.unwrap();
        assert_eq!(outcome, Appended::Duplicate(id("b")));
        // The sweep changes nothing about it.
        rig.sweep(DAY).await;
        let outcome = rig.bus.append(&tenant(), again("a")).await.unwrap();
        assert_eq!(outcome, Appended::Duplicate(id("a2")));
        rig.clock.advance(72 * HOUR);
        rig.sweep(30 * DAY).await;
        let mut third = rig.event("a");
        third.id = id("a3");
        rig.store(third).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn places_are_the_order_of_append_and_a_thread_is_in_one_partition() {
    for rig in Rig::each() {
        for n in 0..60 {
            let mut event = rig.event(&format!("{n}"));
            event.thread_key = format!("thread {}", n % 6);
            assert_eq!(rig.store(event).await, n + 1);
        }
        let waiting = rig.unrouted().await;
        let ids: Vec<_> = waiting.iter().map(|(_, _, id)| *id).collect();
        assert_eq!(ids, (0..60).map(|n| id(&format!("{n}"))).collect::<Vec<_>>());
        for thread in 0..6 {
            let partitions: Vec<_> = waiting.iter().skip(thread).step_by(6).map(|(p, ..)| *p).collect();
            assert!(partitions.iter().all(|partition| *partition == partitions[0]));
            assert!(partitions[0] < PARTITIONS);
        }
        // From a place on, and no more than asked.
        let (partition, seq, _) = waiting[0];
        let next = rig.bus.unrouted(&tenant(), partition, seq, 2).await.unwrap();
        let expected: Vec<_> = waiting.iter().filter(|(p, s, _)| *p == partition && *s > seq).collect();
        assert_eq!(next.len(), expected.len().min(2));
        assert!(next.iter().zip(expected).all(|(found, expected)| found.seq == expected.1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_appends_are_all_kept() {
    for mut rig in Rig::each() {
        let bus = Arc::new(rig.bus.clone());
        let outcomes = join_all((0..2000).map(|n| {
            let event = rig.event(&format!("{n}"));
            let bus = Arc::clone(&bus);
            async move { bus.append(&tenant(), event).await.unwrap() }
        }))
        .await;
        drop(bus);
        let mut places: Vec<_> = outcomes
            .into_iter()
            .map(|outcome| match outcome {
                Appended::Stored(seq) => seq,
                Appended::Duplicate(id) => panic!("{id}"),
            })
            .collect();
        places.sort_unstable();
        assert_eq!(places, (1..=2000).collect::<Vec<_>>());
        rig.crash();
        assert_eq!(rig.unrouted().await.len(), 2000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_quota_refuses_and_takes_again_once_there_is_room() {
    for mut rig in Rig::each() {
        let big = |rig: &Rig, name: &str| {
            let mut event = rig.event(name);
            event.event = Bytes::from(vec![b'x'; 1000]);
            event.raw = Raw { headers: vec![], body: Bytes::new() };
            event.quota_bytes = 2500;
            event
        };
        rig.store(big(&rig, "a")).await;
        rig.store(big(&rig, "b")).await;
        assert_eq!(label(rig.bus.append(&tenant(), big(&rig, "c")).await), "quota");
        // What is known is no new load.
        let known = rig.bus.append(&tenant(), big(&rig, "a")).await.unwrap();
        assert_eq!(known, Appended::Duplicate(id("a")));
        rig.route(&[inbox(1), inbox(2)]).await;
        rig.pull(inbox(1), session(1), 9).await;
        rig.ack(session(1), &["a", "b"]).await;
        // The copies in the other inbox still wait, also after a restart.
        assert_eq!(label(rig.bus.append(&tenant(), big(&rig, "c")).await), "quota");
        rig.reopen().await;
        assert_eq!(label(rig.bus.append(&tenant(), big(&rig, "c")).await), "quota");
        rig.pull(inbox(2), session(2), 9).await;
        rig.ack(session(2), &["a"]).await;
        rig.store(big(&rig, "c")).await;
        assert_eq!(label(rig.bus.append(&tenant(), big(&rig, "d")).await), "quota");
        // An event that concerns nobody is pending no more once that was decided.
        rig.route(&[]).await;
        rig.store(big(&rig, "d")).await;
        // Another tenant has its own.
        let other = "acme/other".parse().unwrap();
        rig.bus.append(&other, big(&rig, "a")).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_do_not_see_each_other() {
    for mut rig in Rig::each() {
        let other = "acme/other".parse().unwrap();
        rig.store(rig.event("a")).await;
        let mut event = rig.event("a");
        event.title = Some("theirs".into());
        assert_eq!(rig.bus.append(&other, event).await.unwrap(), Appended::Stored(1));
        rig.route(&[inbox(1)]).await;
        rig.reopen().await;
        assert!(rig.bus.pull(&other, inbox(1), session(1), 9, 1 << 20).await.unwrap().is_empty());
        assert_eq!(rig.pull_ids(inbox(1), session(1)).await, ids(&["a"]));
        assert_eq!(rig.bus.ack(&other, session(1), ids(&["a"])).await.unwrap(), 0);
        assert_eq!(rig.bus.end_session(&other, session(1), Vec::new()).await.unwrap(), 0);
        assert_eq!(rig.bus.replay(&other, ids(&["a"]), vec![inbox(2)]).await.unwrap(), 0);
        assert_eq!(rig.bus.inbox_depth(&other, inbox(1)).await.unwrap(), Default::default());
        let theirs = rig.bus.event(&other, id("a")).await.unwrap().unwrap();
        assert_eq!(theirs.summary.title.as_deref(), Some("theirs"));
        assert!(theirs.copies.is_empty());
        assert_eq!(rig.ack(session(1), &["a"]).await, 1);
        assert_eq!(rig.bus.tenants().await.unwrap(), [tenant(), other]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_bus_answers_that_it_is() {
    for rig in Rig::each() {
        rig.store(rig.event("a")).await;
        rig.bus.close().await;
        rig.bus.close().await;
        assert_eq!(label(rig.bus.append(&tenant(), rig.event("b")).await), "closed");
        assert_eq!(label(rig.bus.unrouted(&tenant(), 0, 0, 9).await), "closed");
        assert_eq!(label(rig.bus.pull(&tenant(), inbox(1), session(1), 1, 1).await), "closed");
        assert_eq!(label(rig.bus.tenants().await), "closed");
    }
}
