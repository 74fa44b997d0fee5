//! `nexus replay`: events are delivered once more, marked as replay.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail, ensure};
use nexus_core::id::{EventId, TenantKey};
use serde::Serialize;

use super::args::{ReplayArgs, SelectArgs};
use super::client::Client;
use super::output::{Output, note, table};
use super::pages::{self, Pages};
use super::{confirm, progress};
use crate::api::{MAX_BATCH, ReplayAnswer, ReplayRequest, Status};

/// What was replayed, or would be.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    dry_run: bool,
    /// Events that were chosen.
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
        true => by_filter(client, &args.select).await?,
        false => by_id(client, &args.events).await?,
    };
    let count: usize = chosen.iter().map(|(_, ids)| ids.len()).sum();
    if args.events.is_empty() && !args.dry_run {
        confirm::ask(&format!("Replay {count} events"), args.yes || count == 0)?;
    }
    let work = drive(client, &chosen, target, args.dry_run);
    let summary = tokio::select! {
        summary = work => summary?,
        _ = tokio::signal::ctrl_c() => bail!(
            "interrupted; the bar shows how far it came. Run it again: copies that wait already are left alone"
        ),
    };
    if !args.dry_run {
        held_back(client).await?;
    }
    output.show(&summary, show)
}

/// The events, oldest first, tenant by tenant.
async fn by_filter(client: &Client, select: &SelectArgs) -> anyhow::Result<Vec<(TenantKey, Vec<EventId>)>> {
    if let Some(why) = pages::unknown_source(client, select).await? {
        bail!(why);
    }
    let mut chosen = BTreeMap::<TenantKey, Vec<EventId>>::new();
    let mut pages = Pages::open(client, select, false, usize::MAX).await?;
    while let Some(line) = pages.next().await? {
        chosen.entry(line.tenant).or_default().push(line.id);
    }
    chosen.values_mut().for_each(|ids| ids.reverse());
    Ok(chosen.into_iter().collect())
}

/// The events by their ids: each must be there.
async fn by_id(client: &Client, ids: &[EventId]) -> anyhow::Result<Vec<(TenantKey, Vec<EventId>)>> {
    let mut chosen = BTreeMap::<TenantKey, Vec<EventId>>::new();
    for id in ids {
        let story: crate::api::EventStory = client.get(&format!("events/{id}")).await?;
        chosen.entry(story.event.tenant.clone()).or_default().push(*id);
    }
    Ok(chosen.into_iter().collect())
}

async fn drive(
    client: &Client,
    chosen: &[(TenantKey, Vec<EventId>)],
    target: Option<String>,
    dry_run: bool,
) -> anyhow::Result<Summary> {
    let count: usize = chosen.iter().map(|(_, ids)| ids.len()).sum();
    let bar = progress::bar(count as u64);
    let mut summary = Summary { dry_run, events: count, ..Summary::default() };
    for (tenant, ids) in chosen {
        for batch in ids.chunks(MAX_BATCH) {
            let request = ReplayRequest { events: batch.to_vec(), target: target.clone(), dry_run };
            let answer: ReplayAnswer = client
                .post(&format!("tenants/{tenant}/replay"), &request)
                .await
                .with_context(|| format!("after {} of {count} events", bar.position()))?;
            summary.add(tenant, answer);
            bar.inc(batch.len() as u64);
        }
    }
    bar.finish_and_clear();
    Ok(summary)
}

impl Summary {
    fn add(&mut self, tenant: &TenantKey, answer: ReplayAnswer) {
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
