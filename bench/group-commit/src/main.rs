//! Which storage engine should carry the embedded log. README.md says what is measured and how.

mod cell;
mod engine;
mod load;
mod report;

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Signal, getpid, kill_process};

use cell::Load;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => report::run(),
        ["cell", name, dir, clients, body, events, millis] => {
            let (clients, body) = (clients.parse()?, body.parse()?);
            let (events, millis) = (events.parse()?, millis.parse()?);
            measure(name, Path::new(dir), &Load { clients, body, events, millis })
        }
        ["reopen", name, dir, last] => reopen(name, Path::new(dir), last.parse()?),
        _ => bail!("no arguments are needed; see README.md"),
    }
}

/// Prints the figures of one run, then ends as kill -9 ends a process.
fn measure(name: &str, dir: &Path, load: &Load) -> Result<()> {
    let written = proc_figure("/proc/self/io", "write_bytes")?;
    let run = cell::run(name, dir, load)?;
    let written = proc_figure("/proc/self/io", "write_bytes")? - written;
    let (latencies, events) = (&run.seen.latencies, run.seen.latencies.len() as f64);
    let at = |q: f64| latencies[((events - 1.0) * q) as usize].as_secs_f64() * 1e3;
    println!("{events} {} {} {} {} {}", run.last_new, events / run.seconds, at(0.5), at(0.99), at(1.0));
    println!("{} {}", run.engine_cpu / events * 1e3, run.durable_commits as f64 / events);
    println!("{} {}", written / events, proc_figure("/proc/self/status", "VmHWM")? / 1024.0);
    Ok(kill_process(getpid(), Signal::KILL)?)
}

/// Prints the time until the log is open and its unfinished work has been found.
fn reopen(name: &str, dir: &Path, last: u64) -> Result<()> {
    let begun = Instant::now();
    let log = engine::open(name, dir)?;
    let pending = log.pending()?;
    println!("{} {pending}", begun.elapsed().as_secs_f64() * 1e3);
    ensure!(log.holds(last)?, "{name} lost the acknowledged event {last}");
    Ok(())
}

/// A figure of this process as the kernel counts it.
fn proc_figure(file: &str, field: &str) -> Result<f64> {
    let text = fs::read_to_string(file)?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).context(field.to_owned())?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
