//! Bodies that look unlike the documents: any node of any body may be missing, null or of another type, and
//! the event is still kept, with its raw body byte for byte.

use axum::http::StatusCode;
use nexus_core::event::Provider;
use nexus_ingest::normalize::{Malformed, Meaning};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::support::{Delivery, World, deliver, fixtures, github_examples, meaning};

/// What a node is replaced by.
fn replacements() -> Vec<Value> {
    vec![
        Value::Null,
        json!(true),
        json!(-1),
        json!(1.5),
        json!(u64::MAX),
        json!(""),
        json!("text"),
        json!([]),
        json!([[{}], null, 7, "x", {"id": [1]}]),
        json!({}),
        json!({"id": {}, "type": 3, "text": [], "user": "U1", "elements": {"elements": 1}}),
    ]
}

/// The pointers of all nodes of a body, the body itself left out.
fn pointers(value: &Value) -> Vec<String> {
    fn walk(value: &Value, at: &str, out: &mut Vec<String>) {
        let mut visit = |key: String, child: &Value| {
            let at = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
            out.push(at.clone());
            walk(child, &at, out);
        };
        match value {
            Value::Object(map) => map.iter().for_each(|(key, child)| visit(key.clone(), child)),
            Value::Array(list) => {
                list.iter().enumerate().for_each(|(at, child)| visit(at.to_string(), child))
            }
            _ => {}
        }
    }
    let mut out = Vec::new();
    walk(value, "", &mut out);
    out
}

fn dropped(body: &Value, pointer: &str) -> Value {
    let mut body = body.clone();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match body.pointer_mut(parent).unwrap() {
        Value::Object(map) => {
            map.remove(&key.replace("~1", "/").replace("~0", "~"));
        }
        Value::Array(list) => {
            list.remove(key.parse().unwrap());
        }
        _ => unreachable!("only objects and arrays have children"),
    }
    body
}

fn replaced(body: &Value, pointer: &str, by: &Value) -> Value {
    let mut body = body.clone();
    *body.pointer_mut(pointer).unwrap() = by.clone();
    body
}

/// Normalizes and checks what must hold of any event.
fn check(delivery: &Delivery, of: &str) {
    let verified = delivery.verified();
    assert_eq!(verified.raw().body, delivery.body);
    let meaning = meaning(&verified).unwrap_or_else(|error| panic!("{of}: {error}"));
    if let Meaning::Event(normalized) = meaning {
        let data = &normalized.event.data;
        assert!(!data.thread_key.is_empty() && !data.provider_event.is_empty(), "{of}");
        assert!(!data.change.keys.is_empty() && data.change.keys.iter().all(|key| !key.is_empty()), "{of}");
        assert!(normalized.delivery_key.starts_with(delivery.provider.name()), "{of}");
        assert!(normalized.delivery_key.len() < 300, "{of}");
    }
}

/// Every node of every fixture of a provider, dropped and replaced by everything; says how many bodies that is.
fn every_node(provider: Provider) -> usize {
    let replacements = replacements();
    let mut bodies = 0;
    for (name, delivery) in fixtures(provider) {
        let body: Value = serde_json::from_slice(&delivery.body).unwrap();
        for pointer in pointers(&body) {
            let others = replacements.iter().map(|by| replaced(&body, &pointer, by));
            for other in others.chain([dropped(&body, &pointer)]) {
                let delivery = deliver(provider, &name, other.to_string());
                check(&delivery, &format!("{name} {pointer}"));
                bodies += 1;
            }
        }
    }
    bodies
}

#[test]
fn any_node_of_clickups_bodies_may_look_unlike_the_documents() {
    assert!(every_node(Provider::ClickUp) > 10_000);
}

#[test]
fn any_node_of_slacks_bodies_may_look_unlike_the_documents() {
    assert!(every_node(Provider::Slack) > 15_000);
}

#[test]
fn any_node_of_githubs_bodies_may_look_unlike_the_documents() {
    assert!(every_node(Provider::GitHub) > 15_000);
}

#[test]
fn an_odd_node_costs_its_own_field_and_no_other() {
    // The kind stays known while the fields that tell it stay.
    let replacements = replacements();
    for (provider, name, kind_tells) in [
        (Provider::GitHub, "issues.opened", "/action"),
        (Provider::Slack, "message", "/event"),
        (Provider::ClickUp, "taskMoved", "/event"),
    ] {
        let delivery = crate::support::fixture(provider, name);
        let expected = delivery.normalized().event.kind;
        let body: Value = serde_json::from_slice(&delivery.body).unwrap();
        let told = |pointer: &String| {
            [kind_tells, "/event/type", "/event/subtype", "/type"].contains(&pointer.as_str())
        };
        for pointer in pointers(&body).into_iter().filter(|pointer| !told(pointer)) {
            for by in &replacements {
                let text = replaced(&body, &pointer, by).to_string();
                let kind = deliver(provider, name, text).normalized().event.kind;
                assert_eq!(kind, expected, "{name} {pointer} {by}");
            }
        }
    }
}

#[test]
fn any_node_of_githubs_examples_may_look_unlike_the_documents() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let world = World::new();
    let examples: Vec<_> = github_examples()
        .into_iter()
        .map(|(event, _, _, delivery)| {
            let body: Value = serde_json::from_slice(&delivery.body).unwrap();
            (event, pointers(&body), body)
        })
        .collect();
    let replacements = replacements();
    let choice = (
        any::<prop::sample::Index>(),
        prop::collection::vec((any::<prop::sample::Index>(), 0..=replacements.len()), 1..4),
    );
    let number = std::cell::Cell::new(0_u32);
    let mut runner = TestRunner::new(Config::with_cases(400));
    let outcome = runner.run(&choice, |(example, spots)| {
        let (event, nodes, body) = example.get(&examples);
        let mut body = body.clone();
        for (spot, by) in spots {
            let pointer = spot.get(nodes);
            // An earlier change may have taken the node away.
            if body.pointer(pointer).is_some() {
                body = match replacements.get(by) {
                    Some(by) => replaced(&body, pointer, by),
                    None => dropped(&body, pointer),
                };
            }
        }
        number.set(number.get() + 1);
        let delivery = Delivery::github(event, &format!("shape-{}", number.get()), body.to_string());
        check(&delivery, event);
        runtime.block_on(async {
            let answer = world.post(&delivery).await;
            prop_assert_eq!(answer.status, StatusCode::OK);
            prop_assert_eq!(world.record(answer.event()).await.raw.body, delivery.body);
            Ok(())
        })
    });
    outcome.unwrap();
}

#[test]
fn bodies_nested_as_deep_as_can_be_cost_no_stack() {
    let nest =
        |open: &str, close: &str, depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
    // Up to the bound they are events; beyond it they are refused, wherever they nest.
    let check = |delivery: &Delivery, levels: usize| match meaning(&delivery.verified()) {
        Err(error) => assert!(error == Malformed::TooDeep && levels > 128 - 3, "{levels}: {error}"),
        Ok(_) => {
            assert!(levels <= 128, "{levels}");
            check(delivery, "deep");
        }
    };
    for depth in [30, 60, 100, 122, 10_000] {
        for (open, close) in [
            (r#"{"type":"event_callback","event":{"type":"message","message":"#, "}}"),
            (r#"{"message":"#, "}"),
            (r#"{"previous_message":"#, "}"),
            (r#"{"elements":["#, "]}"),
            (r#"{"elements":"#, "}"),
            (r#"{"comment":["#, "]}"),
            (r#"{"comment":"#, "}"),
        ] {
            let nested = nest(open, close, depth);
            let levels = open.matches(['{', '[']).count() * depth;
            let slack = format!(
                r#"{{"type":"event_callback","event":{{"type":"message","subtype":"message_changed","blocks":[{nested}],"message":{nested}}}}}"#
            );
            check(&Delivery::new(Provider::Slack, slack), levels);
            let clickup = format!(
                r#"{{"event":"taskCommentPosted","history_items":[{{"field":"comment","comment":{nested}}}]}}"#
            );
            check(&Delivery::new(Provider::ClickUp, clickup), levels);
            check(&Delivery::github("issues", "deep", format!(r#"{{"issue":{nested}}}"#)), levels);
        }
    }
}

#[test]
fn hostile_bodies_are_events_and_name_so_many_people() {
    // Each cost hours or gigabytes once.
    let long = |unit: &str| unit.repeat((4 << 20) / unit.len());
    let empty = vec!["{}"; 4096].join(",");
    let blocks = vec![format!(r#"{{"elements":[{empty}]}}"#); 200].join(",");
    for bulk in [
        format!(r#""text":"{}""#, long("<")),
        format!(r#""text":"{}""#, long("[@")),
        format!(r#""text":"x","blocks":[{blocks}],"attachments":[{{"blocks":[{blocks}]}}]"#),
    ] {
        let slack = format!(r#"{{"type":"event_callback","event":{{"type":"message",{bulk}}}}}"#);
        check(&Delivery::new(Provider::Slack, slack), "hostile");
    }
    let pieces = vec![format!(r#"{{"comment":[{empty}]}}"#); 200].join(",");
    for comment in [
        format!(r#"{{"text_content":"{}"}}"#, long("[@")),
        format!(r#"{{"comment":[{{"text":"{}"}}]}}"#, long("[@")),
        format!("[{pieces}]"),
    ] {
        let clickup = format!(
            r#"{{"event":"taskCommentPosted","history_items":[{{"field":"comment","comment":{comment}}}]}}"#
        );
        check(&Delivery::new(Provider::ClickUp, clickup), "hostile");
    }
    let named = |item: usize| {
        let names: String = (0..100).map(|n| format!("@a{item}b{n} ")).collect();
        format!(r#"{{"id":{item},"field":"comment","comment":{{"text_content":"{names}"}}}}"#)
    };
    let items: Vec<_> = (0..100).map(named).collect();
    let body = format!(r#"{{"event":"taskCommentPosted","history_items":[{}]}}"#, items.join(","));
    let event = Delivery::new(Provider::ClickUp, body).normalized().event;
    assert_eq!(event.data.mentions.len(), nexus_core::mention::MAX_MENTIONS);
}

#[test]
fn attachments_name_people_beside_a_text() {
    let body = json!({
        "type": "event_callback",
        "event": {
            "type": "message", "channel": "C1", "ts": "1.2", "text": "see <@U1>",
            "attachments": [{"text": "cc <@U2>", "blocks": [{"type": "rich_text", "elements": [
                {"type": "rich_text_section", "elements": [{"type": "user", "user_id": "U3"}]},
            ]}]}],
        },
    });
    let event = Delivery::new(Provider::Slack, body.to_string()).normalized().event;
    assert_eq!(event.data.text.as_deref(), Some("see <@U1>"));
    let ids: Vec<_> = event.data.mentions.iter().map(|mention| &*mention.id).collect();
    assert_eq!(ids, ["U1", "U2", "U3"]);
}

proptest! {
    #[test]
    fn any_json_is_kept(json in any_json(), event in "[a-z_]{1,20}") {
        for provider in [Provider::ClickUp, Provider::Slack, Provider::GitHub] {
            check(&deliver(provider, &event, json.to_string()), "any JSON");
        }
    }

    #[test]
    fn any_bytes_are_kept_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for provider in [Provider::ClickUp, Provider::Slack] {
            let json = std::str::from_utf8(&bytes).ok().filter(|text| {
                serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
            });
            let delivery = Delivery::new(provider, bytes.clone());
            prop_assert_eq!(delivery.meaning().is_ok(), json.is_some());
        }
    }
}

/// JSON that has the providers' field names in the wrong places.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        prop::sample::select(vec![
            "message",
            "message_changed",
            "task_creation",
            "comment",
            "opened",
            "event_callback"
        ])
        .prop_map(Value::from),
    ];
    let names = prop::sample::select(vec![
        "type",
        "subtype",
        "event",
        "message",
        "previous_message",
        "user",
        "id",
        "ts",
        "text",
        "blocks",
        "elements",
        "history_items",
        "field",
        "comment",
        "before",
        "after",
        "action",
        "issue",
        "pull_request",
        "changes",
        "number",
        "repository",
        "full_name",
        "sender",
        "challenge",
        "channel",
        "item",
        "attachments",
        "files",
        "edited",
    ]);
    leaf.prop_recursive(6, 60, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(names.clone(), inner, 0..8)
                .prop_map(|map| map.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
        ]
    })
}
