//! Frames of the agent protocol, as far as a load needs them. Nexus and the floor speak the same.

use serde::Deserialize;

/// The subprotocol of `/v1/connect`.
pub const SUBPROTOCOL: &str = "nexus.v1+json";

/// A frame to an agent.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ServerFrame<'a> {
    Welcome {},
    Pong {},
    #[serde(borrow)]
    Deliver(Deliver<'a>),
    Error {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    },
    Goodbye {
        #[serde(default)]
        reason: String,
    },
}

/// An event to work on.
#[derive(Debug, Deserialize)]
pub struct Deliver<'a> {
    #[serde(borrow)]
    pub event: Event<'a>,
    #[serde(default)]
    pub attempt: u32,
}

/// What a load needs of an event.
#[derive(Debug, Deserialize)]
pub struct Event<'a> {
    pub id: &'a str,
    pub data: Data,
}

/// What the event is about: Nexus calls it an item, the floor hands out GitHub's own body.
#[derive(Debug, Deserialize)]
pub struct Data {
    #[serde(alias = "issue")]
    pub item: Item,
}

/// An issue.
#[derive(Debug, Deserialize)]
pub struct Item {
    pub number: u64,
}

/// A frame from an agent.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ClientFrame<'a> {
    Hello {
        #[serde(default)]
        credit: u32,
    },
    Ping {},
    #[serde(rename_all = "camelCase")]
    Ack {
        event_id: &'a str,
    },
    Grant {
        #[serde(default)]
        credit: u32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_servers_events_are_understood() {
        let nexus = r#"{"deliver":{"event":{"specversion":"1.0","id":"a","data":{"item":{"id":"1","number":5}}},"attempt":2}}"#;
        let floor = r#"{"deliver":{"event":{"id":"a","data":{"action":"opened","issue":{"number":5,"x":[]}}},"attempt":2}}"#;
        for text in [nexus, floor] {
            let ServerFrame::Deliver(deliver) = serde_json::from_str(text).unwrap() else { panic!("{text}") };
            assert_eq!((deliver.event.id, deliver.event.data.item.number, deliver.attempt), ("a", 5, 2));
        }
    }

    #[test]
    fn an_ack_is_understood() {
        let frame = serde_json::from_str(r#"{"ack":{"eventId":"a"}}"#).unwrap();
        assert!(matches!(frame, ClientFrame::Ack { event_id: "a" }));
        assert!(matches!(serde_json::from_str(r#"{"ping":{}}"#).unwrap(), ClientFrame::Ping {}));
    }
}
