//! The plan of runs and the table. Engines take turns, so that a machine that drifts does so for all.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

const ROUNDS: usize = 3;
const TMPFS: i64 = 0x0102_1994;

/// Engines, clients, bytes of body, events at most, milliseconds at most.
type Shape = (&'static [&'static str], usize, usize, u64, u64);

const ALL: &[&str] = &["fjall", "redb", "redb-quick", "segments"];
const PLAN: &[Shape] = &[
    (ALL, 1, 3_000, u64::MAX, 1_500),
    (ALL, 16, 3_000, u64::MAX, 1_500),
    (ALL, 64, 3_000, u64::MAX, 1_500),
    (ALL, 64, 10_000, u64::MAX, 1_500),
    (ALL, 1, 25 << 20, 8, 60_000),
    (ALL, 256, 3_000, 60_000, 60_000),
    (&["fjall-nokv", "fjall-syncall", "fjall-defaults"], 256, 3_000, 60_000, 60_000),
];

const COLUMNS: &str = "appends/s|p50 ms|p99 ms|worst ms|CPU s/1k|commits/event|written B/event|peak RSS MiB|\
                       disk B/event|reopen ms|pending";

fn runs() -> impl Iterator<Item = (&'static Shape, &'static str)> {
    PLAN.iter().flat_map(|shape| shape.0.iter().map(move |name| (shape, *name)))
}

pub fn run() -> Result<()> {
    let home = std::env::current_exe()?.with_file_name("group-commit-data");
    fs::create_dir_all(&home)?;
    ensure!(rustix::fs::statfs(&home)?.f_type as i64 != TMPFS, "{} is in memory, not on a disk", home.display());
    let mut results: Vec<Vec<Vec<f64>>> = vec![Vec::new(); runs().count()];
    for round in 1..=ROUNDS {
        eprintln!("round {round} of {ROUNDS}, load {}", fs::read_to_string("/proc/loadavg")?.trim());
        for (result, (shape, name)) in results.iter_mut().zip(runs()) {
            result.push(once(shape, name, &home.join("log")).with_context(|| format!("{name}, {shape:?}"))?);
            fs::remove_dir_all(home.join("log"))?;
        }
    }
    fs::remove_dir_all(&home)?;
    print(&mut results);
    Ok(())
}

fn once((_, clients, body, events, millis): &Shape, name: &str, dir: &Path) -> Result<Vec<f64>> {
    fs::create_dir(dir)?;
    rustix::fs::sync(); // no run pays for the dirty pages of the one before
    let at = dir.to_str().context("a path that is not UTF-8")?;
    let [clients, body] = [clients, body].map(ToString::to_string);
    let mut figures = child(&["cell", name, at, &clients, &body, &events.to_string(), &millis.to_string()])?;
    ensure!(figures.len() == 10, "the run failed");
    let (events, last) = (figures[0], figures[1].to_string());
    figures.push(disk(dir)? as f64 / events);
    figures.extend(child(&["reopen", name, at, &last])?);
    Ok(figures.split_off(2))
}

fn child(args: &[&str]) -> Result<Vec<f64>> {
    let output = Command::new(std::env::current_exe()?).args(args).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.code().unwrap_or(0) == 0, "{args:?} failed"); // no code: it killed itself
    let text = String::from_utf8(output.stdout)?;
    text.split_whitespace().map(|word| word.parse().context("a figure")).collect()
}

/// Blocks in use, of which a sparse file has fewer than its length says.
fn disk(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() { disk(&entry.path())? } else { entry.metadata()?.blocks() * 512 };
    }
    Ok(bytes)
}

/// Each figure is the median of its rounds.
fn print(results: &mut [Vec<Vec<f64>>]) {
    println!("|engine|clients|body|{COLUMNS}|\n|---|{}", "--:|".repeat(COLUMNS.split('|').count() + 2));
    for (rounds, ((_, clients, body, ..), name)) in results.iter_mut().zip(runs()) {
        print!("|{name}|{clients}|{body}|");
        for column in 0..rounds[0].len() {
            rounds.sort_by(|a, b| a[column].total_cmp(&b[column]));
            let figure = rounds[ROUNDS / 2][column];
            let digits = if figure >= 100.0 || figure.fract() == 0.0 { 0 } else { 2 + 2 * usize::from(figure < 0.1) };
            print!("{figure:.digits$}|");
        }
        println!();
    }
}
