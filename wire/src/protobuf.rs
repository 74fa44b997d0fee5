//! Frames as protobuf messages, as gRPC carries them.

use prost::Message as _;

use crate::agent::v1::{ClientFrame, Deliver, ServerFrame, client_frame, server_frame};
use crate::frame::{Delivery, FrameError};

/// Reads a frame of an agent.
///
/// # Errors
/// When the bytes are not the message of exactly one known frame.
pub fn parse(bytes: &[u8]) -> Result<client_frame::Frame, FrameError> {
    let frame = ClientFrame::decode(bytes).map_err(FrameError::Protobuf)?;
    frame.frame.ok_or(FrameError::Empty)
}

/// Writes a frame for an agent.
#[must_use]
pub fn to_bytes(frame: server_frame::Frame) -> Vec<u8> {
    ServerFrame { frame: Some(frame) }.encode_to_vec()
}

/// Writes a Deliver frame with an event that is JSON.
///
/// # Errors
/// When the JSON is not that of a StandardEvent.
pub fn deliver(delivery: Delivery<'_>) -> Result<Vec<u8>, serde_json::Error> {
    let Delivery { event, attempt, alias, replay, traceparent } = delivery;
    let deliver = Deliver {
        event: Some(serde_json::from_slice(event)?),
        attempt,
        alias: alias.unwrap_or_default().to_owned(),
        replay,
        traceparent: traceparent.to_owned(),
    };
    Ok(to_bytes(server_frame::Frame::Deliver(deliver)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::agent::v1::{Ack, Hello};
    use crate::frame;

    #[test]
    fn a_frame_is_read_and_one_that_names_none_is_told() {
        let hello = ClientFrame { frame: Some(client_frame::Frame::Hello(Hello { credit: 4 })) };
        assert!(matches!(parse(&hello.encode_to_vec()), Ok(client_frame::Frame::Hello(Hello { credit: 4 }))));
        assert!(matches!(parse(&[]), Err(FrameError::Empty)));
        // A frame of a later protocol looks like none at all.
        assert!(matches!(parse(&[0x9a, 0x06, 0x00]), Err(FrameError::Empty)));
        let error = parse(&[0xff]).unwrap_err().to_string();
        assert!(error.contains("not a ClientFrame"), "{error}");
    }

    #[test]
    fn both_transports_deliver_the_same() {
        for (alias, replay, context) in [(None, false, ""), (Some("AI_Squad"), true, "00-1ad1-8bf6-01")] {
            let delivery = frame::tests::delivery(alias, replay, context);
            let json = frame::deliver_json(delivery).unwrap();
            let of_json: ServerFrame = serde_json::from_str(&json).unwrap();
            let bytes = deliver(delivery).unwrap();
            assert_eq!(ServerFrame::decode(bytes.as_slice()).unwrap(), of_json);
        }
        let no_event = Delivery { event: br#"{"specversion":1}"#, ..frame::tests::delivery(None, false, "") };
        assert!(deliver(no_event).is_err());
    }

    #[test]
    fn what_a_later_version_added_is_no_hindrance() {
        let later = frame::tests::EVENT.replacen('{', r#"{"ofTomorrow":{"a":[1]},"#, 1);
        let delivery = Delivery { event: later.as_bytes(), ..frame::tests::delivery(None, false, "") };
        assert!(frame::deliver_json(delivery).unwrap().contains("ofTomorrow"));
        let frame = ServerFrame::decode(deliver(delivery).unwrap().as_slice()).unwrap();
        let known = deliver(frame::tests::delivery(None, false, "")).unwrap();
        assert_eq!(frame, ServerFrame::decode(known.as_slice()).unwrap());
        // Of an agent's frame the two forms differ: JSON names a slip, protobuf passes over a field.
        assert!(frame::parse(r#"{"hello":{"credit":4,"ofTomorrow":1}}"#).is_err());
        assert!(matches!(
            parse(&[0x0a, 0x04, 0x08, 0x04, 0x78, 0x01]),
            Ok(client_frame::Frame::Hello(Hello { credit: 4 }))
        ));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn what_an_agent_encodes_is_read(event_id in "\\PC{0,80}") {
            let frame = client_frame::Frame::Ack(Ack { event_id });
            let bytes = ClientFrame { frame: Some(frame.clone()) }.encode_to_vec();
            prop_assert_eq!(parse(&bytes).unwrap(), frame);
        }
    }
}
