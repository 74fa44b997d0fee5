//! The AsyncAPI document is what the protobuf files say, and what the frames are.

#![expect(clippy::unwrap_used, reason = "a failed step is the test's report")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use jsonschema::Validator;
use nexus_wire::agent::v1::client_frame::Frame as Up;
use nexus_wire::agent::v1::server_frame::Frame as Down;
use nexus_wire::agent::v1::{
    Ack, ClientFrame, Deliver, Error, Goodbye, Grant, Hello, Nack, Ping, Pong, Reauth, ServerFrame, Welcome,
};
use nexus_wire::frame::{self, duration};
use nexus_wire::{asyncapi, event};
use proptest::prelude::*;
use serde_json::{Value, json};

fn schemas() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas")
}

#[test]
fn the_committed_document_is_fresh() {
    let text = format!("{}\n", serde_json::to_string_pretty(&asyncapi::document().unwrap()).unwrap());
    let path = schemas().join(asyncapi::FILE);
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == text, "schemas/{} is stale: run `just update`", asyncapi::FILE);
}

/// A validator of one place in the document, which may refer to StandardEvent.
fn validator(pointer: &str) -> Validator {
    let base = "https://nexus.dev/schemas/asyncapi.json";
    let document = asyncapi::document().unwrap();
    let event = fs::read_to_string(schemas().join("StandardEvent.v1.json")).unwrap();
    let event: Value = serde_json::from_str(&event).unwrap();
    let registry = jsonschema::Registry::new()
        .add(base, document)
        .unwrap()
        .add("https://nexus.dev/schemas/StandardEvent.v1.json", event)
        .unwrap()
        .prepare()
        .unwrap();
    jsonschema::options()
        .with_registry(&registry)
        .should_validate_formats(true)
        .build(&json!({ "$ref": format!("{base}#{pointer}") }))
        .unwrap()
}

/// A frame's key with the validator of its message.
fn validated(key: String) -> (String, Validator) {
    let name = format!("{}{}", key[..1].to_uppercase(), &key[1..]);
    (key, validator(&format!("/components/messages/{name}/payload")))
}

/// Whether a text is the one message that its first key names.
fn fits(text: &str) -> bool {
    static MESSAGES: LazyLock<BTreeMap<String, Validator>> = LazyLock::new(|| {
        let document = asyncapi::document().unwrap();
        let messages = document["components"]["messages"].as_object().unwrap();
        messages.values().map(|message| message["name"].as_str().unwrap().to_owned()).map(validated).collect()
    });
    let value: Value = serde_json::from_str(text).unwrap();
    MESSAGES[value.as_object().unwrap().keys().next().unwrap()].is_valid(&value)
}

#[test]
fn every_frame_of_the_protocol_has_a_message_whose_example_is_a_frame() {
    let document = asyncapi::document().unwrap();
    let messages = document["components"]["messages"].as_object().unwrap();
    assert_eq!(messages.len(), 11);
    let mut up = 0;
    for (name, message) in messages {
        let example = message["examples"][0]["payload"].to_string();
        assert!(fits(&example), "{name}: {example}");
        if frame::parse(&example).is_ok() {
            up += 1;
        } else {
            let read: ServerFrame = serde_json::from_str(&example).unwrap();
            let again = frame::to_json(read.frame.clone().unwrap());
            assert_eq!(serde_json::from_str::<ServerFrame>(&again).unwrap(), read, "{name}");
        }
    }
    assert_eq!(up, document["operations"]["receiveFrame"]["messages"].as_array().unwrap().len());
}

#[test]
fn what_is_no_frame_does_not_fit() {
    for good in
        [r#"{"hello":{"credit":4}}"#, r#"{"hello":{}}"#, r#"{"nack":{"eventId":"e","retryAfter":"0.5s"}}"#]
    {
        assert!(fits(good) && frame::parse(good).is_ok(), "{good}");
    }
    for bad in [
        r#"{"hello":{"credit":-1}}"#,
        r#"{"hello":{"credit":4294967296}}"#,
        r#"{"hello":{"credits":4}}"#,
        r#"{"hello":{"credit":1},"ping":{}}"#,
        r#"{"ack":{"eventId":7}}"#,
        r#"{"nack":{"eventId":"e","retryAfter":"soon"}}"#,
        r#"{"nack":{"eventId":"e","retryAfter":1.5}}"#,
        r#"{"ping":[1]}"#,
    ] {
        assert!(!fits(bad), "{bad} fits the schema");
        assert!(frame::parse(bad).is_err(), "{bad} is read");
    }
    for bad in [
        r#"{"goodbye":{"reason":"STOPPED"}}"#,
        r#"{"deliver":{"event":{"id":"no uuid"},"attempt":1}}"#,
        r#"{"welcome":{"maxInFlight":"many"}}"#,
        r#"{"error":{"code":"busy"},"pong":{}}"#,
    ] {
        assert!(!fits(bad), "{bad} fits the schema");
    }
    // What a later server adds is no reason for an agent to fail.
    assert!(fits(r#"{"welcome":{"maxInFlight":4,"region":"eu"}}"#));
}

fn span() -> impl Strategy<Value = Option<pbjson_types::Duration>> {
    let millis = 0u64..1_000_000_000_000;
    proptest::option::of(millis.prop_map(|millis| duration(std::time::Duration::from_millis(millis))))
}

fn up() -> impl Strategy<Value = Up> {
    prop_oneof![
        any::<u32>().prop_map(|credit| Up::Hello(Hello { credit })),
        Just(Up::Ping(Ping {})),
        any::<String>().prop_map(|event_id| Up::Ack(Ack { event_id })),
        (any::<String>(), span(), any::<String>())
            .prop_map(|(event_id, retry_after, reason)| Up::Nack(Nack { event_id, retry_after, reason })),
        any::<u32>().prop_map(|credit| Up::Grant(Grant { credit })),
        any::<String>().prop_map(|token| Up::Reauth(Reauth { token })),
    ]
}

fn down() -> impl Strategy<Value = Down> {
    let text = any::<String>;
    prop_oneof![
        (text(), text(), text(), span(), any::<u32>()).prop_map(
            |(agent_id, agent, session, heartbeat, max_in_flight)| {
                Down::Welcome(Welcome { agent_id, agent, session, heartbeat, max_in_flight })
            }
        ),
        Just(Down::Pong(Pong {})),
        (any::<u32>(), text(), any::<bool>(), text()).prop_map(|(attempt, alias, replay, traceparent)| {
            Down::Deliver(Deliver { event: Some(sample()), attempt, alias, replay, traceparent })
        }),
        (text(), text()).prop_map(|(code, message)| Down::Error(Error { code, message })),
        (0i32..9, text(), span()).prop_map(|(reason, message, reconnect_after)| {
            Down::Goodbye(Goodbye { reason, message, reconnect_after })
        }),
    ]
}

fn sample() -> event::v1::StandardEvent {
    let document = asyncapi::document().unwrap();
    let event = &document["components"]["messages"]["Deliver"]["examples"][0]["payload"]["deliver"]["event"];
    let mut event: event::v1::StandardEvent = serde_json::from_value(event.clone()).unwrap();
    // The schema wants it written, as events are written where they are made; the mapping leaves out what is false.
    event.data.as_mut().unwrap().actor.as_mut().unwrap().is_bot = true;
    event
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_frame_that_is_written_fits((up, down) in (up(), down())) {
        let up = serde_json::to_string(&ClientFrame { frame: Some(up) }).unwrap();
        prop_assert!(fits(&up), "{up}");
        let down = frame::to_json(down);
        prop_assert!(fits(&down), "{down}");
    }
}
