//! How the pods that are connected stand: an entry a stream, of which the latest of each pod is shown that has told anything. A
//! stream that has only begun says nothing of its pod, and to show that would take back what the pod told by the one before.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::pod::{Pod, Pods};

/// The entries of all streams.
#[derive(Debug, Default)]
pub(super) struct Entries {
    shown: watch::Sender<Arc<Pods>>,
    /// Of each pod its streams by number: while the next one of a pod begins, the former may not have ended yet, and where
    /// a replica has two addresses a pod has two streams for good.
    streams: Mutex<Streams>,
}

#[derive(Debug, Default)]
struct Streams {
    last: u64,
    by_pod: BTreeMap<String, BTreeMap<u64, Stream>>,
}

/// What a pod told over one stream.
#[derive(Debug)]
struct Stream {
    pod: Arc<Pod>,
    told: bool,
}

/// The entry of one stream. Dropping it takes it out.
#[derive(Debug)]
pub(super) struct Entry {
    entries: Arc<Entries>,
    pod: String,
    stream: u64,
}

impl Entries {
    /// What is shown.
    pub(super) fn shown(&self) -> watch::Receiver<Arc<Pods>> {
        self.shown.subscribe()
    }

    /// The entry of a stream that begins.
    pub(super) fn enter(self: &Arc<Self>, name: String, pod: Pod) -> Entry {
        let mut streams = self.streams();
        streams.last += 1;
        let stream = streams.last;
        streams
            .by_pod
            .entry(name.clone())
            .or_default()
            .insert(stream, Stream { pod: Arc::new(pod), told: false });
        Entry { entries: Arc::clone(self), pod: name, stream }
    }

    /// Shows the latest stream of a pod that told anything. The lock is held, so that nobody shows an older one afterwards.
    fn show(&self, streams: &Streams, name: &str) {
        let of_pod = streams.by_pod.get(name);
        let latest = of_pod.and_then(|streams| streams.values().rfind(|stream| stream.told));
        let latest = latest.map(|stream| &stream.pod);
        self.shown.send_if_modified(|pods| {
            let same = match (pods.get(name), latest) {
                (Some(shown), Some(pod)) => Arc::ptr_eq(shown, pod),
                (shown, latest) => shown.is_none() && latest.is_none(),
            };
            if !same {
                let pods = Arc::make_mut(pods);
                match latest {
                    Some(pod) => pods.insert(name.to_owned(), Arc::clone(pod)),
                    None => pods.remove(name),
                };
            }
            !same
        });
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// The pod's name.
    pub(super) fn pod(&self) -> &str {
        &self.pod
    }

    /// Changes what the stream told.
    pub(super) fn update<T>(&self, change: impl FnOnce(&mut Pod) -> T) -> Option<T> {
        let mut streams = self.entries.streams();
        let stream = streams.by_pod.get_mut(&self.pod).and_then(|streams| streams.get_mut(&self.stream))?;
        let mut next = Pod::clone(&stream.pod);
        let answer = change(&mut next);
        *stream = Stream { pod: Arc::new(next), told: true };
        self.entries.show(&streams, &self.pod);
        Some(answer)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut streams = self.entries.streams();
        if let Some(of_pod) = streams.by_pod.get_mut(&self.pod) {
            of_pod.remove(&self.stream);
            if of_pod.is_empty() {
                streams.by_pod.remove(&self.pod);
            }
        }
        self.entries.show(&streams, &self.pod);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Role, Stops};
    use super::*;

    #[test]
    fn the_latest_stream_of_a_pod_is_shown_and_a_pod_goes_with_its_last() {
        let entries = Arc::new(Entries::default());
        let shown = entries.shown();
        let known = || shown.borrow().get("pod").map(|pod| pod.stops.is_some());
        let enter = || entries.enter("pod".into(), Pod::new(Role::Gateway));
        let first = enter();
        assert_eq!(known(), None, "it told nothing");
        first.update(|pod| pod.stops = Some(Stops::default()));
        let second = enter();
        assert_eq!(known(), Some(true), "what the first told stands until the second tells");
        second.update(|pod| pod.stops = None);
        assert_eq!(known(), Some(false), "the second is shown");
        first.update(|pod| pod.stops = Some(Stops::default()));
        assert_eq!(known(), Some(false));
        drop(second);
        assert_eq!(known(), Some(true), "the first is there still");
        let third = enter();
        drop(first);
        assert_eq!(known(), None);
        third.update(|pod| pod.stops = None);
        assert_eq!(known(), Some(false));
        drop(third);
        assert_eq!(known(), None);
        assert!(entries.streams().by_pod.is_empty());
    }
}
