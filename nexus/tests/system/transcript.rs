//! What a puppet did and got, line by line, without what differs from run to run or from transport to transport.
//!
//! The rules, all of them
//! - A refusal is one word, whichever way it is told: `unauthenticated` (401, UNAUTHENTICATED), `denied` (403,
//!   PERMISSION_DENIED), `unavailable` (503, UNAVAILABLE).
//! - An end is in order (a close frame with any code; status OK), or the connection broke.
//! - A field of an event that is `false` is left out, as protobuf and its JSON do; the WebSocket writes it.
//! - Ids of events and engagements have names; the session's id and times are left out; the pause after a drain, which
//!   is drawn by lot, is only checked for its range.
//! - Of a trace context the trace is checked to be the event's, and its span, which the session has a part in, left out.

use std::fmt;

use nexus_core::trace::{Remote, TraceId};
use serde_json::{Value, json};

#[derive(Default)]
pub struct Transcript {
    names: Vec<(String, String)>,
    lines: Vec<String>,
}

impl Transcript {
    /// Gives an id a name.
    pub fn call(&mut self, id: &str, name: &str) {
        self.names.push((id.to_owned(), name.to_owned()));
    }

    /// Adds what a puppet told.
    pub fn push(&mut self, told: &Value) {
        let (verb, what) = told.as_object().unwrap().iter().next().unwrap();
        let told = match verb.as_str() {
            "refused" => json!({"refused": refusal(what)}),
            "closed" => json!({"closed": end(what)}),
            "welcome" | "deliver" | "goodbye" => json!({verb: frame(verb, what.clone())}),
            _ => told.clone(),
        };
        let line = self.names.iter().fold(told.to_string(), |line, (id, name)| line.replace(id, name));
        self.lines.push(line);
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

fn refusal(how: &Value) -> Value {
    match (how["http"].as_u64(), how["grpc"].as_u64()) {
        (Some(401), None) | (None, Some(16)) => json!("unauthenticated"),
        (Some(403), None) | (None, Some(7)) => json!("denied"),
        (Some(503), None) | (None, Some(14)) => json!("unavailable"),
        _ => how.clone(),
    }
}

fn end(how: &Value) -> Value {
    match (how["websocket"].as_u64(), how["grpc"].as_u64()) {
        (None, Some(0)) => json!("in order"),
        // 1005 and 1006 stand for a close frame without a code and for none.
        (Some(code), None) if code != 1006 => json!("in order"),
        _ => how.clone(),
    }
}

fn frame(verb: &str, mut frame: Value) -> Value {
    match verb {
        "welcome" => blank(&mut frame["session"]),
        "deliver" => {
            blank(&mut frame["event"]["receivedtime"]);
            blank(&mut frame["event"]["time"]);
            without_false(&mut frame["event"]);
            context(&mut frame);
        }
        _ if frame["reason"] == "GOODBYE_REASON_DRAINING" => {
            let after = frame["reconnectAfter"].as_str().and_then(|after| after.strip_suffix('s'));
            let after: f64 = after.unwrap().parse().unwrap();
            assert!((0.0..=5.0).contains(&after), "{frame}");
            frame["reconnectAfter"] = json!("0s to 5s");
        }
        _ => {}
    }
    frame
}

/// The trace context of a delivery is in the trace of its event.
fn context(deliver: &mut Value) {
    let event = deliver["event"]["id"].as_str().unwrap().parse().unwrap();
    let context = Remote::parse(deliver["traceparent"].as_str().unwrap()).expect("a W3C trace context");
    assert_eq!(context.trace, TraceId::of(event));
    deliver["traceparent"] = json!("…");
}

/// Leaves out a text that must be there.
fn blank(text: &mut Value) {
    assert!(text.as_str().is_some_and(|text| !text.is_empty()), "a text is missing");
    *text = json!("…");
}

fn without_false(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.retain(|_, field| *field != json!(false));
        fields.values_mut().for_each(without_false);
    }
}
