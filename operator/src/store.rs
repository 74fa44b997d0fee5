//! Whether the store behind the API server was restored from a backup.
//!
//! Its revisions go back then. A watch that is begun again at a revision of before is deaf until they have caught up, and what
//! happened up to there is never told: all of it has to be listed anew. A watch whose connection broke is begun by a list
//! anyway; this is for those of which nobody noticed, since packets were dropped meanwhile or another API server took over.

use std::convert::Infallible;
use std::fmt::Debug;
use std::time::Duration;

use kube::api::ListParams;
use kube::{Api, Resource};
use nexus_runtime::Drain;
use nexus_runtime::readiness::{Readiness, ReadyGuard};
use nexus_runtime::tasks::chain;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

/// How often it is looked at. One that has passed what was seen by then is not told from one that went on.
const LOOK: Duration = Duration::from_secs(10);

/// How long a look may take.
const CALL: Duration = Duration::from_secs(5);

/// Who has seen nothing for so long is not ready, so that pods turn to a replica that sees, where there is one.
const BLIND: Duration = Duration::from_secs(60);

/// Tells that the store was restored.
#[derive(Debug, Clone)]
pub(crate) struct Restored(watch::Receiver<u64>);

impl Restored {
    /// One to be told by, and the one to tell.
    pub(crate) fn channel() -> (watch::Sender<u64>, Self) {
        let (tell, told) = watch::channel(0);
        (tell, Self(told))
    }

    /// Waits until it is restored, since it was waited for last.
    pub(crate) async fn again(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// What comes from now on is all of the store as it stands: what was told before is done with.
    pub(crate) fn forget(&mut self) {
        self.0.mark_unchanged();
    }
}

/// The revision of the store, as it was seen last.
#[derive(Debug, Default)]
struct Seen(Option<u64>);

impl Seen {
    /// Takes in what a look shows, each of which was asked for when the one before was answered. True if the store went back.
    fn look(&mut self, revision: u64) -> bool {
        self.0.replace(revision).is_some_and(|before| revision < before)
    }
}

/// Whether this replica sees anything of the store.
struct Sight {
    readiness: Readiness,
    last: Instant,
    blind: Option<ReadyGuard>,
}

impl Sight {
    fn sees(&mut self, now: Instant) {
        (self.last, self.blind) = (now, None);
    }

    fn sees_nothing(&mut self, now: Instant) {
        if self.blind.is_none() && now.saturating_duration_since(self.last) >= BLIND {
            tracing::warn!("nothing was seen of the API server for a minute: not ready until something is");
            self.blind = Some(self.readiness.guard("a look at the API server"));
        }
    }
}

/// Looks at the store until drained, by a list of one object: lists are as new as the store itself.
pub(crate) async fn follow<K>(
    api: Api<K>,
    restored: watch::Sender<u64>,
    readiness: Readiness,
    drain: Drain,
) -> Result<(), Infallible>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let mut seen = Seen::default();
    let mut sight = Sight { readiness, last: Instant::now(), blind: None };
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let one = ListParams::default().limit(1);
    loop {
        tokio::select! {
            () = drain.cancelled() => return Ok(()),
            _ = tick.tick() => {}
        }
        let answer = tokio::time::timeout(CALL, api.list_metadata(&one)).await;
        let list = match answer {
            Ok(Ok(list)) => list,
            // Where it took too long, its connection is closed with it: the next one is another.
            failed => {
                if let Ok(Err(error)) = failed {
                    tracing::debug!(error = chain(&error), "cannot look at the store");
                }
                sight.sees_nothing(Instant::now());
                continue;
            }
        };
        sight.sees(Instant::now());
        let revision = list.metadata.resource_version.and_then(|revision| revision.parse().ok());
        if revision.is_some_and(|revision| seen.look(revision)) {
            tracing::warn!("the API server's store was restored from a backup; all is read anew");
            restored.send_modify(|times| *times += 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sees_nothing_for_a_minute_is_not_ready_until_it_sees_again() {
        let (readiness, begun) = (Readiness::default(), Instant::now());
        let mut sight = Sight { readiness: readiness.clone(), last: begun, blind: None };
        let ready = || readiness.awaited().is_empty();
        sight.sees_nothing(begun + Duration::from_secs(59));
        assert!(ready());
        sight.sees_nothing(begun + BLIND);
        assert!(!ready());
        sight.sees_nothing(begun + BLIND * 2);
        sight.sees(begun + BLIND * 3);
        assert!(ready());
        sight.sees_nothing(begun + BLIND * 3 + Duration::from_secs(10));
        assert!(ready());
    }

    #[test]
    fn only_a_revision_that_goes_back_is_of_a_restored_store() {
        let mut seen = Seen::default();
        assert_eq!(
            [7, 7, 9, 4, 5, 9].map(|revision| seen.look(revision)),
            [false, false, false, true, false, false]
        );
    }
}
