//! Output: tables for people, JSON for machines.

use std::io::Write as _;

use clap::ValueEnum;
use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use jiff::{SpanRound, Timestamp, Unit};
use serde::Serialize;

/// The form of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Tables.
    Table,
    /// JSON.
    Json,
}

impl Output {
    /// Writes `value` as JSON, or as what `table` makes of it.
    pub fn show<T: Serialize>(self, value: &T, table: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
        let text = match self {
            Self::Json => serde_json::to_string_pretty(value)?,
            Self::Table => table(value),
        };
        print(&text)
    }
}

/// Writes a text and a line end to standard output.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", text.trim_end())?;
    Ok(())
}

/// Writes a remark to standard error, apart from what the verb prints.
pub fn note(text: &str) {
    // Standard error may be closed; there is nobody left to tell then.
    let _ = writeln!(std::io::stderr(), "note: {text}");
}

/// A table without lines, like kubectl's.
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.iter().map(|name| name.to_uppercase()));
    table
}

/// How long ago, in the largest unit: `12s`, `5m`, `3h`, `2d`.
pub fn age(time: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(time).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A short time span: `3.1 ms`, `2.4 s`.
pub fn span(from: Timestamp, to: Timestamp) -> String {
    let micros = to.duration_since(from).as_micros();
    if micros < 1_000_000 {
        format!("{}.{} ms", micros / 1000, (micros % 1000).abs() / 100)
    } else {
        let round = SpanRound::new().largest(Unit::Hour).smallest(Unit::Second);
        to.since(from)
            .and_then(|span| span.round(round))
            .map_or_else(|_| "?".to_owned(), |span| format!("{span:#}"))
    }
}

/// At most so many characters of a text, on one line.
pub fn clip(text: &str, characters: usize) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= characters {
        return line;
    }
    line.chars().take(characters.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        let from: Timestamp = "2026-11-24T07:00:00Z".parse().unwrap();
        let to = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(age(from, to("2026-11-24T07:00:59Z")), "59s");
        assert_eq!(age(from, to("2026-11-24T09:30:00Z")), "2h");
        assert_eq!(span(from, to("2026-11-24T07:00:00.0031Z")), "3.1 ms");
        assert_eq!(span(from, to("2026-11-24T07:01:02Z")), "1m 2s");
    }

    #[test]
    fn a_clipped_text_is_one_line() {
        assert_eq!(clip("a\nb", 10), "a b");
        assert_eq!(clip("abcdef", 4), "abc…");
    }
}
