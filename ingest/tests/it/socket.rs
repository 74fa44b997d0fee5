//! Over a real socket, as the providers come.

use axum::http::StatusCode;
use nexus_core::event::Provider;
use nexus_ingest::router;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::support::{Delivery, World, fixture};

/// Writes a request as bytes and reads the answer to its end.
async fn exchange(address: std::net::SocketAddr, request: &[u8]) -> (StatusCode, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may answer and close before it has read all.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer)
}

fn head(delivery: &Delivery, length: Option<usize>) -> Vec<u8> {
    let mut head = format!("POST {} HTTP/1.1\r\nhost: nexus.example\r\nconnection: close\r\n", delivery.path);
    for (name, value) in &delivery.headers {
        head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
    }
    match length {
        Some(length) => head.push_str(&format!("content-length: {length}\r\n\r\n")),
        None => head.push_str("transfer-encoding: chunked\r\n\r\n"),
    }
    head.into_bytes()
}

#[tokio::test]
async fn a_delivery_is_stored_and_a_long_one_is_refused_before_it_is_sent() {
    let world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    let app = router(world.ingest.clone());
    tasks.spawn(async move { axum::serve(listener, app).await });

    let delivery = fixture(Provider::GitHub, "issues.opened");
    let whole = [head(&delivery, Some(delivery.body.len())), delivery.body.to_vec()].concat();
    let (status, answer) = exchange(address, &whole).await;
    assert_eq!(status, StatusCode::OK, "{answer}");

    let mut chunked = head(&delivery, None);
    for chunk in delivery.body.chunks(100) {
        chunked.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        chunked.extend_from_slice(chunk);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let (status, answer) = exchange(address, &chunked).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert!(answer.contains("\"duplicate\":true"), "{answer}");

    let (status, answer) = exchange(address, &head(&delivery, Some(26 << 20))).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{answer}");
    assert_eq!(world.events().await.len(), 1);
    tasks.shutdown().await;
}
