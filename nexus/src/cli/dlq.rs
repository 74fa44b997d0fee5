//! `nexus dlq`: events that were parked after their last attempt.

use anyhow::{Context as _, bail, ensure};
use nexus_core::id::{AgentId, EventId, InboxId, TenantKey};
use nexus_store::bus::Copy;
use serde::Serialize;

use super::args::{DlqVerb, WhichArgs, WhoseArgs};
use super::client::Client;
use super::output::{Output, age, clip, print, table};
use super::pages::no_such;
use super::{confirm, why};
use crate::api::{DeadAnswer, DeadLine, DeadPage, DeadRequest, EventStory, MAX_BATCH, Status};

/// An inbox that can hold parked events.
#[derive(Debug, Clone)]
struct Place {
    tenant: TenantKey,
    /// The agent's name, or `@alias`.
    name: String,
    inbox: InboxId,
}

/// A parked event and where it is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Parked {
    tenant: TenantKey,
    /// The agent's name, or `@alias`.
    target: String,
    #[serde(skip)]
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
            let chosen = choose(client, which).await?;
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

/// The inboxes that are meant.
async fn places(client: &Client, whose: &WhoseArgs) -> anyhow::Result<Vec<Place>> {
    let status: Status = client.get("status").await?;
    let tenants: Vec<_> = status.tenants.iter().map(|tenant| tenant.tenant.to_string()).collect();
    if let Some(wanted) = whose.tenant.as_ref().map(ToString::to_string) {
        ensure!(tenants.contains(&wanted), no_such("tenant", &wanted, &tenants));
    }
    let mut places = Vec::new();
    for tenant in
        status.tenants.iter().filter(|one| whose.tenant.as_ref().is_none_or(|key| *key == one.tenant))
    {
        for agent in &tenant.agents {
            let id: AgentId = agent.id.parse().context("the server names an agent by no id")?;
            let place = Place { tenant: tenant.tenant.clone(), name: agent.name.clone(), inbox: id.inbox() };
            places.push(place);
        }
        for alias in &tenant.aliases {
            if let Some(shared) = &alias.shared {
                let name = format!("@{}", alias.name);
                places.push(Place { tenant: tenant.tenant.clone(), name, inbox: shared.inbox });
            }
        }
    }
    let wanted = match (&whose.agent, &whose.alias) {
        (Some(agent), _) => Some(("agent", agent.clone())),
        (_, Some(alias)) => {
            Some(("alias with a shared inbox", format!("@{}", alias.trim_start_matches('@'))))
        }
        _ => None,
    };
    if let Some((what, wanted)) = wanted {
        let names: Vec<_> = places.iter().map(|place| place.name.clone()).collect();
        places.retain(|place| place.name == wanted);
        ensure!(!places.is_empty(), no_such(what, &wanted, &names));
    }
    Ok(places)
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
    for Parked { tenant, target, line, .. } in parked {
        lines.add_row([
            line.id.to_string(),
            age(line.parked, now),
            tenant.to_string(),
            target.clone(),
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
    match output {
        Output::Json => print(&serde_json::to_string_pretty(&story)?),
        Output::Table => {
            why::run(client, &event.to_string(), output).await?;
            print(&format!("\n{}", serde_json::to_string_pretty(&story.event)?))
        }
    }
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
