//! What is shown in the end.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::Seen;
use crate::proof::{Words, align, table};

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
    pub failures: Vec<String>,
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
        let (Seen { times, figures }, failures) = match played {
            Ok(seen) => (seen, Vec::new()),
            Err(error) => (Seen::default(), vec![format!("{error:#}")]),
        };
        Self { name, times, seconds: took.as_secs_f64(), figures, failures }
    }
}

impl Report {
    /// Whether nothing went wrong.
    #[must_use]
    pub fn is_good(&self) -> bool {
        !self.rows.is_empty() && self.rows.iter().all(|row| row.failures.is_empty())
    }

    /// The report for people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = table(["FAULT", "TIMES", "SECONDS", "SEEN"]);
        let mut words = Words::new(format_args!("seed {}", self.seed));
        for row in &self.rows {
            let seen = if row.failures.is_empty() { row.figures.join("\n") } else { "FAILED".to_owned() };
            table.add_row([row.name.to_owned(), row.times.to_string(), format!("{:.0}", row.seconds), seen]);
            words.row(row.name, &[], &row.failures);
        }
        align(&mut table, 1, 2);
        if self.rows.is_empty() {
            words.line(format_args!("FAILED: no fault was asked for"));
        }
        words.kept(self.kept.as_deref());
        words.below(&table)
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
