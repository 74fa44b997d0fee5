//! Hostile requests to the webhook port: slow, idle, large, deep, compressed.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::Context as _;
use flate2::Compression;
use flate2::write::GzEncoder;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::attack::{Attack, Target, attempt};
use crate::args::SECRET;
use crate::folder::TENANT;

/// Longer than any of the server's deadlines.
const PATIENCE: Duration = Duration::from_secs(15);

/// The time to a deadline of ten seconds, and a little more.
const DEADLINE: Duration = Duration::from_secs(13);

const MIB: usize = 1 << 20;

pub fn all() -> Vec<Attack> {
    let slow = |name, expected, accepts, workers, attempt| Attack {
        name,
        expected,
        accepts,
        workers,
        every: Duration::from_millis(100),
        least: DEADLINE,
        attempt,
    };
    let quick = |name, expected, accepts, workers, attempt| Attack {
        name,
        expected,
        accepts,
        workers,
        every: Duration::from_millis(500),
        least: Duration::ZERO,
        attempt,
    };
    vec![
        slow("slow headers", "closed after 10 s", &["closed"], 200, attempt!(slow_headers)),
        slow("slow bodies", "408 after 10 s", &["408"], 200, attempt!(slow_body)),
        slow("idle connections", "closed after 10 s", &["closed"], 2_000, attempt!(idle_connection)),
        quick("body of 26 MiB, announced", "413, unread", &["413"], 16, attempt!(large_announced)),
        quick("body of 26 MiB, chunked", "413 at 25 MiB", &["413"], 1, attempt!(large_chunked)),
        quick("body nested 100,000 deep", "400", &["400"], 8, attempt!(nested)),
        quick("gzip bomb of 1 GiB", "415, unread", &["415"], 16, attempt!(bomb)),
    ]
}

async fn open(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(address).await.context("cannot connect")?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn head(length: &str, signature: &str, more: &str) -> String {
    format!(
        "POST /hooks/{TENANT}/{TENANT}/github HTTP/1.1\r\nhost: nexus\r\ncontent-type: application/json\r\n\
         x-github-event: issues\r\nx-github-delivery: {}\r\nx-hub-signature-256: sha256={signature}\r\n{length}\r\n{more}\r\n",
        Uuid::new_v4()
    )
}

fn signature(body: &[u8]) -> anyhow::Result<String> {
    let mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes())?.chain_update(body);
    Ok(hex::encode(mac.finalize().into_bytes()))
}

/// The status of an answer, or how the connection ended.
pub(super) async fn outcome(stream: &mut TcpStream) -> anyhow::Result<String> {
    let mut answer = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        let read = timeout(PATIENCE, stream.read(&mut buffer)).await;
        match read {
            Err(_) => return Ok("left open".to_owned()),
            Ok(Ok(0) | Err(_)) if answer.is_empty() => return Ok("closed".to_owned()),
            Ok(Ok(0) | Err(_)) => break,
            Ok(Ok(read)) => answer.extend_from_slice(&buffer[..read]),
        }
        if answer.windows(4).any(|end| end == b"\r\n\r\n") {
            break;
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    Ok(answer.split(' ').nth(1).unwrap_or("no HTTP").to_owned())
}

/// Sends a byte of `rest` now and then, until the server has had enough.
async fn trickle(mut stream: TcpStream, rest: &[u8]) -> anyhow::Result<String> {
    let begun = Instant::now();
    for byte in rest {
        if begun.elapsed() > PATIENCE {
            return Ok("left open".to_owned());
        }
        if stream.write_all(&[*byte]).await.is_err() {
            break;
        }
        let mut peek = [0];
        // An answer, or the end.
        if timeout(Duration::from_millis(500), stream.peek(&mut peek)).await.is_ok() {
            break;
        }
    }
    outcome(&mut stream).await
}

async fn slow_headers(target: &Target) -> anyhow::Result<String> {
    let head = head("content-length: 10", "00", &"x-padding: y\r\n".repeat(20));
    trickle(open(target.ingest).await?, head.as_bytes()).await
}

async fn slow_body(target: &Target) -> anyhow::Result<String> {
    let mut stream = open(target.ingest).await?;
    let body = [b' '; 1_000];
    stream.write_all(head("content-length: 1000", &signature(&body)?, "").as_bytes()).await?;
    trickle(stream, &body).await
}

async fn idle_connection(target: &Target) -> anyhow::Result<String> {
    outcome(&mut open(target.ingest).await?).await
}

async fn large_announced(target: &Target) -> anyhow::Result<String> {
    let mut stream = open(target.ingest).await?;
    let length = format!("content-length: {}", 26 * MIB);
    stream.write_all(head(&length, &"0".repeat(64), "").as_bytes()).await?;
    outcome(&mut stream).await
}

async fn large_chunked(target: &Target) -> anyhow::Result<String> {
    let stream = open(target.ingest).await?;
    let (mut from, mut to) = stream.into_split();
    let send = async {
        to.write_all(head("transfer-encoding: chunked", &"0".repeat(64), "").as_bytes()).await?;
        let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
        for _ in 0..(26 * MIB / 0x10000) {
            to.write_all(&chunk).await?;
            // What is sent takes the tool's CPU from the honest, so it comes at 100 MiB a second at most.
            sleep(Duration::from_micros(600)).await;
        }
        to.write_all(b"0\r\n\r\n").await
    };
    let mut answer = [0; 64];
    // The answer may come, and the connection end, before all is sent.
    let (_, read) = tokio::join!(send, timeout(PATIENCE, from.read(&mut answer)));
    let read = read.context("no answer")?.unwrap_or_default();
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    Ok(answer.split(' ').nth(1).unwrap_or("closed").to_owned())
}

async fn nested(target: &Target) -> anyhow::Result<String> {
    let mut stream = open(target.ingest).await?;
    let depth = 100_000;
    let body = format!("{{\"action\":\"opened\",\"issue\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    let length = format!("content-length: {}", body.len());
    stream.write_all(head(&length, &signature(body.as_bytes())?, "").as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    outcome(&mut stream).await
}

/// A GiB of zeros, packed, made once.
fn packed() -> &'static [u8] {
    static PACKED: OnceLock<Vec<u8>> = OnceLock::new();
    PACKED.get_or_init(|| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        let zeros = vec![0; MIB];
        for _ in 0..1024 {
            encoder.write_all(&zeros).expect("memory can be written");
        }
        encoder.finish().expect("memory can be written")
    })
}

async fn bomb(target: &Target) -> anyhow::Result<String> {
    let body = tokio::task::spawn_blocking(packed).await?;
    let mut stream = open(target.ingest).await?;
    let length = format!("content-length: {}", body.len());
    let head = head(&length, &signature(body)?, "content-encoding: gzip\r\n");
    stream.write_all(head.as_bytes()).await?;
    // The answer may come before all is sent.
    let _ = timeout(Duration::from_millis(100), stream.write_all(body)).await;
    outcome(&mut stream).await
}
