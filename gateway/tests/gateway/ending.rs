//! What ends a session.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use nexus_core::secret::Secret;
use nexus_core::snapshot::Heartbeat;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::client::{Client, Speaks, over_both};
use crate::support::{World, agent_id, attenuated, snapshot, stop_all, until};

over_both!(
    silence_ends_a_session_and_returns_what_it_held,
    a_profile_that_is_removed_ends_its_sessions,
    a_session_ends_with_its_token_unless_a_fresh_one_comes,
    a_fresh_token_must_be_the_agents_own_and_good_and_not_come_all_the_time,
    a_drain_tells_every_session_and_ends_the_role,
    a_stop_severs_every_session_and_a_release_lets_queued_work_flow,
);

async fn silence_ends_a_session_and_returns_what_it_held(speaks: Speaks) {
    let mut snapshot = snapshot(&["coder"]);
    snapshot.heartbeat = Heartbeat { interval: Duration::from_millis(200), misses: 2 };
    let world = World::new(snapshot).await.speaking(speaks);
    // It waits before the agent comes, so it is delivered before any silence.
    world.append("@coder please").await;
    world.inbox_until("coder", |depth| depth.waiting == 1).await;
    let mut client = world.open("coder", 1).await;
    client.delivered().await;
    client.goodbye("HEARTBEAT_MISSED").await;
    world.inbox_until("coder", |depth| depth.held == 0 && depth.waiting == 1).await;
}

#[tokio::test]
async fn pings_and_pongs_of_either_kind_are_signs_of_life() {
    let world = World::new(snapshot(&["coder"])).await;
    let mut client = world.open("coder", 0).await;
    for sign in [
        Message::Ping(vec![].into()),
        Message::Pong(vec![].into()),
        Message::text(r#"{"ping":{}}"#),
        Message::text("no frame at all"),
    ] {
        world.time.advance(Duration::from_secs(1));
        client.websocket().send(sign).await.unwrap();
        let now = world.clock.now();
        until(async || world.presence.agent(agent_id("coder")).filter(|view| view.last_seen == Some(now)))
            .await;
    }
}

#[tokio::test]
async fn a_message_above_the_limit_does_not_cost_the_goodbye_that_says_so() {
    let world = World::new(snapshot(&["coder"])).await;
    let mut client = world.open("coder", 0).await;
    // More than the kernel would take: it is gone only once the gateway has taken it off the socket.
    client.websocket().send(Message::text("x".repeat(8 * 1024 * 1024))).await.unwrap();
    client.goodbye("PROTOCOL_ERROR").await;
}

async fn a_profile_that_is_removed_ends_its_sessions(speaks: Speaks) {
    let world = World::new(snapshot(&["coder", "other"])).await.speaking(speaks);
    let (mut coder, mut other) = (world.open("coder", 0).await, world.open("other", 0).await);
    world.configure(snapshot(&["other"]));
    coder.goodbye("PROFILE_REMOVED").await;
    other.quiet().await;
    let mut changed = snapshot(&["other"]);
    changed.agents.get_mut("other").unwrap().credential = Some(Secret::new("new").digest());
    world.configure(changed);
    other.goodbye("PROFILE_REMOVED").await;
}

async fn a_session_ends_with_its_token_unless_a_fresh_one_comes(speaks: Speaks) {
    let world = World::new(snapshot(&["coder", "other"])).await.speaking(speaks);
    // The holder's own shortening ends a session as the token's own end does.
    let until = world.in_seconds(60).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let token = attenuated(&world.token("coder").await, &format!("check if time($t), $t <= {until};"));
    let mut left = world.connect_with(&token).await.unwrap();
    let mut renewed = world.connect_with(&token).await.unwrap();
    left.hello(0).await;
    renewed.hello(0).await;
    let fresh = world.token_until("coder", world.in_seconds(120));
    renewed.send(json!({"reauth": {"token": fresh}})).await;
    renewed.quiet().await;
    world.time.advance(Duration::from_secs(60));
    // Whatever changes makes sessions look at the clock.
    world.configure(snapshot(&["coder", "other"]));
    left.goodbye("TOKEN_EXPIRED").await;
    renewed.quiet().await;
}

async fn a_fresh_token_must_be_the_agents_own_and_good_and_not_come_all_the_time(speaks: Speaks) {
    let world = World::new(snapshot(&["coder", "other"])).await.speaking(speaks);
    for (wrong, text) in [
        (world.token_until("other", world.in_seconds(60)), "another agent"),
        (world.token_until("coder", world.clock.now()), "expired"),
    ] {
        let mut client = world.open("coder", 0).await;
        let reauth = json!({"reauth": {"token": wrong}});
        client.send(reauth.clone()).await;
        let frame = client.next().await;
        assert_eq!(frame["error"]["code"], "wrong_token");
        assert!(frame["error"]["message"].as_str().unwrap().contains(text), "{frame}");
        client.send(reauth).await;
        client.error("too_many_reauths").await;
    }
}

#[tokio::test]
async fn garbage_is_told_and_too_much_of_it_ends_the_session() {
    let world = World::new(snapshot(&["coder"])).await;
    let mut client = world.open("coder", 0).await;
    client.websocket().send(Message::text("{")).await.unwrap();
    client.error("bad_frame").await;
    client.send(json!({"akc": {}})).await;
    client.error("bad_frame").await;
    client.websocket().send(Message::binary(vec![0, 1, 2])).await.unwrap();
    client.error("bad_frame").await;
    client.quiet().await;
    for _ in 0..8 {
        client.websocket().send(Message::text("[]")).await.unwrap();
    }
    for _ in 0..8 {
        client.error("bad_frame").await;
    }
    client.goodbye("PROTOCOL_ERROR").await;
}

#[tokio::test]
async fn the_first_frame_must_be_hello_and_no_frame_may_be_too_long() {
    let world = World::new(snapshot(&["coder"])).await;
    let mut client = world.connect("coder").await;
    client.send(json!({"ping": {}})).await;
    client.error("hello_expected").await;
    client.goodbye("PROTOCOL_ERROR").await;
    let mut client = world.open("coder", 0).await;
    client.websocket().send(Message::text("x".repeat(70_000))).await.unwrap();
    client.goodbye("PROTOCOL_ERROR").await;
}

async fn a_drain_tells_every_session_and_ends_the_role(speaks: Speaks) {
    let mut world = World::new(snapshot(&["coder", "other"])).await.speaking(speaks);
    let (mut coder, mut other) = (world.open("coder", 1).await, world.open("other", 0).await);
    world.append("@coder please").await;
    coder.delivered().await;
    world.drain.cancel();
    coder.goodbye("DRAINING").await;
    let goodbye = other.goodbye("DRAINING").await;
    assert!(goodbye["reconnectAfter"].is_string(), "{goodbye}");
    world.running.join_next().await.unwrap().unwrap().unwrap();
    world.inbox_until("coder", |depth| depth.held == 0 && depth.waiting == 1).await;
}

async fn crowd(world: &World, size: usize) -> Vec<Client> {
    let token = world.token("coder").await;
    let mut crowd = Vec::new();
    for _ in 0..size {
        let mut client = world.connect_with(&token).await.unwrap();
        client.send(json!({"hello": {}})).await;
        client.next().await;
        crowd.push(client);
    }
    crowd
}

async fn a_stop_severs_every_session_and_a_release_lets_queued_work_flow(speaks: Speaks) {
    let world = World::new(snapshot(&["coder"])).await.speaking(speaks);
    let mut crowd = crowd(&world, 200).await;
    let token = world.token("coder").await;
    world.lane.observe(&[stop_all(2, true, None)]).unwrap();
    for client in &mut crowd {
        let goodbye = client.goodbye("STOPPED").await;
        assert!(goodbye["message"].as_str().unwrap().contains("1f2e3d4c-2 (drill)"), "{goodbye}");
    }
    // All are counted, with the time of the last byte.
    let engagement = "1f2e3d4c-2".parse().unwrap();
    let severed = async || world.presence.severed(|_| true).get(&engagement).copied();
    let severed = until(async || severed().await.filter(|severed| severed.sockets == 200)).await;
    assert_eq!(severed.last_byte, world.clock.now());
    assert!(world.connect_with(&token).await.err().unwrap().passes());
    assert_eq!(world.ask_token("coder").await.status, 503);
    // Routing goes on: the inbox fills.
    let id = world.append("@coder please").await;
    world.inbox_until("coder", |depth| depth.waiting == 1).await;
    world.lane.observe(&[stop_all(3, false, Some("1f2e3d4c-2"))]).unwrap();
    let mut client = world.open("coder", 1).await;
    assert_eq!(client.delivered().await, (id, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_takes_back_what_the_kernel_has_of_an_agent_that_does_not_read() {
    let world = World::new(snapshot(&["stalled"])).await;
    // One pull: what it brings is written and flushed before the session shows that it holds it.
    let big = format!("@stalled {}", "x".repeat(20_000));
    for _ in 0..10 {
        world.append(&big).await;
    }
    world.inbox_until("stalled", |depth| depth.waiting == 10).await;
    let mut client = world.open_narrow("stalled", 10).await;
    let view = async || world.presence.agent(agent_id("stalled"));
    until(async || view().await.filter(|view| view.sessions[0].held == 10)).await;
    world.lane.observe(&[stop_all(2, true, None)]).unwrap();
    until(async || view().await.filter(|view| !view.online)).await;
    // What its own receive buffer had is read; the rest is gone, and the goodbye with it.
    let mut delivers = 0;
    let last = loop {
        match client.websocket().next().await {
            Some(Ok(Message::Text(text))) if text.contains("deliver") => delivers += 1,
            last => break last,
        }
    };
    assert!(matches!(last, Some(Err(_))), "{last:?}");
    assert!(delivers < 10, "{delivers}");
}
