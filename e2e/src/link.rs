//! A link between two processes that can be cut, in one direction or both, and be led elsewhere.

use std::net::Ipv4Addr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What a link does with what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// The port that connections are led to.
    pub to: u16,
    /// Whether what clients say arrives.
    pub there: bool,
    /// Whether what the server says arrives.
    pub back: bool,
    /// Connections of an earlier number are cut, so that both sides notice.
    pub life: u64,
}

/// A link. Dropping it cuts it.
#[derive(Debug)]
pub struct Link {
    /// Where clients connect.
    pub port: u16,
    state: Arc<watch::Sender<State>>,
    _task: JoinSet<()>,
}

impl Link {
    /// A link to a port.
    pub async fn new(to: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(watch::Sender::new(State { to, there: true, back: true, life: 0 }));
        let mut task = JoinSet::new();
        task.spawn(serve(listener, Arc::clone(&state)));
        Ok(Self { port, state, _task: task })
    }

    /// Stops or lets through what clients say, and what the server says. Nothing is dropped, and nobody is told:
    /// so it is when a packet filter swallows what one side sends.
    pub fn pass(&self, there: bool, back: bool) {
        self.state.send_modify(|state| (state.there, state.back) = (there, back));
    }

    /// Cuts all connections, and leads new ones to a port.
    pub fn lead(&self, to: u16) {
        self.state.send_modify(|state| {
            (state.to, state.there, state.back) = (to, true, true);
            state.life += 1;
        });
    }
}

async fn serve(listener: TcpListener, state: Arc<watch::Sender<State>>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((client, _)) = accepted {
                    connections.spawn(connect(client, state.subscribe()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connect(client: TcpStream, mut state: watch::Receiver<State>) {
    let State { to, life, .. } = *state.borrow();
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let (there, back) = (state.clone(), state.clone());
    tokio::select! {
        _ = state.wait_for(|state| state.life != life) => {}
        () = copy(from_client, to_server, there, |state| state.there) => {}
        () = copy(from_server, to_client, back, |state| state.back) => {}
    }
}

/// Ends when either side does.
async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
    open: fn(&State) -> bool,
) {
    let mut bytes = vec![0; 64 << 10];
    loop {
        if state.wait_for(open).await.is_err() {
            return;
        }
        let read = match from.read(&mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(read) => read,
        };
        // What was read before the cut waits, too.
        if state.wait_for(open).await.is_err() || to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}
