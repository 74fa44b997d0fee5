//! What is shown in the end.

use std::path::PathBuf;

use serde::Serialize;

use crate::ledger::Balance;
use crate::powerloss::Model;
use crate::powerloss::replay::Losses;
use crate::proof::{Words, align, table};

const HEADER: [&str; 14] = [
    "FAULT",
    "ROUND",
    "OPS",
    "NOT DURABLE",
    "DROPPED",
    "TORN",
    "ACCEPTED",
    "RECEIVED",
    "MISSING",
    "REPEATS",
    "UNMARKED",
    "KEPT UNANSWERED",
    "ACKED",
    "503",
];

/// A crash and what came of it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Round {
    /// Answered 200 since the last crash.
    pub accepted: u64,
    /// Of all that was accepted before the crash, what an agent lacks after it.
    pub missing: u64,
    /// Deliveries that came again.
    pub repeats: u64,
    /// What the disk lost.
    #[serde(flatten)]
    pub losses: Option<Losses>,
}

/// One kind of fault.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// The fault.
    pub name: &'static str,
    /// Each time it came.
    pub rounds: Vec<Round>,
    /// The sets, compared, in the end.
    pub balance: Balance,
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
    /// What a loss of power was modelled on.
    pub model: Model,
    /// By kind of fault.
    pub parts: Vec<Part>,
    /// Where the data, logs and images of a failed run are kept.
    pub kept: Option<PathBuf>,
}

impl Part {
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, ..Self::default() }
    }

    pub(super) fn broken(name: &'static str, error: &anyhow::Error) -> Self {
        Self { failures: vec![format!("{error:#}")], ..Self::new(name) }
    }

    /// Takes the books in, and tells what is wrong with them.
    pub(super) fn settle(&mut self, balance: Balance, missing: &[String]) {
        balance.complain(missing, &mut self.failures);
        self.balance = std::mem::take(&mut self.balance).plus(balance);
    }

    fn losses(&self) -> Option<Losses> {
        self.rounds.iter().fold(None, |all, round| Losses::sum(all, round.losses))
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let row = |number: String, losses: Option<Losses>, rest: &[u64]| {
            let mut row = vec![self.name.to_owned(), number];
            match losses {
                Some(Losses { ops, not_durable, dropped, torn }) => {
                    row.extend([ops, not_durable, dropped, torn].map(|n| n.to_string()));
                }
                None => row.extend([const { String::new() }; 4]),
            }
            row.extend(rest.iter().map(u64::to_string));
            row.resize(HEADER.len(), String::new());
            row
        };
        let mut rows = Vec::new();
        if self.rounds.len() > 1 {
            for (number, round) in self.rounds.iter().enumerate() {
                let here = [
                    round.accepted,
                    round.accepted.saturating_sub(round.missing),
                    round.missing,
                    round.repeats,
                ];
                rows.push(row((number + 1).to_string(), round.losses, &here));
            }
        }
        let all = &self.balance;
        let figures = [
            all.accepted,
            all.received,
            all.missing,
            all.repeats,
            all.unmarked,
            all.unanswered_but_kept,
            all.acked,
            all.refused,
        ];
        rows.push(row(format!("all {}", self.rounds.len()), self.losses(), &figures));
        rows
    }
}

impl Report {
    /// Whether nothing was lost and nothing went wrong.
    pub fn is_good(&self) -> bool {
        self.parts.iter().all(|part| part.failures.is_empty())
    }

    /// The report for people.
    pub fn table(&self) -> String {
        let mut table = table(HEADER);
        table.add_rows(self.parts.iter().flat_map(Part::rows));
        align(&mut table, 1, HEADER.len());
        let model = format!("{:?}", self.model).to_lowercase();
        let mut words = Words::new(format_args!("seed {}, model {model}", self.seed));
        self.parts.iter().for_each(|part| words.row(part.name, &part.notes, &part.failures));
        words.kept(self.kept.as_deref());
        words.below(&table)
    }
}
