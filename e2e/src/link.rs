//! A link between two processes that can be cut, in one direction or both, and be led elsewhere.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

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
    /// Connections of an earlier number carry nothing any more, and nobody is told.
    pub frost: u64,
}

/// The connections that are open, by number, and since when.
type Open = Arc<Mutex<BTreeMap<u64, Instant>>>;

/// A link. Dropping it cuts it.
#[derive(Debug)]
pub struct Link {
    /// Where clients connect.
    pub port: u16,
    state: Arc<watch::Sender<State>>,
    open: Open,
    _task: JoinSet<()>,
}

impl Link {
    /// A link to a port of this machine.
    pub async fn new(to: u16) -> anyhow::Result<Self> {
        Self::to((Ipv4Addr::LOCALHOST, to).into()).await
    }

    /// A link to an address.
    pub async fn to(address: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let state = State { to: address.port(), there: true, back: true, life: 0, frost: 0 };
        let (state, open) = (Arc::new(watch::Sender::new(state)), Open::default());
        let mut task = JoinSet::new();
        task.spawn(serve(listener, address.ip(), Arc::clone(&state), Arc::clone(&open)));
        Ok(Self { port, state, open, _task: task })
    }

    /// Stops or lets through what clients say, and what the server says. Nothing is dropped, and nobody is told:
    /// so it is when a packet filter swallows what one side sends.
    pub fn pass(&self, there: bool, back: bool) {
        self.state.send_modify(|state| (state.there, state.back) = (there, back));
    }

    /// Lets the connections that are open carry nothing any more, for good; those that come are not concerned. Nobody is
    /// told: so it is when a packet filter forgets what it has let through.
    pub fn freeze(&self) {
        self.state.send_modify(|state| state.frost += 1);
    }

    /// For how long the oldest of the open connections has been so.
    #[must_use]
    pub fn oldest(&self) -> Option<Duration> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.values().map(Instant::elapsed).max()
    }

    /// Cuts all connections, and leads new ones to a port.
    pub fn lead(&self, to: u16) {
        self.state.send_modify(|state| {
            (state.to, state.there, state.back) = (to, true, true);
            state.life += 1;
        });
    }
}

async fn serve(listener: TcpListener, host: IpAddr, state: Arc<watch::Sender<State>>, open: Open) {
    let mut connections = JoinSet::new();
    for number in 0.. {
        let client = loop {
            tokio::select! {
                accepted = listener.accept() => {
                    if let Ok((client, _)) = accepted {
                        break client;
                    }
                }
                Some(_) = connections.join_next() => {}
            }
        };
        let (state, open) = (state.subscribe(), Arc::clone(&open));
        connections.spawn(async move {
            open.lock().unwrap_or_else(PoisonError::into_inner).insert(number, Instant::now());
            connect(client, host, state).await;
            open.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        });
    }
}

async fn connect(client: TcpStream, host: IpAddr, mut state: watch::Receiver<State>) {
    let State { to, life, frost, .. } = *state.borrow();
    let Ok(server) = TcpStream::connect((host, to)).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let (there, back) = (state.clone(), state.clone());
    tokio::select! {
        _ = state.wait_for(|state| state.life != life) => {}
        () = copy(from_client, to_server, there, |state| state.there && state.frost == frost) => {}
        () = copy(from_server, to_client, back, |state| state.back && state.frost == frost) => {}
    }
}

/// Ends when either side does.
async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
    open: impl Fn(&State) -> bool,
) {
    let mut bytes = vec![0; 64 << 10];
    loop {
        if state.wait_for(&open).await.is_err() {
            return;
        }
        let read = from.read(&mut bytes).await.unwrap_or(0);
        // What was read before the cut waits, too. So does an end: it would tell the other side.
        if state.wait_for(&open).await.is_err() || read == 0 || to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}
