//! The token endpoint and its metadata.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use nexus_gateway::{Gateway, GatewaySettings};
use serde_json::json;

use crate::support::{World, agent_id, secret, snapshot, stop_all};

fn form(name: &str) -> String {
    let (id, secret) = (agent_id(name), secret(name));
    format!("grant_type=client_credentials&client_id={id}&client_secret={secret}")
}

fn basic(id: &str, secret: &str) -> String {
    format!("authorization: Basic {}\r\n", BASE64_STANDARD.encode(format!("{id}:{secret}")))
}

#[tokio::test]
async fn credentials_are_traded_for_a_token_that_nobody_caches() {
    let world = World::new(snapshot(&["coder"])).await;
    let by_form = world.post_form("/oauth/token", "", &form("coder")).await;
    let by_header = world.ask_token("coder").await;
    let id = format!("{}&scope=connect", form("coder"));
    let with_scope = world.post_form("/oauth/token", "", &id).await;
    for answer in [by_form, by_header, with_scope] {
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.headers.contains("cache-control: no-store\r\n"), "{answer:?}");
        assert!(answer.headers.contains("pragma: no-cache\r\n"), "{answer:?}");
        let json = answer.json();
        assert_eq!((&json["token_type"], &json["expires_in"]), (&json!("Bearer"), &json!(600)));
        let claims = world.keys.verify(json["access_token"].as_str().unwrap(), world.clock.now()).unwrap();
        assert_eq!(claims.agent, agent_id("coder"));
        assert!(claims.expires <= world.in_seconds(600));
    }
}

#[tokio::test]
async fn each_error_of_the_rfc_is_told() {
    let world = World::new(snapshot(&["coder"])).await;
    let id = agent_id("coder").to_string();
    let good = basic(&id, &secret("coder"));
    let grant = "grant_type=client_credentials";
    for (headers, form, status, error) in [
        (good.as_str(), "", 400, "invalid_request"),
        (&good, "grant_type=", 400, "invalid_request"),
        (&good, "grant_type=password", 400, "unsupported_grant_type"),
        (&good, "grant_type=client_credentials&scope=admin", 400, "invalid_scope"),
        (&good, "grant_type=client_credentials&grant_type=client_credentials", 400, "invalid_request"),
        (&good, &self::form("coder"), 400, "invalid_request"),
        (&good, "grant_type=client_credentials&client_id=other", 400, "invalid_request"),
        (&format!("{good}{good}"), grant, 400, "invalid_request"),
        ("authorization: Bearer x\r\n", &self::form("coder"), 400, "invalid_request"),
        ("", "grant_type=client_credentials&client_id=x&client_id=x&client_secret=y", 400, "invalid_request"),
        ("authorization: Bearer x\r\n", grant, 401, "invalid_client"),
        ("authorization: Basic\r\n", grant, 401, "invalid_client"),
        ("authorization: Basic %%%\r\n", grant, 401, "invalid_client"),
        ("", grant, 401, "invalid_client"),
        ("", "grant_type=client_credentials&client_id=x", 401, "invalid_client"),
        (&basic(&id, "wrong"), grant, 401, "invalid_client"),
        (&basic("nobody", "wrong"), grant, 401, "invalid_client"),
        (&basic(&agent_id("nobody").to_string(), &secret("nobody")), grant, 401, "invalid_client"),
        ("", "grant_type=client_credentials&client_id=x&client_secret=y", 401, "invalid_client"),
    ] {
        let answer = world.post_form("/oauth/token", headers, form).await;
        assert_eq!((answer.status, answer.error().as_str()), (status, error), "{headers}{form}: {answer:?}");
        assert!(answer.headers.contains("cache-control: no-store\r\n"), "{answer:?}");
        let challenged = answer.headers.contains("www-authenticate: basic ");
        assert_eq!(challenged, status == 401 && !headers.is_empty(), "{headers}{form}: {answer:?}");
    }
}

#[tokio::test]
async fn the_body_is_a_short_form_and_nothing_stands_in_the_url() {
    let world = World::new(snapshot(&["coder"])).await;
    let in_url = world.post_form("/oauth/token?client_secret=x", "", &form("coder")).await;
    let json = world.http("POST", "/oauth/token", "content-type: application/json\r\n", "{}").await;
    let untyped = world.http("POST", "/oauth/token", "", &form("coder")).await;
    let long = world.post_form("/oauth/token", "", &"a=b&".repeat(4096)).await;
    for answer in [in_url, json, untyped, long] {
        assert_eq!((answer.status, answer.error().as_str()), (400, "invalid_request"), "{answer:?}");
    }
    let got = world.http("GET", "/oauth/token", "", "").await;
    assert_eq!((got.status, got.error().as_str()), (405, "method_not_allowed"));
    assert!(got.headers.contains("allow: post"), "{got:?}");
}

#[tokio::test]
async fn an_agent_without_a_secret_gets_no_token() {
    let mut snapshot = snapshot(&["coder"]);
    snapshot.agents.get_mut("coder").unwrap().credential = None;
    let world = World::new(snapshot).await;
    assert_eq!(world.ask_token("coder").await.error(), "invalid_client");
}

#[tokio::test]
async fn a_stop_holds_tokens_back_and_says_how_it_ends() {
    let world = World::new(snapshot(&["coder"])).await;
    world.lane.observe(&[stop_all(2, true, None)]).unwrap();
    let answer = world.ask_token("coder").await;
    assert_eq!((answer.status, answer.error().as_str()), (503, "temporarily_unavailable"));
    assert!(answer.headers.contains("retry-after: "), "{answer:?}");
    assert_eq!(answer.json()["engagement"], "1f2e3d4c-2");
    assert!(answer.says("spec.release to 1f2e3d4c-2"), "{answer:?}");
    let stranger =
        world.post_form("/oauth/token", &basic("nobody", "x"), "grant_type=client_credentials").await;
    assert_eq!(stranger.error(), "invalid_client", "strangers hear of no stop");
    world.lane.observe(&[stop_all(3, false, Some("1f2e3d4c-2"))]).unwrap();
    assert_eq!(world.ask_token("coder").await.status, 200);
}

#[tokio::test]
async fn the_metadata_names_the_issuer() {
    let world = World::new(snapshot(&[])).await;
    let path = "/.well-known/oauth-authorization-server";
    let json = world.http("GET", path, "", "").await.json();
    assert_eq!(json["issuer"], "http://gateway.test");
    assert_eq!(json["token_endpoint"], "http://gateway.test/oauth/token");
    assert_eq!(json["grant_types_supported"], json!(["client_credentials"]));
    let set = World::with(snapshot(&[]), |settings| {
        settings.issuer = Some("https://nexus.acme.example/".into());
    });
    let json = set.await.http("GET", path, "", "").await.json();
    assert_eq!(json["token_endpoint"], "https://nexus.acme.example/oauth/token");
}

#[tokio::test]
async fn an_issuer_whose_metadata_would_be_elsewhere_is_refused_at_once() {
    let world = World::new(snapshot(&[])).await;
    let mut settings = GatewaySettings::at(([127, 0, 0, 1], 0).into());
    settings.issuer = Some("https://acme.example/nexus".into());
    let error = Gateway::bind(world.deps(), settings).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("\"https://acme.example/nexus\" has a path"), "{error}");
}

#[tokio::test]
async fn an_unknown_path_is_told_in_json() {
    let world = World::new(snapshot(&[])).await;
    let answer = world.http("GET", "/healthz", "", "").await;
    assert_eq!((answer.status, answer.error().as_str()), (404, "not_found"));
}
