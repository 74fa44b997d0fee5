#![allow(warnings)]
#[path = "gateway/support.rs"]
mod support;
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use std::time::{Duration, Instant};

fn rss() -> usize { std::fs::read_to_string("/proc/self/statm").unwrap().split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096 }

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probe() {
    let n: usize = std::env::var("N").ok().and_then(|n| n.parse().ok()).unwrap_or(2000);
    let world = World::with(snapshot(&["coder"]), |s| { s.max_sessions_per_agent = 20_000; }).await;
    let token = world.token("coder").await;
    // warm
    let mut socks = Vec::new();
    let mut before = 0;
    let t = Instant::now();
    for i in 0..n + 50 {
        if i == 50 { tokio::time::sleep(Duration::from_millis(500)).await; before = rss(); }
        let mut s = TcpStream::connect(world.address).await.unwrap();
        s.write_all(format!("GET /v1/connect HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nauthorization: Bearer {token}\r\n\r\n").as_bytes()).await.unwrap();
        let mut buf = [0u8; 1024];
        let k = s.read(&mut buf).await.unwrap();
        assert!(buf.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&buf[..k]));
        let hello = br#"{"hello":{"credit":1}}"#;
        let mut f = vec![0x81, 0x80 | hello.len() as u8, 0, 0, 0, 0];
        f.extend_from_slice(hello);
        s.write_all(&f).await.unwrap();
        let k = s.read(&mut buf).await.unwrap();
        assert!(k > 10);
        socks.push(s);
    }
    println!("connect {:?} each", t.elapsed() / (n as u32 + 50));
    tokio::time::sleep(Duration::from_secs(2)).await;
    println!("per session {} bytes of RSS", (rss() - before) / n);
    // idle cpu
    let cpu = || { let s = std::fs::read_to_string("/proc/self/stat").unwrap(); let f: Vec<_> = s.rsplit(')').next().unwrap().split_whitespace().map(str::to_owned).collect(); f[11].parse::<u64>().unwrap() + f[12].parse::<u64>().unwrap() };
    let c = cpu(); tokio::time::sleep(Duration::from_secs(5)).await;
    println!("idle cpu {} ticks in 5 s", cpu() - c);
    let flipped = Instant::now();
    world.lane.observe(&[stop_all(2, true, None)]).unwrap();
    let mut set = tokio::task::JoinSet::new();
    for mut s in socks { set.spawn(async move { let mut b = [0u8; 512]; let mut first = None; loop { match s.read(&mut b).await { Ok(0) | Err(_) => break, Ok(_) => { first = first.or(Some(Instant::now())); } } } }); }
    set.join_all().await;
    println!("all {} closed after {:?}", n + 50, flipped.elapsed());
    world.lane.observe(&[stop_all(3, false, Some("1f2e3d4c-2"))]).unwrap();
    // latency
    let mut client = world.open("coder", 1).await;
    let mut lat = Vec::new();
    for i in 0..300 { let t = Instant::now(); let id = world.append(&format!("@coder {i}")).await; let a = t.elapsed(); client.delivered().await; lat.push((t.elapsed() - a)); client.ack(id).await; client.grant(1).await; }
    lat.sort(); println!("append→deliver after durable p50 {:?} p99 {:?}", lat[150], lat[297]);
}
