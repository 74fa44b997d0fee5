//! The agent protocol as an AsyncAPI 3.0 document, for both of its transports.
//!
//! Everything that the protobuf files say comes from their descriptors: the frames, their fields, what they mean.
//! Here stand only the transports and an example of each frame.

mod payload;

use std::collections::BTreeMap;

use prost_reflect::FieldDescriptor;
use serde_json::{Map, Value, json};

pub use self::payload::SchemaError;
use self::payload::{Payloads, Reader, comment, reference};
use crate::DESCRIPTORS;
use crate::frame::{MAX_CLIENT_FRAME, SUBPROTOCOL};

/// File name of the document among the schemas.
pub const FILE: &str = "asyncapi.json";

/// Where the schema of StandardEvent lies, seen from [`FILE`].
const STANDARD_EVENT: &str = "./StandardEvent.v1.json";

const DESCRIPTION: &str = "How agents receive events. An agent opens a session and gives credit; Nexus delivers \
events against it; the agent acknowledges each when it is done. Delivery is at-least-once, and what a session held \
when it ended is delivered again.\n\n\
The same frames go over two transports, on one port. Over a WebSocket each text message is one frame in the \
protobuf JSON mapping: one object with one key, such as {\"hello\":{\"credit\":4}}. Over gRPC frames are the \
messages of nexus.agent.v1.Agents/Connect. The first frame must be Hello; every other frame follows Welcome.\n\n\
The server refuses JSON fields that it does not know; in protobuf it passes over them. Agents must pass over frames and fields that they do not know: \
later versions add some. A field that has its default value is left out.";

/// Examples, by the name of the frame.
const EXAMPLES: [(&str, &str); 11] = [
    ("hello", r#"{"credit":4}"#),
    ("ping", "{}"),
    ("ack", r#"{"eventId":"0190163d-8694-739b-aea5-966c26f8ad91"}"#),
    (
        "nack",
        r#"{"eventId":"0190163d-8694-739b-aea5-966c26f8ad91","retryAfter":"1.5s","reason":"the model is busy"}"#,
    ),
    ("grant", r#"{"credit":1}"#),
    ("reauth", r#"{"token":"EnYKDBgDIggKBggGEgIYDRIkCAASIN7…"}"#),
    (
        "welcome",
        concat!(
            r#"{"agentId":"a8b3a5a6-5f0e-5d33-9d51-0f8f1ad2a3f0","agent":"coder","#,
            r#""session":"5c0be7a4-0c5f-4d0e-8e3c-5a3f7b1de1c6","heartbeat":"15s","maxInFlight":4}"#
        ),
    ),
    ("pong", "{}"),
    (
        "deliver",
        concat!(
            r#"{"event":{"specversion":"1.0","id":"0190163d-8694-739b-aea5-966c26f8ad91","#,
            r#""source":"/hooks/acme/acme/github","type":"dev.nexus.NewWorkItem.v1","subject":"acme/shop#12","#,
            r#""time":"2026-11-24T07:00:00Z","datacontenttype":"application/json","tenant":"acme/acme","#,
            r#""receivedtime":"2026-11-24T07:00:00.25Z","data":{"provider":"github","#,
            r#""providerEvent":"issues.opened","actor":{"id":"1","display":"ann","isBot":false},"#,
            r#""title":"Cart is empty","threadKey":"github:acme/shop#12","projectKey":"acme/shop","#,
            r#""labels":["bug"],"enriched":true,"change":{"keys":["github:guid"],"rank":"birth"}}},"#,
            r#""attempt":1,"traceparent":"00-0190163d8694739baea5966c26f8ad91-00f067aa0ba902b7-01"}"#
        ),
    ),
    (
        "error",
        r#"{"code":"unknown_event","message":"this session does not hold the event; acknowledge each once"}"#,
    ),
    (
        "goodbye",
        r#"{"reason":"GOODBYE_REASON_DRAINING","message":"this server shuts down","reconnectAfter":"1s"}"#,
    ),
];

/// One direction of the protocol.
struct Direction {
    /// The message whose one-of holds the frames.
    envelope: &'static str,
    /// What the application, which is Nexus, does with them.
    action: &'static str,
    operation: &'static str,
    summary: &'static str,
    reader: Reader,
}

const UP: Direction = Direction {
    envelope: "nexus.agent.v1.ClientFrame",
    action: "receive",
    operation: "receiveFrame",
    summary: "Nexus receives the frames of an agent",
    reader: Reader::Strict,
};

const DOWN: Direction = Direction {
    envelope: "nexus.agent.v1.ServerFrame",
    action: "send",
    operation: "sendFrame",
    summary: "Nexus sends frames to an agent",
    reader: Reader::Tolerant,
};

/// The document.
///
/// # Errors
/// When a protobuf file says something that has no rule here. A test keeps that from being released.
pub fn document() -> Result<Value, SchemaError> {
    let elsewhere = BTreeMap::from([("nexus.event.v1.StandardEvent", reference("StandardEvent"))]);
    let mut payloads = Payloads::new(DESCRIPTORS, elsewhere)?;
    let mut messages = Map::new();
    let mut operations = Map::new();
    for direction in [UP, DOWN] {
        let names = frames(&direction, &mut payloads, &mut messages)?;
        operations.insert(direction.operation.to_owned(), operation(&direction, &names));
    }
    let mut schemas = payloads.into_schemas();
    schemas.insert("StandardEvent".to_owned(), json!({ "$ref": STANDARD_EVENT }));
    Ok(json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Nexus agent protocol",
            "version": env!("CARGO_PKG_VERSION"),
            "description": DESCRIPTION,
            "license": { "name": env!("CARGO_PKG_LICENSE") },
        },
        "defaultContentType": "application/json",
        "servers": servers(),
        "channels": { "connect": channel(messages.keys()) },
        "operations": operations,
        "components": { "messages": messages, "schemas": schemas, "securitySchemes": security() },
    }))
}

/// Adds the messages of one direction; gives their names.
fn frames(
    direction: &Direction,
    payloads: &mut Payloads,
    messages: &mut Map<String, Value>,
) -> Result<Vec<String>, SchemaError> {
    let envelope = payloads.message(direction.envelope)?;
    let mut names = Vec::new();
    for frame in envelope.fields() {
        let prost_reflect::Kind::Message(message) = frame.kind() else {
            return Err(SchemaError::Undescribed(frame.full_name().to_owned()));
        };
        let payload = payloads.refer(&message, direction.reader)?;
        messages.insert(message.name().to_owned(), message_of(direction, &frame, message.name(), &payload)?);
        names.push(message.name().to_owned());
    }
    Ok(names)
}

fn message_of(
    direction: &Direction,
    frame: &FieldDescriptor,
    name: &str,
    payload: &Value,
) -> Result<Value, SchemaError> {
    let key = frame.json_name();
    let file = frame.parent_message().parent_file();
    let summary = comment(file.file_descriptor_proto(), frame.path())
        .ok_or_else(|| SchemaError::Undescribed(frame.full_name().to_owned()))?;
    let example = EXAMPLES.iter().find(|(name, _)| *name == key);
    let example: Value = example
        .and_then(|(_, text)| serde_json::from_str(text).ok())
        .ok_or_else(|| SchemaError::Unillustrated(frame.full_name().to_owned()))?;
    let mut envelope = json!({
        "type": "object",
        "required": [key],
        "properties": { key: payload },
        "maxProperties": 1,
    });
    if direction.reader == Reader::Strict {
        envelope["additionalProperties"] = false.into();
    }
    Ok(json!({
        "name": key,
        "title": name,
        "summary": summary,
        "contentType": "application/json",
        "payload": envelope,
        "examples": [{ "name": key, "payload": { key: example } }],
    }))
}

fn operation(direction: &Direction, names: &[String]) -> Value {
    let message = |name: &String| json!({ "$ref": format!("#/channels/connect/messages/{name}") });
    json!({
        "action": direction.action,
        "channel": { "$ref": "#/channels/connect" },
        "summary": direction.summary,
        "description": format!("On gRPC: messages {}.", direction.envelope),
        "messages": names.iter().map(message).collect::<Vec<_>>(),
    })
}

fn channel<'n>(names: impl Iterator<Item = &'n String>) -> Value {
    let message = |name: &String| (name.clone(), json!({ "$ref": format!("#/components/messages/{name}") }));
    json!({
        "address": "/v1/connect",
        "title": "A session",
        "description": format!(
            "One connection is one session of one agent. The subprotocol is {SUBPROTOCOL}; it may be left out. A frame \
             of an agent may have {MAX_CLIENT_FRAME} bytes. Refusals are HTTP answers, described in openapi.json. On \
             gRPC the session is the stream of nexus.agent.v1.Agents/Connect, at /nexus.agent.v1.Agents/Connect, and a \
             refusal is the status of the call; `nexus schema --proto` prints its definition."
        ),
        "servers": [{ "$ref": "#/servers/websocket" }, { "$ref": "#/servers/grpc" }],
        "messages": names.map(message).collect::<Map<_, _>>(),
        "bindings": { "ws": {
            "method": "GET",
            "headers": {
                "type": "object",
                "properties": {
                    "Authorization": { "type": "string", "pattern": "^[Bb]earer .+$", "description": "The access token." },
                    "Sec-WebSocket-Protocol": { "type": "string", "const": SUBPROTOCOL },
                },
                "required": ["Authorization"],
            },
            "bindingVersion": "0.1.0",
        } },
    })
}

fn servers() -> Value {
    let token = json!([{ "$ref": "#/components/securitySchemes/accessToken" }]);
    json!({
        "websocket": {
            "host": "127.0.0.1:8081",
            "protocol": "ws",
            "description": "The gateway as `nexus dev` serves it; elsewhere wss, behind the server that ends TLS.",
            "security": token,
        },
        "grpc": {
            "host": "127.0.0.1:8081",
            "protocol": "grpc",
            "description": "The same port speaks gRPC. Its definition is wire/proto/nexus/agent/v1/agent.proto; server \
                            reflection shows it too.",
            "security": token,
        },
    })
}

fn security() -> Value {
    json!({ "accessToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "Biscuit",
        "description": "An access token of POST /oauth/token (client credentials), as the header `authorization` of the \
                        handshake or as metadata of the call. It lasts minutes: Reauth renews it.",
    } })
}
