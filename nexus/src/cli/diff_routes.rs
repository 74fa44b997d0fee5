//! `nexus diff-routes`: which events would go elsewhere by the rules of an edited folder.
//!
//! Exit status as of `diff`: 0 nothing moves, 1 something does, 2 trouble.

mod compare;
mod recorded;
mod rules;
#[cfg(test)]
mod samples;

use std::process::ExitCode;

use indicatif::ProgressBar;
use nexus_core::event::StandardEvent;
use serde::Serialize;

use self::compare::{Agents, Moved, Rules, Turn};
use super::args::DiffRoutesArgs;
use super::client::Client;
use super::output::{Output, clip, note, table};
use super::pages::{Pages, no_such, unknown_source};
use super::progress;
use crate::api::Routing;

/// Exit status when something moves.
const MOVES: u8 = 1;

/// Exit status when nothing could be compared.
pub const TROUBLE: u8 = 2;

/// What comes of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// How many events were compared.
    compared: usize,
    /// Those that would go elsewhere, newest first.
    moved: Vec<Moved>,
    /// Agents that stand on one side only.
    agents: Agents,
}

/// Compares and shows.
pub async fn run(client: &Client, args: DiffRoutesArgs, output: Output) -> anyhow::Result<ExitCode> {
    let (before, after) = sides(client, &args).await?;
    let mut report = Report { compared: 0, moved: Vec::new(), agents: before.agents(&after) };
    let bar = progress::bar(u64::from(args.limit));
    match &args.events {
        Some(_) => report.read_file(&before, &after, &args, &bar)?,
        None => report.ask_server(client, &before, &after, &args, &bar).await?,
    }
    bar.finish_and_clear();
    if report.compared == 0 {
        nothing(client, &args).await?;
    }
    output.show(&report, show)?;
    Ok(if report.moved.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(MOVES) })
}

/// Nothing was compared, which is no proof that nothing moves: an error, unless it may be so.
async fn nothing(client: &Client, args: &DiffRoutesArgs) -> anyhow::Result<()> {
    // Whether a source is known tells the server alone.
    if args.events.is_none()
        && let Some(why) = unknown_source(client, &args.select).await?
    {
        anyhow::bail!(why);
    }
    anyhow::ensure!(
        args.allow_empty,
        "no event was compared: there is none that the arguments choose; if that is well, say --allow-empty"
    );
    note("no event was compared");
    Ok(())
}

/// The rules before and after.
async fn sides(client: &Client, args: &DiffRoutesArgs) -> anyhow::Result<(Rules, Rules)> {
    let after = folder(&args.dir)?;
    let before = match &args.against {
        Some(against) => folder(against)?,
        None => Rules::build(&client.get::<Routing>("routing").await?.tenants),
    };
    if let Some(tenant) = &args.select.tenant
        && !before.has(tenant)
        && !after.has(tenant)
    {
        let known: Vec<_> = before.tenants().chain(after.tenants()).map(ToString::to_string).collect();
        anyhow::bail!(no_such("tenant", &tenant.to_string(), &known));
    }
    Ok((before, after))
}

fn folder(path: &std::path::Path) -> anyhow::Result<Rules> {
    let read = rules::read(path)?;
    for line in &read.notes {
        note(&format!("{}: {line}", path.display()));
    }
    Ok(Rules::build(&read.snapshots))
}

impl Report {
    async fn ask_server(
        &mut self,
        client: &Client,
        before: &Rules,
        after: &Rules,
        args: &DiffRoutesArgs,
        bar: &ProgressBar,
    ) -> anyhow::Result<()> {
        let limit = usize::try_from(args.limit)?;
        let mut pages = Pages::open(client, &args.select, true, limit).await?;
        while self.compared < limit {
            let Some(line) = pages.next().await? else {
                break;
            };
            match line.event {
                Some(event) => self.take(before, after, &event, bar),
                None => anyhow::bail!("the server gave event {} without its content", line.id),
            }
        }
        Ok(())
    }

    fn read_file(
        &mut self,
        before: &Rules,
        after: &Rules,
        args: &DiffRoutesArgs,
        bar: &ProgressBar,
    ) -> anyhow::Result<()> {
        let Some(path) = &args.events else {
            return Ok(());
        };
        let now = nexus_runtime::clock::system().now();
        for event in recorded::newest(path, &args.select, usize::try_from(args.limit)?, now)? {
            self.take(before, after, &event, bar);
        }
        Ok(())
    }

    fn take(&mut self, before: &Rules, after: &Rules, event: &StandardEvent, bar: &ProgressBar) {
        self.compared += 1;
        self.moved.extend(before.moved(after, event));
        bar.inc(1);
    }
}

fn show(report: &Report) -> String {
    let mut text = String::new();
    if !report.moved.is_empty() {
        let mut lines = table(&["event", "kind", "title", "before → after", "why"]);
        for moved in &report.moved {
            let why: Vec<_> = moved
                .changes
                .iter()
                .map(|change| format!("{}{}: {}", sign(change.change), change.target, change.why))
                .collect();
            lines.add_row([
                moved.id.to_string(),
                moved.kind.to_string(),
                clip(moved.title.as_deref().unwrap_or("-"), 40),
                format!("{} → {}", names(&moved.before), names(&moved.after)),
                why.join("\n"),
            ]);
        }
        text = format!("{lines}\n\n");
    }
    for (agents, what) in [(&report.agents.added, "new"), (&report.agents.removed, "gone")] {
        if !agents.is_empty() {
            text.push_str(&format!("{what}: {}\n", agents.join(", ")));
        }
    }
    let (moved, compared) = (report.moved.len(), report.compared);
    let go = if moved == 1 { "goes" } else { "go" };
    text.push_str(&match moved {
        0 => format!("none of {compared} events goes elsewhere"),
        _ => format!("{moved} of {compared} events {go} elsewhere"),
    });
    text
}

fn sign(turn: Turn) -> &'static str {
    match turn {
        Turn::Gains => "+",
        Turn::Loses => "-",
        Turn::Shares => "~",
    }
}

fn names(targets: &[String]) -> String {
    if targets.is_empty() { "nobody".to_owned() } else { targets.join(", ") }
}
