//! Who may connect.

use nexus_core::id::{AgentId, TenantKey};
use nexus_gateway::TokenKeys;
use nexus_gateway::token::Claims;
use serde_json::json;

use crate::client::Client;
use crate::support::{Answer, Refused, World, agent_id, attenuated, mark, snapshot, stop_all, until};

fn refused(answer: Result<Client, Refused>) -> Answer {
    match answer {
        Ok(_) => panic!("connected"),
        Err(refused) => refused.http(),
    }
}

#[tokio::test]
async fn a_token_that_is_not_accepted_is_refused_with_the_reason() {
    let world = World::new(snapshot(&["coder"])).await;
    let good = world.token("coder").await;
    let mut altered = good.clone().into_bytes();
    altered[40] ^= 1;
    let other: TenantKey = "other/other".parse().unwrap();
    let other_tenant = Claims {
        agent: AgentId::of(&other, "coder"),
        tenant: other.clone(),
        credential: mark("coder"),
        expires: world.in_seconds(60),
    };
    let crossed = Claims { agent: agent_id("coder"), ..other_tenant.clone() };
    let other_secret =
        Claims { tenant: crate::support::tenant(), credential: mark("other"), ..crossed.clone() };
    let strange =
        TokenKeys::generate().issue(&Claims { tenant: crate::support::tenant(), ..crossed.clone() });
    for (token, text) in [
        (String::from_utf8(altered).unwrap(), ""),
        ("nonsense".to_owned(), "no access token"),
        (world.token_until("coder", world.clock.now()), "expired"),
        (attenuated(&good, r#"check if agent("x");"#), "check of another form"),
        (strange.unwrap(), "key that is not accepted"),
        (world.keys.issue(&other_secret).unwrap(), "profile is gone or its client secret was changed"),
    ] {
        let answer = refused(world.connect_with(&token).await);
        assert_eq!((answer.status, answer.error().as_str()), (401, "invalid_token"), "{answer:?}");
        assert!(answer.says(text), "{text}: {answer:?}");
        assert!(answer.headers.contains(r#"error="invalid_token""#), "{answer:?}");
    }
    for token in [
        world.keys.issue(&other_tenant).unwrap(),
        world.keys.issue(&crossed).unwrap(),
        world.token_until("nobody", world.in_seconds(60)),
    ] {
        let answer = refused(world.connect_with(&token).await);
        assert_eq!((answer.status, answer.error().as_str()), (403, "access_denied"), "{answer:?}");
        assert!(answer.says("profile is gone"), "{answer:?}");
    }
    let without = refused(world.connect_headers(&[]).await.map_err(Refused::Http));
    assert_eq!((without.status, without.error().as_str()), (401, "missing_token"));
    assert!(without.headers.contains("www-authenticate: Bearer realm=\"nexus\"\r\n"), "{without:?}");
    assert!(world.connect_with(&good).await.is_ok());
}

#[tokio::test]
async fn a_token_does_not_outlive_the_secret_that_it_was_issued_for() {
    let world = World::new(snapshot(&["coder"])).await;
    let token = world.token("coder").await;
    let mut changed = snapshot(&["coder"]);
    changed.agents.get_mut("coder").unwrap().credential = None;
    world.configure(changed);
    let answer = refused(world.connect_with(&token).await);
    assert_eq!((answer.status, answer.error().as_str()), (401, "invalid_token"));
}

#[tokio::test]
async fn only_our_subprotocol_is_spoken_and_only_websocket() {
    let world = World::new(snapshot(&["coder"])).await;
    let bearer = format!("Bearer {}", world.token("coder").await);
    let headers = [("authorization", bearer.as_str()), ("sec-websocket-protocol", "graphql-ws")];
    let answer = refused(world.connect_headers(&headers).await.map_err(Refused::Http));
    assert_eq!((answer.status, answer.error().as_str()), (400, "unknown_subprotocol"));
    assert!(world.connect_headers(&[("authorization", &bearer)]).await.is_ok());
    let plain = world.http("GET", "/v1/connect", &format!("authorization: {bearer}\r\n"), "").await;
    assert_eq!((plain.status, plain.error().as_str()), (426, "upgrade_required"));
    assert!(plain.headers.contains("upgrade: websocket"), "{plain:?}");
}

#[tokio::test]
async fn a_stop_refuses_connections_and_names_the_engagement() {
    let world = World::new(snapshot(&["coder"])).await;
    let token = world.token("coder").await;
    world.lane.observe(&[stop_all(2, true, None)]).unwrap();
    let answer = refused(world.connect_with(&token).await);
    assert_eq!((answer.status, answer.error().as_str()), (503, "temporarily_unavailable"));
    assert!(answer.headers.contains("retry-after: "), "{answer:?}");
    assert_eq!(answer.json()["engagement"], "1f2e3d4c-2");
    assert_eq!(answer.json()["reason"], "drill");
    world.lane.observe(&[stop_all(3, false, Some("1f2e3d4c-2"))]).unwrap();
    assert!(world.connect_with(&token).await.is_ok());
}

#[tokio::test]
async fn there_is_room_for_so_many_sessions_of_one_agent() {
    let world = World::with(snapshot(&["coder"]), |settings| settings.max_sessions_per_agent = 1).await;
    let first = world.open("coder", 0).await;
    let token = world.token("coder").await;
    let answer = refused(world.connect_with(&token).await);
    assert_eq!((answer.status, answer.error().as_str()), (503, "too_many_sessions"));
    drop(first);
    until(async || world.connect_with(&token).await.ok()).await;
}

#[tokio::test]
async fn there_is_room_for_so_many_sessions_of_a_gateway() {
    let world = World::with(snapshot(&["coder", "idle"]), |settings| settings.max_sessions = 1).await;
    let first = world.open("coder", 0).await;
    let token = world.token("idle").await;
    let answer = refused(world.connect_with(&token).await);
    assert_eq!((answer.status, answer.error().as_str()), (503, "too_many_sessions"));
    assert!(answer.says("1 sessions"), "{answer:?}");
    drop(first);
    until(async || world.connect_with(&token).await.ok()).await;
}

#[tokio::test]
async fn presence_shows_who_is_connected() {
    let world = World::new(snapshot(&["coder", "idle"])).await;
    let mut client = world.open("coder", 3).await;
    let view = until(async || world.presence.agent(agent_id("coder")).filter(|view| view.online)).await;
    assert_eq!((view.sessions[0].credit, view.sessions[0].held), (3, 0));
    assert!(world.presence.agent(agent_id("idle")).is_none());
    world.append("@coder please").await;
    let (id, _) = client.delivered().await;
    until(async || world.presence.agent(agent_id("coder")).filter(|view| view.sessions[0].held == 1)).await;
    client.ack(id).await;
    client.send(json!({"ping": {}})).await;
    client.next().await;
    drop(client);
    let gone = until(async || world.presence.agent(agent_id("coder")).filter(|view| !view.online)).await;
    assert!(gone.last_seen >= Some(view.sessions[0].since));
}
