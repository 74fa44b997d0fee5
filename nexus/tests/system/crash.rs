//! Nothing accepted is lost by kill -9, and little comes twice.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::agent::Agents;
use crate::harness::{Site, until};

const CRASHES: u32 = 10;
const CREDIT: u32 = 32;
const EVENTS_PER_SECOND: u64 = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_kills_under_load_lose_nothing() {
    let site = Arc::new(Site::new(&["coder"]));
    let mut nexus = site.start().await;
    let agents = Agents::start(&site, "coder", 1, CREDIT);
    let load = Load::start(&site);

    for crash in 1..=CRASHES {
        // Each crash comes while events flow: not before so many more were delivered.
        let goal = agents.read(|memory| memory.delivered.len()) + 100;
        until("events flow", || async {
            agents.read(|memory| (memory.delivered.len() >= goal).then_some(()))
        })
        .await;
        nexus.kill().await;
        nexus = site.start().await;
        let sessions = crash + 1;
        until("the agent is back", || async {
            agents.read(|memory| (memory.sessions >= sessions).then_some(()))
        })
        .await;
    }

    let accepted = load.end().await;
    until("everything arrives", || async {
        agents.read(|memory| accepted.iter().all(|id| memory.delivered.contains_key(id)).then_some(()))
    })
    .await;
    let (delivered, repeats) = agents.read(|memory| {
        let repeats: u32 = memory.delivered.values().map(|times| times - 1).sum();
        (memory.delivered.len(), repeats)
    });
    println!(
        "{CRASHES} kills: {} accepted, {delivered} received, 0 lost, {repeats} came twice",
        accepted.len()
    );
    assert!(repeats <= CRASHES * CREDIT, "{repeats} repeats are more than {CREDIT} a crash");
    assert!(accepted.len() >= 1000);
}

/// Posts new issues at a steady rate from several tasks.
struct Load {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<HashSet<String>>,
}

impl Load {
    fn start(site: &Arc<Site>) -> Self {
        const TASKS: u64 = 8;
        let stop = Arc::<AtomicBool>::default();
        let numbers = Arc::new(AtomicU64::new(1));
        let mut tasks = JoinSet::new();
        for _ in 0..TASKS {
            let (site, stop, numbers) = (Arc::clone(site), Arc::clone(&stop), Arc::clone(&numbers));
            tasks.spawn(async move {
                let mut accepted = HashSet::new();
                let mut tick = tokio::time::interval(Duration::from_millis(1000 * TASKS / EVENTS_PER_SECOND));
                while !stop.load(Ordering::Relaxed) {
                    tick.tick().await;
                    let number = numbers.fetch_add(1, Ordering::Relaxed);
                    accepted.extend(site.post_issue(number).await);
                }
                accepted
            });
        }
        Self { stop, tasks }
    }

    async fn end(mut self) -> HashSet<String> {
        self.stop.store(true, Ordering::Relaxed);
        let mut accepted = HashSet::new();
        while let Some(ids) = self.tasks.join_next().await {
            accepted.extend(ids.unwrap());
        }
        accepted
    }
}
