//! The operator's end: what is published, who is connected, and the service that answers streams.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::Stream;
use nexus_core::id::TenantKey;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};
use tonic::{Request, Response, Status, Streaming};

use super::door::{Door, MAX_STREAMS};
use super::entries::Entries;
use super::identify::{Identify, Unidentified};
use super::pod::{Pod, Pods};
use super::resource::{Digest, Resource, ResourceName, ResourceType, Role};
use super::serve::Serving;
use super::told::{Published, Told};
use super::v1::configuration_server::{Configuration, ConfigurationServer};
use super::{FIRST_WORD, MAX_MESSAGE_BYTES, report, v1};

/// The longest name of a pod.
const MAX_POD_NAME: usize = 253;

/// The set of resources that pods are configured with, and how the pods stand. Clones are the same publisher.
#[derive(Clone)]
pub struct Publisher(Arc<Shared>);

struct Shared {
    published: watch::Sender<Published>,
    entries: Arc<Entries>,
    places: Arc<Semaphore>,
    door: Mutex<Door>,
    began: Instant,
}

impl Publisher {
    /// Nothing is published, and no stream is answered before [`Publisher::complete`].
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Shared {
            published: watch::Sender::default(),
            entries: Arc::default(),
            places: Arc::new(Semaphore::new(MAX_STREAMS)),
            door: Mutex::new(Door::new()),
            began: Instant::now(),
        }))
    }

    /// Replaces all resources of a tenant (an empty list removes them) and wakes the streams. Cheap when nothing changed.
    /// A resource of another tenant is left out.
    pub fn publish(&self, tenant: &TenantKey, resources: Vec<Resource>) {
        self.publish_but(tenant, resources, &[]);
    }

    /// The same, but for resources of which nobody can tell what they are now: these stay as they are, also where a pod holds
    /// one that is not published.
    pub fn publish_but(&self, tenant: &TenantKey, resources: Vec<Resource>, withheld: &[ResourceType]) {
        let resources = resources.into_iter().filter(|resource| resource.name().tenant == *tenant);
        let mut wanted: BTreeMap<_, _> =
            resources.map(|resource| (resource.name().clone(), resource)).collect();
        self.0.published.send_if_modified(|published| {
            let mut changed = false;
            for kind in ResourceType::ALL {
                let name = ResourceName { kind, tenant: tenant.clone() };
                if withheld.contains(&kind) {
                    changed |= published.withheld.insert(name);
                    continue;
                }
                changed |= published.withheld.remove(&name);
                let next = wanted.remove(&name);
                let digest = |resource: &Resource| resource.digest();
                if published.resources.get(&name).map(digest) == next.as_ref().map(digest) {
                    continue;
                }
                changed = true;
                match next {
                    Some(next) => published.resources.insert(name, next),
                    None => published.resources.remove(&name),
                };
            }
            changed
        });
    }

    /// From now on streams are answered: every object was read once.
    pub fn complete(&self) {
        let complete = |published: &mut Published| !std::mem::replace(&mut published.complete, true);
        self.0.published.send_if_modified(complete);
    }

    /// Ends all streams, so that pods go to another replica; a new one is refused.
    pub fn close(&self) {
        self.0.published.send_modify(|published| published.closed = true);
    }

    /// The version that is published under a name.
    #[must_use]
    pub fn digest(&self, name: &ResourceName) -> Option<Digest> {
        self.0.published.borrow().resources.get(name).map(Resource::digest)
    }

    /// How the pods that are connected stand, by pod name; a pod goes when its stream ends. Woken on each change.
    #[must_use]
    pub fn pods(&self) -> watch::Receiver<Arc<Pods>> {
        self.0.entries.shown()
    }

    /// The gRPC service. `identify` says who calls. The server should keep alive by [`super::KEEPALIVE_EVERY`] and
    /// [`super::KEEPALIVE_ANSWER`].
    #[must_use]
    pub fn service<A: Identify>(&self, identify: A) -> ConfigurationServer<Service<A>> {
        ConfigurationServer::new(Service { publisher: self.clone(), identify })
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }
}

impl Default for Publisher {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let published = self.0.published.borrow();
        f.debug_struct("Publisher")
            .field("resources", &published.resources.len())
            .field("complete", &published.complete)
            .finish_non_exhaustive()
    }
}

/// The gRPC service of a [`Publisher`].
#[derive(Debug, Clone)]
pub struct Service<A> {
    publisher: Publisher,
    identify: A,
}

/// Why a stream is refused. What a variant holds is for the caller.
#[derive(Debug, thiserror::Error)]
enum Turned {
    /// This replica ends.
    #[error("this operator ends; ask another")]
    Closed,
    /// Too many new streams at once.
    #[error("too many new streams at once; try again")]
    Rate,
    /// Too many streams.
    #[error("there are {MAX_STREAMS} streams already")]
    Full,
    /// No token, or one of nobody who may ask.
    #[error("{0}")]
    Token(String),
    /// It cannot be found out whose the token is.
    #[error("{0}")]
    Review(String),
    /// The token is of another role or pod.
    #[error("{0}")]
    Foreign(String),
    /// The first message is none to begin with.
    #[error("{0}")]
    Hello(&'static str),
}

impl Turned {
    /// The word for metrics.
    const fn label(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Rate => "rate",
            Self::Full => "full",
            Self::Token(_) => "token",
            Self::Review(_) => "review",
            Self::Foreign(_) => "foreign",
            Self::Hello(_) => "hello",
        }
    }

    fn status(&self) -> Status {
        let text = self.to_string();
        match self {
            Self::Closed | Self::Review(_) => Status::unavailable(text),
            Self::Rate | Self::Full => Status::resource_exhausted(text),
            Self::Token(_) => Status::unauthenticated(text),
            Self::Foreign(_) => Status::permission_denied(text),
            Self::Hello(_) => Status::invalid_argument(text),
        }
    }
}

impl<A: Identify> Service<A> {
    async fn admit(&self, request: Request<Streaming<v1::PodMessage>>) -> Result<Serving, Turned> {
        let shared = &self.publisher.0;
        let published = shared.published.subscribe();
        if published.borrow().closed {
            return Err(Turned::Closed);
        }
        // Before anybody is asked whose a token is.
        let now = shared.began.elapsed();
        if !shared.door.lock().unwrap_or_else(PoisonError::into_inner).admits(now) {
            return Err(Turned::Rate);
        }
        let place = Arc::clone(&shared.places).try_acquire_owned().map_err(|_| Turned::Full)?;
        let token = bearer(&request).ok_or_else(|| Turned::Token("a bearer token is wanted".to_owned()))?;
        let identified = timeout(FIRST_WORD, self.identify.identify(token)).await;
        let identity = identified
            .map_err(|_| Turned::Review("it takes too long to find out whose the token is".to_owned()))?
            .map_err(|error| match error {
                Unidentified::Refused(why) => Turned::Token(why),
                Unidentified::Unavailable(why) => Turned::Review(why),
            })?;
        let mut incoming = request.into_inner();
        let hello = first(&mut incoming).await?;
        let role = Role::of_proto(hello.role()).ok_or(Turned::Hello("Hello names no role"))?;
        if role != identity.role {
            let (own, other) = (identity.role.name(), role.name());
            return Err(Turned::Foreign(format!("the token is of {own}, and Hello asks for {other}")));
        }
        if hello.pod.is_empty() || hello.pod.len() > MAX_POD_NAME {
            return Err(Turned::Hello("Hello names no pod"));
        }
        if identity.pod.is_some_and(|pod| pod != hello.pod) {
            return Err(Turned::Foreign("the token is bound to another pod".to_owned()));
        }
        let told = Told::new(role, report::versions(hello.held));
        let pod = Pod { held: told.held().clone(), ..Pod::new(role) };
        let entry = shared.entries.enter(hello.pod, pod);
        Ok(Serving::new(incoming, published, told, hello.configure, entry, place))
    }
}

#[tonic::async_trait]
impl<A: Identify> Configuration for Service<A> {
    type StreamStream = Pin<Box<dyn Stream<Item = Result<v1::OperatorMessage, Status>> + Send>>;

    async fn stream(
        &self,
        request: Request<Streaming<v1::PodMessage>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        match self.admit(request).await {
            Ok(serving) => Ok(Response::new(Box::pin(serving.run()))),
            Err(turned) => {
                metrics::counter!("nexus_config_streams_refused_total", "reason" => turned.label())
                    .increment(1);
                tracing::debug!(reason = turned.label(), "a config stream is refused: {turned}");
                Err(turned.status())
            }
        }
    }
}

fn bearer<T>(request: &Request<T>) -> Option<&str> {
    let value = request.metadata().get("authorization")?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
}

async fn first(incoming: &mut Streaming<v1::PodMessage>) -> Result<v1::Hello, Turned> {
    let message = timeout(FIRST_WORD, incoming.message()).await;
    let message = message.map_err(|_| Turned::Hello("Hello did not come"))?;
    let message = message.map_err(|_| Turned::Hello("the first message cannot be read"))?;
    match message.and_then(|message| message.message) {
        Some(v1::pod_message::Message::Hello(hello)) => Ok(hello),
        _ => Err(Turned::Hello("the first message must be Hello")),
    }
}
