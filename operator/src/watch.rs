//! Watches: of all objects of a kind, and of single objects by their names.
//!
//! A watch is begun anew at least every [`LIFE`], so that a connection that died without a word is noticed soon after. Whoever is
//! watched by name needs no right to list others: an API server grants that by `resourceNames`.
//!
//! After a failure, and when the store was restored, it begins with a list. Where it left off may be a revision that a restored
//! store has not reached yet: there it would be deaf.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;

use futures_util::{StreamExt as _, pin_mut};
use k8s_openapi::NamespaceResourceScope;
use kube::core::Status;
use kube::runtime::watcher::{self, Config, Event, watcher};
use kube::{Api, Client, Resource};
use nexus_core::backoff::Backoff;
use nexus_runtime::Drain;
use nexus_runtime::tasks::chain;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use crate::engine::Observed;
use crate::objects::Key;
use crate::store::Restored;

/// How long a watch may live, in seconds.
pub(crate) const LIFE: u32 = 25;

/// The same of a single Secret; there may be thousands.
pub(crate) const LIFE_OF_SECRETS: u32 = 60;

/// Why something cannot be read that nobody grants.
pub(crate) const FORBIDDEN: &str = "forbidden";

/// The first pause after a failure, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// A watch that lasted so long was a good one: what ends it is no failure like those before.
const LASTED: Duration = Duration::from_secs(10);

/// The longest pause of a watch by name: there may be thousands that nobody grants.
const LONGEST_BY_NAME: Duration = Duration::from_secs(30);

/// Within this time all that are watched by name are read anew when the store was restored.
const SPREAD: Duration = Duration::from_secs(5);

/// Nobody takes what is watched any more: the process ends.
#[derive(Debug, thiserror::Error)]
#[error("nobody takes what the watch of {0} tells")]
pub(crate) struct Unheard(&'static str);

/// Watches all objects of a kind until drained.
///
/// # Errors
/// When nobody takes what it tells.
pub(crate) async fn all<K, C>(
    what: &'static str,
    api: Api<K>,
    labels: Option<&str>,
    change: impl Fn(Event<K>) -> C,
    changes: mpsc::Sender<C>,
    mut restored: Restored,
    drain: Drain,
) -> Result<(), Unheard>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let config = Config::default().timeout(LIFE);
    let config = match labels {
        Some(labels) => config.labels(labels),
        None => config,
    };
    let mut pause = Pause::new(PAUSE.1);
    loop {
        let events = watcher(api.clone(), config.clone());
        pin_mut!(events);
        restored.forget();
        let begun = Instant::now();
        let error = loop {
            let event = tokio::select! {
                () = drain.cancelled() => return Ok(()),
                () = restored.again() => break None,
                event = events.next() => event.ok_or(Unheard(what))?,
            };
            match event {
                Ok(event) => changes.send(change(event)).await.map_err(|_| Unheard(what))?,
                Err(error) => break Some(error),
            }
        };
        let Some(error) = error else { continue };
        failed(what, &error);
        tokio::select! {
            () = drain.cancelled() => return Ok(()),
            () = tokio::time::sleep(pause.after(begun.elapsed())) => {}
        }
    }
}

fn failed(what: &'static str, error: &watcher::Error) {
    metrics::counter!("nexus_operator_watch_failures_total", "kind" => what).increment(1);
    tracing::warn!(error = chain(error), "cannot watch {what}; trying again");
}

/// The pauses after failures, which grow while no watch lasts.
struct Pause(Backoff);

impl Pause {
    fn new(longest: Duration) -> Self {
        Self(Backoff::new(PAUSE.0, longest))
    }

    /// The pause after a watch that lasted so long. That its list was answered says nothing: the watch itself may be refused.
    fn after(&mut self, lasted: Duration) -> Duration {
        if lasted >= LASTED {
            self.0.reset();
        }
        self.0.next(rand::random_range(0.5..=1.0))
    }
}

/// Watches objects by their names, as many as are wanted.
pub(crate) struct Named<K, T, C> {
    what: &'static str,
    /// How long a watch may live, in seconds.
    life: u32,
    client: Client,
    /// What is told of an object.
    read: fn(K) -> T,
    change: fn(Key, Observed<T>) -> C,
    changes: mpsc::Sender<C>,
    restored: Restored,
}

impl<K, T, C> Named<K, T, C>
where
    K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug + Send + 'static,
    K::DynamicType: Default,
    T: Send + 'static,
    C: Send + 'static,
{
    /// One that watches nothing yet.
    pub(crate) fn new(
        what: &'static str,
        life: u32,
        client: Client,
        read: fn(K) -> T,
        change: fn(Key, Observed<T>) -> C,
        changes: mpsc::Sender<C>,
        restored: Restored,
    ) -> Self {
        Self { what, life, client, read, change, changes, restored }
    }

    /// Watches what is wanted until drained.
    ///
    /// # Errors
    /// When one of the watches ends.
    pub(crate) async fn run(
        self,
        mut wanted: watch::Receiver<BTreeSet<Key>>,
        drain: Drain,
    ) -> Result<(), Unheard> {
        let mut watches = JoinSet::new();
        let mut watched: BTreeMap<Key, AbortHandle> = BTreeMap::new();
        loop {
            let now = wanted.borrow_and_update().clone();
            watched.retain(|key, watch| {
                let stays = now.contains(key);
                if !stays {
                    watch.abort();
                }
                stays
            });
            for key in now {
                watched.entry(key.clone()).or_insert_with(|| watches.spawn(self.one(key)));
            }
            tokio::select! {
                () = drain.cancelled() => return Ok(()),
                changed = wanted.changed() => changed.map_err(|_| Unheard(self.what))?,
                Some(ended) = watches.join_next() => match ended {
                    Err(error) if error.is_cancelled() => {}
                    _ => return Err(Unheard(self.what)),
                }
            }
        }
    }

    /// Watches one object for as long as its future is driven.
    fn one(&self, key: Key) -> impl Future<Output = ()> + Send + 'static {
        let (what, life, read, change, changes) =
            (self.what, self.life, self.read, self.change, self.changes.clone());
        let mut restored = self.restored.clone();
        let api: Api<K> = Api::namespaced(self.client.clone(), &key.0);
        async move {
            let config = Config::default().timeout(life).fields(&format!("metadata.name={}", key.1));
            let mut pause = Pause::new(LONGEST_BY_NAME);
            loop {
                let events = watcher(api.clone(), config.clone());
                pin_mut!(events);
                restored.forget();
                let (mut listed, begun) = (None, Instant::now());
                let error = loop {
                    let event = tokio::select! {
                        () = restored.again() => break None,
                        event = events.next() => event,
                    };
                    let told = match event {
                        Some(Ok(Event::Init)) => {
                            listed = None;
                            continue;
                        }
                        Some(Ok(Event::InitApply(object))) => {
                            listed = Some(object);
                            continue;
                        }
                        Some(Ok(Event::InitDone)) => {
                            listed.take().map_or(Observed::Missing, |object| Observed::There(read(object)))
                        }
                        Some(Ok(Event::Apply(object))) => Observed::There(read(object)),
                        Some(Ok(Event::Delete(_))) => Observed::Missing,
                        Some(Err(error)) => break Some(error),
                        None => return,
                    };
                    if changes.send(change(key.clone(), told)).await.is_err() {
                        return;
                    }
                };
                let Some(error) = error else {
                    // There may be thousands.
                    tokio::time::sleep(SPREAD.mul_f64(rand::random_range(0.0..=1.0))).await;
                    continue;
                };
                metrics::counter!("nexus_operator_watch_failures_total", "kind" => what).increment(1);
                tracing::debug!(
                    error = chain(&error),
                    namespace = key.0,
                    name = key.1,
                    "cannot watch {what}"
                );
                if changes.send(change(key.clone(), Observed::Unreadable(why(&error)))).await.is_err() {
                    return;
                }
                // What nobody may read is asked for ever more seldom.
                tokio::time::sleep(pause.after(begun.elapsed())).await;
            }
        }
    }
}

/// Why something cannot be read, in a few words for a condition: the same words each time.
fn why(error: &watcher::Error) -> String {
    let source = match error {
        watcher::Error::InitialListFailed(source)
        | watcher::Error::WatchStartFailed(source)
        | watcher::Error::WatchFailed(source) => source,
        watcher::Error::WatchError(status) => return reason(status),
        watcher::Error::NoResourceVersion => return "no answer that makes sense".to_owned(),
    };
    match source {
        kube::Error::Api(status) => reason(status),
        _ => "the API server does not answer".to_owned(),
    }
}

fn reason(status: &Status) -> String {
    if status.code == 403 { FORBIDDEN.to_owned() } else { status.reason.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_until_a_watch_lasts() {
        let mut pause = Pause::new(PAUSE.1);
        let mut after = |lasted| pause.after(Duration::from_secs(lasted)).as_secs_f64();
        let first = after(0);
        assert!((0.1..=0.2).contains(&first), "{first}");
        let seventh = (0..6).map(|_| after(1)).fold(0.0, f64::max);
        assert!((2.5..=5.0).contains(&seventh), "{seventh}");
        assert!(after(10) <= 0.2);
    }
}
