//! Frames: whatever an agent sends is read or refused, and says the same over both transports.
//!
//! Each input is taken for JSON and for protobuf, and for a frame of either direction.

#![no_main]

use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use nexus_wire::agent::v1::{ClientFrame, ServerFrame, client_frame, server_frame};
use nexus_wire::{frame, protobuf};
use pbjson_types::Duration;
use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What the protobuf documents allow: about ten thousand years, and a sign that both parts share.
fn is_valid(duration: Option<&Duration>) -> bool {
    duration.is_none_or(|Duration { seconds, nanos }| {
        let agree = seconds.signum() * i64::from(nanos.signum()) >= 0;
        seconds.unsigned_abs() <= 315_576_000_000 && nanos.unsigned_abs() <= 999_999_999 && agree
    })
}

fn durations(frame: &ClientFrame) -> Option<&Duration> {
    match frame.frame.as_ref() {
        Some(client_frame::Frame::Nack(nack)) => nack.retry_after.as_ref(),
        _ => None,
    }
}

fn durations_of_server(frame: &ServerFrame) -> Option<&Duration> {
    match frame.frame.as_ref() {
        Some(server_frame::Frame::Welcome(welcome)) => welcome.heartbeat.as_ref(),
        Some(server_frame::Frame::Goodbye(goodbye)) => goodbye.reconnect_after.as_ref(),
        _ => None,
    }
}

/// A message is the same after it went over either transport.
fn round_trip<M>(message: &M, in_json: bool)
where
    M: Message + Default + PartialEq + Debug + Serialize + DeserializeOwned,
{
    let bytes = message.encode_to_vec();
    assert_eq!(&M::decode(bytes.as_slice()).expect("what was encoded is decoded"), message);
    let json = serde_json::to_string(message);
    if in_json {
        let json = json.expect("a frame holds nothing that JSON cannot");
        let back: M = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"));
        assert_eq!(&back, message, "{json}");
    }
}

fn client(message: &ClientFrame) {
    let duration = durations(message);
    if let Some(duration) = duration {
        // Whatever was sent is a time that can be waited for.
        let std = frame::from_duration(duration);
        assert!(std.as_secs() <= duration.seconds.max(0).unsigned_abs());
        if duration.seconds >= 0 && duration.nanos >= 0 && is_valid(Some(duration)) {
            assert_eq!(&frame::duration(std), duration);
        }
    }
    round_trip(message, is_valid(duration));
}

fn server(message: &ServerFrame) {
    // A reason of a later protocol has no name in JSON.
    let named = match message.frame.as_ref() {
        Some(server_frame::Frame::Goodbye(goodbye)) => {
            nexus_wire::agent::v1::GoodbyeReason::try_from(goodbye.reason).is_ok()
        }
        _ => true,
    };
    round_trip(message, named && is_valid(durations_of_server(message)));
}

fuzz_target!(|data: &[u8]| {
    match protobuf::parse(data) {
        Ok(frame) => {
            let message = ClientFrame { frame: Some(frame) };
            assert_eq!(ClientFrame::decode(data).as_ref(), Ok(&message));
            client(&message);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if let Ok(message) = ServerFrame::decode(data) {
        server(&message);
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    match frame::parse(text) {
        Ok(frame) => {
            let message = ClientFrame { frame: Some(frame.clone()) };
            client(&message);
            // What came as JSON is the same over gRPC.
            assert_eq!(protobuf::parse(&message.encode_to_vec()).ok(), Some(frame));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if let Ok(message) = serde_json::from_str::<ServerFrame>(text) {
        server(&message);
    }
});
