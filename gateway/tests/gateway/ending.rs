//! What ends a session.

use std::time::Duration;

use futures_util::SinkExt as _;
use nexus_core::secret::Secret;
use nexus_core::snapshot::Heartbeat;
use serde_json::json;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Client, World, agent_id, attenuated, snapshot, stop_all, until};

#[tokio::test]
async fn silence_ends_a_session_and_returns_what_it_held() {
    let mut snapshot = snapshot(&["coder"]);
    snapshot.heartbeat = Heartbeat {
        interval: Duration::from_millis(200),
        misses: 2,
    };
    let world = World::new(snapshot).await;
    let mut client = world.open("coder", 1).await;
    world.append("@coder please").await;
    client.delivered().await;
    client.goodbye("HEARTBEAT_MISSED").await;
    world
        .inbox_until("coder", |depth| depth.held == 0 && depth.waiting == 1)
        .await;
}

#[tokio::test]
async fn pings_of_either_kind_keep_a_session() {
    let mut snapshot = snapshot(&["coder"]);
    snapshot.heartbeat = Heartbeat {
        interval: Duration::from_millis(300),
        misses: 2,
    };
    let world = World::new(snapshot).await;
    let mut client = world.open("coder", 0).await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(1500) {
        tokio::time::sleep(Duration::from_millis(100)).await;
        client.stream.send(Message::Ping(vec![].into())).await.unwrap();
    }
    client.quiet().await;
    client.goodbye("HEARTBEAT_MISSED").await;
}

#[tokio::test]
async fn a_profile_that_is_removed_ends_its_sessions() {
    let world = World::new(snapshot(&["coder", "other"])).await;
    let (mut coder, mut other) = (world.open("coder", 0).await, world.open("other", 0).await);
    world.configure(snapshot(&["other"]));
    coder.goodbye("PROFILE_REMOVED").await;
    other.quiet().await;
    let mut changed = snapshot(&["other"]);
    changed.agents.get_mut("other").unwrap().credential = Some(Secret::new("new").digest());
    world.configure(changed);
    other.goodbye("PROFILE_REMOVED").await;
}

#[tokio::test]
async fn a_session_ends_with_its_token_unless_a_fresh_one_comes() {
    let world = World::new(snapshot(&["coder", "other"])).await;
    // The holder's own shortening ends a session as the token's own end does.
    let until = world.in_seconds(3).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let token = attenuated(
        &world.token("coder").await,
        &format!("check if time($t), $t <= {until};"),
    );
    let mut left = world.connect_with(&token).await.unwrap();
    let mut renewed = world.connect_with(&token).await.unwrap();
    for client in [&mut left, &mut renewed] {
        client.send(json!({"hello": {}})).await;
        client.next().await;
    }
    for (wrong, text) in [
        (world.token_until("other", world.in_seconds(60)), "another agent"),
        (world.token_until("coder", world.clock.now()), "expired"),
    ] {
        renewed.send(json!({"reauth": {"token": wrong}})).await;
        let frame = renewed.next().await;
        assert_eq!(frame["error"]["code"], "wrong_token");
        assert!(
            frame["error"]["message"].as_str().unwrap().contains(text),
            "{frame}"
        );
    }
    let fresh = world.token_until("coder", world.in_seconds(60));
    renewed.send(json!({"reauth": {"token": fresh}})).await;
    left.goodbye("TOKEN_EXPIRED").await;
    renewed.quiet().await;
}

#[tokio::test]
async fn garbage_is_told_and_too_much_of_it_ends_the_session() {
    let world = World::new(snapshot(&["coder"])).await;
    let mut client = world.open("coder", 0).await;
    client.send_text("{").await;
    client.error("bad_frame").await;
    client.send(json!({"akc": {}})).await;
    client.error("bad_frame").await;
    client.stream.send(Message::binary(vec![0, 1, 2])).await.unwrap();
    client.error("bad_frame").await;
    client.quiet().await;
    for _ in 0..8 {
        client.send_text("[]").await;
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
    client.send_text(&"x".repeat(70_000)).await;
    client.goodbye("PROTOCOL_ERROR").await;
}

#[tokio::test]
async fn a_drain_tells_every_session_and_ends_the_role() {
    let mut world = World::new(snapshot(&["coder", "other"])).await;
    let (mut coder, mut other) = (world.open("coder", 1).await, world.open("other", 0).await);
    world.append("@coder please").await;
    coder.delivered().await;
    world.drain.cancel();
    coder.goodbye("DRAINING").await;
    let goodbye = other.goodbye("DRAINING").await;
    assert!(goodbye["reconnectAfter"].is_string(), "{goodbye}");
    world.running.join_next().await.unwrap().unwrap().unwrap();
    world
        .inbox_until("coder", |depth| depth.held == 0 && depth.waiting == 1)
        .await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_severs_every_session_and_a_release_lets_queued_work_flow() {
    let world = World::new(snapshot(&["coder"])).await;
    let mut crowd = crowd(&world, 200).await;
    let token = world.token("coder").await;
    let flipped = Instant::now();
    world.lane.observe(&[stop_all(2, true, None)]).unwrap();
    for client in &mut crowd {
        let goodbye = client.goodbye("STOPPED").await;
        assert!(
            goodbye["message"]
                .as_str()
                .unwrap()
                .contains("1f2e3d4c-2 (drill)"),
            "{goodbye}"
        );
    }
    println!("200 sessions closed after {:?}", flipped.elapsed());
    assert_eq!(world.connect_with(&token).await.err().unwrap().status, 503);
    assert_eq!(world.ask_token("coder").await.status, 503);
    // Routing goes on: the inbox fills.
    let id = world.append("@coder please").await;
    world.inbox_until("coder", |depth| depth.waiting == 1).await;
    world
        .lane
        .observe(&[stop_all(3, false, Some("1f2e3d4c-2"))])
        .unwrap();
    let mut client = world.open("coder", 1).await;
    assert_eq!(client.delivered().await, (id, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_delivered_after_the_flip() {
    let world = World::new(snapshot(&["coder"])).await;
    let mut client = world.open("coder", 10).await;
    for n in 0..300 {
        world.append(&format!("@coder {n}")).await;
    }
    for _ in 0..20 {
        let (id, _) = client.delivered().await;
        client.ack(id).await;
        client.grant(1).await;
    }
    world.lane.observe(&[stop_all(2, true, None)]).unwrap();
    // What was sent before the flip may still lie in the socket: no more than the credit that was out.
    let mut late = 0;
    let goodbye = loop {
        let frame = client.next().await;
        if frame.get("deliver").is_none() {
            break frame;
        }
        late += 1;
    };
    assert_eq!(goodbye["goodbye"]["reason"], "GOODBYE_REASON_STOPPED");
    assert!(late <= 10, "{late}");
    let depth = world.inbox_until("coder", |depth| depth.held == 0).await;
    world
        .inbox_until("coder", |later| later.held == 0 && later.waiting >= depth.waiting)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_cuts_off_an_agent_that_does_not_read() {
    let mut snapshot = snapshot(&["stalled"]);
    snapshot.agents.get_mut("stalled").unwrap().max_in_flight = 64;
    // No other deadline may come to the rescue.
    let world = World::with(snapshot, |settings| {
        settings.write_deadline = Duration::from_secs(600)
    })
    .await;
    let mut client = world.open("stalled", 64).await;
    let big = format!("@stalled {}", "x".repeat(500_000));
    for _ in 0..40 {
        world.append(&big).await;
    }
    // The session is stuck in a write once it takes no more although it has the credit.
    let mut before = 0;
    until(async || {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let held = world.inbox_until("stalled", |_| true).await.held;
        (held > 0 && held == std::mem::replace(&mut before, held)).then_some(())
    })
    .await;
    assert!(before < 40);
    world.lane.observe(&[stop_all(2, true, None)]).unwrap();
    until(async || {
        world
            .presence
            .agent(agent_id("stalled"))
            .filter(|view| !view.online)
    })
    .await;
    world.inbox_until("stalled", |depth| depth.held == 0).await;
    while client.try_next().await.is_some() {}
}
