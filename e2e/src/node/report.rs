//! What is shown in the end.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::proof::{Words, align, table};
use crate::sessions::Many;
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
    /// How many of them were over gRPC.
    pub grpc: usize,
    /// Webhooks a second meanwhile.
    pub events: u32,
    /// What the image of Nexus was made of.
    pub image: Image,
    /// By part.
    pub rows: Vec<Row>,
    /// What `kubectl get` showed in a stop.
    pub shown: Option<String>,
    /// Where the logs of a failed run are kept.
    pub kept: Option<PathBuf>,
}

/// What an image is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Image {
    /// A static executable, as it ships.
    Static,
    /// One that is linked dynamically, with this machine's libraries.
    Dynamic,
}

/// What a part measures, while it does.
#[derive(Debug, Default)]
pub(super) struct Times {
    measured: Vec<(&'static str, Option<Duration>, Vec<Duration>)>,
    counted: Vec<(&'static str, u64)>,
    pub(super) done: u32,
}

impl Image {
    const fn words(self) -> &'static str {
        match self {
            Self::Static => "Nexus ran as it ships: a static executable, FROM scratch",
            Self::Dynamic => {
                "Nexus ran linked dynamically, with this machine's libraries; --help tells how to make what ships"
            }
        }
    }
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

    /// Adds to a number that is told beside the figures.
    pub(super) fn count(&mut self, name: &'static str, more: u64) {
        match self.counted.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += more,
            None => self.counted.push((name, more)),
        }
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
        let notes = self.counted.into_iter().map(|(name, count)| format!("{name}: {count}")).collect();
        Row { name, times: self.done, figures, failures, notes }
    }
}

impl Report {
    pub(super) fn new(seed: u64, many: Many, image: Image) -> Self {
        let Many { sessions, events, .. } = many;
        let grpc = many.over_grpc();
        Self { seed, sessions, grpc, events, image, rows: Vec::new(), shown: None, kept: None }
    }

    /// Whether all went well, within its goals.
    #[must_use]
    pub fn is_good(&self) -> bool {
        !self.rows.is_empty() && self.rows.iter().all(|row| row.failures.is_empty())
    }

    /// The report for people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = table(["PART", "MILLISECONDS", "TIMES", "P50", "MAX", "GOAL"]);
        let Self { sessions, grpc, events, seed, .. } = self;
        let mut words = Words::new(format_args!(
            "{sessions} sessions a stop, {grpc} of them over gRPC, {events} webhooks a second, seed {seed}"
        ));
        words.line(format_args!("{}", self.image.words()));
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
        times.count("packets", 3);
        times.count("packets", 4);
        let rows = vec![times.row("drill", played)];
        let many = Many { sessions: 20, grpc: None, events: 1 };
        Report { rows, ..Report::new(1, many, Image::Static) }
    }

    #[test]
    fn a_goal_that_is_missed_and_a_step_that_fails_are_failures() {
        let good = report(250, Ok(()));
        assert!(good.is_good());
        assert!(good.table().contains("drill: packets: 7") && good.table().contains("2 of them over gRPC"));
        let late = report(251, Ok(()));
        assert!(!late.is_good());
        assert!(late.table().contains("FAILED drill: last byte: 251 ms, the goal is 250 ms"));
        assert!(!report(1, Err(anyhow::anyhow!("wrong"))).is_good());
        assert!(!Report { rows: Vec::new(), ..report(1, Ok(())) }.is_good());
    }
}
