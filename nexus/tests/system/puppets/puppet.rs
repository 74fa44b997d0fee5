//! A puppet in Rust: does what a scenario says and tells what came, as `puppet.py` and `puppet.ts` do.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use nexus_wire::agent::v1::ClientFrame;
use nexus_wire::agent::v1::agents_client::AgentsClient;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::agent;

/// The longest that anything is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// What has come and was not asked for yet.
type Came = mpsc::Sender<Value>;

pub struct Puppet {
    pub scenario: PathBuf,
    pub grpc: bool,
    pub gateway: String,
    pub credentials: PathBuf,
}

/// A connection: frames go in, what comes goes to [`Came`]. Dropping the task breaks it, dropping the sender ends it.
struct Connection {
    frames: Option<mpsc::Sender<Value>>,
    task: JoinSet<()>,
}

/// Where the test listens and answers.
struct Test {
    answers: BufReader<ReadHalf<DuplexStream>>,
    told: WriteHalf<DuplexStream>,
}

impl Puppet {
    /// Plays to the end.
    pub async fn play(self, test: DuplexStream) -> Result<(), String> {
        let (read, told) = tokio::io::split(test);
        let mut test = Test { answers: BufReader::new(read), told };
        let (came, mut comes) = mpsc::channel(64);
        let mut names = HashMap::from([("long".to_owned(), "x".repeat(70_000))]);
        let mut connection: Option<Connection> = None;
        for line in std::fs::read_to_string(&self.scenario).unwrap().lines() {
            let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
            match verb {
                "" | "#" => {}
                "world" => {
                    test.tell(&json!({"world": rest})).await;
                    names.extend(test.answer().await);
                }
                "expect" => {
                    let got = tokio::time::timeout(PATIENCE, comes.recv()).await;
                    let got: Value = got.map_err(|_| format!("{rest} did not come"))?.unwrap();
                    test.tell(&got).await;
                    if got.get(rest).is_none() {
                        return Err(format!("expected {rest}, not {got}"));
                    }
                }
                "token" => {
                    test.tell(&json!({"token": rest})).await;
                    let answer = self.token(&mut names).await;
                    came.send(answer).await.unwrap();
                }
                "open" => {
                    test.tell(&json!({"open": rest})).await;
                    connection = Some(self.open(replaced(&names, rest), came.clone()));
                }
                "send" => {
                    test.tell(&json!({"send": serde_json::from_str::<Value>(rest).unwrap()})).await;
                    let frame = serde_json::from_str(&replaced(&names, rest)).unwrap();
                    let frames = connection.as_ref().and_then(|open| open.frames.as_ref()).unwrap();
                    frames.send(frame).await.map_err(|_| format!("nobody takes {rest}"))?;
                }
                "close" => {
                    test.tell(&json!({"close": ""})).await;
                    connection.as_mut().unwrap().frames = None;
                }
                "cut" => {
                    test.tell(&json!({"cut": ""})).await;
                    connection.take().unwrap().task.shutdown().await;
                }
                _ => return Err(format!("the scenario has an unknown step: {line}")),
            }
        }
        Ok(())
    }

    async fn token(&self, names: &mut HashMap<String, String>) -> Value {
        let secret = |name| std::fs::read_to_string(self.credentials.join(name)).unwrap();
        let (id, secret) = (secret("client-id"), secret("client-secret"));
        let form = [("grant_type", "client_credentials"), ("client_id", &id), ("client_secret", &secret)];
        let answer = reqwest::Client::new().post(format!("{}/oauth/token", self.gateway)).form(&form).send();
        let answer = answer.await.unwrap();
        if !answer.status().is_success() {
            return json!({"refused": {"http": answer.status().as_u16()}});
        }
        let answer: Value = answer.json().await.unwrap();
        names.insert("token".to_owned(), answer["access_token"].as_str().unwrap().to_owned());
        json!({"granted": {}})
    }

    fn open(&self, token: String, came: Came) -> Connection {
        let (frames, sent) = mpsc::channel(64);
        let gateway = self.gateway.clone();
        let mut task = JoinSet::new();
        if self.grpc {
            task.spawn(over_grpc(gateway, token, sent, came));
        } else {
            task.spawn(over_websocket(gateway, token, sent, came));
        }
        Connection { frames: Some(frames), task }
    }
}

async fn over_websocket(gateway: String, token: String, mut sent: mpsc::Receiver<Value>, came: Came) {
    let mut socket = match agent::connect(&gateway, &token).await {
        Ok(socket) => socket,
        Err(tungstenite::Error::Http(answer)) => {
            came.send(json!({"refused": {"http": answer.status().as_u16()}})).await.unwrap();
            return;
        }
        Err(error) => panic!("cannot connect: {error}"),
    };
    let (mut closing, mut code) = (false, 1006);
    loop {
        tokio::select! {
            frame = sent.recv(), if !closing => match frame {
                Some(frame) => socket.send(Message::text(frame.to_string())).await.unwrap_or_default(),
                None => {
                    closing = true;
                    socket.close(None).await.unwrap_or_default();
                }
            },
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    came.send(serde_json::from_str(&text).unwrap()).await.unwrap();
                }
                Some(Ok(Message::Close(close))) => code = close.map_or(1005, |close| close.code.into()),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break,
            },
        }
    }
    came.send(json!({"closed": {"websocket": code}})).await.unwrap();
}

async fn over_grpc(gateway: String, token: String, sent: mpsc::Receiver<Value>, came: Came) {
    let channel = tonic::transport::Endpoint::from_shared(gateway).unwrap().connect_lazy();
    let frames = futures_util::stream::unfold(sent, |mut sent| async {
        let frame: ClientFrame = serde_json::from_value(sent.recv().await?).unwrap();
        Some((frame, sent))
    });
    let mut request = tonic::Request::new(frames);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let mut opened = false;
    let status = match AgentsClient::new(channel).connect(request).await {
        Err(status) => status,
        Ok(answer) => {
            let mut answer = answer.into_inner();
            loop {
                match answer.message().await {
                    Ok(Some(frame)) => {
                        opened = true;
                        came.send(serde_json::to_value(frame).unwrap()).await.unwrap();
                    }
                    Ok(None) => break tonic::Status::ok(""),
                    Err(status) => break status,
                }
            }
        }
    };
    let end = if opened { "closed" } else { "refused" };
    came.send(json!({end: {"grpc": i32::from(status.code())}})).await.unwrap();
}

impl Test {
    async fn tell(&mut self, what: &Value) {
        self.told.write_all(format!("{what}\n").as_bytes()).await.unwrap();
    }

    async fn answer(&mut self) -> HashMap<String, String> {
        let mut line = String::new();
        self.answers.read_line(&mut line).await.unwrap();
        let names: Map<String, Value> = serde_json::from_str(&line).unwrap();
        names.into_iter().map(|(name, value)| (name, value.as_str().unwrap().to_owned())).collect()
    }
}

fn replaced(names: &HashMap<String, String>, text: &str) -> String {
    names.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("${name}"), value))
}
