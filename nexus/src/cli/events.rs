//! `nexus events`.

use super::args::EventsArgs;
use super::client::Client;
use super::output::{Output, age, clip, table};
use crate::api::EventLine;

/// Lists events, newest first.
pub async fn run(client: &Client, args: EventsArgs, output: Output) -> anyhow::Result<()> {
    let events = list(client, &args).await?;
    output.show(&events, |events| show(events))
}

/// Events as the arguments choose them.
pub async fn list(client: &Client, args: &EventsArgs) -> anyhow::Result<Vec<EventLine>> {
    let mut path = format!("events?limit={}", args.limit);
    if let Some(kind) = args.kind {
        path.push_str(&format!("&kind={kind}"));
    }
    if let Some(tenant) = &args.tenant {
        path.push_str(&format!("&tenant={tenant}"));
    }
    client.get(&path).await
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
