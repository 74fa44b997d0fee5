//! What agents at rest came to.

use serde_json::json;

use super::{MIB, number, print_json, table};
use crate::args::{IdleArgs, Output};
use crate::rest::Run;

/// Kinds of commands that are shown.
const SHOWN: usize = 6;

/// Shows the tables.
pub fn show(args: &IdleArgs, run: &Run, output: Output) -> anyhow::Result<()> {
    if output == Output::Json {
        let settings = json!({ "agents": args.agents, "seconds": args.seconds });
        return print_json(&json!({ "settings": settings, "run": run }));
    }
    let mut levels = table(&[
        "agents at rest",
        "resident MiB",
        "bytes each",
        "gateway CPU s/s",
        "Redis CPU s/s",
        "Redis commands/s",
        "most of them",
    ]);
    for level in &run.levels {
        let shown = level.commands.iter().take(SHOWN);
        let commands: Vec<_> = shown.map(|(name, rate)| format!("{name} {}", number(*rate))).collect();
        levels.add_row([
            number(level.agents.into()),
            number(level.resident_bytes / MIB),
            level.bytes_per_agent.map(number).unwrap_or_default(),
            number(level.gateway_cpu),
            number(level.redis_cpu),
            number(level.redis_commands),
            commands.join(", "),
        ]);
    }
    println!("{levels}\n");
    let stop = &run.stop;
    let mut rest = table(&["figure", "unit", "value"]);
    let profile = (run.profiles_bytes - run.bare_bytes) / f64::from(args.agents);
    for (name, unit, value) in [
        ("start until ready, all profiles in the folder", "s", run.start_seconds),
        ("a profile that nobody uses, resident", "bytes", profile),
        ("tokens given", "per second", run.tokens_per_second),
        ("stop: first goodbye", "ms", stop.first_goodbye_ms),
        ("stop: last goodbye", "ms", stop.last_goodbye_ms),
        ("stop: goodbyes read", "", stop.goodbyes as f64),
        ("stop: last byte", "ms", stop.last_byte_ms),
        ("stop: first socket closed", "ms", stop.first_closed_ms),
        ("stop: last socket closed", "ms", stop.last_closed_ms),
        ("stop: resident memory then", "MiB", stop.emptied_bytes / MIB),
        ("release: until the first is let in", "ms", stop.released_ms),
        ("release: then until all are back", "ms", stop.reopened_ms),
        ("release: most that came back in a second", "agents", stop.peak_per_second as f64),
        ("release: on average", "agents/s", stop.mean_per_second),
        ("release: resident memory then", "MiB", stop.back_bytes / MIB),
    ] {
        rest.add_row([name.to_owned(), unit.to_owned(), number(value)]);
    }
    println!("{rest}");
    println!(
        "times of stop and release run from the renaming of the policy's file; each agent pings every 20 s"
    );
    Ok(())
}
