//! `nexus get`: one event as agents get it, or its body as it came.

use std::io::Write as _;

use super::args::GetArgs;
use super::client::Client;
use super::{print, why};
use crate::api::EventStory;

/// Prints one event.
pub async fn run(client: &Client, args: &GetArgs) -> anyhow::Result<()> {
    let id = why::resolve(client, &args.event).await?;
    if args.raw {
        let body = client.get_bytes(&format!("events/{id}/raw")).await?;
        std::io::stdout().lock().write_all(&body)?;
        return Ok(());
    }
    let story: EventStory = client.get(&format!("events/{id}")).await?;
    print(&serde_json::to_string_pretty(&story.event)?)
}
