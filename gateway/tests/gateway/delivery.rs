//! From an appended event to an acknowledgement.

use std::collections::BTreeSet;
use std::time::Duration;

use nexus_core::id::EventId;
use nexus_gateway::{GatewaySettings, Leases};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::client::{Speaks, over_both};
use crate::support::{World, agent_id, share, snapshot, tenant, until};

over_both!(
    an_event_is_delivered_acknowledged_and_done,
    what_waited_before_the_agent_came_is_delivered_in_order,
    credit_is_never_exceeded,
    a_nack_delays_that_event_only,
    an_event_that_is_not_held_is_an_error_and_the_session_goes_on,
    a_dropped_session_returns_what_it_held_to_the_next,
    what_the_sessions_of_an_aborted_role_held_is_returned_by_the_next,
    two_sessions_of_an_agent_share_its_inbox_without_overlap,
    a_shared_inbox_is_drawn_from_by_whoever_is_free,
    an_agent_that_does_not_read_slows_nobody_and_loses_nothing,
    an_event_too_large_to_deliver_is_parked_and_holds_up_nothing,
    a_profile_that_changes_is_taken_over_live,
);

async fn an_event_is_delivered_acknowledged_and_done(speaks: Speaks) {
    let world = World::new(snapshot(&["coder", "other"])).await.speaking(speaks);
    let mut client = world.open("coder", 1).await;
    let id = world.append("@coder please look").await;
    let frame = client.next().await;
    let deliver = &frame["deliver"];
    assert_eq!(deliver["event"]["data"]["text"], "@coder please look", "{frame}");
    assert_eq!(
        (&deliver["attempt"], &deliver["alias"], &deliver["replay"]),
        (&json!(1), &Value::Null, &Value::Null)
    );
    client.ack(id).await;
    world.inbox_until("coder", |depth| depth.held == 0 && depth.waiting == 0).await;
    client.quiet().await;
    let record = world.bus.event(&tenant(), id).await.unwrap().unwrap();
    let decision: Value = serde_json::from_slice(&record.decision.unwrap()).unwrap();
    assert_eq!(decision["chosen"][0]["target"], "coder", "{decision}");
}

async fn what_waited_before_the_agent_came_is_delivered_in_order(speaks: Speaks) {
    let world = World::new(snapshot(&["coder"])).await.speaking(speaks);
    let mut sent = Vec::new();
    for n in 0..50 {
        sent.push(world.append(&format!("@coder {n}")).await);
    }
    let mut client = world.open("coder", 5).await;
    for id in sent {
        assert_eq!(client.delivered().await, (id, 1));
        client.ack(id).await;
        client.grant(1).await;
    }
}

async fn credit_is_never_exceeded(speaks: Speaks) {
    let world = World::new(snapshot(&["coder"])).await.speaking(speaks);
    for n in 0..20 {
        world.append(&format!("@coder {n}")).await;
    }
    world.inbox_until("coder", |depth| depth.waiting == 20).await;
    let mut client = world.open("coder", 3).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(client.delivered().await.0);
    }
    client.quiet().await;
    client.ack(held[0]).await;
    client.quiet().await;
    client.grant(2).await;
    client.delivered().await;
    client.delivered().await;
    client.quiet().await;
    // Four are held; ten may be, whatever is granted.
    client.grant(100).await;
    client.error("too_much_credit").await;
    for _ in 0..6 {
        client.delivered().await;
    }
    client.grant(100).await;
    client.quiet().await;
    world.inbox_until("coder", |depth| depth.held == 10 && depth.waiting == 9).await;
}

async fn a_nack_delays_that_event_only(speaks: Speaks) {
    let world = World::new(snapshot(&["coder"])).await.speaking(speaks);
    let mut client = world.open("coder", 2).await;
    let (first, second) = (world.append("@coder 1").await, world.append("@coder 2").await);
    assert_eq!(client.delivered().await, (first, 1));
    let nack = json!({"nack": {"eventId": first.to_string(), "retryAfter": "60s", "reason": "busy"}});
    client.send(nack).await;
    assert_eq!(client.delivered().await, (second, 1));
    client.grant(1).await;
    client.quiet().await;
    world.time.advance(Duration::from_secs(59));
    // Whatever the bus does makes it look at the clock.
    world.append("nobody is meant").await;
    client.quiet().await;
    world.time.advance(Duration::from_secs(1));
    assert_eq!(client.delivered().await, (first, 2));
}

async fn an_event_that_is_not_held_is_an_error_and_the_session_goes_on(speaks: Speaks) {
    let world = World::new(snapshot(&["coder"])).await.speaking(speaks);
    let mut client = world.open("coder", 1).await;
    client.ack(EventId::from(Uuid::now_v7())).await;
    client.error("unknown_event").await;
    client.quiet().await;
}

async fn a_dropped_session_returns_what_it_held_to_the_next(speaks: Speaks) {
    let world = World::new(snapshot(&["coder"])).await.speaking(speaks);
    let mut first = world.open("coder", 1).await;
    let id = world.append("@coder please").await;
    assert_eq!(first.delivered().await, (id, 1));
    let mut second = world.open("coder", 1).await;
    second.quiet().await;
    drop(first);
    assert_eq!(second.delivered().await, (id, 2));
}

async fn what_the_sessions_of_an_aborted_role_held_is_returned_by_the_next(speaks: Speaks) {
    let leases = Leases::default();
    let mut world =
        World::with(snapshot(&["coder"]), |settings| settings.leases = leases.clone()).await.speaking(speaks);
    let mut client = world.open("coder", 1).await;
    world.append("@coder please").await;
    client.delivered().await;
    world.inbox_until("coder", |depth| depth.held == 1).await;
    world.running.shutdown().await;
    let mut settings = GatewaySettings::at(([127, 0, 0, 1], 0).into());
    settings.leases = leases;
    world.start(settings).await;
    world.inbox_until("coder", |depth| depth.held == 0 && depth.waiting == 1).await;
}

async fn two_sessions_of_an_agent_share_its_inbox_without_overlap(speaks: Speaks) {
    let world = World::new(snapshot(&["coder"])).await.speaking(speaks);
    let (mut one, mut two) = (world.open("coder", 5).await, world.open("coder", 5).await);
    let mut sent = BTreeSet::new();
    for n in 0..10 {
        sent.insert(world.append_to(&format!("thread {n}"), &format!("@coder {n}")).await);
    }
    let mut seen = BTreeSet::new();
    for _ in 0..5 {
        assert!(seen.insert(one.delivered().await.0));
        assert!(seen.insert(two.delivered().await.0));
    }
    assert_eq!(seen, sent);
}

async fn a_shared_inbox_is_drawn_from_by_whoever_is_free(speaks: Speaks) {
    let mut snapshot = snapshot(&["a", "b"]);
    share(&mut snapshot, "Squad", &["a", "b"]);
    let world = World::new(snapshot).await.speaking(speaks);
    let (mut a, mut b) = (world.open("a", 1).await, world.open("b", 1).await);
    let first = world.append_to("one", "@squad one").await;
    let second = world.append_to("two", "@squad two").await;
    let (of_a, of_b) = (a.next().await, b.next().await);
    let ids = [&of_a, &of_b].map(|frame| frame["deliver"]["event"]["id"].as_str().unwrap().parse().unwrap());
    assert_eq!(BTreeSet::from(ids), BTreeSet::from([first, second]));
    assert_eq!(of_a["deliver"]["alias"], "Squad");
}

async fn an_agent_that_does_not_read_slows_nobody_and_loses_nothing(speaks: Speaks) {
    let mut snapshot = snapshot(&["stalled", "brisk"]);
    snapshot.agents.get_mut("stalled").unwrap().max_in_flight = 64;
    // No deadline comes to the rescue of the brisk one.
    let world = World::with(snapshot, |settings| settings.write_deadline = Duration::from_secs(3600))
        .await
        .speaking(speaks);
    let stalled = world.open("stalled", 64).await;
    let mut brisk = world.open("brisk", 1).await;
    // More than the kernel's buffers take on both sides.
    let big = format!("@stalled {}", "x".repeat(500_000));
    for _ in 0..40 {
        world.append(&big).await;
        let id = world.append("@brisk go").await;
        assert_eq!(brisk.delivered().await.0, id);
        brisk.ack(id).await;
        brisk.grant(1).await;
    }
    let depth = world.inbox_until("stalled", |depth| depth.held + depth.waiting == 40).await;
    assert!(depth.waiting > 0, "all of it was taken: {depth:?}");
    drop(stalled);
    world.inbox_until("stalled", |depth| depth.held == 0 && depth.waiting == 40).await;
}

async fn an_event_too_large_to_deliver_is_parked_and_holds_up_nothing(speaks: Speaks) {
    let world = World::new(snapshot(&["coder"])).await.speaking(speaks);
    let mut client = world.open("coder", 1).await;
    world.append(&format!("@coder {}", "x".repeat(1 << 20))).await;
    let small = world.append("@coder small").await;
    assert_eq!(client.delivered().await, (small, 1));
    world.inbox_until("coder", |depth| depth.dead == 1).await;
}

#[tokio::test]
async fn an_event_that_cannot_be_read_concerns_nobody_and_blocks_nobody() {
    let world = World::new(snapshot(&["coder"])).await;
    let mut client = world.open("coder", 1).await;
    let bad = EventId::from(Uuid::now_v7());
    world.append_raw(bad, br#"{"specversion":"9"}"#.to_vec()).await;
    let good = world.append("@coder please").await;
    assert_eq!(client.delivered().await, (good, 1));
    let record = world.bus.event(&tenant(), bad).await.unwrap().unwrap();
    let decision: Value = serde_json::from_slice(&record.decision.unwrap()).unwrap();
    assert!(decision["error"].as_str().unwrap().contains("cannot be read"), "{decision}");
    assert_eq!(decision["chosen"], json!([]));
}

#[tokio::test]
async fn two_gateways_on_one_bus_route_each_event_once() {
    let mut world = World::new(snapshot(&["coder"])).await;
    world.start(GatewaySettings::at(([127, 0, 0, 1], 0).into())).await;
    let mut client = world.open("coder", 1).await;
    for n in 0..30 {
        let id = world.append(&format!("@coder {n}")).await;
        assert_eq!(client.delivered().await, (id, 1));
        client.ack(id).await;
        client.grant(1).await;
    }
    client.quiet().await;
    assert!(world.running.try_join_next().is_none());
}

#[tokio::test]
async fn events_of_a_tenant_without_a_snapshot_wait_for_it() {
    let world = World::new(snapshot(&["coder"])).await;
    world.config.send_replace(std::sync::Arc::default());
    // Whoever reads the configuration from here on finds no tenant.
    world.append("@coder please").await;
    let waits = world.bus.depth(&tenant()).await.unwrap();
    assert_eq!(waits.unrouted, 1);
    world.configure(snapshot(&["coder"]));
    world.inbox_until("coder", |depth| depth.waiting == 1).await;
}

async fn a_profile_that_changes_is_taken_over_live(speaks: Speaks) {
    let world = World::new(snapshot(&["coder"])).await.speaking(speaks);
    let mut client = world.open("coder", 10).await;
    let mut changed = snapshot(&["coder"]);
    changed.agents.get_mut("coder").unwrap().max_in_flight = 1;
    share(&mut changed, "Squad", &["coder"]);
    world.configure(changed);
    until(async || {
        let view = world.presence.agent(agent_id("coder"))?;
        (view.sessions[0].credit == 1).then_some(())
    })
    .await;
    world.append("@squad please").await;
    assert_eq!(client.next().await["deliver"]["alias"], "Squad");
}
