use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;

use super::*;

async fn data(outgoing: &mut Outgoing) -> Bytes {
    outgoing.frame().await.unwrap().unwrap().into_data().unwrap()
}

#[tokio::test]
async fn a_message_has_its_prefix_and_the_end_a_status() {
    let (sender, mut outgoing) = pipe(Stream::default());
    sender.feed(b"one").await.unwrap();
    sender.feed(b"").await.unwrap();
    sender.finish();
    assert_eq!(data(&mut outgoing).await, &b"\0\0\0\0\x03one\0\0\0\0\0"[..]);
    assert!(sender.is_unsent(), "the status is still to be sent");
    assert!(sender.feed(b"late").await.is_err());
    let trailers = outgoing.frame().await.unwrap().unwrap().into_trailers().unwrap();
    assert_eq!(trailers["grpc-status"], "0");
    assert!(!sender.is_unsent());
    sender.finished().await.unwrap();
    assert!(outgoing.frame().await.is_none());
}

#[tokio::test]
async fn what_waits_is_bounded_and_given_in_pieces() {
    let (sender, mut outgoing) = pipe(Stream::default());
    let large = vec![7; 3 * PIECE];
    sender.feed(&large).await.unwrap();
    assert!(sender.feed(b"x").now_or_never().is_none(), "there is no room");
    let mut got = 0;
    while got < 5 + large.len() {
        let piece = data(&mut outgoing).await.len();
        assert!(piece <= PIECE);
        got += piece;
    }
    assert_eq!(got, 5 + large.len(), "what was given up was not sent by halves");
    assert!(sender.flush().now_or_never().is_none(), "the connection has not asked for more");
    assert!(outgoing.frame().now_or_never().is_none());
    sender.flush().await.unwrap();
    assert_eq!(lock(&sender.pipe).waiting.capacity(), 0, "at rest there is no buffer");
}

#[tokio::test]
async fn a_reset_drops_what_waits() {
    let (sender, mut outgoing) = pipe(Stream::default());
    sender.feed(b"one").await.unwrap();
    sender.reset();
    let error = outgoing.frame().await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(Reason::CANCEL));
    let (sender, mut outgoing) = pipe(Stream::default());
    sender.feed(b"one").await.unwrap();
    // As a session does that breaks off.
    drop(sender);
    assert_eq!(outgoing.frame().await.unwrap().unwrap_err().reason(), Some(Reason::INTERNAL_ERROR));
}

#[tokio::test]
async fn whoever_waits_learns_that_the_connection_is_gone() {
    let (sender, outgoing) = pipe(Stream::default());
    sender.feed(&vec![0; MANY]).await.unwrap();
    let waits = async { (sender.feed(b"x").await.is_err(), sender.flush().await.is_err()) };
    let ((feed, flush), ()) = tokio::join!(waits, async { drop(outgoing) });
    assert!(feed && flush);
    sender.finish();
    assert!(sender.finished().await.is_err());
}
