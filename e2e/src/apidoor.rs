//! A door before the API server: it counts the calls that change something, and holds one of them back, before it arrives or
//! before its answer does, so that whoever makes it can be killed there.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Child;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::cluster::Cluster;
use crate::program::mortal;

/// Not the address of the processes, whose ports are chosen before they take them: one of those could be given to a door.
const HERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// The longest head of a request.
const MAX_HEAD: usize = 64 << 10;

/// Where the call is held back that is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before the API server has it.
    Before,
    /// When it is done, before the answer arrives.
    After,
}

/// What the door waits for, and what it has seen.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// The call to hold back, counted from 1.
    armed: Option<(u64, Moment)>,
    /// Calls that change something, since it was armed.
    calls: u64,
    /// Whether the call that it waits for has come.
    struck: bool,
}

/// The door. Dropping it shuts it.
#[derive(Debug)]
pub struct Door {
    port: u16,
    state: Arc<watch::Sender<State>>,
    _proxy: Child,
    _task: JoinSet<()>,
}

impl Door {
    /// A door to the API server of a cluster, with the rights of its admin.
    ///
    /// # Errors
    /// When `kubectl proxy` cannot be started.
    pub async fn open(cluster: &Cluster) -> anyhow::Result<Self> {
        let mut proxy =
            mortal(cluster.kubectl_path(), &[], &[("KUBECONFIG", cluster.kubeconfig().to_owned())]);
        let address = format!("--address={HERE}");
        let mut proxy = proxy
            .args(["proxy", "--port=0", &address, "--accept-hosts=.*"])
            .stdout(Stdio::piped())
            .spawn()?;
        let output = proxy.stdout.take().context("a pipe without an end")?;
        let mut lines = BufReader::new(output).lines();
        let Some(line) = lines.next_line().await? else { bail!("`kubectl proxy` ends") };
        let to: u16 = line.rsplit(':').next().context("no port")?.trim().parse()?;
        let listener = TcpListener::bind((HERE, 0)).await?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(watch::Sender::new(State::default()));
        let mut task = JoinSet::new();
        task.spawn(serve(listener, to, Arc::clone(&state)));
        Ok(Self { port, state, _proxy: proxy, _task: task })
    }

    /// Writes a kubeconfig that leads here.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn kubeconfig(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        let path = folder.join(format!("kubeconfig-{}", self.port));
        let port = self.port;
        let text = format!(
            "{{apiVersion: v1, kind: Config, current-context: door, contexts: [{{name: door, context: {{cluster: door, user: door}}}}], \
             clusters: [{{name: door, cluster: {{server: \"http://{HERE}:{port}\"}}}}], users: [{{name: door, user: {{}}}}]}}\n"
        );
        std::fs::write(&path, text)?;
        Ok(path)
    }

    /// Counts anew, and holds back this call.
    pub fn arm(&self, call: Option<(u64, Moment)>) {
        self.state.send_replace(State { armed: call, ..State::default() });
    }

    /// Calls that changed something since it was armed.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.state.borrow().calls
    }

    /// Whether the call that it was armed for has come.
    #[must_use]
    pub fn struck(&self) -> bool {
        self.state.borrow().struck
    }
}

async fn serve(listener: TcpListener, to: u16, state: Arc<watch::Sender<State>>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((client, _)) = accepted {
                    let state = Arc::clone(&state);
                    // Whatever ends a connection, its client connects again.
                    connections.spawn(async move { drop(connect(client, to, &state).await) });
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connect(client: TcpStream, to: u16, state: &watch::Sender<State>) -> anyhow::Result<()> {
    let server = TcpStream::connect((HERE, to)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ((from_client, mut to_client), (mut from_server, to_server)) =
        (client.into_split(), server.into_split());
    // Answers go back while nothing is held.
    let held = watch::Sender::new(false);
    let mut holding = held.subscribe();
    let back = async {
        let mut bytes = vec![0; 64 << 10];
        loop {
            let read = from_server.read(&mut bytes).await?;
            if read == 0 {
                return anyhow::Ok(());
            }
            if *holding.borrow() {
                state.send_modify(|state| state.struck = true);
                holding.wait_for(|held| !held).await?;
            }
            to_client.write_all(&bytes[..read]).await?;
        }
    };
    tokio::select! {
        done = requests(from_client, to_server, state, &held) => done,
        done = back => done,
    }
}

/// Passes requests on, one after the other.
async fn requests(
    from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    state: &watch::Sender<State>,
    held: &watch::Sender<bool>,
) -> anyhow::Result<()> {
    let mut from = BufReader::new(from);
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if from.read_until(b'\n', &mut head).await? == 0 || head.len() > MAX_HEAD {
                return Ok(());
            }
        }
        let text = String::from_utf8_lossy(&head).into_owned();
        let mut body = vec![0; length(&text)];
        from.read_exact(&mut body).await?;
        match changes(&text).then(|| count(state)).flatten() {
            Some(Moment::Before) => {
                state.send_modify(|state| state.struck = true);
                std::future::pending::<()>().await;
            }
            Some(Moment::After) => drop(held.send_replace(true)),
            None => {}
        }
        to.write_all(&head).await?;
        to.write_all(&body).await?;
    }
}

/// Counts a call, and says where it is to be held back, if it is.
fn count(state: &watch::Sender<State>) -> Option<Moment> {
    let mut moment = None;
    state.send_modify(|state| {
        state.calls += 1;
        moment = state.armed.filter(|(call, _)| *call == state.calls).map(|(_, moment)| moment);
    });
    moment
}

/// Whether a request changes something that counts: a Lease is renewed by time, an event is a courtesy, and a review changes nothing.
fn changes(head: &str) -> bool {
    let mut words = head.split_whitespace();
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let aside = ["/leases", "/events", "tokenreviews"];
    matches!(method, "POST" | "PUT" | "PATCH" | "DELETE") && !aside.iter().any(|part| path.contains(part))
}

fn length(head: &str) -> usize {
    let line = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    line.and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_something_is_told_from_what_does_not() {
        let patch = "PATCH /apis/nexus.dev/v1alpha1/namespaces/a/tenants/a/status HTTP/1.1\r\nContent-Length: 12\r\n\r\n";
        assert!(changes(patch));
        assert_eq!(length(patch), 12);
        assert!(!changes("GET /api/v1/secrets?watch=true HTTP/1.1\r\n\r\n"));
        assert!(!changes(
            "PUT /apis/coordination.k8s.io/v1/namespaces/n/leases/nexus-operator HTTP/1.1\r\n\r\n"
        ));
        assert_eq!(length("GET / HTTP/1.1\r\n\r\n"), 0);
    }
}
