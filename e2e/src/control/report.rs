//! What is shown in the end.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use serde::Serialize;

use super::Seen;

/// One kind of fault.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// The fault.
    pub name: &'static str,
    /// How often it came.
    pub times: usize,
    /// How long the row took.
    pub seconds: f64,
    /// What was seen.
    pub figures: Vec<String>,
    /// What went wrong.
    pub failure: Option<String>,
}

/// All of it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Repeats the choices.
    pub seed: u64,
    /// By kind of fault.
    pub rows: Vec<Row>,
    /// Where the data and logs of a failed run are kept.
    pub kept: Option<PathBuf>,
}

impl Row {
    pub(super) fn new(name: &'static str, took: Duration, played: anyhow::Result<Seen>) -> Self {
        let (seen, failure) = match played {
            Ok(seen) => (seen, None),
            Err(error) => (Seen::default(), Some(format!("{error:#}"))),
        };
        Self { name, times: seen.times, seconds: took.as_secs_f64(), figures: seen.figures, failure }
    }
}

impl Report {
    /// Whether nothing went wrong.
    #[must_use]
    pub fn is_good(&self) -> bool {
        !self.rows.is_empty() && self.rows.iter().all(|row| row.failure.is_none())
    }

    /// The report for people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(["FAULT", "TIMES", "SECONDS", "SEEN"]);
        for row in &self.rows {
            let seen = match &row.failure {
                None => row.figures.join("\n"),
                Some(_) => "FAILED".to_owned(),
            };
            table.add_row([row.name.to_owned(), row.times.to_string(), format!("{:.0}", row.seconds), seen]);
        }
        for column in table.column_iter_mut().skip(1).take(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        format!("{table}\n\n{}", self.words().trim_end())
    }

    fn words(&self) -> String {
        let mut words = format!("seed {}\n", self.seed);
        for row in &self.rows {
            if let Some(failure) = &row.failure {
                // Writing to a String does not fail.
                let _ = writeln!(words, "FAILED {}: {failure}", row.name);
            }
        }
        if self.rows.is_empty() {
            words += "FAILED: no fault was asked for\n";
        }
        if let Some(kept) = &self.kept {
            let _ = writeln!(words, "data and logs are kept in {}", kept.display());
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_went_wrong_is_shown_and_no_row_is_not_good() {
        let seen = Seen { times: 3, figures: vec!["all the same in the end".to_owned()] };
        let good = Row::new("drill", Duration::from_secs(2), Ok(seen));
        let mut report = Report { seed: 7, rows: vec![good], kept: None };
        assert!(report.is_good() && report.table().contains("all the same in the end"));
        report.rows.push(Row::new("fire", Duration::ZERO, Err(anyhow::anyhow!("it burns"))));
        assert!(!report.is_good() && report.table().contains("FAILED fire: it burns"));
        report.rows.clear();
        assert!(!report.is_good());
    }
}
