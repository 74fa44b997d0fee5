//! What only gRPC has: statuses, calls that share a connection, and an end of the connection itself.

use nexus_core::id::{AgentId, TenantKey};
use nexus_gateway::token::Claims;
use serde_json::json;
use tonic::{Code, Status};

use crate::client::{Client, Connection, Speaks};
use crate::support::{Refused, World, agent_id, mark, snapshot, stop_all, until};

async fn world(names: &[&str]) -> World {
    World::new(snapshot(names)).await.speaking(Speaks::Grpc)
}

fn refused(answer: Result<Client, Refused>) -> Status {
    match answer {
        Ok(_) => panic!("connected"),
        Err(refused) => refused.grpc(),
    }
}

#[tokio::test]
async fn a_refusal_is_a_status_with_the_reason() {
    let world = world(&["coder"]).await;
    let other: TenantKey = "other/other".parse().unwrap();
    let crossed = Claims {
        agent: agent_id("coder"),
        tenant: other.clone(),
        credential: mark("coder"),
        expires: world.in_seconds(60),
    };
    let foreign = Claims { agent: AgentId::of(&other, "coder"), ..crossed.clone() };
    let other_secret =
        Claims { tenant: crate::support::tenant(), credential: mark("other"), ..crossed.clone() };
    for (token, code, text) in [
        ("nonsense".to_owned(), Code::Unauthenticated, "no access token"),
        (world.token_until("coder", world.clock.now()), Code::Unauthenticated, "expired"),
        (world.keys.issue(&other_secret).unwrap(), Code::Unauthenticated, "secret was changed"),
        (world.token_until("nobody", world.in_seconds(60)), Code::PermissionDenied, "profile is gone"),
        (world.keys.issue(&crossed).unwrap(), Code::PermissionDenied, "profile is gone"),
        (world.keys.issue(&foreign).unwrap(), Code::PermissionDenied, "profile is gone"),
    ] {
        let status = refused(world.connect_with(&token).await);
        assert_eq!(status.code(), code, "{status:?}");
        assert!(status.message().contains(text), "{text}: {status:?}");
        assert!(status.metadata().get("grpc-retry-pushback-ms").is_none(), "{status:?}");
    }
    let connection = Connection::over(world.socket(None).await).await;
    let missing = connection.connect(&[]).await.err().unwrap();
    assert_eq!(missing.code(), Code::Unauthenticated, "{missing:?}");
    // The connection is as good as before.
    let mut client = connection.connect_with(&world.token("coder").await).await.unwrap();
    client.hello(1).await;
}

#[tokio::test]
async fn a_stop_refuses_calls_for_the_time_being() {
    let world = world(&["coder"]).await;
    let token = world.token("coder").await;
    world.lane.observe(&[stop_all(2, true, None)]).unwrap();
    let status = refused(world.connect_with(&token).await);
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(status.message().contains("1f2e3d4c-2 (drill)"), "{status:?}");
    assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "10000");
    world.lane.observe(&[stop_all(3, false, Some("1f2e3d4c-2"))]).unwrap();
    world.connect_with(&token).await.map_err(Refused::grpc).unwrap();
}

#[tokio::test]
async fn a_stop_closes_the_connection_itself() {
    let world = world(&["coder"]).await;
    let mut client = world.open("coder", 1).await;
    world.lane.observe(&[stop_all(2, true, None)]).unwrap();
    client.goodbye("STOPPED").await;
    let connection = client.call().connection.take().unwrap();
    drop(client);
    connection.closed().await;
}

#[tokio::test]
async fn a_stop_takes_back_what_the_kernel_has_of_an_agent_that_does_not_read() {
    let world = world(&["stalled"]).await;
    let connection = Connection::over(world.socket(Some(4096)).await).await;
    let mut client = connection.connect_with(&world.token("stalled").await).await.unwrap();
    client.hello(0).await;
    client.grant(10).await;
    client.quiet().await;
    connection.stop_reading().await;
    let text = format!("@stalled {}", "x".repeat(20_000));
    for _ in 0..10 {
        world.append(&text).await;
    }
    world.inbox_until("stalled", |depth| depth.held > 0).await;
    world.lane.observe(&[stop_all(2, true, None)]).unwrap();
    let view = async || world.presence.agent(agent_id("stalled"));
    until(async || view().await.filter(|view| !view.online)).await;
    let (rest, end) = connection.cut().await;
    assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert!(rest.len() < 200_000, "{}", rest.len());
    world.inbox_until("stalled", |depth| depth.held == 0 && depth.waiting == 10).await;
}

#[tokio::test]
async fn calls_share_a_connection_and_end_one_by_one() {
    let mut both = snapshot(&["coder", "other"]);
    both.agents.get_mut("coder").unwrap().labels.insert("team".into(), "shop".into());
    let world = World::new(both).await;
    let connection = Connection::over(world.socket(None).await).await;
    let mut coder = connection.connect_with(&world.token("coder").await).await.unwrap();
    let mut other = connection.connect_with(&world.token("other").await).await.unwrap();
    coder.hello(1).await;
    other.hello(1).await;
    let of_coder = world.append("@coder please").await;
    let of_other = world.append("@other please").await;
    assert_eq!(coder.delivered().await, (of_coder, 1));
    assert_eq!(other.delivered().await, (of_other, 1));
    // The stop binds one of them: the other goes on, on the same connection.
    let mut one = stop_all(2, true, None);
    one.targets.agents.match_labels.insert("team".into(), "shop".into());
    world.lane.observe(&[one]).unwrap();
    coder.goodbye("STOPPED").await;
    drop(coder);
    world.inbox_until("coder", |depth| depth.held == 0 && depth.waiting == 1).await;
    other.quiet().await;
    // Once it leaves, nothing holds a connection that a stop has been at.
    drop(other);
    connection.closed().await;
}

#[tokio::test]
async fn a_frame_too_long_ends_the_call_and_garbage_is_told() {
    let world = world(&["coder"]).await;
    let mut client = world.open("coder", 0).await;
    client.send(json!({"nack": {"eventId": "x", "reason": "y".repeat(70_000)}})).await;
    client.goodbye("PROTOCOL_ERROR").await;
    let mut client = world.open("coder", 0).await;
    client.send(json!({})).await;
    client.error("bad_frame").await;
    client.send(json!({"hello": {}})).await;
    client.error("bad_frame").await;
    client.quiet().await;
    let mut client = world.connect("coder").await;
    client.send(json!({"ping": {}})).await;
    client.error("hello_expected").await;
    client.goodbye("PROTOCOL_ERROR").await;
}
