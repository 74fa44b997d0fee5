//! Events from a file: one JSON object a line, as `nexus events --full` writes them.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::Path;

use anyhow::Context as _;
use jiff::Timestamp;
use nexus_core::event::StandardEvent;

use crate::cli::args::SelectArgs;

/// The longest line that is read; an event is smaller than a body.
const MAX_LINE: u64 = 32 << 20;

/// The newest events of a file that are chosen, at most so many, newest first; `-` is standard input.
pub fn newest(
    path: &Path,
    select: &SelectArgs,
    limit: usize,
    now: Timestamp,
) -> anyhow::Result<Vec<StandardEvent>> {
    let name = path.display();
    let events = if path.as_os_str() == "-" {
        read(std::io::stdin().lock(), select, limit, now)
    } else {
        read(
            BufReader::new(File::open(path).with_context(|| format!("cannot read {name}"))?),
            select,
            limit,
            now,
        )
    };
    events.map_err(|(line, error)| error.context(format!("{name}:{line}")))
}

/// As [`newest`]; an error has the number of its line. Holds no more events than `limit`, and one.
fn read(
    mut lines: impl BufRead,
    select: &SelectArgs,
    limit: usize,
    now: Timestamp,
) -> Result<Vec<StandardEvent>, (u64, anyhow::Error)> {
    let mut kept = VecDeque::new();
    let mut text = String::new();
    for number in 1.. {
        text.clear();
        let read = lines.by_ref().take(MAX_LINE).read_line(&mut text);
        if read.context("no text in UTF-8").map_err(|error| (number, error))? == 0 {
            break;
        }
        if text.trim().is_empty() {
            continue;
        }
        let event: StandardEvent = serde_json::from_str(&text)
            .context("no event; write the file with `nexus events --full`")
            .map_err(|error| (number, error))?;
        if !chosen(&event, select, now) {
            continue;
        }
        // Files may be written in any order.
        let at = kept.partition_point(|other: &StandardEvent| other.receivedtime > event.receivedtime);
        kept.insert(at, event);
        kept.truncate(limit);
    }
    Ok(kept.into())
}

/// Whether the arguments choose an event.
fn chosen(event: &StandardEvent, select: &SelectArgs, now: Timestamp) -> bool {
    let SelectArgs { tenant, kinds, source, since, until } = select;
    tenant.as_ref().is_none_or(|tenant| *tenant == event.tenant)
        && (kinds.is_empty() || kinds.contains(&event.kind))
        && source.as_ref().is_none_or(|source| source == event.source_name())
        && since.is_none_or(|since| event.receivedtime >= since.at(now))
        && until.is_none_or(|until| event.receivedtime < until.at(now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::diff_routes::samples;

    fn file(count: u64) -> String {
        (1..=count).map(|n| serde_json::to_string(&samples::event(n, "")).unwrap() + "\n").collect()
    }

    fn ids(text: &str, select: &SelectArgs, limit: usize) -> Vec<u128> {
        let events = read(text.as_bytes(), select, limit, Timestamp::UNIX_EPOCH).unwrap();
        events.iter().map(|event| event.id.uuid().as_u128()).collect()
    }

    #[test]
    fn the_newest_events_come_first_in_whatever_order_they_were_written() {
        assert_eq!(ids(&file(5), &SelectArgs::default(), 2), [5, 4]);
        let reversed: String = file(5).lines().rev().map(|line| format!("{line}\n\n")).collect();
        assert_eq!(ids(&reversed, &SelectArgs::default(), 3), [5, 4, 3]);
    }

    #[test]
    fn arguments_choose() {
        let source = SelectArgs { source: Some("slack".to_owned()), ..SelectArgs::default() };
        assert_eq!(ids(&file(3), &source, 9), [0_u128; 0]);
        let tenant = SelectArgs { tenant: Some("acme/other".parse().unwrap()), ..SelectArgs::default() };
        assert_eq!(ids(&file(3), &tenant, 9), [0_u128; 0]);
        let since = crate::cli::args::parse_moment("1970-01-01T00:00:02Z").unwrap();
        let since = SelectArgs { since: Some(since), ..SelectArgs::default() };
        assert_eq!(ids(&file(3), &since, 9), [3, 2]);
        let until = SelectArgs { until: since.since, ..SelectArgs::default() };
        assert_eq!(ids(&file(3), &until, 9), [1]);
    }

    #[test]
    fn a_broken_line_is_named() {
        let text = format!("{}{{\"id\": 3}}\n", file(2));
        let (line, error) =
            read(text.as_bytes(), &SelectArgs::default(), 9, Timestamp::UNIX_EPOCH).unwrap_err();
        assert_eq!(line, 3);
        assert!(format!("{error:#}").contains("nexus events --full"), "{error:#}");
    }
}
