//! `nexus send`: a provider on the command line.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use nexus_core::event::Provider;
use nexus_core::id::{EventId, TenantKey};
use nexus_core::secret::Secret;
use serde::Deserialize;

use super::args::SendArgs;
use super::client::Client;
use super::output::{Output, print};
use super::{sign, why};
use crate::api::{EventStory, SourceStatus, Status};
use crate::folder::Folder;
use crate::sample::Sample;

/// An event that has not moved for so long waits for an agent that is away.
const STILL: Duration = Duration::from_secs(1);

/// What ingest answers.
#[derive(Debug, Deserialize)]
struct Accepted {
    event: EventId,
}

/// A body and GitHub's name of its event.
struct Parcel {
    body: Vec<u8>,
    event: String,
}

/// Signs and posts a body, then waits for what the agents make of it.
pub async fn run(client: &Client, args: SendArgs, output: Output) -> anyhow::Result<()> {
    let status: Status = client.get("status").await?;
    let (tenant, source) = find_source(&status, &args)?;
    let provider = provider(source)?;
    let secret = signing_secret(&status, tenant, &source.name)?;
    let parcel = parcel(&args, provider)?;
    let now = nexus_runtime::clock::system().now();
    let mut request = client.http().post(&source.url);
    for (name, value) in sign::headers(provider, &secret, &parcel.body, &parcel.event, now) {
        request = request.header(name, value);
    }
    let answer =
        request.body(parcel.body).send().await.with_context(|| format!("cannot post to {}", source.url))?;
    let code = answer.status();
    let took = nexus_runtime::clock::system().now().duration_since(now);
    let text = answer.text().await.context("the answer broke off")?;
    anyhow::ensure!(code.is_success(), "{} answered {code}: {}", source.url, text.trim());
    let Ok(accepted) = serde_json::from_str::<Accepted>(&text) else {
        return print(&format!("{code}: {text}"));
    };
    let story = wait(client, accepted.event, Duration::from_secs(args.wait)).await?;
    match output {
        Output::Json => output.show(&story, |_| String::new()),
        Output::Table => {
            print(&format!("{code} after {:.1} ms\n\n{}", took.as_secs_f64() * 1000.0, why::show(&story)))
        }
    }
}

fn find_source<'s>(status: &'s Status, args: &SendArgs) -> anyhow::Result<(&'s TenantKey, &'s SourceStatus)> {
    let all =
        || status.tenants.iter().flat_map(|tenant| tenant.sources.iter().map(move |source| (tenant, source)));
    let found: Vec<_> = all()
        .filter(|(tenant, source)| {
            source.name == args.source && args.tenant.as_ref().is_none_or(|key| tenant.tenant == *key)
        })
        .collect();
    match found.as_slice() {
        [(tenant, source)] => Ok((&tenant.tenant, source)),
        [] => {
            let names: Vec<_> =
                all().map(|(tenant, source)| format!("{} of {}", source.name, tenant.tenant)).collect();
            anyhow::bail!("no source `{}`; there are: {}", args.source, names.join(", "))
        }
        _ => anyhow::bail!("several tenants have a source `{}`; choose with --tenant", args.source),
    }
}

fn provider(source: &SourceStatus) -> anyhow::Result<Provider> {
    serde_json::from_value(source.provider.as_str().into()).with_context(|| {
        format!("the server has a provider `{}` that this version does not know", source.provider)
    })
}

/// The signing secret comes from the folder, as the API never shows one.
fn signing_secret(status: &Status, tenant: &TenantKey, source: &str) -> anyhow::Result<Secret> {
    let folder = &status.folder;
    let reading = Folder::new(folder).read();
    reading
        .objects
        .signing_secret(tenant, source)
        .cloned()
        .with_context(|| format!("no signing secret of source `{source}` in {}", folder.display()))
}

fn parcel(args: &SendArgs, provider: Provider) -> anyhow::Result<Parcel> {
    if let Some(path) = &args.body {
        let body = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let event = args.event.clone().unwrap_or_default();
        anyhow::ensure!(
            provider != Provider::GitHub || !event.is_empty(),
            "GitHub names its event in a header: give --event, such as --event issues"
        );
        return Ok(Parcel { body, event });
    }
    let sample = Sample::find(provider, args.sample.as_deref())?;
    let now = nexus_runtime::clock::system().now();
    let number = u64::try_from(now.as_microsecond()).unwrap_or_default();
    Ok(Parcel { body: sample.body(number, now, args.text.as_deref()), event: sample.event.to_owned() })
}

/// The event's story once it is over, or has not moved for a while (an agent may be away), or as it stands
/// after `patience`.
async fn wait(client: &Client, id: EventId, patience: Duration) -> anyhow::Result<EventStory> {
    let path = format!("events/{id}");
    let mut story: EventStory = client.get(&path).await?;
    let began = Instant::now();
    let mut moved = began;
    while !story.is_over() && began.elapsed() < patience && moved.elapsed() < STILL {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let next: EventStory = client.get(&path).await?;
        if next != story {
            moved = Instant::now();
        }
        story = next;
    }
    Ok(story)
}
