//! A thread apart, for the few tasks that must be prompt however busy the process is.
//!
//! Where thousands of sessions end at once, a task beside them waits for its turn behind all of theirs, at each of its steps.
//! A thread of its own has its turn from the system.

use std::future::Future;
use std::io;
use std::panic::resume_unwind;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

/// How long the end waits for what is being written.
const LONGEST: Duration = Duration::from_secs(5);

/// The thread. What runs there ends when this is dropped.
#[derive(Debug)]
pub struct Apart(Option<Runtime>);

impl Apart {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives none.
    pub fn start(name: &'static str) -> io::Result<Self> {
        Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name(name)
            .enable_all()
            .build()
            .map(Some)
            .map(Self)
    }

    /// Runs a task there, with all that it spawns. What is given back owns it, and panics as it does.
    pub fn run<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> impl Future<Output = T> + Send + 'static {
        let mut tasks = JoinSet::new();
        if let Some(runtime) = &self.0 {
            tasks.spawn_on(task, runtime.handle());
        }
        async move {
            match tasks.join_next().await {
                Some(Ok(answer)) => answer,
                Some(Err(error)) if error.is_panic() => resume_unwind(error.into_panic()),
                // The thread is gone, and nobody waits for this any more.
                Some(Err(_)) | None => std::future::pending().await,
            }
        }
    }
}

impl Apart {
    /// Ends the thread, once what writes to the disk there has done so, or after a while.
    pub async fn end(mut self) {
        if let Some(runtime) = self.0.take() {
            // It blocks. By panic only, or with the process, it is not done.
            let _ = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(LONGEST)).await;
        }
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        // Dropping it would wait for what blocks there, which nobody may do in a task.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_runs_apart_goes_on_while_the_others_are_kept_busy() {
        let apart = Apart::start("apart").unwrap();
        let (done, told) = std::sync::mpsc::channel();
        let answer = apart.run(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            done.send(()).unwrap();
            7
        });
        // This test's own thread does nothing else meanwhile.
        told.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!(answer.await, 7);
    }

    #[tokio::test]
    async fn the_end_waits_for_what_is_being_written() {
        let apart = Apart::start("apart").unwrap();
        let (begun, begins) = tokio::sync::oneshot::channel();
        let (go, going) = std::sync::mpsc::channel();
        let written = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let done = std::sync::Arc::clone(&written);
        let task = apart.run(async move {
            let mut writes = JoinSet::new();
            writes.spawn_blocking(move || {
                begun.send(()).unwrap();
                going.recv().unwrap();
                done.store(true, std::sync::atomic::Ordering::SeqCst);
            });
            writes.join_next().await;
        });
        begins.await.unwrap();
        drop(task);
        go.send(()).unwrap();
        apart.end().await;
        assert!(written.load(std::sync::atomic::Ordering::SeqCst));
    }

    #[tokio::test]
    async fn what_is_dropped_ends() {
        let apart = Apart::start("apart").unwrap();
        let (alive, mut gone) = tokio::sync::mpsc::channel::<()>(1);
        let task = apart.run(async move {
            let _alive = alive;
            std::future::pending::<()>().await;
        });
        drop(task);
        assert_eq!(gone.recv().await, None);
    }
}
