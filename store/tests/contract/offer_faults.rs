//! Offers over a Redis that fails: whatever goes wrong, the event waits or comes back untried.

use nexus_store::bus::HandOut;

use super::redis::{Faulty, PATIENCE, append_again};
use super::rig::*;

/// Who holds what is of another type for a while: nothing can be handed out, and all is routed.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_handed_out_waits() {
    let faulty = Faulty::start(&[]).await;
    let rig = &faulty.rig;
    let holders = format!("nexus:{{acme/acme}}:i:{}:h", inbox(1).uuid().simple());
    faulty.say(&[&format!("SET {holders} x")]).await;
    let mut watch = rig.bus.watch_inbox(&tenant(), inbox(1));
    let mut offer = rig.bus.offer(&tenant(), session(1));
    offer.make([inbox(1)], 9, usize::MAX);
    rig.fill(&["a"], inbox(1)).await;
    assert!(tokio::time::timeout(PATIENCE, offer.taken()).await.unwrap().is_none());
    changed(&mut watch).await;
    assert!(rig.unrouted().await.is_empty());
    faulty.say(&[&format!("DEL {holders}")]).await;
    let got = rig.pull(inbox(1), session(1), 9).await;
    assert_eq!((ids_of(&got), got[0].attempt), (ids(&["a"]), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_handed_over_by_a_route_whose_answer_was_lost_comes_back_untried() {
    let faulty = Faulty::start(&["--enable-debug-command", "yes"]).await;
    let rig = &faulty.rig;
    // From here on the server knows the script.
    rig.fill(&["a"], inbox(2)).await;
    rig.store_all(&["b"]).await;
    let (partition, seq, _) = rig.unrouted().await[0];
    let epoch = rig.bus.acquire(&tenant(), partition).await.unwrap();
    let mut offer = rig.bus.offer(&tenant(), session(1));
    offer.make([inbox(1)], 9, usize::MAX);
    let acme = tenant();
    let route = rig.bus.route(&acme, partition, epoch, vec![to(seq, &[inbox(1)])], HandOut::ToOffers);
    assert_eq!(label(faulty.while_it_hangs(route).await), "storage");
    assert!(tokio::time::timeout(PATIENCE, offer.taken()).await.unwrap().is_none());
    append_again(rig, "last").await;
    // Whether it was done or not is seen by who routes again.
    let mut watch = rig.bus.watch_inbox(&tenant(), inbox(1));
    let mut got = Vec::new();
    while got.is_empty() {
        rig.route(&[inbox(1)]).await;
        got = rig.pull(inbox(1), session(2), 1).await;
        if got.is_empty() {
            changed(&mut watch).await;
        }
    }
    assert_eq!((ids_of(&got), got[0].attempt), (ids(&["b"]), 1));
    assert_eq!(rig.end(session(1)).await, 0);
}

/// One inbox of two is of another type. The other one, which somebody waits for, is handed nothing: nothing is routed.
#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_fails_hands_nothing_out() {
    let faulty = Faulty::start(&[]).await;
    let rig = &faulty.rig;
    rig.store_all(&["a"]).await;
    let waiting = rig.unrouted().await;
    let broken = format!("nexus:{{acme/acme}}:i:{}:w", inbox(2).uuid().simple());
    faulty.say(&[&format!("SET {broken} x")]).await;
    let mut offer = rig.bus.offer(&tenant(), session(1));
    offer.make([inbox(1)], 9, usize::MAX);
    let (partition, seq, _) = waiting[0];
    let epoch = rig.bus.acquire(&tenant(), partition).await.unwrap();
    let routes = vec![to(seq, &[inbox(1), inbox(2)])];
    let outcome = rig.bus.route(&tenant(), partition, epoch, routes, HandOut::ToOffers).await;
    assert_eq!(label(outcome), "storage");
    assert!(tokio::time::timeout(PATIENCE, offer.taken()).await.unwrap().is_none());
    assert_eq!(rig.unrouted().await, waiting);
    faulty.say(&[&format!("DEL {broken}")]).await;
    rig.route(&[inbox(1), inbox(2)]).await;
    for n in 1..=2 {
        let got = rig.pull(inbox(n), session(n), 9).await;
        assert_eq!((ids_of(&got), got[0].attempt), (ids(&["a"]), 1));
    }
}

/// What is due cannot be read: what comes is routed, waits, and is handed to nobody before it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_and_cannot_be_read_holds_up_no_route() {
    let faulty = Faulty::start(&[]).await;
    let rig = &faulty.rig;
    let prefix = "nexus:{acme/acme}";
    let other = inbox(9).uuid().simple();
    faulty.say(&[&format!("ZADD {prefix}:due 1 {other}"), &format!("SET {prefix}:i:{other}:t x")]).await;
    let mut watch = rig.bus.watch_inbox(&tenant(), inbox(1));
    let mut offer = rig.bus.offer(&tenant(), session(1));
    offer.make([inbox(1)], 9, usize::MAX);
    rig.fill(&["a"], inbox(1)).await;
    let handed = tokio::time::timeout(PATIENCE, offer.taken()).await.unwrap().unwrap();
    assert!(handed.read().await.unwrap().is_empty());
    changed(&mut watch).await;
    faulty.say(&[&format!("DEL {prefix}:i:{other}:t")]).await;
    assert_eq!(rig.pull_ids(inbox(1), session(1)).await, ids(&["a"]));
}

/// Events that an earlier version queued tell no thread there. They are handed over all the same, and their thread is held.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_queued_without_its_thread_is_handed_over_in_order() {
    let faulty = Faulty::start(&[]).await;
    let rig = &faulty.rig;
    for name in ["a", "b"] {
        let mut event = rig.event(name);
        "one".clone_into(&mut event.thread_key);
        rig.store(event).await;
    }
    let (partition, ..) = rig.unrouted().await[0];
    let as_before = "local q = KEYS[1]
        for _, member in ipairs(redis.call('ZRANGE', q, 0, -1)) do
          local seq, before = redis.call('ZSCORE', q, member), string.gsub(member, '@%x+', '')
          redis.call('ZREM', q, member)
          redis.call('ZADD', q, seq, before)
        end
        return redis.call('ZRANGE', q, 0, -1)"
        .replace('\n', " ");
    let queue = format!("nexus:{{acme/acme}}:q:{partition}");
    let queued = faulty.say(&[&format!("EVAL \"{as_before}\" 1 {queue}")]).await;
    assert!(queued.contains(&id("a").uuid().simple().to_string()) && !queued.contains('@'), "{queued}");
    let mut offer = rig.bus.offer(&tenant(), session(1));
    offer.make([inbox(1)], 1, usize::MAX);
    rig.route(&[inbox(1)]).await;
    let handed = tokio::time::timeout(PATIENCE, offer.taken()).await.unwrap().unwrap();
    assert_eq!(ids_of(&handed.read().await.unwrap()), ids(&["a"]));
    assert!(rig.pull_ids(inbox(1), session(2)).await.is_empty());
    assert_eq!(rig.ack(session(1), &["a"]).await, 1);
    assert_eq!(rig.pull_ids(inbox(1), session(2)).await, ids(&["b"]));
}
