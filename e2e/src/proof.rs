//! What proofs share that consist of rows: which of them, how far they are, and what is shown in the end.

use std::fmt::{Arguments, Write as _};
use std::path::Path;
use std::time::Duration;

use clap::{Args, ValueEnum};
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use indicatif::{ProgressBar, ProgressStyle};

/// Which rows of a proof; all, if none is named.
#[derive(Debug, Clone, Args)]
pub struct Choice<R: ValueEnum + Send + Sync + 'static> {
    /// Only these
    #[arg(long, value_enum, value_delimiter = ',', value_name = "NAME")]
    pub only: Vec<R>,
    /// Not these
    #[arg(long, value_enum, value_delimiter = ',', value_name = "NAME")]
    pub without: Vec<R>,
}

impl<R: ValueEnum + PartialEq + Send + Sync> Choice<R> {
    /// In the order in which they are played.
    pub(crate) fn rows(&self) -> Vec<R> {
        let wanted =
            |row: &&R| (self.only.is_empty() || self.only.contains(row)) && !self.without.contains(row);
        R::value_variants().iter().filter(wanted).cloned().collect()
    }
}

/// A bar on a terminal; nothing elsewhere.
pub(crate) fn bar(steps: u64) -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template("{pos:>4}/{len} {wide_bar} {msg} {elapsed}")?;
    let bar = ProgressBar::new(steps).with_style(style);
    bar.enable_steady_tick(Duration::from_secs(1));
    Ok(bar)
}

/// Tells what went wrong as soon as it has, beside the bar.
pub(crate) fn tell(bar: &ProgressBar, row: &str, failures: &[String]) {
    use std::io::Write as _;
    let line = |failure| drop(writeln!(std::io::stderr().lock(), "FAILED {row}: {failure}"));
    bar.suspend(|| failures.iter().for_each(line));
}

/// A table for people, without rules.
pub(crate) fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(header);
    table
}

/// Sets figures below one another: in so many columns, from this one on.
pub(crate) fn align(table: &mut Table, from: usize, columns: usize) {
    for column in table.column_iter_mut().skip(from).take(columns) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

/// What stands below a table.
pub(crate) struct Words(String);

impl Words {
    pub(crate) fn new(first: Arguments<'_>) -> Self {
        Self(format!("{first}\n"))
    }

    pub(crate) fn line(&mut self, line: Arguments<'_>) {
        // Writing to a String does not fail.
        let _ = writeln!(self.0, "{line}");
    }

    /// What was seen in a row beside its figures, and what went wrong.
    pub(crate) fn row(&mut self, name: &str, notes: &[String], failures: &[String]) {
        notes.iter().for_each(|note| self.line(format_args!("{name}: {note}")));
        failures.iter().for_each(|failure| self.line(format_args!("FAILED {name}: {failure}")));
    }

    /// Where it is that is left of a run that failed.
    pub(crate) fn kept(&mut self, folder: Option<&Path>) {
        if let Some(folder) = folder {
            self.line(format_args!("data and logs are kept in {}", folder.display()));
        }
    }

    /// All of it, the table first.
    pub(crate) fn below(&self, table: &Table) -> String {
        format!("{table}\n\n{}", self.0.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
    enum Fire {
        Small,
        Large,
    }

    #[test]
    fn rows_are_those_that_are_named_and_not_excluded() {
        let choice =
            |only: &[Fire], without: &[Fire]| Choice { only: only.to_vec(), without: without.to_vec() };
        assert_eq!(choice(&[], &[]).rows(), [Fire::Small, Fire::Large]);
        assert_eq!(choice(&[Fire::Large], &[]).rows(), [Fire::Large]);
        assert_eq!(choice(&[], &[Fire::Large]).rows(), [Fire::Small]);
        assert!(choice(&[Fire::Large], &[Fire::Large]).rows().is_empty());
    }

    #[test]
    fn what_went_wrong_stands_below_the_table() {
        let mut words = Words::new(format_args!("seed {}", 7));
        words.row("drill", &["it is warm".to_owned()], &["it burns".to_owned()]);
        words.kept(Some(Path::new("/var/tmp/drill")));
        let mut table = table(["ROW", "TIMES"]);
        table.add_row(["drill", "1"]);
        align(&mut table, 1, 1);
        let shown = words.below(&table);
        let ends =
            "\n\nseed 7\ndrill: it is warm\nFAILED drill: it burns\ndata and logs are kept in /var/tmp/drill";
        assert!(shown.starts_with(" ROW") && shown.ends_with(ends), "{shown}");
    }
}
