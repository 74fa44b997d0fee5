//! Many agents at rest on one gateway over Redis: what they cost, how fast a stop cuts them off, and how they come back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde::Serialize;
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::Error;

use crate::args::{IdleArgs, Output, Transport};
use crate::compare::progress;
use crate::fleet::Fleet;
use crate::ledger::Ledger;
use crate::pair::{self, Lone};
use crate::redis::Commands;
use crate::socket::connect;
use crate::{folder, machine, process, report};

/// How long all sockets may take to close before the run fails.
const CLOSE: Duration = Duration::from_secs(60);

/// How long a release may take until an agent is let in again.
const RELEASE: Duration = Duration::from_secs(20);

/// Room for sessions beyond those that are measured: that which asks whether the stop still holds.
const SPARE_SESSIONS: u32 = 64;

/// What all of it came to.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// From the start of the process until it was ready, with all profiles in its folder.
    pub start_seconds: f64,
    /// The gateway's resident memory with a folder of no agents, and with all profiles; nobody connected.
    pub bare_bytes: f64,
    pub profiles_bytes: f64,
    /// Access tokens that the gateway gave in a second.
    pub tokens_per_second: f64,
    pub levels: Vec<Level>,
    pub stop: Stop,
}

/// So many agents at rest.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Level {
    pub agents: u32,
    pub resident_bytes: f64,
    /// What the connected agents add, each.
    pub bytes_per_agent: Option<f64>,
    /// CPU seconds per second.
    pub gateway_cpu: f64,
    pub redis_cpu: f64,
    /// Commands a second, those within scripts included, and which.
    pub redis_commands: f64,
    pub commands: Vec<(String, f64)>,
}

/// A stop by the folder's policy, and its release. Times run from the renaming of the file.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stop {
    pub first_goodbye_ms: f64,
    pub last_goodbye_ms: f64,
    pub goodbyes: u64,
    pub last_byte_ms: f64,
    pub first_closed_ms: f64,
    pub last_closed_ms: f64,
    /// The gateway's memory when all are gone.
    pub emptied_bytes: f64,
    /// From the release of the folder until the first agent was let in.
    pub released_ms: f64,
    /// From then until all were back.
    pub reopened_ms: f64,
    /// The most that came back within one second.
    pub peak_per_second: usize,
    pub mean_per_second: f64,
    /// The gateway's memory when all are back.
    pub back_bytes: f64,
}

/// Runs it once and shows the tables.
pub async fn run(args: &IdleArgs, output: Output) -> anyhow::Result<()> {
    machine::raise_files(args.agents)?;
    let levels = [args.agents / 10, args.agents];
    let progress = progress(6)?;
    let step = |what: String| {
        progress.inc(1);
        progress.set_message(what);
    };
    step("a gateway without agents".to_owned());
    let (bare, _) = Lone::start(&args.common(0), SPARE_SESSIONS).await?;
    let bare_bytes = process::settled_bytes(bare.process.pid).await?;
    bare.end().await?;

    step(format!("a gateway with {} profiles", args.agents));
    let (site, start) = Lone::start(&args.common(args.agents), args.agents + SPARE_SESSIONS).await?;
    let mut drill = Drill { args, site, tokens: Vec::new(), ledger: Arc::new(Ledger::new(None)?) };
    let result = async {
        let none = drill.watch(0, None).await?;
        let asked = Instant::now();
        drill.tokens = pair::tokens(drill.site.gateway, args.agents).await?;
        let tokens_per_second = f64::from(args.agents) / asked.elapsed().as_secs_f64();
        let (profiles_bytes, mut seen) = (none.resident_bytes, vec![none]);
        // Tokens cost memory once; what stays of it is no agent's.
        let empty = process::settled_bytes(drill.site.process.pid).await?;
        let (mut fleets, mut connected) = (Vec::new(), 0);
        for level in levels {
            step(format!("{level} agents at rest"));
            fleets.push(drill.connect(connected, level).await?);
            connected = level;
            seen.push(drill.watch(level, Some(empty)).await?);
            fleets.iter().try_for_each(Fleet::check)?;
        }
        step("stop and release".to_owned());
        let stop = drill.stop(fleets).await?;
        let start_seconds = start.as_secs_f64();
        anyhow::Ok(Run { start_seconds, bare_bytes, profiles_bytes, tokens_per_second, levels: seen, stop })
    };
    let result = result.await;
    let log = drill.site.process.log();
    let run = result.with_context(|| format!("the gateway's log ends with:\n{log}"))?;
    drill.site.end().await?;
    progress.finish_and_clear();
    report::rest::show(args, &run, output)
}

struct Drill<'a> {
    args: &'a IdleArgs,
    site: Lone,
    tokens: Vec<String>,
    ledger: Arc<Ledger>,
}

impl Drill<'_> {
    /// Connects a session of each of these agents.
    async fn connect(&self, first: u32, end: u32) -> anyhow::Result<Fleet> {
        let tokens = &self.tokens[first as usize..end as usize];
        Fleet::connect(self.site.gateway, tokens, tokens.len(), Transport::Websocket, &self.ledger).await
    }

    /// Watches the gateway and Redis while nothing happens.
    async fn watch(&mut self, agents: u32, empty: Option<f64>) -> anyhow::Result<Level> {
        let (gateway, redis) = (self.site.process.pid, self.site.redis.child.pid);
        let resident_bytes = process::settled_bytes(gateway).await?;
        process::quiet(gateway).await?;
        let cpu = || anyhow::Ok([process::cpu_seconds(gateway)?, process::cpu_seconds_with_children(redis)?]);
        let (before, commands, begun) = (cpu()?, self.site.redis.commands().await?, Instant::now());
        sleep(Duration::from_secs(self.args.seconds.into())).await;
        let (after, done, seconds) =
            (cpu()?, self.site.redis.commands().await?, begun.elapsed().as_secs_f64());
        self.site.process.alive()?;
        let commands = rates(&commands, &done, seconds);
        Ok(Level {
            agents,
            resident_bytes,
            bytes_per_agent: empty.map(|empty| (resident_bytes - empty) / f64::from(agents)),
            gateway_cpu: (after[0] - before[0]) / seconds,
            redis_cpu: (after[1] - before[1]) / seconds,
            redis_commands: commands.iter().map(|(_, rate)| rate).sum(),
            commands,
        })
    }

    /// Stops everybody by the folder, sees that nobody can connect, releases, and takes all back at once.
    async fn stop(&self, mut fleets: Vec<Fleet>) -> anyhow::Result<Stop> {
        let pid = self.site.process.pid;
        let begun = Instant::now();
        folder::policy(&self.site.folder(), "{stop: true, reason: drill}")?;
        for fleet in &mut fleets {
            fleet.closed(CLOSE).await?;
        }
        let ms = |read: &dyn Fn(&Fleet) -> Option<Duration>, pick: fn(f64, f64) -> f64| {
            fleets.iter().filter_map(read).map(millis).reduce(pick).unwrap_or(f64::NAN)
        };
        let first_goodbye_ms = ms(&|fleet| fleet.goodbye().first_since(begun), f64::min);
        let last_goodbye_ms = ms(&|fleet| fleet.goodbye().since(begun), f64::max);
        let last_byte_ms = ms(&|fleet| fleet.last_byte().since(begun), f64::max);
        let first_closed_ms = ms(&|fleet| fleet.last_closed().first_since(begun), f64::min);
        let last_closed_ms = ms(&|fleet| fleet.last_closed().since(begun), f64::max);
        let goodbyes = fleets.iter().flat_map(|fleet| fleet.goodbyes().into_values()).sum();
        drop(fleets);
        let engagement = self.refusal().await?.context("an agent could connect while a stop holds")?;
        let emptied_bytes = process::settled_bytes(pid).await?;

        let released = Instant::now();
        folder::policy(&self.site.folder(), &format!("{{release: {engagement}}}"))?;
        while self.refusal().await?.is_some() {
            ensure!(released.elapsed() < RELEASE, "agents are still refused {RELEASE:?} after the release");
        }
        let (released_ms, open) = (millis(released.elapsed()), Instant::now());
        let back = self.connect(0, self.args.agents).await?;
        let opened = back.opened();
        let last = opened.iter().max().context("nobody came back")?.saturating_duration_since(open);
        let back_bytes = process::settled_bytes(pid).await?;
        back.check()?;
        Ok(Stop {
            first_goodbye_ms,
            last_goodbye_ms,
            goodbyes,
            last_byte_ms,
            first_closed_ms,
            last_closed_ms,
            emptied_bytes,
            released_ms,
            reopened_ms: millis(last),
            peak_per_second: peak(&opened, Duration::from_secs(1)),
            mean_per_second: opened.len() as f64 / last.as_secs_f64(),
            back_bytes,
        })
    }

    /// The engagement that the gateway names when it refuses an agent; none if it lets it in.
    async fn refusal(&self) -> anyhow::Result<Option<String>> {
        let token = self.tokens.first().context("no agent")?;
        match connect(self.site.gateway, token, Arc::default()).await {
            Ok(_) => Ok(None),
            Err(Error::Http(answer)) => {
                let text = answer.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default();
                let name = text.split("by engagement ").nth(1).and_then(|rest| rest.split([' ', ';']).next());
                Ok(Some(name.with_context(|| format!("no engagement in {text}"))?.to_owned()))
            }
            Err(error) => Err(error).context("cannot connect an agent"),
        }
    }
}

/// Commands a second by name, the most frequent first.
fn rates(before: &Commands, after: &Commands, seconds: f64) -> Vec<(String, f64)> {
    let mut rates: Vec<_> = after
        .iter()
        .map(|(name, calls)| {
            let calls = calls - before.get(name).copied().unwrap_or_default().min(*calls);
            (name.clone(), calls as f64 / seconds)
        })
        .filter(|(_, rate)| *rate > 0.0)
        .collect();
    rates.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    rates
}

/// The most moments within any such time.
fn peak(moments: &[Instant], within: Duration) -> usize {
    let mut moments = moments.to_vec();
    moments.sort();
    let mut first = 0;
    (0..moments.len())
        .map(|at| {
            while moments[at] - moments[first] >= within {
                first += 1;
            }
            at - first + 1
        })
        .max()
        .unwrap_or_default()
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_that_of_any_window() {
        let start = Instant::now();
        let at = [0, 900, 950, 1_000, 1_850, 1_899, 5_000].map(|ms| start + Duration::from_millis(ms));
        assert_eq!(peak(&at, Duration::from_secs(1)), 5);
        assert_eq!(peak(&[], Duration::from_secs(1)), 0);
    }

    #[test]
    fn rates_are_of_what_was_done_meanwhile() {
        let commands = |pairs: &[(&str, u64)]| -> Commands {
            pairs.iter().map(|(name, calls)| ((*name).to_owned(), *calls)).collect()
        };
        let rates = rates(&commands(&[("a", 5), ("b", 7)]), &commands(&[("a", 9), ("b", 7), ("c", 10)]), 2.0);
        assert_eq!(rates, [("c".to_owned(), 5.0), ("a".to_owned(), 2.0)]);
    }
}
