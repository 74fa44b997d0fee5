//! Depth, age, bytes and lists.

use std::time::Duration;

use futures_util::StreamExt as _;
use nexus_core::kind::Kind;
use nexus_store::bus::{Depth, Filter, InboxDepth, Page};

use super::rig::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_inbox_tells_what_waits_and_since_when() {
    for mut rig in Rig::each() {
        assert_eq!(rig.bus.inbox_depth(&tenant(), inbox(1)).await.unwrap(), InboxDepth::default());
        let first = rig.now();
        for name in ["a", "b", "c"] {
            rig.fill(&[name], inbox(1)).await;
            rig.clock.advance(HOUR);
        }
        let depth = |rig: &Rig| {
            let bus = rig.bus.clone();
            async move {
                let depth = bus.inbox_depth(&tenant(), inbox(1)).await.unwrap();
                (depth.waiting, depth.held, depth.oldest)
            }
        };
        assert_eq!(depth(&rig).await, (3, 0, Some(first)));
        rig.pull(inbox(1), session(1), 2).await;
        assert_eq!(depth(&rig).await, (1, 2, Some(first + 2 * HOUR)));
        // Delayed ones wait too.
        rig.nack(session(1), "b", HOUR).await;
        assert_eq!(depth(&rig).await, (2, 1, Some(first + HOUR)));
        rig.ack(session(1), &["a"]).await;
        assert_eq!(depth(&rig).await, (2, 0, Some(first + HOUR)));
        rig.reopen().await;
        assert_eq!(depth(&rig).await, (2, 0, Some(first + HOUR)));
        rig.clock.advance(HOUR);
        assert_eq!(rig.pull_ids(inbox(1), session(1)).await, ids(&["b", "c"]));
        assert_eq!(depth(&rig).await, (0, 2, None));
        rig.ack(session(1), &["b", "c"]).await;
        assert_eq!(depth(&rig).await, (0, 0, None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_tells_what_it_has() {
    for mut rig in Rig::each() {
        assert_eq!(rig.bus.depth(&tenant()).await.unwrap(), Depth::default());
        rig.store_all(&["a", "b", "c"]).await;
        let summaries = rig.bus.events(&tenant(), page(9)).await.unwrap().events;
        let bytes: Vec<_> = summaries.iter().rev().map(|summary| summary.bytes).collect();
        let all: u64 = bytes.iter().sum();
        let depth = |rig: &Rig| {
            let bus = rig.bus.clone();
            async move {
                let depth = bus.depth(&tenant()).await.unwrap();
                (depth.appended, depth.unrouted, depth.pending_bytes, depth.stored_bytes)
            }
        };
        assert_eq!(depth(&rig).await, (3, 3, all, all));
        rig.route(&[inbox(1), inbox(2)]).await;
        assert_eq!(depth(&rig).await, (3, 0, all, all));
        rig.pull(inbox(1), session(1), 9).await;
        rig.pull(inbox(2), session(2), 9).await;
        rig.ack(session(1), &["a", "b"]).await;
        assert_eq!(depth(&rig).await, (3, 0, all, all));
        rig.ack(session(2), &["a"]).await;
        assert_eq!(depth(&rig).await, (3, 0, all - bytes[0], all));
        rig.reopen().await;
        assert_eq!(depth(&rig).await, (3, 0, all - bytes[0], all));
        rig.clock.advance(2 * DAY);
        assert_eq!(rig.sweep(DAY).await, 1);
        assert_eq!(depth(&rig).await, (3, 0, all - bytes[0], all - bytes[0]));
        rig.crash();
        assert_eq!(depth(&rig).await, (3, 0, all - bytes[0], all - bytes[0]));
        // A place is never given twice.
        assert_eq!(rig.store(rig.event("d")).await, 4);
    }
}

fn page(limit: usize) -> Page {
    Page { limit, ..Page::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_listed_newest_first_in_pages_by_kind() {
    for rig in Rig::each() {
        for n in 0..10u64 {
            let mut event = rig.event(&format!("{n}"));
            event.kind = if n % 3 == 0 { Kind::CodePushed } else { Kind::NewMessage };
            rig.store(event).await;
            if n == 4 {
                rig.route(&[inbox(1)]).await;
            }
        }
        let list = |page| {
            let bus = rig.bus.clone();
            async move {
                let summaries = bus.events(&tenant(), page).await.unwrap().events;
                let seqs: Vec<_> = summaries.iter().map(|summary| summary.seq).collect();
                (seqs, summaries)
            }
        };
        let (seqs, summaries) = list(page(4)).await;
        assert_eq!(seqs, [10, 9, 8, 7]);
        assert_eq!((summaries[0].id, summaries[0].kind), (id("9"), Kind::CodePushed));
        let next = Page { before: Some(7), ..page(9) };
        let (seqs, summaries) = list(next).await;
        assert_eq!(seqs, [6, 5, 4, 3, 2, 1]);
        let routed: Vec<_> = summaries.iter().map(|summary| summary.routed).collect();
        assert_eq!(routed, [false, true, true, true, true, true]);
        let filter = Filter { kinds: vec![Kind::CodePushed], ..Filter::default() };
        assert_eq!(list(Page { filter, ..page(3) }).await.0, [10, 7, 4]);
        let stranger = "acme/stranger".parse().unwrap();
        let strange = rig.bus.events(&stranger, page(9)).await.unwrap();
        assert!(strange.events.is_empty() && strange.next.is_none());
    }
}

/// All pages of a list: the places, and how many calls it took.
async fn read_all(rig: &Rig, mut page: Page) -> (Vec<u64>, usize) {
    let mut seqs = Vec::new();
    for calls in 1.. {
        let found = rig.bus.events(&tenant(), page.clone()).await.unwrap();
        assert!(found.events.len() <= page.limit && found.unreadable.is_empty());
        seqs.extend(found.events.iter().map(|summary| summary.seq));
        match found.next {
            Some(next) => page.before = Some(next),
            None => return (seqs, calls),
        }
    }
    unreachable!("the list has no end")
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_filtered_by_kinds_source_and_time() {
    for rig in Rig::each() {
        let first = rig.now();
        for n in 0..6_usize {
            let mut event = rig.event(&format!("{n}"));
            event.kind = [Kind::CodePushed, Kind::NewMessage, Kind::NewComment][n % 3];
            event.source = if n < 4 { "github".into() } else { "slack".into() };
            rig.store(event).await;
            rig.clock.advance(HOUR);
        }
        let at = |hours: u32| Some(first + HOUR * hours);
        let all = Filter::default;
        let kinds = vec![Kind::CodePushed, Kind::NewComment];
        let cases = [
            (all(), vec![6, 5, 4, 3, 2, 1]),
            (Filter { kinds: kinds.clone(), ..all() }, vec![6, 4, 3, 1]),
            (Filter { source: Some("slack".into()), ..all() }, vec![6, 5]),
            (Filter { source: Some("clickup".into()), ..all() }, vec![]),
            (Filter { since: at(2), ..all() }, vec![6, 5, 4, 3]),
            (Filter { until: at(2), ..all() }, vec![2, 1]),
            (Filter { since: at(2), until: at(2), ..all() }, vec![]),
            (Filter { kinds, source: Some("github".into()), since: at(1), until: at(3) }, vec![3]),
        ];
        for (filter, expected) in cases {
            for limit in [1, 2, 9] {
                let page = Page { filter: filter.clone(), ..page(limit) };
                assert_eq!(read_all(&rig, page).await.0, expected, "{filter:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_of_the_clock_hides_nothing_from_a_list_that_ends_at_a_time() {
    for rig in Rig::each() {
        let since = rig.now();
        let minute = Duration::from_secs(60);
        for (name, received) in
            [("old", since - 6 * minute), ("a", since), ("b", since - minute), ("c", since + minute)]
        {
            let mut event = rig.event(name);
            event.received = received;
            rig.store(event).await;
        }
        let filter = Filter { since: Some(since), ..Filter::default() };
        assert_eq!(read_all(&rig, Page { filter, ..page(9) }).await.0, [4, 2]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rare_kind_is_found_in_several_calls() {
    for rig in Rig::each() {
        let mut rare = rig.event("rare");
        rare.kind = Kind::CodePushed;
        rig.store(rare).await;
        let events: Vec<_> = (0..4500).map(|n| rig.event(&format!("{n}"))).collect();
        let acme = tenant();
        futures_util::stream::iter(events)
            .for_each_concurrent(256, |event| async {
                rig.bus.append(&acme, event).await.unwrap();
            })
            .await;
        let filter = Filter { kinds: vec![Kind::CodePushed], ..Filter::default() };
        let (seqs, calls) = read_all(&rig, Page { filter, ..page(9) }).await;
        assert_eq!(seqs, [1]);
        assert!(calls > 2, "one call looked at everything");
    }
}
