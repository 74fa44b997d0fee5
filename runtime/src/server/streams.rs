//! The tasks of one HTTP/2 connection: hyper wants one for each request. They end with the connection, or one by one
//! when whoever serves the request says so.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use hyper::rt::Executor;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

tokio::task_local! {
    /// The stream whose task this is.
    static CURRENT: Stream;
}

/// A handle on the stream of one HTTP/2 request, in its extensions. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Stream(CancellationToken);

impl Stream {
    /// Breaks the stream off, even while the peer takes nothing. The response's body is asked once more, unless a
    /// part of it still waits for the peer: an error that it gives then is the reason that the peer is told, which
    /// is CANCEL otherwise.
    pub fn cut(&self) {
        self.0.cancel();
    }

    /// The stream whose task this is, if it is one.
    pub(super) fn current() -> Option<Self> {
        CURRENT.try_with(Self::clone).ok()
    }

    /// Runs the stream's task until it ends or is cut. Dropping it makes the library send RST_STREAM: a body's error
    /// alone would not, as the library does not look at the body while what it has of it waits for the peer.
    async fn run(self, task: impl Future<Output = ()>) {
        // An async block would keep room for it twice.
        let mut task = Box::pin(task);
        let bounded = async {
            tokio::select! {
                biased;
                () = &mut task => {}
                () = self.0.cancelled() => {}
            }
        };
        CURRENT.scope(self.clone(), bounded).await;
    }
}

/// The tasks of one connection. Dropping it aborts them all.
#[derive(Debug, Default)]
pub(super) struct Streams(Arc<Mutex<JoinSet<()>>>);

/// Adds tasks. Each of them has one itself, which therefore must not keep them alive.
#[derive(Debug, Clone)]
pub(super) struct Spawn(Weak<Mutex<JoinSet<()>>>);

impl Streams {
    /// Whether none is under way.
    pub(super) fn are_done(&self) -> bool {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.is_empty()
    }

    pub(super) fn spawner(&self) -> Spawn {
        Spawn(Arc::downgrade(&self.0))
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Spawn {
    fn execute(&self, task: F) {
        if let Some(tasks) = self.0.upgrade() {
            let mut tasks = tasks.lock().unwrap_or_else(PoisonError::into_inner);
            // What has ended is forgotten here, so that the set is bounded by the requests at a time.
            while tasks.try_join_next().is_some() {}
            tasks.spawn(Stream::default().run(task));
        }
    }
}
