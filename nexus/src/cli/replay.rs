//! `nexus replay`: events are delivered once more, marked as replay.

mod chosen;

use std::collections::BTreeMap;

use anyhow::{Context as _, bail, ensure};
use indicatif::ProgressBar;
use nexus_core::id::{EventId, TenantKey};
use serde::Serialize;

use self::chosen::{Chosen, Ids};
use super::args::ReplayArgs;
use super::client::Client;
use super::output::{Output, note, table};
use super::{confirm, progress};
use crate::api::{MAX_BATCH, ReplayAnswer, ReplayRequest, Status};

/// What was replayed, or would be.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    dry_run: bool,
    /// Events that were chosen and gone through.
    events: usize,
    /// Who gets how many.
    targets: BTreeMap<String, usize>,
    /// Copies that wait or are held there already and were left alone.
    waiting: usize,
    /// Events that were never routed yet, and will be by themselves.
    unrouted: usize,
    /// Events that concern nobody by the rules in force.
    nobody: usize,
}

/// Replays.
pub async fn run(client: &Client, args: ReplayArgs, output: Output) -> anyhow::Result<()> {
    ensure!(
        args.events.is_empty() || args.select.is_empty(),
        "name events or choose them by --since, --until, --kind, --source or --tenant, not both"
    );
    ensure!(
        !args.events.is_empty() || !args.select.is_empty(),
        "say which events: by their ids, or by --since, --until, --kind, --source or --tenant"
    );
    let target = args
        .agent
        .clone()
        .or_else(|| args.alias.as_ref().map(|alias| format!("@{}", alias.trim_start_matches('@'))));
    let chosen = match args.events.is_empty() {
        true => Chosen::by_filter(client, &args.select).await?,
        false => Chosen::by_id(client, &args.events).await?,
    };
    let count = chosen.count();
    if args.events.is_empty() && !args.dry_run {
        confirm::ask(&format!("Replay {count} events"), args.yes || count == 0)?;
    }
    let summary = Summary { dry_run: args.dry_run, ..Summary::default() };
    let replay = Replay { client, target, bar: progress::bar(count as u64), summary };
    let summary = tokio::select! {
        summary = replay.all(&chosen) => summary?,
        _ = tokio::signal::ctrl_c() => bail!(
            "interrupted; the bar shows how far it came. Run it again: copies that wait already are left alone"
        ),
    };
    if !args.dry_run {
        held_back(client).await?;
    }
    output.show(&summary, show)
}

/// What is replayed, and how far it came.
struct Replay<'c> {
    client: &'c Client,
    target: Option<String>,
    bar: ProgressBar,
    summary: Summary,
}

impl Replay<'_> {
    /// Replays what was chosen, tenant by tenant, oldest first.
    async fn all(mut self, chosen: &Chosen) -> anyhow::Result<Summary> {
        match chosen {
            Chosen::Named(tenants) => {
                for (tenant, ids) in tenants {
                    self.some(tenant, ids).await?;
                }
            }
            Chosen::Found { query, spans, .. } => {
                for (tenant, span) in spans {
                    let mut ids = Ids::new(query, tenant, *span);
                    while let Some(batch) = ids.next(self.client, MAX_BATCH).await? {
                        self.some(tenant, &batch).await?;
                    }
                }
            }
        }
        self.bar.finish_and_clear();
        Ok(self.summary)
    }

    async fn some(&mut self, tenant: &TenantKey, ids: &[EventId]) -> anyhow::Result<()> {
        for batch in ids.chunks(MAX_BATCH) {
            let Summary { dry_run, events, .. } = self.summary;
            let request = ReplayRequest { events: batch.to_vec(), target: self.target.clone(), dry_run };
            let answer: ReplayAnswer =
                self.client.post(&format!("tenants/{tenant}/replay"), &request).await.with_context(|| {
                    format!("after {events} of {} events", self.bar.length().unwrap_or_default())
                })?;
            self.summary.add(tenant, batch.len(), answer);
            self.bar.inc(batch.len() as u64);
        }
        Ok(())
    }
}

impl Summary {
    fn add(&mut self, tenant: &TenantKey, events: usize, answer: ReplayAnswer) {
        self.events += events;
        for target in answer.targets {
            *self.targets.entry(format!("{tenant} {}", target.target)).or_default() += target.events;
        }
        self.waiting += answer.waiting;
        self.unrouted += answer.unrouted;
        self.nobody += answer.nobody;
    }
}

/// While a stop holds, replays wait like everything else.
async fn held_back(client: &Client) -> anyhow::Result<()> {
    let status: Status = client.get("status").await?;
    if !status.stops.is_empty() {
        note("a stop holds: what is replayed waits until it is released");
    }
    Ok(())
}

fn show(summary: &Summary) -> String {
    let mut lines = table(&["tenant and target", "events"]);
    for (target, events) in &summary.targets {
        lines.add_row([target.clone(), events.to_string()]);
    }
    let Summary { dry_run, events, waiting, unrouted, nobody, .. } = summary;
    let verb = if *dry_run { "would be replayed" } else { "replayed" };
    format!(
        "{lines}\n{events} events chosen; the copies above {verb}; left alone: {waiting} copies that wait or are held, \
         {unrouted} events that are not routed yet, {nobody} that concern nobody"
    )
}
