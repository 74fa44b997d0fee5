//! Watches the folder: told by the kernel where it can, and looking twice a second in any case.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use nexus_runtime::Drain;
use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use super::control::Control;

/// How often the folder is read without a hint: file systems exist that give none.
const POLL: Duration = Duration::from_millis(500);

/// How long a hint waits for the writer to finish: an editor empties a file before it writes it.
const SETTLE: Duration = Duration::from_millis(50);

/// Reloads until drained.
pub async fn run(
    control: Arc<Control>,
    folder: PathBuf,
    data: Option<PathBuf>,
    drain: Drain,
) -> anyhow::Result<()> {
    let changed = Arc::new(Notify::new());
    let hint = Arc::clone(&changed);
    // The watcher lives as long as this future. Without it the poll alone does.
    let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        if event.map_or(true, |event| matters(&event, data.as_deref())) {
            hint.notify_one();
        }
    });
    let watcher = watcher.and_then(|mut watcher| {
        watcher.watch(&folder, RecursiveMode::Recursive)?;
        Ok(watcher)
    });
    if let Err(error) = &watcher {
        tracing::info!(%error, "cannot watch the folder; reading it twice a second instead");
    }
    let mut poll = tokio::time::interval(POLL);
    poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = drain.cancelled() => return Ok(()),
            () = changed.notified() => tokio::time::sleep(SETTLE).await,
            _ = poll.tick() => {}
        }
        let control = Arc::clone(&control);
        let reload = tokio::task::spawn_blocking(move || control.reload());
        reload.await.context("reading the folder panicked")?;
        // A removal counts when two readings agree; one right behind the other would prove nothing.
        poll.reset();
    }
}

/// Whether an event may mean a change. Our own reading of the folder opens files, and the data folder may lie
/// inside: hints of either would make us read again without end.
fn matters(event: &Event, data: Option<&Path>) -> bool {
    let reading =
        matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write));
    let ours = !event.paths.is_empty()
        && data.is_some_and(|data| event.paths.iter().all(|path| path.starts_with(data)));
    !reading && !ours
}

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, ModifyKind};

    use super::*;

    #[test]
    fn reading_and_our_own_writes_are_no_hints() {
        let matters =
            |kind, path: &str| matters(&Event::new(kind).add_path(path.into()), Some(Path::new("/d/.nexus")));
        assert!(!matters(EventKind::Access(AccessKind::Open(AccessMode::Any)), "/d/a.yaml"));
        assert!(!matters(EventKind::Modify(ModifyKind::Any), "/d/.nexus/bus/1"));
        assert!(matters(EventKind::Access(AccessKind::Close(AccessMode::Write)), "/d/a.yaml"));
        assert!(matters(EventKind::Create(CreateKind::File), "/d/a.yaml"));
    }
}
