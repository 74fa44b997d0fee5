//! The API server: a list of the NexusPolicies, and a watch of them.
//!
//! Every request has a connection of its own. One that is kept may be dead without a word, and to find that out takes the
//! time that a stop has not got; so a watch that is swallowed holds up no list, nor a list the next one.

use std::pin::pin;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::config::InferConfigError;
use kube::core::{Request, Status};
use kube::{Client, Config, Resource as _};
use nexus_crds::NexusPolicy;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::known::{Event, List};
use super::read::{read, revision};

/// How long a connection may take to come about, and then the answer.
const DEADLINE: Duration = Duration::from_secs(1);

/// How long the API server lets a watch last, in seconds.
const LASTS: u32 = 20;

/// How much later than it should a watch may end. After that its connection is taken for dead.
const GRACE: Duration = Duration::from_secs(2);

/// After how long a watch has ended as it should.
const FULL: Duration = Duration::from_secs(LASTS as u64 - 1);

/// Events that wait to be taken.
const EVENTS: usize = 16;

/// Why there is no list, or no watch.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// There is no API server to ask.
    #[error("cannot tell where the API server is: set KUBECONFIG, or run in a pod with a ServiceAccount")]
    Config(#[source] InferConfigError),
    /// The client cannot be made.
    #[error("cannot make a client of the API server")]
    Client(#[source] kube::Error),
    /// A request cannot be made.
    #[error("cannot ask for NexusPolicies")]
    Request(#[source] kube::core::request::Error),
    /// No answer in time.
    #[error("the API server does not answer")]
    Timeout,
    /// No connection, or one that broke.
    #[error("the API server cannot be reached")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It does not know who asks.
    #[error("the API server does not know who asks: {0}")]
    Unauthorized(String),
    /// Who asks may not.
    #[error(
        "the API server refuses: {0}; the verbs `list` and `watch` on nexuspolicies.nexus.dev are needed"
    )]
    Forbidden(String),
    /// It has no such kind.
    #[error("the API server has no definition of NexusPolicy: apply config/crd")]
    Undefined,
    /// It has forgotten what a watch was to begin with.
    #[error("the API server no longer knows where to begin: {0}")]
    Expired(String),
    /// It says no for another reason.
    #[error("the API server answers {code}: {message}")]
    Refused {
        /// The HTTP status.
        code: u16,
        /// Why.
        message: String,
    },
    /// What it says is no list, or no event.
    #[error("the API server's answer cannot be read")]
    Unreadable(#[source] serde_json::Error),
    /// It gave a part of the list only.
    #[error("the API server gives a part of the list only")]
    Partial,
    /// A watch should have ended long since.
    #[error("the watch did not end when it should")]
    Silent,
    /// A watch ended before it should.
    #[error("the watch ended early")]
    Early,
}

impl ServerError {
    /// A stable name for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Config(_) | Self::Client(_) | Self::Request(_) => "config",
            Self::Timeout => "timeout",
            Self::Unreachable(_) => "unreachable",
            Self::Unauthorized(_) => "unauthorized",
            Self::Forbidden(_) => "forbidden",
            Self::Undefined => "undefined",
            Self::Expired(_) => "expired",
            Self::Refused { .. } => "refused",
            Self::Unreadable(_) => "unreadable",
            Self::Partial => "partial",
            Self::Silent => "silent",
            Self::Early => "early",
        }
    }

    fn of(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::of_status(&status),
            kube::Error::SerdeError(error) => Self::Unreadable(error),
            // Its own words repeat the cause.
            kube::Error::Service(error) => Self::Unreachable(error),
            error => Self::Unreachable(error.into()),
        }
    }

    fn of_status(status: &Status) -> Self {
        let message = status.message.clone();
        match status.code {
            401 => Self::Unauthorized(message),
            403 => Self::Forbidden(message),
            404 => Self::Undefined,
            410 => Self::Expired(message),
            code => Self::Refused { code, message },
        }
    }
}

/// Asks the API server.
#[derive(Clone)]
pub struct Server {
    client: Client,
}

impl Server {
    /// The API server that `KUBECONFIG` names, or that of the pod's cluster. Nothing is asked yet.
    ///
    /// # Errors
    /// When none is named, or the certificates that go with it cannot be used.
    pub async fn find() -> Result<Self, ServerError> {
        let mut config = Config::infer().await.map_err(ServerError::Config)?;
        (config.connect_timeout, config.write_timeout) = (Some(DEADLINE), Some(DEADLINE));
        // Who asks tries again, and tells why.
        config.default_retry = false;
        Ok(Self { client: Client::try_from(config).map_err(ServerError::Client)? })
    }

    /// All policies as they stand now.
    ///
    /// # Errors
    /// When there is no whole list within two deadlines: one for the connection, one for the answer.
    pub async fn list(&self) -> Result<List, ServerError> {
        // Without a revision the answer is as new as the store itself.
        let request = alone(policies().list(&ListParams::default()))?;
        let text = timeout(DEADLINE * 2, self.client.request_text(request)).await;
        parse(&text.map_err(|_| ServerError::Timeout)?.map_err(ServerError::of)?)
    }

    /// Begins a watch from a revision on.
    pub fn watch(&self, revision: Option<u64>) -> Watch {
        let (tell, told) = mpsc::channel(EVENTS);
        let (mut task, client) = (JoinSet::new(), self.client.clone());
        task.spawn(async move {
            if let Err(error) = follow(&client, revision, &tell).await {
                // Nobody may listen any more.
                let _ = tell.send(Err(error)).await;
            }
        });
        Watch { told, began: Instant::now(), _task: task }
    }
}

/// A watch that is under way. Dropping it closes its connection.
pub struct Watch {
    told: mpsc::Receiver<Result<Event, ServerError>>,
    began: Instant,
    _task: JoinSet<()>,
}

impl Watch {
    /// What it tells next; none once it has ended as it should. Nothing is lost when this is dropped.
    ///
    /// # Errors
    /// When it has ended otherwise.
    pub async fn next(&mut self) -> Result<Option<Event>, ServerError> {
        match self.told.recv().await {
            Some(told) => told.map(Some),
            None if self.began.elapsed() >= FULL => Ok(None),
            None => Err(ServerError::Early),
        }
    }

    /// How long it has lasted.
    pub fn age(&self) -> Duration {
        self.began.elapsed()
    }
}

/// Tells what a watch tells, until it ends.
async fn follow(
    client: &Client,
    revision: Option<u64>,
    tell: &mpsc::Sender<Result<Event, ServerError>>,
) -> Result<(), ServerError> {
    let how = WatchParams { timeout: Some(LASTS), bookmarks: true, ..WatchParams::default() };
    // From none on, it tells first what there is.
    let from = revision.map(|revision| revision.to_string()).unwrap_or_default();
    let request = alone(policies().watch(&how, &from))?;
    let end = Instant::now() + Duration::from_secs(u64::from(LASTS)) + GRACE;
    let events = timeout(DEADLINE * 2, client.request_events::<Value>(request)).await;
    let mut events = pin!(events.map_err(|_| ServerError::Timeout)?.map_err(ServerError::of)?);
    loop {
        let next = tokio::time::timeout_at(end, events.try_next()).await;
        let event = match next.map_err(|_| ServerError::Silent)?.map_err(ServerError::of)? {
            None => return Ok(()),
            Some(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                Event::Stands(Box::new(read(&object)))
            }
            Some(WatchEvent::Deleted(object)) => Event::Gone(Box::new(read(&object))),
            Some(WatchEvent::Bookmark(bookmark)) => {
                Event::Quiet(bookmark.metadata.resource_version.parse().ok())
            }
            Some(WatchEvent::Error(status)) => return Err(ServerError::of_status(&status)),
        };
        if tell.send(Ok(event)).await.is_err() {
            return Ok(());
        }
    }
}

fn policies() -> Request {
    Request::new(NexusPolicy::url_path(&(), None))
}

/// A request with a connection of its own.
fn alone(
    request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
) -> Result<http::Request<Vec<u8>>, ServerError> {
    let mut request = request.map_err(ServerError::Request)?;
    request.headers_mut().insert(http::header::CONNECTION, http::HeaderValue::from_static("close"));
    Ok(request)
}

/// A list's parts, of which only the objects may be anything.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    metadata: Value,
    items: Vec<Value>,
}

fn parse(text: &str) -> Result<List, ServerError> {
    let Answer { metadata, items } = serde_json::from_str(text).map_err(ServerError::Unreadable)?;
    if metadata["continue"].as_str().is_some_and(|more| !more.is_empty()) {
        return Err(ServerError::Partial);
    }
    Ok(List { revision: revision(&metadata), policies: items.iter().map(read).collect() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_is_whole_or_none() {
        let list = |metadata: Value| {
            let items =
                json!([7, {"metadata": {"name": "a", "uid": "a", "generation": 1}, "spec": {"stop": true}}]);
            parse(&json!({"kind": "NexusPolicyList", "metadata": metadata, "items": items}).to_string())
        };
        let whole = list(json!({"resourceVersion": "12", "continue": ""})).unwrap();
        assert_eq!((whole.revision, whole.policies.len()), (Some(12), 2));
        assert!(whole.policies[0].complaint.is_some() && whole.policies[1].policy.stop);
        assert_eq!(list(json!({"resourceVersion": "x"})).unwrap().revision, None);
        let part = list(json!({"resourceVersion": "12", "continue": "abc"})).unwrap_err();
        assert_eq!(part.label(), "partial");
        for no_list in ["", "{}", "[]", r#"{"items": {}}"#, r#"{"items": ["#] {
            assert_eq!(parse(no_list).unwrap_err().label(), "unreadable", "{no_list}");
        }
    }

    #[test]
    fn an_answer_that_says_no_has_a_name() {
        for (code, label) in [
            (401, "unauthorized"),
            (403, "forbidden"),
            (404, "undefined"),
            (410, "expired"),
            (429, "refused"),
            (500, "refused"),
        ] {
            let status = Status::failure("no", "").with_code(code);
            assert_eq!(ServerError::of(kube::Error::Api(status.boxed())).label(), label);
        }
    }

    #[test]
    fn requests_go_to_all_policies_and_keep_no_connection() {
        let request = alone(policies().watch(&WatchParams::default(), "7")).unwrap();
        let uri = request.uri().to_string();
        assert!(uri.starts_with("/apis/nexus.dev/v1alpha1/nexuspolicies?"), "{uri}");
        assert!(uri.contains("resourceVersion=7"), "{uri}");
        assert_eq!(request.headers()["connection"], "close");
    }
}
