//! Tables for people, JSON for machines.

pub mod over_redis;
pub mod rest;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use serde::Serialize;
use serde_json::json;

use crate::args::{CompareArgs, HostileArgs, Output, StopArgs};
use crate::compare::Turn;
use crate::hostile::Trial;
use crate::server::Kind;
use crate::stop::Run;

/// A figure over all rounds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Figure {
    name: &'static str,
    unit: &'static str,
    nexus: Spread,
    floor: Spread,
    /// Nexus over the floor: the median of the ratios of each round.
    ratio: f64,
}

/// Median and bounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    /// Bounds for people.
    fn bounds(&self) -> String {
        format!("{} – {}", number(self.min), number(self.max))
    }

    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let (Some(min), Some(max)) = (values.first(), values.last()) else {
            return Self { median: f64::NAN, min: f64::NAN, max: f64::NAN };
        };
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Self { median, min: *min, max: *max }
    }
}

/// Name, unit, and how it is read from a turn.
type Row = (&'static str, &'static str, fn(&Turn) -> f64);

const MIB: f64 = 1024.0 * 1024.0;

const ROWS: &[Row] = &[
    ("closed loop: delivered", "events/s", |turn| turn.delivered_per_second),
    ("closed loop: server CPU", "s/1,000 events", |turn| turn.closed_cpu_seconds),
    ("open loop: POST to 200 p50", "ms", |turn| turn.answer_p50_ms),
    ("open loop: POST to 200 p99", "ms", |turn| turn.answer_p99_ms),
    ("open loop: POST to agent p50", "ms", |turn| turn.p50_ms),
    ("open loop: POST to agent p99", "ms", |turn| turn.p99_ms),
    ("open loop: POST to agent p99.9", "ms", |turn| turn.p999_ms),
    ("open loop: server CPU", "s/1,000 events", |turn| turn.open_cpu_seconds),
    ("peak resident memory", "MiB", |turn| turn.peak_bytes / MIB),
    ("idle WebSocket, resident", "bytes", |turn| turn.idle_bytes),
    ("idle gRPC connection, resident", "bytes", |turn| turn.idle_grpc_bytes),
    ("tool's own lateness p99", "ms", |turn| turn.tool_lag_p99_ms),
    ("tool's own CPU, open loop", "s/1,000 events", |turn| turn.tool_cpu_seconds),
];

/// Shows a comparison.
pub fn compare(args: &CompareArgs, turns: &[Turn], output: Output) -> anyhow::Result<()> {
    let figures: Vec<_> = ROWS.iter().map(|row| figure(row, turns)).collect();
    if output == Output::Json {
        let common = &args.common;
        let settings = json!({ "rounds": args.rounds, "agents": common.agents, "rate": common.rate,
            "bodyBytes": common.body_bytes, "connections": common.connections, "idle": args.idle,
            "closedSeconds": args.closed_seconds, "openSeconds": args.open_seconds });
        return print_json(&json!({ "settings": settings, "figures": figures, "turns": turns }));
    }
    let mut table = table(&["figure", "unit", "nexus", "min – max", "floor", "min – max", "nexus/floor"]);
    for Figure { name, unit, nexus, floor, ratio } in &figures {
        let cells =
            [number(nexus.median), nexus.bounds(), number(floor.median), floor.bounds(), number(*ratio)];
        table.add_row([*name, *unit].map(str::to_owned).into_iter().chain(cells));
    }
    println!("{table}");
    println!("{} round(s); medians; the ratio is the median of the rounds' ratios", args.rounds);
    for turn in turns {
        let at = format!("round {}, {}", turn.round, turn.server.name());
        if !turn.counts {
            println!(
                "! {at}: the closed loop's throughput does not count, {} events waited at its end",
                turn.backlog
            );
        }
        for remark in &turn.remarks {
            println!("! {at}: {remark}");
        }
    }
    if turns.iter().all(|turn| turn.counts && turn.remarks.is_empty()) {
        println!("in every phase the ids that were accepted are the ids that were delivered, each once");
    }
    Ok(())
}

fn figure((name, unit, read): &Row, turns: &[Turn]) -> Figure {
    let of = |kind: Kind| -> Vec<f64> { turns.iter().filter(|turn| turn.server == kind).map(read).collect() };
    let (nexus, floor) = (of(Kind::Nexus), of(Kind::Floor));
    let ratios = nexus.iter().zip(&floor).map(|(nexus, floor)| nexus / floor).collect();
    Figure {
        name,
        unit,
        nexus: Spread::of(nexus),
        floor: Spread::of(floor),
        ratio: Spread::of(ratios).median,
    }
}

/// Shows stops.
pub fn stop(args: &StopArgs, runs: &[Run], output: Output) -> anyhow::Result<()> {
    if output == Output::Json {
        let common = &args.common;
        let settings = json!({ "sessions": args.sessions, "transport": format!("{:?}", args.transport), "agents": common.agents, "rate": common.rate,
            "bodyBytes": common.body_bytes });
        return print_json(&json!({ "settings": settings, "runs": runs }));
    }
    let mut table = table(&[
        "run",
        "last event ms",
        "last byte ms",
        "last closed ms",
        "answer ms",
        "goodbyes",
        "waited",
        "refused",
        "reopened ms",
        "flowed ms",
        "missing",
        "repeats",
        "unmarked",
    ]);
    for run in runs {
        table.add_row(std::iter::once(run.run.to_string()).chain(cells(run).map(number)));
    }
    let most = |at: usize| runs.iter().map(|run| cells(run)[at]).fold(f64::MIN, f64::max);
    table.add_row(std::iter::once("max".to_owned()).chain((0..12).map(|at| number(most(at)))));
    println!("{table}");
    println!(
        "{} sessions of {} agents; times from sending the stop, or the release",
        args.sessions, args.common.agents
    );
    Ok(())
}

fn cells(run: &Run) -> [f64; 12] {
    let counts = [run.goodbyes, run.waited, run.refused].map(|count| count as f64);
    let ends = [run.missing, run.repeats, run.unmarked].map(|count| count as f64);
    let [goodbyes, waited, refused] = counts;
    let [missing, repeats, unmarked] = ends;
    [
        run.last_event_ms,
        run.last_byte_ms,
        run.last_closed_ms,
        run.answer_ms,
        goodbyes,
        waited,
        refused,
        run.reopened_ms,
        run.flowed_ms,
        missing,
        repeats,
        unmarked,
    ]
}

/// Shows hostile input.
pub fn hostile(args: &HostileArgs, trials: &[Trial], output: Output) -> anyhow::Result<()> {
    if output == Output::Json {
        let common = &args.common;
        let settings = json!({ "rate": common.rate, "agents": common.agents, "bodyBytes": common.body_bytes,
            "seconds": args.seconds });
        return print_json(&json!({ "settings": settings, "trials": trials }));
    }
    let header = ["hostile input", "attempts", "documented", "seen", "as documented"];
    let honest = ["p99 before ms", "p99 during ms", "ratio", "missing", "refused"];
    let mut table = table(&[header, honest].concat());
    for trial in trials {
        let verdict = if trial.as_documented { "yes" } else { "NO" };
        let words = [trial.name, &number(trial.attempts as f64), trial.expected, &trial.seen, verdict];
        let figures = [trial.before_p99_ms, trial.during_p99_ms, trial.ratio];
        let losses = [trial.missing, trial.refused].map(|count| count as f64);
        let figures = figures.into_iter().chain(losses).map(number);
        table.add_row(words.map(str::to_owned).into_iter().chain(figures));
    }
    println!("{table}");
    println!(
        "honest load: {} events/s to {} agents by WebSocket; p99 from the intended time of the POST to the agent",
        args.common.rate,
        args.common.agents - 1
    );
    Ok(())
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// A figure with as many digits as it bears.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || size.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

fn print_json(value: &serde_json::Value) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_count_lies_between() {
        assert_eq!(Spread::of(vec![4.0, 1.0, 2.0, 8.0]), Spread { median: 3.0, min: 1.0, max: 8.0 });
        assert_eq!(Spread::of(vec![3.0]), Spread { median: 3.0, min: 3.0, max: 3.0 });
    }

    #[test]
    fn figures_bear_so_many_digits() {
        assert_eq!(
            [0.0, 3.0, 12_345.6, 12.34, 1.234, 0.0421].map(number),
            ["0", "3", "12346", "12.3", "1.23", "0.0421"]
        );
    }
}
