//! What Nexus and the floor came to as processes over Redis.

use serde::Serialize;
use serde_json::json;

use super::{MIB, Spread, number, print_json, table};
use crate::args::{FleetArgs, Fsync, Output};
use crate::over_redis::{OpenLoop, Turn};
use crate::server::Kind;

/// A figure over all rounds with one way to write to the disk.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Figure {
    name: String,
    unit: &'static str,
    nexus: Spread,
    floor: Spread,
    /// Nexus over the floor: the median of the ratios of each round.
    ratio: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    goal: Option<Goal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    met: Option<bool>,
}

/// What the ratio should be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

impl Goal {
    fn is_met(self, ratio: f64) -> bool {
        match self {
            Self::AtLeast(least) => ratio >= least,
            Self::AtMost(most) => ratio <= most,
        }
    }
}

/// Throughput: at least so much of the floor's.
const THROUGHPUT: Goal = Goal::AtLeast(0.6);

/// p99 at [`GOAL_RATE`]: at most so many times the floor's.
const LATENCY: Goal = Goal::AtMost(3.0);

/// CPU: at most so many times the floor's.
const CPU: Goal = Goal::AtMost(2.0);

/// The rate that the goals are for.
const GOAL_RATE: u32 = 1_000;

/// Shows a table for each way to write to the disk.
pub fn show(args: &FleetArgs, turns: &[Turn], output: Output) -> anyhow::Result<()> {
    let tables: Vec<_> = args
        .appendfsync
        .each()
        .into_iter()
        .map(|fsync| {
            let turns: Vec<_> = turns.iter().filter(|turn| turn.appendfsync == fsync).collect();
            (fsync, figures(args, &turns))
        })
        .collect();
    if output == Output::Json {
        let settings = json!({ "rounds": args.rounds, "agents": args.agents, "rates": args.rates,
            "bodyBytes": args.body_bytes, "connections": args.connections,
            "closedSeconds": args.closed_seconds, "openSeconds": args.open_seconds });
        let tables: Vec<_> = tables
            .iter()
            .map(|(fsync, figures)| json!({ "appendfsync": fsync, "figures": figures }))
            .collect();
        return print_json(&json!({ "settings": settings, "tables": tables, "turns": turns }));
    }
    for (fsync, figures) in &tables {
        print(*fsync, figures);
    }
    println!("{} round(s); medians; the ratio is the median of the rounds' ratios", args.rounds);
    for turn in turns {
        let at = format!("round {}, {:?}, {}", turn.round, turn.appendfsync, turn.server.name());
        if !turn.counts {
            let backlog = turn.backlog;
            println!(
                "! {at}: the closed loop's throughput does not count, {backlog} events waited at its end"
            );
        }
        turn.remarks.iter().for_each(|remark| println!("! {at}: {remark}"));
    }
    println!(
        "accepted minus received, over all phases of all rounds: {}",
        turns.iter().map(|turn| turn.missing).sum::<u64>()
    );
    Ok(())
}

fn print(fsync: Fsync, figures: &[Figure]) {
    let mut table = table(&[
        &format!("appendfsync {}", format!("{fsync:?}").to_lowercase()),
        "unit",
        "nexus",
        "min – max",
        "floor",
        "min – max",
        "nexus/floor",
        "goal",
    ]);
    for Figure { name, unit, nexus, floor, ratio, goal, met } in figures {
        let goal = goal.map(|goal| match goal {
            Goal::AtLeast(least) => format!("≥ {least}"),
            Goal::AtMost(most) => format!("≤ {most}"),
        });
        let verdict = met.map(|met| if met { "met" } else { "MISSED" });
        table.add_row([
            name.clone(),
            (*unit).to_owned(),
            number(nexus.median),
            nexus.bounds(),
            number(floor.median),
            floor.bounds(),
            number(*ratio),
            goal.zip(verdict).map(|(goal, verdict)| format!("{goal} {verdict}")).unwrap_or_default(),
        ]);
    }
    println!("{table}\n");
}

/// Reads a figure from an open loop.
type OfLoop = fn(&OpenLoop) -> f64;

const OPEN_ROWS: &[(&str, &str, OfLoop, Option<Goal>)] = &[
    ("POST to 200 p50", "ms", |open| open.answer_p50_ms, None),
    ("POST to 200 p99", "ms", |open| open.answer_p99_ms, None),
    ("POST to agent p50", "ms", |open| open.p50_ms, None),
    ("POST to agent p99", "ms", |open| open.p99_ms, Some(LATENCY)),
    ("POST to agent p99.9", "ms", |open| open.p999_ms, None),
    ("CPU of ingest and gateway", "s/1,000 events", |open| open.cpu.roles, Some(CPU)),
    ("CPU of Redis", "s/1,000 events", |open| open.cpu.redis, None),
    ("CPU of all three", "s/1,000 events", |open| open.cpu.all(), Some(CPU)),
    ("tool's own lateness p99", "ms", |open| open.tool_lag_p99_ms, None),
    ("tool's own CPU", "s/1,000 events", |open| open.cpu.tool, None),
];

/// Reads a figure from a turn.
type OfTurn = fn(&Turn) -> f64;

const CLOSED_ROWS: &[(&str, &str, OfTurn, Option<Goal>)] = &[
    ("closed loop: delivered", "events/s", |turn| turn.delivered_per_second, Some(THROUGHPUT)),
    ("closed loop: CPU of ingest and gateway", "s/1,000 events", |turn| turn.closed_cpu.roles, Some(CPU)),
    ("closed loop: CPU of Redis", "s/1,000 events", |turn| turn.closed_cpu.redis, None),
    ("closed loop: CPU of all three", "s/1,000 events", |turn| turn.closed_cpu.all(), Some(CPU)),
    ("closed loop: tool's own CPU", "s/1,000 events", |turn| turn.closed_cpu.tool, None),
];

/// Whether a figure of a turn may be compared.
type Counts = fn(&Turn) -> bool;

/// What a closed loop comes to says nothing if events were still waiting at its end.
const CLOSED_COUNTS: Counts = |turn| turn.counts;
const ALWAYS: Counts = |_| true;

const MEMORY_ROWS: &[(&str, &str, OfTurn, Option<Goal>)] = &[
    ("peak resident memory, ingest", "MiB", |turn| turn.ingest_peak_bytes / MIB, None),
    ("peak resident memory, gateway", "MiB", |turn| turn.gateway_peak_bytes / MIB, None),
    ("peak resident memory, Redis", "MiB", |turn| turn.redis_peak_bytes / MIB, None),
    ("Redis' memory for an event", "bytes", |turn| turn.redis_bytes_per_event, None),
];

fn figures(args: &FleetArgs, turns: &[&Turn]) -> Vec<Figure> {
    let of_turn = |counts: Counts| {
        move |(name, unit, read, goal): &(&str, &'static str, OfTurn, Option<Goal>)| {
            figure((*name).to_owned(), unit, turns, *goal, counts, *read)
        }
    };
    let mut figures: Vec<_> = CLOSED_ROWS.iter().map(of_turn(CLOSED_COUNTS)).collect();
    for (at, rate) in args.rates.iter().enumerate() {
        for (name, unit, read, goal) in OPEN_ROWS {
            let goal = goal.filter(|_| *rate == GOAL_RATE);
            let read = |turn: &Turn| turn.open.get(at).map_or(f64::NAN, read);
            figures.push(figure(format!("{rate}/s: {name}"), unit, turns, goal, ALWAYS, read));
        }
    }
    figures.extend(MEMORY_ROWS.iter().map(of_turn(ALWAYS)));
    figures
}

/// The two are compared round by round, in those rounds in which both count. If there is none no goal is met.
fn figure(
    name: String,
    unit: &'static str,
    turns: &[&Turn],
    goal: Option<Goal>,
    counts: Counts,
    read: impl Fn(&Turn) -> f64,
) -> Figure {
    let of = |kind: Kind| turns.iter().filter(move |turn| turn.server == kind);
    let pairs = of(Kind::Nexus).filter_map(|nexus| {
        let floor = of(Kind::Floor).find(|floor| floor.round == nexus.round)?;
        (counts(nexus) && counts(floor)).then(|| read(nexus) / read(floor))
    });
    let ratio = Spread::of(pairs.collect()).median;
    let met = goal.map(|goal| goal.is_met(ratio));
    let [nexus, floor] =
        [Kind::Nexus, Kind::Floor].map(|kind| Spread::of(of(kind).map(|turn| read(turn)).collect()));
    Figure { name, unit, nexus, floor, ratio, goal, met }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::over_redis::Costs;
    use crate::pair::Sizes;

    #[test]
    fn a_goal_is_met_at_its_bound() {
        assert!(THROUGHPUT.is_met(0.6) && !THROUGHPUT.is_met(0.59));
        assert!(CPU.is_met(2.0) && !CPU.is_met(2.01));
        // Nothing measured meets nothing.
        assert!(!THROUGHPUT.is_met(f64::NAN) && !LATENCY.is_met(f64::NAN));
    }

    fn turn(round: u32, server: Kind, per_second: f64, counts: bool) -> Turn {
        let costs = Costs { roles: 1.0, redis: 1.0, tool: 1.0 };
        Turn {
            round,
            server,
            appendfsync: Fsync::Always,
            delivered_per_second: per_second,
            counts,
            backlog: 0,
            closed_cpu: costs,
            open: Vec::new(),
            ingest_peak_bytes: 1.0,
            gateway_peak_bytes: 1.0,
            redis_peak_bytes: 1.0,
            redis_bytes_per_event: 1.0,
            sizes: Sizes { event: 1, rest: 1 },
            missing: 0,
            even: true,
            remarks: Vec::new(),
        }
    }

    fn throughput(turns: &[Turn]) -> Figure {
        let turns: Vec<_> = turns.iter().collect();
        let read = |turn: &Turn| turn.delivered_per_second;
        figure("throughput".to_owned(), "events/s", &turns, Some(THROUGHPUT), CLOSED_COUNTS, read)
    }

    #[test]
    fn a_round_in_which_either_does_not_count_is_not_compared() {
        let floor = |round| turn(round, Kind::Floor, 1000.0, true);
        let nexus = |round, per_second, counts| turn(round, Kind::Nexus, per_second, counts);
        // The fast round of Nexus left events waiting.
        let one = throughput(&[nexus(1, 900.0, false), floor(1), floor(2), nexus(2, 500.0, true)]);
        assert_eq!((one.ratio, one.met), (0.5, Some(false)));
        let floor_waits = turn(1, Kind::Floor, 100.0, false);
        let other = throughput(&[nexus(1, 500.0, true), floor_waits, floor(2), nexus(2, 500.0, true)]);
        assert_eq!((other.ratio, other.met), (0.5, Some(false)));
    }

    #[test]
    fn a_goal_is_missed_where_no_round_counts() {
        let none = throughput(&[turn(1, Kind::Nexus, 900.0, false), turn(1, Kind::Floor, 1000.0, true)]);
        assert_eq!(none.met, Some(false));
    }
}
