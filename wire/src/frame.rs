//! Frames as JSON.

use std::fmt::Write as _;
use std::time::Duration;

use crate::agent::v1::{ClientFrame, ServerFrame, client_frame, server_frame};

/// Subprotocol of the WebSocket.
pub const SUBPROTOCOL: &str = "nexus.v1+json";

/// The longest frame that an agent may send, in bytes.
pub const MAX_CLIENT_FRAME: usize = 64 * 1024;

/// Why a message is no frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The message is not the JSON of a frame.
    #[error(
        "not a frame: {0}; a frame is one object with one key, such as {{\"ack\":{{\"eventId\":\"…\"}}}}"
    )]
    Json(#[source] serde_json::Error),
    /// The message is not the protobuf of a frame.
    #[error("not a ClientFrame of nexus.agent.v1: {0}")]
    Protobuf(#[source] prost::DecodeError),
    /// The object names no frame.
    #[error("an empty frame; it must have one of hello, ping, ack, nack, grant, reauth")]
    Empty,
}

/// Reads a frame of an agent.
///
/// # Errors
/// When the text is not the JSON of exactly one known frame.
pub fn parse(text: &str) -> Result<client_frame::Frame, FrameError> {
    let frame: ClientFrame = serde_json::from_str(text).map_err(FrameError::Json)?;
    frame.frame.ok_or(FrameError::Empty)
}

/// Writes a frame for an agent.
///
/// # Panics
/// Never: frames hold strings, numbers and durations only.
#[must_use]
pub fn to_json(frame: server_frame::Frame) -> String {
    serde_json::to_string(&ServerFrame { frame: Some(frame) })
        .expect("a frame holds nothing that JSON cannot")
}

/// An event on its way to an agent: what a Deliver frame is made of.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'a> {
    /// The StandardEvent as JSON, as the bus keeps it.
    pub event: &'a [u8],
    /// Which handing out of the event this is, from 1.
    pub attempt: u32,
    /// The alias by which the agent was meant.
    pub alias: Option<&'a str>,
    /// Whether it is sent on demand, once more.
    pub replay: bool,
    /// W3C trace context of the delivery; empty if there is none.
    pub traceparent: &'a str,
}

/// Writes a Deliver frame around an event that is JSON already, without reading it again.
///
/// # Errors
/// When the event is not UTF-8.
pub fn deliver_json(delivery: Delivery<'_>) -> Result<String, std::str::Utf8Error> {
    let Delivery { event, attempt, alias, replay, traceparent } = delivery;
    let event = std::str::from_utf8(event)?;
    let mut json = String::with_capacity(event.len() + 160);
    json.push_str(r#"{"deliver":{"event":"#);
    json.push_str(event);
    write!(json, r#","attempt":{attempt}"#).expect("writing to a String cannot fail");
    if let Some(alias) = alias {
        // An alias consists of letters, digits, `_` and `-`, so it needs no escape.
        write!(json, r#","alias":"{alias}""#).expect("writing to a String cannot fail");
    }
    if replay {
        json.push_str(r#","replay":true"#);
    }
    if !traceparent.is_empty() {
        // It consists of hex digits and `-`.
        write!(json, r#","traceparent":"{traceparent}""#).expect("writing to a String cannot fail");
    }
    json.push_str("}}");
    Ok(json)
}

/// A protobuf duration.
#[must_use]
pub fn duration(duration: Duration) -> pbjson_types::Duration {
    pbjson_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or_default(),
    }
}

/// A protobuf duration as a std one; negative ones count as zero.
#[must_use]
pub fn from_duration(duration: &pbjson_types::Duration) -> Duration {
    let seconds = u64::try_from(duration.seconds).unwrap_or_default();
    Duration::new(seconds, u32::try_from(duration.nanos).unwrap_or_default().min(999_999_999))
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::agent::v1::{Ack, Goodbye, GoodbyeReason, Hello, Nack, Welcome};

    #[test]
    fn frames_are_the_protobuf_json_mapping() {
        assert!(matches!(
            parse(r#"{"hello":{"credit":4}}"#),
            Ok(client_frame::Frame::Hello(Hello { credit: 4 }))
        ));
        assert!(matches!(parse(r#"{"ping":{}}"#), Ok(client_frame::Frame::Ping(_))));
        let Ok(client_frame::Frame::Nack(Nack { event_id, retry_after: Some(after), .. })) =
            parse(r#"{"nack":{"eventId":"e","retryAfter":"1.5s"}}"#)
        else {
            panic!("a Nack");
        };
        assert_eq!((event_id.as_str(), from_duration(&after)), ("e", Duration::from_millis(1500)));
        let Ok(client_frame::Frame::Ack(Ack { event_id })) = parse(r#"{"ack":{"event_id":"e"}}"#) else {
            panic!("protobuf field names are read as well");
        };
        assert_eq!(event_id, "e");
        let goodbye = Goodbye {
            reason: GoodbyeReason::Stopped.into(),
            message: "drill".into(),
            reconnect_after: Some(duration(Duration::from_secs(5))),
        };
        assert_eq!(
            to_json(server_frame::Frame::Goodbye(goodbye)),
            r#"{"goodbye":{"reason":"GOODBYE_REASON_STOPPED","message":"drill","reconnectAfter":"5s"}}"#
        );
        let welcome = Welcome { agent: "coder".into(), max_in_flight: 4, ..Welcome::default() };
        assert_eq!(
            to_json(server_frame::Frame::Welcome(welcome)),
            r#"{"welcome":{"agent":"coder","maxInFlight":4}}"#
        );
    }

    #[test]
    fn a_wrong_frame_names_what_is_wrong() {
        let message = |text| parse(text).unwrap_err().to_string();
        assert!(message(r#"{"akc":{}}"#).contains("unknown field `akc`"), "{}", message(r#"{"akc":{}}"#));
        assert!(message("{}").contains("hello, ping, ack"));
        assert!(message("hello").contains("not a frame"));
        assert!(message(r#"{"ack":{"eventId":"a"},"ping":{}}"#).contains("not a frame"));
    }

    pub(crate) const EVENT: &str = concat!(
        r#"{"specversion":"1.0","id":"0190163d-8694-739b-aea5-966c26f8ad91","source":"/hooks/acme/acme/github","#,
        r#""type":"dev.nexus.NewWorkItem.v1","subject":"acme/shop#12","time":"2026-11-24T07:00:00Z","#,
        r#""datacontenttype":"application/json","tenant":"acme/acme","receivedtime":"2026-11-24T07:00:00.25Z","#,
        r#""data":{"provider":"github","providerEvent":"issues.opened","#,
        r#""actor":{"id":"1","display":"ann","isBot":true},"title":"Cart is empty","#,
        r#""mentions":[{"kind":"name","id":"AI_Squad","name":"AI_Squad"}],"#,
        r#""threadKey":"github:acme/shop#12","projectKey":"acme/shop","labels":["bug"],"#,
        r#""links":[{"rel":"parent","href":"x"}],"enriched":true,"#,
        r#""change":{"keys":["github:guid"],"rank":"birth"},"item":{"id":"77","number":12,"state":"open"},"#,
        r#""changes":[{"field":"title","before":"a","after":"b"}],"#,
        r#""push":{"gitRef":"refs/heads/main","commits":2},"outcome":"success","reaction":"eyes"}}"#
    );

    #[test]
    fn a_standard_event_is_the_json_mapping_of_its_protobuf_message() {
        let event: nexus_core::event::StandardEvent = serde_json::from_str(EVENT).unwrap();
        assert_eq!(serde_json::to_string(&event).unwrap(), EVENT);
        let message: crate::event::v1::StandardEvent = serde_json::from_str(EVENT).unwrap();
        assert_eq!(serde_json::to_string(&message).unwrap(), EVENT);
    }

    pub(crate) fn delivery<'a>(alias: Option<&'a str>, replay: bool, traceparent: &'a str) -> Delivery<'a> {
        Delivery { event: EVENT.as_bytes(), attempt: 2, alias, replay, traceparent }
    }

    #[test]
    fn the_hot_path_writes_what_the_mapping_would() {
        let context = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        for (alias, replay, context) in [(None, false, ""), (Some("AI_Squad"), true, context)] {
            let hot = deliver_json(delivery(alias, replay, context)).unwrap();
            let frame: ServerFrame = serde_json::from_str(&hot).unwrap();
            assert_eq!(to_json(frame.frame.unwrap()), hot);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,200}") {
            let _ = parse(&text);
        }

        #[test]
        fn durations_round_trip(millis in 0u64..100_000_000) {
            let d = Duration::from_millis(millis);
            prop_assert_eq!(from_duration(&duration(d)), d);
        }
    }
}
