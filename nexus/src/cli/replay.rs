//! `nexus replay`: events are delivered once more, marked as replay.

mod chosen;
mod targets;

use std::collections::BTreeMap;

use anyhow::{anyhow, ensure};
use indicatif::{HumanBytes, ProgressBar};
use nexus_core::id::{EventId, TenantKey};
use serde::Serialize;

use self::chosen::{Chosen, Ids, Item};
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
    /// How many bytes those of a filter take.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    /// Who gets how many.
    targets: BTreeMap<String, usize>,
    /// How many copies that are in all.
    copies: usize,
    /// Copies that wait or are held there already and were left alone.
    waiting: usize,
    /// Events that were never routed yet, and will be by themselves.
    unrouted: usize,
    /// Events that concern nobody by the rules in force.
    nobody: usize,
    /// Events that are not there any more.
    unknown: usize,
    /// Events that cannot be read: a later version wrote them.
    unreadable: usize,
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
    let mut chosen = match args.events.is_empty() {
        true => Chosen::by_filter(client, &args.select).await?,
        false => Chosen::by_id(client, &args.events).await?,
    };
    let status: Status = client.get("status").await?;
    targets::check(&status, &mut chosen, target.as_deref())?;
    targets::note_full(&status, &chosen);
    let (count, bytes) = (chosen.count(), chosen.tenants().iter().map(|one| chosen.bytes(one)).sum());
    if args.events.is_empty() && !args.dry_run {
        let size = HumanBytes(Option::<u64>::unwrap_or_default(bytes));
        confirm::ask(&format!("Replay {count} events, {size}"), args.yes || count == 0)?;
    }
    let summary = Summary { dry_run: args.dry_run, bytes, ..Summary::default() };
    let bar = progress::bar(count as u64);
    let mut replay = Replay { client, target, bar, summary, last: None };
    let ended = tokio::select! {
        ended = replay.all(&chosen) => ended,
        _ = tokio::signal::ctrl_c() => Err(anyhow!("interrupted")),
    };
    if let Err(error) = ended {
        return Err(error.context(replay.how_far(&chosen)));
    }
    let summary = replay.summary;
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
    /// The last event that was gone through.
    last: Option<(TenantKey, Item)>,
}

impl Replay<'_> {
    /// Replays what was chosen, tenant by tenant, oldest first.
    async fn all(&mut self, chosen: &Chosen) -> anyhow::Result<()> {
        match chosen {
            Chosen::Named(tenants) => {
                for (tenant, ids) in tenants {
                    let items: Vec<Item> = ids.iter().map(|id| (*id, None)).collect();
                    for batch in items.chunks(MAX_BATCH) {
                        self.some(tenant, batch).await?;
                    }
                }
            }
            Chosen::Found { query, spans } => {
                for (tenant, span) in spans {
                    let mut ids = Ids::new(query, tenant, *span);
                    while let Some(batch) = ids.next(self.client, MAX_BATCH).await? {
                        self.some(tenant, &batch).await?;
                    }
                }
            }
        }
        self.bar.finish_and_clear();
        Ok(())
    }

    /// Replays a batch.
    async fn some(&mut self, tenant: &TenantKey, batch: &[Item]) -> anyhow::Result<()> {
        let events: Vec<EventId> = batch.iter().map(|(id, _)| *id).collect();
        let (target, dry_run) = (self.target.clone(), self.summary.dry_run);
        let request = ReplayRequest { events, target, dry_run };
        let answer: ReplayAnswer = self.client.post(&format!("tenants/{tenant}/replay"), &request).await?;
        self.summary.add(tenant, batch.len(), answer);
        self.bar.inc(batch.len() as u64);
        self.last = batch.last().map(|item| (tenant.clone(), *item));
        Ok(())
    }

    /// How far it came, and how to go on: what was acknowledged meanwhile would be delivered again from the beginning.
    fn how_far(&self, chosen: &Chosen) -> String {
        let (events, count) = (self.summary.events, chosen.count());
        if self.summary.dry_run {
            return format!("{events} of {count} events were looked at");
        }
        let Some((tenant, (id, received))) = &self.last else {
            return "nothing was replayed for certain; the events of the first request may have been"
                .to_owned();
        };
        let on = match received {
            Some(received) => format!("go on by --tenant {tenant} --since {received}"),
            None => format!("go on with those behind {id}"),
        };
        let rest: Vec<_> =
            chosen.tenants().iter().filter(|one| *one > tenant).map(ToString::to_string).collect();
        let rest = if rest.is_empty() { String::new() } else { format!(", then with {}", rest.join(", ")) };
        format!("{events} of {count} events were replayed, and those of one more request perhaps; {on}{rest}")
    }
}

impl Summary {
    fn add(&mut self, tenant: &TenantKey, events: usize, answer: ReplayAnswer) {
        self.events += events;
        self.copies += answer.copies;
        self.unknown += answer.unknown.len();
        self.unreadable += answer.unreadable.len();
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
    let Summary { dry_run, events, copies, waiting, unrouted, nobody, unknown, unreadable, .. } = summary;
    let verb = if *dry_run { "would be replayed" } else { "replayed" };
    let size = summary.bytes.map(|bytes| format!(", {}", HumanBytes(bytes))).unwrap_or_default();
    let mut text = format!(
        "{lines}\n{events} events chosen{size}; {copies} copies {verb}; left alone: {waiting} copies that wait or are \
         held, {unrouted} events that are not routed yet, {nobody} that concern nobody"
    );
    for (count, what) in
        [(unknown, "not there any more"), (unreadable, "cannot be read, written by a later version")]
    {
        if *count > 0 {
            text.push_str(&format!(", {count} {what}"));
        }
    }
    text
}
