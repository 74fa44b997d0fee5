//! A pod's end: a stream to each replica of the operator, of which one configures it.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use nexus_core::backoff::Backoff;
use nexus_core::secret::Secret;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tonic::transport::Channel;

use super::pod::Standing;
use super::primary::Primary;
use super::resource::Role;
use super::stage::Stage;
use super::stream::StreamError;

/// How often the addresses of the operator are looked up.
const LOOK_UP_EVERY: Duration = Duration::from_secs(10);

/// How long that, a connection and the reading of a token may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// The bounds of the first wait before a connection is tried again, and of the longest.
const WAITS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(15));

/// After so long a connection begins with the first bound again.
const PEACE: Duration = Duration::from_secs(30);

/// The most replicas of the operator.
const MAX_REPLICAS: usize = 16;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How the replicas of the operator are found and reached.
pub trait Operators: Send + Sync {
    /// Their addresses.
    ///
    /// # Errors
    /// When they cannot be looked up; the former ones then stand.
    fn addresses(&self) -> impl Future<Output = Result<Vec<SocketAddr>, BoxError>> + Send;

    /// A connection to one. It should keep alive by [`super::KEEPALIVE_EVERY`] and [`super::KEEPALIVE_ANSWER`].
    ///
    /// # Errors
    /// When there is none.
    fn connect(&self, address: SocketAddr) -> impl Future<Output = Result<Channel, BoxError>> + Send;

    /// The bearer token, read anew.
    ///
    /// # Errors
    /// When it cannot be read.
    fn token(&self) -> impl Future<Output = Result<Secret, BoxError>> + Send;
}

/// What a pod says of itself to operators, and what it takes from them.
#[derive(Debug)]
pub struct Subscriber {
    /// What it runs.
    pub role: Role,
    /// Its name; its token may be bound to it.
    pub pod: String,
    /// What it holds.
    pub stage: Stage,
    /// How it stands.
    pub standing: watch::Receiver<Standing>,
}

/// What the streams of a pod share.
struct Links<'a, O> {
    subscriber: &'a Subscriber,
    operators: &'a O,
    addresses: watch::Sender<BTreeSet<SocketAddr>>,
    primary: Primary,
}

impl Subscriber {
    /// Keeps streams to all replicas. It never ends; dropping it ends all streams.
    pub async fn run<O: Operators>(&self, operators: &O) -> Infallible {
        let (addresses, primary) = (watch::Sender::default(), Primary::default());
        let links = Arc::new(Links { subscriber: self, operators, addresses, primary });
        tokio::join!(links.look_up(), links.keep()).0
    }
}

impl<O: Operators> Links<'_, O> {
    /// Looks the addresses up again and again.
    async fn look_up(&self) -> Infallible {
        let mut tick = interval(LOOK_UP_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let found = within(self.operators.addresses()).await;
            match found {
                Ok(found) => {
                    // The same ones everywhere, should there be too many.
                    let found: BTreeSet<_> = found.into_iter().collect();
                    let found = found.into_iter().take(MAX_REPLICAS).collect();
                    self.addresses.send_if_modified(|addresses| {
                        let changed = *addresses != found;
                        *addresses = found;
                        changed
                    });
                }
                Err(error) => {
                    metrics::counter!("nexus_config_stream_failures_total", "error" => "look_up")
                        .increment(1);
                    tracing::warn!("cannot look the operator up: {}", chain(&*error));
                }
            }
        }
    }

    /// Keeps a link to each address.
    async fn keep(&self) -> Infallible {
        let mut addresses = self.addresses.subscribe();
        let (mut links, mut linked) = (FuturesUnordered::new(), BTreeSet::new());
        loop {
            let wanted = addresses.borrow_and_update().clone();
            for address in wanted.into_iter().filter(|address| linked.insert(*address)) {
                links.push(self.link(address));
            }
            tokio::select! {
                _ = addresses.changed() => {}
                Some(address) = links.next(), if !links.is_empty() => {
                    linked.remove(&address);
                }
            }
        }
    }

    /// Connects again and again. Ends when a stream has ended and the address is no replica's any more.
    async fn link(&self, address: SocketAddr) -> SocketAddr {
        let mut backoff = Backoff::new(WAITS.0, WAITS.1);
        while self.addresses.borrow().contains(&address) {
            let began = Instant::now();
            let Err(error) = self.connect(address).await;
            metrics::counter!("nexus_config_stream_failures_total", "error" => error.label()).increment(1);
            tracing::warn!(%address, "no stream to the operator: {}; trying again", chain(&error));
            if began.elapsed() >= PEACE {
                backoff.reset();
            }
            sleep(backoff.next(rand::random())).await;
        }
        address
    }

    /// A connection, and the streams over it: first one that reports, perhaps, and once nobody else configures, one that does.
    async fn connect(&self, address: SocketAddr) -> Result<Infallible, StreamError> {
        let token = within(self.operators.token()).await.map_err(StreamError::Token)?;
        let channel = within(self.operators.connect(address)).await.map_err(StreamError::Connect)?;
        let claim = match self.primary.claim(address) {
            Some(claim) => claim,
            None => tokio::select! {
                ended = self.subscriber.stream(channel.clone(), &token, false) => return ended,
                claim = self.primary.claimed(address) => claim,
            },
        };
        tokio::select! {
            ended = self.subscriber.stream(channel.clone(), &token, true) => return ended,
            () = self.replaced(address) => drop(claim),
        }
        tracing::warn!(%address, "the operator's replica is not ready any more, and another is: turning to that one");
        // It may lead all the same, and has to know how this pod stands.
        self.subscriber.stream(channel, &token, false).await
    }

    /// Waits until there are replicas to turn to, and this is none of them: one that sees nothing of the API server any more is
    /// not ready, and would configure this pod by what it saw last.
    async fn replaced(&self, address: SocketAddr) {
        let mut addresses = self.addresses.subscribe();
        let gone = |addresses: &BTreeSet<_>| !addresses.is_empty() && !addresses.contains(&address);
        if addresses.wait_for(gone).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

async fn within<T>(done: impl Future<Output = Result<T, BoxError>>) -> Result<T, BoxError> {
    timeout(DEADLINE, done).await.unwrap_or_else(|elapsed| Err(elapsed.into()))
}

/// An error and its causes, as one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
