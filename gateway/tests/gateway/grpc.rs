//! What only gRPC has: statuses, calls that share a connection, and an end of the connection itself.

use std::collections::BTreeSet;
use std::time::Duration;

use nexus_core::id::{AgentId, TenantKey};
use nexus_gateway::GatewaySettings;
use nexus_gateway::token::Claims;
use nexus_wire::agent::v1::server_frame::Frame;
use nexus_wire::agent::v1::{Ack, ClientFrame, GoodbyeReason, Hello, ServerFrame, client_frame};
use prost::Message as _;
use serde_json::json;
use tokio::time::timeout;
use tonic::{Code, Status};

use crate::client::{Client, Connection, Speaks};
use crate::support::{PATIENCE, Refused, World, agent_id, mark, snapshot, stop_all, until};

async fn world(names: &[&str]) -> World {
    World::new(snapshot(names)).await.speaking(Speaks::Grpc)
}

/// A busy machine makes no polite agent late.
fn patient(settings: &mut GatewaySettings) {
    settings.stop_patience = PATIENCE;
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
    let world = World::with(snapshot(&["coder"]), patient).await.speaking(Speaks::Grpc);
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
    let world = World::with(both, patient).await;
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

#[tokio::test]
async fn an_agent_that_does_not_read_in_time_is_reset_and_slows_nobody_on_its_connection() {
    let slow = |settings: &mut GatewaySettings| settings.write_deadline = Duration::from_millis(500);
    let world = World::with(snapshot(&["coder", "brisk"]), slow).await;
    let connection = Connection::over(world.socket(None).await).await;
    let mut coder = connection.connect_with(&world.token("coder").await).await.unwrap();
    let mut brisk = connection.connect_with(&world.token("brisk").await).await.unwrap();
    coder.hello(1).await;
    brisk.hello(1).await;
    world.append(&format!("@coder {}", "x".repeat(500_000))).await;
    let view = async || world.presence.agent(agent_id("coder"));
    until(async || view().await.filter(|view| !view.online)).await;
    assert_eq!(coder.try_next().await, None);
    let status = format!("{:?}", coder.status());
    assert!(status.contains("CANCEL"), "{status}");
    world.inbox_until("coder", |depth| depth.held == 0 && depth.waiting == 1).await;
    // What was not read is gone, and the connection with its other call goes on.
    let id = world.append("@brisk go").await;
    assert_eq!(brisk.delivered().await, (id, 1));
}

#[tokio::test]
async fn an_agent_that_never_reads_again_is_told_of_its_reset() {
    let slow = |settings: &mut GatewaySettings| settings.write_deadline = Duration::from_millis(500);
    let world = World::with(snapshot(&["coder"]), slow).await;
    let (client, connection) = h2::client::handshake(world.socket(None).await).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(connection);
    let request = http::Request::post("http://gateway/nexus.agent.v1.Agents/Connect")
        .header("content-type", "application/grpc")
        .header("authorization", format!("Bearer {}", world.token("coder").await))
        .body(())
        .unwrap();
    let (answer, mut frames) = client.ready().await.unwrap().send_request(request, false).unwrap();
    let hello = ClientFrame { frame: Some(client_frame::Frame::Hello(Hello { credit: 1 })) }.encode_to_vec();
    let prefix = [&[0][..], &u32::try_from(hello.len()).unwrap().to_be_bytes()].concat();
    frames.send_data([prefix, hello].concat().into(), false).unwrap();
    let mut answers = answer.await.unwrap().into_body();
    world.append(&format!("@coder {}", "x".repeat(500_000))).await;
    // It takes what its window has room for and, unlike libraries, never asks for more.
    let end = timeout(PATIENCE, async {
        loop {
            match answers.data().await {
                Some(Ok(_)) => {}
                end => break end,
            }
        }
    });
    let end = end.await.expect("it is told").unwrap().unwrap_err();
    assert_eq!(end.reason(), Some(h2::Reason::CANCEL));
    world.inbox_until("coder", |depth| depth.held == 0 && depth.waiting == 1).await;
}

#[tokio::test]
async fn a_stop_cuts_off_a_connection_whose_agent_does_not_read_whoever_shares_it() {
    let mut both = snapshot(&["coder", "other"]);
    both.agents.get_mut("coder").unwrap().labels.insert("team".into(), "shop".into());
    let world = World::new(both).await;
    let connection = Connection::over(world.socket(None).await).await;
    let mut coder = connection.connect_with(&world.token("coder").await).await.unwrap();
    let mut other = connection.connect_with(&world.token("other").await).await.unwrap();
    coder.hello(1).await;
    other.hello(0).await;
    world.append(&format!("@coder {}", "x".repeat(500_000))).await;
    world.inbox_until("coder", |depth| depth.held == 1).await;
    let mut one = stop_all(2, true, None);
    one.targets.agents.match_labels.insert("team".into(), "shop".into());
    world.lane.observe(&[one]).unwrap();
    assert_eq!(other.try_next().await, None);
    assert_ne!(other.status().unwrap().code(), Code::Ok);
    // It comes back at once.
    world.open("other", 0).await.quiet().await;
}

#[tokio::test]
async fn an_event_of_the_largest_kind_is_delivered() {
    let world = world(&["coder"]).await;
    let mut client = world.open("coder", 1).await;
    let id = world.append(&format!("@coder {}", "x".repeat(1_000_000))).await;
    assert_eq!(client.delivered().await, (id, 1));
    client.quiet().await;
}

#[tokio::test]
async fn an_agent_that_ends_its_side_has_ended_the_session() {
    let world = world(&["coder"]).await;
    let mut client = world.open("coder", 1).await;
    client.call().hang_up();
    assert_eq!(client.try_next().await, None);
    assert_eq!(client.status().unwrap().code(), Code::Ok);
    until(async || world.presence.agent(agent_id("coder")).filter(|view| !view.online)).await;
}

#[tokio::test]
async fn reflection_lists_the_services_and_describes_them_to_anybody() {
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    use tonic_reflection::pb::v1::{ServerReflectionRequest, server_reflection_client};

    let world = world(&[]).await;
    let connection = Connection::over(world.socket(None).await).await;
    let mut client = server_reflection_client::ServerReflectionClient::with_origin(
        connection.channel(),
        connection.origin(),
    );
    let mut ask = async |message| {
        let request = ServerReflectionRequest { host: String::new(), message_request: Some(message) };
        let mut answers =
            client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
        answers.message().await.unwrap().unwrap().message_response.unwrap()
    };
    let MessageResponse::ListServicesResponse(list) = ask(MessageRequest::ListServices(String::new())).await
    else {
        panic!("a list");
    };
    let names: BTreeSet<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    let wanted = ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "nexus.agent.v1.Agents"];
    assert_eq!(names, BTreeSet::from(wanted));
    let symbol = MessageRequest::FileContainingSymbol("nexus.agent.v1.Agents".into());
    assert!(matches!(ask(symbol).await, MessageResponse::FileDescriptorResponse(_)));
}

#[tokio::test]
async fn health_is_told_to_anybody_and_changes_in_a_drain() {
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

    let mut world = world(&[]).await;
    let connection = Connection::over(world.socket(None).await).await;
    let mut client = HealthClient::with_origin(connection.channel(), connection.origin());
    let service = |name: &str| HealthCheckRequest { service: name.into() };
    for name in ["", "nexus.agent.v1.Agents"] {
        // The task that tells it begins with the role.
        until(async || {
            let answer = client.clone().check(service(name)).await.ok()?;
            (answer.get_ref().status() == ServingStatus::Serving).then_some(())
        })
        .await;
    }
    let unknown = client.check(service("x")).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    let mut watch = client.watch(service("nexus.agent.v1.Agents")).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    world.drain.cancel();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert!(watch.message().await.unwrap().is_none());
    world.running.join_next().await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_method_that_does_not_exist_is_unimplemented_and_http_is_sent_elsewhere() {
    let world = world(&[]).await;
    let connection = Connection::over(world.socket(None).await).await;
    for path in ["/x.y/Z", "/nexus.agent.v1.Agents/Other", "/grpc.health.v1.Health/Other"] {
        let mut client = tonic::client::Grpc::with_origin(connection.channel(), connection.origin());
        client.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<ClientFrame, ServerFrame>::default();
        let call = client.unary(tonic::Request::new(ClientFrame::default()), path.parse().unwrap(), codec);
        assert_eq!(call.await.unwrap_err().code(), Code::Unimplemented, "{path}");
    }
    let answer = world.http("POST", "/nexus.agent.v1.Agents/Connect", "", "").await;
    assert_eq!((answer.status, answer.error().as_str()), (415, "grpc_expected"));
}

#[tokio::test]
async fn compressed_messages_are_refused() {
    let world = world(&["coder"]).await;
    let connection = Connection::over(world.socket(None).await).await;
    let bearer = format!("Bearer {}", world.token("coder").await);
    let headers = [("authorization", bearer.as_str()), ("grpc-encoding", "gzip")];
    let status = connection.connect(&headers).await.err().unwrap();
    assert_eq!(status.code(), Code::Unimplemented, "{status:?}");
}

#[tokio::test]
async fn messages_that_are_no_frames_are_told_and_too_many_end_the_call() {
    let world = world(&["coder"]).await;
    let connection = Connection::over(world.socket(None).await).await;
    let mut client = tonic::client::Grpc::with_origin(connection.channel(), connection.origin());
    client.ready().await.unwrap();
    // An Ack alone is not the message of a ClientFrame.
    let wrong = vec![Ack { event_id: "x".into() }; 11];
    let open = tokio_stream::StreamExt::chain(tokio_stream::iter(wrong), tokio_stream::pending());
    let mut request = tonic::Request::new(open);
    let bearer = format!("Bearer {}", world.token("coder").await);
    request.metadata_mut().insert("authorization", bearer.parse().unwrap());
    let codec = tonic_prost::ProstCodec::<Ack, ServerFrame>::default();
    let path = "/nexus.agent.v1.Agents/Connect".parse().unwrap();
    let mut answers = client.streaming(request, path, codec).await.unwrap().into_inner();
    for _ in 0..11 {
        let Some(Frame::Error(error)) = answers.message().await.unwrap().unwrap().frame else {
            panic!("an Error");
        };
        assert_eq!(error.code, "bad_frame");
        assert!(error.message.contains("not a ClientFrame"), "{error:?}");
    }
    let Some(Frame::Goodbye(goodbye)) = answers.message().await.unwrap().unwrap().frame else {
        panic!("a Goodbye");
    };
    assert_eq!(goodbye.reason(), GoodbyeReason::ProtocolError);
    assert!(answers.message().await.unwrap().is_none());
}
