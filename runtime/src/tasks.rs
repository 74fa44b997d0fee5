//! Owned tasks: nothing runs that nobody waits for.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A task of a role ended although the role was to go on.
#[derive(Debug, thiserror::Error)]
#[error("task {task} of {role} {how}")]
pub struct TaskEnded {
    /// The role.
    pub role: &'static str,
    /// The task.
    pub task: &'static str,
    /// How it ended.
    how: String,
}

impl TaskEnded {
    /// A task that failed and asked its role to end in good order.
    #[must_use]
    pub fn failed(role: &'static str, task: &'static str, error: &dyn std::error::Error) -> Self {
        Self { role, task, how: format!("failed: {}", chain(error)) }
    }
}

/// The tasks of one role. Dropping it aborts them all.
#[derive(Debug)]
pub struct Tasks {
    role: &'static str,
    drain: CancellationToken,
    set: JoinSet<(&'static str, Result<(), String>)>,
}

impl Tasks {
    /// No task yet. `drain` asks the role to end.
    #[must_use]
    pub fn new(role: &'static str, drain: CancellationToken) -> Self {
        Self { role, drain, set: JoinSet::new() }
    }

    /// The token that asks the role to end.
    #[must_use]
    pub fn drain(&self) -> CancellationToken {
        self.drain.clone()
    }

    /// Starts a task. It should end soon after the drain token is cancelled, and not before.
    pub fn start<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        self.set.spawn(async move { (name, task.await.map_err(|error| chain(error.into().as_ref()))) });
    }

    /// Runs until drained, then gives the tasks `grace` to end and aborts what is left.
    ///
    /// # Errors
    /// When a task ends before the drain, whether well, with an error or by a panic: the others are then
    /// aborted, since a role with a task missing is worse than one that restarts.
    pub async fn run(mut self, grace: Duration) -> Result<(), TaskEnded> {
        let drain = self.drain.clone();
        tokio::select! {
            biased;
            () = drain.cancelled() => {}
            Some(ended) = self.set.join_next() => {
                if !drain.is_cancelled() {
                    return Err(self.ended(ended));
                }
            }
        }
        let role = self.role;
        let all = async {
            while let Some(ended) = self.set.join_next().await {
                match ended {
                    Ok((_, Ok(()))) => {}
                    Ok((task, Err(error))) => {
                        tracing::warn!(role, task, error, "a task ended badly in the drain")
                    }
                    Err(error) => tracing::warn!(role, %error, "a task panicked in the drain"),
                }
            }
        };
        if tokio::time::timeout(grace, all).await.is_err() {
            tracing::warn!(
                role = self.role,
                left = self.set.len(),
                "drain took too long; aborting what is left"
            );
        }
        self.set.shutdown().await;
        Ok(())
    }

    fn ended(&self, ended: Result<(&'static str, Result<(), String>), tokio::task::JoinError>) -> TaskEnded {
        let (task, how) = match ended {
            Ok((task, Ok(()))) => (task, "ended by itself".to_owned()),
            Ok((task, Err(error))) => (task, format!("failed: {error}")),
            // Which task panicked is in the panic's own log line.
            Err(_) => ("unnamed", "panicked".to_owned()),
        };
        TaskEnded { role: self.role, task, how }
    }
}

/// An error and its causes, as one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_ends_the_role() {
        let mut tasks = Tasks::new("test", CancellationToken::new());
        tasks.start("steady", std::future::pending::<Result<(), Infallible>>());
        tasks.start("faulty", async { Err("no more") });
        let ended = tasks.run(Duration::from_secs(1)).await.unwrap_err();
        assert_eq!(ended.to_string(), "task faulty of test failed: no more");
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_waits_for_the_grace_and_no_longer() {
        let drain = CancellationToken::new();
        let mut tasks = Tasks::new("test", drain.clone());
        let seen = drain.clone();
        tasks.start("good", async move {
            seen.cancelled().await;
            Ok::<_, Infallible>(())
        });
        tasks.start("stuck", std::future::pending::<Result<(), Infallible>>());
        drain.cancel();
        tasks.run(Duration::from_secs(5)).await.unwrap();
    }
}
