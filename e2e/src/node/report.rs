//! What is shown in the end.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::proof::{Words, align, table};
use crate::times::Spread;

/// How values of one thing fall, and how they should.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figure {
    /// The values.
    #[serde(flatten)]
    pub spread: Spread,
    /// None may be above this, in milliseconds.
    pub goal: Option<f64>,
}

impl Figure {
    fn is_met(&self) -> bool {
        self.goal.is_none_or(|goal| self.spread.max <= goal)
    }
}

/// One part.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// How often it was done to the end.
    pub times: u32,
    /// What was measured.
    pub figures: Vec<Figure>,
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
    /// Sessions that each stop ended.
    pub sessions: usize,
    /// By part.
    pub rows: Vec<Row>,
    /// What `kubectl get` showed in a stop.
    pub shown: Option<String>,
    /// Where the logs of a failed run are kept.
    pub kept: Option<PathBuf>,
}

/// What a part measures, while it does.
#[derive(Debug, Default)]
pub(super) struct Times {
    measured: Vec<(&'static str, Option<Duration>, Vec<Duration>)>,
    pub(super) notes: Vec<String>,
    pub(super) done: u32,
}

impl Times {
    /// Keeps a value.
    pub(super) fn add(&mut self, name: &'static str, value: Duration) {
        self.keep(name, None, value);
    }

    /// Keeps a value that should be no larger than so much.
    pub(super) fn judge(&mut self, name: &'static str, goal: Duration, value: Duration) {
        self.keep(name, Some(goal), value);
    }

    fn keep(&mut self, name: &'static str, goal: Option<Duration>, value: Duration) {
        match self.measured.iter_mut().find(|(known, ..)| *known == name) {
            Some((.., values)) => values.push(value),
            None => self.measured.push((name, goal, vec![value])),
        }
    }

    /// The row of a part that was played.
    pub(super) fn row(self, name: &'static str, played: anyhow::Result<()>) -> Row {
        let figure = |(name, goal, values): (_, Option<Duration>, _)| {
            let goal = goal.map(|goal| goal.as_secs_f64() * 1000.0);
            Some(Figure { spread: Spread::of(name, values)?, goal })
        };
        let figures: Vec<_> = self.measured.into_iter().filter_map(figure).collect();
        let mut failures: Vec<_> = played.err().map(|error| format!("{error:#}")).into_iter().collect();
        for Figure { spread, goal } in figures.iter().filter(|figure| !figure.is_met()) {
            let goal = goal.unwrap_or_default();
            failures.push(format!("{}: {:.0} ms, the goal is {goal:.0} ms", spread.name, spread.max));
        }
        Row { name, times: self.done, figures, failures, notes: self.notes }
    }
}

impl Report {
    /// Whether all went well, within its goals.
    #[must_use]
    pub fn is_good(&self) -> bool {
        !self.rows.is_empty() && self.rows.iter().all(|row| row.failures.is_empty())
    }

    /// The report for people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = table(["PART", "MILLISECONDS", "TIMES", "P50", "MAX", "GOAL"]);
        let mut words = Words::new(format_args!("{} sessions a stop, seed {}", self.sessions, self.seed));
        for row in &self.rows {
            for figure in &row.figures {
                let Spread { name, count, p50, max, .. } = &figure.spread;
                let goal = figure.goal.map(|goal| format!("{goal:.0}")).unwrap_or_default();
                let [p50, max] = [p50, max].map(|value| format!("{value:.0}"));
                table.add_row([row.name, name, &count.to_string(), &p50, &max, &goal]);
            }
            words.row(row.name, &row.notes, &row.failures);
        }
        align(&mut table, 2, 4);
        if let Some(shown) = &self.shown {
            words.line(format_args!("\nin a stop:\n{}", shown.trim_end()));
        }
        words.kept(self.kept.as_deref());
        words.below(&table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(value: u64, played: anyhow::Result<()>) -> Report {
        let mut times = Times::default();
        times.judge("last byte", Duration::from_millis(250), Duration::from_millis(value));
        times.add("at zero", Duration::from_secs(9));
        let rows = vec![times.row("drill", played)];
        Report { seed: 1, sessions: 2, rows, shown: None, kept: None }
    }

    #[test]
    fn a_goal_that_is_missed_and_a_step_that_fails_are_failures() {
        assert!(report(250, Ok(())).is_good());
        let late = report(251, Ok(()));
        assert!(!late.is_good());
        assert!(late.table().contains("FAILED drill: last byte: 251 ms, the goal is 250 ms"));
        assert!(!report(1, Err(anyhow::anyhow!("wrong"))).is_good());
        assert!(!Report { rows: Vec::new(), ..report(1, Ok(())) }.is_good());
    }
}
