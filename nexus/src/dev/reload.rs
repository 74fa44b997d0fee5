//! Watches the folder: told by the kernel where it can, and looking twice a second in any case.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use nexus_runtime::Drain;
use notify::{RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use super::control::Control;

/// How often the folder is read without a hint: file systems exist that give none.
const POLL: Duration = Duration::from_millis(500);

/// How long a hint waits for the writer to finish: an editor empties a file before it writes it.
const SETTLE: Duration = Duration::from_millis(50);

/// Reloads until drained.
pub async fn run(control: Arc<Control>, folder: &Path, drain: Drain) -> anyhow::Result<()> {
    let changed = Arc::new(Notify::new());
    let hint = Arc::clone(&changed);
    // The watcher lives as long as this future. Without it the poll alone does.
    let watcher = notify::recommended_watcher(move |_| hint.notify_one()).and_then(|mut watcher| {
        watcher.watch(folder, RecursiveMode::Recursive)?;
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
    }
}
