//! What the kernel knows of a process: CPU time and resident memory.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::time::{Instant, sleep};

/// A settling figure is looked at this often.
const SAMPLE: Duration = Duration::from_millis(200);

/// So many looks in a row must agree.
const AGREE: usize = 6;

/// User and system time, in seconds. Its grain is one tick, mostly 10 ms.
pub fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    Ok(cpu_ticks(pid)?[..2].iter().sum::<f64>() / rustix::param::clock_ticks_per_second() as f64)
}

/// The same, with that of its children that have ended: Redis forks to rewrite its file.
pub fn cpu_seconds_with_children(pid: u32) -> anyhow::Result<f64> {
    Ok(cpu_ticks(pid)?.iter().sum::<f64>() / rustix::param::clock_ticks_per_second() as f64)
}

/// Its user and system time, and those of its children.
fn cpu_ticks(pid: u32) -> anyhow::Result<[f64; 4]> {
    let text = read(pid, "stat")?;
    // The second field is the program's name in parentheses, which may hold spaces.
    let (_, rest) = text.rsplit_once(')').context("/proc/PID/stat has no name")?;
    let fields = rest.split_whitespace().skip(11).take(4).map(str::parse);
    let ticks: Vec<f64> = fields.collect::<Result<_, _>>().context("no ticks")?;
    ticks.try_into().ok().context("/proc/PID/stat is too short")
}

/// The most memory that was ever resident, in bytes.
pub fn peak_bytes(pid: u32) -> anyhow::Result<f64> {
    figure(&read(pid, "status")?, "VmHWM:")
}

/// Memory that is resident now, in bytes; counted page by page, which VmRSS is not.
fn resident_bytes(pid: u32) -> anyhow::Result<f64> {
    figure(&read(pid, "smaps_rollup")?, "Rss:")
}

fn figure(text: &str, field: &str) -> anyhow::Result<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field)).context(field.to_owned())?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().context(field.to_owned())?;
    Ok(kib * 1024.0)
}

fn read(pid: u32, file: &str) -> anyhow::Result<String> {
    let path = format!("/proc/{pid}/{file}");
    fs::read_to_string(&path).with_context(|| format!("cannot read {path}: did the process end?"))
}

/// Waits until resident memory stands still, and says it.
pub async fn settled_bytes(pid: u32) -> anyhow::Result<f64> {
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut seen = Vec::new();
    loop {
        seen.push(resident_bytes(pid)?);
        let last = &seen[seen.len().saturating_sub(AGREE)..];
        let (least, most) = last.iter().fold((f64::MAX, 0.0_f64), |(a, b), x| (a.min(*x), b.max(*x)));
        if seen.len() >= AGREE && most - least <= (most * 0.001).max(64.0 * 1024.0) {
            return Ok(most);
        }
        if Instant::now() > deadline {
            bail!("resident memory of process {pid} does not settle: {least} to {most} bytes");
        }
        sleep(SAMPLE).await;
    }
}

/// Waits until the process has nothing left to do, such as compactions, but not for ever.
pub async fn quiet(pid: u32) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut before = cpu_seconds(pid)?;
    loop {
        sleep(2 * SAMPLE).await;
        let now = cpu_seconds(pid)?;
        // 5 % of one core: two grains of the clock.
        if now - before <= 0.0201 || Instant::now() > deadline {
            return Ok(());
        }
        before = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_knows_this_process() {
        let pid = std::process::id();
        let own = cpu_seconds(pid).unwrap();
        assert!(own >= 0.0 && cpu_seconds_with_children(pid).unwrap() >= own);
        assert!(resident_bytes(pid).unwrap() > 100_000.0);
        assert!(peak_bytes(pid).unwrap() > 100_000.0);
    }
}
