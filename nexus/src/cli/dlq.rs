//! `nexus dlq`: events that were parked after their last attempt.

use std::collections::BTreeSet;

use anyhow::{bail, ensure};
use nexus_core::id::{EventId, InboxId, TenantKey};
use nexus_store::bus::Copy;
use serde::Serialize;

use super::args::{DlqVerb, WhichArgs, WhoseArgs};
use super::client::Client;
use super::output::{Output, age, clip, note, table};
use super::pages::{self, no_such};
use super::{confirm, why};
use crate::api::{
    DeadAnswer, DeadInbox, DeadInboxes, DeadLine, DeadPage, DeadRequest, EventStory, MAX_BATCH, Status,
    TenantLog,
};

/// Names that are shown of those that are gone.
const SHOWN: usize = 5;

/// An inbox in which something is parked.
#[derive(Debug, Clone)]
struct Place {
    tenant: TenantKey,
    /// The agent's name, or `@alias`, or the inbox's id if whose it was is not known.
    name: String,
    inbox: InboxId,
    gone: bool,
}

/// A parked event and where it is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Parked {
    tenant: TenantKey,
    /// The agent's name, or `@alias`, or the inbox's id if whose it was is not known.
    target: String,
    /// Whether there is no such agent or alias any more.
    gone: bool,
    inbox: InboxId,
    #[serde(flatten)]
    line: DeadLine,
}

/// Does one of the verbs.
pub async fn run(client: &Client, verb: DlqVerb, output: Output) -> anyhow::Result<()> {
    match verb {
        DlqVerb::Ls(whose) => {
            let parked = list(client, &whose).await?;
            output.show(&parked, |parked| show(parked))
        }
        DlqVerb::Show { event } => one(client, event, output).await,
        DlqVerb::Requeue(which) => {
            let chosen = of_somebody(choose(client, which).await?)?;
            let done = settle(client, chosen, "requeue").await?;
            output.show(&DeadAnswer { done }, |_| format!("{done} wait again"))
        }
        DlqVerb::Drop { which, yes } => {
            let chosen = choose(client, which).await?;
            confirm::ask(&format!("Give up {} parked copies for good", chosen.len()), yes)?;
            let done = settle(client, chosen, "drop").await?;
            output.show(&DeadAnswer { done }, |_| format!("{done} given up"))
        }
    }
}

/// The inboxes that are meant and in which something is parked.
async fn places(client: &Client, whose: &WhoseArgs) -> anyhow::Result<Vec<Place>> {
    let mut places = Vec::new();
    for TenantLog { tenant, .. } in pages::tenants(client, whose.tenant.as_ref()).await? {
        let mut after = None;
        loop {
            let query: Vec<_> = after.iter().map(|inbox: &InboxId| ("after", inbox.to_string())).collect();
            let page: DeadInboxes =
                client.get_query(&format!("tenants/{tenant}/dead/inboxes"), &query).await?;
            places.extend(page.inboxes.into_iter().map(|DeadInbox { inbox, target, gone }| {
                let name = target.unwrap_or_else(|| inbox.to_string());
                Place { tenant: tenant.clone(), name, inbox, gone }
            }));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    let (what, wanted) = match (&whose.agent, &whose.alias) {
        (Some(agent), _) => ("agent", agent.clone()),
        (_, Some(alias)) => ("alias with a shared inbox", format!("@{}", alias.trim_start_matches('@'))),
        _ => return Ok(places),
    };
    let mut known = owners(client, whose).await?;
    known.extend(places.iter().map(|place| place.name.clone()));
    ensure!(known.contains(&wanted), no_such(what, &wanted, &known.into_iter().collect::<Vec<_>>()));
    places.retain(|place| place.name == wanted);
    Ok(places)
}

/// Who has an inbox by the rules in force.
async fn owners(client: &Client, whose: &WhoseArgs) -> anyhow::Result<BTreeSet<String>> {
    let status: Status = client.get("status").await?;
    let tenants =
        status.tenants.into_iter().filter(|one| whose.tenant.as_ref().is_none_or(|key| *key == one.tenant));
    let names = tenants.flat_map(|tenant| {
        let shared = tenant.aliases.into_iter().filter(|alias| alias.shared.is_some());
        let agents = tenant.agents.into_iter().map(|agent| agent.name);
        agents.chain(shared.map(|alias| format!("@{}", alias.name)))
    });
    Ok(names.collect())
}

async fn list(client: &Client, whose: &WhoseArgs) -> anyhow::Result<Vec<Parked>> {
    let mut parked = Vec::new();
    for place in places(client, whose).await? {
        let mut after = None;
        loop {
            let mut query = vec![("inbox", place.inbox.to_string()), ("limit", MAX_BATCH.to_string())];
            query.extend(after.map(|seq: u64| ("after", seq.to_string())));
            let page: DeadPage = client.get_query(&format!("tenants/{}/dead", place.tenant), &query).await?;
            parked.extend(page.events.into_iter().map(|line| Parked {
                tenant: place.tenant.clone(),
                target: place.name.clone(),
                gone: place.gone,
                inbox: place.inbox,
                line,
            }));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    Ok(parked)
}

fn show(parked: &[Parked]) -> String {
    let now = nexus_runtime::clock::system().now();
    let mut lines =
        table(&["event", "parked", "tenant", "for", "kind", "attempts", "bytes", "title", "reason"]);
    for Parked { tenant, target, gone, line, .. } in parked {
        lines.add_row([
            line.id.to_string(),
            age(line.parked, now),
            tenant.to_string(),
            if *gone { format!("{target} (gone)") } else { target.clone() },
            line.kind.map_or_else(|| "?".to_owned(), |kind| kind.to_string()),
            line.attempts.to_string(),
            line.bytes.to_string(),
            clip(line.title.as_deref().unwrap_or("-"), 40),
            clip(&line.reason, 60),
        ]);
    }
    if parked.is_empty() { "nothing is parked".to_owned() } else { lines.to_string() }
}

async fn one(client: &Client, event: EventId, output: Output) -> anyhow::Result<()> {
    let story: EventStory = client.get(&format!("events/{event}")).await?;
    let is_parked = story.copies.iter().any(|copy| matches!(copy.copy, Copy::Dead { .. }));
    ensure!(is_parked, "event {event} is not parked anywhere; `nexus why {event}` tells what became of it");
    let whole = serde_json::to_string_pretty(&story.event)?;
    output.show(&story, |story| format!("{}\n{whole}", why::show(story)))
}

/// The parked copies that are meant; an event that is not parked is an error, so that a slip shows.
async fn choose(client: &Client, which: WhichArgs) -> anyhow::Result<Vec<Parked>> {
    let mut parked = list(client, &which.whose).await?;
    if which.all {
        return Ok(parked);
    }
    for event in &which.events {
        if !parked.iter().any(|one| one.line.id == *event) {
            bail!("event {event} is not parked there; `nexus dlq ls` lists what is");
        }
    }
    parked.retain(|one| which.events.contains(&one.line.id));
    Ok(parked)
}

/// Leaves out what is parked for those that are gone; an error if that is all of it.
fn of_somebody(chosen: Vec<Parked>) -> anyhow::Result<Vec<Parked>> {
    let (gone, chosen): (Vec<_>, Vec<_>) = chosen.into_iter().partition(|parked| parked.gone);
    let Some(first) = gone.first() else {
        return Ok(chosen);
    };
    let names: BTreeSet<_> = gone.iter().map(|parked| parked.target.as_str()).collect();
    let names: Vec<_> = names.into_iter().take(SHOWN).collect();
    let why = format!(
        "{} of the parked copies would wait for nobody, as whom they are for is gone ({}): `nexus replay {} --agent NAME` \
         delivers an event to another agent, `nexus dlq drop` gives it up",
        gone.len(),
        names.join(", "),
        first.line.id
    );
    ensure!(!chosen.is_empty(), why);
    note(&why);
    Ok(chosen)
}

/// Requeues or drops, inbox by inbox, in requests of bounded size.
async fn settle(client: &Client, chosen: Vec<Parked>, verb: &str) -> anyhow::Result<usize> {
    let mut done = 0;
    let mut rest = chosen.as_slice();
    while let Some(first) = rest.first() {
        let same = rest.iter().take_while(|one| (&one.tenant, one.inbox) == (&first.tenant, first.inbox));
        let (batch, after) = rest.split_at(same.take(MAX_BATCH).count());
        let events = batch.iter().map(|one| one.line.id).collect();
        let request = DeadRequest { inbox: first.inbox, events };
        let answer: DeadAnswer =
            client.post(&format!("tenants/{}/dead/{verb}", first.tenant), &request).await?;
        done += answer.done;
        rest = after;
    }
    Ok(done)
}
