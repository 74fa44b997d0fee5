//! `nexus events`.

mod follow;

use anyhow::Context as _;

use super::args::EventsArgs;
use super::client::Client;
use super::output::{Output, age, clip, print, table};
use super::pages::{self, Pages};
use crate::api::EventLine;

/// Lists events, newest first, or prints them as they come.
pub async fn run(client: &Client, args: EventsArgs, output: Output) -> anyhow::Result<()> {
    if args.follow {
        return follow::run(client, &args, output).await;
    }
    let limit = usize::try_from(args.limit)?;
    let mut pages = Pages::open(client, &args.select, args.full, limit).await?;
    if !args.full {
        let events = pages.take(limit).await?;
        known_source(client, &args, events.len()).await?;
        return output.show(&events, |events| show(events));
    }
    // However many they are, only a page of them is held.
    let mut count = 0;
    while count < limit {
        let Some(line) = pages.next().await? else {
            break;
        };
        print(&whole(&line)?)?;
        count += 1;
    }
    known_source(client, &args, count).await
}

/// Refuses a source that is none, if there are no events of it either.
async fn known_source(client: &Client, args: &EventsArgs, found: usize) -> anyhow::Result<()> {
    if found > 0 || args.limit == 0 {
        return Ok(());
    }
    match pages::unknown_source(client, &args.select).await? {
        Some(why) => anyhow::bail!(why),
        None => Ok(()),
    }
}

/// An event as agents get it, on one line.
fn whole(line: &EventLine) -> anyhow::Result<String> {
    let event = line
        .event
        .as_ref()
        .with_context(|| format!("the server gave event {} without its content", line.id))?;
    Ok(serde_json::to_string(event)?)
}

fn show(events: &[EventLine]) -> String {
    let now = nexus_runtime::clock::system().now();
    let mut lines = table(&["id", "age", "source", "kind", "routed", "title"]);
    for event in events {
        lines.add_row([
            event.id.to_string(),
            age(event.received, now),
            format!("{}/{}", event.tenant, event.source),
            event.kind.to_string(),
            if event.routed { "yes" } else { "no" }.to_owned(),
            clip(event.title.as_deref().unwrap_or("-"), 60),
        ]);
    }
    lines.to_string()
}
