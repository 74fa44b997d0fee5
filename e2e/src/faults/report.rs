//! What is shown in the end.

use std::path::PathBuf;

use serde::Serialize;

use crate::ledger::Balance;
use crate::proof::{Words, align, table};

const HEADER: [&str; 13] = [
    "FAULT",
    "TIMES",
    "SECONDS",
    "ACCEPTED",
    "RECEIVED",
    "MISSING",
    "KEPT UNANSWERED",
    "SENT AGAIN",
    "REPEATS",
    "UNMARKED",
    "OUT OF ORDER",
    "503",
    "LONGEST PAUSE",
];

/// One kind of fault.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// The fault.
    pub name: &'static str,
    /// How often it came.
    pub times: u32,
    /// How long the row took, under load.
    pub seconds: f64,
    /// The sets, compared, in the end.
    pub balance: Balance,
    /// The longest that an agent received nothing.
    pub pause_seconds: f64,
    /// What went wrong.
    pub failures: Vec<String>,
    /// What else was seen.
    pub notes: Vec<String>,
}

/// All of it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Repeats the choices.
    pub seed: u64,
    /// How many events have to be accepted in all at the least.
    pub least_events: u64,
    /// By kind of fault.
    pub rows: Vec<Row>,
    /// Where the data and logs of a failed run are kept.
    pub kept: Option<PathBuf>,
}

impl Row {
    pub(super) fn broken(name: &'static str, error: &anyhow::Error) -> Self {
        Self {
            name,
            times: 0,
            seconds: 0.0,
            balance: Balance::default(),
            pause_seconds: 0.0,
            failures: vec![format!("{error:#}")],
            notes: Vec::new(),
        }
    }

    /// What the books say in the end. Of what the bus has not lost it knows how often it was handed out.
    pub(super) fn settle(&mut self, balance: Balance, missing: &[String], loses_nothing: bool) {
        balance.complain(missing, &mut self.failures);
        if loses_nothing && balance.unmarked > 0 {
            self.failures.push(format!("{} repeats did not say so by their attempt", balance.unmarked));
        }
        self.balance = balance;
    }

    fn cells(&self) -> [String; HEADER.len()] {
        let all = &self.balance;
        let out_of_order = all.faults.get(crate::ledger::OUT_OF_ORDER).copied().unwrap_or_default();
        [
            self.name.to_owned(),
            self.times.to_string(),
            format!("{:.0}", self.seconds),
            all.accepted.to_string(),
            all.received.to_string(),
            all.missing.to_string(),
            all.unanswered_but_kept.to_string(),
            all.resent.to_string(),
            all.repeats.to_string(),
            all.unmarked.to_string(),
            out_of_order.to_string(),
            all.refused.to_string(),
            format!("{:.1} s", self.pause_seconds),
        ]
    }
}

impl Report {
    /// Whether nothing was lost and nothing went wrong, in as many events as were asked for.
    pub fn is_good(&self) -> bool {
        let good = |row: &Row| row.failures.is_empty();
        !self.rows.is_empty() && self.rows.iter().all(good) && self.accepted() >= self.least_events
    }

    fn accepted(&self) -> u64 {
        self.rows.iter().map(|row| row.balance.accepted).sum()
    }

    /// The report for people.
    pub fn table(&self) -> String {
        let mut table = table(HEADER);
        table.add_rows(self.rows.iter().map(Row::cells));
        let sum = |of: fn(&Row) -> u64| self.rows.iter().map(of).sum::<u64>().to_string();
        let mut all = vec![String::new(); HEADER.len()];
        all[0] = "all".to_owned();
        all[1] = sum(|row| row.times.into());
        all[3] = self.accepted().to_string();
        all[4] = sum(|row| row.balance.received);
        all[5] = sum(|row| row.balance.missing);
        table.add_row(all);
        align(&mut table, 1, HEADER.len());
        self.words().below(&table)
    }

    fn words(&self) -> Words {
        let mut words = Words::new(format_args!("seed {}", self.seed));
        self.rows.iter().for_each(|row| words.row(row.name, &row.notes, &row.failures));
        let (accepted, least) = (self.accepted(), self.least_events);
        if accepted < least {
            words.line(format_args!("FAILED: {accepted} events were accepted, fewer than {least}"));
        }
        if self.rows.is_empty() {
            words.line(format_args!("FAILED: no fault was asked for"));
        }
        words.kept(self.kept.as_deref());
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(balance: Balance, loses_nothing: bool) -> Row {
        let mut row = Row { failures: Vec::new(), ..Row::broken("drill", &anyhow::anyhow!("none")) };
        row.settle(balance, &[], loses_nothing);
        row
    }

    fn report(rows: Vec<Row>, least_events: u64) -> Report {
        Report { seed: 1, least_events, rows, kept: None }
    }

    #[test]
    fn a_repeat_that_does_not_say_so_is_a_failure_where_nothing_is_lost() {
        let unmarked = || Balance { repeats: 2, unmarked: 1, ..Balance::default() };
        assert_eq!(row(unmarked(), true).failures, ["1 repeats did not say so by their attempt"]);
        assert!(row(unmarked(), false).failures.is_empty());
        assert!(row(Balance { repeats: 2, ..Balance::default() }, true).failures.is_empty());
    }

    #[test]
    fn nothing_tried_and_too_few_events_prove_nothing() {
        let accepted = || row(Balance { accepted: 60, ..Balance::default() }, true);
        assert!(!report(Vec::new(), 0).is_good());
        assert!(report(vec![accepted(), accepted()], 120).is_good());
        let short = report(vec![accepted(), accepted()], 121);
        assert!(!short.is_good() && short.table().contains("FAILED: 120 events"));
    }
}
