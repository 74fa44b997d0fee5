use kube::Config;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::*;
use crate::lease::Holder;

/// An API server that gives these answers one after the other, each on a connection of its own: what it was asked.
struct Answering {
    writer: Writer,
    asked: Arc<Mutex<Vec<String>>>,
    /// Ends with this.
    _server: JoinSet<()>,
}

async fn answering(answers: Vec<(u16, Value)>) -> Answering {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (asked, mut server) = (Arc::<Mutex<Vec<String>>>::default(), JoinSet::new());
    let note = Arc::clone(&asked);
    server.spawn(async move {
        for (code, body) in answers {
            let (stream, _) = listener.accept().await.unwrap();
            answer(stream, code, &body.to_string(), &note).await;
        }
    });
    let client = || Client::try_from(Config::new(format!("http://{address}").parse().unwrap())).unwrap();
    let clock = nexus_core::clock::ManualClock::at(jiff::Timestamp::UNIX_EPOCH).clock();
    let leading = Holder::new(client(), "nexus-system", "me", clock).leading();
    let writer = Writer::new([client(), client()], leading, "me");
    Answering { writer, asked, _server: server }
}

/// Answers one request, and notes its method and body.
async fn answer(stream: TcpStream, code: u16, body: &str, asked: &Mutex<Vec<String>>) {
    let mut stream = BufReader::new(stream);
    let (mut first, mut length) = (String::new(), 0);
    stream.read_line(&mut first).await.unwrap();
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).await.unwrap();
        if header.trim().is_empty() {
            break;
        }
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut sent = vec![0; length];
    stream.read_exact(&mut sent).await.unwrap();
    let method = first.split(' ').next().unwrap();
    asked.lock().unwrap().push(format!("{method} {}", String::from_utf8(sent).unwrap()));
    let (size, head) = (body.len(), format!("HTTP/1.1 {code} X\r\ncontent-type: application/json"));
    let reply = format!("{head}\r\ncontent-length: {size}\r\nconnection: close\r\n\r\n{body}");
    stream.write_all(reply.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
}

fn deployment(revision: &str, replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "coder", "namespace": "acme", "uid": "a", "resourceVersion": revision},
        "spec": {
            "replicas": replicas, "selector": {},
            "template": {"metadata": {}, "spec": {"containers": []}},
        },
    })
}

fn refusal(code: u16) -> Value {
    let reason = if code == 404 { "NotFound" } else { "Conflict" };
    json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": "x"})
}

/// What came of scaling a Deployment that was seen at revision 1, and what the API server was asked.
async fn scaled(answers: Vec<(u16, Value)>) -> (Result<Answer, kube::Error>, Vec<String>) {
    let server = answering(answers).await;
    let key = ("acme".to_owned(), "coder".to_owned());
    let answer = server.writer.scale(&key, Some(0), Some(3), Some("1")).await;
    let asked = server.asked.lock().unwrap().clone();
    (answer, asked)
}

fn of(replicas: u32, revision: &str) -> Observed<Workload> {
    let (uid, revision) = (Some("a".to_owned()), Some(revision.to_owned()));
    Observed::There(Workload { replicas, held: None, uid, revision })
}

#[tokio::test]
async fn a_deployment_is_scaled_as_of_the_revision_that_was_seen() {
    let (answer, asked) = scaled(vec![(200, deployment("2", 0))]).await;
    let Ok(Answer::Scaled(scaled)) = answer else { panic!("{answer:?}") };
    assert_eq!((scaled.sent.as_deref(), scaled.now, scaled.written), (Some("1"), of(0, "2"), true));
    let sent: Value = serde_json::from_str(asked[0].strip_prefix("PATCH ").unwrap()).unwrap();
    assert_eq!(sent["metadata"]["resourceVersion"], "1");
    assert_eq!(sent["metadata"]["annotations"][HELD_REPLICAS], "3");
}

#[tokio::test]
async fn one_that_has_changed_is_looked_at_and_told() {
    let (answer, asked) = scaled(vec![(409, refusal(409)), (200, deployment("7", 5))]).await;
    let Ok(Answer::Scaled(late)) = answer else { panic!("{answer:?}") };
    assert_eq!((late.sent.as_deref(), late.now, late.written), (Some("1"), of(5, "7"), false));
    assert_eq!(asked[1], "GET ");
    let (answer, _) = scaled(vec![(409, refusal(409)), (404, refusal(404))]).await;
    let Ok(Answer::Scaled(late)) = answer else { panic!("{answer:?}") };
    assert_eq!((late.now, late.written), (Observed::Missing, false));
}

#[tokio::test]
async fn a_conflict_over_what_has_not_changed_fails() {
    let (answer, _) = scaled(vec![(409, refusal(409)), (200, deployment("1", 3))]).await;
    assert!(matches!(answer, Err(kube::Error::Api(status)) if status.code == 409));
}

#[tokio::test]
async fn what_nobody_grants_is_refused() {
    let target = Target::Deployment(("acme".to_owned(), "coder".to_owned()));
    for (code, refused) in [(403, true), (422, true), (500, false)] {
        let (answer, _) = scaled(vec![(code, refusal(code))]).await;
        assert_eq!(refuses(&target, &answer.unwrap_err()), refused, "{code}");
    }
}
