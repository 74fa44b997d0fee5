//! The tasks of one HTTP/2 connection: hyper wants one for each request. They end with the connection.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use hyper::rt::Executor;
use tokio::task::JoinSet;

/// The tasks of one connection. Dropping it aborts them all.
#[derive(Debug, Default)]
pub(super) struct Streams(Arc<Mutex<JoinSet<()>>>);

/// Adds tasks. Each of them has one itself, which therefore must not keep them alive.
#[derive(Debug, Clone)]
pub(super) struct Spawn(Weak<Mutex<JoinSet<()>>>);

impl Streams {
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
            tasks.spawn(task);
        }
    }
}
