//! Thousands of sockets that mean no good, beside honest ones.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::scene::Scene;
use crate::crowd;
use crate::doors::Doors;
use crate::webhook::TENANTS;

/// Sockets of a flood, how long it lasts after the last of them came, and how soon it has to be over afterwards.
const SOCKETS: usize = 5000;
const FLOOD: Duration = Duration::from_secs(15);
const AFTER_FLOOD: Duration = Duration::from_secs(5);

/// How long the time before is measured.
const BEFORE: Duration = Duration::from_secs(20);

/// Handshakes that come each second besides.
const HANDSHAKES: usize = 100;

/// The most that honest ones may wait, of what they waited before.
const MOST: f64 = 2.0;

/// What a socket of a flood does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Sends the head of a request, a byte a second.
    SlowHead,
    /// Sends a body, a byte a second.
    SlowBody,
    /// Says nothing.
    Silent,
    /// Opens a session, and says nothing in it.
    Handshake,
}

const KINDS: [Kind; 4] = [Kind::SlowHead, Kind::SlowBody, Kind::Silent, Kind::Handshake];

struct Socket(Kind, TcpStream);

impl Socket {
    async fn open(kind: Kind, doors: &Doors, token: &str) -> anyhow::Result<Self> {
        let door = match kind {
            Kind::SlowHead | Kind::SlowBody => doors.ingests[0],
            Kind::Silent | Kind::Handshake => doors.gateways[0],
        };
        let connected = TcpStream::connect(door);
        let connected = timeout(Duration::from_secs(10), connected).await;
        let mut stream =
            connected.context("a socket of the flood is not accepted")?.context("a socket of the flood")?;
        // One that is refused already is part of it.
        let _ = stream.write_all(begin(kind, token).as_bytes()).await;
        Ok(Self(kind, stream))
    }

    /// Sends one more byte, where that is what it does.
    fn drip(&self) {
        if matches!(self.0, Kind::SlowHead | Kind::SlowBody) {
            let _ = self.1.try_write(b"x");
        }
    }

    /// Whether the other side has ended it, whatever it said before.
    fn is_over(&self) -> bool {
        let mut bytes = [0; 4096];
        loop {
            match self.1.try_read(&mut bytes) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
            }
        }
    }
}

/// How a request to a source begins.
const POST: &str = "POST /hooks/acme/acme/github HTTP/1.1\r\nhost: nexus\r\n";

/// The head of a request that announces a body and shows a signature, without which it would be refused at once.
pub(super) fn signed_head(bytes: usize) -> String {
    format!(
        "{POST}content-type: application/json\r\nx-github-event: issues\r\nx-github-delivery: flood\r\n\
         x-hub-signature-256: sha256={:064}\r\ncontent-length: {bytes}\r\n\r\n",
        0
    )
}

/// What a socket begins with.
fn begin(kind: Kind, token: &str) -> String {
    match kind {
        Kind::SlowHead => format!("{POST}x-slow: "),
        Kind::SlowBody => format!("{}{{", signed_head(20_000_000)),
        Kind::Silent => String::new(),
        Kind::Handshake => format!(
            "GET /v1/connect HTTP/1.1\r\nhost: nexus\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
             sec-websocket-protocol: nexus.v1+json\r\nauthorization: Bearer {token}\r\n\r\n"
        ),
    }
}

/// What limits have refused so far: bodies that came too slowly, and sessions of one agent that were too many.
async fn refused(scene: &Scene) -> anyhow::Result<[f64; 2]> {
    let http = &scene.fleet.doors.http;
    let slow = scene.fleet.ingest.metric(http, "nexus_ingest_deliveries_total", "outcome=\"slow\"").await?;
    let many =
        scene.fleet.gateways_metric("nexus_connects_refused_total", "error=\"too_many_sessions\"").await?;
    Ok([slow.unwrap_or_default(), many])
}

/// Slow heads, slow bodies, silence and handshakes.
pub(super) async fn flood(scene: &mut Scene) -> anyhow::Result<()> {
    let doors = scene.fleet.doors.clone();
    let token = doors.token(TENANTS[0], &crowd::name(0), 0).await?;
    let refused_before = refused(scene).await?;
    let mut before = scene.watch(BEFORE).await?;
    let opened = scene.open_window();
    scene.times += 1;
    let mut sockets = Vec::new();
    for kind in KINDS.into_iter().cycle().take(SOCKETS) {
        sockets.push(Socket::open(kind, &doors, &token).await?);
    }
    let begun = Instant::now();
    let mut more = Vec::new();
    while begun.elapsed() < FLOOD {
        sockets.iter().for_each(Socket::drip);
        more.clear();
        for _ in 0..HANDSHAKES {
            more.push(Socket::open(Kind::Handshake, &doors, &token).await?);
        }
        scene.fleet.check()?;
        sleep(Duration::from_secs(1)).await;
    }
    let mut during = scene.close_window(&opened);
    let refused = refused(scene).await?;
    let left =
        KINDS.map(|kind| sockets.iter().filter(|socket| socket.0 == kind && !socket.is_over()).count());
    drop((sockets, more));
    let after = scene.arrived(&scene.ledger.accepted(), AFTER_FLOOD).await?;
    scene.flow().await?;
    let [slow, many] = [0, 1].map(|at| refused[at] - refused_before[at]);
    scene.note(format!(
        "{SOCKETS} sockets, a quarter each with slow heads, slow bodies, silence and handshakes, and {HANDSHAKES} more \
         handshakes a second: {slow} bodies refused as slow, {many} sessions as too many; p99 of the honest {:.1} ms before \
         and {:.1} ms meanwhile; as before after {:.1} s",
        before.p99_ms(),
        during.p99_ms(),
        after.as_secs_f64()
    ));
    ensure!(slow > 0.0 && many > 0.0, "a limit was not hit: {slow} slow bodies, {many} sessions refused");
    ensure!(left == [0; 4], "of each kind {left:?} sockets are still open after {FLOOD:?}");
    during.is_spared(&mut before, MOST)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_socket_is_over_when_the_other_side_has_closed_it() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let doors = Doors::new(vec![port], vec![port], "".into()).unwrap();
        let socket = Socket::open(Kind::SlowHead, &doors, "").await.unwrap();
        let (mut other, _) = listener.accept().await.unwrap();
        other.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").await.unwrap();
        socket.1.readable().await.unwrap();
        assert!(!socket.is_over());
        drop(other);
        socket.1.readable().await.unwrap();
        // It ends by a reset, since what was sent was not read.
        assert!(socket.is_over());
    }
}
